//! `podwall lint`: each code by what triggers it and by what nearly does, ignore comments, formats and exit statuses.

use std::collections::{BTreeMap, BTreeSet};

use analysis::lint::{Code, Severity};
use podwall_tests::{Manifests, Run, assert_documented, fixture, golden, root, run};
use serde_json::Value;

const POLICY: &str =
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: shop}\nspec:\n";
const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop, labels: {app: web}}\n---\n";

fn lint(stdin: &str) -> Run {
    run(&["lint", "-f", "-"], stdin)
}

/// Codes and severities of what is found, by `-o json`.
fn found(arguments: &[&str], stdin: &str) -> Vec<(Code, Severity)> {
    let arguments = [&["lint", "-o", "json", "--fail-on", "never"], arguments].concat();
    let document: Value = serde_json::from_str(&run(&arguments, stdin).expect(0).stdout).unwrap();
    let finding = |finding: &Value| {
        let severity = match finding["severity"].as_str().unwrap() {
            "error" => Severity::Error,
            "warning" => Severity::Warning,
            "info" => Severity::Info,
            other => panic!("no severity: {other}"),
        };
        (finding["code"].as_str().unwrap().parse().unwrap(), severity)
    };
    document["findings"].as_array().unwrap().iter().map(finding).collect()
}

/// The codes among them, without infos other than of `code`.
fn codes(code: Code, found: &[(Code, Severity)]) -> BTreeSet<Code> {
    let counts = |(other, severity): &&(Code, Severity)| *other == code || *severity > Severity::Info;
    found.iter().filter(counts).map(|(code, _)| *code).collect()
}

#[test]
fn every_code_has_fixtures_and_every_fixture_a_code() {
    let folders = std::fs::read_dir(fixture("lint")).unwrap();
    let folders: BTreeSet<String> = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(folders, Code::ALL.iter().map(ToString::to_string).collect());
}

#[test]
fn what_triggers_a_code_triggers_it_alone() {
    for code in Code::ALL {
        let path = format!("fixtures/lint/{code}/bad.yaml");
        assert_eq!(codes(code, &found(&["-f", &path], "")), [code].into(), "{path}");
    }
}

#[test]
fn what_nearly_triggers_a_code_does_not() {
    for code in Code::ALL {
        let path = format!("fixtures/lint/{code}/near.yaml");
        assert!(!codes(code, &found(&["-f", &path], "")).contains(&code), "{path}");
    }
}

#[test]
fn the_text_of_every_finding_is_the_one_beside_it() {
    for code in Code::ALL {
        let folder = format!("fixtures/lint/{code}");
        let text = run(&["lint", "--fail-on", "never", "-f", &format!("{folder}/bad.yaml")], "").expect(0);
        assert!(!text.stderr.contains("skipped"), "{folder}: {}", text.stderr);
        golden(&root().join(folder).join("expected.txt"), &text.stdout);
    }
}

/// The sections of `docs/lint.md` by their code, each with its YAML blocks.
fn documented() -> BTreeMap<String, Vec<String>> {
    let text = std::fs::read_to_string(root().join("docs/lint.md")).unwrap();
    let sections = text.split("\n## ").skip(1);
    sections
        .map(|section| {
            let (title, body) = section.split_once('\n').unwrap();
            let blocks = body.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
            (title.to_owned(), blocks.collect())
        })
        .collect()
}

#[test]
fn every_code_is_documented_and_every_documented_code_is_one() {
    let documented: Vec<String> = documented().into_keys().collect();
    let codes: BTreeSet<String> = Code::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(documented, Vec::from_iter(codes));
    let text = std::fs::read_to_string(root().join("docs/lint.md")).unwrap();
    for code in Code::ALL {
        let row = format!("| [`{code}`](#{code}) | {}", code.severity());
        assert!(text.contains(&row), "{row} is missing in the table");
    }
}

