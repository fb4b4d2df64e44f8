//! Services: the fields that say what stands behind them are read strictly, the rest passes.

use std::net::IpAddr;
use std::sync::Arc;

use super::fields::{Field, Fields, Unknown, quoted};
use super::{metadata, names, pod, policy};
use crate::cidr::Family;
use crate::model::{ExternalTrafficPolicy, ObjectName, Origin, Protocol, Service, ServicePort, TargetPort};

/// Reads what is left of a document after its metadata.
pub(super) fn read(mut document: Fields<'_>, name: Option<ObjectName>, origin: &Origin) -> Option<Service> {
    let spec = document.take("spec").and_then(|field| field.open());
    document.finish(Unknown::Passed);
    let bare = Service { origin: Some(origin.clone()), ..Service::new(name?) };
    let Some(mut spec) = spec else { return Some(bare) };
    let kind = spec.take("type").filter(pod::is_given).map_or(Some(Kind::ClusterIp), |field| one_of(&field, &KINDS));
    let selector = spec.take("selector").map(|field| metadata::labels(&field)).filter(|labels| !labels.is_empty());
    let first = spec.take("clusterIP");
    let all = spec.take("clusterIPs");
    let (written_families, dual_stack) = families(&mut spec);
    let ports = spec.take("ports");
    let traffic_policy = spec.take("externalTrafficPolicy").filter(pod::is_given);
    let external_ips = spec.take("externalIPs");
    let external_name = spec.take("externalName").and_then(|field| field.string());
    spec.finish(Unknown::Passed);

    // Nothing is forwarded to what is only a name in DNS.
    let external_name = external_name.filter(|_| kind == Some(Kind::ExternalName));
    let mut addresses: Vec<IpAddr> = Vec::new();
    let mut headless = false;
    for field in first.into_iter().chain(all.iter().flat_map(Field::items)) {
        match cluster_ip(&field) {
            Some(ClusterIp::None) => headless = true,
            Some(ClusterIp::Address(address)) if !addresses.contains(&address) => {
                let family = written_families.get(addresses.len());
                if family.is_some_and(|family| *family != Family::of(address)) {
                    field.error(format_args!("must be of the family that ipFamilies has in its place, is {address}"));
                }
                addresses.push(address);
            }
            Some(ClusterIp::Address(_)) | None => (),
        }
    }
    let node_ports = matches!(kind, Some(Kind::NodePort | Kind::LoadBalancer));
    let is_exposed = node_ports || external_ips.is_some_and(|field| !field.items().is_empty());
    if let (Some(field), Some(_), false) = (&traffic_policy, kind, is_exposed) {
        field.error("needs type NodePort or LoadBalancer, or externalIPs");
    }
    let ports = ports.iter().flat_map(Field::items).filter_map(|entry| service_port(&entry, kind)).collect();
    Some(Service {
        selector: selector.filter(|_| external_name.is_none()),
        families: completed(written_families, dual_stack, &addresses),
        addresses,
        headless,
        ports,
        node_ports,
        external_traffic_policy: traffic_policy.and_then(|field| one_of(&field, &TRAFFIC_POLICIES)).unwrap_or_default(),
        external_name,
        ..bare
    })
}

/// `spec.type`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    ClusterIp,
    NodePort,
    LoadBalancer,
    ExternalName,
}

const KINDS: [(&str, Kind); 4] = [
    ("ClusterIP", Kind::ClusterIp),
    ("NodePort", Kind::NodePort),
    ("LoadBalancer", Kind::LoadBalancer),
    ("ExternalName", Kind::ExternalName),
];
const TRAFFIC_POLICIES: [(&str, ExternalTrafficPolicy); 2] =
    [("Cluster", ExternalTrafficPolicy::Cluster), ("Local", ExternalTrafficPolicy::Local)];
const FAMILIES: [(&str, Family); 2] = [("IPv4", Family::V4), ("IPv6", Family::V6)];
/// Each with whether it asks for both families.
const FAMILY_POLICIES: [(&str, bool); 3] =
    [("SingleStack", false), ("PreferDualStack", true), ("RequireDualStack", true)];

