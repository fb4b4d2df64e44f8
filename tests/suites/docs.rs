//! README and docs do what they say: every command line in them is run.
//!
//! Blocks of `console` are transcripts (`TRYCMD=overwrite cargo test -p podwall-tests --test docs` writes what is printed
//! now), lines of `sh` are run one after the other, and what stands in the text between backquotes is read as far as that
//! makes sense.

use lab::{Namespace, Process, Signal};
use podwall_tests::agent::{IN_FORCE, PATIENCE};
use podwall_tests::{fixture, namespace, podwall, root, run, run_in};
use std::process::Command;

fn pages() -> Vec<(String, String)> {
    let docs = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let pages: Vec<_> = pages.chain([root().join("README.md")]).collect();
    assert!(pages.len() > 4, "pages are missing");
    let name = |path: &std::path::Path| path.strip_prefix(root()).unwrap().display().to_string();
    pages.into_iter().map(|path| (name(&path), std::fs::read_to_string(path).unwrap())).collect()
}

/// Fenced blocks of a language.
fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let opening = format!("```{language}\n");
    text.split(&*opening).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// A page without its fenced blocks.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

#[test]
fn transcripts_are_what_is_printed() {
    std::env::set_current_dir(root()).unwrap();
    let cases = trycmd::TestCases::new();
    cases.register_bin("podwall", podwall()).env("NO_COLOR", "1");
    let mut transcripts = 0;
    for (page, text) in pages() {
        for block in blocks(&text, "console") {
            transcripts += block.matches("$ ").count();
            let foreign = block.lines().find(|line| line.starts_with("$ ") && !line.starts_with("$ podwall "));
            assert_eq!(foreign, None, "{page}: only podwall is run");
        }
        if text.contains("```console") {
            cases.case(page);
        }
    }
    assert!(transcripts >= 7, "only {transcripts} transcripts");
    cases.run();
}

#[test]
fn commands_run() {
    let node = namespace("docs");
    // Labs are found by their names in here alone.
    let labs = namespace("labs");
    let mut agent = None;
    for (page, text) in pages() {
        for line in blocks(&text, "sh").into_iter().flat_map(str::lines) {
            let line = line.split('#').next().unwrap().trim();
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                [] => (),
                ["./dev", "demo"] => demo_shows(&text),
                // This is what runs here.
                ["./dev", "test"] => {
                    let ci = std::fs::read_to_string(root().join(".ci/run")).unwrap();
                    assert!(ci.contains("./dev test"), "{ci}");
                }
                ["podwall", "enforce", ..] => agent = Some(enforce(&node, &words[1..])),
                ["podwall", "cleanup", ..] => {
                    let mut agent: Process = agent.take().expect("an agent runs before");
                    agent.signal(Signal::SIGTERM).unwrap();
                    agent.wait(PATIENCE).unwrap();
                    let removed = run_in(&node, &words[1..]).expect(0).stdout;
                    assert_eq!(removed, "removed table inet podwall\n");
                }
                ["podwall", "lab", ..] => _ = run_in(&labs, &words[1..]).expect(0),
                ["podwall", ..] => _ = run(&words[1..], "").expect(0),
                _ => panic!("{page}: no test runs {line:?}"),
            }
        }
    }
    assert!(agent.is_none(), "an agent is never ended");
}

fn enforce(node: &Namespace, arguments: &[&str]) -> Process {
    let mut command = Command::new(podwall());
    command.args(arguments).current_dir(root());
    let mut agent = Process::spawn(node, command).unwrap();
    agent.wait_for_line(IN_FORCE, PATIENCE).unwrap();
    agent
}

/// The demo prints what the page says of it. It builds a release, which takes its time on a cold machine.
fn demo_shows(page: &str) {
    let demo = Command::new("./dev").arg("demo").current_dir(root()).env_remove("CARGO_TARGET_DIR").output().unwrap();
    let (printed, told) = (String::from_utf8_lossy(&demo.stdout), String::from_utf8_lossy(&demo.stderr));
    assert!(demo.status.success(), "{printed}{told}");
    let [shown] = blocks(page, "text")[..] else { panic!("no output of the demo") };
    for line in shown.lines().filter(|line| *line != "...") {
        assert!(printed.lines().any(|other| other == line), "{line:?} is not in\n{printed}");
    }
}

#[test]
fn commands_in_the_text_are_understood() {
    let mut found = 0;
    for (page, text) in pages() {
        for span in prose(&text).split('`').skip(1).step_by(2).map(|span| span.split_whitespace().collect::<Vec<_>>()) {
            let ["podwall", verb, rest @ ..] = &span[..] else { continue };
            found += 1;
            if rest.iter().any(|word| word.starts_with("fixtures/")) {
                let status = run(&span[1..], "").status;
                assert!(matches!(status, Some(0 | 1)), "{page}: {span:?} ends with {status:?}");
                continue;
            }
            let help = run(&[verb, "--help"], "").expect(0).stdout;
            for flag in rest.iter().filter(|word| word.starts_with('-') && **word != "-") {
                assert!(help.contains(flag), "{page}: podwall {verb} has no {flag}");
            }
        }
    }
    assert!(found > 5, "only {found} commands in the text");
}

#[test]
fn the_expectations_of_the_page_are_those_of_the_fixture() {
    let page = std::fs::read_to_string(root().join("docs/expectations.md")).unwrap();
    let expectations = std::fs::read_to_string(fixture("expectations/shop.yaml")).unwrap();
    assert_eq!(blocks(&page, "yaml"), [expectations]);
}
