//! Namespaces to test in, nft as the judge, and a table with one of everything.
#![allow(dead_code, reason = "every test file compiles all of this and uses some")]

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use enforcer::engine::{Agent, Options};
use enforcer::kernel::Kernel;
use enforcer::observe::{Identity, Observer, control};
use enforcer::preflight::{BridgeFilter, SYSCTLS};
use enforcer::source::Directory;
use nix::sched::{CloneFlags, unshare};
use policy_compiler::cidr::{CidrRules, Family, IpRange};
use policy_compiler::model::Protocol;
use policy_compiler::plan::Settings;
use policy_compiler::ruleset::{
    Chain, Connection, Element, Key, LookupKey, PortRange, Reject, Rule, Set, SetShape, Side, Statement, Table, Verdict,
};

pub(crate) const TABLE: &str = "podwall";
pub(crate) const MASK: u32 = 0xfff0_0000;

pub(crate) fn observer() -> Observer {
    Observer::new(Identity { node: "node-a".into(), table: TABLE.into() })
}

pub(crate) fn bridge() -> BridgeFilter {
    BridgeFilter::new(SYSCTLS.as_ref())
}

/// Runs a test on a thread of its own, in a network namespace of its own.
pub(crate) fn in_namespace<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("tests of the kernel run as root");
            test()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Says that a test is in the process that it was started in again.
const AGAIN: &str = "PODWALL_TEST_AGAIN";

/// Runs the test of this name in a process of its own that `wrapper` starts.
fn in_process(wrapper: &[&str], name: &str, test: impl FnOnce()) {
    if std::env::var_os(AGAIN).is_some() {
        return test();
    }
    let output = Command::new(wrapper[0])
        .args(&wrapper[1..])
        .arg(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(AGAIN, "1")
        .output()
        .unwrap_or_else(|error| panic!("{wrapper:?}: {error}"));
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success() && out.contains("1 passed"), "{out}{err}");
}

/// In a process that has no capability at all, and a network namespace of its own.
pub(crate) fn without_capabilities(name: &str, test: impl FnOnce()) {
    let wrapper = ["unshare", "--net", "setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    in_process(&wrapper, name, test);
}

/// In a process that is root of a user namespace of its own, and of its network namespace, and nowhere else.
pub(crate) fn in_user_namespace(name: &str, test: impl FnOnce()) {
    in_process(&["unshare", "--user", "--map-root-user", "--net"], name, test);
}

pub(crate) fn try_nft(arguments: &[&str], input: &str) -> Result<String, String> {
    let mut child = Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("nft is installed");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

pub(crate) fn nft(command: &str) -> String {
    try_nft(&command.split(' ').collect::<Vec<_>>(), "").unwrap_or_else(|error| panic!("nft {command}: {error}"))
}

pub(crate) fn load(text: &str) {
    try_nft(&["-f", "-"], text).unwrap_or_else(|error| panic!("nft refuses\n{text}\n{error}"));
}

/// The table as nft shows it, in three ways, without what differs by nature: handles, the owner, the order in which
/// chains and sets were made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) json: Vec<String>,
    pub(crate) text: Vec<String>,
    pub(crate) programs: Vec<String>,
    pub(crate) elements: Vec<String>,
}

/// Somebody must own the table: nft 1.0.6 cannot write JSON of one that has lost its owner.
pub(crate) fn listing() -> Listing {
    let json = nft(&format!("-j list table inet {TABLE}"));
    let json: serde_json::Value =
        serde_json::from_str(&json).unwrap_or_else(|_| panic!("{json}{}", nft("list ruleset")));
    let mut objects = Vec::new();
    for object in json["nftables"].as_array().unwrap() {
        let (kind, value) = object.as_object().unwrap().iter().next().unwrap();
        if kind == "metainfo" {
            continue;
        }
        let mut value = value.clone();
        let fields = value.as_object_mut().unwrap();
        fields.remove("handle");
        fields.remove("flags").filter(|_| kind != "table").map(|flags| fields.insert("flags".into(), flags));
        let name = value["chain"].as_str().or(value["name"].as_str()).unwrap().to_owned();
        objects.push((kind.clone(), name, value.to_string()));
    }
    objects.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));

    // Instructions in order; rules' handles, elements (listed above) and names of anonymous sets are passed over.
    let debug = nft(&format!("--debug=netlink list table inet {TABLE}"));
    let programs = debug
        .lines()
        .take_while(|line| !line.starts_with("table inet"))
        .filter(|line| !line.starts_with("\telement") && !line.contains('@') || line.contains("payload"))
        .map(|line| {
            let words = line.split(' ').map(|word| if word.starts_with("__") { &word[..5] } else { word });
            if line.starts_with("  ") { words.collect::<Vec<_>>() } else { words.take(3).collect() }.join(" ")
        });
    let mut rules: Vec<Vec<String>> = Vec::new();
    for line in programs {
        match rules.last_mut() {
            Some(rule) if line.starts_with(' ') => rule.push(line),
            _ => rules.push(vec![line]),
        }
    }
    rules.sort_by(|a, b| a[0].cmp(&b[0])); // by chain; rules stay in order
    let programs = rules.concat();
    // Interval sets that nft makes close the space below their first interval, which says nothing.
    let is_void = |line: &&str| line.starts_with("\telement 00000000 ") && line.contains(": 1 [end]");
    let mut elements: Vec<String> =
        debug.lines().filter(|line| line.starts_with("\telement") && !is_void(line)).map(str::to_owned).collect();
    elements.sort();
    Listing { elements, json: objects.into_iter().map(|(_, _, value)| value).collect(), text: text(), programs }
}

