//! What a table does with one packet: a small reading of [`crate::ruleset`] as the kernel evaluates it, so that a plan
//! can be held against [`crate::verdict`] without a kernel.
//!
//! It follows chains, jumps, sets and maps and knows nothing of pods or policies. Whatever the kernel would refuse to
//! load, or nft to type, is a [`Fault`], never a verdict.

mod faults;

pub use faults::{Fault, MAX_DEPTH, check};

use std::net::IpAddr;

use crate::cidr::Family;
use crate::model::Protocol;
use crate::ruleset::{
    Chain, Connection, Element, InterfaceName, Key, LookupKey, Reject, Rule, Set, SetShape, Side, Statement, Table,
    Verdict,
};

/// One packet that a node forwards, as far as rules can tell packets apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Who sent it; of the family of `destination`.
    pub source: IpAddr,
    /// Who is to receive it.
    pub destination: IpAddr,
    /// What it carries.
    pub payload: Payload,
    /// What it is to conntrack.
    pub connection: ConnectionState,
    /// Whether its connection's destination has been translated.
    pub translated: bool,
    /// Its connection's mark.
    pub mark: u32,
    /// The interface that it came in by.
    pub input: Option<String>,
    /// The interface that it goes out by.
    pub output: Option<String>,
}

impl Packet {
    /// The first packet of a connection: without a mark, by interfaces that no rule names. One from a pod to itself has
    /// gone through a Service, or it would never have left the pod.
    pub fn new(source: IpAddr, destination: IpAddr, payload: Payload) -> Self {
        let translated = source == destination;
        let connection = ConnectionState::New;
        Self { source, destination, payload, connection, translated, mark: 0, input: None, output: None }
    }
}

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A segment or datagram to this port.
    Port(Protocol, u16),
    /// A neighbour solicitation or advertisement with hop limit 255 (rule 81).
    NeighbourDiscovery,
    /// Anything else, such as an echo request (rule 80).
    Other,
}

/// What a packet's connection is to conntrack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// Nobody has answered yet.
    New,
    /// Both directions have been seen.
    Established {
        /// Whether the packet goes against the direction in which the connection was opened.
        reply: bool,
    },
    /// An error about another connection (rule 82).
    Related,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its end.
    pub end: End,
    /// Its connection's mark afterwards.
    pub mark: u32,
}

impl Outcome {
    /// Whether it is forwarded.
    pub fn is_accepted(&self) -> bool {
        self.end == End::Accepted
    }
}

/// How a packet ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Forwarded, by a verdict or by the base chain's policy.
    Accepted,
    /// Dropped without an answer.
    Dropped,
    /// Refused with an answer.
    Rejected,
}

/// Sends a packet through the base chain.
///
/// Limits are never exceeded, and neither they nor counters and logs keep a packet from the next statement.
///
/// # Errors
/// When the packet gets to something that the kernel would not have loaded. [`check`] looks at all of a table.
pub fn judge(table: &Table, packet: &Packet) -> Result<Outcome, Fault> {
    let (name, chain) = faults::base_chain(table)?;
    let mut walk = Walk { table, packet, mark: packet.mark, stack: Vec::new() };
    let end = walk.run(name, chain)?;
    Ok(Outcome { end, mark: walk.mark })
}

/// A packet on its way.
struct Walk<'t> {
    table: &'t Table,
    packet: &'t Packet,
    mark: u32,
    /// The rules behind the jumps that have not been returned from.
    stack: Vec<Position<'t>>,
}

/// The rules of a chain that are still to be evaluated.
#[derive(Clone, Copy)]
struct Position<'t> {
    chain: &'t str,
    rules: &'t [Rule],
    /// Jumps and gotos from the base chain to here.
    depth: usize,
}

/// What a statement says of its rule.
enum Step<'t> {
    /// On to the next statement.
    Matches,
    /// On to the next rule.
    Breaks,
    /// The rule's verdict.
    Decides(&'t Verdict),
    /// The packet is refused.
    Rejects,
}

impl<'t> Walk<'t> {
    fn run(&mut self, name: &'t str, base: &'t Chain) -> Result<End, Fault> {
        let mut here = Position { chain: name, rules: &base.rules, depth: 0 };
        loop {
            let Some((rule, behind)) = here.rules.split_first() else {
                match self.stack.pop() {
                    Some(jumped_from) => here = jumped_from,
                    None => return Ok(End::Accepted), // the base chain's policy
                }
                continue;
            };
            here.rules = behind;
            let next = match self.evaluate(here.chain, rule)? {
                Step::Matches | Step::Breaks => continue,
                Step::Rejects => return Ok(End::Rejected),
                Step::Decides(Verdict::Accept) => return Ok(End::Accepted),
                Step::Decides(Verdict::Drop) => return Ok(End::Dropped),
                Step::Decides(Verdict::Return) => {
                    here.rules = &[]; // as at the chain's end
                    continue;
                }
                Step::Decides(Verdict::Jump(next)) => {
                    self.stack.push(here);
                    next
                }
                Step::Decides(Verdict::Goto(next)) => next,
            };
            let depth = here.depth + 1;
            if depth > MAX_DEPTH {
                return Err(Fault::TooDeep { chain: next.clone() }); // circles end here too
            }
            here = Position { chain: next, rules: &faults::chain(self.table, here.chain, next)?.rules, depth };
        }
    }

