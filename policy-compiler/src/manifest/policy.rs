//! NetworkPolicy: read strictly, validated and defaulted as the API server does (rules 146-171).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::fields::{Field, Fields, Unknown, quoted};
use super::metadata::{self, Metadata, checked_label};
use super::{ProblemKind, names};
use crate::cidr::{Cidr, CidrError, CidrOddity, CidrRules};
use crate::model::{Direction, IpBlock, NamespaceScope, Origin, Peer, Policy, PolicyPort, PortMatch, Protocol, Rule};
use crate::selector::{Operator, Requirement, Selector};

/// A policy as far as it could be read. It is the policy only where nothing wrong was reported.
pub(super) struct Reading {
    pub(super) metadata: Metadata,
    origin: Origin,
    spec: Spec,
}

impl Reading {
    /// The policy that the document is.
    pub(super) fn policy(self) -> Option<Policy> {
        let Spec { subject, directions, ingress, egress } = self.spec;
        // What a direction allows if it is named; sections of others mean nothing (rules 7, 8).
        let rules = |direction, section: Option<Vec<Rule>>| {
            directions.contains(&direction).then(|| section.unwrap_or_default())
        };
        Some(Policy {
            name: self.metadata.object_name()?,
            subject: subject?,
            ingress: rules(Direction::Ingress, ingress),
            egress: rules(Direction::Egress, egress),
            closed: false,
            origin: Some(self.origin),
        })
    }

    /// The policy that stands in for one with mistakes: it isolates the pods that the document selects, for the
    /// directions that it names, and allows nothing (invariant 1).
    ///
    /// None where the name, the namespace or the podSelector cannot be trusted: then there is no telling whose pods to
    /// close. What is absent is trusted only where no unknown and no duplicate field stands beside it, because one of
    /// these may be what was meant. Directions that cannot be trusted are both.
    pub(super) fn closed(self) -> Option<Policy> {
        let closed = |direction| self.spec.directions.contains(&direction).then(Vec::new);
        Some(Policy {
            name: self.metadata.object_name()?,
            ingress: closed(Direction::Ingress),
            egress: closed(Direction::Egress),
            subject: self.spec.subject?,
            closed: true,
            origin: Some(self.origin),
        })
    }
}

/// Reads what is left of a document after `apiVersion` and `kind`.
pub(super) fn read(mut document: Fields<'_>, origin: &Origin, cidrs: CidrRules) -> Reading {
    let metadata = metadata::read(&mut document, &names::SUBDOMAIN, Unknown::Refused);
    let spec = document.take("spec").map(|field| spec(&field, cidrs));
    document.take("status"); // withdrawn from the API; old manifests carry it (rule 171)
    let complete = document.finish(Unknown::Refused);
    let spec = spec.unwrap_or_else(|| if complete { Spec::empty() } else { Spec::unreadable() });
    Reading { metadata, origin: origin.clone(), spec }
}

struct Spec {
    subject: Option<Selector>,
    directions: Vec<Direction>,
    ingress: Option<Vec<Rule>>,
    egress: Option<Vec<Rule>>,
}

impl Spec {
    /// Isolates a whole namespace for ingress (rules 1, 11).
    fn empty() -> Self {
        let subject = Some(Selector::everything());
        Self { subject, directions: vec![Direction::Ingress], ingress: None, egress: None }
    }

    fn unreadable() -> Self {
        Self { subject: None, directions: Direction::BOTH.into(), ingress: None, egress: None }
    }
}

fn spec(at: &Field<'_>, cidrs: CidrRules) -> Spec {
    let Some(mut spec) = at.open() else { return Spec::unreadable() };
    let subject = spec.take("podSelector").map(|field| field.sound(selector));
    let types = spec.take("policyTypes").map(|field| field.sound(policy_types));
    let ingress = spec.take("ingress");
    let egress = spec.take("egress");
    let complete = spec.finish(Unknown::Refused);

    let rules = |section: &Option<Field<'_>>, peers| section.as_ref().map(|field| rules(field, peers, cidrs));
    Spec {
        subject: subject.unwrap_or_else(|| complete.then(Selector::everything)),
        directions: match types {
            Some(Some(types)) if !types.is_empty() => types,
            None | Some(Some(_)) if complete => default_types(egress.as_ref()),
            _ => Direction::BOTH.into(),
        },
        ingress: rules(&ingress, "from"),
        egress: rules(&egress, "to"),
    }
}

/// Rules 1 and 2: ingress always, egress if there is a rule for it.
fn default_types(egress: Option<&Field<'_>>) -> Vec<Direction> {
    match egress {
        Some(egress) if !egress.is_empty_list() => Direction::BOTH.into(),
        _ => vec![Direction::Ingress],
    }
}

/// Rule 166.
fn policy_types(at: &Field<'_>) -> Vec<Direction> {
    let items = at.items();
    if items.len() > 2 {
        at.error(format_args!("must have at most 2 entries, has {}", items.len()));
        return Vec::new();
    }
    items.iter().filter_map(policy_type).collect()
}

