//! How two versions are made comparable, and how changes are put together. That they are the right ones is held against
//! the literal reading by property tests.

use std::collections::BTreeMap;
use std::net::IpAddr;

use policy_compiler::cidr::{Cidr, CidrRules};
use policy_compiler::cluster::{AddressPools, Cluster};
use policy_compiler::model::{
    Direction, Labels, NamespaceScope, Node, Object, ObjectName, Peer, Pod, Policy, Rule, Workload,
};
use policy_compiler::selector::Selector;

use super::*;

fn pod(name: &str) -> Pod {
    let labels: Labels = [("app", name)].into_iter().collect();
    Pod { labels, ..Pod::new(ObjectName::new("shop", name)) }
}

/// `web-1` is a pod of Deployment web.
fn replica(name: &str) -> Pod {
    let workload = name.split('-').next().unwrap();
    Pod { workload: Some(Workload { kind: "Deployment".into(), name: workload.into() }), ..pod(name) }
}

fn node(name: &str) -> Object {
    Object::Node(Node { name: name.into(), origin: None })
}

fn cluster(pods: impl IntoIterator<Item = Pod>, others: impl IntoIterator<Item = Object>) -> Cluster {
    pods.into_iter().map(|pod| Object::Pod(pod.into())).chain(others).collect()
}

fn app(name: &str) -> Selector {
    Selector::label("app", name)
}

/// Who is isolated for ingress, and from whom it still receives everything.
fn ingress(name: &str, subject: Selector, from: Option<Selector>) -> Object {
    let peer = |pods| Peer::Pods { namespaces: NamespaceScope::Own, pods };
    let rules = from.map(|from| Rule { peers: Some(vec![peer(from)]), ports: None, origin: None });
    let policy = Policy {
        name: ObjectName::new("shop", name),
        closed: false,
        subject,
        ingress: Some(rules.into_iter().collect()),
        egress: None,
        origin: None,
    };
    Object::Policy(policy.into())
}

fn pools(cidr: &str) -> AddressPools {
    AddressPools::new([Cidr::parse(cidr, CidrRules::Strict).unwrap().0]).unwrap()
}

/// Node and addresses by pod.
fn places(cluster: &Cluster) -> BTreeMap<String, (Option<String>, Vec<IpAddr>)> {
    let place = |pod: &Pod| (pod.node.as_deref().map(str::to_owned), pod.addresses.clone());
    cluster.pods().map(|pod| (pod.name.name.to_string(), place(pod))).collect()
}

#[test]
fn pods_of_both_versions_stay_where_they_are() {
    let nodes = || [node("n1"), node("n2")];
    let mut old = cluster([pod("b"), pod("c"), pod("z")], nodes());
    // By themselves these would be b on n2 and c on n1, with other addresses.
    let mut new = cluster([pod("a"), pod("b"), pod("c")], nodes());
    place_alike(&mut old, &mut new, "n", Some(&pools("10.0.0.0/29"))).unwrap();
    let (before, now) = (places(&old), places(&new));
    assert_eq!((&before["b"], &before["c"]), (&now["b"], &now["c"]));
    assert_eq!([&before["b"], &before["c"]].map(|place| place.0.as_deref()), [Some("n1"), Some("n2")]);
    let mut addresses: Vec<_> = before.values().chain([&now["a"]]).flat_map(|place| place.1.clone()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), 4, "no address twice: {before:?} {now:?}");
}

#[test]
fn what_a_manifest_says_of_a_pod_is_not_changed() {
    let fixed = |node: &str, address: &str| Pod {
        node: Some(node.into()),
        addresses: vec![address.parse().unwrap()],
        ..pod("a")
    };
    let mut old = cluster([fixed("n1", "10.0.0.1"), pod("b")], []);
    let mut new = cluster([fixed("n2", "10.0.0.2"), pod("b")], []);
    place_alike(&mut old, &mut new, "n", Some(&pools("10.0.0.0/29"))).unwrap();
    assert_eq!(places(&old)["a"], (Some("n1".into()), vec!["10.0.0.1".parse().unwrap()]));
    assert_eq!(places(&new)["a"], (Some("n2".into()), vec!["10.0.0.2".parse().unwrap()]));
    assert_eq!(places(&old)["b"], places(&new)["b"]);
}

#[test]
fn daemon_sets_have_a_pod_on_every_node_of_either_version() {
    let agent = || Pod { workload: Some(Workload { kind: "DaemonSet".into(), name: "agent".into() }), ..pod("agent") };
    let mut old = cluster([agent()], [node("n1")]);
    let mut new = cluster([agent()], [node("n2")]);
    place_alike(&mut old, &mut new, "n", None).unwrap();
    assert_eq!(places(&old).into_keys().collect::<Vec<_>>(), ["agent-n1", "agent-n2"]);
    assert_eq!(places(&old), places(&new));
    assert!(Connectivity::between(&old, &new).is_empty());
}

