//! The chains and sets that every node's table has, whatever the policies.

use super::names;
use super::settings::{Denial, DropLog, Generation, MarkMask, Settings, UnknownPods};
use crate::cidr::Family;
use crate::model::Direction;
use crate::ruleset::{
    Chain, Connection, LookupKey, Name, Reject, Rule, Set, SetShape, Side, Statement, Table, Verdict,
};

/// A table in which no pod is known and nothing is isolated.
pub(super) fn table(settings: &Settings, generation: Generation) -> Table {
    let mut table = Table::new(settings.table.clone());
    for direction in Direction::BOTH {
        for family in Family::BOTH {
            sets(&mut table, direction, family);
        }
        add(&mut table, &names::dispatch(direction), dispatch_chain(direction, settings));
        add(&mut table, &names::deny(direction), deny_chain(direction, settings));
    }
    for family in Family::BOTH {
        let pairs = Set::new(SetShape::AddressPairs, family, "isolated pods to themselves");
        table.sets.insert(names::self_pairs(family), pairs);
    }
    add(&mut table, names::FORWARD, base_chain());
    add(&mut table, names::UNKNOWN, unknown_chain(settings));
    table.chains.extend(stamped_chains(settings.mark_mask, generation));
    table
}

/// The two chains that know the generation.
pub(super) fn stamped_chains(mask: MarkMask, generation: Generation) -> [(Name, Chain); 2] {
    let (mask, value) = (mask.bits(), generation.value(mask));
    let established = Chain::new(
        "packets of known connections: judged again unless stamped with the current generation",
        vec![
            Rule::new([Statement::MarkIs { mask, value }, Statement::Verdict(Verdict::Accept)]),
            // A reply cannot be judged by its own addresses; the original direction is stamped again, or dies.
            Rule::new([Statement::ReplyDirection, Statement::Verdict(Verdict::Accept)]),
        ],
    );
    let allow = Chain::new(
        "allowed packets: stamps their connection with the current generation",
        vec![Rule::new([Statement::SetMark { mask, value }]), Rule::new([Statement::Verdict(Verdict::Accept)])],
    );
    [(names::ESTABLISHED.into(), established), (names::ALLOW.into(), allow)]
}

/// The packet's end that a direction is about.
pub(super) fn subject_key(direction: Direction, family: Family) -> LookupKey {
    match direction {
        Direction::Ingress => LookupKey::Destination(family),
        Direction::Egress => LookupKey::Source(family),
    }
}

/// What an allowed packet does in one direction: ingress is judged last, egress hands on to it (invariant 4).
pub(super) fn allowed(direction: Direction) -> Verdict {
    match direction {
        Direction::Ingress => Verdict::Goto(names::ALLOW.into()),
        Direction::Egress => Verdict::Return,
    }
}

fn add(table: &mut Table, name: &str, chain: Chain) {
    table.chains.insert(name.into(), chain);
}

fn goto(chain: impl Into<Name>) -> Statement {
    Statement::Verdict(Verdict::Goto(chain.into()))
}

fn sets(table: &mut Table, direction: Direction, family: Family) {
    let verdicts =
        Set::new(SetShape::Verdicts, family, format!("every pod of this node: where its {direction} is judged"));
    table.sets.insert(names::dispatch_map(direction, family), verdicts);
    let counters = Set::new(SetShape::CountedAddresses, family, format!("denied {direction} packets by isolated pod"));
    table.sets.insert(names::denied_counters(direction, family), counters);
}

/// Created once and never deleted while running: a new base chain is hooked before its rules are live (invariant 5).
fn base_chain() -> Chain {
    let states = vec![
        (Connection::Established, Verdict::Jump(names::ESTABLISHED.into())),
        (Connection::Related, Verdict::Accept),
    ];
    let rules = vec![
        Rule::new([Statement::ConnectionState(states)]),
        Rule::new([Statement::NeighbourDiscovery, Statement::Verdict(Verdict::Accept)]),
        Rule::new([Statement::Verdict(Verdict::Jump(names::dispatch(Direction::Egress)))]),
        Rule::new([goto(names::dispatch(Direction::Ingress))]),
    ];
    Chain { base: true, ..Chain::new("every packet that this node forwards, bridged ones included", rules) }
}

fn dispatch_chain(direction: Direction, settings: &Settings) -> Chain {
    let (side, comment) = match direction {
        Direction::Egress => (Side::Input, "egress of the sending pod; returns where it is allowed"),
        Direction::Ingress => (Side::Output, "ingress of the receiving pod"),
    };
    let mut rules: Vec<Rule> = Family::BOTH
        .into_iter()
        .map(|family| {
            let map = names::dispatch_map(direction, family);
            Rule::new([Statement::VerdictMap { key: subject_key(direction, family), map }])
        })
        .collect();
    if settings.unknown_pods == UnknownPods::Drop {
        rules.extend(
            settings
                .pod_interfaces
                .iter()
                .map(|name| Rule::new([Statement::Interface { side, name: name.clone() }, goto(names::UNKNOWN)])),
        );
    }
    if direction == Direction::Ingress {
        rules.push(Rule::new([goto(names::ALLOW)]));
    }
    Chain::new(comment, rules)
}

/// The exception for a pod's own traffic stands here, so that allowed packets never pay for it (rules 99, 100). Only what
/// comes back to a pod through a Service is forwarded at all: a packet that was sent to the pod's address by what seems to
/// be the pod is another's, which borrows the address.
fn deny_chain(direction: Direction, settings: &Settings) -> Chain {
    let mut rules = Vec::new();
    for family in Family::BOTH {
        let own = Statement::Lookup { key: LookupKey::SourceAndDestination(family), set: names::self_pairs(family) };
        rules.push(Rule::new([Statement::Translated, own, Statement::Verdict(allowed(direction))]));
    }
    for family in Family::BOTH {
        let set = names::denied_counters(direction, family);
        rules.push(Rule::new([Statement::Lookup { key: subject_key(direction, family), set }]));
    }
    rules.extend(settings.drop_log.as_ref().map(|log| log_rule(log, &format!("podwall-{direction} "))));
    if settings.denial == Denial::Reject {
        rules.push(Rule::new([Statement::Reject(Reject::TcpReset)]));
        rules.push(Rule::new([Statement::Reject(Reject::AdminProhibited)]));
    }
    rules.push(Rule::new([Statement::Counter, Statement::Verdict(Verdict::Drop)]));
    Chain::new(format!("{direction} that no policy allows"), rules)
}

fn unknown_chain(settings: &Settings) -> Chain {
    let mut rules: Vec<Rule> = settings.drop_log.iter().map(|log| log_rule(log, "podwall-unknown ")).collect();
    rules.push(Rule::new([Statement::Counter, Statement::Verdict(Verdict::Drop)]));
    Chain::new("packets on a pod interface that no known pod sent or receives", rules)
}

fn log_rule(log: &DropLog, prefix: &str) -> Rule {
    Rule::new([
        Statement::Limit { per_second: log.per_second, burst: log.burst },
        Statement::Log { prefix: prefix.into(), group: log.group, snaplen: log.snaplen },
    ])
}
