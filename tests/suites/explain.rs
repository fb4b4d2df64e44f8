//! `podwall explain`: transcripts in `fixtures/explain`, one a situation, that show what is asked and what is answered.
//! `TRYCMD=overwrite cargo test -p podwall-tests --test explain` writes what is printed now.

use std::path::PathBuf;

use podwall_tests::{assert_coloured, assert_documented, fixture, podwall, root, run};
use serde_json::Value;

const CLUSTER: &str = "fixtures/explain/cluster";

fn transcripts() -> Vec<PathBuf> {
    let files = std::fs::read_dir(fixture("explain")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// What the transcripts ask in words about a cluster that is there.
fn questions() -> Vec<Vec<String>> {
    let mut questions = Vec::new();
    for path in transcripts() {
        let text = std::fs::read_to_string(path).unwrap();
        let asked = text.lines().filter_map(|line| line.strip_prefix("$ podwall "));
        questions.extend(asked.map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>()));
    }
    let has = |question: &[String], word: &str| question.iter().any(|other| other.starts_with(word));
    questions.retain(|question| has(question, "fixtures/") && !has(question, "-o"));
    questions
}

#[test]
fn every_situation_is_answered_as_its_transcript_has_it() {
    assert!(transcripts().len() >= 40, "a pattern that matches nothing would be a test that passes");
    // Places in the answers are as the user gave the paths: below the root.
    std::env::set_current_dir(root()).unwrap();
    trycmd::TestCases::new()
        .register_bin("podwall", podwall())
        .env("NO_COLOR", "1")
        .case("fixtures/explain/*.md")
        .run();
}

#[test]
fn text_and_json_agree_on_every_question() {
    let mut judged = 0;
    for question in questions() {
        let arguments: Vec<&str> = question.iter().map(String::as_str).collect();
        let text = run(&arguments, "");
        let json = run(&[&arguments[..], &["-o", "json"]].concat(), "");
        assert_eq!(text.status, json.status, "{question:?}");
        if text.status == Some(2) {
            assert_eq!((&*text.stdout, &text.stderr), ("", &json.stderr), "{question:?}");
            continue;
        }
        judged += 1;
        let json: Value = serde_json::from_str(&json.stdout).unwrap();
        let denied = text.status == Some(1);
        assert_eq!(json["verdict"], if denied { "deny" } else { "allow" }, "{question:?}");
        let headline = text.stdout.lines().next().unwrap();
        assert_eq!(headline.contains("DENIED"), denied, "{headline}");
        let groups = json["groups"].as_array().unwrap();
        assert_eq!(groups.iter().any(|group| group["verdict"] == "deny"), denied, "{question:?}");
        let pairs: u64 = groups.iter().map(|group| group["pairs"].as_u64().unwrap()).sum();
        assert!(pairs >= json["pairs"].as_u64().unwrap(), "{question:?}");
    }
    assert!(judged >= 40, "{judged}");
}

#[test]
fn every_key_of_the_json_is_documented() {
    let answer = |question: Vec<String>| {
        let arguments: Vec<&str> = question.iter().map(String::as_str).chain(["-o", "json"]).collect();
        let run = run(&arguments, "");
        (run.status != Some(2)).then(|| serde_json::from_str(&run.stdout).unwrap())
    };
    assert_documented("explain", &questions().into_iter().filter_map(answer).collect::<Vec<_>>());
}

#[test]
fn verdicts_are_coloured_where_colours_are_wanted_only() {
    assert_coloured(
        &["explain", "-f", CLUSTER, "shop/web-0", "shop/cache", "6379"],
        &["\u{1b}[1m\u{1b}[31mDENIED at egress and ingress"],
    );
}

#[test]
fn too_many_pairs_are_refused_and_as_many_as_are_allowed_are_judged() {
    let workload = |name: &str, replicas: usize| {
        format!(
            "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec: {{replicas: {replicas}, \
             template: {{metadata: {{labels: {{app: {name}}}}}, spec: {{containers: []}}}}}}\n"
        )
    };
    let arguments = ["explain", "-f", "-", "a", "b", "80"];
    let refused = run(&arguments, &(workload("a", 1000) + &workload("b", 101))).expect(2);
    assert!(
        refused
            .stderr
            .contains("default/a (1000 pods) to default/b (101 pods) is more than 100000 pairs: name one pod"),
        "{}",
        refused.stderr
    );
    assert_eq!(refused.stdout, "");
    let judged = run(&arguments, &(workload("a", 1000) + &workload("b", 100))).expect(0);
    assert!(judged.stdout.contains("the same for all 100000 pairs of pods"), "{}", judged.stdout);
}

#[test]
fn rule_170_input_with_errors_is_not_judged() {
    let policy = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: {podSelectr: {}}\n";
    let refused = run(&["explain", "-f", "-", "a", "b", "80"], policy).expect(2);
    assert!(refused.stderr.contains("<stdin>:4:") && refused.stdout.is_empty(), "{}", refused.stderr);
}

#[test]
fn long_lists_are_cut_in_words_and_whole_in_json() {
    let blocks: Vec<String> = (0..25).map(|n| format!("{{ipBlock: {{cidr: 192.0.{n}.0/24}}}}")).collect();
    let input = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {{containers: []}}\nstatus: {{podIP: 10.0.0.1}}\n---\n\
         apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p}}\nspec:\n  podSelector: {{}}\n  \
         ingress: [{{from: [{}]}}]\n",
        blocks.join(", ")
    );
    let text = run(&["explain", "-f", "-", "198.51.100.1", "a", "80"], &input).expect(1).stdout;
    assert!(text.contains("from[9] ") && !text.contains("from[10]") && text.contains("and 15 more"), "{text}");
    let json = run(&["explain", "-f", "-", "198.51.100.1", "a", "80", "-o", "json"], &input).expect(1).stdout;
    assert!(json.contains("from[24]"), "{json}");
}