#[test]
fn the_example_of_every_code_triggers_it_alone_and_what_is_written_instead_does_not() {
    for (name, blocks) in documented() {
        let code: Code = name.parse().unwrap();
        let (example, instead) = blocks.split_first().unwrap_or_else(|| panic!("{code} has no example"));
        assert_eq!(codes(code, &found(&["-f", "-"], example)), [code].into(), "{code}:\n{example}");
        for block in instead.iter().filter(|block| block.starts_with("apiVersion")) {
            assert_eq!(
                codes(code, &found(&["-f", "-"], &format!("{example}---\n{block}"))),
                [].into(),
                "{code}:\n{block}"
            );
        }
    }
}

#[test]
fn the_shop_has_one_open_namespace_and_is_fine_otherwise() {
    assert_eq!(found(&["-f", "fixtures/shop"], ""), [(Code::NoDefaultDeny, Severity::Info)]);
    run(&["lint", "-f", "fixtures/shop"], "").expect(0);
}

#[test]
fn carets_stand_under_the_place_and_only_a_terminal_has_colours() {
    let text =
        lint(&format!("{POD}{POLICY}  podSelector: {{}}\n  ingress: [{{ports: [{{port: \"80\"}}]}}]\n")).expect(1);
    let expected = "  --> <stdin>:10:29\n   |\n10 |   ingress: [{ports: [{port: \"80\"}]}]\n   |                             ^^^^\n";
    assert!(text.stdout.contains(expected), "{}", text.stdout);
    assert!(!text.stdout.contains('\u{1b}'), "{}", text.stdout);
    assert!(text.stdout.ends_with("1 error, 1 info in 1 file\n"), "{}", text.stdout);
}