/// Waits until nobody owns the table: processes that other tests are starting hold copies of its owner's socket for a
/// moment.
pub(crate) fn released() {
    let started = std::time::Instant::now();
    while nft("list tables").contains("inet podwall") && nft(&format!("list table inet {TABLE}")).contains("progname") {
        assert!(started.elapsed().as_secs() < 10, "the table is still owned");
    }
}

/// The blocks of the table's text.
pub(crate) fn text() -> Vec<String> {
    let text = nft(&format!("list table inet {TABLE}"));
    let mut blocks: Vec<String> = text
        .lines()
        .filter(|line| !line.starts_with("\tflags"))
        .skip(1)
        .fold(vec![String::new()], |mut blocks, line| {
            let end = line == "\t}";
            let last = blocks.last_mut().unwrap();
            last.push_str(line);
            last.push('\n');
            if end {
                blocks.push(String::new());
            }
            blocks
        })
        .into_iter()
        .map(|block| block.trim_start_matches('\n').to_owned())
        .collect();
    blocks.sort();
    blocks
}

pub(crate) fn v4(last: u8) -> std::net::IpAddr {
    [10, 244, 1, last].into()
}

pub(crate) fn v6(last: u16) -> std::net::IpAddr {
    [0xfd00, 0x10, 0x244, 1, 0, 0, 0, last].into()
}

pub(crate) fn range(first: &str, last: &str) -> Key {
    Key::Range(IpRange { first: first.parse().unwrap(), last: last.parse().unwrap() })
}

pub(crate) fn set(shape: SetShape, family: Family, comment: &str, elements: impl IntoIterator<Item = Element>) -> Set {
    Set { elements: elements.into_iter().collect::<BTreeSet<_>>(), ..Set::new(shape, family, comment) }
}

pub(crate) fn rule(statements: impl Into<Vec<Statement>>) -> Rule {
    Rule::new(statements)
}

pub(crate) fn verdict(verdict: Verdict) -> Statement {
    Statement::Verdict(verdict)
}

pub(crate) fn goto(chain: &str) -> Verdict {
    Verdict::Goto(chain.into())
}

pub(crate) fn jump(chain: &str) -> Verdict {
    Verdict::Jump(chain.into())
}

fn interface(side: Side, name: &str) -> Statement {
    Statement::Interface { side, name: name.parse().unwrap() }
}

fn ports(protocol: Protocol, ports: &[(u16, u16)]) -> Statement {
    let ports = ports.iter().map(|(first, last)| PortRange { first: *first, last: *last }).collect();
    Statement::DestinationPort { protocol, ports }
}

pub(crate) fn lookup(key: LookupKey, set: &str) -> Statement {
    Statement::Lookup { key, set: set.into() }
}

pub(crate) fn vmap(key: LookupKey, map: &str) -> Statement {
    Statement::VerdictMap { key, map: map.into() }
}

