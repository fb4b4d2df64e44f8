//! Kinds of objects by their paths.

use serde_json::Value;

/// A kind that suites write.
struct Resource {
    kind: &'static str,
    /// `v1`, or `GROUP/VERSION`.
    version: &'static str,
    plural: &'static str,
    /// Whether its objects are in namespaces.
    is_namespaced: bool,
}

const RBAC: &str = "rbac.authorization.k8s.io/v1";

/// Namespaces come last: what is in one has to be deleted before.
const RESOURCES: [Resource; 11] = [
    namespaced("Pod", "v1", "pods"),
    namespaced("NetworkPolicy", "networking.k8s.io/v1", "networkpolicies"),
    namespaced("Service", "v1", "services"),
    namespaced("DaemonSet", "apps/v1", "daemonsets"),
    namespaced("ServiceAccount", "v1", "serviceaccounts"),
    namespaced("Role", RBAC, "roles"),
    namespaced("RoleBinding", RBAC, "rolebindings"),
    cluster_wide("ClusterRole", RBAC, "clusterroles"),
    cluster_wide("ClusterRoleBinding", RBAC, "clusterrolebindings"),
    cluster_wide("Node", "v1", "nodes"),
    cluster_wide("Namespace", "v1", "namespaces"),
];

const fn namespaced(kind: &'static str, version: &'static str, plural: &'static str) -> Resource {
    Resource { kind, version, plural, is_namespaced: true }
}

const fn cluster_wide(kind: &'static str, version: &'static str, plural: &'static str) -> Resource {
    Resource { kind, version, plural, is_namespaced: false }
}

impl Resource {
    fn collection(&self, namespace: Option<&str>) -> String {
        let root = if self.version.contains('/') { "/apis" } else { "/api" };
        let namespace = namespace.map(|namespace| format!("/namespaces/{namespace}")).unwrap_or_default();
        format!("{root}/{}{namespace}/{}", self.version, self.plural)
    }
}

/// Every kind, in the order in which their objects are to be deleted.
pub(super) fn kinds() -> impl Iterator<Item = &'static str> {
    RESOURCES.iter().map(|resource| resource.kind)
}

/// The path of all objects of a kind.
pub(super) fn list_path(kind: &str) -> String {
    resource(kind).collection(None)
}

/// The path of one object, by `NAMESPACE/NAME`, or by its name where its kind has no namespaces.
pub(super) fn path(kind: &str, id: &str) -> String {
    let resource = resource(kind);
    match id.split_once('/') {
        Some((namespace, name)) if resource.is_namespaced => format!("{}/{name}", resource.collection(Some(namespace))),
        None if !resource.is_namespaced => format!("{}/{id}", resource.collection(None)),
        _ => panic!("{id:?} is no id of a {kind}"),
    }
}

/// Where etcd has one object.
pub(super) fn key(kind: &str, id: &str) -> String {
    format!("/registry/{}/{id}", resource(kind).plural)
}

/// The path where such an object is created: in its namespace, in `default` where it names none.
pub(super) fn creation_path(object: &Value) -> String {
    let resource = resource(kind_of(object));
    let namespace = object["metadata"]["namespace"].as_str().filter(|name| !name.is_empty()).unwrap_or("default");
    resource.collection(resource.is_namespaced.then_some(namespace))
}

/// An object's kind.
pub(super) fn kind_of(object: &Value) -> &str {
    object["kind"].as_str().unwrap_or_else(|| panic!("an object without a kind: {object}"))
}

/// An object's id, as [`path`] wants it.
pub(super) fn id_of(kind: &str, object: &Value) -> String {
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().unwrap_or_else(|| panic!("an object without a name: {object}"));
    let namespace = metadata["namespace"].as_str().unwrap_or("default");
    if resource(kind).is_namespaced { format!("{namespace}/{name}") } else { name.to_owned() }
}

fn resource(kind: &str) -> &'static Resource {
    let found = RESOURCES.iter().find(|resource| resource.kind == kind);
    found.unwrap_or_else(|| panic!("tests/src/kubernetes/resource.rs does not know the path of a {kind}"))
}
