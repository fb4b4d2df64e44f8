//! The API server as the judge of our validation: what it takes we take, what it refuses we refuse, and we name the same
//! fields.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Deref;

use http::Request;
use kube::Error;
use kube::core::Status;
use podwall_tests::kubernetes::{Api, ControlPlane, Lease, objects};
use podwall_tests::random::{self, Cases, NAMESPACES, PolicyDocument};
use podwall_tests::root;
use policy_compiler::cidr::CidrRules;
use policy_compiler::manifest;
use proptest::test_runner::TestCaseError;
use serde_json::{Value, json};

/// What somebody says of a document that he refuses.
struct Refusal {
    /// The fields that he names.
    fields: BTreeSet<String>,
    /// In full.
    words: String,
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused for {:?}: {}", self.fields, self.words)
    }
}

/// What the loader refuses a policy for.
fn ours(text: &str, rules: CidrRules) -> Option<Refusal> {
    let manifest = manifest::read(&"policy".into(), text, rules);
    let errors: Vec<_> = manifest.errors().collect();
    let fields = errors.iter().filter_map(|problem| problem.path.as_deref()).map(without_keys).collect();
    let words = errors.iter().map(|problem| format!("{problem}\n")).collect();
    (!errors.is_empty()).then_some(Refusal { fields, words })
}

/// What the API server refuses it for, and whether that is all that there is.
fn theirs(status: &Status) -> (Refusal, bool) {
    let words = format!("{} {}", status.code, status.message);
    if status.code == 400 {
        return (Refusal { fields: undecodable(&status.message), words }, false);
    }
    let causes = status.details.iter().flat_map(|details| &details.causes);
    (Refusal { fields: causes.map(|cause| cause.field.clone()).collect(), words }, true)
}

/// A path without the keys of labels and annotations, which only we name.
fn without_keys(path: &str) -> String {
    let map =
        ["labels[", "annotations[", "matchLabels["].iter().filter_map(|map| Some(path.find(map)? + map.len())).min();
    path[..map.map_or(path.len(), |end| end - 1)].to_owned()
}

/// A path without the places in lists, which whoever cannot decode a document does not name.
fn without_places(path: &str) -> String {
    path.split('[').map(|part| part.split_once(']').map_or(part, |(_, rest)| rest)).collect()
}

/// The fields that stand in the way of decoding, which only the message names: `unknown field "spec.foo"`, or
/// `Go struct field NetworkPolicyPort.spec.ingress.ports.endPort of type int32`.
fn undecodable(message: &str) -> BTreeSet<String> {
    let quoted = |words: &str| -> Vec<String> {
        let behind = message.split(words).skip(1);
        behind.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect()
    };
    let typed = message.split("Go struct field ").skip(1).filter_map(|rest| {
        let (path, _) = rest.split_once(" of type")?;
        Some(path.split_once('.')?.1.to_owned())
    });
    [quoted("unknown field \""), quoted("duplicate field \""), typed.collect()].concat().into_iter().collect()
}

/// What the API server says of a policy, as YAML.
fn ask(api: &Api, yaml: &str) -> Option<(Refusal, bool)> {
    let path = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies?dryRun=All&fieldValidation=Strict";
    let request = Request::post(path).header("content-type", "application/yaml").body(yaml.as_bytes().to_vec());
    let request = request.unwrap();
    answer(api.with_client(|client| async move { client.request(request).await }))
}

fn answer(answer: kube::Result<Value>) -> Option<(Refusal, bool)> {
    match answer {
        Ok(_) => None,
        Err(Error::Api(status)) => Some(theirs(&status)),
        Err(error) => panic!("{error}"),
    }
}

/// Holds the loader against the API server.
fn judge(api: &Api, document: &PolicyDocument, rules: CidrRules) -> Result<(), String> {
    let PolicyDocument(policy) = document;
    let ours = ours(&policy.to_string(), rules);
    let theirs = answer(api.dry_run(policy));
    let agree = match (&ours, &theirs) {
        (None, None) => true,
        (Some(ours), Some((theirs, true))) => ours.fields == theirs.fields,
        // Decoding stops at the first mistake; we go on.
        (Some(ours), Some((theirs, false))) => {
            let fields: BTreeSet<String> = ours.fields.iter().map(|path| without_places(path)).collect();
            !theirs.fields.is_empty() && theirs.fields.iter().all(|field| fields.contains(&without_places(field)))
        }
        _ => false,
    };
    if agree { Ok(()) } else { Err(format!("ours: {ours:?}\ntheirs: {theirs:?}\n{document:?}")) }
}

fn with_namespaces<C: Deref<Target = ControlPlane>>(control_plane: C) -> C {
    for name in NAMESPACES {
        control_plane.api().create(&objects::namespace(name, json!({}))).unwrap();
    }
    control_plane
}

