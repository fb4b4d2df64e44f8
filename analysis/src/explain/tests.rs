//! What is told about flows. Whether it is true is the business of [`policy_compiler::verdict`]; here it is that what is
//! told is what the verdict has, in words that fit.

use std::net::IpAddr;

use policy_compiler::cidr::{Cidr, CidrRules, Family};
use policy_compiler::cluster::Cluster;
use policy_compiler::model::{
    ContainerPort, Direction, ExternalTrafficPolicy, IpBlock, Labels, Namespace, NamespaceScope, Object, ObjectName,
    Origin, Peer, Phase, Pod, Policy, PolicyPort, PortMatch, Protocol, Rule, Service, ServicePort, TargetPort,
    Workload,
};
use policy_compiler::selector::{Operator, Requirement, Selector};
use policy_compiler::verdict::{Endpoint, Flow, Traffic};
use proptest::prelude::*;

use super::*;

const HTTP: Traffic = Traffic::Port(Protocol::Tcp, 80);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn cidr(text: &str) -> Cidr {
    Cidr::parse(text, CidrRules::Strict).unwrap().0
}

fn pod(name: &str, node: &str, addresses: &[&str]) -> Pod {
    Pod {
        labels: [("app", name.split('-').next().unwrap())].into_iter().collect(),
        node: Some(node.into()),
        addresses: addresses.iter().map(|address| ip(address)).collect(),
        ports: vec![ContainerPort { name: Some("http".into()), number: 80, protocol: Protocol::Tcp }],
        workload: name
            .contains('-')
            .then(|| Workload { kind: "StatefulSet".into(), name: name.split('-').next().unwrap().into() }),
        ..Pod::new(ObjectName::new("shop", name))
    }
}

fn at(line: u32) -> Option<Origin> {
    Some(Origin { file: "shop.yaml".into(), line, column: 3 })
}

fn rule(line: u32, peers: Option<Vec<Peer>>, ports: Option<Vec<PolicyPort>>) -> Rule {
    Rule { peers, ports, origin: at(line) }
}

fn pods(selector: Selector) -> Peer {
    Peer::Pods { namespaces: NamespaceScope::Own, pods: selector }
}

fn tcp(ports: PortMatch) -> PolicyPort {
    PolicyPort { protocol: Protocol::Tcp, ports }
}

/// An ingress policy for the pods with `app=web`.
fn policy(name: &str, line: u32, rules: Vec<Rule>) -> Policy {
    Policy {
        name: ObjectName::new("shop", name),
        subject: Selector::label("app", "web"),
        ingress: Some(rules),
        egress: None,
        closed: false,
        origin: at(line),
    }
}

fn cluster(pods: Vec<Pod>, policies: Vec<Policy>) -> Cluster {
    let pods = pods.into_iter().map(|pod| Object::Pod(pod.into()));
    pods.chain(policies.into_iter().map(|policy| Object::Policy(policy.into()))).collect()
}

fn two(policies: Vec<Policy>) -> Cluster {
    cluster(vec![pod("web", "n1", &["10.0.0.1"]), pod("db", "n2", &["10.0.0.2"])], policies)
}

fn name(text: &str) -> crate::party::Name {
    text.parse().unwrap()
}

/// The one answer from `shop/db` to `shop/web`.
fn answer(cluster: &Cluster) -> Answer<'_> {
    let mut groups = between(cluster, &name("shop/db"), &name("shop/web"), HTTP).unwrap().groups;
    assert_eq!(groups.len(), 1);
    groups.remove(0).answer
}

fn ingress_reason(policies: Vec<Policy>) -> String {
    let cluster = two(policies);
    let answer = answer(&cluster);
    reason(&answer.verdict.ingress, Direction::Ingress)
}

