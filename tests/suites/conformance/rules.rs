//! The rules, by their numbers.

use std::collections::BTreeSet;

use podwall_tests::fixture;
use serde::Deserialize;

use super::Case;

/// One rule.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its number.
    pub rule: u16,
    /// What it says, in few words.
    pub title: String,
    /// Why packets cannot show it, or where else it is shown.
    pub elsewhere: Option<String>,
}

/// All rules that the suite is about.
pub fn all() -> Result<Vec<Rule>, String> {
    let path = fixture("conformance/rules.yaml");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_saphyr::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Every rule has a case or a reason for having none, and every case has a rule.
pub fn check(cases: &[Case]) -> Result<(), String> {
    let rules = all()?;
    let shown: BTreeSet<u16> = cases.iter().map(|case| case.rule).collect();
    let mut wrong: Vec<String> = Vec::new();
    if !rules.iter().map(|rule| rule.rule).eq(1..=145) {
        wrong.push("rules.yaml must list the rules 1 to 145 in order".to_owned());
    }
    for rule in &rules {
        match (shown.contains(&rule.rule), &rule.elsewhere) {
            (false, None) => {
                wrong.push(format!("rule {} ({}) has no case and no reason for that", rule.rule, rule.title))
            }
            (true, Some(_)) => wrong.push(format!("rule {} has cases and a reason for having none", rule.rule)),
            _ => {}
        }
    }
    wrong.extend(
        shown
            .iter()
            .filter(|number| rules.iter().all(|rule| rule.rule != **number))
            .map(|number| format!("no rule {number}")),
    );
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}