#[track_caller]
fn assert_agree(api: &Api, rules: CidrRules) {
    let documents = random::every_break();
    let wrong: Vec<_> = documents.iter().filter_map(|document| judge(api, document, rules).err()).collect();
    assert!(wrong.is_empty(), "{} of {} documents, such as:\n{}", wrong.len(), documents.len(), wrong[0]);
}

#[test]
fn every_mistake_is_one_to_the_api_server_too() {
    assert_agree(Lease::new().api(), CidrRules::Legacy);
}

#[test]
fn every_mistake_is_one_to_a_strict_api_server_too() {
    let control_plane = ControlPlane::start_with(&["--feature-gates=StrictIPCIDRValidation=true"]);
    assert_agree(control_plane.api(), CidrRules::Strict);
}

#[test]
fn random_policies_are_judged_as_the_api_server_judges_them() {
    let control_plane = with_namespaces(Lease::new());
    let api = control_plane.api();
    random::run(Cases::share(400, 400), random::policy_document, |document| {
        judge(api, &document, CidrRules::Legacy).map_err(TestCaseError::fail)
    });
}

#[test]
fn text_is_read_as_the_api_server_reads_it() {
    let control_plane = Lease::new();
    let spec = |spec: &str| {
        let head = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\n";
        spec.lines().fold(head.to_owned(), |text, line| text + "  " + line + "\n")
    };
    let ports = |port: &str| spec(&format!("podSelector: {{}}\ningress: [{{ports: [{{port: {port}}}]}}]"));
    let labels = |labels: &str| spec(&format!("podSelector: {{matchLabels: {labels}}}"));
    let mut texts: Vec<String> = [
        "podSelector: {}\npodSelector: {}",
        "podSelector: {matchLabels: {app: a, app: a}}",
        "podSelector: {matchLabels: {app: a, app: b}}",
        "PodSelector: {}",
        "podSelector: {}\ningress:\n- from: []\n  from: []",
        "podSelector: &all {}\ningress: [{from: [{podSelector: *all}]}]",
        "podSelector: *nobody",
        "podSelector: {}\ningress: [{<<: {ports: [{port: 80}]}, from: []}]",
        "podSelector: {}\ningress: [{<<: [{ports: [{port: 80}]}, {from: []}]}]",
        "podSelector: {}\ningress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}]",
        "podSelector: {}\npolicyTypes: [on]",
        "podSelector: !!map {}",
        "podSelector: ~",
        "podSelector:",
        "",
    ]
    .map(spec)
    .into();
    texts.extend(
        [
            "80",
            "0x50",
            "0120",
            "0o120",
            "8_0",
            "0b1010000",
            "+80",
            "!!int 80",
            "!!str 80",
            "'80'",
            "yes",
            "y",
            "~",
            "http",
            "!!str http",
            "1:20",
        ]
        .map(ports),
    );
    texts.extend(
        [
            "{a: b}",
            "{a: 'yes'}",
            "{a: yes}",
            "{a: n}",
            "{a: 1}",
            "{a: 1.0}",
            "{a: 1_000}",
            "{a: 0x}",
            "{a: 1e999}",
            "{a: 2026-01-02}",
            "{a: 12:30:45}",
            "{a: !!str 1}",
            "{yes: a}",
            "{1: a}",
            "{1.5: a}",
            "{0x10: a}",
            "{a: tRUE}",
            "{'': a}",
            "{? a : b}",
        ]
        .map(labels),
    );
    let api = control_plane.api();
    let differ = texts.iter().filter_map(|text| {
        let (ours, theirs) = (ours(text, CidrRules::Legacy), ask(api, text));
        (ours.is_some() != theirs.is_some()).then(|| format!("{text}ours: {ours:?}\ntheirs: {theirs:?}\n"))
    });
    let differ: Vec<_> = differ.collect();
    assert!(differ.is_empty(), "{} of {}:\n{}", differ.len(), texts.len(), differ.concat());
}

/// The examples under a heading of the page.
fn examples<'t>(page: &'t str, heading: &str) -> Vec<&'t str> {
    let section = page.split("\n## ").find_map(|section| section.strip_prefix(heading));
    let section = section.unwrap_or_else(|| panic!("docs/validation.md has no section {heading:?}"));
    section.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn what_differs_is_what_the_page_says() {
    let control_plane = Lease::new();
    let page = std::fs::read_to_string(root().join("docs/validation.md")).expect("docs/validation.md is there");
    for (heading, is_taken) in
        [("Taken here and refused by the API server\n", true), ("Refused here and taken by the API server\n", false)]
    {
        let examples = examples(&page, heading);
        assert!(examples.len() > 3, "{examples:?}");
        for example in examples {
            let (ours, theirs) = (ours(example, CidrRules::Legacy), ask(control_plane.api(), example));
            assert_eq!((ours.is_none(), theirs.is_none()), (is_taken, !is_taken), "{example}{ours:?}\n{theirs:?}");
        }
    }
}
