//! Texts as wholes: documents, lists, JSON, typing, places; and helpers for the tests of single kinds.

use std::fmt::Write;

use proptest::prelude::*;

use super::*;
use crate::model::{Direction, Namespace, Node};

pub(super) fn manifest(text: &str) -> Manifest {
    read(&"m.yaml".into(), text, CidrRules::Legacy)
}

/// The problems as people see them.
pub(super) fn problems(manifest: &Manifest) -> Vec<String> {
    manifest.problems.iter().map(ToString::to_string).collect()
}

/// The objects of a text that is right.
pub(super) fn objects(text: &str) -> Vec<Object> {
    let manifest = manifest(text);
    assert_eq!(problems(&manifest).first(), None);
    let objects = manifest.documents.into_iter().filter_map(|document| match document.content {
        Content::Objects(objects) => Some(objects),
        _ => None,
    });
    objects.flatten().collect()
}

fn kinds_and_names(manifest: &Manifest) -> Vec<String> {
    let name = |document: &Document| document.name.clone().unwrap_or_default();
    manifest.documents.iter().map(|document| format!("{} {}", document.kind, name(document))).collect()
}

const NODE: &str = "apiVersion: v1\nkind: Node\nmetadata: {name: a}\n";

#[test]
fn a_document_tells_where_its_fields_stand() {
    let text =
        "kind: NetworkPolicy\nmetadata:\n  labels: {a.b/c: d}\nspec:\n  ingress:\n  - from:\n    - podSelector: {}\n";
    let document = manifest(text).documents.pop().unwrap();
    let place = |path: &str| document.place(path).map(|origin| (origin.line, origin.column));
    for (path, expected) in [
        ("", Some((1, 1))),
        ("spec", Some((4, 1))),
        ("metadata.labels[a.b/c]", Some((3, 12))),
        ("spec.ingress", Some((5, 3))),
        ("spec.ingress[0]", Some((6, 5))),
        ("spec.ingress[0].from[0].podSelector", Some((7, 7))),
        ("spec.ingress[1]", None),
        ("spec.egress", None),
        ("spec.ingress[x]", None),
        ("kind.of", None),
        ("spec[", None),
    ] {
        assert_eq!(place(path), expected, "{path}");
    }
}

#[test]
fn documents_are_read_in_order_and_empty_ones_passed_over() {
    let text = format!(
        "# comment\n---\n---\n{NODE}---\n# nothing\n--- ~\n---\n{}\n...\n---\n",
        NODE.replace("name: a", "name: b")
    );
    let manifest = manifest(&text);
    assert_eq!(problems(&manifest), [""; 0]);
    assert_eq!(kinds_and_names(&manifest), ["Node a", "Node b"]);
    assert_eq!(manifest.documents[0].origin, Origin { file: "m.yaml".into(), line: 4, column: 1 });
}

#[test]
fn an_empty_text_says_nothing() {
    for text in ["", "\n", "---\n", "# only a comment", "null"] {
        assert_eq!(manifest(text), Manifest::default(), "{text:?}");
    }
}

#[test]
fn json_is_read_however_it_is_indented() {
    let flat =
        r#"{"apiVersion":"v1","kind":"Node","metadata":{"name":"a","annotations":{"x":"\u00e4\/\ud834\udd1e"}}}"#;
    let tabs = "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Node\",\n\t\"metadata\": {\n\t\t\"name\": \"a\"\n\t}\n}\n";
    for text in [flat, tabs] {
        assert_eq!(objects(text).iter().map(Object::id).collect::<Vec<_>>(), [ObjectId::Node("a".into())], "{text}");
    }
    let json: serde_json::Value = serde_json::from_str(flat).unwrap();
    assert_eq!(manifest(flat).documents[0].to_json(), json);
    let problem = problems(&manifest(&tabs.replace("\"a\"", "1")));
    assert_eq!(problem, ["m.yaml:5:11: error: Node: metadata.name: must be a string, is the number 1; quote it"]);
}

#[test]
fn lists_are_flattened_and_hand_down_what_their_entries_leave_out() {
    let text = "apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Node, metadata: {name: a}}
- apiVersion: v1
  kind: NodeList
  metadata: {resourceVersion: '1'}
  items:
  - metadata: {name: b}
  - metadata: {name: c, name: d}
- apiVersion: example.com/v1
  kind: GuestList
  spec: {}
- null
";
    let manifest = manifest(text);
    assert_eq!(kinds_and_names(&manifest), ["Node a", "Node b", "Node c", "GuestList "]);
    assert_eq!(manifest.documents[1].origin.line, 9);
    assert_eq!(
        problems(&manifest),
        [
            "m.yaml:10:25: error: Node c: metadata.name: the key stands twice; first in line 10, column 16",
            "m.yaml:14:3: error: List: items[3]: must not be null",
        ]
    );
}

