//! What an agent enforces now, and how it is.

use std::fmt::{Result, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use enforcer::observe::{ApiStatus, CommitStatus, PodStatus, SizeStatus, Status};

use super::table::{age, table};
use super::{BOLD, DIM, GREEN, RED, YELLOW};

/// The agent, its conditions, its table and its pods.
pub(crate) fn text(status: &Status) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let mut out = String::new();
    // A String takes every write.
    _ = write_text(&mut out, status, now);
    out
}

fn write_text(out: &mut String, status: &Status, now: u64) -> Result {
    write_agent(out, status, now)?;
    writeln!(out)?;
    for (what, value) in facts(status, now) {
        writeln!(out, "{what:<WIDTH$}{value}")?;
    }
    if !status.pods.is_empty() {
        writeln!(out)?;
        out.push_str(&pods(&status.pods));
    }
    if !status.problems.is_empty() {
        writeln!(out)?;
        write_problems(out, status)?;
    }
    Ok(())
}

/// Of the first column.
const WIDTH: usize = 15;

fn write_agent(out: &mut String, status: &Status, now: u64) -> Result {
    let Status { version, node, .. } = status;
    let (style, word) = match (status.live, status.ready) {
        (false, _) => (RED, "hangs"),
        (true, false) => (RED, "not ready"),
        (true, true) => (GREEN, "ready"),
    };
    let since = ago(status.since, now);
    writeln!(out, "{BOLD}node {node}{BOLD:#}: {style}{word}{style:#} {DIM}podwall {version}, up {since}{DIM:#}")?;
    for condition in &status.conditions {
        let (style, sign) = if condition.holds { (GREEN, '+') } else { (RED, '-') };
        let name = format!("{:<width$}", condition.name, width = WIDTH - 4);
        writeln!(out, "{style}[{sign}]{style:#} {name}{}", condition.reason)?;
    }
    Ok(())
}

fn facts(status: &Status, now: u64) -> Vec<(&'static str, String)> {
    let mut facts = vec![("table", table_words(status))];
    if let Some(CommitStatus { at, microseconds, operations }) = status.last_commit {
        let took = Duration::from_micros(microseconds).as_secs_f64() * 1000.0;
        let of = if status.commits == 1 { String::new() } else { format!(", the last of {}", status.commits) };
        let operations = count(operations, "operation", "operations");
        facts.push(("commit", format!("{} ago{of}: {operations} in {took:.1} ms", ago(at, now))));
    }
    if let Some(policies) = status.policies {
        facts.push(("policies", policies.to_string()));
    }
    let isolated = status.pods.iter().filter(|pod| !pod.ingress.is_empty() || !pod.egress.is_empty()).count();
    let here = status.pods.len() + status.pending.len();
    facts.push(("pods", format!("{here} here, {isolated} of them isolated; {} in the cluster", status.known_pods)));
    if !status.pending.is_empty() {
        facts.push(("no address", status.pending.join(", ")));
    }
    if !status.api.is_empty() {
        facts.push(("API server", api(&status.api)));
    }
    facts
}

fn table_words(status: &Status) -> String {
    let name = format!("inet {}", status.table);
    let Some(SizeStatus { chains, rules, sets, elements }) = status.size else {
        return format!("{name}, {YELLOW}nothing is in force{YELLOW:#}");
    };
    let owned = match status.owned {
        Some(true) => "guarded by the kernel",
        _ => "open to changes by others, which are undone",
    };
    let counts = [
        count(chains, "chain", "chains"),
        count(rules, "rule", "rules"),
        count(sets, "set", "sets"),
        count(elements, "element", "elements"),
    ];
    let generation = status.generation.unwrap_or_default();
    format!("{name}, {owned}: generation {generation}, {}", counts.join(", "))
}

fn api(api: &[ApiStatus]) -> String {
    let lost: Vec<String> = api
        .iter()
        .filter(|kind| !kind.connected)
        .map(|kind| format!("{} for {}", kind.kind, age(Duration::from_secs_f64(kind.age_seconds.max(0.0)))))
        .collect();
    match lost.is_empty() {
        true => "answers".to_owned(),
        false => format!("{YELLOW}does not answer{YELLOW:#}: {}", lost.join(", ")),
    }
}

/// Policies stand without the namespace, which is their pod's.
fn pods(pods: &[PodStatus]) -> String {
    let rows: Vec<_> = pods
        .iter()
        .map(|pod| {
            let own = |policy: &String| policy.split_once('/').map_or(policy.as_str(), |(_, name)| name).to_owned();
            let policies = |policies: &[String]| match policies {
                [] => "open".to_owned(),
                some => some.iter().map(own).collect::<Vec<_>>().join(", "),
            };
            let addresses: Vec<String> = pod.addresses.iter().map(ToString::to_string).collect();
            [pod.name.clone(), addresses.join("  "), policies(&pod.ingress), policies(&pod.egress)]
        })
        .collect();
    table(["pod", "addresses", "ingress", "egress"].map(str::to_owned), &rows)
}

fn write_problems(out: &mut String, status: &Status) -> Result {
    for problem in &status.problems {
        let (style, word) = if problem.closed { (RED, "closed") } else { (YELLOW, "problem") };
        writeln!(out, "{style}{word}{style:#}: {}", problem.message)?;
    }
    Ok(())
}

fn ago(then: u64, now: u64) -> String {
    age(Duration::from_secs(now.saturating_sub(then)))
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