fn policy_type(at: &Field<'_>) -> Option<Direction> {
    let text = at.string()?;
    let direction = Direction::BOTH.into_iter().find(|direction| *direction.policy_type() == *text);
    if direction.is_none() {
        at.error(format_args!("must be Ingress or Egress, is {}", quoted(&text)));
    }
    direction
}

fn rules(at: &Field<'_>, peers: &'static str, cidrs: CidrRules) -> Vec<Rule> {
    at.items().iter().filter_map(|entry| rule(entry, peers, cidrs)).collect()
}

fn rule(at: &Field<'_>, peers: &'static str, cidrs: CidrRules) -> Option<Rule> {
    let mut rule = at.open()?;
    let peers = rule.take(peers).map(|list| list.items().iter().filter_map(|entry| peer(entry, cidrs)).collect());
    let ports = rule.take("ports").map(|list| list.items().iter().filter_map(policy_port).collect());
    rule.finish(Unknown::Refused);
    Some(Rule { peers: unless_empty(peers), ports: unless_empty(ports), origin: Some(at.origin()) })
}

/// An empty list of peers or ports restricts nothing, like a missing one (rules 32, 33). A list that is empty because
/// its entries were refused does not come to that: its policy is not used.
fn unless_empty<T>(list: Option<Vec<T>>) -> Option<Vec<T>> {
    list.filter(|list| !list.is_empty())
}

/// Rules 161 and 162.
fn peer(at: &Field<'_>, cidrs: CidrRules) -> Option<Peer> {
    let mut peer = at.open()?;
    let pods = peer.take("podSelector").map(|field| selector(&field));
    let namespaces = peer.take("namespaceSelector").map(|field| selector(&field));
    let block = peer.take("ipBlock").map(|field| ip_block(&field, cidrs));
    let complete = peer.finish(Unknown::Refused);

    let selects = pods.is_some() || namespaces.is_some();
    match block {
        None if selects => Some(Peer::Pods {
            namespaces: namespaces.map_or(NamespaceScope::Own, NamespaceScope::Matching),
            pods: pods.unwrap_or_default(),
        }),
        None => {
            if complete {
                at.error("must have a podSelector, a namespaceSelector or an ipBlock");
            }
            None
        }
        Some(block) if !selects => block.map(Peer::Block),
        Some(_) => {
            at.error("must not have an ipBlock beside podSelector or namespaceSelector; make it an entry of its own");
            None
        }
    }
}

fn ip_block(at: &Field<'_>, cidrs: CidrRules) -> Option<IpBlock> {
    let mut block = at.open()?;
    let outer = block.require("cidr").and_then(|field| cidr(&field, cidrs));
    let except = block.take("except");
    block.finish(Unknown::Refused);

    let except = except.iter().flat_map(Field::items).filter_map(|entry| except_of(outer, &entry, cidrs)).collect();
    let block = IpBlock { cidr: outer?.cidr, except };
    if block.ranges().is_empty() && block.except.iter().all(|except| block.cidr.strictly_contains(except)) {
        at.warn(ProblemKind::EmptyBlock, format_args!("can never match: its excepts leave nothing of {}", block.cidr));
    }
    Some(block)
}

/// How much longer the prefix of an IPv4-mapped block is than that of the block which it maps to.
const MAPPED_PREFIX: u8 = 96;

/// A block, and how long its prefix is as it is written: of an IPv4-mapped one longer than what it comes to.
#[derive(Clone, Copy)]
struct Written {
    cidr: Cidr,
    prefix: u8,
}

/// Rules 163, 167 and 168.
fn cidr(at: &Field<'_>, rules: CidrRules) -> Option<Written> {
    let text = at.string()?;
    // What is merely odd is read on even where it is refused.
    let (cidr, oddities) = match Cidr::parse(&text, CidrRules::Legacy) {
        Ok(parsed) => parsed,
        Err(error) => {
            at.error(format_args!("{} {error}", quoted(&text)));
            return None;
        }
    };
    match Cidr::parse(&text, rules) {
        Err(CidrError::Odd(oddity)) => {
            at.error_of(ProblemKind::OddCidr(oddity), format_args!("{} {oddity}", quoted(&text)));
        }
        _ => {
            for oddity in &oddities {
                at.warn(ProblemKind::OddCidr(*oddity), format_args!("{} {oddity}", quoted(&text)));
            }
        }
    }
    let is_mapped = oddities.iter().any(|oddity| matches!(oddity, CidrOddity::Mapped { .. }));
    Some(Written { cidr, prefix: cidr.prefix() + if is_mapped { MAPPED_PREFIX } else { 0 } })
}