/// What a text stands for, of a few.
fn one_of<T: Copy>(at: &Field<'_>, known: &[(&str, T)]) -> Option<T> {
    let text = at.string()?;
    let found = known.iter().find(|(name, _)| *name == &*text).map(|(_, meaning)| *meaning);
    if found.is_none() {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let (last, others) = names.split_last().unwrap_or((&"", &[]));
        at.error(format_args!("must be {} or {last}, is {}", others.join(", "), quoted(&text)));
    }
    found
}

/// The families that are written, and whether both are asked for.
fn families(spec: &mut Fields<'_>) -> (Vec<Family>, bool) {
    let mut families = Vec::new();
    for entry in spec.take("ipFamilies").iter().flat_map(Field::items) {
        match one_of(&entry, &FAMILIES) {
            Some(family) if families.contains(&family) => entry.error("stands twice"),
            Some(family) => families.push(family),
            None => (),
        }
    }
    let Some(policy) = spec.take("ipFamilyPolicy") else { return (families, false) };
    let dual_stack = one_of(&policy, &FAMILY_POLICIES);
    if families.len() > 1 && dual_stack == Some(false) {
        policy.error("must be PreferDualStack or RequireDualStack with two ipFamilies, is \"SingleStack\"");
    }
    (families, dual_stack == Some(true))
}

/// What the API server makes of the families that are written: those of the addresses come after them, IPv4 is meant
/// where there are neither, and the missing one is added to a Service of both.
fn completed(mut families: Vec<Family>, dual_stack: bool, addresses: &[IpAddr]) -> Vec<Family> {
    let of_addresses = addresses.iter().map(|address| Family::of(*address));
    for family in of_addresses.chain(dual_stack.then_some(Family::BOTH).into_iter().flatten()) {
        if !families.contains(&family) {
            families.push(family);
        }
    }
    if families.is_empty() { vec![Family::V4] } else { families }
}

enum ClusterIp {
    Address(IpAddr),
    /// The text `None`, which makes a Service headless.
    None,
}

fn cluster_ip(at: &Field<'_>) -> Option<ClusterIp> {
    if &*at.string()? == "None" { Some(ClusterIp::None) } else { pod::address(at).map(ClusterIp::Address) }
}

fn service_port(at: &Field<'_>, kind: Option<Kind>) -> Option<ServicePort> {
    let mut entry = at.open()?;
    let name = entry.take("name").filter(pod::is_given).and_then(|field| field.name(&names::LABEL));
    let protocol =
        entry.take("protocol").filter(pod::is_given).map_or(Some(Protocol::Tcp), |field| policy::protocol(&field));
    let port = entry.require("port").and_then(|field| field.port_number());
    let target = entry.take("targetPort").filter(pod::is_given).map(|field| target_port(&field));
    let node_port = entry.take("nodePort").and_then(|field| node_port(&field, kind));
    entry.finish(Unknown::Passed);
    let port = port?;
    let target = match target {
        Some(target) => target?.unwrap_or(TargetPort::Number(port)),
        None => TargetPort::Number(port),
    };
    Some(ServicePort { name, protocol: protocol?, port, target, node_port })
}

/// 0 is an absent one to the API. Which range it must be of is for each cluster to say.
fn node_port(at: &Field<'_>, kind: Option<Kind>) -> Option<u16> {
    if at.is_number() && at.integer()? == 0 {
        return None;
    }
    let port = at.port_number()?;
    if kind == Some(Kind::ClusterIp) {
        at.error("may not be used where type is ClusterIP");
    }
    Some(port)
}

