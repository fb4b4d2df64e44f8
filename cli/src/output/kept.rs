//! Labs that stay: what there is, how to get in, and what went.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use lab::keeper::{Description, Down, LabName, Place};
use lab::lineage::Straggler;
use serde_json::{Value, json};

use super::table::{age, table};
use super::{BOLD, DIM};

/// What a lab that now stands holds, and how to go on.
pub(crate) fn standing(lab: &Description, must_be_named: bool) -> String {
    let mut out = String::new();
    // A String takes every write.
    _ = write_standing(&mut out, lab, must_be_named);
    out
}

fn write_standing(out: &mut String, lab: &Description, must_be_named: bool) -> std::fmt::Result {
    let places: Vec<&Place> = lab.nodes.iter().chain(&lab.pods).collect();
    let rows: Vec<_> = places
        .iter()
        .map(|place| {
            let addresses: Vec<String> = place.addresses.iter().map(ToString::to_string).collect();
            [place.name.clone(), addresses.join("  "), place.node.clone().unwrap_or_default()]
        })
        .collect();
    writeln!(out, "{}", table(["place", "addresses", "node"].map(str::to_owned), &rows))?;
    let name = if must_be_named { format!(" --name {}", lab.name) } else { String::new() };
    let pod = lab.pods.first().map(|pod| (pod, "a shell in a pod; with -- COMMAND only that"));
    let node = lab.nodes.first().map(|node| (node, "on a node: its rules are in nft list table inet podwall"));
    let mut hints: Vec<(String, &str)> = Vec::new();
    for (place, what) in pod.into_iter().chain(node) {
        hints.push((format!("podwall lab shell {}{name}", place.name), what));
    }
    hints.push((format!("podwall lab down{name}"), "takes it down"));
    let width = hints.iter().map(|(command, _)| command.len()).max().unwrap_or(0);
    writeln!(out, "{BOLD}{}{BOLD:#} stands, kept by process {}", lab.name, lab.keeper)?;
    for (command, what) in hints {
        writeln!(out, "  {command:<width$}  {DIM}{what}{DIM:#}")?;
    }
    Ok(())
}

/// A line for each lab.
pub(crate) fn list(labs: &[Description]) -> String {
    if labs.is_empty() {
        return "no lab stands\n".to_owned();
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let row = |lab: &Description| {
        let counts = [lab.nodes.len(), lab.pods.len()].map(|count| count.to_string());
        let [nodes, pods] = counts;
        let age = age(Duration::from_secs(now.saturating_sub(lab.since)));
        [lab.name.to_string(), lab.network.to_string(), nodes, pods, age, lab.keeper.to_string()]
    };
    let rows: Vec<_> = labs.iter().map(row).collect();
    table(["name", "network", "nodes", "pods", "age", "keeper"].map(str::to_owned), &rows)
}

/// What went; `asked` is the lab that was to go, where that was only one.
pub(crate) fn down(down: &[Down], stragglers: &[Straggler], asked: Option<&LabName>) -> String {
    let mut out = String::new();
    for Down { description: lab, ended } in down {
        let counts = format!("{}, {}", count(lab.nodes.len(), "node"), count(lab.pods.len(), "pod"));
        // A String takes every write.
        _ = writeln!(out, "{} is gone: {counts}", lab.name);
        write_ended(&mut out, ended, "was still in it");
    }
    if down.is_empty() {
        _ = match asked {
            Some(name) => writeln!(out, "no lab {name} stands"),
            None => writeln!(out, "no lab stands"),
        };
    }
    write_ended(&mut out, stragglers, "was left by a lab that died");
    out
}

fn write_ended(out: &mut String, ended: &[Straggler], why: &str) {
    for Straggler { id, command } in ended {
        _ = writeln!(out, "ended process {} ({command}), which {why}", id.pid);
    }
}

fn count(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// `{"labs": [..], "stragglers": [..]}`
pub(crate) fn down_json(down: &[Down], stragglers: &[Straggler]) -> Value {
    let processes = |stragglers: &[Straggler]| -> Vec<Value> {
        stragglers.iter().map(|Straggler { id, command }| json!({"pid": id.pid, "command": command})).collect()
    };
    let lab = |down: &Down| json!({"name": down.description.name, "ended": processes(&down.ended)});
    let labs: Vec<Value> = down.iter().map(lab).collect();
    json!({"labs": labs, "stragglers": processes(stragglers)})
}

#[cfg(test)]
mod tests {
    use lab::lineage::ProcessId;

    use super::*;

    fn straggler(pid: u32, command: &str) -> Straggler {
        Straggler { id: ProcessId { pid, started: 1 }, command: command.to_owned() }
    }

    fn description() -> Description {
        let place = |name: &str, node: Option<&str>, address: &str| json!({"name": name, "node": node, "addresses": [address, "fd00::1"], "namespace": "/proc/1/fd/3"});
        let lab = json!({
            "name": "shop", "network": "flannel-vxlan", "since": 0, "keeper": 12,
            "nodes": [place("worker-1", None, "172.30.0.1")],
            "pods": [place("a/a", Some("worker-1"), "10.244.1.2")],
        });
        serde_json::from_value(lab).unwrap()
    }

    #[test]
    fn what_went_is_told_line_by_line() {
        let gone = Down { description: description(), ended: vec![straggler(3, "bash -i")] };
        assert_eq!(
            down(std::slice::from_ref(&gone), &[straggler(4, "sleep 1")], None),
            "shop is gone: 1 node, 1 pod\n\
             ended process 3 (bash -i), which was still in it\n\
             ended process 4 (sleep 1), which was left by a lab that died\n"
        );
        assert_eq!(down(&[], &[], None), "no lab stands\n");
        assert_eq!(down(&[], &[], Some(&"x".parse().unwrap())), "no lab x stands\n");
        assert_eq!(
            down_json(&[gone], &[straggler(4, "sleep 1")]),
            json!({
                "labs": [{"name": "shop", "ended": [{"pid": 3, "command": "bash -i"}]}],
                "stragglers": [{"pid": 4, "command": "sleep 1"}],
            })
        );
    }

    #[test]
    fn a_lab_that_must_be_named_is_named_in_every_hint() {
        let hints =
            |text: String| text.lines().filter(|line| line.contains("podwall lab ")).map(str::to_owned).collect();
        let named: Vec<String> = hints(standing(&description(), true));
        assert!(named.len() == 3 && named.iter().all(|hint| hint.contains(" --name shop  ")), "{named:?}");
        let unnamed: Vec<String> = hints(standing(&description(), false));
        assert!(unnamed.len() == 3 && unnamed.iter().all(|hint| !hint.contains("--name")), "{unnamed:?}");
    }
}
