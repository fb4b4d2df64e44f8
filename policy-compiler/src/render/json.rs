//! libnftables JSON: what `nft -j -f -` loads, through the types of the `nftables` crate.
//!
//! Three things the crate's types cannot say, and are written as plain objects beside them: verdict maps and their
//! elements, comments of tables and chains, and the statement that makes a set count.

use std::borrow::Cow;
use std::collections::HashSet;

use nftables::expr::{
    BinaryOperation, CT, Expression, Meta, MetaKey, NamedExpression, Payload, PayloadField, Prefix, Range, SetItem,
};
use nftables::schema::{self, NfListObject, SetFlag, SetType, SetTypeValue};
use nftables::stmt::{self, JumpTarget, Match, Operator, RejectType};
use nftables::types::{NfChainPolicy, NfChainType, NfFamily, NfHook, RejectCode};
use serde_json::{Value, json};

use super::text;
use crate::cidr::{Family, IpRange};
use crate::model::Protocol;
use crate::ruleset::{
    Chain, Element, Key, LookupKey, PortRange, Reject, Rule, Set, SetShape, Side, Statement, Table, Verdict,
};

type Json<'a> = stmt::Statement<'a>;

/// The whole table as one document, `{"nftables": [..]}`: declarations first, then elements and rules, since nft takes
/// a jump only to a chain that it has seen.
///
/// # Errors
/// When a value of the crate cannot be written as JSON; none that is built here cannot.
pub fn table(table: &Table) -> Result<Value, serde_json::Error> {
    let mut commands = vec![json!({"add": {"table": {"family": "inet", "name": &*table.name}}})];
    for (name, set) in &table.sets {
        commands.push(add(set_declaration(table, name, set)?));
    }
    for (name, chain) in &table.chains {
        commands.push(add(chain_declaration(table, name, chain)?));
    }
    for (name, set) in table.sets.iter().filter(|(_, set)| !set.elements.is_empty()) {
        commands.push(add(elements(table, name, set)?));
    }
    for (name, chain) in &table.chains {
        for rule in &chain.rules {
            commands.push(add(rule_object(table, name, rule)?));
        }
    }
    Ok(json!({ "nftables": commands }))
}

fn add(object: Value) -> Value {
    json!({ "add": object })
}

fn with(mut object: Value, kind: &str, key: &str, value: Value) -> Value {
    if let Some(fields) = object.get_mut(kind).and_then(Value::as_object_mut) {
        fields.insert(key.to_owned(), value);
    }
    object
}

fn set_declaration(table: &Table, name: &str, set: &Set) -> Result<Value, serde_json::Error> {
    if set.shape == SetShape::Verdicts {
        return Ok(json!({"map": {
            "family": "inet", "table": &*table.name, "name": name, "type": text::address_type(set.family),
            "map": "verdict", "comment": set.comment.as_str(),
        }}));
    }
    let address = match set.family {
        Family::V4 => SetType::Ipv4Addr,
        Family::V6 => SetType::Ipv6Addr,
    };
    let set_type = match set.shape {
        SetShape::AddressPairs => SetTypeValue::Concatenated(vec![address, address].into()),
        SetShape::AddressPorts => {
            SetTypeValue::Concatenated(vec![address, SetType::InetProto, SetType::InetService].into())
        }
        SetShape::Addresses | SetShape::CountedAddresses | SetShape::Ranges | SetShape::Verdicts => {
            SetTypeValue::Single(address)
        }
    };
    let object = serde_json::to_value(NfListObject::Set(Box::new(schema::Set {
        family: NfFamily::INet,
        table: Cow::Borrowed(&table.name),
        name: Cow::Borrowed(name),
        set_type,
        flags: (set.shape == SetShape::Ranges).then(|| HashSet::from([SetFlag::Interval])),
        comment: Some(Cow::Borrowed(set.comment.as_str())),
        ..schema::Set::default()
    })))?;
    Ok(match set.shape {
        SetShape::CountedAddresses => with(object, "set", "stmt", json!([{ "counter": null }])),
        _ => object,
    })
}

fn chain_declaration(table: &Table, name: &str, chain: &Chain) -> Result<Value, serde_json::Error> {
    let object = serde_json::to_value(NfListObject::Chain(schema::Chain {
        family: NfFamily::INet,
        table: Cow::Borrowed(&table.name),
        name: Cow::Borrowed(name),
        _type: chain.base.then_some(NfChainType::Filter),
        hook: chain.base.then_some(NfHook::Forward),
        // A number: nft 1.0.6 takes the name of a priority for the name of a chain without a hook.
        prio: chain.base.then_some(0),
        policy: chain.base.then_some(NfChainPolicy::Accept),
        ..schema::Chain::default()
    }))?;
    Ok(match &chain.comment {
        Some(comment) => with(object, "chain", "comment", json!(comment.as_str())),
        None => object,
    })
}

