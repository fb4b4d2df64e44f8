//! Expectations for programs; `docs/json.md` has the shape.

use analysis::expectation::{Expectation, Flaw};
use policy_compiler::verdict::Traffic;
use serde_json::{Value, json};

use super::{Case, Checked, lines, reasons, verdict};
use crate::output::proof::row;

/// `{"expectations": [..], "failed": N}`
pub(crate) fn json(checked: &[Checked<'_>]) -> String {
    let cases = checked.iter().flat_map(Checked::cases).map(|one| case(&one));
    let failed: usize = checked.iter().map(Checked::failed).sum();
    format!("{:#}\n", json!({"expectations": cases.collect::<Vec<_>>(), "failed": failed}))
}

fn case(one: &Case<'_, '_>) -> Value {
    let Case { expectation, outcome, trials } = one;
    let mut value = json!({
        "file": &*expectation.origin.file,
        "line": expectation.origin.line,
        "from": expectation.from.to_string(),
        "to": expectation.to.to_string(),
        "port": expectation.traffic.map_or_else(|| "*".to_owned(), written),
        "verdict": verdict(expectation.allowed),
        "holds": one.holds(),
        "pairs": outcome.pairs,
        "flaws": outcome.flaws.iter().map(|one| flaw(expectation, one)).collect::<Vec<_>>(),
    });
    if let Some(note) = &expectation.note {
        value["note"] = json!(note);
    }
    if let Some(trials) = trials {
        value["tried"] = json!(trials.len());
        value["strays"] = one.strays().map(row).collect();
    }
    value
}

/// As expectations spell it: `80/TCP`, `icmp`.
fn written(traffic: Traffic) -> String {
    match traffic {
        Traffic::Port(protocol, port) => format!("{port}/{protocol}"),
        Traffic::Other(58) => "icmpv6".to_owned(),
        Traffic::Other(_) => "icmp".to_owned(),
    }
}

fn flaw(expectation: &Expectation, flaw: &Flaw<'_>) -> Value {
    let message = lines(expectation, flaw).into_iter().next();
    match flaw {
        Flaw::Nobody(_) | Flaw::NoFlow => json!({"message": message}),
        Flaw::Flows(failure) => json!({
            "message": message,
            "from": failure.example.from.to_string(),
            "to": failure.example.to.to_string(),
            "port": written(failure.example.traffic),
            "verdict": verdict(failure.verdict.is_allowed()),
            "pairs": failure.pairs,
            "reasons": reasons(&failure.verdict),
        }),
    }
}
