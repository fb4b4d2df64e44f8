//! Who reaches whom, port by port and by echo: predicted beside observed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use lab::proof::{End, Prediction, Proof, Trial};
use lab::{Observed, Traffic};
use serde_json::{Value, json};

use super::{BOLD, DIM, GREEN, RED};

/// What came of one state of a cluster.
pub(crate) struct Proven {
    /// Where the state was read from.
    pub(crate) input: String,
    pub(crate) proof: Proof,
}

/// The matrices, the mismatches, and a last line for each state that says how it went.
pub(crate) fn text(states: &[Proven]) -> String {
    let mut out = String::new();
    // A String takes every write.
    _ = write_text(&mut out, states);
    out
}

fn write_text(out: &mut String, states: &[Proven]) -> std::fmt::Result {
    writeln!(out, "{DIM}from the end of the row to the end of the column: predicted, then observed{DIM:#}")?;
    writeln!(
        out,
        "{DIM}. allowed   X denied   4 or 6 allowed in that family only   ~ by some of the pods   - itself{DIM:#}\n"
    )?;
    for state in states {
        if states.len() > 1 {
            writeln!(out, "{BOLD}== {}{BOLD:#}\n", state.input)?;
        }
        write_matrices(out, &state.proof)?;
        write_services(out, &state.proof)?;
        write_mismatches(out, &state.proof)?;
        write_summary(out, &state.proof)?;
        if states.len() > 1 {
            writeln!(out)?;
        }
    }
    Ok(())
}

/// Pods, nodes and the world outside among each other, a matrix for each kind of traffic.
fn write_matrices(out: &mut String, proof: &Proof) -> std::fmt::Result {
    let direct = || proof.trials.iter().filter(|trial| !trial.to.is_service());
    let ends: BTreeSet<&End> = direct().flat_map(|trial| [&trial.from, &trial.to]).collect();
    let mut by_traffic: BTreeMap<Traffic, Cells<'_>> = BTreeMap::new();
    for trial in direct() {
        by_traffic.entry(trial.traffic).or_default().entry((&trial.from, &trial.to)).or_default().push(trial);
    }
    let width = ends.iter().map(|end| end.to_string().len()).max().unwrap_or(0);
    for (traffic, cells) in &by_traffic {
        let heading = name(*traffic, Ipv4Addr::UNSPECIFIED.into());
        write!(out, "{BOLD}{heading:<indent$}{BOLD:#}", indent = width + 3)?;
        (1..=ends.len()).try_for_each(|column| write!(out, " {column:>2}"))?;
        writeln!(out)?;
        for (row, from) in ends.iter().enumerate() {
            write!(out, "{:>2} {:<width$}", row + 1, from.to_string())?;
            for to in &ends {
                match cells.get(&(*from, *to)) {
                    Some(trials) => write_cell(out, trials)?,
                    None if from == to => write!(out, "  {DIM}-{DIM:#}")?,
                    None => write!(out, "   ")?,
                }
            }
            end_line(out)?;
        }
        writeln!(out)?;
    }
    Ok(())
}

type Cells<'p> = BTreeMap<(&'p End, &'p End), Vec<&'p Trial>>;

/// Everybody to every port of every Service.
fn write_services(out: &mut String, proof: &Proof) -> std::fmt::Result {
    let mut cells: BTreeMap<(&End, (&End, Traffic)), Vec<&Trial>> = BTreeMap::new();
    for trial in proof.trials.iter().filter(|trial| trial.to.is_service()) {
        cells.entry((&trial.from, (&trial.to, trial.traffic))).or_default().push(trial);
    }
    if cells.is_empty() {
        return Ok(());
    }
    let clients: BTreeSet<&End> = cells.keys().map(|(from, _)| *from).collect();
    let entries: BTreeSet<(&End, Traffic)> = cells.keys().map(|(_, entry)| *entry).collect();
    let width = clients.iter().map(|end| end.to_string().len()).max().unwrap_or(0);
    for (number, (service, traffic)) in entries.iter().enumerate() {
        let port = name(*traffic, Ipv4Addr::UNSPECIFIED.into());
        writeln!(out, "{DIM}{:>2}{DIM:#} {service} {port}", number + 1)?;
    }
    write!(out, "{BOLD}{:<indent$}{BOLD:#}", "Services", indent = width)?;
    (1..=entries.len()).try_for_each(|column| write!(out, " {column:>2}"))?;
    writeln!(out)?;
    for from in clients {
        write!(out, "{:<width$}", from.to_string())?;
        for entry in &entries {
            match cells.get(&(from, *entry)) {
                Some(trials) => write_cell(out, trials)?,
                None => write!(out, "   ")?,
            }
        }
        end_line(out)?;
    }
    writeln!(out)
}

/// Without the blanks of cells that say nothing.
fn end_line(out: &mut String) -> std::fmt::Result {
    out.truncate(out.trim_end_matches(' ').len());
    writeln!(out)
}

fn name(traffic: Traffic, to: IpAddr) -> String {
    let protocol = traffic.protocol(to);
    traffic.port().map_or_else(|| protocol.to_owned(), |port| format!("{protocol} {port}"))
}

fn write_cell(out: &mut String, trials: &[&Trial]) -> std::fmt::Result {
    let partly = trials.iter().any(|trial| trial.predicted == Prediction::Partly);
    let predicted = if partly { '~' } else { symbol(trials, |trial| trial.predicted == Prediction::Allowed) };
    let observed = symbol(trials, Trial::passed);
    let style = match trials.iter().all(|trial| trial.agrees()) {
        false => RED,
        true if predicted == 'X' => DIM,
        true => GREEN,
    };
    write!(out, " {style}{predicted}{observed}{style:#}")
}

