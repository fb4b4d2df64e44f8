//! Nodes, and pods that the API server places there.

use std::process::Command;

use lab::{PodNetwork, Traffic};
use podwall_tests::kubernetes::{Cluster, await_that, objects, program};
use podwall_tests::{Run, finish};
use policy_compiler::model::Protocol;
use serde_json::{Value, json};

const HTTP: (Protocol, u16) = (Protocol::Tcp, 80);

fn ask_from(cluster: &Cluster, node: &str, arguments: &[&str]) -> Run {
    let kubeconfig = cluster.control_plane().kubeconfig("admin", Some("system:masters"));
    let mut kubectl = Command::new(program("kubectl"));
    kubectl.args(["--kubeconfig", kubeconfig.argument(), "--request-timeout=2s"]).args(arguments);
    cluster.namespace(node).run(|| finish(kubectl, "")).unwrap()
}

fn addresses(pod: &Value) -> Vec<String> {
    let listed = pod["status"]["podIPs"].as_array().expect("a list of addresses");
    listed.iter().map(|ip| ip["ip"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn pods_of_two_nodes_get_addresses_and_reach_each_other() {
    let cluster = Cluster::start(&["n1", "n2"], PodNetwork::Bridge);
    let pods = [("default/a", "n1"), ("default/b", "n1"), ("default/c", "n2")];
    for (id, node) in pods {
        cluster.api().create(&objects::pod(id, node, json!({}), &[HTTP])).unwrap();
    }
    for (id, node) in pods {
        cluster.await_running(id);
        let pod = cluster.api().get("Pod", id).unwrap();
        let found: Vec<String> = cluster.addresses(id).iter().map(ToString::to_string).collect();
        assert_eq!((addresses(&pod), &pod["status"]["podIP"]), (found.clone(), &json!(found[0])));
        assert!(found.len() == 2 && found[1].contains(':'), "{found:?}");
        assert_eq!(cluster.lab().node_of(id).unwrap(), node);
    }
    for (from, to) in [("default/a", "default/b"), ("default/a", "default/c"), ("default/c", "default/a")] {
        cluster.assert_allowed(from, to, Traffic::Port(HTTP.0, HTTP.1));
    }
}

#[test]
fn a_pod_that_is_deleted_is_taken_away_by_its_node_and_one_of_its_name_is_another() {
    let cluster = Cluster::start(&["n1"], PodNetwork::Ptp);
    let pod = |labels: Value| objects::pod("default/web", "n1", labels, &[HTTP]);
    cluster.run(&pod(json!({"version": "1"})));
    let first = cluster.addresses("default/web");
    cluster.delete("default/web");
    assert_eq!(cluster.lab().pods().count(), 0, "its network has gone with it");
    cluster.run(&pod(json!({"version": "2"})));
    assert_ne!(cluster.addresses("default/web"), first, "the next free address");

    // Without grace the API server asks nobody.
    cluster.api().delete_now("Pod", "default/web").unwrap();
    await_that("the pod is gone", || cluster.lab().pods().count() == 0);
}

#[test]
fn a_pod_on_its_nodes_network_has_the_nodes_addresses() {
    let cluster = Cluster::start(&["n1"], PodNetwork::Bridge);
    let mut pod = objects::pod("default/host", "n1", json!({}), &[]);
    pod["spec"]["hostNetwork"] = json!(true);
    cluster.run(&pod);
    let node: Vec<String> = cluster.addresses("n1").iter().map(ToString::to_string).collect();
    assert_eq!(addresses(&cluster.api().get("Pod", "default/host").unwrap()), node);
    assert_eq!(cluster.lab().pods().count(), 0);
    cluster.delete("default/host");
}

#[test]
fn kubelets_go_on_where_an_api_server_comes_back() {
    let cluster = Cluster::start(&["n1"], PodNetwork::Bridge);
    cluster.run(&objects::pod("default/old", "n1", json!({}), &[HTTP]));
    cluster.control_plane().kill_api_server();
    cluster.control_plane().start_api_server();
    cluster.run(&objects::pod("default/new", "n1", json!({}), &[HTTP]));
    cluster.assert_allowed("default/old", "default/new", Traffic::Port(HTTP.0, HTTP.1));
    cluster.delete("default/old");
}

#[test]
fn a_nodes_link_to_the_api_server_is_cut_and_mended_and_nothing_else_is() {
    let cluster = Cluster::start(&["n1", "n2"], PodNetwork::Bridge);
    let reaches = |node: &str| ask_from(&cluster, node, &["get", "--raw", "/livez"]).status == Some(0);
    assert!(reaches("n1") && reaches("n2"));
    cluster.link("n1").cut().unwrap();
    assert!(!reaches("n1") && reaches("n2"), "one link is cut");
    // Pods come and speak meanwhile: it is the agent's link, not the kubelet's, and not the underlay.
    cluster.run(&objects::pod("default/a", "n1", json!({}), &[HTTP]));
    cluster.run(&objects::pod("default/b", "n2", json!({}), &[HTTP]));
    cluster.assert_allowed("default/a", "default/b", Traffic::Port(HTTP.0, HTTP.1));
    cluster.link("n1").mend().unwrap();
    assert!(reaches("n1"));
}
