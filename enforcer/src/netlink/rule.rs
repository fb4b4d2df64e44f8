//! Rules: each statement spelled out as the instructions that nft itself would send for it.

use policy_compiler::cidr::Family;
use policy_compiler::model::Protocol;
use policy_compiler::ruleset::{Connection, LookupKey, PortRange, Reject, Rule, Side, Statement, Verdict};

use super::attribute::Writer;
use super::element::RawElement;
use super::expression::{Compare, Constant, Ct, Expression, Header, KEY, Meta, SetName, register_at};
use super::set::Declaration;
use super::userdata;

const ICMPV6: u8 = 58;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// A neighbour's message came over no router.
const HOP_LIMIT: u8 = 255;
const REPLY: u8 = 1;
/// Of a connection's status.
const DESTINATION_TRANSLATED: u32 = 1 << 5;

/// An anonymous set that exists for one rule.
pub(crate) struct Inline<'r> {
    pub(crate) declaration: Declaration,
    pub(crate) elements: Vec<RawElement<'r>>,
}

/// A rule as instructions.
#[derive(Default)]
pub(crate) struct Program<'r> {
    expressions: Vec<Expression<'r>>,
    pub(crate) inline: Vec<Inline<'r>>,
    // In an inet table a header may only be read behind the proof that it is there; one proof per rule is enough.
    family: Option<Family>,
    protocol: Option<u8>,
}

/// Something of a packet that can be loaded into a register.
#[derive(Clone, Copy)]
enum Field {
    Source(Family),
    Destination(Family),
    Protocol,
    DestinationPort,
}

impl Field {
    fn length(self) -> u32 {
        match self {
            Self::Source(family) | Self::Destination(family) => u32::from(family.bits() / 8),
            Self::DestinationPort => 2,
            Self::Protocol => 1,
        }
    }

    fn load<'r>(self, into: u32) -> Expression<'r> {
        let payload = |header, offset| Expression::LoadPayload { header, offset, length: self.length(), into };
        match self {
            Self::Source(Family::V4) => payload(Header::Network, 12),
            Self::Destination(Family::V4) => payload(Header::Network, 16),
            Self::Source(Family::V6) => payload(Header::Network, 8),
            Self::Destination(Family::V6) => payload(Header::Network, 24),
            Self::DestinationPort => payload(Header::Transport, 2),
            Self::Protocol => Expression::LoadMeta { key: Meta::Protocol, into },
        }
    }
}

impl<'r> Program<'r> {
    pub(crate) fn of(rule: &'r Rule) -> Self {
        let mut program = Self::default();
        rule.statements.iter().for_each(|statement| program.statement(statement));
        program
    }

    /// The value of a rule's EXPRESSIONS.
    pub(crate) fn write(&self, w: &mut Writer<'_>, first_inline: u32) {
        self.expressions.iter().for_each(|expression| expression.write(w, first_inline));
    }

    fn statement(&mut self, statement: &'r Statement) {
        match statement {
            Statement::ConnectionState(verdicts) => self.connection_state(verdicts),
            Statement::ReplyDirection => {
                self.push(Expression::LoadCt(Ct::Direction));
                self.equals(&[REPLY]);
            }
            Statement::Translated => {
                self.push(Expression::LoadCt(Ct::Status));
                self.push(Expression::Mask { mask: host_order(DESTINATION_TRANSLATED), xor: host_order(0) });
                self.push(Expression::Compare { how: Compare::NotEqual, with: host_order(0) });
            }
            Statement::MarkIs { mask, value } => self.expressions.extend(mark_is(*mask, *value)),
            Statement::SetMark { mask, value } => {
                self.push(Expression::LoadCt(Ct::Mark));
                self.push(Expression::Mask { mask: host_order(!mask), xor: host_order(*value) });
                self.push(Expression::SetCtMark);
            }
            Statement::NeighbourDiscovery => self.neighbour_discovery(),
            Statement::Interface { side, name } => {
                let key = match side {
                    Side::Input => Meta::InputInterface,
                    Side::Output => Meta::OutputInterface,
                };
                self.push(Expression::LoadMeta { key, into: KEY });
                let text = name.text.as_bytes();
                // Only the bytes of a prefix are compared; a whole name is compared with its padding.
                let with = if name.prefix { Constant::new(text) } else { Constant::padded(text) };
                self.push(Expression::Compare { how: Compare::Equal, with });
            }
            Statement::Protocol(protocol) => self.protocol(protocol.number()),
            Statement::DestinationPort { protocol, ports } => self.destination_port(*protocol, ports),
            Statement::Lookup { key, set } => self.lookup(*key, SetName::Named(set), false),
            Statement::VerdictMap { key, map } => self.lookup(*key, SetName::Named(map), true),
            Statement::Counter => self.push(Expression::Counter),
            Statement::Limit { per_second, burst } => {
                self.push(Expression::Limit { per_second: u64::from(*per_second), burst: *burst });
            }
            Statement::Log { prefix, group, snaplen } => {
                self.push(Expression::Log { prefix, group: *group, snaplen: *snaplen });
            }
            Statement::Reject(Reject::TcpReset) => {
                self.protocol(Protocol::Tcp.number());
                self.push(Expression::RejectTcpReset);
            }
            Statement::Reject(Reject::AdminProhibited) => self.push(Expression::RejectAdminProhibited),
            Statement::Verdict(verdict) => self.push(Expression::Verdict(verdict)),
        }
    }