/// One of everything that the compiler can say.
pub(crate) fn everything() -> Table {
    use Family::{V4, V6};
    use LookupKey::{Destination, DestinationAndPort, Source, SourceAndDestination};
    use Protocol::{Sctp, Tcp, Udp};
    let mut table = Table::new(TABLE);
    let mut add = |name: &str, set: Set| table.sets.insert(name.into(), set);
    let address = |address| Element::new(Key::Address(address));
    add("addresses_4", set(SetShape::Addresses, V4, "pods labelled app=web", [address(v4(1)), address(v4(2))]));
    add("addresses_6", set(SetShape::Addresses, V6, "the same, IPv6", [address(v6(1))]));
    add("counted_4", set(SetShape::CountedAddresses, V4, "denied", [address(v4(1))]));
    add("counted_6", set(SetShape::CountedAddresses, V6, "denied", [address(v6(1))]));
    add("empty_4", set(SetShape::Ranges, V4, "nothing", []));
    let ranges = [
        range("0.0.0.0", "0.255.255.255"),
        range("10.0.0.0", "10.255.255.255"),
        range("11.0.0.0", "11.0.0.0"),
        range("192.168.77.64", "192.168.77.250"),
        range("255.255.255.0", "255.255.255.255"),
    ];
    add("ranges_4", set(SetShape::Ranges, V4, "blocks", ranges.map(Element::new)));
    add(
        "ranges_6",
        set(SetShape::Ranges, V6, "all", [Element::new(range("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"))]),
    );
    add("self_4", set(SetShape::AddressPairs, V4, "self", [Element::new(Key::Pair(v4(1)))]));
    add("self_6", set(SetShape::AddressPairs, V6, "self", [Element::new(Key::Pair(v6(1)))]));
    let named = |a, b| {
        [
            Element::new(Key::Port(a, Tcp, 80)),
            Element::new(Key::Port(b, Udp, 53)),
            Element::new(Key::Port(a, Sctp, 65535)),
        ]
    };
    add("named_4", set(SetShape::AddressPorts, V4, "port http", named(v4(1), v4(2))));
    add("named_6", set(SetShape::AddressPorts, V6, "port http", named(v6(1), v6(2))));
    let verdicts = |at: fn(u8) -> std::net::IpAddr| {
        [Verdict::Accept, Verdict::Drop, Verdict::Return, jump("side"), goto("other")]
            .into_iter()
            .zip(1u8..)
            .map(move |(verdict, last)| Element::verdict(at(last), verdict))
    };
    add("map_4", set(SetShape::Verdicts, V4, "dispatch", verdicts(v4)));
    add("map_6", set(SetShape::Verdicts, V6, "dispatch", verdicts(|last| v6(last.into()))));

    let accept = || verdict(Verdict::Accept);
    let rules = vec![
        rule([Statement::ConnectionState(vec![
            (Connection::Established, jump("side")),
            (Connection::Related, Verdict::Accept),
        ])]),
        rule([Statement::NeighbourDiscovery, accept()]).comment("neighbour discovery"),
        rule([interface(Side::Input, "cni0"), verdict(jump("side"))]),
        rule([interface(Side::Output, "veth*"), verdict(goto("other"))]),
        rule([Statement::MarkIs { mask: MASK, value: 0x0010_0000 }, accept()]),
        rule([Statement::ReplyDirection, accept()]),
        rule([Statement::Translated, accept()]),
        rule([Statement::SetMark { mask: MASK, value: 0x0010_0000 }, accept()]),
        rule([Statement::Protocol(Udp), accept()]),
        rule([ports(Tcp, &[(80, 80)]), accept()]),
        rule([ports(Udp, &[(8000, 8100)]), accept()]),
        rule([ports(Tcp, &[(80, 80), (443, 443)]), accept()]),
        rule([ports(Tcp, &[(80, 80), (8000, 8100), (65000, 65535)]), lookup(Source(V4), "addresses_4"), accept()]),
        rule([ports(Sctp, &[(1, 65535)]), accept()]),
        rule([lookup(Source(V4), "ranges_4"), ports(Tcp, &[(80, 80)]), accept()]).comment("two guards"),
        rule([lookup(Destination(V6), "ranges_6"), lookup(Source(V6), "addresses_6"), accept()]),
        rule([lookup(SourceAndDestination(V4), "self_4"), accept()]),
        rule([lookup(SourceAndDestination(V6), "self_6"), accept()]),
        rule([lookup(DestinationAndPort(V4), "named_4"), lookup(Source(V4), "addresses_4"), verdict(goto("other"))]),
        rule([lookup(DestinationAndPort(V6), "named_6"), accept()]),
        rule([lookup(Destination(V4), "counted_4")]),
        rule([lookup(Destination(V6), "counted_6")]),
        rule([lookup(Source(V4), "empty_4"), accept()]),
        rule([vmap(Source(V4), "map_4")]),
        rule([vmap(Destination(V6), "map_6")]),
        rule([
            Statement::Limit { per_second: 100, burst: 20 },
            Statement::Log { prefix: "podwall-in ".into(), group: 100, snaplen: 96 },
        ]),
        rule([Statement::Log { prefix: "x".into(), group: 0, snaplen: 0 }]),
        rule([Statement::Reject(Reject::TcpReset)]),
        rule([ports(Tcp, &[(81, 81)]), Statement::Reject(Reject::TcpReset)]),
        rule([Statement::Counter, Statement::Reject(Reject::AdminProhibited)]),
        rule([Statement::Counter, verdict(Verdict::Drop)]),
    ];
    table.chains.insert("base".into(), Chain { base: true, comment: Some("the \"hook\"".into()), rules });
    table.chains.insert("other".into(), Chain::new("another", vec![rule([verdict(Verdict::Drop)])]));
    table.chains.insert("side".into(), Chain::new("pod shop/web", vec![rule([verdict(Verdict::Return)])]));
    table
}