#[test]
fn what_is_no_object_is_an_error() {
    for (text, problem) in [
        ("- a", "m.yaml:1:1: error: must be a map, is a list"),
        ("text", r#"m.yaml:1:1: error: must be a map, is the text "text""#),
        ("kind: Pod", "m.yaml:1:1: error: Pod: apiVersion: is required"),
        ("apiVersion: v1", "m.yaml:1:1: error: kind: is required"),
        ("apiVersion: v1\nkind: 5", "m.yaml:2:7: error: kind: must be a string, is the number 5; quote it"),
        ("apiVersion: v1\nkind: ''", "m.yaml:2:7: error: kind: must not be empty"),
        ("apiVersion: v1\nkind: Node", "m.yaml:1:1: error: Node: metadata.name: is required"),
        ("apiVersion: v1\nkind: Node\nmetadata: {}", "m.yaml:3:11: error: Node: metadata.name: is required"),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {generateName: a-}",
            "m.yaml:3:11: error: Pod: metadata.name: is required: generateName names an object only when it is created",
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\nkind: Node",
            "m.yaml:3:1: error: ConfigMap: kind: the key stands twice; first in line 2, column 1",
        ),
    ] {
        let manifest = manifest(text);
        assert_eq!(problems(&manifest), [problem], "{text}");
        assert!(matches!(manifest.documents[0].content, Content::Invalid { .. }), "{text}");
    }
}

#[test]
fn other_kinds_are_passed_over_whatever_is_in_them() {
    let text =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: ns}\ndata: {a: 1, a: 2, ? [x] : y, b: !x z}\n";
    let manifest = manifest(text);
    assert_eq!(problems(&manifest), [""; 0]);
    assert_eq!(kinds_and_names(&manifest), ["ConfigMap ns/c"]);
    assert_eq!(manifest.documents[0].content, Content::Skipped);
}

#[test]
fn a_broken_document_does_not_take_the_others_along() {
    let text = format!("{NODE}---\nkind: [Node\n---\n{}", NODE.replace("name: a", "name: b"));
    let manifest = manifest(&text);
    assert!(manifest.has_syntax_error());
    assert_eq!(kinds_and_names(&manifest), ["Node a", "Node b"]);
    let problems = problems(&manifest);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0], "m.yaml:5:7: error: not valid YAML: unclosed bracket '['");
}

#[test]
fn the_text_of_an_object_comes_back_unchanged() {
    let text = "kind: ConfigMap\napiVersion: v1\nz: {b: 1, a: [true, ~, 'x', 1.5]}\nbase: &b {p: 1, q: 2}\nuse: {<<: *b, q: 3}\n";
    let json = manifest(text).documents[0].to_json().to_string();
    assert_eq!(
        json,
        r#"{"kind":"ConfigMap","apiVersion":"v1","z":{"b":1,"a":[true,null,"x",1.5]},"base":{"p":1,"q":2},"use":{"q":3,"p":1}}"#
    );
}

#[test]
fn aliases_and_merges_are_what_they_stand_for() {
    let text = "apiVersion: v1
kind: Namespace
metadata:
  name: &name shop
  labels: &labels {team: a, <<: {tier: &t front}}
---
apiVersion: v1
kind: Namespace
metadata: {name: &n b, labels: {<<: [{x: '1'}, {x: '2', z: *n}], x: '0', 1: one, true: two}}
";
    let found: Vec<_> = objects(text);
    let Object::Namespace(second) = &found[1] else { panic!() };
    let labels: Vec<_> = second.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(labels, ["1=one", "kubernetes.io/metadata.name=b", "true=two", "x=0", "z=b"]);
}