/// `Some(None)` is 0, which the API takes for an absent one.
fn target_port(at: &Field<'_>) -> Option<Option<TargetPort>> {
    if at.is_number() {
        return match at.integer()? {
            0 => Some(None),
            _ => at.port_number().map(|number| Some(TargetPort::Number(number))),
        };
    }
    if !at.is_string() {
        return at.wrong_type("must be a number or a name", "");
    }
    let name: Arc<str> = at.name(&names::PORT_NAME)?;
    Some(Some(TargetPort::Name(name)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{manifest, objects, problems};
    use super::*;
    use crate::model::{ContainerPort, Object, Pod};

    fn service(spec: &str) -> Service {
        let text =
            format!("apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: shop}}\nspec: {{{spec}}}\n");
        match objects(&text).pop() {
            Some(Object::Service(service)) => *service,
            other => panic!("no Service: {other:?}"),
        }
    }

    #[test]
    fn a_service_as_an_api_server_has_it() {
        let found = service(
            "type: NodePort, clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7, 'fd00:96::7'], selector: {app: web}, \
             ipFamilies: [IPv4, IPv6], ipFamilyPolicy: RequireDualStack, externalTrafficPolicy: Local, \
             sessionAffinity: None, ports: [{name: http, port: 80, targetPort: web}, {port: 53, protocol: UDP}, \
             {name: tls, port: 443, targetPort: 8443, nodePort: 30443}]",
        );
        let port = |name: Option<&str>, protocol, port, target, node_port| ServicePort {
            name: name.map(Into::into),
            protocol,
            port,
            target,
            node_port,
        };
        let expected = Service {
            name: ObjectName::new("shop", "web"),
            selector: Some([("app", "web")].into_iter().collect()),
            addresses: vec!["10.96.0.7".parse().unwrap(), "fd00:96::7".parse().unwrap()],
            ports: vec![
                port(Some("http"), Protocol::Tcp, 80, TargetPort::Name("web".into()), None),
                port(None, Protocol::Udp, 53, TargetPort::Number(53), None),
                port(Some("tls"), Protocol::Tcp, 443, TargetPort::Number(8443), Some(30443)),
            ],
            families: vec![Family::V4, Family::V6],
            headless: false,
            node_ports: true,
            external_traffic_policy: ExternalTrafficPolicy::Local,
            external_name: None,
            origin: Some(Origin { file: "m.yaml".into(), line: 1, column: 1 }),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn headless_nameless_and_external_ones() {
        let headless = service("clusterIP: None, selector: {app: web}");
        assert!(headless.headless && headless.addresses.is_empty() && headless.selector.is_some());
        assert!(!service("selector: {app: web}").headless, "it has no address yet");
        assert_eq!(service("selector: {}").selector, None);
        let external = service("type: ExternalName, externalName: db.example.com, selector: {app: web}");
        assert_eq!((external.external_name.as_deref(), external.selector), (Some("db.example.com"), None));
        assert_eq!(service("ports: [{port: 80, targetPort: 0}]").ports[0].target, TargetPort::Number(80));
    }

    #[test]
    fn node_ports_are_asked_for_by_type() {
        let plain = service("ports: [{port: 80, nodePort: 0}]");
        assert_eq!((plain.node_ports, plain.ports[0].node_port), (false, None));
        assert!(service("type: NodePort").node_ports && service("type: LoadBalancer").node_ports);
        assert_eq!(service("type: NodePort").external_traffic_policy, ExternalTrafficPolicy::Cluster);
        assert!(!service("type: ''").node_ports);
        let outside = service("externalIPs: [192.0.2.1], externalTrafficPolicy: Local");
        assert_eq!(outside.external_traffic_policy, ExternalTrafficPolicy::Local);
    }

    #[test]
    fn families_are_completed_as_an_api_server_does() {
        use Family::{V4, V6};
        for (spec, expected) in [
            ("", vec![V4]),
            ("ipFamilyPolicy: SingleStack", vec![V4]),
            ("ipFamilyPolicy: PreferDualStack", vec![V4, V6]),
            ("ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv6]", vec![V6, V4]),
            ("ipFamilies: [IPv6]", vec![V6]),
            ("ipFamilies: [IPv6, IPv4]", vec![V6, V4]),
            ("clusterIP: 'fd00:96::7'", vec![V6]),
            ("clusterIPs: [10.96.0.7, 'fd00:96::7']", vec![V4, V6]),
            ("ipFamilyPolicy: PreferDualStack, clusterIPs: ['fd00:96::7']", vec![V6, V4]),
        ] {
            assert_eq!(service(spec).families, expected, "{spec}");
        }
    }

    #[test]
    fn it_selects_live_pods_of_its_namespace_and_resolves_names_on_each() {
        let service = service("selector: {app: web}, ports: [{port: 80, targetPort: http}]");
        let port = ContainerPort { name: Some("http".into()), number: 8080, protocol: Protocol::Tcp };
        let web = |namespace: &str| Pod {
            labels: [("app", "web"), ("tier", "front")].into_iter().collect(),
            ports: vec![port.clone()],
            ..Pod::new(ObjectName::new(namespace, "web-1"))
        };
        assert!(service.selects(&web("shop")) && !service.selects(&web("other")));
        assert!(!service.selects(&Pod { phase: crate::model::Phase::Finished, ..web("shop") }));
        assert!(!service.selects(&Pod { terminating: true, ..web("shop") }));
        assert!(!service.selects(&Pod { labels: [("app", "db")].into_iter().collect(), ..web("shop") }));
        assert_eq!(service.ports[0].on(&web("shop")), Some(8080));
        assert_eq!(service.ports[0].on(&Pod { ports: vec![], ..web("shop") }), None);
    }

    #[test]
    fn fields_that_count_are_read_strictly() {
        for (spec, problem) in [
            ("ports: [{}]", "4:16: spec.ports[0].port: is required"),
            (
                "ports: [{port: '80'}]",
                "4:23: spec.ports[0].port: must be a whole number, is the text \"80\"; unquote it: 80",
            ),
            ("clusterIP: 10.96", "4:19: spec.clusterIP: must be a string, is the number 10.96; quote it"),
            ("clusterIPs: [x]", "4:21: spec.clusterIPs[0]: must be an IP address, is \"x\""),
            ("selector: [a]", "4:18: spec.selector: must be a map, is a list"),
            (
                "type: nodePort",
                "4:14: spec.type: must be ClusterIP, NodePort, LoadBalancer or ExternalName, is \"nodePort\"",
            ),
            (
                "type: NodePort, ports: [{port: 80, nodePort: 65536}]",
                "4:53: spec.ports[0].nodePort: must be between 1 and 65535, is 65536",
            ),
            (
                "ports: [{port: 80, nodePort: 30080}]",
                "4:37: spec.ports[0].nodePort: may not be used where type is ClusterIP",
            ),
            (
                "type: NodePort, externalTrafficPolicy: local",
                "4:47: spec.externalTrafficPolicy: must be Cluster or Local, is \"local\"",
            ),
            (
                "externalTrafficPolicy: Local",
                "4:31: spec.externalTrafficPolicy: needs type NodePort or LoadBalancer, or externalIPs",
            ),
            ("ipFamilies: [IPv4, ipv6]", "4:27: spec.ipFamilies[1]: must be IPv4 or IPv6, is \"ipv6\""),
            ("ipFamilies: [IPv4, IPv4]", "4:27: spec.ipFamilies[1]: stands twice"),
            (
                "ipFamilyPolicy: Dual",
                "4:24: spec.ipFamilyPolicy: must be SingleStack, PreferDualStack or RequireDualStack, is \"Dual\"",
            ),
            (
                "ipFamilies: [IPv4, IPv6], ipFamilyPolicy: SingleStack",
                "4:50: spec.ipFamilyPolicy: must be PreferDualStack or RequireDualStack with two ipFamilies, is \"SingleStack\"",
            ),
            (
                "ipFamilies: [IPv6], clusterIP: 10.96.0.7",
                "4:39: spec.clusterIP: must be of the family that ipFamilies has in its place, is 10.96.0.7",
            ),
        ] {
            let text = format!("apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{{spec}}}\n");
            let found: Vec<_> = problems(&manifest(&text))
                .iter()
                .map(|problem| problem.replace("m.yaml:", "").replace("error: Service default/web: ", ""))
                .collect();
            assert_eq!(found, [problem], "{spec}");
        }
    }
}