#[test]
fn a_pool_must_suffice_for_both_versions_together() {
    let old = cluster([pod("a"), pod("b"), pod("c")], []);
    let new = cluster([pod("d"), pod("e"), pod("f")], []);
    let placed = |cidr| place_alike(&mut old.clone(), &mut new.clone(), "n", Some(&pools(cidr)));
    assert_eq!(placed("10.0.0.0/29"), Ok(()));
    assert!(matches!(placed("10.0.0.0/30"), Err(PlacementError::PoolExhausted { .. })), "{:?}", placed("10.0.0.0/30"));
}

/// Changes as text: effect, who, to whom.
fn changes(old: &Cluster, new: &Cluster) -> Vec<String> {
    let side = |side: &Side| match side {
        Side::Pods { unit, only: None } => unit.short(),
        Side::Pods { only: Some(pods), .. } => {
            pods.iter().map(|pod| pod.name.to_string()).collect::<Vec<_>>().join(" ")
        }
        Side::Outside { .. } => "outside".to_owned(),
    };
    let sides = |sides: &[Side]| sides.iter().map(side).collect::<Vec<_>>().join(" ");
    let connectivity = Connectivity::between(old, new);
    let text = |change: &Change| format!("{:?} {} -> {}", change.effect, sides(&change.from), sides(&change.to));
    connectivity.changes.iter().map(text).collect()
}

#[test]
fn parts_of_a_workload_that_change_alike_are_the_whole_again() {
    // In the old version web-1 and web-2 are of different classes.
    let pods = || [replica("web-1"), replica("web-2"), pod("db"), pod("log")];
    let web = |name| ingress(name, app(name), None);
    let old = cluster(pods(), [web("web-1")]);
    let new = cluster(pods(), [web("web-1"), ingress("db", app("db"), None), web("log")]);
    assert_eq!(changes(&old, &new), ["Denied db log deploy/web outside -> db log"]);
    // And where only one of them changes it is named.
    assert_eq!(changes(&old, &cluster(pods(), [web("web-1"), web("web-2")])), ["Denied db log web-1 outside -> web-2"]);
}

#[test]
fn rule_99_single_pods_share_an_entry_though_none_loses_itself() {
    // A policy for nobody asks for the label that tells them apart.
    let cluster = |policies: Vec<Object>| {
        cluster(["a", "b", "c"].map(pod), [ingress("nobody", app("none"), None)].into_iter().chain(policies))
    };
    let open = cluster(vec![]);
    let denied = cluster(vec![ingress("p", Selector::everything(), None)]);
    assert_eq!(changes(&open, &denied), ["Denied a b c outside -> a b c"]);
    // Where no other shares the change, nobody is named as its own receiver.
    let from_a = cluster(vec![ingress("p", Selector::everything(), Some(app("a")))]);
    assert_eq!(changes(&denied, &from_a), ["Allowed a -> b c"]);
    let only_b = cluster(vec![ingress("p", app("b"), None)]);
    assert_eq!(changes(&open, &only_b), ["Denied a c outside -> b"]);
}

fn on_node(node: &str, host_network: bool, pod: Pod) -> Pod {
    Pod { node: Some(node.into()), host_network, ..pod }
}

#[test]
fn rules_102_and_104_a_pod_and_its_own_node_are_left_out() {
    let pods = || [on_node("n1", false, pod("web")), on_node("n1", true, pod("near")), on_node("n2", true, pod("far"))];
    let denied = cluster(pods(), [ingress("web", app("web"), None)]);
    assert_eq!(changes(&cluster(pods(), []), &denied), ["Denied far outside -> web"]);
    // The pod moves, so that another node is its own.
    let moved = pods().map(|pod| if pod.host_network { pod } else { on_node("n2", false, pod) });
    let moved = cluster(moved, [ingress("web", app("web"), None)]);
    assert_eq!(changes(&denied, &moved), ["Allowed far -> web", "Denied near -> web"]);
}

#[test]
fn policies_that_are_written_elsewhere_have_not_changed() {
    let at = |line| Some(policy_compiler::model::Origin { file: "p.yaml".into(), line, column: 1 });
    let with = |line| {
        let Object::Policy(mut policy) = ingress("p", app("web"), Some(app("db"))) else { unreachable!() };
        policy.origin = at(line);
        for rule in policy.ingress.iter_mut().flatten() {
            rule.origin = at(line + 1);
        }
        assert!(policy.rules(Direction::Ingress).is_some());
        cluster([pod("web"), pod("db")], [Object::Policy(policy)])
    };
    assert_eq!(Connectivity::between(&with(1), &with(7)).policies, PolicyChanges::default());
}
