//! Who is meant by which text.

use policy_compiler::cidr::Family;
use policy_compiler::cluster::Cluster;
use policy_compiler::model::{
    ExternalTrafficPolicy, Labels, Object, ObjectName, Phase, Pod, Protocol, Service, Workload,
};
use policy_compiler::verdict::Traffic;
use proptest::prelude::*;

use super::*;

fn pod(namespace: &str, name: &str, workload: Option<(&str, &str)>) -> Pod {
    Pod {
        labels: [("app", name)].into_iter().collect(),
        workload: workload.map(|(kind, name)| Workload { kind: kind.into(), name: name.into() }),
        ..Pod::new(ObjectName::new(namespace, name))
    }
}

fn service(name: &str, address: &str) -> Object {
    let service = Service {
        name: ObjectName::new("shop", name),
        headless: false,
        families: vec![Family::V4],
        node_ports: false,
        external_traffic_policy: ExternalTrafficPolicy::Cluster,
        selector: None,
        addresses: vec![address.parse().unwrap()],
        ports: Vec::new(),
        external_name: None,
        origin: None,
    };
    Object::Service(service.into())
}

fn cluster() -> Cluster {
    let pods = [
        pod("shop", "web-1", Some(("Deployment", "web"))),
        pod("shop", "web-2", Some(("Deployment", "web"))),
        Pod { phase: Phase::Finished, ..pod("shop", "web-3", Some(("Deployment", "web"))) },
        pod("shop", "db", None),
        pod("shop", "db-0", Some(("StatefulSet", "db"))),
        pod("shop", "twin-a", Some(("DaemonSet", "twin"))),
        pod("shop", "twin-b", Some(("StatefulSet", "twin"))),
        pod("ops", "web-1", Some(("Deployment", "web"))),
        Pod { phase: Phase::Finished, ..pod("shop", "once-1", Some(("Job", "once"))) },
        pod("default", "solo", None),
        pod("shop", "svc", None),
    ];
    let services = [service("web", "10.96.0.1"), service("front", "10.96.0.2")];
    pods.map(|pod| Object::Pod(pod.into())).into_iter().chain(services).collect()
}

