//! nft's own language: what `nft -f -` loads and a person can review.

use std::fmt::{self, Write as _};

use crate::cidr::Family;
use crate::model::Protocol;
use crate::ruleset::{
    Chain, Comment, Connection, Element, Key, LookupKey, Name, Reject, Rule, Set, SetShape, Side, Statement, Table,
};

/// Writes the whole table. Loading it into a kernel that has no such table gives exactly the table; the text does not
/// flush what is there already.
pub fn table(table: &Table) -> String {
    let mut out = String::new();
    // A String takes every write.
    _ = write_table(&mut out, table);
    out
}

/// One element, as it stands in a set.
fn element(element: &Element) -> String {
    match &element.verdict {
        Some(verdict) => format!("{} : {verdict}", Shown(&element.key)),
        None => Shown(&element.key).to_string(),
    }
}

/// The kind of a set's declaration: `set` or `map`.
fn set_keyword(shape: SetShape) -> &'static str {
    if shape == SetShape::Verdicts { "map" } else { "set" }
}

/// The types of a set's declaration, such as `ipv4_addr . inet_proto . inet_service`.
fn set_type(shape: SetShape, family: Family) -> String {
    let address = address_type(family);
    match shape {
        SetShape::Addresses | SetShape::CountedAddresses | SetShape::Ranges => address.to_owned(),
        SetShape::AddressPairs => format!("{address} . {address}"),
        SetShape::AddressPorts => format!("{address} . inet_proto . inet_service"),
        SetShape::Verdicts => format!("{address} : verdict"),
    }
}

fn write_table(out: &mut String, table: &Table) -> fmt::Result {
    writeln!(out, "table inet {} {{", table.name)?;
    for (name, set) in &table.sets {
        write_set(out, name, set)?;
    }
    for (name, chain) in &table.chains {
        write_chain(out, name, chain)?;
    }
    writeln!(out, "}}")
}

fn write_set(out: &mut String, name: &Name, set: &Set) -> fmt::Result {
    writeln!(out, "\t{} {name} {{", set_keyword(set.shape))?;
    writeln!(out, "\t\ttype {}", set_type(set.shape, set.family))?;
    match set.shape {
        SetShape::Ranges => writeln!(out, "\t\tflags interval")?,
        SetShape::CountedAddresses => writeln!(out, "\t\tcounter")?,
        SetShape::Addresses | SetShape::AddressPairs | SetShape::AddressPorts | SetShape::Verdicts => (),
    }
    writeln!(out, "\t\tcomment \"{}\"", set.comment.as_str())?;
    let mut separator = "\t\telements = { ";
    for one in &set.elements {
        write!(out, "{separator}{}", element(one))?;
        separator = ",\n\t\t\t     ";
    }
    if !set.elements.is_empty() {
        out.write_str(" }\n")?;
    }
    writeln!(out, "\t}}\n")
}

fn write_chain(out: &mut String, name: &Name, chain: &Chain) -> fmt::Result {
    writeln!(out, "\tchain {name} {{")?;
    if let Some(comment) = &chain.comment {
        writeln!(out, "\t\tcomment \"{}\"", comment.as_str())?;
    }
    if chain.base {
        writeln!(out, "\t\ttype filter hook forward priority filter; policy accept;")?;
    }
    for one in &chain.rules {
        out.write_str("\t\t")?;
        write_rule(out, one)?;
        out.write_str("\n")?;
    }
    writeln!(out, "\t}}\n")
}

fn write_rule(out: &mut String, rule: &Rule) -> fmt::Result {
    for (index, statement) in rule.statements.iter().enumerate() {
        if index > 0 {
            out.write_str(" ")?;
        }
        write_statement(out, statement)?;
    }
    write_comment(out, rule.comment.as_ref())
}

fn write_comment(out: &mut String, comment: Option<&Comment>) -> fmt::Result {
    comment.map_or(Ok(()), |comment| write!(out, " comment \"{}\"", comment.as_str()))
}

fn write_statement(out: &mut String, statement: &Statement) -> fmt::Result {
    match statement {
        Statement::ConnectionState(states) => {
            out.write_str("ct state vmap { ")?;
            for (index, (state, verdict)) in states.iter().enumerate() {
                write!(out, "{}{} : {verdict}", if index > 0 { ", " } else { "" }, state_name(*state))?;
            }
            out.write_str(" }")
        }
        Statement::ReplyDirection => out.write_str("ct direction reply"),
        Statement::Translated => out.write_str("ct status dnat"),
        Statement::MarkIs { mask, value } => write!(out, "ct mark & {mask:#010x} == {value:#010x}"),
        Statement::SetMark { mask, value } => write!(out, "ct mark set ct mark & {:#010x} | {value:#010x}", !mask),
        Statement::NeighbourDiscovery => {
            out.write_str("ip6 hoplimit 255 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }")
        }
        Statement::Interface { side, name } => {
            write!(out, "{} \"{name}\"", if *side == Side::Input { "iifname" } else { "oifname" })
        }
        Statement::Protocol(protocol) => write!(out, "meta l4proto {}", protocol_name(*protocol)),
        Statement::DestinationPort { protocol, ports } => {
            write!(out, "{} dport ", protocol_name(*protocol))?;
            match ports.as_slice() {
                [one] => write!(out, "{one}"),
                many => {
                    let list: Vec<String> = many.iter().map(ToString::to_string).collect();
                    write!(out, "{{ {} }}", list.join(", "))
                }
            }
        }
        Statement::Lookup { key, set } => write!(out, "{} @{set}", lookup_key(*key)),
        Statement::VerdictMap { key, map } => write!(out, "{} vmap @{map}", lookup_key(*key)),
        Statement::Counter => out.write_str("counter"),
        Statement::Limit { per_second, burst } => write!(out, "limit rate {per_second}/second burst {burst} packets"),
        Statement::Log { prefix, group, snaplen } => {
            write!(out, "log prefix \"{prefix}\" group {group} snaplen {snaplen}")
        }
        Statement::Reject(Reject::TcpReset) => out.write_str("meta l4proto tcp reject with tcp reset"),
        Statement::Reject(Reject::AdminProhibited) => out.write_str("reject with icmpx admin-prohibited"),
        Statement::Verdict(verdict) => write!(out, "{verdict}"),
    }
}

/// The key of a lookup, such as `ip daddr . meta l4proto . th dport`.
fn lookup_key(key: LookupKey) -> String {
    let ip = match key.family() {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    };
    match key {
        LookupKey::Source(_) => format!("{ip} saddr"),
        LookupKey::Destination(_) => format!("{ip} daddr"),
        LookupKey::SourceAndDestination(_) => format!("{ip} saddr . {ip} daddr"),
        LookupKey::DestinationAndPort(_) => format!("{ip} daddr . meta l4proto . th dport"),
    }
}

pub(super) fn state_name(state: Connection) -> &'static str {
    match state {
        Connection::Established => "established",
        Connection::Related => "related",
    }
}

pub(super) fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

pub(super) fn address_type(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4_addr",
        Family::V6 => "ipv6_addr",
    }
}

struct Shown<'k>(&'k Key);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Key::Address(address) => address.fmt(f),
            Key::Range(range) => range.fmt(f),
            Key::Pair(address) => write!(f, "{address} . {address}"),
            Key::Port(address, protocol, port) => write!(f, "{address} . {} . {port}", protocol_name(*protocol)),
        }
    }
}
