//! How expectations fared: for a terminal, for programs, and for CI systems.

mod json;
mod junit;
mod text;

pub(crate) use json::json;
pub(crate) use junit::junit;
pub(crate) use text::text;

use std::sync::Arc;

use analysis::expectation::{Expectation, Failure, Flaw, Outcome};
use analysis::explain::{reason, words};
use lab::Observed;
use lab::proof::Trial;
use policy_compiler::model::Direction;
use policy_compiler::verdict::Verdict;

use super::proof::observed;

/// A file, and what became of each of its expectations.
pub(crate) struct Checked<'c> {
    pub(crate) file: Arc<str>,
    pub(crate) expectations: Vec<Expectation>,
    pub(crate) outcomes: Vec<Outcome<'c>>,
    /// For each expectation the flows of it that were tried with packets; none where there was no lab.
    pub(crate) trials: Vec<Option<Vec<Trial>>>,
}

/// An expectation, and what became of it.
struct Case<'a, 'c> {
    expectation: &'a Expectation,
    outcome: &'a Outcome<'c>,
    trials: Option<&'a [Trial]>,
}

impl<'c> Checked<'c> {
    fn cases(&self) -> impl Iterator<Item = Case<'_, 'c>> {
        let cases = self.expectations.iter().zip(&self.outcomes).zip(&self.trials);
        cases.map(|((expectation, outcome), trials)| Case { expectation, outcome, trials: trials.as_deref() })
    }

    /// How many of its expectations do not hold.
    pub(crate) fn failed(&self) -> usize {
        self.cases().filter(|case| !case.holds()).count()
    }
}

impl Case<'_, '_> {
    /// Whether policies say what is expected, and packets do it, where they were asked.
    fn holds(&self) -> bool {
        self.outcome.holds() && self.strays().next().is_none()
    }

    /// The flows that did otherwise.
    fn strays(&self) -> impl Iterator<Item = &Trial> {
        self.trials.into_iter().flatten().filter(|trial| !trial.agrees())
    }

    /// What is wrong: a paragraph for each flaw, first in short, then why.
    fn complaints(&self) -> Vec<Vec<String>> {
        let flaws = self.outcome.flaws.iter().map(|flaw| lines(self.expectation, flaw));
        let strays = self.strays().map(|trial| vec![stray(trial)]);
        flaws.chain(strays).collect()
    }
}

/// `shop/a -> shop/b (10.244.1.7) TCP 80: packets pass`
fn stray(trial: &Trial) -> String {
    let traffic = words::traffic(trial.traffic.judged(trial.address));
    let what = match &trial.observed {
        Some(Observed::Allowed) => "packets pass",
        Some(Observed::Denied) => "packets do not pass",
        Some(Observed::Refused) => "packets are refused",
        Some(Observed::Broken(_)) | None => &observed(trial),
    };
    format!("{} -> {} ({}) {traffic}: {what}", trial.from, trial.to, trial.address)
}

/// `shop/* -> shop/db TCP 5432: deny`
fn title(expectation: &Expectation) -> String {
    let Expectation { from, to, .. } = expectation;
    let traffic = expectation.traffic.map_or_else(|| "*".to_owned(), words::traffic);
    format!("{from} -> {to} {traffic}: {}", verdict(expectation.allowed))
}

fn verdict(allowed: bool) -> &'static str {
    if allowed { "allow" } else { "deny" }
}

/// What is wrong, first in short, then why.
fn lines(expectation: &Expectation, flaw: &Flaw<'_>) -> Vec<String> {
    match flaw {
        Flaw::Nobody(pattern) => vec![format!("{pattern} matches nobody in the input")],
        Flaw::NoFlow => vec!["there is no flow between these: nobody else at either end, or no pod at all".to_owned()],
        Flaw::Flows(failure) => {
            let mut lines = vec![sentence(expectation, failure)];
            lines.extend(reasons(&failure.verdict));
            lines
        }
    }
}

/// `shop/a -> shop/b: TCP 80 is denied (and 5 more pairs)`
fn sentence(expectation: &Expectation, failure: &Failure<'_>) -> String {
    let flow = &failure.example;
    let word = if expectation.allowed { "denied" } else { "allowed" };
    let traffic = expectation.traffic.map_or_else(|| failure.traffic.to_string(), words::traffic);
    let mut sentence = format!("{} -> {}: {traffic} is {word}", flow.from, flow.to);
    match failure.pairs {
        1 => (),
        2 => sentence.push_str(" (and one more pair)"),
        pairs => sentence.push_str(&format!(" (and {} more pairs)", pairs - 1)),
    }
    sentence
}

fn reasons(verdict: &Verdict<'_>) -> Vec<String> {
    if let Some(exempt) = verdict.exempt {
        return vec![exempt.to_string()];
    }
    let reason = |direction, judgement| format!("{direction}: {}", reason(judgement, direction));
    vec![reason(Direction::Egress, &verdict.egress), reason(Direction::Ingress, &verdict.ingress)]
}
