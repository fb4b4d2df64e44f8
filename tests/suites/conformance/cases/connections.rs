//! Connections that stand while policies change, and their replies.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use lab::Connection;
use policy_compiler::cidr::Family;

use super::flows::{ALL, Flows, address, policy};
use super::shell;
use crate::{Case, world::World};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(133, "a_policy_that_tightens_cuts_a_connection_at_its_next_packet", tightening_cuts),
        Case::new(133, "egress_that_tightens_cuts_a_connection_at_its_next_packet", egress_that_tightens_cuts),
        Case::new(133, "changes_that_take_nothing_away_disturb_no_connection", nothing_is_disturbed),
        Case::new(133, "labels_of_a_remote_pod_cut_its_connection", labels_of_a_remote_pod_cut),
        Case::new(133, "labels_of_a_namespace_cut_connections_of_its_pods", labels_of_a_namespace_cut),
        Case::new(134, "replies_pass_whatever_the_opposite_direction_says", replies_pass),
        Case::new(135, "who_replies_opens_nothing", who_replies_opens_nothing),
        Case::new(136, "a_datagram_is_answered_to_where_it_came_from", a_datagram_is_answered_to_its_source),
    ]
}

/// Longer than what a busy machine takes.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long silence must last where it is right.
const SILENCE: Duration = Duration::from_millis(400);

/// A connection and a flow of datagrams from one pod to another, in one family.
struct Live {
    name: String,
    tcp: Connection,
    udp: UdpSocket,
}

impl Live {
    /// To ports 80 of a pod from each of some, in both families.
    fn open(world: &World, froms: &[&str], to: &str) -> Result<Vec<Self>, String> {
        let open = |(from, family): (&&str, Family)| {
            let address = address(world, to, family)?;
            let client = world.lab().namespace(from).map_err(|error| error.to_string())?;
            let tcp = Connection::open(client, address, 80).map_err(|error| error.to_string())?;
            let udp = datagrams(world, from, address)?;
            udp.connect(SocketAddr::new(address, 80)).map_err(|error| error.to_string())?;
            let mut live = Self { name: format!("{from} -> {to} ({address})"), tcp, udp };
            live.is_alive()?;
            Ok(live)
        };
        froms.iter().flat_map(|from| Family::BOTH.map(|family| (from, family))).map(open).collect()
    }

    fn is_alive(&mut self) -> Result<(), String> {
        self.tcp.echo("alive", PATIENCE).map_err(|error| format!("{}, TCP: {error}", self.name))?;
        self.say("alive")
            .and_then(|()| self.hear("alive", PATIENCE))
            .map_err(|error| format!("{}, UDP: {error}", self.name))
    }

    fn is_cut(&mut self) -> Result<(), String> {
        match self.tcp.echo("cut", SILENCE) {
            Err(error) if error.kind() == ErrorKind::TimedOut => {}
            other => return Err(format!("{}, TCP: not cut: {other:?}", self.name)),
        }
        match self.say("cut").and_then(|()| self.hear("cut", SILENCE)) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            other => Err(format!("{}, UDP: not cut: {other:?}", self.name)),
        }
    }

    fn say(&self, text: &str) -> std::io::Result<()> {
        self.udp.send(text.as_bytes()).map(drop)
    }

    /// Awaits the echo of a datagram, which comes after a greeting.
    fn hear(&self, text: &str, patience: Duration) -> std::io::Result<()> {
        let mut buffer = [0; 256];
        loop {
            let length = lab::receive(&self.udp, &mut buffer, patience)?;
            if buffer[..length].ends_with(text.as_bytes()) {
                return Ok(());
            }
        }
    }
}

/// A socket of a pod for datagrams to an address.
fn datagrams(world: &World, from: &str, to: IpAddr) -> Result<UdpSocket, String> {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let namespace = world.lab().namespace(from).map_err(|error| error.to_string())?;
    let socket = namespace.run(|| UdpSocket::bind(any)).map_err(|error| error.to_string())?;
    socket.map_err(|error| error.to_string())
}

fn all_alive(connections: &mut [Live]) -> Result<(), String> {
    connections.iter_mut().try_for_each(Live::is_alive)
}