#[test]
fn a_reason_is_one_line_with_its_place() {
    let web = || Some(vec![pods(Selector::label("app", "web"))]);
    let db = || Some(vec![pods(Selector::label("app", "db"))]);
    let on = |port| Some(vec![tcp(PortMatch::Range(port, port))]);
    for (policies, expected) in [
        (vec![], "not isolated"),
        (vec![policy("p", 1, vec![rule(2, db(), on(80))])], "shop/p ingress[0] allows it (shop.yaml:2)"),
        (vec![policy("p", 1, vec![])], "denied by shop/p: it has no ingress rule (shop.yaml:1)"),
        (
            vec![Policy { closed: true, ..policy("p", 1, vec![]) }],
            "denied by shop/p: it cannot be compiled and allows nothing (shop.yaml:1)",
        ),
        (
            vec![policy("p", 1, vec![rule(2, db(), on(3000))])],
            "denied by shop/p: ingress[0] lacks the port: only TCP 3000 (shop.yaml:2)",
        ),
        (
            vec![policy("p", 1, vec![rule(2, web(), on(80))])],
            "denied by shop/p: ingress[0] lacks the peer: only pods with app=web of namespace shop (shop.yaml:2)",
        ),
        (
            vec![policy("p", 1, vec![rule(2, web(), on(81))])],
            "denied by shop/p: ingress[0] lacks peer and port (shop.yaml:2)",
        ),
        (
            vec![policy("a", 1, vec![]), policy("b", 2, vec![])],
            "denied by shop/a, shop/b: it has no ingress rule (shop.yaml:2)",
        ),
        // The nearest stands last, whatever it is called.
        (
            vec![
                policy("a", 1, vec![rule(2, db(), on(81))]),
                policy("b", 3, vec![]),
                policy("c", 4, vec![rule(5, web(), None)]),
            ],
            "denied by shop/b, shop/c, shop/a: ingress[0] lacks the port: only TCP 81 (shop.yaml:2)",
        ),
        (
            vec![
                policy("a", 1, vec![]),
                policy("b", 2, vec![rule(3, web(), None)]),
                policy("c", 4, vec![]),
                policy("d", 5, vec![]),
            ],
            "denied by 4 policies, nearest shop/b: ingress[0] lacks the peer: only pods with app=web of namespace shop (shop.yaml:3)",
        ),
        (
            vec![policy(
                "p",
                1,
                vec![rule(2, None, Some((81..86).map(|port| tcp(PortMatch::Range(port, port))).collect()))],
            )],
            "denied by shop/p: ingress[0] lacks the port: only TCP 81, TCP 82 and 3 more (shop.yaml:2)",
        ),
    ] {
        assert_eq!(ingress_reason(policies), expected);
    }
}

#[test]
fn rule_24_what_no_policy_can_select_has_no_reason_to_be_denied() {
    let cluster = two(vec![]);
    let flow = Flow { from: Endpoint::address(ip("192.0.2.1")), to: Endpoint::address(ip("192.0.2.2")), traffic: HTTP };
    let answer = super::flow(&cluster, flow);
    assert_eq!(reason(&answer.verdict.egress, Direction::Egress), "no pod that policy could select");
    assert_eq!((answer.denied_at(), answer.judged_on(Direction::Egress)), (vec![], None));
}

#[test]
fn findings_stand_nearest_first_with_every_entry_of_what_does_not_match() {
    let blocks = || {
        vec![
            Peer::Block(IpBlock { cidr: cidr("10.0.0.0/8"), except: vec![cidr("10.0.0.0/24")] }),
            Peer::Block(IpBlock { cidr: cidr("fd00::/8"), except: vec![] }),
            pods(Selector::label("app", "web")),
        ]
    };
    let ports = || Some(vec![tcp(PortMatch::Named("admin".into())), tcp(PortMatch::Range(81, 90))]);
    let cluster = two(vec![
        policy("a", 1, vec![]),
        policy("b", 2, vec![rule(3, Some(blocks()), None)]),
        policy("c", 4, vec![rule(5, None, ports())]),
    ]);
    let answer = answer(&cluster);
    let told: Vec<_> = answer
        .ingress
        .iter()
        .map(|finding| {
            let entries: Vec<String> = finding
                .entries
                .iter()
                .map(|entry| format!("{} {}: {}", entry.place, entry.means, entry.lacks.join("; ")))
                .collect();
            (&*finding.policy.name.name, finding.origin.map_or(0, |origin| origin.line), entries)
        })
        .collect();
    let expected = [
        (
            "c",
            5,
            vec![
                "from every source: ".to_owned(),
                "ports[0] TCP port named admin: the destination has no port named admin".to_owned(),
                "ports[1] TCP 81-90: the flow is to 80".to_owned(),
            ],
        ),
        (
            "b",
            3,
            vec![
                "from[0] 10.0.0.0/8 except 10.0.0.0/24: the source's address is in the except 10.0.0.0/24".to_owned(),
                "from[1] fd00::/8: the source's address is IPv4".to_owned(),
                "from[2] pods with app=web of namespace shop: the source has app=db, not app=web".to_owned(),
                "ports every port and protocol: ".to_owned(),
            ],
        ),
        ("a", 1, vec![]),
    ];
    assert_eq!(told, expected);
    assert!(answer.ingress.iter().all(|finding| !finding.allows()));
}