#[test]
fn what_json_cannot_hold_is_reported_with_its_place() {
    for (line, problem) in [
        ("x: {? [a] : b}", "m.yaml:4:7: error: Node a: x.[]: a key must be a text"),
        ("x: !!int abc", r#"m.yaml:4:10: error: Node a: x: \"abc\" is no int, as its tag says"#),
        ("x: !other [a]", r#"m.yaml:4:11: error: Node a: x: the tag \"!other\" has no meaning here"#),
        ("x: {<<: 5}", "m.yaml:4:5: error: Node a: x.<<: a merge takes a map or a list of maps"),
    ] {
        let found = problems(&manifest(&format!("{NODE}{line}\n")));
        assert_eq!(found, [problem.replace('\\', "")], "{line}");
    }
}

#[test]
fn bombs_are_refused() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let below = format!("*a{}, ", level - 1).repeat(10);
        writeln!(bomb, "a{level}: &a{level} [{below}]").unwrap();
    }
    let found = problems(&manifest(&bomb));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].ends_with("the aliases of this file stand for more than 250000 values"), "{found:?}");

    let chain: String = (1..300).map(|level| format!("a{level}: &a{level} [*a{}]\n", level - 1)).collect();
    let found = problems(&manifest(&format!("a0: &a0 []\n{chain}")));
    assert!(found[0].ends_with("lists and maps lie in each other more than 128 deep"), "{found:?}");

    for deep in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000), "? ".repeat(100_000)] {
        let manifest = manifest(&deep);
        assert!(manifest.has_syntax_error() && manifest.problems.len() == 1, "{:?}", manifest.problems);
    }
    assert!(manifest("a: &a [*a]").has_syntax_error());

    // What is closed again is refused for its depth alone, also where no one kind of bracket is too many.
    let nested = |dashes, brackets| format!("{}{}{}", "- ".repeat(dashes), "[".repeat(brackets), "]".repeat(brackets));
    assert!(!manifest(&nested(64, 64)).has_syntax_error());
    for (dashes, brackets) in [(64, 65), (100, 100), (0, 129), (129, 0)] {
        let manifest = manifest(&nested(dashes, brackets));
        assert!(manifest.has_syntax_error() && manifest.problems.len() == 1, "{:?}", manifest.problems);
    }
}

#[test]
fn namespaces_and_nodes() {
    let found = objects(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: x}}\n---\napiVersion: v1\nkind: Node\nmetadata: {name: n.example.com}\n",
    );
    let labels = [("team", "x")].into_iter().collect();
    let at = |line| Some(Origin { file: "m.yaml".into(), line, column: 1 });
    assert_eq!(
        found,
        [
            Object::Namespace(Namespace { origin: at(1), ..Namespace::new("shop", &labels) }),
            Object::Node(Node { name: "n.example.com".into(), origin: at(5) }),
        ]
    );
    let found = problems(&manifest("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a.b\n"));
    assert_eq!(
        found,
        [
            "m.yaml:4:9: error: Namespace a.b: metadata.name: must be lower case letters, digits and '-', with a letter or digit \
          at both ends, and at most 63 characters, is \"a.b\""
        ]
    );
}

#[test]
fn all_errors_of_a_file_are_reported_at_once_in_order() {
    let text = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: Web, namespace: shop, lables: {}}
spec:
  podSelectr: {}
  ingress:
  - form: []
    ports: [{port: 0}, {protocol: tcp}, {port: \"80\"}]
  - from: [{}, null, {ipBlock: {cidr: 10.0.0.1}}]
---
apiVersion: v1
kind: Pod
metadata: {name: p, labels: {a: 1}}
";
    let manifest = manifest(text);
    let places: Vec<_> = manifest
        .problems
        .iter()
        .map(|problem| {
            format!("{} {} {}", problem.origin.line, problem.object.as_ref().unwrap(), problem.path.as_ref().unwrap())
        })
        .collect();
    assert_eq!(
        places,
        [
            "3 NetworkPolicy shop/Web metadata.name",
            "3 NetworkPolicy shop/Web metadata.lables",
            "5 NetworkPolicy shop/Web spec.podSelectr",
            "7 NetworkPolicy shop/Web spec.ingress[0].form",
            "8 NetworkPolicy shop/Web spec.ingress[0].ports[0].port",
            "8 NetworkPolicy shop/Web spec.ingress[0].ports[1].protocol",
            "8 NetworkPolicy shop/Web spec.ingress[0].ports[2].port",
            "9 NetworkPolicy shop/Web spec.ingress[1].from[0]",
            "9 NetworkPolicy shop/Web spec.ingress[1].from[1]",
            "9 NetworkPolicy shop/Web spec.ingress[1].from[2].ipBlock.cidr",
            "13 Pod default/p metadata.labels[a]",
        ]
    );
}

#[test]
fn control_characters_do_not_get_into_messages() {
    let text = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: \"a\\e[31m\"}\n\"x\\e[0m\\n\": 1\nspec: {policyTypes: [\"\\e\"]}\n";
    let found = problems(&manifest(text));
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found.iter().all(|problem| !problem.contains(char::is_control)), "{found:?}");
}