    fn evaluate(&mut self, chain: &str, rule: &'t Rule) -> Result<Step<'t>, Fault> {
        for statement in &rule.statements {
            match self.step(chain, statement)? {
                Step::Matches => {}
                other => return Ok(other),
            }
        }
        Ok(Step::Matches)
    }

    fn step(&mut self, chain: &str, statement: &'t Statement) -> Result<Step<'t>, Fault> {
        let packet = self.packet;
        let matches = match statement {
            Statement::ConnectionState(states) => {
                let listed = states.iter().find(|(state, _)| is_in(packet.connection, *state));
                return Ok(listed.map_or(Step::Breaks, |(_, verdict)| Step::Decides(verdict)));
            }
            Statement::ReplyDirection => packet.connection == ConnectionState::Established { reply: true },
            Statement::Translated => packet.translated,
            Statement::MarkIs { mask, value } => self.mark & mask == *value,
            Statement::SetMark { mask, value } => {
                self.mark = self.mark & !mask | value;
                true
            }
            Statement::NeighbourDiscovery => packet.payload == Payload::NeighbourDiscovery,
            Statement::Interface { side: Side::Input, name } => is_called(packet.input.as_deref(), name),
            Statement::Interface { side: Side::Output, name } => is_called(packet.output.as_deref(), name),
            Statement::Protocol(wanted) => matches!(packet.payload, Payload::Port(protocol, _) if protocol == *wanted),
            Statement::DestinationPort { protocol: wanted, ports } => match packet.payload {
                Payload::Port(protocol, port) => {
                    protocol == *wanted && ports.iter().any(|range| (range.first..=range.last).contains(&port))
                }
                Payload::NeighbourDiscovery | Payload::Other => false,
            },
            Statement::Lookup { key, set } => {
                let found = faults::lookup(self.table, chain, *key, set)?;
                find(found, *key, packet).is_some()
            }
            Statement::VerdictMap { key, map } => {
                let found = faults::verdict_map(self.table, chain, *key, map)?;
                let Some(element) = find(found, *key, packet) else { return Ok(Step::Breaks) };
                let verdict = element.verdict.as_ref().ok_or_else(|| Fault::Element { set: map.clone() })?;
                return Ok(Step::Decides(verdict));
            }
            Statement::Counter | Statement::Limit { .. } | Statement::Log { .. } => true,
            Statement::Reject(Reject::TcpReset) => {
                let is_tcp = matches!(packet.payload, Payload::Port(Protocol::Tcp, _));
                return Ok(if is_tcp { Step::Rejects } else { Step::Breaks });
            }
            Statement::Reject(Reject::AdminProhibited) => return Ok(Step::Rejects),
            Statement::Verdict(verdict) => return Ok(Step::Decides(verdict)),
        };
        Ok(if matches { Step::Matches } else { Step::Breaks })
    }
}

fn is_in(connection: ConnectionState, state: Connection) -> bool {
    match state {
        Connection::Established => matches!(connection, ConnectionState::Established { .. }),
        Connection::Related => connection == ConnectionState::Related,
    }
}

fn is_called(interface: Option<&str>, wanted: &InterfaceName) -> bool {
    interface.is_some_and(|name| if wanted.prefix { name.starts_with(&*wanted.text) } else { *name == *wanted.text })
}

/// The element that a packet's key finds; a packet of another family than the key's finds none.
fn find<'t>(set: &'t Set, key: LookupKey, packet: &Packet) -> Option<&'t Element> {
    let (source, destination) = (packet.source, packet.destination);
    let (looked_up, address) = match (key, packet.payload) {
        (LookupKey::Source(_), _) => (Key::Address(source), source),
        (LookupKey::Destination(_), _) => (Key::Address(destination), destination),
        // There are elements only for an address with itself.
        (LookupKey::SourceAndDestination(_), _) if source == destination => (Key::Pair(source), source),
        (LookupKey::DestinationAndPort(_), Payload::Port(protocol, port)) => {
            (Key::Port(destination, protocol, port), destination)
        }
        (LookupKey::SourceAndDestination(_) | LookupKey::DestinationAndPort(_), _) => return None,
    };
    if Family::of(address) != key.family() {
        return None;
    }
    if set.shape == SetShape::Ranges {
        let holds = |element: &&Element| matches!(element.key, Key::Range(range) if range.contains(address));
        return set.elements.iter().find(holds);
    }
    // An element without a verdict sorts before those with the same key and one.
    let first = set.elements.range(Element::new(looked_up)..).next();
    first.filter(|element| element.key == looked_up)
}

#[cfg(test)]
mod tests;