/// Rules 164 and 165. API servers compare the prefixes as they are written, so that nothing written as IPv4 can be
/// excepted from an IPv4-mapped block, and even all of an IPv4 block can by an IPv4-mapped one.
fn except_of(outer: Option<Written>, at: &Field<'_>, rules: CidrRules) -> Option<Cidr> {
    let inner = cidr(at, rules)?;
    if let Some(outer) = outer {
        if outer.cidr.strictly_contains(&inner.cidr) && outer.prefix >= inner.prefix {
            at.error("must be IPv4-mapped as the cidr is; better write both as IPv4");
        } else if outer.prefix >= inner.prefix || !outer.cidr.contains(inner.cidr.range().first) {
            at.error(format_args!("must lie in the cidr {} and be smaller, is {}", outer.cidr, inner.cidr));
        }
    }
    Some(inner.cidr)
}

fn policy_port(at: &Field<'_>) -> Option<PolicyPort> {
    let mut entry = at.open()?;
    let protocol = entry.take("protocol").map_or(Some(Protocol::Tcp), |field| protocol(&field));
    let port = entry.take("port");
    let end = entry.take("endPort");
    entry.finish(Unknown::Refused);

    let ports = match (port, end) {
        (None, None) => Some(PortMatch::All),
        (None, Some(end)) => {
            end.error("must not be there without port");
            None
        }
        (Some(port), end) if port.is_string() => {
            if let Some(end) = end {
                end.error("must not be there with a named port");
            }
            port_name(&port)
        }
        (Some(port), end) => port_range(&port, end.as_ref()),
    };
    Some(PolicyPort { protocol: protocol?, ports: ports? })
}

/// Rules 9 and 155.
pub(super) fn protocol(at: &Field<'_>) -> Option<Protocol> {
    let text = at.string()?;
    let protocol = Protocol::parse(&text);
    if protocol.is_none() {
        at.error(format_args!("must be TCP, UDP or SCTP, is {}", quoted(&text)));
    }
    protocol
}

/// Rule 157.
fn port_name(at: &Field<'_>) -> Option<PortMatch> {
    let text = at.string()?;
    if text.parse::<u64>().is_ok() {
        let message = format_args!(
            "must be a number or a name, is {}, which in quotes is neither; unquote it: {text}",
            quoted(&text)
        );
        at.error_of(ProblemKind::QuotedPort, message);
        return None;
    }
    at.name(&names::PORT_NAME).map(PortMatch::Named)
}

/// Rules 59, 60, 156 and 160.
fn port_range(port: &Field<'_>, end: Option<&Field<'_>>) -> Option<PortMatch> {
    if !port.is_number() {
        return port.wrong_type("must be a number or a name", "");
    }
    let first = port.port_number();
    let Some(end) = end else { return first.map(|port| PortMatch::Range(port, port)) };
    let last = end.port_number()?;
    // Also where it is no number that a port can have.
    if let Some(written) = port.whole_number().filter(|written| i128::from(last) < *written) {
        end.error(format_args!("must be at least port, which is {written}, is {last}"));
    }
    Some(PortMatch::Range(first?, last))
}

/// Rules 43 and 149-154.
fn selector(at: &Field<'_>) -> Selector {
    let Some(mut selector) = at.open() else { return Selector::everything() };
    let labels = selector.take("matchLabels");
    let expressions = selector.take("matchExpressions");
    selector.finish(Unknown::Refused);

    let labels = labels.iter().flat_map(Field::strings).map(|(key, value, at)| {
        let (key, value) = checked_label(key, value, &at);
        Requirement { key, operator: Operator::In([value].into()) }
    });
    Selector::new(labels.chain(expressions.iter().flat_map(Field::items).filter_map(|entry| requirement(&entry))))
}

fn requirement(at: &Field<'_>) -> Option<Requirement> {
    let mut expression = at.open()?;
    let key = expression.require("key").and_then(|field| field.name(&names::QUALIFIED_NAME));
    let operator = expression.require("operator").and_then(|field| Some((field.string()?, field)));
    let values = expression.take("values");
    expression.finish(Unknown::Refused);

    // Wrong values are told of whatever the operator makes of them.
    let set: BTreeSet<Arc<str>> =
        values.iter().flat_map(Field::items).filter_map(|value| value.name(&names::LABEL_VALUE)).collect();
    let (operator, named) = operator?;
    let given = values.as_ref().filter(|values| !values.is_empty_list());
    let operator = match (&*operator, given) {
        ("In", Some(_)) => Operator::In(set),
        ("NotIn", Some(_)) => Operator::NotIn(set),
        ("Exists", None) => Operator::Exists,
        ("DoesNotExist", None) => Operator::DoesNotExist,
        ("In" | "NotIn", None) => {
            at.error_at("values", format_args!("must not be empty with the operator {operator}"));
            return None;
        }
        ("Exists" | "DoesNotExist", Some(values)) => {
            values.error(format_args!("must not be there with the operator {operator}"));
            return None;
        }
        (other, _) => {
            named.error(format_args!("must be In, NotIn, Exists or DoesNotExist, is {}", quoted(other)));
            return None;
        }
    };
    Some(Requirement { key: key?, operator })
}

#[cfg(test)]
mod tests;