#[test]
fn rules_44_to_48_requirements_are_told_with_what_the_pod_has() {
    let one = |operator| Selector::new([Requirement { key: "tier".into(), operator }]);
    let values = |values: &[&str]| values.iter().map(|value| (*value).into()).collect();
    for (labels, operator, expected) in [
        (vec![], Operator::In(values(&["web"])), "has no label tier"),
        (vec![("tier", "db")], Operator::In(values(&["web"])), "has tier=db, not tier=web"),
        (vec![("tier", "db")], Operator::In(values(&["api", "web"])), "has tier=db, not tier in (api,web)"),
        (vec![("tier", "")], Operator::In(values(&["web"])), "has tier=\"\", not tier=web"),
        (vec![("tier", "db")], Operator::NotIn(values(&["db"])), "has tier=db, which is ruled out"),
        (vec![("tier", "db")], Operator::DoesNotExist, "has tier=db, which is ruled out"),
        (vec![], Operator::Exists, "has no label tier"),
    ] {
        let labels: Labels = labels.into_iter().collect();
        let db = Pod { labels, ..pod("db", "n1", &[]) };
        let rules = vec![rule(2, Some(vec![pods(one(operator))]), None)];
        let cluster = cluster(vec![pod("web", "n1", &[]), db], vec![policy("p", 1, rules)]);
        assert_eq!(answer(&cluster).ingress[0].entries[0].lacks, [format!("the source {expected}")]);
    }
}

#[test]
fn rules_39_and_53_namespaces_are_told_by_name_or_by_label() {
    let elsewhere = Pod { name: ObjectName::new("ops", "db"), ..pod("db", "n1", &[]) };
    let scope = |key: &str, value: &str| NamespaceScope::Matching(Selector::label(key, value));
    for (namespaces, means, lacks) in [
        (NamespaceScope::Own, "all pods of namespace shop", "the source is in namespace ops"),
        (scope("kubernetes.io/metadata.name", "shop"), "all pods of namespace shop", "the source is in namespace ops"),
        (
            scope("team", "shop"),
            "all pods of namespaces with team=shop",
            "the source's namespace ops has team=ops, not team=shop",
        ),
    ] {
        let peer = Peer::Pods { namespaces, pods: Selector::everything() };
        let mut cluster = cluster(
            vec![pod("web", "n1", &[]), elsewhere.clone()],
            vec![policy("p", 1, vec![rule(2, Some(vec![peer]), None)])],
        );
        cluster.apply(Object::Namespace(Namespace::new("ops", &[("team", "ops")].into_iter().collect())));
        let groups = between(&cluster, &name("ops/db"), &name("shop/web"), HTTP).unwrap().groups;
        let entry = &groups[0].answer.ingress[0].entries[0];
        assert_eq!((&*entry.means, &*entry.lacks), (means, &[lacks.to_owned()][..]));
    }
}

/// The places of a path in a few words.
fn way(cluster: &Cluster, from: &str, to: &str) -> String {
    let explanation = between(cluster, &name(from), &name(to), HTTP).unwrap();
    let hop = |hop: &Hop<'_>| match hop {
        Hop::Container { port_name, .. } => format!("container{}", port_name.as_ref().map_or("", |_| " http")),
        Hop::Pod { pod, .. } => pod.name.name.to_string(),
        Hop::Node { name, judges, .. } => {
            let judges: String = judges.iter().map(|direction| format!(" {direction}")).collect();
            format!("{}{judges}", name.unwrap_or("somewhere"))
        }
        Hop::Outside { .. } => "outside".to_owned(),
    };
    explanation.groups[0].answer.path.iter().map(hop).collect::<Vec<_>>().join(" > ")
}

