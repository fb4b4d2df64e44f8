//! The same answer for programs.

use analysis::explain::{Answer, Backend, Entry, Explanation, Finding, Group, Hop, Note, Route, reason, words};
use policy_compiler::model::Direction;
use policy_compiler::verdict::{Endpoint, Host, Judgement, Traffic};
use serde_json::{Value, json};

/// The answer as `docs/json.md` has it.
pub(crate) fn json(explanation: &Explanation<'_>) -> Value {
    let groups: Vec<Value> = explanation.groups.iter().map(group_json).collect();
    let mut value = json!({
        "from": explanation.from.to_string(),
        "to": explanation.to.to_string(),
    });
    put_traffic(&mut value, explanation.traffic);
    value["verdict"] = json!(verdict(explanation.is_allowed()));
    value["pairs"] = json!(explanation.pairs);
    value["denied"] = json!(explanation.denied);
    if let Some(route) = &explanation.route {
        value["service"] = route_json(route);
    }
    value["groups"] = json!(groups);
    value
}

fn verdict(allowed: bool) -> &'static str {
    if allowed { "allow" } else { "deny" }
}

fn put_traffic(value: &mut Value, traffic: Traffic) {
    match traffic {
        Traffic::Port(protocol, port) => {
            value["port"] = json!(port);
            value["protocol"] = json!(protocol.name());
        }
        other => {
            value["port"] = Value::Null;
            value["protocol"] = json!(other.to_string());
        }
    }
}

fn route_json(route: &Route<'_>) -> Value {
    let addresses: Vec<String> = route.service.addresses.iter().map(ToString::to_string).collect();
    let backend = |backend: &Backend<'_>| json!({"pod": backend.pod.name.to_string(), "port": backend.port});
    let backends: Vec<Value> = route.backends.iter().map(backend).collect();
    json!({"name": route.service.name.to_string(), "addresses": addresses, "backends": backends})
}

fn group_json(group: &Group<'_>) -> Value {
    let answer = &group.answer;
    let end = |end: Endpoint<'_>| {
        let (kind, name) = match end.host {
            Host::Pod(pod) => ("pod", pod.name.to_string()),
            Host::Node(name) => ("node", name.to_owned()),
            Host::Outside => ("outside", end.to_string()),
        };
        (name, kind, end.address.map(|address| address.to_string()))
    };
    let ((from, from_kind, from_address), (to, to_kind, to_address)) = (end(answer.flow.from), end(answer.flow.to));
    let mut value = json!({
        "pairs": group.pairs,
        "from": from,
        "from_kind": from_kind,
        "from_address": from_address,
        "to": to,
        "to_kind": to_kind,
        "to_address": to_address,
    });
    put_traffic(&mut value, answer.flow.traffic);
    value["family"] = json!(group.family.map(words::family));
    value["verdict"] = json!(verdict(answer.verdict.is_allowed()));
    value["exempt"] = json!(answer.verdict.exempt.map(|exemption| exemption.to_string()));
    value["path"] = answer.path.iter().map(hop_json).collect();
    value["egress"] = direction_json(answer, Direction::Egress);
    value["ingress"] = direction_json(answer, Direction::Ingress);
    value["notes"] = answer.notes.iter().map(note_json).collect();
    value
}

fn hop_json(hop: &Hop<'_>) -> Value {
    match hop {
        Hop::Container { pod, port_name } => {
            json!({"hop": "container", "pod": pod.name.to_string(), "port_name": port_name.as_deref()})
        }
        Hop::Pod { pod, address } => {
            json!({"hop": "pod", "pod": pod.name.to_string(), "address": address.map(|address| address.to_string())})
        }
        Hop::Node { name, address, judges } => {
            let judges: Vec<&str> = judges.iter().map(|direction| direction.section()).collect();
            let address = address.map(|address| address.to_string());
            json!({"hop": "node", "node": name, "address": address, "judges": judges})
        }
        Hop::Outside { address } => {
            json!({"hop": "outside", "address": address.map(|address| address.to_string())})
        }
    }
}

fn direction_json(answer: &Answer<'_>, direction: Direction) -> Value {
    let judgement = answer.judgement(direction);
    if answer.verdict.exempt.is_some() {
        return Value::Null;
    }
    let state = match judgement {
        Judgement::NoSubject => "not_judged",
        Judgement::NotIsolated => "not_isolated",
        Judgement::Allowed { .. } => "allowed",
        Judgement::Denied { .. } => "denied",
    };
    let policies: Vec<Value> =
        answer.findings(direction).iter().map(|finding| finding_json(finding, direction)).collect();
    json!({
        "verdict": verdict(judgement.is_allowed()),
        "state": state,
        "reason": reason(judgement, direction),
        "node": answer.judged_on(direction),
        "policies": policies,
    })
}

fn finding_json(finding: &Finding<'_>, direction: Direction) -> Value {
    let entry = |entry: &Entry| json!({"entry": entry.place, "means": entry.means, "lacks": entry.lacks});
    let entries: Vec<Value> = finding.entries.iter().map(entry).collect();
    json!({
        "policy": finding.policy.name.to_string(),
        "rule": finding.rule.map(|rule| format!("{direction}[{rule}]")),
        "origin": finding.origin.map(words::place),
        "entries": entries,
    })
}

fn note_json(note: &Note<'_>) -> Value {
    match note {
        Note::NoAddress(pod) => json!({"note": "no_address", "pod": pod.name.to_string()}),
        Note::Finished(pod) => json!({"note": "finished", "pod": pod.name.to_string()}),
        Note::Terminating(pod) => json!({"note": "terminating", "pod": pod.name.to_string()}),
        Note::NoCommonFamily => json!({"note": "no_common_family"}),
    }
}
