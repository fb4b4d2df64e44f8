//! The table of rules and networks.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use lab::PodNetwork;

use super::{Case, rules};

/// What became of cases, rule by rule.
pub struct Report {
    /// How many cases each rule has.
    cases: BTreeMap<u16, usize>,
    /// Passed and failed.
    counts: Mutex<BTreeMap<(u16, PodNetwork), (usize, usize)>>,
}

impl Report {
    /// Of these cases, none of which has run.
    pub fn new(cases: &[Case]) -> Self {
        let mut of_rule = BTreeMap::new();
        cases.iter().for_each(|case| *of_rule.entry(case.rule).or_default() += 1);
        Self { cases: of_rule, counts: Mutex::default() }
    }

    /// One case has run.
    pub fn note(&self, rule: u16, network: PodNetwork, passed: bool) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (passes, failures) = counts.entry((rule, network)).or_default();
        *if passed { passes } else { failures } += 1;
    }

    /// Prints the table, if it is asked for.
    pub fn print(&self) {
        if std::env::var_os("PODWALL_TABLE").is_some() {
            let text = self.text().unwrap_or_else(|error| error);
            _ = std::io::stdout().write_all(text.as_bytes());
        }
    }

    fn text(&self) -> Result<String, String> {
        let rules = rules::all()?;
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let width = rules.iter().map(|rule| rule.title.chars().count()).max().unwrap_or(0);
        let networks: Vec<String> = PodNetwork::ALL.iter().map(ToString::to_string).collect();
        let mut out = format!("\n{:>4}  {:<width$}  {}\n", "rule", "", networks.join("  "));
        for rule in &rules {
            _ = write!(out, "{:>4}  {:<width$}  ", rule.rule, rule.title);
            match &rule.elsewhere {
                Some(reason) => _ = write!(out, "{reason}"),
                None => {
                    for (network, name) in PodNetwork::ALL.iter().zip(&networks) {
                        let cell = match counts.get(&(rule.rule, *network)) {
                            Some((passed, 0)) => format!("{passed} of {}", self.cases.get(&rule.rule).unwrap_or(&0)),
                            Some((_, failed)) => format!("{failed} FAIL"),
                            None => "-".to_owned(),
                        };
                        _ = write!(out, "{cell:<cell_width$}  ", cell_width = name.len());
                    }
                }
            }
            out.truncate(out.trim_end().len());
            out.push('\n');
        }
        Ok(out)
    }
}