#[test]
fn a_path_passes_the_nodes_that_judge_it() {
    let host = |name: &str, node: &str, address: &str| Pod { host_network: true, ..pod(name, node, &[address]) };
    let unbound = |name: &str| Pod { node: None, ..pod(name, "", &[]) };
    let cluster = cluster(
        vec![
            pod("web", "n1", &["10.0.0.1"]),
            pod("near", "n1", &["10.0.0.2"]),
            pod("far", "n2", &["10.0.0.3"]),
            host("agent", "n1", "10.1.0.1"),
            host("other", "n2", "10.1.0.2"),
            unbound("a"),
            unbound("b"),
        ],
        vec![],
    );
    for (from, to, expected) in [
        ("shop/web", "shop/web", "container > web > container http"),
        ("shop/web", "shop/near", "container > web > n1 egress ingress > near > container http"),
        ("shop/web", "shop/far", "container > web > n1 egress > n2 ingress > far > container http"),
        ("shop/web", "192.0.2.1", "container > web > n1 egress > outside"),
        ("192.0.2.1", "shop/web", "outside > n1 ingress > web > container http"),
        ("192.0.2.1", "192.0.2.2", "outside > outside"),
        // Exempt: nothing is judged between a pod and its own node.
        ("shop/agent", "shop/web", "container > n1 > web > container http"),
        ("10.1.0.1", "shop/web", "n1 > web > container http"),
        ("shop/agent", "shop/far", "container > n1 > n2 ingress > far > container http"),
        ("shop/web", "shop/other", "container > web > n1 egress > n2 > container http"),
        ("shop/agent", "shop/agent", "container > n1 > container http"),
        ("shop/agent", "10.1.0.1", "container > n1"),
        // Two pods that nobody has bound yet need not share a node.
        ("shop/a", "shop/b", "container > a > somewhere egress > somewhere ingress > b > container http"),
    ] {
        assert_eq!(way(&cluster, from, to), expected, "{from} to {to}");
    }
}

#[test]
fn rule_131_one_answer_for_both_families_where_they_agree_and_two_where_not() {
    let only_v4 = |text: &str| Peer::Block(IpBlock { cidr: cidr(text), except: vec![] });
    let both = ["10.0.0.1", "fd00::1"];
    for (block, families) in [
        ("192.0.2.0/24", vec![(Some(Family::V4), false), (Some(Family::V6), false)]),
        ("10.0.0.0/8", vec![(Some(Family::V6), false), (Some(Family::V4), true)]),
    ] {
        let rules = vec![rule(2, Some(vec![only_v4(block)]), None)];
        let web = pod("web", "n1", &both);
        let cluster = cluster(vec![web, pod("db", "n2", &["10.0.0.2", "fd00::2"])], vec![policy("p", 1, rules)]);
        let explanation = between(&cluster, &name("shop/db"), &name("shop/web"), HTTP).unwrap();
        let found: Vec<_> =
            explanation.groups.iter().map(|group| (group.family, group.answer.verdict.is_allowed())).collect();
        assert_eq!(found, families);
        assert_eq!((explanation.pairs, explanation.denied), (1, 1));
    }
    let agreeing = cluster(vec![pod("web", "n1", &both), pod("db", "n2", &both)], vec![policy("p", 1, vec![])]);
    let groups = between(&agreeing, &name("shop/db"), &name("shop/web"), HTTP).unwrap().groups;
    assert_eq!((groups.len(), groups[0].family), (1, None));
}

