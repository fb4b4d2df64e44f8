//! A difference for programs; `docs/json.md` has the shapes.

use analysis::diff::{Change, Connectivity, Effect, Movement, NodeRules, Side};
use analysis::reach::TrafficSet;
use policy_compiler::cidr::Family;
use policy_compiler::delta::{ChainChange, SetChange};
use policy_compiler::model::{ObjectName, Protocol};
use serde_json::{Value, json};

/// `{"flows": [..], "added": [..], "removed": [..], "policies": {..}}`
pub(crate) fn connectivity(connectivity: &Connectivity) -> String {
    let policies = &connectivity.policies;
    document(&json!({
        "flows": connectivity.changes.iter().map(change).collect::<Vec<_>>(),
        "added": connectivity.added.iter().map(movement).collect::<Vec<_>>(),
        "removed": connectivity.removed.iter().map(movement).collect::<Vec<_>>(),
        "policies": {
            "added": names(&policies.added),
            "removed": names(&policies.removed),
            "changed": names(&policies.changed),
        },
    }))
}

fn document(value: &Value) -> String {
    format!("{value:#}\n")
}

fn names(names: &[ObjectName]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn change(change: &Change) -> Value {
    let mut value = json!({
        "change": match change.effect {
            Effect::Allowed => "allowed",
            Effect::Denied => "denied",
        },
        "from": change.from.iter().map(side).collect::<Vec<_>>(),
        "to": change.to.iter().map(side).collect::<Vec<_>>(),
        "traffic": traffic(&change.traffic),
    });
    if let Some(family) = change.family {
        value["family"] = json!(match family {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        });
    }
    value
}

fn side(side: &Side) -> Value {
    match side {
        Side::Pods { unit, only: None } => json!({"workload": unit.to_string()}),
        Side::Pods { unit, only: Some(pods) } => json!({"workload": unit.to_string(), "pods": names(pods)}),
        Side::Outside { ranges, rest } => {
            let ranges: Vec<String> = ranges.iter().map(ToString::to_string).collect();
            json!({"outside": ranges, "rest": rest})
        }
    }
}

/// A key for each protocol that is in it; ranges as `FIRST-LAST`.
fn traffic(set: &TrafficSet) -> Value {
    let mut value = json!({});
    for protocol in Protocol::ALL {
        let ranges = set.ports(protocol).iter().map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        });
        let ranges: Vec<String> = ranges.collect();
        if !ranges.is_empty() {
            value[protocol.name()] = json!(ranges);
        }
    }
    if set.other() {
        value["other"] = json!(true);
    }
    value
}

fn movement(movement: &Movement) -> Value {
    json!({
        "workload": movement.unit.to_string(),
        "pods": names(&movement.pods),
        "ingress": names(&movement.ingress),
        "egress": names(&movement.egress),
    })
}

/// `{"nodes": [..]}`: what changes in each table by name, and the same as text.
pub(crate) fn rules(nodes: &[NodeRules]) -> String {
    document(&json!({"nodes": nodes.iter().map(node).collect::<Vec<_>>()}))
}

fn node(node: &NodeRules) -> Value {
    let chains = |wanted: fn(&ChainChange) -> bool| -> Vec<String> {
        let found = node.delta.chains.iter().filter(|(_, change)| wanted(change));
        found.map(|(name, _)| name.to_string()).collect()
    };
    let sets = |wanted: fn(&SetChange) -> bool| -> Vec<String> {
        let found = node.delta.sets.iter().filter(|(_, change)| wanted(change));
        found.map(|(name, _)| name.to_string()).collect()
    };
    let edited = node.delta.sets.iter().filter_map(|(name, change)| match change {
        SetChange::Edit { remove, add } => {
            Some(json!({"name": name.to_string(), "removed": remove.len(), "added": add.len()}))
        }
        SetChange::Create(_) | SetChange::Delete => None,
    });
    json!({
        "node": &*node.node,
        "chains": {
            "created": chains(|change| matches!(change, ChainChange::Create(_))),
            "rewritten": chains(|change| matches!(change, ChainChange::Rewrite(_))),
            "deleted": chains(|change| matches!(change, ChainChange::Delete)),
        },
        "sets": {
            "created": sets(|change| matches!(change, SetChange::Create(_))),
            "edited": edited.collect::<Vec<_>>(),
            "deleted": sets(|change| matches!(change, SetChange::Delete)),
        },
        "diff": node.unified(),
    })
}
