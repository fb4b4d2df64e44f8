//! `podwall cleanup` beside an agent.

use lab::Process;
use podwall_tests::{Manifests, nft, run_in};

use super::{BROKEN, PATIENCE, manifests, node, probe, start, status};

/// Edits something, and comes back when whatever follows from it has been done: before the next edit is heard of.
fn hears(manifests: &Manifests, agent: &mut Process) {
    for name in ["first.yaml", "second.yaml"] {
        manifests.write(name, &BROKEN.replace("broken", name));
        agent.wait_for_line(name, PATIENCE).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn an_agent_that_is_asked_removes_its_table_and_enforces_nothing_until_it_is_restarted() {
    let (node, manifests) = (node(), manifests());
    nft(&node, &["-f", "-"], "table inet other { chain c { counter; }\n}\n");
    let mut agent = start(&node, &manifests, &[]);
    let asked = run_in(&node, &["cleanup"]).expect(0).stdout;
    assert_eq!(asked, "the agent removed table inet podwall, and enforces nothing until it is restarted\n");
    let tables = || nft(&node, &["list", "tables"], "");
    assert_eq!(tables(), "table inet other\n");

    let (code, text) = probe(&node, "/readyz");
    assert!(code == 503 && text.contains("[-]enforcing: "), "{text}");
    assert_eq!(probe(&node, "/livez").0, 200);
    let found = status(&node, 1);
    assert!(found["size"].is_null() && found["pods"][0]["ingress"].as_array().unwrap().is_empty(), "{found}");
    assert!(run_in(&node, &["status"]).expect(1).stdout.contains("nothing is in force"));

    hears(&manifests, &mut agent);
    assert_eq!(tables(), "table inet other\n");
    let again = run_in(&node, &["cleanup"]).expect(0).stdout;
    assert_eq!(again, "there is no table inet podwall; the agent enforces nothing until it is restarted\n");

    agent.kill().unwrap();
    let _agent = start(&node, &manifests, &[]);
    assert!(tables().contains("inet podwall"));
    assert_eq!(status(&node, 0)["ready"], true);
}

#[test]
fn a_table_that_nobody_owns_is_removed_by_its_agent_as_well() {
    let (node, manifests) = (node(), manifests());
    // A table that was made without an owner never gets one.
    nft(&node, &["add", "table", "inet", "podwall"], "");
    let mut agent = start(&node, &manifests, &[]);
    assert_eq!(status(&node, 0)["owned"], false);
    assert!(run_in(&node, &["status"]).expect(0).stdout.contains("inet podwall, open to changes by others"));
    assert!(run_in(&node, &["cleanup"]).expect(0).stdout.starts_with("the agent removed"));
    hears(&manifests, &mut agent);
    assert_eq!(nft(&node, &["list", "tables"], ""), "");
}
