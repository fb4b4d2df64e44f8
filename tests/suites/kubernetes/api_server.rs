//! What faults it can be given, and who may do what.

use std::time::Duration;

use futures_util::StreamExt;
use http::{Method, Request};
use kube::Error;
use kube::core::WatchEvent;
use podwall_tests::kubernetes::{Api, ControlPlane, Lease, await_that, objects, refusal};
use serde_json::{Value, json};

const WATCH: &str = "/api/v1/namespaces?watch=1&allowWatchBookmarks=true";
const WATCH_LIST: &str = "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";

fn version_of(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().expect("a stored object has a version")
}

/// What a watch says first.
fn first_event(api: &Api, path: &str) -> kube::Result<WatchEvent<Value>> {
    let request = Request::get(path).body(Vec::new()).unwrap();
    api.with_client(|client| async move {
        let mut events = Box::pin(client.request_events::<Value>(request).await?);
        events.next().await.expect("a watch says something before it ends")
    })
}

#[track_caller]
fn assert_expired(api: &Api, version: &str) {
    match first_event(api, &format!("{WATCH}&resourceVersion={version}")) {
        Ok(WatchEvent::Error(status)) => assert_eq!((status.code, &*status.reason), (410, "Expired"), "{status}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_killed_api_server_comes_back_with_its_data_and_without_the_past() {
    let control_plane = Lease::new();
    let api = control_plane.api();
    let created = api.create(&objects::namespace("kept", json!({"team": "a"}))).unwrap();
    api.create(&objects::namespace("another", json!({}))).unwrap();
    control_plane.kill_api_server();
    let unreachable = api.get("Namespace", "kept").unwrap_err();
    assert!(!matches!(unreachable, Error::Api(_)), "{unreachable:?}");

    control_plane.start_api_server();
    let found = api.get("Namespace", "kept").unwrap();
    assert_eq!((version_of(&found), &found["metadata"]["labels"]["team"]), (version_of(&created), &json!("a")));
    assert_expired(api, version_of(&created));
}

#[test]
fn without_a_watch_cache_what_etcd_has_forgotten_is_gone() {
    let control_plane = ControlPlane::start_with(&["--watch-cache=false"]);
    let api = control_plane.api();
    let old = api.create(&objects::namespace("old", json!({}))).unwrap();
    // The present revision is never forgotten, so there must be one between.
    api.create(&objects::namespace("new", json!({}))).unwrap();
    api.create(&objects::namespace("newer", json!({}))).unwrap();
    let path = format!("{WATCH}&resourceVersion={}", version_of(&old));
    let event = first_event(api, &path);
    assert!(matches!(event, Ok(WatchEvent::Added(_))), "etcd still knows: {event:?}");
    control_plane.compact();
    assert_expired(api, version_of(&old));
}

#[test]
fn flags_switch_streaming_lists_off() {
    let control_plane = ControlPlane::start();
    let path = format!("{WATCH}{WATCH_LIST}");
    assert!(matches!(first_event(control_plane.api(), &path), Ok(WatchEvent::Added(_))));
    control_plane.restart_with(&["--feature-gates=WatchList=false"]);
    let refused = refusal(first_event(control_plane.api(), &path));
    assert_eq!(refused.code, 422, "{refused}");
}

#[test]
fn connections_are_cut_and_new_ones_taken() {
    let control_plane = Lease::new();
    let api = control_plane.api();
    let request = Request::get(WATCH).body(Vec::new()).unwrap();
    let (ended, end) = std::sync::mpsc::channel();
    api.with_client(|client| async move {
        let mut events = Box::pin(client.request_events::<Value>(request).await.unwrap());
        events.next().await.unwrap().unwrap();
        tokio::spawn(async move {
            while let Some(Ok(_)) = events.next().await {}
            _ = ended.send(());
        });
    });
    assert!(end.recv_timeout(Duration::from_millis(300)).is_err(), "a watch stays open");
    control_plane.cut_connections();
    end.recv_timeout(Duration::from_secs(20)).expect("the watch has ended");
    await_that("the API server answers", || api.list("Namespace").is_ok());
}

#[test]
fn a_service_account_may_do_what_its_roles_say_and_nothing_else() {
    let control_plane = Lease::new();
    let admin = control_plane.api();
    admin.create(&objects::namespace("system", json!({}))).unwrap();
    admin.create(&objects::service_account("system/agent")).unwrap();
    let agent = control_plane.api_of(&control_plane.service_account("system", "agent"));
    assert_eq!(refusal(agent.list("Pod")).code, 403, "no role yet");

    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "agent"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "agent"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "agent"},
        "subjects": [{"kind": "ServiceAccount", "namespace": "system", "name": "agent"}],
    });
    admin.create(&role).unwrap();
    admin.create(&binding).unwrap();
    await_that("the role is in force", || agent.list("Pod").is_ok());
    for refused in [
        agent.get("Pod", "default/any"),
        agent.create(&objects::pod("default/any", "n1", json!({}), &[])),
        agent.delete("Pod", "default/any"),
        agent.patch_status("Pod", "default/any", &json!({})),
        agent.list("Node").map(Value::from),
    ] {
        let refused = refusal(refused);
        assert!(refused.code == 403 && refused.message.contains("system:serviceaccount:system:agent"), "{refused}");
    }
    let stranger = control_plane.api_of(&control_plane.kubeconfig("somebody", None));
    assert_eq!(refusal(stranger.list("Pod")).code, 403, "a certificate says who one is, no more");
}