/// Which families are allowed, in one character.
fn symbol(trials: &[&Trial], allowed: impl Fn(&Trial) -> bool) -> char {
    let mut families = trials.iter().filter(|trial| allowed(trial)).map(|trial| trial.address.is_ipv4());
    match (families.next(), families.next()) {
        (None, _) => 'X',
        (Some(_), None) if trials.len() == 1 => '.',
        (Some(true), None) => '4',
        (Some(false), None) => '6',
        (Some(_), Some(_)) => '.',
    }
}

fn write_mismatches(out: &mut String, proof: &Proof) -> std::fmt::Result {
    let line = |out: &mut String, trial: &Trial, what: &str| {
        writeln!(
            out,
            "{RED}{}{} -> {} ({}) {}: predicted {}, observed {}{RED:#}",
            what,
            trial.from,
            trial.to,
            trial.address,
            name(trial.traffic, trial.address),
            prediction(trial.predicted),
            observed(trial),
        )
    };
    let wrong = |trials: &'_ [Trial]| trials.iter().filter(|trial| !trial.agrees()).cloned().collect::<Vec<_>>();
    wrong(&proof.trials).iter().try_for_each(|trial| line(out, trial, ""))?;
    wrong(&proof.connections).iter().try_for_each(|trial| line(out, trial, "open connection "))
}

fn write_summary(out: &mut String, proof: &Proof) -> std::fmt::Result {
    let mismatches = proof.mismatches().count();
    let tried = proof.trials.len();
    let allowed = proof.trials.iter().filter(|trial| trial.predicted == Prediction::Allowed).count();
    let denied = proof.trials.iter().filter(|trial| trial.predicted == Prediction::Denied).count();
    let partly = match tried - allowed - denied {
        0 => String::new(),
        some => format!(", {some} by some of the pods"),
    };
    if mismatches > 0 {
        let all = tried + proof.connections.len();
        return writeln!(out, "{RED}{mismatches} of {all} flows are not as the policies say{RED:#}");
    }
    writeln!(
        out,
        "{GREEN}all {tried} flows among {} are as the policies say: {allowed} allowed, {denied} denied{partly}{GREEN:#}",
        census(proof),
    )?;
    if proof.connections.is_empty() {
        return Ok(());
    }
    let go_on = proof.connections.iter().filter(|trial| trial.passed()).count();
    let cut = proof.connections.len() - go_on;
    writeln!(out, "{GREEN}of the connections that were open {go_on} go on and {cut} are cut, as they say{GREEN:#}")
}

/// Who takes part, counted.
fn census(proof: &Proof) -> String {
    let ends: BTreeSet<&End> = proof.trials.iter().flat_map(|trial| [&trial.from, &trial.to]).collect();
    let services: BTreeSet<String> = ends
        .iter()
        .filter_map(|end| match end {
            End::Service(service) | End::NodePort { service, .. } => Some(service.to_string()),
            _ => None,
        })
        .collect();
    let count = |is: fn(&End) -> bool| ends.iter().filter(|end| is(end)).count();
    let kinds = [
        (count(|end| matches!(end, End::Pod(_))), "pod", "pods"),
        (count(|end| matches!(end, End::Node(_))), "node", "nodes"),
        (count(|end| matches!(end, End::Outside(_))), "address outside", "addresses outside"),
        (services.len(), "Service", "Services"),
    ];
    let words: Vec<String> = kinds
        .into_iter()
        .filter(|(number, ..)| *number > 0)
        .map(|(number, one, many)| format!("{number} {}", if number == 1 { one } else { many }))
        .collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

/// `{"states": [{"input", "flows": [..], "connections": [..], "mismatches": N}], "mismatches": N}`: one row a flow.
pub(crate) fn json(states: &[Proven]) -> Value {
    let mismatches: usize = states.iter().map(|state| state.proof.mismatches().count()).sum();
    let state = |state: &Proven| {
        json!({
            "input": state.input,
            "flows": state.proof.trials.iter().map(row).collect::<Vec<_>>(),
            "connections": state.proof.connections.iter().map(row).collect::<Vec<_>>(),
            "mismatches": state.proof.mismatches().count(),
        })
    };
    json!({"states": states.iter().map(state).collect::<Vec<_>>(), "mismatches": mismatches})
}

/// One flow.
pub(crate) fn row(trial: &Trial) -> Value {
    json!({
        "from": trial.from.to_string(),
        "to": trial.to.to_string(),
        "address": trial.address.to_string(),
        "port": trial.traffic.port(),
        "protocol": trial.traffic.protocol(trial.address),
        "predicted": prediction(trial.predicted),
        "observed": observed(trial),
    })
}

fn prediction(prediction: Prediction) -> &'static str {
    match prediction {
        Prediction::Allowed => "allow",
        Prediction::Denied => "deny",
        Prediction::Partly => "partly",
    }
}

/// What packets did, in a word.
pub(crate) fn observed(trial: &Trial) -> String {
    match &trial.observed {
        Some(Observed::Allowed) => "allow".to_owned(),
        Some(Observed::Denied) => "deny".to_owned(),
        Some(Observed::Refused) => "reject".to_owned(),
        Some(Observed::Broken(what)) => format!("broken: {what}"),
        None => "not tried".to_owned(),
    }
}