fn all_cut(connections: &mut [Live]) -> Result<(), String> {
    connections.iter_mut().try_for_each(Live::is_cut)
}

/// How many TCP segments a pod has sent again: each is one that got lost.
fn retransmitted(world: &World, pod: &str) -> Result<u64, String> {
    let counters = shell::run(world, pod, "cat /proc/thread-self/net/snmp")?;
    let mut tcp = counters.lines().filter_map(|line| line.strip_prefix("Tcp:")).map(str::split_whitespace);
    let (Some(names), Some(values)) = (tcp.next(), tcp.next()) else { return Err(counters) };
    let found = names.zip(values).find(|(name, _)| *name == "RetransSegs");
    found.and_then(|(_, count)| count.parse().ok()).ok_or(counters)
}

/// Lets peers speak to x/a.
fn to_a(peers: &str) -> String {
    policy("to-a", &format!("{{podSelector: {{matchLabels: {{pod: a}}}}, ingress: [{{from: [{peers}]}}]}}"))
}

fn pods(labels: &str) -> String {
    format!("{{namespaceSelector: {{matchLabels: {{{labels}}}}}}}")
}

fn tightening_cuts(world: &mut World) -> Result<(), String> {
    let (x, y, z) = (pods("ns: x"), pods("ns: \"y\""), pods("ns: z"));
    world.apply(&to_a(&format!("{x}, {y}, {z}")))?;
    let mut cut = Live::open(world, &["x/b", "x/c"], "x/a")?;
    // Pods whose connections no case ever cuts, so that nothing else is sent again meanwhile.
    let mut stay = Live::open(world, &["y/a", "y/b"], "x/a")?;
    let lost = |world: &World| Ok::<_, String>((retransmitted(world, "y/a")?, retransmitted(world, "y/b")?));
    let before = lost(world)?;

    world.apply(&to_a(&format!("{y}, {z}")))?;
    all_cut(&mut cut)?;
    (0..5).try_for_each(|_| all_alive(&mut stay))?;
    if lost(world)? != before {
        return Err("a packet of an allowed connection was lost".to_owned());
    }
    // What was cut has said nothing to anybody, and goes on where it may.
    world.apply(&to_a(&format!("{x}, {y}, {z}")))?;
    all_alive(&mut cut)
}

fn egress_that_tightens_cuts(world: &mut World) -> Result<(), String> {
    let of_x = |peers: &str| {
        policy("of-x", &format!("{{podSelector: {{}}, policyTypes: [Egress], egress: [{{to: [{peers}]}}]}}"))
    };
    world.apply(&of_x(&pods("ns: \"y\"")))?;
    let mut cut = Live::open(world, &["x/b", "x/c"], "y/a")?;
    world.apply(&of_x(&pods("ns: z")))?;
    all_cut(&mut cut)?;
    world.apply("")?;
    all_alive(&mut cut)
}

fn nothing_is_disturbed(world: &mut World) -> Result<(), String> {
    let (y, z) = (pods("ns: \"y\""), pods("ns: z"));
    world.apply(&to_a(&y))?;
    let mut stay = Live::open(world, &["y/a", "y/b"], "x/a")?;
    let before = (retransmitted(world, "y/a")?, retransmitted(world, "y/b")?);
    let isolated = policy("z/other", "{podSelector: {}, policyTypes: [Ingress, Egress]}");
    let changes = [
        to_a(&format!("{y}, {z}")),
        to_a(&format!("{y}, {z}")) + &isolated,
        to_a(&y) + &isolated,
        to_a(&y) + &isolated + &pod("x/c", "n2", "other: label"),
        to_a(&y) + &policy("another", "{podSelector: {matchLabels: {pod: b}}, policyTypes: [Ingress, Egress]}"),
        to_a(&format!("{y}, {{ipBlock: {{cidr: 203.0.113.0/24}}}}")),
        String::new(),
    ];
    for change in changes {
        world.apply(&change)?;
        all_alive(&mut stay)?;
    }
    match (retransmitted(world, "y/a")?, retransmitted(world, "y/b")?) == before {
        true => Ok(()),
        false => Err("a packet of an allowed connection was lost".to_owned()),
    }
}

