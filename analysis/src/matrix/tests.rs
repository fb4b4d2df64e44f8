//! Cells that pairs of pods make together, and questions that are refused.

use policy_compiler::cluster::Cluster;
use policy_compiler::model::{Namespace, Node, Object, ObjectName, Phase, Pod, Policy, Workload};
use policy_compiler::selector::Selector;

use super::*;

fn pod(name: &str, node: &str, workload: Option<(&str, &str)>) -> Pod {
    Pod {
        node: Some(node.into()),
        workload: workload.map(|(kind, name)| Workload { kind: kind.into(), name: name.into() }),
        labels: [("app", name.split('-').next().unwrap())].into_iter().collect(),
        ..Pod::new(ObjectName::new("shop", name))
    }
}

fn deny(app: &str) -> Object {
    let policy = Policy {
        name: ObjectName::new("shop", "deny"),
        closed: false,
        subject: Selector::label("app", app),
        ingress: Some(Vec::new()),
        egress: None,
        origin: None,
    };
    Object::Policy(policy.into())
}

fn cluster(pods: impl IntoIterator<Item = Pod>, others: impl IntoIterator<Item = Object>) -> Cluster {
    pods.into_iter().map(|pod| Object::Pod(pod.into())).chain(others).collect()
}

fn question(from: &str, to: &str) -> Question {
    let pattern = |text: &str| vec![text.parse::<Pattern>().unwrap()];
    Question { ports: vec![(Protocol::Tcp, 80)], from: pattern(from), to: pattern(to), ..Question::default() }
}

fn cell(cluster: &Cluster, from: &str, to: &str) -> Cell {
    let matrix = Matrix::of(cluster, &question(from, to)).unwrap();
    assert_eq!((matrix.rows.len(), matrix.columns.len()), (1, 1));
    matrix.cell(0, 0, 0)
}

/// Two nodes, each with an agent on its network, and two pods that nobody may send to.
fn agents() -> Vec<Pod> {
    let agent = |name, node| Pod { host_network: true, ..pod(name, node, Some(("DaemonSet", "agent"))) };
    let web = |name, node| pod(name, node, Some(("Deployment", "web")));
    vec![agent("agent-1", "n1"), agent("agent-2", "n2"), web("web-1", "n1"), web("web-2", "n2")]
}

#[test]
fn rules_102_and_104_agents_reach_the_pods_of_their_own_nodes_only() {
    let cluster = cluster(agents(), [deny("web")]);
    assert_eq!(cell(&cluster, "shop/ds/agent", "shop/deploy/web"), Cell::Some);
    assert_eq!(cell(&cluster, "shop/agent-1", "shop/web-1"), Cell::Allowed);
    assert_eq!(cell(&cluster, "shop/agent-1", "shop/web-2"), Cell::Denied);
    assert_eq!(cell(&cluster, "shop/deploy/web", "shop/ds/agent"), Cell::Allowed);
    assert_eq!(cell(&cluster, "shop/deploy/web", "shop/deploy/web"), Cell::Denied, "two pods, none of them itself");
}

#[test]
fn rule_102_agents_of_one_node_are_exempt_altogether() {
    let pods = agents().into_iter().map(|pod| Pod { node: Some("n1".into()), ..pod });
    assert_eq!(cell(&cluster(pods, [deny("web")]), "shop/ds/agent", "shop/deploy/web"), Cell::Allowed);
    let homeless = agents().into_iter().map(|pod| Pod { node: None, ..pod });
    assert_eq!(cell(&cluster(homeless, [deny("web")]), "shop/ds/agent", "shop/deploy/web"), Cell::Denied);
}

#[test]
fn rule_99_a_pod_and_itself_are_a_cell_of_their_own() {
    let cluster = cluster([pod("web-1", "n1", Some(("Deployment", "web"))), pod("db", "n1", None)], [deny("db")]);
    assert_eq!(cell(&cluster, "shop/db", "shop/db"), Cell::Itself);
    assert_eq!(cell(&cluster, "shop/deploy/web", "shop/deploy/web"), Cell::Itself, "the only pod of its workload");
}

#[test]
fn rule_132_one_family_of_two() {
    let dual = |name: &str, v4: &str, v6: &str| Pod {
        addresses: [v4, v6].iter().filter_map(|text| text.parse().ok()).collect(),
        ..pod(name, "n1", None)
    };
    let pods = [dual("a", "10.0.0.1", "fd00::1"), dual("b", "10.0.0.2", "fd00::2"), dual("c", "", "fd00::3")];
    let rule = policy_compiler::model::Rule {
        peers: Some(vec![policy_compiler::model::Peer::Block(policy_compiler::model::IpBlock {
            cidr: Cidr::parse("10.0.0.0/24", policy_compiler::cidr::CidrRules::Strict).unwrap().0,
            except: Vec::new(),
        })]),
        ports: None,
        origin: None,
    };
    let Object::Policy(mut policy) = deny("b") else { unreachable!() };
    policy.ingress = Some(vec![rule]);
    let cluster = cluster(pods, [Object::Policy(policy)]);
    assert_eq!(cell(&cluster, "shop/a", "shop/b"), Cell::Only(policy_compiler::cidr::Family::V4));
    assert_eq!(cell(&cluster, "shop/c", "shop/b"), Cell::Denied);
}

#[test]
fn a_filter_that_matches_nobody_is_refused() {
    let finished = Pod { phase: Phase::Finished, ..pod("old", "n1", None) };
    let cluster = cluster([pod("web", "n1", None), finished], []);
    let refused = Matrix::of(&cluster, &question("shop/web", "shop/wbe")).unwrap_err();
    assert_eq!(refused, MatrixError::Nobody("shop/wbe".parse::<Pattern>().unwrap()));
    assert!(refused.to_string().contains("shop/wbe matches no pod"), "{refused}");
}

#[test]
fn what_nobody_could_read_is_refused() {
    let pods = (0..1000).map(|n| pod(&format!("p-{n}"), "n1", None));
    let others = [
        Object::Namespace(Namespace { name: "shop".into(), labels: Default::default(), origin: None }),
        Object::Node(Node { name: "n1".into(), origin: None }),
    ];
    let cluster = cluster(pods, others);
    let ports = |count: u16| (1..=count).map(|port| (Protocol::Tcp, port)).collect();
    let refused = Matrix::of(&cluster, &Question { ports: ports(21), ..Question::default() }).unwrap_err();
    assert_eq!(refused, MatrixError::TooLarge { rows: 1000, columns: 1000, ports: 21 });
    assert!(refused.to_string().contains("21000000 cells"), "{refused}");
    let narrowed =
        Question { from: vec!["shop/p-7".parse::<Pattern>().unwrap()], ports: ports(21), ..Question::default() };
    assert_eq!(Matrix::of(&cluster, &narrowed).unwrap().rows.len(), 1);
}
