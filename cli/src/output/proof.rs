//! Who reaches whom, port by port and by echo: predicted beside observed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use lab::proof::{Proof, Trial};
use lab::{Observed, Traffic};
use policy_compiler::model::ObjectName;
use serde_json::{Value, json};

use super::{BOLD, DIM, GREEN, RED};

/// The matrices, the mismatches, and a last line that says how it went.
pub(crate) fn text(proof: &Proof) -> String {
    let mut out = String::new();
    // A String takes every write.
    _ = write_text(&mut out, proof);
    out
}

fn write_text(out: &mut String, proof: &Proof) -> std::fmt::Result {
    let width = proof.pods.iter().map(|pod| pod.to_string().len()).max().unwrap_or(0);
    let mut by_traffic: BTreeMap<Traffic, Vec<&Trial>> = BTreeMap::new();
    for trial in &proof.trials {
        by_traffic.entry(trial.traffic).or_default().push(trial);
    }
    writeln!(out, "{DIM}from the pod of the row to the pod of the column: predicted, then observed{DIM:#}")?;
    writeln!(out, "{DIM}. allowed   X denied   4 or 6 allowed in that family only   - itself{DIM:#}\n")?;
    for (traffic, trials) in &by_traffic {
        let mut cells: BTreeMap<(&ObjectName, &ObjectName), Vec<&Trial>> = BTreeMap::new();
        for trial in trials {
            cells.entry((&trial.from, &trial.to)).or_default().push(trial);
        }
        write!(out, "{BOLD}{:<indent$}{BOLD:#}", heading(*traffic), indent = width + 3)?;
        for column in 1..=proof.pods.len() {
            write!(out, " {column:>2}")?;
        }
        writeln!(out)?;
        for (row, from) in proof.pods.iter().enumerate() {
            write!(out, "{:>2} {:<width$}", row + 1, from.to_string())?;
            for to in &proof.pods {
                match cells.get(&(from, to)) {
                    None => write!(out, "  {DIM}-{DIM:#}")?,
                    Some(trials) => write_cell(out, trials)?,
                }
            }
            writeln!(out)?;
        }
        writeln!(out)?;
    }
    write_mismatches(out, proof)?;
    write_summary(out, proof)
}

/// Of both families.
fn heading(traffic: Traffic) -> String {
    name(traffic, Ipv4Addr::UNSPECIFIED.into())
}

fn name(traffic: Traffic, to: IpAddr) -> String {
    let protocol = traffic.protocol(to);
    traffic.port().map_or_else(|| protocol.to_owned(), |port| format!("{protocol} {port}"))
}

fn write_cell(out: &mut String, trials: &[&Trial]) -> std::fmt::Result {
    let predicted = symbol(trials, |trial| trial.predicted);
    let observed = symbol(trials, |trial| trial.observed == Observed::Allowed);
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
    for trial in proof.mismatches() {
        writeln!(
            out,
            "{RED}{} -> {} ({}) {}: predicted {}, observed {}{RED:#}",
            trial.from,
            trial.to,
            trial.address,
            name(trial.traffic, trial.address),
            verdict(trial.predicted),
            observed(&trial.observed),
        )?;
    }
    Ok(())
}

fn write_summary(out: &mut String, proof: &Proof) -> std::fmt::Result {
    let mismatches = proof.mismatches().count();
    let tried = proof.trials.len();
    let allowed = proof.trials.iter().filter(|trial| trial.predicted).count();
    match mismatches {
        0 => writeln!(
            out,
            "{GREEN}all {tried} flows between {} pods are as the policies say: {allowed} allowed, {} denied{GREEN:#}",
            proof.pods.len(),
            tried - allowed,
        ),
        some => writeln!(out, "{RED}{some} of {tried} flows are not as the policies say{RED:#}"),
    }
}

/// `{"flows": [..], "mismatches": N}`: one row a flow.
pub(crate) fn json(proof: &Proof) -> Value {
    let flows: Vec<Value> = proof
        .trials
        .iter()
        .map(|trial| {
            json!({
                "from": trial.from.to_string(),
                "to": trial.to.to_string(),
                "address": trial.address.to_string(),
                "port": trial.traffic.port(),
                "protocol": trial.traffic.protocol(trial.address),
                "predicted": verdict(trial.predicted),
                "observed": observed(&trial.observed),
            })
        })
        .collect();
    json!({"flows": flows, "mismatches": proof.mismatches().count()})
}

fn verdict(allowed: bool) -> &'static str {
    if allowed { "allow" } else { "deny" }
}

fn observed(observed: &Observed) -> String {
    match observed {
        Observed::Allowed => "allow".to_owned(),
        Observed::Denied => "deny".to_owned(),
        Observed::Refused => "reject".to_owned(),
        Observed::Broken(what) => format!("broken: {what}"),
    }
}
