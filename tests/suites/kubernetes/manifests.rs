//! What `manifests/` puts on a cluster.

use std::process::Command;

use lab::PodNetwork;
use podwall_tests::kubernetes::{Cluster, Lease, kustomize, objects, program, refusal};
use podwall_tests::{finish, root};
use serde_json::{Value, json};

const KUSTOMIZATIONS: [&str; 3] = ["base", "overlays/flannel", "overlays/bridge"];

#[test]
fn the_api_server_takes_every_kustomization() {
    let control_plane = Lease::new();
    let kubeconfig = control_plane.kubeconfig("admin", Some("system:masters"));
    control_plane.api().create(&objects::namespace("podwall-system", json!({}))).unwrap();
    for folder in KUSTOMIZATIONS {
        let mut kubectl = Command::new(program("kubectl"));
        kubectl.arg("kustomize").arg(root().join("manifests").join(folder));
        let text = finish(kubectl, "").expect(0).stdout;
        let apply = |text: &str| {
            let mut kubectl = Command::new(program("kubectl"));
            kubectl.args(["--kubeconfig", kubeconfig.argument(), "apply", "--server-side", "--dry-run=server"]);
            kubectl.args(["--validate=strict", "-f", "-"]);
            control_plane.namespace().run(|| finish(kubectl, text)).unwrap()
        };
        let said = apply(&text).expect(0).stdout;
        assert_eq!(said.lines().count(), kustomize(folder).len(), "{folder}: {said}");
        assert!(said.contains("daemonset.apps/podwall serverside-applied (server dry run)"), "{folder}: {said}");
        apply(&text.replace("hostNetwork:", "hostNetwrk:")).expect(1);
    }
}

#[test]
fn the_metrics_component_opens_a_port() {
    let folder = tempfile::tempdir_in(root().join("manifests")).unwrap();
    let kustomization = "resources: [../overlays/flannel]\ncomponents: [../components/metrics]\n";
    std::fs::write(folder.path().join("kustomization.yaml"), kustomization).unwrap();
    let name = folder.path().file_name().unwrap().to_str().unwrap().to_owned();
    let objects = kustomize(&name);
    let daemon_set = objects.iter().find(|object| object["kind"] == "DaemonSet").unwrap();
    let container = &daemon_set["spec"]["template"]["spec"]["containers"][0];
    assert!(container["args"].as_array().unwrap().contains(&json!("--http=0.0.0.0:9469")), "{container}");
    assert_eq!(container["ports"][0]["containerPort"], 9469);
}

#[test]
fn the_agents_account_may_do_what_the_agent_does_and_nothing_else() {
    let cluster = Cluster::start(&["n1"], PodNetwork::Bridge);
    let agent = cluster.start_agent("n1");
    let account = cluster.control_plane().service_account("podwall-system", "podwall");
    let api = cluster.control_plane().api_of(&account);
    for kind in ["Pod", "Namespace", "NetworkPolicy", "Node"] {
        api.list(kind).unwrap_or_else(|error| panic!("{kind}: {error}"));
    }
    for refused in [
        api.list("Service").map(Value::from),
        api.create(&objects::pod("default/any", "n1", json!({}), &[])),
        api.delete("NetworkPolicy", "default/any"),
        api.patch_status("Pod", "default/any", &json!({})),
        api.create(&objects::namespace("mine", json!({}))),
    ] {
        assert_eq!(refusal(refused).code, 403);
    }
    drop(agent);
}

#[test]
fn an_agent_needs_one_capability_and_says_so_where_it_has_none() {
    let cluster = Cluster::start(&["n1"], PodNetwork::Bridge);
    let agent = cluster.start_agent("n1");
    agent.await_ready(&cluster);
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.process.id())).unwrap();
    let capabilities = |set: &str| status.lines().find_map(|line| line.strip_prefix(set)).unwrap().trim().to_owned();
    const NET_ADMIN: &str = "0000000000001000";
    for set in ["CapEff:", "CapPrm:", "CapBnd:"] {
        assert_eq!(capabilities(set), NET_ADMIN, "{set}");
    }
    // It has turned this on, in the node's own namespace.
    let setting = || std::fs::read_to_string("/proc/sys/net/bridge/bridge-nf-filter-vlan-tagged").unwrap();
    assert_eq!(cluster.namespace("n1").run(setting).unwrap().trim(), "1");
}