#[test]
fn thousands_of_documents_load() {
    let mut text = String::new();
    for number in 0..5_000 {
        writeln!(
            text,
            "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p{number}, namespace: ns}}\nspec:\n  \
             podSelector: {{matchLabels: {{app: a{number}}}}}\n  ingress:\n  - from:\n    - podSelector: {{matchExpressions: \
             [{{key: x, operator: In, values: [a, b, c, d, e, f]}}]}}\n    - ipBlock: {{cidr: 10.0.0.0/8, except: [10.1.0.0/16, \
             10.2.0.0/16]}}\n    ports: [{{port: 80}}, {{port: 443, protocol: TCP}}, {{port: http}}]\n  # {}\n",
            "padding ".repeat(100)
        )
        .unwrap();
    }
    assert!(text.len() > 5_000_000);
    assert_eq!(objects(&text).len(), 5_000);
}

const RIGHT: &str = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop, labels: {a: b}}
spec:
  podSelector: {matchLabels: {app: web}, matchExpressions: [{key: a, operator: NotIn, values: [b, c]}]}
  policyTypes: [Ingress, Egress]
  ingress:
  - from: &peers
    - namespaceSelector: {}
      podSelector: {matchLabels: {app: db}}
    - ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}
    ports: [{port: 80, endPort: 90}, {port: dns, protocol: UDP}]
  egress: [{to: *peers}]
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, labels: {app: web}}
spec: {nodeName: a, containers: [{name: c, ports: [{name: http, containerPort: 80}]}]}
status: {phase: Running, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api}
spec: {replicas: 2, template: {metadata: {labels: {app: api}}, spec: {containers: []}}}
";

/// What must hold of any text: objects are sound, errors have a place in it, invalid documents have errors.
fn check(text: &str) -> Result<(), TestCaseError> {
    let manifest = manifest(text);
    let lines = u32::try_from(text.matches(['\n', '\r']).count()).unwrap() + 1;
    for problem in &manifest.problems {
        prop_assert!((1..=lines).contains(&problem.origin.line), "{problem}");
        prop_assert!(!problem.to_string().contains(char::is_control), "{problem:?}");
    }
    let mut valid = true;
    for document in &manifest.documents {
        document.to_json();
        match &document.content {
            Content::Objects(_) | Content::Skipped => {}
            Content::Invalid { closed, .. } => {
                valid = false;
                if let Some(policy) = closed {
                    prop_assert!(policy.closed);
                    prop_assert!(Direction::BOTH.iter().any(|direction| policy.rules(*direction).is_some()));
                    prop_assert!(
                        Direction::BOTH.iter().all(|direction| policy.rules(*direction).is_none_or(<[_]>::is_empty))
                    );
                }
            }
        }
    }
    prop_assert!(valid || manifest.errors().next().is_some());
    Ok(())
}

/// Pieces that manifests and YAML are made of.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "\n",
            "  ",
            "\t",
            "- ",
            ": ",
            "? ",
            "[",
            "]",
            "{",
            "}",
            "\"",
            "'",
            "&a ",
            "*a",
            "<<: ",
            "!!int ",
            "!x ",
            "|\n",
            ">-\n",
            "---\n",
            "...\n",
            "%YAML 1.1\n",
            "#",
            ",",
            "~",
            "spec:",
            "metadata:",
            "kind: ",
            "items:",
            "List",
            "NetworkPolicy",
            "0",
            "-1",
            "1e9",
            "99999999999999999999",
            "from:",
            "ports:",
            "\u{feff}",
            "\r\n",
            "\u{0}",
            "\u{85}",
            "ä",
            "\\x",
            "@",
            "`",
        ])
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ]
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        check(&text)?;
    }

    #[test]
    fn no_pieces_make_the_reader_panic(pieces in prop::collection::vec(piece(), 0..60)) {
        check(&pieces.concat())?;
    }

    #[test]
    fn no_change_of_a_right_manifest_makes_the_reader_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, piece()), 1..5),
    ) {
        let mut text: Vec<char> = RIGHT.chars().collect();
        for (place, drop, piece) in edits {
            let start = place.index(text.len() + 1);
            let end = (start + drop).min(text.len());
            text.splice(start..end, piece.chars());
        }
        check(&text.into_iter().collect::<String>())?;
    }
}

#[test]
fn the_manifest_that_is_changed_above_is_right() {
    let ids: Vec<_> = objects(RIGHT).iter().map(|object| object.id().to_string()).collect();
    assert_eq!(ids, ["NetworkPolicy shop/web", "Pod default/web-1", "Pod default/api-1", "Pod default/api-2"]);
}