fn elements(table: &Table, name: &str, set: &Set) -> Result<Value, serde_json::Error> {
    let list: Vec<Value> = set.elements.iter().map(element).collect::<Result<_, _>>()?;
    Ok(json!({"element": {"family": "inet", "table": &*table.name, "name": name, "elem": list}}))
}

fn element(element: &Element) -> Result<Value, serde_json::Error> {
    let key = serde_json::to_value(key(&element.key))?;
    Ok(match &element.verdict {
        Some(verdict) => json!([key, serde_json::to_value(verdict_statement(verdict))?]),
        None => key,
    })
}

fn key(key: &Key) -> Expression<'static> {
    let address = |address: &std::net::IpAddr| string(address.to_string());
    match key {
        Key::Address(one) => address(one),
        Key::Range(range) => range_expression(range),
        Key::Pair(one) => concat(vec![address(one), address(one)]),
        Key::Port(one, protocol, port) => {
            concat(vec![address(one), string(text::protocol_name(*protocol)), number(u32::from(*port))])
        }
    }
}

fn range_expression(range: &IpRange) -> Expression<'static> {
    match range.prefix() {
        Some(length) if length == Family::of(range.first).bits() => string(range.first.to_string()),
        Some(length) => Expression::Named(NamedExpression::Prefix(Prefix {
            addr: Box::new(string(range.first.to_string())),
            len: length.into(),
        })),
        None => between(string(range.first.to_string()), string(range.last.to_string())),
    }
}

fn rule_object(table: &Table, chain: &str, rule: &Rule) -> Result<Value, serde_json::Error> {
    let statements: Vec<Json<'_>> = rule.statements.iter().flat_map(statement).collect();
    serde_json::to_value(NfListObject::Rule(schema::Rule {
        family: NfFamily::INet,
        table: Cow::Borrowed(&table.name),
        chain: Cow::Borrowed(chain),
        expr: statements.into(),
        comment: rule.comment.as_ref().map(|comment| Cow::Borrowed(comment.as_str())),
        ..schema::Rule::default()
    }))
}

fn statement(statement: &Statement) -> Vec<Json<'_>> {
    match statement {
        Statement::ConnectionState(states) => {
            let items = states.iter().map(|(state, verdict)| {
                SetItem::MappingStatement(string(text::state_name(*state)), verdict_statement(verdict))
            });
            let data = Expression::Named(NamedExpression::Set(items.collect()));
            vec![Json::VerdictMap(stmt::VerdictMap { key: ct("state"), data })]
        }
        Statement::ReplyDirection => vec![equals(ct("direction"), string("reply"))],
        Statement::Translated => vec![contains(ct("status"), string("dnat"))],
        Statement::MarkIs { mask, value } => vec![equals(and(ct("mark"), number(*mask)), number(*value))],
        Statement::SetMark { mask, value } => {
            let kept = and(ct("mark"), number(!mask));
            let both = BinaryOperation::OR(vec![kept, number(*value)]);
            vec![Json::Mangle(stmt::Mangle { key: ct("mark"), value: Expression::BinaryOperation(Box::new(both)) })]
        }
        Statement::NeighbourDiscovery => {
            let types = ["nd-neighbor-solicit", "nd-neighbor-advert"].map(|kind| SetItem::Element(string(kind)));
            let types = Expression::Named(NamedExpression::Set(types.into()));
            vec![equals(field("ip6", "hoplimit"), number(255)), equals(field("icmpv6", "type"), types)]
        }
        Statement::Interface { side, name } => {
            let key = if *side == Side::Input { MetaKey::Iifname } else { MetaKey::Oifname };
            vec![equals(meta(key), string(name.to_string()))]
        }
        Statement::Protocol(protocol) => {
            vec![equals(meta(MetaKey::L4proto), string(text::protocol_name(*protocol)))]
        }
        Statement::DestinationPort { protocol, ports } => vec![destination_port(*protocol, ports)],
        Statement::Lookup { key, set } => vec![equals(lookup_key(*key), string(format!("@{set}")))],
        Statement::VerdictMap { key, map } => {
            vec![Json::VerdictMap(stmt::VerdictMap { key: lookup_key(*key), data: string(format!("@{map}")) })]
        }
        Statement::Counter => vec![Json::Counter(stmt::Counter::Anonymous(None))],
        Statement::Limit { per_second, burst } => vec![Json::Limit(stmt::Limit {
            rate: *per_second,
            rate_unit: None,
            per: Some("second".into()),
            burst: Some(*burst),
            burst_unit: None,
            inv: None,
        })],
        Statement::Log { prefix, group, snaplen } => vec![Json::Log(Some(stmt::Log {
            prefix: Some(Cow::Borrowed(prefix)),
            group: Some(u32::from(*group)),
            snaplen: Some(*snaplen),
            queue_threshold: None,
            level: None,
            flags: None,
        }))],
        Statement::Reject(Reject::TcpReset) => vec![
            equals(meta(MetaKey::L4proto), string("tcp")),
            Json::Reject(Some(stmt::Reject { _type: Some(RejectType::TCPReset), expr: None })),
        ],
        Statement::Reject(Reject::AdminProhibited) => vec![Json::Reject(Some(stmt::Reject {
            _type: Some(RejectType::ICMPX),
            expr: Some(RejectCode::AdminProhibited),
        }))],
        Statement::Verdict(verdict) => vec![verdict_statement(verdict)],
    }
}

