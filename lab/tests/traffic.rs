//! Packets between the pods of a lab, with and without rules in the node. Needs root (or a user namespace).

use std::{
    io::Write,
    net::TcpListener,
    process::{Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use lab::{
    Connection, Expectation, Flood, FloodReceiver, Lab, LabError, LabSpec, Namespace, Observed, PodNetwork, PodSpec,
    Probe, Process, Protocol, Signal, Traffic,
};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const PORTS: [(Protocol, u16); 3] = [(Protocol::Tcp, 8080), (Protocol::Udp, 5353), (Protocol::Sctp, 8080)];
const SECOND: Duration = Duration::from_secs(1);

fn lab(pods: usize) -> Result<Lab> {
    let pod = |number| PodSpec { id: format!("shop/p{number}"), node: "node".into(), ports: PORTS.into() };
    Ok(Lab::build(&LabSpec {
        nodes: vec!["node".into()],
        network: PodNetwork::default(),
        pods: (0..pods).map(pod).collect(),
        ..LabSpec::default()
    })?)
}

/// Loads rules into the node's forward hook.
fn load(lab: &Lab, rules: &str) -> Result {
    load_into(lab.namespace("node")?, "forward", rules)
}

fn load_into(namespace: &Namespace, hook: &str, rules: &str) -> Result {
    let ruleset = format!(
        "table inet test\ndelete table inet test\ntable inet test {{ chain f {{ type filter hook {hook} priority 0;\n{rules}\n}}\n}}\n"
    );
    let status = namespace.run(|| {
        let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn()?;
        nft.stdin.take().ok_or(std::io::ErrorKind::BrokenPipe)?.write_all(ruleset.as_bytes())?;
        nft.wait()
    })??;
    if status.success() { Ok(()) } else { Err(format!("nft refuses {ruleset}").into()) }
}

/// From one pod to both addresses of another, on all of [`PORTS`].
fn probes(lab: &Lab, from: &str, to: &str, expectation: Expectation) -> Result<Vec<Probe>> {
    probes_of(lab, from, to, &PORTS, expectation)
}

fn probes_of(
    lab: &Lab,
    from: &str,
    to: &str,
    ports: &[(Protocol, u16)],
    expectation: Expectation,
) -> Result<Vec<Probe>> {
    let probe = |to, &(protocol, port): &_| {
        let traffic = Traffic::Port(protocol, port);
        Probe::new(from, to, traffic, expectation)
    };
    Ok(lab.addresses(to)?.iter().flat_map(|&to| ports.iter().map(move |port| probe(to, port))).collect())
}

/// Echo requests from one pod to both addresses of another.
fn echoes(lab: &Lab, from: &str, to: &str, expectation: Expectation) -> Result<Vec<Probe>> {
    let probe = |&to| Probe::new(from, to, Traffic::Echo, expectation);
    Ok(lab.addresses(to)?.iter().map(probe).collect())
}

fn ask_echo(lab: &Lab, expectation: Expectation) -> Result<Vec<Observed>> {
    Ok(lab.probe_all(&echoes(lab, "shop/p0", "shop/p1", expectation)?, |_, _| {})?)
}

fn ask(lab: &Lab, expectation: Expectation) -> Result<Vec<Observed>> {
    Ok(lab.probe_all(&probes(lab, "shop/p0", "shop/p1", expectation)?, |_, _| {})?)
}

#[test]
fn every_pod_reaches_every_pod_and_itself_by_all_protocols_and_families() -> Result {
    let lab = lab(12)?;

    let mut all = Vec::new();
    for from in lab.pods() {
        for to in lab.pods() {
            all.extend(probes(&lab, from, to, Expectation::Allowed)?);
            all.extend(echoes(&lab, from, to, Expectation::Allowed)?);
        }
    }
    let mut answered = 0;
    let observed = lab.probe_all(&all, |_, _| answered += 1)?;
    assert_eq!(answered, 12 * 12 * 8);
    for (probe, observed) in all.iter().zip(observed) {
        assert_eq!(observed, Observed::Allowed, "{probe:?}");
    }
    Ok(())
}

/// More than the kernel's neighbour tables bear unaided: without help this takes minutes and fails.
#[test]
fn forty_pods_reach_each_other() -> Result {
    let lab = lab(40)?;
    let mut all = Vec::new();
    for from in lab.pods() {
        for to in lab.pods() {
            all.extend(probes(&lab, from, to, Expectation::Allowed)?);
        }
    }
    let observed = lab.probe_all(&all, |_, _| {})?;
    assert_eq!(observed.iter().filter(|observed| **observed != Observed::Allowed).count(), 0);
    Ok(())
}

#[test]
fn a_node_reaches_its_pods() -> Result {
    let lab = lab(1)?;
    let observed = lab.probe_all(&probes(&lab, "node", "shop/p0", Expectation::Allowed)?, |_, _| {})?;
    assert_eq!(observed, [const { Observed::Allowed }; 6]);
    Ok(())
}

#[test]
fn what_a_rule_drops_is_denied_whatever_was_expected() -> Result {
    let lab = lab(2)?;
    load(&lab, "tcp dport 8080 drop; udp dport 5353 drop; sctp dport 8080 drop;")?;
    assert_eq!(ask(&lab, Expectation::Denied)?, [const { Observed::Denied }; 6]);
    assert_eq!(ask(&lab, Expectation::Allowed)?, [const { Observed::Denied }; 6]);

    load(&lab, "")?;
    assert_eq!(ask(&lab, Expectation::Denied)?, [const { Observed::Allowed }; 6]);
    Ok(())
}

#[test]
fn one_lost_packet_is_no_denial_where_an_answer_is_expected() -> Result {
    let lab = lab(2)?;
    let probe = |expectation| -> Result<Vec<Observed>> {
        load(&lab, "tcp dport 8080 tcp flags & (syn | ack) == syn numgen inc mod 100 < 1 drop;")?;
        Ok(lab.probe_all(&probes(&lab, "shop/p0", "shop/p1", expectation)?[..1], |_, _| {})?)
    };
    assert_eq!(probe(Expectation::Denied)?, [Observed::Denied]);
    assert_eq!(probe(Expectation::Allowed)?, [Observed::Allowed]);
    Ok(())
}

#[test]
fn a_denial_may_hit_one_family_or_one_protocol() -> Result {
    use Observed::{Allowed, Denied};
    let lab = lab(2)?;
    load(&lab, "ip version 4 tcp dport 8080 drop;")?;
    assert_eq!(ask(&lab, Expectation::Allowed)?, [Denied, Allowed, Allowed, Allowed, Allowed, Allowed]);
    load(&lab, "ip6 version 6 udp dport 5353 drop; ip version 4 sctp dport 8080 drop;")?;
    assert_eq!(ask(&lab, Expectation::Allowed)?, [Allowed, Allowed, Denied, Allowed, Denied, Allowed]);
    Ok(())
}

#[test]
fn a_refusal_is_not_silence() -> Result {
    let lab = lab(2)?;
    let udp_and_sctp = "udp dport 5353 reject with icmpx admin-prohibited; sctp dport 8080 reject";
    load(&lab, &format!("tcp dport 8080 reject with tcp reset; {udp_and_sctp};"))?;
    for expectation in [Expectation::Allowed, Expectation::Denied] {
        assert_eq!(ask(&lab, expectation)?, [const { Observed::Refused }; 6]);
    }

    load(&lab, "")?;
    let unserved = PORTS.map(|(protocol, _)| (protocol, 9));
    let probes = probes_of(&lab, "shop/p0", "shop/p1", &unserved, Expectation::Allowed)?;
    assert_eq!(lab.probe_all(&probes, |_, _| {})?, [const { Observed::Refused }; 6]);
    Ok(())
}

#[test]
fn an_echo_is_allowed_dropped_or_refused_as_the_rules_say() -> Result {
    use Observed::{Allowed, Denied, Refused};
    let lab = lab(2)?;
    let echo = "icmp type echo-request";
    let echo6 = "icmpv6 type echo-request";
    for (rules, expected) in [
        ("meta l4proto { tcp, udp, sctp } drop;".to_owned(), [Allowed, Allowed]),
        (format!("{echo} drop; {echo6} drop;"), [Denied, Denied]),
        (format!("{echo} drop;"), [Denied, Allowed]),
        (format!("{echo6} drop;"), [Allowed, Denied]),
        (
            format!("{echo} reject with icmpx admin-prohibited; {echo6} reject with icmpx admin-prohibited;"),
            [Refused, Refused],
        ),
        (format!("{echo} reject; {echo6} drop;"), [Refused, Denied]),
        (format!("{echo} drop; {echo6} reject;"), [Denied, Refused]),
    ] {
        load(&lab, &rules)?;
        for expectation in [Expectation::Allowed, Expectation::Denied] {
            assert_eq!(ask_echo(&lab, expectation)?, expected, "{rules} {expectation:?}");
        }
    }
    Ok(())
}

/// As policies do it: the request is new, and its reply comes back whatever is not allowed.
#[test]
fn an_echo_is_a_flow_of_its_own_to_conntrack() -> Result {
    let lab = lab(2)?;
    let request = "ct state new icmp type echo-request accept; ct state new icmpv6 type echo-request accept;";
    let reply = "ct state established ct direction reply accept;";
    let rest = "icmp type { echo-request, echo-reply } drop; icmpv6 type { echo-request, echo-reply } drop;";
    load(&lab, &format!("{request} {reply} {rest}"))?;
    for _ in 0..3 {
        assert_eq!(ask_echo(&lab, Expectation::Denied)?, [const { Observed::Allowed }; 2]);
    }
    Ok(())
}

#[test]
fn one_lost_echo_request_is_no_denial_at_all() -> Result {
    let lab = lab(2)?;
    let first = "numgen inc mod 100 < 1 drop";
    load(&lab, &format!("icmp type echo-request {first}; icmpv6 type echo-request {first};"))?;
    assert_eq!(ask_echo(&lab, Expectation::Denied)?, [const { Observed::Allowed }; 2]);
    Ok(())
}

#[test]
fn an_echo_reply_of_another_address_or_payload_is_no_answer() -> Result {
    let lab = lab(2)?;
    // Two words that change places leave the checksum as it is: "podwall-lab" becomes "podwl-allab".
    let swap = "@th,96,16 set 0x6c2d @th,112,16 set 0x616c";
    let [address, address6] = ["10.244.1.77", "fd00:10:244:1::77"];
    for (change, change6, wrong, wrong6) in [
        (swap, swap, "podwl-allab", "podwl-allab"),
        (&format!("ip saddr set {address}"), &format!("ip6 saddr set {address6}"), address, address6),
    ] {
        load(&lab, &format!("icmp type echo-reply {change}; icmpv6 type echo-reply {change6};"))?;
        for (observed, wrong) in ask_echo(&lab, Expectation::Denied)?.iter().zip([wrong, wrong6]) {
            assert!(matches!(observed, Observed::Broken(why) if why.contains(wrong)), "{change}: {observed:?}");
        }
    }
    Ok(())
}

#[test]
fn rules_for_an_sctp_port_are_none_for_tcp_or_another_port() -> Result {
    use Observed::{Allowed, Denied, Refused};
    const ASKED: [(Protocol, u16); 3] = [(Protocol::Sctp, 80), (Protocol::Tcp, 80), (Protocol::Sctp, 81)];
    let pod = |id: &str| PodSpec { id: id.into(), node: "node".into(), ports: ASKED.into() };
    let lab = Lab::build(&LabSpec {
        nodes: vec!["node".into()],
        network: PodNetwork::default(),
        pods: vec![pod("shop/p0"), pod("shop/p1")],
        ..LabSpec::default()
    })?;
    let accept = "ct state established accept; sctp dport 80 accept; meta l4proto { tcp, sctp } drop;";
    for (rules, expected) in [
        ("sctp dport 80 drop;", [Denied, Allowed, Allowed]),
        ("sctp dport 80 reject;", [Refused, Allowed, Allowed]),
        (accept, [Allowed, Denied, Denied]),
    ] {
        load(&lab, rules)?;
        let mut probes = Vec::new();
        // Several at once, so that what one is told could be taken for another's; few enough for the kernel's limit on
        // ICMP errors.
        for _ in 0..3 {
            for (asked, expected) in ASKED.into_iter().zip(&expected) {
                let likely = if *expected == Allowed { Expectation::Allowed } else { Expectation::Denied };
                probes.extend(probes_of(&lab, "shop/p0", "shop/p1", &[asked], likely)?);
            }
        }
        let observed = lab.probe_all(&probes, |_, _| {})?;
        let expected = expected.iter().flat_map(|each| [each, each]).cycle();
        for ((probe, observed), expected) in probes.iter().zip(&observed).zip(expected) {
            assert_eq!(observed, expected, "{rules} {probe:?}");
        }
    }
    Ok(())
}

#[test]
fn an_sctp_handshake_is_new_and_established_to_conntrack() -> Result {
    let lab = lab(2)?;
    let handshake =
        "sctp dport 8080 ct state new accept; sctp sport 8080 ct state established ct direction reply accept;";
    load(&lab, &format!("{handshake} meta l4proto sctp drop;"))?;
    assert_eq!(ask(&lab, Expectation::Allowed)?, [const { Observed::Allowed }; 6]);
    Ok(())
}

#[test]
fn a_wrong_sctp_checksum_is_invalid_to_conntrack() -> Result {
    let lab = lab(2)?;
    load(&lab, "ct state invalid meta l4proto sctp reject;")?;
    assert_eq!(ask(&lab, Expectation::Allowed)?, [const { Observed::Allowed }; 6]);

    // Where the packet starts from, behind the lab's back.
    load_into(lab.namespace("shop/p0")?, "output", "meta l4proto sctp @th,64,32 set 0x12345678;")?;
    use Observed::{Allowed, Refused};
    assert_eq!(ask(&lab, Expectation::Allowed)?, [Allowed, Allowed, Refused, Allowed, Allowed, Refused]);
    Ok(())
}

/// The kernel says so: without a raw socket it has nobody for the protocol.
#[test]
fn a_pod_without_sctp_refuses_it() -> Result {
    let mut lab = lab(1)?;
    lab.add_pod(&PodSpec { id: "shop/p1".into(), node: "node".into(), ports: vec![(Protocol::Tcp, 8080)] })?;
    let probes = probes_of(&lab, "shop/p0", "shop/p1", &[(Protocol::Sctp, 8080)], Expectation::Allowed)?;
    assert_eq!(lab.probe_all(&probes, |_, _| {})?, [const { Observed::Refused }; 2]);
    Ok(())
}

#[test]
fn an_address_without_a_pod_is_silent() -> Result {
    let lab = lab(1)?;
    let mut probes = Vec::new();
    for to in ["10.244.1.200", "fd00:10:244:1::200"] {
        let to = to.parse()?;
        let probe = |traffic| Probe::new("shop/p0", to, traffic, Expectation::Allowed);
        probes.extend(PORTS.map(|(protocol, port)| probe(Traffic::Port(protocol, port))));
        probes.push(probe(Traffic::Echo));
    }
    assert_eq!(lab.probe_all(&probes, |_, _| {})?, [const { Observed::Denied }; 8]);
    Ok(())
}

#[test]
fn an_answer_of_the_wrong_pod_is_no_answer() -> Result {
    let lab = lab(3)?;
    load(&lab, "")?;
    let other = lab.addresses("shop/p2")?[0];
    let nat = format!(
        "table ip test {{ chain p {{ type nat hook prerouting priority dstnat; tcp dport 8080 dnat to {other}; udp dport 5353 dnat to {other}; sctp dport 8080 dnat to {other}; }}\n}}\n"
    );
    let nft = |args: &[&str]| {
        lab.node("node")?.namespace().run(|| Command::new("nft").args(args).status().is_ok_and(|s| s.success()))
    };
    assert!(nft(&[&nat])?);
    let observed = ask(&lab, Expectation::Allowed)?;
    for observed in &observed[..3] {
        assert!(
            matches!(observed, Observed::Broken(why) if why.contains("p1 should") && why.contains("p2")),
            "{observed:?}"
        );
    }

    // An address that is nobody's may be answered by anybody, as a Service's is.
    let vip = Probe::new("shop/p0", "10.96.0.1".parse()?, Traffic::Port(Protocol::Tcp, 8080), Expectation::Allowed);
    assert_eq!(lab.probe_all(&[vip], |_, _| {})?, [Observed::Allowed]);
    Ok(())
}

#[test]
fn a_flood_arrives_whole_without_rules_and_not_at_all_under_a_drop() -> Result {
    let lab = lab(3)?;
    let target = lab.namespace("shop/p2")?;
    for address in lab.addresses("shop/p2")? {
        let family = if address.is_ipv4() { "ip saddr" } else { "ip6 saddr" };
        let index = usize::from(address.is_ipv6());
        load(&lab, &format!("{family} {} drop;", lab.addresses("shop/p1")?[index]))?;

        let receiver = FloodReceiver::start(target, 7000)?;
        let allowed = Flood::start(lab.namespace("shop/p0")?, *address, &receiver, Flood::DEFAULT_RATE)?;
        let denied = Flood::start(lab.namespace("shop/p1")?, *address, &receiver, Flood::DEFAULT_RATE)?;
        std::thread::sleep(2 * SECOND);
        let (allowed, denied) = (allowed.stop()?, denied.stop()?);

        assert!((2000..=4100).contains(&allowed.sent), "2 s at 2000/s are not {} datagrams", allowed.sent);
        assert_eq!((allowed.arrived, allowed.lost), (allowed.sent, vec![]));
        assert!(denied.sent >= 2000);
        assert_eq!((denied.arrived, denied.lost), (0, (0..denied.sent).collect()));
    }
    Ok(())
}

#[test]
fn a_flood_knows_what_was_lost_when() -> Result {
    let lab = lab(2)?;
    let receiver = FloodReceiver::start(lab.namespace("shop/p1")?, 7000)?;
    let flood = Flood::start(lab.namespace("shop/p0")?, lab.addresses("shop/p1")?[0], &receiver, 1000)?;
    std::thread::sleep(SECOND / 2);
    let before = flood.sent();
    load(&lab, "udp dport 7000 drop;")?;
    let after = flood.sent();
    std::thread::sleep(SECOND / 2);
    let result = flood.stop()?;
    assert!(before > 0 && result.lost.first().is_some_and(|first| (before..=after).contains(first)), "{result:?}");
    assert_eq!(result.lost.last(), Some(&(result.sent - 1)));
    assert_eq!(result.arrived + result.lost.len() as u64, result.sent);
    Ok(())
}

#[test]
fn a_connection_echoes_and_outlives_a_drop() -> Result {
    let lab = lab(2)?;
    for &address in lab.addresses("shop/p1")? {
        load(&lab, "")?;
        let mut connection = Connection::open(lab.namespace("shop/p0")?, address, 8080)?;
        assert!(connection.is_with("shop/p1") && !connection.is_with("shop/p0"));
        connection.echo("before", SECOND)?;

        load(&lab, "tcp dport 8080 drop;")?;
        let held = connection.echo("held back", SECOND / 5).map_err(|error| error.kind());
        assert_eq!(held, Err(std::io::ErrorKind::TimedOut));

        load(&lab, "")?;
        connection.echo("after", 10 * SECOND)?;
    }
    Ok(())
}

#[test]
fn pods_come_and_go() -> Result {
    let mut lab = lab(2)?;
    let spec = PodSpec { id: "shop/late".into(), node: "node".into(), ports: PORTS.into() };
    lab.add_pod(&spec)?;
    assert!(matches!(lab.add_pod(&spec), Err(LabError::Duplicate(_))));
    let addresses = lab.addresses("shop/late")?.to_vec();
    assert_eq!(addresses.len(), 2);

    lab.remove_pod("shop/late")?;
    assert!(matches!(lab.addresses("shop/late"), Err(LabError::Unknown(_))));
    let probe = |expectation| Probe::new("shop/p0", addresses[0], Traffic::Port(Protocol::Tcp, 8080), expectation);
    assert_eq!(lab.probe_all(&[probe(Expectation::Denied)], |_, _| {})?, [Observed::Denied]);
    assert_eq!(ask(&lab, Expectation::Allowed)?, [const { Observed::Allowed }; 6]);
    Ok(())
}

#[test]
fn names_must_be_known_and_unique() -> Result {
    let pod = |id: &str, node: &str| PodSpec { id: id.into(), node: node.into(), ports: vec![] };
    let build = |pods| {
        Lab::build(&LabSpec { nodes: vec!["node".into()], network: PodNetwork::default(), pods, ..LabSpec::default() })
            .map(drop)
    };
    assert!(matches!(
        build(vec![pod("a/a", "node"), pod("a/a", "node")]),
        Err(LabError::Duplicate(_)) | Err(LabError::Cni { .. })
    ));
    assert!(matches!(build(vec![pod("a/a", "elsewhere")]), Err(LabError::Unknown(node)) if node == "elsewhere"));
    let twice = LabSpec {
        nodes: vec!["node".into(), "node".into()],
        network: PodNetwork::default(),
        pods: vec![],
        ..LabSpec::default()
    };
    assert!(matches!(Lab::build(&twice), Err(LabError::Duplicate(_))));
    Ok(())
}

#[test]
fn a_process_is_born_in_the_namespace_and_listened_to() -> Result {
    let namespace = Namespace::new("lonely")?;
    let mut shell = Command::new("sh");
    shell.args(["-c", "readlink /proc/self/ns/net >&2; trap 'echo bye >&2; exit 7' TERM; echo ready >&2; while :; do sleep 0.05; done"]);
    let mut process = Process::spawn(&namespace, shell)?;
    let inside = namespace.run(|| std::fs::read_link("/proc/thread-self/ns/net"))??;
    process.wait_for_line(&inside.to_string_lossy(), SECOND)?;
    process.wait_for_line("ready", SECOND)?;
    assert!(process.wait(SECOND / 10)?.is_none());
    assert!(
        matches!(process.wait_for_line("never", SECOND / 10), Err(LabError::Silent { said, .. }) if said.contains("ready"))
    );

    process.signal(Signal::SIGTERM)?;
    process.wait_for_line("bye", SECOND)?;
    assert_eq!(process.wait(SECOND)?.and_then(|status| status.code()), Some(7));
    assert_eq!(process.stderr().len(), 3);
    Ok(())
}

#[test]
fn a_dropped_process_is_dead_and_so_are_its_children() -> Result {
    let namespace = Namespace::new("lonely")?;
    let mut shell = Command::new("sh");
    shell.args(["-c", "sleep 10 & echo child $! >&2; wait"]);
    let mut process = Process::spawn(&namespace, shell)?;
    let said = process.wait_for_line("child", SECOND)?;
    let ids = [process.id().to_string(), said.split(' ').next_back().unwrap_or_default().into()];
    drop(process);
    let deadline = Instant::now() + SECOND;
    let alive =
        |id: &String| std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    while ids.iter().any(alive) {
        assert!(Instant::now() < deadline, "{ids:?} still run");
    }
    Ok(())
}

#[test]
fn a_process_that_does_not_exist_is_named() -> Result {
    let error = Process::spawn(&Namespace::new("lonely")?, Command::new("/no/such/program")).map(drop);
    assert!(matches!(error, Err(LabError::Process { process, .. }) if process == "/no/such/program"));
    Ok(())
}

#[test]
fn sockets_and_panics_come_out_of_a_namespace() -> Result {
    let namespace = Namespace::new("lonely")?;
    let listener = namespace.run(|| TcpListener::bind("[::]:80"))??;
    assert_eq!(listener.local_addr()?.port(), 80);
    let (give, take) = mpsc::channel();
    namespace.run(|| give.send("borrowed from outside"))??;
    assert_eq!(take.recv()?, "borrowed from outside");

    let panic = std::panic::catch_unwind(|| namespace.run(|| std::panic::panic_any("inside")));
    assert_eq!(panic.err().and_then(|panic| panic.downcast_ref::<&str>().copied()), Some("inside"));
    Ok(())
}