#[test]
fn a_control_plane_is_emptied_for_the_next_test() {
    let control_plane = ControlPlane::start();
    let api = control_plane.api();
    let ids = || -> Vec<String> {
        let kinds = ["Namespace", "Pod", "NetworkPolicy", "ServiceAccount", "ClusterRole", "Service", "Node"];
        let objects = kinds.iter().flat_map(|kind| api.list(kind).unwrap());
        objects.map(|object| format!("{}/{}", object["kind"], object["metadata"]["name"])).collect()
    };
    let before = ids();
    api.create(&objects::namespace("team", json!({}))).unwrap();
    api.create(&objects::policy("team/closed", json!({"podSelector": {}}))).unwrap();
    api.create(&objects::service_account("team/agent")).unwrap();
    api.create(&objects::pod("team/bound", "n1", json!({}), &[])).unwrap();
    let mut stuck = objects::pod("default/stuck", "n1", json!({}), &[]);
    stuck["metadata"]["finalizers"] = json!(["example.com/never"]);
    api.create(&stuck).unwrap();
    api.delete("Pod", "default/stuck").unwrap();
    assert_eq!(ids().len(), before.len() + 5);
    assert!(control_plane.empty().unwrap());
    assert_eq!(ids(), before);
}

#[test]
fn a_dry_run_says_what_is_wrong_and_stores_nothing() {
    let control_plane = Lease::new();
    let api = control_plane.api();
    let sound = objects::policy("default/p", json!({"podSelector": {}}));
    assert_eq!(api.dry_run(&sound).unwrap()["spec"]["policyTypes"], json!(["Ingress"]), "with its defaults");
    assert_eq!(refusal(api.get("NetworkPolicy", "default/p")).code, 404);
    let misspelt = objects::policy("default/p", json!({"podSelectr": {}}));
    assert!(refusal(api.dry_run(&misspelt)).message.contains("unknown field \"spec.podSelectr\""));
    let broken = objects::policy("default/p", json!({"podSelector": {}, "policyTypes": ["Foo"]}));
    let refused = refusal(api.dry_run(&broken));
    assert_eq!(refused.details.clone().unwrap().causes[0].field, "spec.policyTypes[0]", "{refused}");
    assert!(api.ask(Method::GET, "/version", "", &Value::Null).unwrap()["gitVersion"].is_string());
}
