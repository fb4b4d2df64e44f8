//! `podwall test`: expectations of the shop, in every format.

use podwall_tests::{fixture, run};
use serde_json::Value;

const SHOP: [&str; 3] = ["test", "-f", "fixtures/shop"];
const HOLDING: &str = "fixtures/expectations/shop.yaml";
const FAILING: &str = "fixtures/expectations/failing.yaml";

fn test(more: &[&str]) -> podwall_tests::Run {
    run(&[&SHOP, more].concat(), "")
}

/// What a run prints is what a file beside the fixtures holds.
fn prints(name: &str, more: &[&str], status: i32) {
    let found = test(more);
    assert_eq!((found.status, &*found.stderr), (Some(status), ""));
    podwall_tests::golden(&fixture("expectations").join(name), &found.stdout);
}

#[test]
fn expectations_that_hold() {
    prints("shop.txt", &[HOLDING], 0);
}

#[test]
fn expectations_that_do_not_hold_say_why() {
    prints("failing.txt", &[FAILING], 1);
    prints("failing.json", &[FAILING, "-o", "json"], 1);
    prints("failing.xml", &[FAILING, "-o", "junit"], 1);
}

#[test]
fn one_failing_file_of_several_fails() {
    let found = test(&[HOLDING, FAILING]);
    assert_eq!(found.status, Some(1));
    assert!(found.stdout.contains(HOLDING) && found.stdout.contains(FAILING), "{}", found.stdout);
    assert!(found.stdout.ends_with("6 of 11 expectations do not hold\n"), "{}", found.stdout);
}

#[test]
fn all_formats_agree() {
    for (file, failed) in [(HOLDING, 0), (FAILING, 6)] {
        let json: Value = serde_json::from_str(&test(&[file, "-o", "json"]).stdout).unwrap();
        let junit = test(&[file, "-o", "junit"]).stdout;
        let text = test(&[file]).stdout;
        assert_eq!(json["failed"], failed);
        assert_eq!(junit.matches("<failure").count(), failed);
        assert_eq!(text.matches("\n  FAIL  ").count(), failed);
        let holding = json["expectations"].as_array().unwrap().len() - failed;
        assert_eq!(junit.matches("<testcase").count(), holding + failed);
        assert_eq!(text.matches("\n  ok    ").count(), holding);
    }
}

#[test]
fn every_key_is_documented() {
    let printed = [HOLDING, FAILING].map(|file| serde_json::from_str(&test(&[file, "-o", "json"]).stdout).unwrap());
    podwall_tests::assert_documented("test", &printed);
}

#[test]
fn what_is_no_expectation_is_refused_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    for (text, error) in [
        ("", "no expectations: must be a list of {from, to, port, verdict, note}"),
        ("[]", "no expectations: must be a list of {from, to, port, verdict, note}"),
        ("- from: a\n  to: b\n  verdict: alow\n", "3:12: unknown variant `alow`, expected one of allow, deny"),
        (
            "- from: a\n  to: b\n  verdict: allow\n  prt: 80\n",
            "4:3: unknown field `prt`, expected one of from, to, port, verdict, note",
        ),
        ("- from: a\n  from: c\n  to: b\n  verdict: allow\n", "2:3: duplicate mapping key: from"),
        ("- from: a\n  verdict: allow\n", "2:3: missing field `to`"),
        (
            "- from: a\n  to: b\n  port: 99999\n  verdict: allow\n",
            "3:9: \"99999\" is no port: must be NUMBER or NUMBER/PROTOCOL, such as 80 or 53/udp",
        ),
        ("- from: {}\n  to: b\n  verdict: allow\n", "1:9: must have a namespace or labels; everybody is \"*/*\""),
        (
            "- from: {names: a}\n  to: b\n  verdict: allow\n",
            "1:10: unknown field `names`, expected one of namespace, labels",
        ),
        (
            "- from: shop/svc/web\n  to: b\n  verdict: allow\n",
            "1:9: \"shop/svc/web\" is a Service: name the pods behind it",
        ),
        ("- {from: a, to: b, verdict: allow", "1:"),
    ] {
        let path = directory.path().join("e.yaml");
        std::fs::write(&path, text).unwrap();
        let path = path.to_str().unwrap();
        let found = test(&[path]);
        assert_eq!((found.status, &*found.stdout), (Some(2), ""), "{text}");
        let place = if error.starts_with("no ") { ": " } else { ":" };
        assert!(found.stderr.contains(&format!("{path}{place}{error}")), "{text}: {}", found.stderr);
        assert!(found.stderr.ends_with("error: nothing was tested\n"), "{}", found.stderr);
    }
    let missing = test(&["missing.yaml"]);
    assert_eq!(missing.status, Some(2));
    assert!(missing.stderr.contains("cannot read missing.yaml"), "{}", missing.stderr);
}

#[test]
fn a_large_cluster_is_answered_by_class() {
    let deployment = |number: usize| {
        format!(
            "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: w{number}, namespace: n{}}}\nspec:\n  \
             replicas: 50\n  template: {{metadata: {{labels: {{app: a{number}}}}}, spec: {{containers: []}}}}\n",
            number % 20
        )
    };
    let policy = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny, namespace: n1}\n\
                  spec: {podSelector: {}, policyTypes: [Ingress]}\n";
    let cluster: String = (0..200).map(deployment).chain([policy.to_owned()]).collect();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("e.yaml");
    std::fs::write(
        &path,
        "- {from: '*/*', to: 'n1/*', port: '*', verdict: deny}\n- {from: '*/*', to: 'n2/*', verdict: allow}\n",
    )
    .unwrap();
    let found = run(&["test", "-f", "-", path.to_str().unwrap(), "-o", "json"], &cluster);
    let json: Value = serde_json::from_str(&found.stdout).unwrap();
    assert_eq!(json["failed"], 0);
    assert_eq!(json["expectations"][0]["pairs"], 500 * 9_999);
}