    fn connection_state(&mut self, verdicts: &'r [(Connection, Verdict)]) {
        let elements = verdicts.iter().map(|(connection, verdict)| {
            let bit: u32 = match connection {
                Connection::Established => 2,
                Connection::Related => 4,
            };
            RawElement::new(&bit.to_ne_bytes()).with_verdict(verdict)
        });
        let elements = elements.collect();
        self.push(Expression::LoadCt(Ct::State));
        self.inline_lookup(Declaration::inline_states(), elements);
    }

    fn neighbour_discovery(&mut self) {
        self.family(Family::V6);
        self.push(Expression::LoadPayload { header: Header::Network, offset: 7, length: 1, into: KEY });
        self.equals(&[HOP_LIMIT]);
        self.protocol(ICMPV6);
        self.push(Expression::LoadPayload { header: Header::Transport, offset: 0, length: 1, into: KEY });
        let types = [NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT].map(|kind| RawElement::new(&[kind]));
        self.inline_lookup(Declaration::inline_icmpv6_types(), types.to_vec());
    }

    fn destination_port(&mut self, protocol: Protocol, ports: &[PortRange]) {
        self.protocol(protocol.number());
        self.push(Field::DestinationPort.load(KEY));
        match ports {
            [PortRange { first, last }] if first == last => self.equals(&first.to_be_bytes()),
            [PortRange { first, last }] => {
                for (how, port) in [(Compare::AtLeast, first), (Compare::AtMost, last)] {
                    self.push(Expression::Compare { how, with: Constant::new(&port.to_be_bytes()) });
                }
            }
            several => {
                let ranges = several.iter().any(|ports| ports.first != ports.last);
                let elements = match ranges {
                    true => several.iter().flat_map(|ports| RawElement::port_range(*ports)).collect(),
                    false => several.iter().map(|port| RawElement::new(&port.first.to_be_bytes())).collect(),
                };
                self.inline_lookup(Declaration::inline_ports(ranges), elements);
            }
        }
    }

    fn lookup(&mut self, key: LookupKey, set: SetName<'r>, verdict_map: bool) {
        // The kernel does not check that a key's family is the set's; `family` and the set's shape come from one plan.
        self.family(key.family());
        let fields: &[Field] = match key {
            LookupKey::Source(family) => &[Field::Source(family)],
            LookupKey::Destination(family) => &[Field::Destination(family)],
            LookupKey::SourceAndDestination(family) => &[Field::Source(family), Field::Destination(family)],
            LookupKey::DestinationAndPort(family) => {
                &[Field::Destination(family), Field::Protocol, Field::DestinationPort]
            }
        };
        let mut offset = 0;
        for field in fields {
            self.push(field.load(register_at(offset)));
            offset += field.length().next_multiple_of(4);
        }
        self.push(Expression::Lookup { set, verdict_map });
    }

    fn inline_lookup(&mut self, declaration: Declaration, elements: Vec<RawElement<'r>>) {
        let set = SetName::Inline(self.inline.len() as u32);
        self.inline.push(Inline { declaration, elements });
        self.push(Expression::Lookup { set, verdict_map: declaration.is_map() });
    }

    fn family(&mut self, family: Family) {
        if self.family.replace(family) != Some(family) {
            let number = match family {
                Family::V4 => 2,
                Family::V6 => 10,
            };
            self.push(Expression::LoadMeta { key: Meta::Family, into: KEY });
            self.equals(&[number]);
        }
    }

    fn protocol(&mut self, number: u8) {
        if self.protocol.replace(number) != Some(number) {
            self.push(Field::Protocol.load(KEY));
            self.equals(&[number]);
        }
    }

    fn equals(&mut self, constant: &[u8]) {
        self.push(Expression::Compare { how: Compare::Equal, with: Constant::new(constant) });
    }

    fn push(&mut self, expression: Expression<'r>) {
        self.expressions.push(expression);
    }
}

/// `ct mark and MASK == VALUE`.
pub(crate) fn mark_is<'r>(mask: u32, value: u32) -> [Expression<'r>; 3] {
    [
        Expression::LoadCt(Ct::Mark),
        Expression::Mask { mask: host_order(mask), xor: host_order(0) },
        Expression::Compare { how: Compare::Equal, with: host_order(value) },
    ]
}

/// Everything of a connection is in the machine's own order, unlike everything of a packet.
fn host_order(number: u32) -> Constant {
    Constant::new(&number.to_ne_bytes())
}

/// Writes the attributes of NEWRULE.
pub(crate) fn write(
    w: &mut Writer<'_>,
    table: &str,
    chain: &str,
    rule: &Rule,
    program: &Program<'_>,
    first_inline: u32,
) {
    w.text(1, table);
    w.text(2, chain);
    w.nest(4, |w| program.write(w, first_inline));
    if let Some(comment) = &rule.comment {
        w.raw(7, &userdata::comment(comment));
    }
}