/// Who is meant, in a few words; or why nobody is.
fn meant(name: &str) -> String {
    let name: Name = match name.parse() {
        Ok(name) => name,
        Err(error) => return error.to_string(),
    };
    match name.resolve(&cluster()) {
        Ok(Party::Pods(pods)) => pods.iter().map(|pod| pod.name.to_string()).collect::<Vec<_>>().join(" "),
        Ok(Party::Service(service)) => format!("Service {}", service.name),
        Ok(Party::Address(address)) => format!("address {address}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_name_means_the_pod_else_the_workload_else_the_service() {
    for (name, expected) in [
        ("shop/web-1", "shop/web-1"),
        ("shop/db", "shop/db"),
        ("shop/web", "shop/web-1 shop/web-2"),
        ("shop/front", "Service shop/front"),
        ("solo", "default/solo"),
        // Asked for by name a finished pod is there; as one of its workload's pods it is not (rule 124).
        ("shop/web-3", "shop/web-3"),
    ] {
        assert_eq!(meant(name), expected, "{name}");
    }
}

#[test]
fn a_kind_in_front_decides() {
    for (name, expected) in [
        ("shop/sts/db", "shop/db-0"),
        ("shop/statefulset/db", "shop/db-0"),
        ("shop/pod/db", "shop/db"),
        ("shop/svc/web", "Service shop/web"),
        ("ops/deploy/web", "ops/web-1"),
        ("pod/solo", "default/solo"),
        // Of two parts the first is a kind if it can be one.
        ("shop/pod/svc", "shop/svc"),
    ] {
        assert_eq!(meant(name), expected, "{name}");
    }
}

#[test]
fn every_kind_is_read_in_each_of_its_spellings_and_printed_as_the_short_one() {
    for (spellings, short) in [
        ("pod pods po", "pod"),
        ("deploy deployment deployments", "deploy"),
        ("sts statefulset statefulsets", "sts"),
        ("ds daemonset daemonsets", "ds"),
        ("rs replicaset replicasets", "rs"),
        ("rc replicationcontroller replicationcontrollers", "rc"),
        ("job jobs", "job"),
        ("cj cronjob cronjobs", "cj"),
        ("svc service services", "svc"),
    ] {
        for spelling in spellings.split(' ') {
            let name: Name = format!("shop/{spelling}/web").parse().unwrap();
            assert_eq!(name.to_string(), format!("shop/{short}/web"), "{spelling}");
        }
    }
    assert_eq!(Kind::parse("Deployment"), None);
    assert_eq!(Kind::short("Rollout"), "Rollout");
}

#[test]
fn an_address_means_a_service_or_whoever_has_it() {
    assert_eq!(meant("10.96.0.1"), "Service shop/web");
    assert_eq!(meant("10.0.0.1"), "address 10.0.0.1");
    assert_eq!(meant("::ffff:10.0.0.1"), "address 10.0.0.1");
    assert_eq!(meant("fd00::1"), "address fd00::1");
}

#[test]
fn unknown_names_say_what_was_probably_meant() {
    for (name, expected) in [
        ("shop/wbe-1", "there is no pod, workload or Service shop/wbe-1 in the input; did you mean shop/web-1?"),
        ("shop/frnot", "there is no pod, workload or Service shop/frnot in the input; did you mean shop/svc/front?"),
        ("shop/sts/web", "there is no StatefulSet shop/web in the input; did you mean shop/deploy/web?"),
        ("shop/svc/db", "there is no Service shop/db in the input; did you mean shop/db?"),
        ("db-0", "there is no pod, workload or Service default/db-0 in the input; did you mean shop/db-0?"),
        ("shop/completely-else", "there is no pod, workload or Service shop/completely-else in the input"),
        // Its only pod has finished.
        ("shop/job/once", "there is no Job shop/once in the input; did you mean shop/once-1?"),
        ("shop/twin", "shop/twin is the name of several workloads: shop/ds/twin, shop/sts/twin; say which"),
    ] {
        assert_eq!(meant(name), expected, "{name}");
    }
}

#[test]
fn what_is_no_name_is_refused() {
    for text in
        ["", "/", "shop/", "/web", "shop/deploy/", "a/b/c", "a/b/c/d", "Shop/web", "shop/web*", "10.0.0.0/8", "sh op/x"]
    {
        assert!(text.parse::<Name>().is_err(), "{text:?}");
    }
}

#[test]
fn names_are_printed_as_they_are_read() {
    for text in ["shop/web", "shop/deploy/web", "10.0.0.1", "fd00::1", "shop/pod/a.b"] {
        assert_eq!(text.parse::<Name>().unwrap().to_string(), text);
    }
    assert_eq!("web".parse::<Name>().unwrap().to_string(), "default/web");
    assert_eq!("deploy/web".parse::<Name>().unwrap().to_string(), "deploy/web");
}

fn matched(pattern: &str) -> String {
    let pattern: Pattern = pattern.parse().unwrap();
    let cluster = cluster();
    pattern.pods(&cluster).iter().map(|pod| pod.name.to_string()).collect::<Vec<_>>().join(" ")
}

#[test]
fn patterns_match_by_name_workload_and_kind() {
    for (pattern, expected) in [
        ("shop/web-1", "shop/web-1"),
        ("*/web-1", "ops/web-1 shop/web-1"),
        ("shop/web", "shop/web-1 shop/web-2 shop/web-3"),
        ("ops/*", "ops/web-1"),
        ("shop/pod/d*", "shop/db shop/db-0"),
        ("shop/sts/*", "shop/db-0 shop/twin-b"),
        ("shop/ds/twin", "shop/twin-a"),
        ("solo", "default/solo"),
        ("shop/nobody", ""),
    ] {
        assert_eq!(matched(pattern), expected, "{pattern}");
    }
}

#[test]
fn patterns_match_by_labels_as_kubectl_has_them() {
    for (pattern, expected) in [
        ("app=web-1", "ops/web-1 shop/web-1"),
        ("shop:app=web-1", "shop/web-1"),
        ("o*:app==web-1", "ops/web-1"),
        ("default:app!=db", "default/solo"),
        ("default:!app", ""),
        ("ops:app,app=web-1", "ops/web-1"),
        // A label that is missing has no value that could be ruled out (rule 45).
        ("ops:tier!=x", "ops/web-1"),
    ] {
        assert_eq!(matched(pattern), expected, "{pattern}");
    }
    let labels: Labels = [("app", "db")].into_iter().collect();
    let cluster = cluster();
    let found = Pattern::labels(Some("shop"), &labels).pods(&cluster).len();
    assert_eq!((found, Pattern::labels(None, &labels).to_string()), (1, "app=db".to_owned()));
}

#[test]
fn patterns_match_by_address() {
    let both = Pod { addresses: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()], ..pod("a", "b", None) };
    for (pattern, matches) in
        [("10.0.0.1", true), ("10.0.0.2", false), ("10.0.0.0/24", true), ("fd00::/8", true), ("192.0.2.0/24", false)]
    {
        assert_eq!(pattern.parse::<Pattern>().unwrap().matches(&both), matches, "{pattern}");
    }
}

#[test]
fn what_is_no_pattern_is_refused() {
    for text in ["", "a/b/c/d", "a/what/b", "A/b", "=x", "!", "a=b,,c=d"] {
        assert_eq!(text.parse::<Pattern>(), Err(PatternError::Malformed(text.to_owned())), "{text:?}");
    }
    assert_eq!("shop/svc/web".parse::<Pattern>(), Err(PatternError::Service("shop/svc/web".to_owned())));
}

#[test]
fn patterns_are_printed_as_they_are_read() {
    for text in ["shop/web*", "*/deploy/web", "app=web", "shop:app=web,tier notin (db)", "10.0.0.1", "10.0.0.0/8"] {
        let read = match text.split_once(" notin (db)") {
            Some((front, _)) => format!("{}!=db", front),
            None => text.to_owned(),
        };
        assert_eq!(read.parse::<Pattern>().unwrap().to_string(), text);
    }
}

#[test]
fn ports_are_numbers_with_a_protocol() {
    let port = |protocol, number| Ok(Traffic::Port(protocol, number));
    for (text, expected) in [
        ("80", port(Protocol::Tcp, 80)),
        ("53/udp", port(Protocol::Udp, 53)),
        ("53/UDP", port(Protocol::Udp, 53)),
        ("65535/Sctp", port(Protocol::Sctp, 65535)),
        ("icmp", Ok(Traffic::Other(1))),
        ("ICMPv6", Ok(Traffic::Other(58))),
    ] {
        assert_eq!(parse_traffic(text), expected, "{text}");
    }
    for text in ["", "0", "65536", "+80", "-1", "80/", "/tcp", "80/icmp", "http", "80/tcp/udp", " 80"] {
        assert_eq!(parse_traffic(text), Err(PortError(text.to_owned())), "{text:?}");
    }
    assert!(parse_port("icmp").is_err());
}

/// A star is nothing, or one character and a star.
fn matches_slowly(glob: &[u8], text: &[u8]) -> bool {
    match (glob, text) {
        ([], []) => true,
        ([b'*', glob @ ..], _) if matches_slowly(glob, text) => true,
        ([b'*', ..], [_, text @ ..]) => matches_slowly(glob, text),
        ([wanted, glob @ ..], [found, text @ ..]) if wanted == found => matches_slowly(glob, text),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_glob_matches_what_a_naive_matcher_does(glob in "[ab*]{0,8}", text in "[ab]{0,8}") {
        prop_assert_eq!(Glob::new(&glob).matches(&text), matches_slowly(glob.as_bytes(), text.as_bytes()));
    }

    #[test]
    fn no_text_makes_a_name_or_a_pattern_panic(text in "\\PC{0,20}|[a-z*=!,:/.0-9-]{0,20}") {
        _ = text.parse::<Name>();
        _ = text.parse::<Pattern>();
        _ = parse_traffic(&text);
        _ = Glob::new(&text).matches(&text);
    }
}

#[test]
fn a_namespace_that_is_called_like_a_kind_is_found() {
    let workload = Some(Workload { kind: "Job".into(), name: "mail".into() });
    let cluster: Cluster = [
        Pod::new(ObjectName::new("jobs", "mail-1")),
        Pod { workload: workload.clone(), ..Pod::new(ObjectName::new("jobs", "night")) },
        Pod { workload, ..Pod::new(ObjectName::new("default", "mail-2")) },
    ]
    .map(|pod| Object::Pod(pod.into()))
    .into_iter()
    .collect();
    let party = |name: &str| match name.parse::<Name>().unwrap().resolve(&cluster) {
        Ok(Party::Pods(pods)) => pods.iter().map(|pod| pod.name.to_string()).collect::<Vec<_>>().join(" "),
        other => format!("{other:?}"),
    };
    assert_eq!(party("jobs/mail-1"), "jobs/mail-1");
    assert_eq!(party("jobs/mail"), "default/mail-2", "the kind comes first");
    assert_eq!(party("jobs/job/mail"), "jobs/night");
    let pods = |pattern: &str| -> Vec<String> {
        let pattern: Pattern = pattern.parse().unwrap();
        pattern.pods(&cluster).iter().map(|pod| pod.name.to_string()).collect()
    };
    assert_eq!(pods("jobs/*"), ["default/mail-2", "jobs/mail-1", "jobs/night"]);
    assert_eq!(pods("jobs/mail-*"), ["jobs/mail-1"]);
}