fn destination_port<'a>(protocol: Protocol, ports: &[PortRange]) -> Json<'a> {
    let expression = |range: &PortRange| match range.first == range.last {
        true => number(range.first.into()),
        false => between(number(range.first.into()), number(range.last.into())),
    };
    let right = match ports {
        [one] => expression(one),
        many => {
            let items = many.iter().map(|range| SetItem::Element(expression(range)));
            Expression::Named(NamedExpression::Set(items.collect()))
        }
    };
    equals(field(text::protocol_name(protocol), "dport"), right)
}

fn verdict_statement(verdict: &Verdict) -> Json<'_> {
    match verdict {
        Verdict::Accept => Json::Accept(None),
        Verdict::Drop => Json::Drop(None),
        Verdict::Return => Json::Return(None),
        Verdict::Jump(chain) => Json::Jump(JumpTarget { target: Cow::Borrowed(chain) }),
        Verdict::Goto(chain) => Json::Goto(JumpTarget { target: Cow::Borrowed(chain) }),
    }
}

fn lookup_key<'a>(key: LookupKey) -> Expression<'a> {
    let ip = match key.family() {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    };
    match key {
        LookupKey::Source(_) => field(ip, "saddr"),
        LookupKey::Destination(_) => field(ip, "daddr"),
        LookupKey::SourceAndDestination(_) => concat(vec![field(ip, "saddr"), field(ip, "daddr")]),
        LookupKey::DestinationAndPort(_) => {
            concat(vec![field(ip, "daddr"), meta(MetaKey::L4proto), field("th", "dport")])
        }
    }
}

fn equals<'a>(left: Expression<'a>, right: Expression<'a>) -> Json<'a> {
    Json::Match(Match { left, right, op: Operator::EQ })
}

fn contains<'a>(left: Expression<'a>, right: Expression<'a>) -> Json<'a> {
    Json::Match(Match { left, right, op: Operator::IN })
}

fn string<'a>(text: impl Into<Cow<'a, str>>) -> Expression<'a> {
    Expression::String(text.into())
}

fn number<'a>(number: u32) -> Expression<'a> {
    Expression::Number(number)
}

fn concat(parts: Vec<Expression<'_>>) -> Expression<'_> {
    Expression::Named(NamedExpression::Concat(parts))
}

fn between<'a>(first: Expression<'a>, last: Expression<'a>) -> Expression<'a> {
    Expression::Range(Box::new(Range { range: [first, last] }))
}

fn and<'a>(left: Expression<'a>, right: Expression<'a>) -> Expression<'a> {
    Expression::BinaryOperation(Box::new(BinaryOperation::AND(left, right)))
}

fn ct<'a>(key: &'static str) -> Expression<'a> {
    Expression::Named(NamedExpression::CT(CT { key: Cow::Borrowed(key), family: None, dir: None }))
}

fn meta<'a>(key: MetaKey) -> Expression<'a> {
    Expression::Named(NamedExpression::Meta(Meta { key }))
}

fn field<'a>(protocol: &'static str, field: &'static str) -> Expression<'a> {
    Expression::Named(NamedExpression::Payload(Payload::PayloadField(PayloadField {
        protocol: Cow::Borrowed(protocol),
        field: Cow::Borrowed(field),
    })))
}