#[test]
fn only_families_of_both_ends_that_carry_the_traffic_are_judged() {
    let cluster = cluster(
        vec![
            pod("four", "n1", &["10.0.0.1"]),
            pod("six", "n1", &["fd00::1"]),
            pod("both", "n2", &["10.0.0.2", "fd00::2"]),
        ],
        vec![],
    );
    let (icmp, icmpv6) = (Traffic::Other(1), Traffic::Other(58));
    for (from, to, traffic, expected) in [
        ("four", "both", HTTP, Some("10.0.0.2")),
        ("six", "both", HTTP, Some("fd00::2")),
        ("both", "both", icmpv6, Some("fd00::2")),
        ("both", "four", icmp, Some("10.0.0.1")),
        ("four", "six", HTTP, None),
        ("six", "both", icmp, None),
    ] {
        let [from, to] = [from, to].map(|pod| name(&format!("shop/{pod}")));
        let answer = between(&cluster, &from, &to, traffic).unwrap().groups.remove(0).answer;
        assert_eq!(answer.flow.to.address, expected.map(ip), "{from} to {to}");
        assert_eq!(answer.notes.contains(&Note::NoCommonFamily), expected.is_none(), "{from} to {to}");
    }
}

fn service(selector: &[(&str, &str)], target: TargetPort) -> Service {
    Service {
        name: ObjectName::new("shop", "front"),
        headless: false,
        families: vec![Family::V4],
        node_ports: false,
        external_traffic_policy: ExternalTrafficPolicy::Cluster,
        selector: Some(selector.iter().copied().collect()),
        addresses: vec![ip("10.96.0.1")],
        ports: vec![ServicePort { name: None, protocol: Protocol::Tcp, port: 8080, target, node_port: None }],
        external_name: None,
        origin: None,
    }
}

#[test]
fn rule_141_a_service_leads_to_the_target_port_of_each_backend() {
    let other = ContainerPort { name: Some("http".into()), number: 8000, protocol: Protocol::Tcp };
    let mut cluster = cluster(
        vec![
            pod("web-1", "n1", &[]),
            Pod { ports: vec![other], ..pod("web-2", "n1", &[]) },
            Pod { ports: vec![], ..pod("web-3", "n1", &[]) },
            pod("db", "n2", &[]),
        ],
        vec![],
    );
    cluster.apply(Object::Service(service(&[("app", "web")], TargetPort::Name("http".into())).into()));
    for to in ["shop/front", "shop/svc/front", "10.96.0.1"] {
        let explanation = between(&cluster, &name("shop/db"), &name(to), Traffic::Port(Protocol::Tcp, 8080)).unwrap();
        let backends: Vec<_> = explanation.route.unwrap().backends.iter().map(|backend| backend.port).collect();
        assert_eq!(backends, [Some(80), Some(8000), None]);
        let judged: Vec<_> = explanation.groups.iter().map(|group| group.answer.flow.traffic).collect();
        assert_eq!(judged, [80, 8000].map(|port| Traffic::Port(Protocol::Tcp, port)));
        assert_eq!(explanation.pairs, 2);
    }
}

#[test]
fn services_that_lead_nowhere_are_errors_that_say_why() {
    let number = || TargetPort::Number(80);
    let fine = || service(&[("app", "web")], number());
    let external = Service { external_name: Some("x.example".into()), selector: None, ..fine() };
    for (service, port, expected) in [
        (fine(), 80, "Service shop/front has no port TCP 80; it has TCP 8080"),
        (Service { ports: vec![], ..fine() }, 80, "Service shop/front has no port TCP 80; it has none"),
        (Service { selector: None, ..fine() }, 8080, "Service shop/front has no selector"),
        (
            service(&[("app", "x")], number()),
            8080,
            "no live pod in namespace shop has the labels of Service shop/front: app=x",
        ),
        (
            service(&[("app", "web")], TargetPort::Name("no".into())),
            8080,
            "no pod behind Service shop/front has a TCP port named no, which its port 8080 leads to",
        ),
        (external, 8080, "Service shop/front is only another name, x.example, in DNS"),
    ] {
        let mut cluster = two(vec![]);
        cluster.apply(Object::Service(service.into()));
        let asked = between(&cluster, &name("shop/db"), &name("shop/front"), Traffic::Port(Protocol::Tcp, port));
        let error = asked.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
        let back = between(&cluster, &name("shop/front"), &name("shop/db"), HTTP).unwrap_err();
        assert_eq!(back, ExplainError::ServiceAsSource(ObjectName::new("shop", "front")));
    }
}