/// A pod of the common cluster with other labels.
fn pod(name: &str, node: &str, labels: &str) -> String {
    let (namespace, name) = name.split_once('/').unwrap_or(("x", name));
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: \"{namespace}\", labels: {{{labels}}}}}\n\
         spec: {{nodeName: {node}, containers: [{{name: main, image: echo}}]}}\nstatus: {{phase: Running}}\n"
    )
}

fn labels_of_a_remote_pod_cut(world: &mut World) -> Result<(), String> {
    let policy = to_a("{podSelector: {matchLabels: {pod: c}}}, {podSelector: {matchLabels: {pod: b}}}");
    world.apply(&policy)?;
    let (mut c, mut b) = (Live::open(world, &["x/c"], "x/a")?, Live::open(world, &["x/b"], "x/a")?);
    world.apply(&(policy.clone() + &pod("x/c", "n2", "pod: nobody")))?;
    all_cut(&mut c)?;
    all_alive(&mut b)?;
    world.apply(&policy)?;
    all_alive(&mut c)
}

fn labels_of_a_namespace_cut(world: &mut World) -> Result<(), String> {
    let policy = to_a(&format!("{}, {}", pods("ns: z"), pods("ns: x")));
    world.apply(&policy)?;
    let (mut z, mut x) = (Live::open(world, &["z/a"], "x/a")?, Live::open(world, &["x/b"], "x/a")?);
    world.apply(
        &(policy.clone() + "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: z, labels: {ns: other}}\n"),
    )?;
    all_cut(&mut z)?;
    all_alive(&mut x)?;
    world.apply(&policy)?;
    all_alive(&mut z)
}

/// Clients that may be asked by nobody, and a server that may ask nobody.
fn one_way() -> String {
    policy("ask-nobody", "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Egress]}")
        + &policy("asked-by-nobody", "{podSelector: {matchExpressions: [{key: pod, operator: NotIn, values: [a]}]}}")
}

fn replies_pass(world: &mut World) -> Result<(), String> {
    world.apply(&one_way())?;
    let mut flows = Flows::of(world);
    for client in ["x/b", "x/c"] {
        flows.pass(client, "x/a", &ALL)?;
        flows.fail("x/a", client, &ALL)?;
        flows.fail("y/b", client, &ALL)?;
    }
    flows.check()
}

fn who_replies_opens_nothing(world: &mut World) -> Result<(), String> {
    world.apply(&one_way())?;
    let mut open = Live::open(world, &["x/b", "x/c"], "x/a")?;
    let mut flows = Flows::of(world);
    flows.fail("x/a", "x/b", &ALL)?;
    flows.fail("x/a", "x/c", &ALL)?;
    flows.check()?;
    all_alive(&mut open)
}

fn a_datagram_is_answered_to_its_source(world: &mut World) -> Result<(), String> {
    world.apply(&one_way())?;
    for family in Family::BOTH {
        for client in ["x/b", "x/c"] {
            let (server_ip, client_ip) = (address(world, "x/a", family)?, address(world, client, family)?);
            let asker = datagrams(world, client, server_ip)?;
            let (asked, stranger) = (datagrams(world, "x/a", client_ip)?, datagrams(world, "x/a", client_ip)?);
            let wrong = |what: &str| format!("{client} ({client_ip}): {what}");
            if says(&asked, client_ip, &asker, SILENCE)? {
                return Err(wrong("was spoken to before it asked"));
            }
            if !says(&asker, server_ip, &asked, PATIENCE)? {
                return Err(wrong("cannot ask"));
            }
            if !says(&asked, client_ip, &asker, PATIENCE)? {
                return Err(wrong("is not answered"));
            }
            if says(&stranger, client_ip, &asker, SILENCE)? {
                return Err(wrong("is answered from a port that it has not asked"));
            }
        }
    }
    Ok(())
}

/// Whether a datagram from one socket, sent to where another one is, gets there.
fn says(from: &UdpSocket, to: IpAddr, ear: &UdpSocket, patience: Duration) -> Result<bool, String> {
    let said = || {
        let target = SocketAddr::new(to, ear.local_addr()?.port());
        from.send_to(b"said", target)?;
        lab::receive(ear, &mut [0; 16], patience)
    };
    match said() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error.to_string()),
    }
}
