//! `podwall diff`: pairs of clusters in `fixtures/diff`, one a situation, with what changes between the two beside them.
//! `PODWALL_BLESS=1` writes what is printed now.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use podwall_tests::{Manifests, Run, assert_coloured, assert_documented, assert_same_lines, fixture, golden, run};
use serde_json::Value;

/// Pairs that differ in nothing that anybody would notice.
const WITHOUT_EFFECT: [&str; 6] = [
    "allow-at-one-end-only",
    "comments-and-formatting",
    "identical",
    "policy-changed-without-effect",
    "policy-renamed",
    "shadowed-policy-removed",
];

/// Pairs whose rules are shown too.
const WITH_RULES: [&str; 2] = ["node-agents-beside-others", "port-added"];

const ADDRESSES: &str = "10.244.0.0/24,fd00:10:244::/64";

fn pairs() -> BTreeSet<String> {
    let folders = std::fs::read_dir(fixture("diff")).unwrap();
    folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn diff(pair: &str, more: &[&str]) -> Run {
    let (old, new) = (format!("fixtures/diff/{pair}/old.yaml"), format!("fixtures/diff/{pair}/new.yaml"));
    run(&[&["diff", "-f", &new, "--against", &old], more].concat(), "")
}

fn json(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap()
}

#[track_caller]
fn is_beside(pair: &str, file: &str, printed: &str) {
    golden(&fixture("diff").join(pair).join(file), printed);
}

#[test]
fn rules_15_to_132_what_changes_is_what_stands_beside_each_pair() {
    let pairs = pairs();
    assert!(pairs.len() >= 40, "{pairs:?}");
    assert!(WITHOUT_EFFECT.iter().all(|pair| pairs.contains(*pair)));
    for pair in &pairs {
        let status = if WITHOUT_EFFECT.contains(&pair.as_str()) { 0 } else { 1 };
        let run = diff(pair, &["-o", "json"]).expect(status);
        assert_eq!(run.stderr, "", "{pair}");
        is_beside(pair, "expected.json", &run.stdout);
    }
}

#[test]
fn the_way_back_is_the_opposite() {
    for pair in pairs() {
        let (old, new) = (format!("fixtures/diff/{pair}/old.yaml"), format!("fixtures/diff/{pair}/new.yaml"));
        let there = json(&diff(&pair, &["-o", "json"]));
        let back = json(&run(&["diff", "-f", &old, "--against", &new, "-o", "json"], ""));
        assert_eq!((&there["added"], &there["removed"]), (&back["removed"], &back["added"]), "{pair}");
        assert_eq!(there["policies"]["added"], back["policies"]["removed"], "{pair}");
        let flows = |diff: &Value, opposite: bool| -> BTreeSet<String> {
            let flows = diff["flows"].as_array().unwrap().iter().cloned();
            let turned = flows.map(|mut flow| {
                if opposite {
                    flow["change"] = if flow["change"] == "allowed" { "denied" } else { "allowed" }.into();
                }
                flow.to_string()
            });
            turned.collect()
        };
        assert_eq!(flows(&there, false), flows(&back, true), "{pair}");
    }
}

#[test]
fn the_text_and_the_table_for_a_pull_request_are_the_ones_beside_the_pair() {
    for pair in [
        "first-policy-isolates-ingress",
        "ip-block-except-changed",
        "one-family-of-two",
        "outside-groups",
        "policy-changed-without-effect",
        "pods-of-a-workload-differ",
        "replicas-removed",
    ] {
        is_beside(pair, "expected.txt", &diff(pair, &[]).stdout);
        is_beside(pair, "expected.md", &diff(pair, &["-o", "markdown"]).stdout);
    }
}

#[test]
fn all_formats_come_to_the_same_exit_status() {
    for pair in pairs() {
        for rules in [&[][..], &["--rules"]] {
            let status = |format| diff(&pair, &[rules, &["-o", format]].concat()).status;
            let text = status("text");
            assert!(text == Some(0) || text == Some(1), "{pair} {rules:?}");
            assert_eq!([status("json"), status("markdown")], [text; 2], "{pair} {rules:?}");
        }
    }
}

#[test]
fn what_differs_is_coloured_where_colours_are_wanted_only() {
    assert_coloured(
        &[
            "diff",
            "-f",
            "fixtures/diff/port-protocol-changed/new.yaml",
            "--against",
            "fixtures/diff/port-protocol-changed/old.yaml",
        ],
        &["\u{1b}[32m+ ", "\u{1b}[31m- "],
    );
}

#[test]
fn long_lists_are_cut_in_words_and_whole_in_json() {
    let pods: String = (0..9)
        .map(|n| format!("---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p{n}, labels: {{peer: \"{}\"}}}}\n", n < 8))
        .collect();
    let blocks: Vec<String> = (0..20).map(|n| format!("{{ipBlock: {{cidr: 192.0.{n}.0/25}}}}")).collect();
    let policy = |peers: &str| {
        format!(
            "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p}}\nspec:\n  podSelector: \
             {{matchLabels: {{peer: \"false\"}}}}\n  ingress: [{{from: [{peers}]}}]\n"
        )
    };
    let old = Manifests::new(&[("m.yaml", &(pods.clone() + &policy("{ipBlock: {cidr: 1.1.1.1/32}}")))]);
    let peers = format!("{{podSelector: {{matchLabels: {{peer: \"true\"}}}}}}, {}", blocks.join(", "));
    let new = Manifests::new(&[("m.yaml", &(pods + &policy(&peers)))]);
    let arguments = ["diff", "-f", new.argument(), "--against", old.argument()];
    let text = run(&arguments, "").expect(1).stdout;
    assert!(text.contains("+ every other pod, 192.0.0.0/25"), "{text}");
    assert!(text.contains("192.0.5.0/25, 14 more ranges -> default/p8  everything"), "{text}");
    let json = json(&run(&[&arguments[..], &["-o", "json"]].concat(), "").expect(1));
    let from = &json["flows"][0]["from"];
    assert_eq!(from.as_array().unwrap().len(), 8 + 20, "{from}");
}

#[test]
fn every_key_of_the_json_is_documented() {
    let flows = pairs().into_iter().map(|pair| json(&diff(&pair, &["-o", "json"])));
    let rules =
        pairs().into_iter().map(|pair| json(&diff(&pair, &["-o", "json", "--rules", "--addresses", ADDRESSES])));
    assert_documented("diff", &flows.chain(rules).collect::<Vec<_>>());
}

#[test]
fn the_rules_that_change_are_the_ones_beside_the_pair() {
    for pair in WITH_RULES {
        let arguments = ["--rules", "--addresses", ADDRESSES];
        is_beside(pair, "expected.diff", &diff(pair, &arguments).expect(1).stdout);
        let markdown = diff(pair, &[&arguments[..], &["-o", "markdown"]].concat()).expect(1).stdout;
        is_beside(pair, "expected.rules.md", &markdown);
    }
    let renamed = diff("policy-renamed", &["--rules", "--addresses", ADDRESSES]).expect(1).stdout;
    assert!(renamed.contains("shop/api-from-web"), "names are in the rules: {renamed}");
    let pending = diff("policy-renamed", &["--rules"]).expect(0);
    assert!(pending.stderr.contains("5 pods have no address yet, and so no rules"), "{}", pending.stderr);
    let unchanged = diff("comments-and-formatting", &["--rules"]).expect(0);
    assert_eq!(unchanged.stdout, "every node's rules stay as they are\n");
}

#[test]
fn patch_makes_the_new_rules_out_of_the_old_ones() {
    let compiled = |pair: &str, version: &str, node: &str| {
        let path = format!("fixtures/diff/{pair}/{version}.yaml");
        run(&["compile", "-f", &path, "--node", node, "--addresses", ADDRESSES], "").expect(0).stdout
    };
    for pair in WITH_RULES {
        let node = if pair == "port-added" { "node" } else { "node-2" };
        let (old, new) = (compiled(pair, "old", node), compiled(pair, "new", node));
        // What compile prints is headed by comments; the difference is of the tables alone.
        let table = |text: &str| text.get(text.find("table inet").unwrap()..).unwrap().to_owned();
        let rules = diff(pair, &["--rules", "--node", node, "--addresses", ADDRESSES]).expect(1).stdout;
        let folder = Manifests::new(&[("rules.nft", &table(&old)), ("rules.patch", &rules)]);
        patch(folder.path());
        let patched = std::fs::read_to_string(folder.path().join("rules.nft")).unwrap();
        assert_same_lines(&patched, &table(&new), pair);
    }
}

fn patch(folder: &Path) {
    let done = Command::new("patch")
        .args(["--batch", "--fuzz=0", "rules.nft", "rules.patch"])
        .current_dir(folder)
        .output()
        .unwrap_or_else(|error| panic!("patch does not start: {error}"));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
}

#[test]
fn one_node_is_shown_where_one_is_asked_for() {
    let shown = |more: &[&str]| -> Vec<String> {
        let run =
            diff("node-agents-beside-others", &[&["--rules", "--addresses", ADDRESSES, "-o", "json"], more].concat())
                .expect(1);
        let nodes = json(&run)["nodes"].as_array().unwrap().clone();
        nodes.iter().map(|node| node["node"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(shown(&[]), ["node-1", "node-2"]);
    assert_eq!(shown(&["--node", "node-2"]), ["node-2"]);
    let unknown = diff("node-agents-beside-others", &["--rules", "--node", "node-3"]).expect(2);
    assert!(
        unknown.stderr.contains("no node node-3") && unknown.stderr.contains("node-1, node-2"),
        "{}",
        unknown.stderr
    );
    assert_eq!(unknown.stdout, "");
    let alone = diff("port-added", &["--node", "node"]).expect(2);
    assert!(alone.stderr.contains("--rules"), "{}", alone.stderr);
}

#[test]
fn a_pod_that_comes_moves_no_other_and_takes_no_address_from_it() {
    let nodes =
        "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n---\napiVersion: v1\nkind: Node\nmetadata: {name: n2}\n";
    let pod =
        |name: &str| format!("---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\n");
    let policy = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: {podSelector: {}, \
                  ingress: [{from: [{podSelector: {matchLabels: {app: c}}}]}]}\n";
    let old = format!("{nodes}{}{}{policy}", pod("b"), pod("c"));
    // By its name it comes first, and by itself would have the first address and the first node.
    let new = format!("{nodes}{}{}{}{policy}", pod("a"), pod("b"), pod("c"));
    let (old, new) = (Manifests::new(&[("m.yaml", &old)]), Manifests::new(&[("m.yaml", &new)]));
    let arguments = ["diff", "-f", new.argument(), "--against", old.argument(), "--addresses", "10.0.0.0/24"];
    let flows = run(&arguments, "").expect(1).stdout;
    assert_eq!(flows, "new pods\n+ default/a (1 pod): ingress isolated by default/p; egress open\n");
    let rules = json(&run(&[&arguments[..], &["--rules", "-o", "json"]].concat(), "").expect(1));
    let nodes = rules["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 1, "{rules}");
    let nothing = Value::Array(Vec::new());
    for (what, change) in [("chains", "rewritten"), ("chains", "deleted"), ("sets", "deleted")] {
        assert_eq!(nodes[0][what][change], nothing, "{what} {change}");
    }
    assert_eq!(nodes[0]["chains"]["created"], serde_json::json!(["pod_ingress/default/a"]));
    let edited = nodes[0]["sets"]["edited"].as_array().unwrap();
    assert!(!edited.is_empty() && edited.iter().all(|set| set["removed"] == 0), "{edited:?}");
}

#[test]
fn blocks_and_addresses_that_are_given_out_meet() {
    let covered = |addresses: &str| {
        let run = diff("allow-added-by-ip-block", &["-o", "json", "--addresses", addresses]).expect(1);
        json(&run)["flows"][0]["from"].as_array().unwrap().len()
    };
    assert_eq!(covered("10.0.0.0/24"), 1, "the block alone");
    assert_eq!(covered("203.0.113.0/24"), 2, "the block, and the pods that have addresses in it (rule 87)");
    let small = diff("allow-added-by-ip-block", &["--addresses", "10.0.0.0/31"]).expect(2);
    assert!(small.stderr.contains("10.0.0.0/31 has no address left for pod"), "{}", small.stderr);
}

#[test]
fn one_of_the_two_versions_may_come_from_standard_input() {
    let new = std::fs::read_to_string(fixture("diff/port-added/new.yaml")).unwrap();
    let piped = run(&["diff", "-f", "-", "--against", "fixtures/diff/port-added/old.yaml"], &new).expect(1);
    assert_eq!(piped.stdout, diff("port-added", &[]).stdout);
    let old = std::fs::read_to_string(fixture("diff/port-added/old.yaml")).unwrap();
    let piped = run(&["diff", "-f", "fixtures/diff/port-added/new.yaml", "--against", "-"], &old).expect(1);
    assert_eq!(piped.stdout, diff("port-added", &[]).stdout);
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let old = "fixtures/diff/port-added/old.yaml";
    let missing = run(&["diff", "-f", old, "--against", "fixtures/diff/no-such.yaml"], "").expect(2);
    assert!(missing.stderr.contains("cannot read fixtures/diff/no-such.yaml"), "{}", missing.stderr);
    let empty = Manifests::new(&[]);
    let nothing = run(&["diff", "-f", old, "--against", empty.argument()], "").expect(2);
    assert!(nothing.stderr.contains("no manifests"), "{}", nothing.stderr);
    let nothing_to_compare = run(&["diff", "-f", old], "").expect(2);
    assert!(nothing_to_compare.stderr.contains("--against"), "{}", nothing_to_compare.stderr);
}

#[test]
fn rule_170_a_version_with_errors_is_not_compared() {
    let old = "fixtures/diff/port-added/old.yaml";
    let bad = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: {podSelectr: {}}\n";
    for arguments in [["diff", "-f", "-", "--against", old], ["diff", "-f", old, "--against", "-"]] {
        let refused = run(&arguments, bad).expect(2);
        assert!(refused.stderr.contains("<stdin>:4:") && refused.stdout.is_empty(), "{}", refused.stderr);
    }
}

#[test]
fn words_that_will_mean_what_runs_are_no_paths() {
    for word in ["cluster", "kernel"] {
        let refused = run(&["diff", "-f", "fixtures/shop", "--against", word], "").expect(2);
        assert!(refused.stderr.contains(&format!("a file of that name is ./{word}")), "{}", refused.stderr);
        let path = run(&["diff", "-f", "fixtures/shop", "--against", &format!("./{word}")], "").expect(2);
        assert!(path.stderr.contains("cannot read"), "{}", path.stderr);
    }
}