/// As many replicas of `web` and of `db` as given, of which those with an odd number have a label of their own.
fn crowd(web: usize, db: usize) -> Vec<Pod> {
    let replica = |of: &str, number: usize| {
        let pod = pod(&format!("{of}-{number}"), "n1", &[]);
        Pod { labels: pod.labels.with("odd", if number % 2 == 1 { "yes" } else { "no" }), ..pod }
    };
    (0..web).map(|number| replica("web", number)).chain((0..db).map(|number| replica("db", number))).collect()
}

#[test]
fn pairs_with_the_same_reasons_come_once_and_the_denied_first() {
    let rules = vec![rule(2, Some(vec![pods(Selector::label("odd", "yes"))]), None)];
    let cluster = cluster(crowd(3, 4), vec![policy("p", 1, rules)]);
    let explanation = between(&cluster, &name("shop/db"), &name("shop/sts/web"), HTTP).unwrap();
    let groups: Vec<_> = explanation
        .groups
        .iter()
        .map(|group| {
            let Flow { from, to, .. } = group.answer.flow;
            (group.pairs, group.answer.verdict.is_allowed(), from.to_string(), to.to_string())
        })
        .collect();
    let named = |pod: &str| format!("shop/{pod}");
    let expected = [(6, false, named("db-0"), named("web-0")), (6, true, named("db-1"), named("web-0"))];
    assert_eq!(groups, expected);
    assert_eq!((explanation.pairs, explanation.denied, explanation.is_allowed()), (12, 6, false));
}

#[test]
fn too_many_pairs_are_refused() {
    let cluster = cluster(crowd(400, 251), vec![]);
    let error = between(&cluster, &name("shop/db"), &name("shop/web"), HTTP).unwrap_err();
    assert!(matches!(error, ExplainError::TooManyPairs { from_pods: 251, to_pods: 400, .. }), "{error}");
}

#[test]
fn pods_that_are_not_quite_there_are_noted() {
    let leaving = Pod { terminating: true, ..pod("db", "n1", &["10.0.0.2"]) };
    let done = Pod { phase: Phase::Finished, ..pod("done", "n1", &[]) };
    let cluster = cluster(vec![pod("web", "n1", &["10.0.0.1"]), leaving, pod("new", "n1", &[]), done], vec![]);
    let of = |pod: &str| cluster.pod(&ObjectName::new("shop", pod)).unwrap();
    for (pod, note) in
        [("db", Note::Terminating(of("db"))), ("new", Note::NoAddress(of("new"))), ("done", Note::Finished(of("done")))]
    {
        let from = name(&format!("shop/{pod}"));
        let groups = between(&cluster, &from, &name("shop/web"), HTTP).unwrap().groups;
        assert_eq!(groups[0].answer.notes, [note]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// However pairs are grouped, every pair stands in one group, and each group's answer is what the judge says.
    #[test]
    fn groups_are_the_pairs_that_the_judge_judges(web in 1_usize..5, db in 1_usize..5, odd in any::<bool>(), port in 79_u16..82) {
        let peers = odd.then(|| vec![pods(Selector::label("odd", "yes"))]);
        let rules = vec![rule(2, peers, Some(vec![tcp(PortMatch::Range(80, 81))]))];
        let cluster = cluster(crowd(web, db), vec![policy("p", 1, rules)]);
        let traffic = Traffic::Port(Protocol::Tcp, port);
        let explanation = between(&cluster, &name("shop/db"), &name("shop/web"), traffic).unwrap();
        let of = |prefix: &str| cluster.pods().filter(|pod| pod.name.name.starts_with(prefix)).collect::<Vec<_>>();
        let mut denied = 0;
        for from in of("db-") {
            for to in of("web-") {
                let flow = Flow { from: Endpoint::pod(from, None), to: Endpoint::pod(to, None), traffic };
                denied += usize::from(!policy_compiler::verdict::judge(&cluster, &flow).is_allowed());
            }
        }
        prop_assert_eq!(explanation.denied, denied);
        prop_assert_eq!(explanation.pairs, web * db);
        let in_groups = |allowed: bool| -> usize {
            let groups = explanation.groups.iter().filter(|group| group.answer.verdict.is_allowed() == allowed);
            groups.map(|group| group.pairs).sum()
        };
        prop_assert_eq!((in_groups(false), in_groups(true)), (denied, web * db - denied));
    }
}
