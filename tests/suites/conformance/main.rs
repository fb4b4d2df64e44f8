//! Conformance: every rule of NetworkPolicy that packets can show, over every pod network and both address families.
//!
//! Most cases are data: `fixtures/conformance/NNN-words/` holds objects and what is expected of them. Those that need
//! more than pods and manifests are written here, below [`cases`]. Rules are those that `fixtures/conformance/rules.yaml`
//! lists. A test is called `rule_NNN_words::NETWORK`.
//!
//! With `PODWALL_TABLE=1` a table of all rules and networks is printed at the end.

mod cases;
mod data;
mod report;
mod rules;
mod world;

use std::process::ExitCode;
use std::sync::Arc;

use lab::PodNetwork;
use libtest_mimic::{Arguments, Trial};

use report::Report;
use world::Grounds;

/// Something that one rule says, and how packets show it.
#[derive(Clone)]
pub struct Case {
    /// The rule's number.
    rule: u16,
    /// What is shown, in few words: `an_empty_value_is_no_missing_key`.
    name: String,
    show: Arc<Show>,
}

type Show = dyn Fn(&mut world::World) -> Result<(), String> + Send + Sync;

impl Case {
    fn new(
        rule: u16,
        name: impl Into<String>,
        show: impl Fn(&mut world::World) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self { rule, name: name.into(), show: Arc::new(show) }
    }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One lab for each network, and most of what they do is to wait for silence.
    arguments.test_threads = arguments.test_threads.or(Some(PodNetwork::ALL.len()));
    let all: Vec<Case> = data::cases().into_iter().chain(cases::all()).collect();
    let report = Arc::new(Report::new(&all));
    let grounds = Arc::new(Grounds::new());
    let mut tests = vec![Trial::test("every_rule_is_shown_or_it_is_said_why_not", {
        let all = all.clone();
        move || rules::check(&all).map_err(Into::into)
    })];
    // Networks by turns, so that two threads seldom want the same one.
    for case in all {
        for network in PodNetwork::ALL {
            let (report, grounds, case) = (report.clone(), grounds.clone(), case.clone());
            tests.push(Trial::test(format!("rule_{:03}_{}::{network}", case.rule, case.name), move || {
                let outcome = grounds.lend(network, |world| (case.show)(world));
                report.note(case.rule, network, outcome.is_ok());
                outcome.map_err(Into::into)
            }));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, tests);
    report.print();
    conclusion.exit_code()
}
