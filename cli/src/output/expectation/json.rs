//! Expectations for programs; `docs/json.md` has the shape.

use analysis::expectation::{Expectation, Flaw, Outcome};
use policy_compiler::verdict::Traffic;
use serde_json::{Value, json};

use super::{Checked, lines, reasons, verdict};

/// `{"expectations": [..], "failed": N}`
pub(crate) fn json(checked: &[Checked<'_>]) -> String {
    let cases = checked.iter().flat_map(|file| file.cases()).map(|(expectation, outcome)| case(expectation, outcome));
    let failed: usize = checked.iter().map(Checked::failed).sum();
    format!("{:#}\n", json!({"expectations": cases.collect::<Vec<_>>(), "failed": failed}))
}

fn case(expectation: &Expectation, outcome: &Outcome<'_>) -> Value {
    let mut value = json!({
        "file": &*expectation.origin.file,
        "line": expectation.origin.line,
        "from": expectation.from.to_string(),
        "to": expectation.to.to_string(),
        "port": expectation.traffic.map_or_else(|| "*".to_owned(), written),
        "verdict": verdict(expectation.allowed),
        "holds": outcome.holds(),
        "pairs": outcome.pairs,
        "flaws": outcome.flaws.iter().map(|one| flaw(expectation, one)).collect::<Vec<_>>(),
    });
    if let Some(note) = &expectation.note {
        value["note"] = json!(note);
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