#[test]
fn findings_stand_in_the_order_of_files_and_lines() {
    let directory = Manifests::new(&[
        (
            "b.yaml",
            &format!("{POD}{POLICY}  podSelector: {{}}\n  ingress: [{{ports: [{{port: \"1\"}}, {{port: \"2\"}}]}}]\n"),
        ),
        ("a.yaml", "{"),
    ]);
    let document = run(&["lint", "-o", "json", "-f", directory.argument()], "").expect(1).stdout;
    let document: Value = serde_json::from_str(&document).unwrap();
    let places: Vec<_> = (document["findings"].as_array().unwrap().iter())
        .map(|finding| {
            let file = finding["file"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
            (file, finding["line"].as_u64().unwrap(), finding["column"].as_u64().unwrap())
        })
        .collect();
    let mut sorted = places.clone();
    sorted.sort();
    assert_eq!(places, sorted);
    assert_eq!(places.len(), 4, "{places:?}");
}

#[test]
fn without_pods_the_checks_that_need_them_are_skipped_and_that_is_said_once() {
    let policies = "  podSelector: {matchLabels: {app: a}} # podwall:ignore selects-nothing\n  policyTypes: [Ingress]\n  \
                    ingress: [{from: [{podSelector: {matchLabels: {app: b}}}], ports: [{port: http}]}]\n  egress: [{}]\n";
    let run = lint(&format!("{POLICY}{policies}")).expect(1);
    assert_eq!(run.stderr.matches("skipped").count(), 1, "{}", run.stderr);
    assert!(run.stderr.contains("no pods") && run.stderr.contains("selects-nothing"), "{}", run.stderr);
    assert_eq!(
        found(&["-f", "-"], &format!("{POLICY}{policies}")),
        [(Code::SectionWithoutPolicyType, Severity::Warning)]
    );
}

const ODD: &str =
    "  podSelector: {}\n  policyTypes: [Ingress]\n  ingress:\n  - from:\n    - ipBlock: {cidr: 203.0.113.7/24}\n";

fn odd(edit: impl Fn(&str) -> String) -> Vec<Code> {
    let text = edit(&format!("{POD}{POLICY}{ODD}"));
    let found = found(&["-f", "-"], &text).into_iter().filter(|(_, severity)| *severity > Severity::Info);
    found.map(|(code, _)| code).collect()
}

#[test]
fn findings_are_ignored_at_the_end_of_a_line_above_one_and_for_a_document() {
    assert_eq!(odd(str::to_owned), [Code::OddCidr]);
    assert_eq!(odd(|text| text.replace("7/24}", "7/24} # podwall:ignore odd-cidr")), []);
    assert_eq!(
        odd(|text| text
            .replace("    - ipBlock", "    # podwall:ignore quoted-port,odd-cidr\n    # Why.\n\n    - ipBlock")),
        [Code::UselessIgnore]
    );
    assert_eq!(
        odd(|text| text.replace("    - ipBlock", "    # podwall:ignore odd-cidr\n    # Why.\n\n    - ipBlock")),
        []
    );
    assert_eq!(odd(|text| text.replace("---\n", "---\n# Why.\n# podwall:ignore odd-cidr\n\n")), []);
}

#[test]
fn a_comment_that_is_not_about_the_finding_does_not_hide_it() {
    let both: BTreeSet<Code> = [Code::OddCidr, Code::UselessIgnore].into();
    for (place, comment) in [
        ("  - from:", "  - from: # podwall:ignore odd-cidr"),
        ("  policyTypes", "  # podwall:ignore odd-cidr\n  policyTypes"),
        ("apiVersion: v1", "# podwall:ignore odd-cidr\napiVersion: v1"),
        ("7/24}", "7/24} # podwall:ignore od-cidr"),
        ("7/24}", "7/24} # podwall:ignore"),
    ] {
        assert_eq!(odd(|text| text.replace(place, comment)).into_iter().collect::<BTreeSet<_>>(), both, "{comment}");
    }
    // And what looks like one is none.
    assert_eq!(
        odd(|text| text.replace("name: p,", "name: p, annotations: {a: 'x # podwall:ignore odd-cidr'},")),
        [Code::OddCidr]
    );
}

#[test]
fn the_exit_status_is_what_fail_on_asks_for() {
    let info = POD.to_owned();
    let warning = format!("{POD}{POLICY}{ODD}");
    let error = format!("{POD}{POLICY}  podSelector: 1\n");
    for (text, statuses) in [(info, [0, 0, 1, 0]), (warning, [0, 1, 1, 0]), (error, [1, 1, 1, 0])] {
        for (least, status) in ["error", "warning", "info", "never"].into_iter().zip(statuses) {
            for format in ["text", "json", "sarif"] {
                run(&["lint", "-f", "-", "--fail-on", least, "-o", format], &text).expect(status);
            }
        }
        let default = lint(&text);
        assert_eq!(default.status, Some(statuses[1]));
    }
}

#[test]
fn input_that_cannot_be_read_is_an_error_and_what_is_no_yaml_a_finding() {
    let missing = run(&["lint", "-f", "no/such/file.yaml"], "").expect(2);
    assert!(missing.stderr.contains("no/such/file.yaml") && missing.stdout.is_empty(), "{}", missing.stderr);
    run(&["lint", "-f", Manifests::new(&[]).argument()], "").expect(2);
    // What can be read beside it is looked at all the same.
    let broken = lint(&format!("{POD}{POLICY}{ODD}---\na: [\n")).expect(1);
    for phrase in ["error[invalid-manifest]: not valid YAML", "warning[odd-cidr]", "--> <stdin>:1"] {
        assert!(broken.stdout.contains(phrase), "{phrase} is missing in\n{}", broken.stdout);
    }
}

#[test]
fn strict_cidrs_make_odd_ones_errors() {
    let text = format!("{POD}{POLICY}{ODD}");
    let found = found(&["-f", "-", "--strict-cidrs"], &text);
    assert!(found.contains(&(Code::OddCidr, Severity::Error)), "{found:?}");
}

#[test]
fn json_has_the_members_that_are_documented() {
    let run = run(&["lint", "-o", "json", "-f", "fixtures/lint/label-typo/bad.yaml"], "").expect(1);
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    let members = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(members(&document), ["findings", "errors", "warnings", "infos", "skipped"]);
    let finding =
        document["findings"].as_array().unwrap().iter().find(|finding| finding["code"] == "label-typo").unwrap();
    assert_eq!(
        members(finding),
        ["code", "severity", "object", "path", "file", "line", "column", "message", "why", "help"]
    );
    assert_eq!(finding["object"], "NetworkPolicy shop/database");
    assert_eq!(finding["path"], "spec.podSelector.matchLabels[app]");
    assert_eq!(finding["file"], "fixtures/lint/label-typo/bad.yaml");
    assert_eq!(finding["help"], "write app: database");
    assert_documented("lint", &[document]);
}

#[test]
fn sarif_has_what_2_1_0_requires() {
    let directories = Code::ALL.map(|code| format!("fixtures/lint/{code}/bad.yaml"));
    let mut arguments = vec!["lint", "-o", "sarif", "--fail-on", "never"];
    directories.iter().for_each(|path| arguments.extend(["-f", path.as_str()]));
    let log: Value = serde_json::from_str(&run(&arguments, "").expect(0).stdout).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let runs = log["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 1);
    let driver = &runs[0]["tool"]["driver"];
    assert_eq!(driver["name"], "podwall");
    let rules = driver["rules"].as_array().unwrap();
    let ids: Vec<&str> = rules.iter().map(|rule| rule["id"].as_str().unwrap()).collect();
    assert_eq!(ids, Code::ALL.map(Code::name));
    for rule in rules {
        assert!(rule["shortDescription"]["text"].is_string() && rule["help"]["text"].is_string(), "{rule}");
        assert!(["error", "warning", "note"].contains(&rule["defaultConfiguration"]["level"].as_str().unwrap()));
    }
    let results = runs[0]["results"].as_array().unwrap();
    let mut levels = BTreeSet::new();
    for result in results {
        let rule = result["ruleIndex"].as_u64().unwrap() as usize;
        assert_eq!(result["ruleId"], rules[rule]["id"], "{result}");
        levels.insert(result["level"].as_str().unwrap());
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        let place = &result["locations"][0]["physicalLocation"];
        let uri = place["artifactLocation"]["uri"].as_str().unwrap();
        assert!(root().join(uri).exists(), "{uri}");
        assert!(
            place["region"]["startLine"].as_u64().unwrap() > 0 && place["region"]["startColumn"].as_u64().unwrap() > 0
        );
    }
    assert_eq!(levels, ["error", "note", "warning"].into());
}

#[test]
fn pods_of_one_workload_are_one_finding() {
    let workload = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec: {replicas: 50, template: \
                    {metadata: {labels: {app: web}}, spec: {hostNetwork: true, containers: []}}}\n---\n";
    let found = found(&["-f", "-"], &format!("{workload}{POLICY}  podSelector: {{matchLabels: {{app: web}}}}\n"));
    assert_eq!(found, [(Code::HostNetworkSubject, Severity::Warning)]);
}

#[test]
fn a_policy_that_selects_nothing_is_one_finding() {
    let spec = "  podSelector: {matchLabels: {app: nobody}}\n  policyTypes: [Ingress, Egress]\n  ingress: [{ports: [{port: metrics}]}]\n  \
                egress: [{to: [{podSelector: {matchLabels: {app: web}}}]}]\n";
    let text = format!("{POD}{POLICY}{spec}");
    assert_eq!(codes(Code::SelectsNothing, &found(&["-f", "-"], &text)), [Code::SelectsNothing].into());
    // Nor are peers in a namespace that is not there.
    let text = text.replace("name: p, namespace: shop", "name: p, namespace: nowhere");
    assert_eq!(codes(Code::SelectsNothing, &found(&["-f", "-"], &text)), [Code::SelectsNothing].into());
}