/// What [`everything`] means, written by hand.
pub(crate) const EVERYTHING: &str = r#"
table inet podwall {
    set addresses_4 { type ipv4_addr; comment "pods labelled app=web"; elements = { 10.244.1.1, 10.244.1.2 }
    }
    set addresses_6 { type ipv6_addr; comment "the same, IPv6"; elements = { fd00:10:244:1::1 }
    }
    set counted_4 { type ipv4_addr; counter; comment "denied"; elements = { 10.244.1.1 counter }
    }
    set counted_6 { type ipv6_addr; counter; comment "denied"; elements = { fd00:10:244:1::1 counter }
    }
    set empty_4 { type ipv4_addr; flags interval; comment "nothing";
    }
    set ranges_4 { type ipv4_addr; flags interval; comment "blocks"; elements = { 0.0.0.0/8, 10.0.0.0/8, 11.0.0.0, 192.168.77.64-192.168.77.250, 255.255.255.0/24 }
    }
    set ranges_6 { type ipv6_addr; flags interval; comment "all"; elements = { ::/0 }
    }
    set self_4 { type ipv4_addr . ipv4_addr; comment "self"; elements = { 10.244.1.1 . 10.244.1.1 }
    }
    set self_6 { type ipv6_addr . ipv6_addr; comment "self"; elements = { fd00:10:244:1::1 . fd00:10:244:1::1 }
    }
    set named_4 { type ipv4_addr . inet_proto . inet_service; comment "port http"; elements = { 10.244.1.1 . tcp . 80, 10.244.1.2 . udp . 53, 10.244.1.1 . sctp . 65535 }
    }
    set named_6 { type ipv6_addr . inet_proto . inet_service; comment "port http"; elements = { fd00:10:244:1::1 . tcp . 80, fd00:10:244:1::2 . udp . 53, fd00:10:244:1::1 . sctp . 65535 }
    }
    map map_4 { type ipv4_addr : verdict; comment "dispatch"; elements = { 10.244.1.1 : accept, 10.244.1.2 : drop, 10.244.1.3 : return, 10.244.1.4 : jump side, 10.244.1.5 : goto other }
    }
    map map_6 { type ipv6_addr : verdict; comment "dispatch"; elements = { fd00:10:244:1::1 : accept, fd00:10:244:1::2 : drop, fd00:10:244:1::3 : return, fd00:10:244:1::4 : jump side, fd00:10:244:1::5 : goto other }
    }
    chain base {
        comment "the 'hook'"
        type filter hook forward priority filter; policy accept;
        ct state vmap { established : jump side, related : accept }
        ip6 hoplimit 255 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept comment "neighbour discovery"
        iifname "cni0" jump side
        oifname "veth*" goto other
        ct mark and 0xfff00000 == 0x00100000 accept
        ct direction reply accept
        ct status dnat accept
        ct mark set ct mark and 0x000fffff or 0x00100000 accept
        meta l4proto udp accept
        tcp dport 80 accept
        udp dport 8000-8100 accept
        tcp dport { 80, 443 } accept
        tcp dport { 80, 8000-8100, 65000-65535 } ip saddr @addresses_4 accept
        sctp dport 1-65535 accept
        ip saddr @ranges_4 tcp dport 80 accept comment "two guards"
        ip6 daddr @ranges_6 ip6 saddr @addresses_6 accept
        ip saddr . ip daddr @self_4 accept
        ip6 saddr . ip6 daddr @self_6 accept
        ip daddr . meta l4proto . th dport @named_4 ip saddr @addresses_4 goto other
        ip6 daddr . meta l4proto . th dport @named_6 accept
        ip daddr @counted_4
        ip6 daddr @counted_6
        ip saddr @empty_4 accept
        ip saddr vmap @map_4
        ip6 daddr vmap @map_6
        limit rate 100/second burst 20 packets log prefix "podwall-in " group 100 snaplen 96
        log prefix "x" group 0 snaplen 0
        meta l4proto tcp reject with tcp reset
        tcp dport 81 reject with tcp reset
        counter reject with icmpx admin-prohibited
        counter drop
    }
    chain other { comment "another"; drop; }
    chain side { comment "pod shop/web"; return; }
}
"#;

/// An agent of a directory, with the settings that it has by default.
pub(crate) fn agent(directory: &Path, node: &str) -> Agent<Directory> {
    agent_of(Directory::open(directory, CidrRules::Legacy).unwrap(), node)
}

/// The same, of any source.
pub(crate) fn agent_of<S>(source: S, node: &str) -> Agent<S> {
    let options = Options { node: node.into(), settings: Settings::default(), audit: Duration::from_secs(60) };
    let kernel = Kernel::open(TABLE).unwrap();
    Agent { source, kernel, observer: observer(), requests: control::channel().1, bridge: bridge(), options }
}
