//! Policies with mistakes, each of which is one of those that validation is for (rules 146-170), or nearly one.

use std::fmt;

use policy_compiler::model::Object;
use policy_compiler::render;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Size, policies};

/// What may come to stand in a field: JSON, or nothing at all.
struct Break {
    /// The field's map, by the key under which it is, or in whose list it is; nothing for the whole policy.
    maps: &'static [&'static str],
    field: &'static str,
    values: &'static [&'static str],
}

/// The field goes.
const GONE: &str = "";
const POLICY: &[&str] = &[""];
const RULES: &[&str] = &["ingress", "egress"];
const PEERS: &[&str] = &["from", "to"];
const SELECTORS: &[&str] = &["podSelector", "namespaceSelector"];
const EXPRESSIONS: &[&str] = &["matchExpressions"];
/// Neither a map, nor a list, nor a text, nor a number.
const TYPES: &[&str] = &["{}", "[]", r#""x""#, "7", "true"];
const LONG: &str = "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"";

const BREAKS: &[Break] = &[
    Break { maps: POLICY, field: "metadata", values: &["{}", "[]", r#""x""#, GONE] },
    Break { maps: POLICY, field: "spec", values: TYPES },
    Break { maps: POLICY, field: "spec", values: &["null", GONE] },
    Break { maps: POLICY, field: "specs", values: &["{}"] },
    Break {
        maps: &["metadata"],
        field: "name",
        values: &[
            GONE,
            "null",
            r#""""#,
            r#""Web""#,
            r#""a.b-1""#,
            r#""-a""#,
            r#""a-""#,
            r#""a..b""#,
            r#""a_b""#,
            r#""a/b""#,
            r#"".""#,
            r#""ä""#,
            "7",
            "{}",
            LONG,
        ],
    },
    Break { maps: &["metadata"], field: "namespace", values: &[GONE, "null", r#""""#, "7"] },
    Break { maps: &["metadata"], field: "nme", values: &[r#""x""#] },
    Break {
        maps: &["metadata"],
        field: "labels",
        values: &[
            "null",
            "{}",
            "[]",
            r#"{"a": "b"}"#,
            r#"{"a": ""}"#,
            r#"{"a": 1}"#,
            r#"{"a": true}"#,
            r#"{"a": {}}"#,
            r#"{"a b": "c"}"#,
            r#"{"": "c"}"#,
            r#"{"a/b/c": "d"}"#,
            r#"{"/a": "d"}"#,
            r#"{"A.example/b": "d"}"#,
            r#"{"a.example/B": "d"}"#,
            r#"{"a": "b c"}"#,
            r#"{"a": "-b"}"#,
            r#"{"a": "b/c"}"#,
        ],
    },
    Break {
        maps: &["metadata"],
        field: "annotations",
        values: &[
            "null",
            "[]",
            r#"{"a": "any text: ä"}"#,
            r#"{"a": 1}"#,
            r#"{"a b": "c"}"#,
            r#"{"A.Example/b": "c"}"#,
            r#"{"": "c"}"#,
        ],
    },
    Break { maps: &["metadata"], field: "finalizers", values: &["[]", r#"["example.com/a"]"#, "[7]", r#""x""#] },
    Break { maps: &["metadata"], field: "creationTimestamp", values: &["null", r#""2026-01-02T03:04:05Z""#, "7"] },
    Break { maps: &["metadata"], field: "generation", values: &["1", r#""x""#] },
    Break { maps: &["spec"], field: "podSelector", values: TYPES },
    Break { maps: &["spec"], field: "podSelector", values: &["null", GONE] },
    Break { maps: &["spec"], field: "podSelectr", values: &["{}", "null"] },
    Break {
        maps: &["spec"],
        field: "policyTypes",
        values: &[
            GONE,
            "null",
            "[]",
            r#"["Ingress"]"#,
            r#"["Egress"]"#,
            r#"["Ingress", "Ingress"]"#,
            r#"["ingress"]"#,
            r#"["Foo"]"#,
            r#"["Foo", "Ingress"]"#,
            r#"[""]"#,
            "[7]",
            "[[]]",
            "{}",
            r#""Ingress""#,
            r#"["Ingress", "Egress", "Ingress"]"#,
            r#"["Foo", "Ingress", "Egress"]"#,
        ],
    },
    Break { maps: &["spec"], field: "ingress", values: TYPES },
    Break { maps: &["spec"], field: "egress", values: TYPES },
    Break { maps: &["spec"], field: "ingress", values: &["null", "[{}]", "[[]]", "[7]"] },
    Break { maps: &["spec"], field: "egress", values: &["null", "[{}]", r#"[{"from": []}]"#] },
    Break { maps: &["ingress"], field: "from", values: TYPES },
    Break { maps: &["egress"], field: "to", values: TYPES },
    Break { maps: &["ingress"], field: "from", values: &[GONE, "null", "[{}]", "[[]]"] },
    Break { maps: &["egress"], field: "to", values: &[GONE, "null", "[{}]", r#"["x"]"#] },
    Break { maps: &["ingress"], field: "to", values: &["[]", r#"[{"podSelector": {}}]"#] },
    Break { maps: &["egress"], field: "from", values: &["[]"] },
    Break { maps: RULES, field: "ports", values: TYPES },
    Break { maps: RULES, field: "ports", values: &["null", "[{}]", "[[]]", "[80]"] },
    Break { maps: PEERS, field: "ipBlock", values: TYPES },
    Break {
        maps: PEERS,
        field: "ipBlock",
        values: &["null", r#"{"cidr": "10.0.0.0/8"}"#, r#"{"cidr": "fd00::/8", "except": []}"#, GONE],
    },
    Break { maps: PEERS, field: "podSelector", values: &[GONE, "null", "{}", "[]", r#""x""#] },
    Break { maps: PEERS, field: "namespaceSelector", values: &[GONE, "null", "{}", "[]", "7"] },
    Break { maps: PEERS, field: "namespaceSelctor", values: &["{}"] },
    Break {
        maps: &["ipBlock"],
        field: "cidr",
        values: &[
            GONE,
            "null",
            r#""""#,
            r#"" ""#,
            "7",
            "{}",
            r#""10.0.0.0/8""#,
            r#""10.0.0.1/8""#,
            r#""010.0.0.0/8""#,
            r#""10.0.0.0/08""#,
            r#""10.0.0.0""#,
            r#""10.0.0.0/33""#,
            r#""10.0.0.0/-1""#,
            r#""10.0.0.0/+8""#,
            r#""10.0.0/8""#,
            r#""10.0.0.0/255.0.0.0""#,
            r#"" 10.0.0.0/8""#,
            r#""10.0.0.0/8 ""#,
            r#""300.0.0.0/8""#,
            r#""0x10.0.0.0/8""#,
            r#""0.0.0.0/0""#,
            r#""fd00::/8""#,
            r#""FD00::/8""#,
            r#""fd00:0:0::/8""#,
            r#""fd00::1/8""#,
            r#""fd00::""#,
            r#""fd00::/129""#,
            r#""::/0""#,
            r#""fd00::%eth0/64""#,
            r#""::ffff:10.0.0.0/104""#,
            r#""::ffff:10.0.0.0/8""#,
            r#""::ffff:10.0.0.0/96""#,
            r#""::10.0.0.0/104""#,
            r#""::ffff:0a00:0/104""#,
            r#""any""#,
        ],
    },
    Break {
        maps: &["ipBlock"],
        field: "except",
        values: &[
            GONE,
            "null",
            "[]",
            "{}",
            r#""10.1.0.0/16""#,
            "[7]",
            r#"[""]"#,
            r#"[" "]"#,
            r#"["300.300.300.300"]"#,
            r#"["10.1.0.0/16"]"#,
            r#"["10.1.0.1/16"]"#,
            r#"["10.0.0.0/8"]"#,
            r#"["10.0.0.0/7"]"#,
            r#"["11.0.0.0/16"]"#,
            r#"["fd00:1::/32"]"#,
            r#"["10.1.0.0/16", "10.1.0.0/16"]"#,
            r#"["10.1.0.0/16", "10.1.1.0/24"]"#,
            r#"["10.1.2.3"]"#,
            r#"["010.1.0.0/16"]"#,
            r#"["::ffff:10.1.0.0/112"]"#,
            r#"["10.1.0.0/16", "x", "y"]"#,
        ],
    },
    Break { maps: &["ipBlock"], field: "exept", values: &["[]"] },
    Break {
        maps: &["ports"],
        field: "protocol",
        values: &[GONE, "null", r#""TCP""#, r#""UDP""#, r#""SCTP""#, r#""tcp""#, r#""ICMP""#, r#""""#, "6", "{}"],
    },
    Break {
        maps: &["ports"],
        field: "port",
        values: &[
            GONE,
            "null",
            "0",
            "1",
            "80",
            "65535",
            "65536",
            "-1",
            "70000",
            "4294967376",
            "1e2",
            "80.0",
            "80.5",
            r#""http""#,
            r#""80""#,
            r#""0""#,
            r#""-1""#,
            r#""8a""#,
            r#""HTTP""#,
            r#""Http_x""#,
            r#""a--b""#,
            r#""-a""#,
            r#""a-""#,
            r#""abcdefghijklmno""#,
            r#""abcdefghijklmnop""#,
            r#""""#,
            r#""80-90""#,
            "true",
            "{}",
            "[]",
            LONG,
        ],
    },
    Break {
        maps: &["ports"],
        field: "endPort",
        values: &[
            GONE,
            "null",
            "0",
            "1",
            "80",
            "65535",
            "65536",
            "-1",
            "70000",
            "4294967376",
            "90.0",
            "90.5",
            r#""90""#,
            r#""http""#,
            "true",
            "{}",
        ],
    },
    Break { maps: &["ports"], field: "portt", values: &["80"] },
    Break {
        maps: SELECTORS,
        field: "matchLabels",
        values: &[
            GONE,
            "null",
            "{}",
            "[]",
            r#""x""#,
            r#"{"a": "b"}"#,
            r#"{"a": ""}"#,
            r#"{"a": 1}"#,
            r#"{"a": true}"#,
            r#"{"a b": "c"}"#,
            r#"{"": "c"}"#,
            r#"{"a/b/c": "d"}"#,
            r#"{"a": "b c"}"#,
            r#"{"a": "-b"}"#,
            r#"{"a b": "c d"}"#,
        ],
    },
    Break { maps: SELECTORS, field: "matchExpressions", values: &[GONE, "null", "[]", "{}", r#""x""#, "[{}]", "[[]]"] },
    Break { maps: SELECTORS, field: "matchLabel", values: &["{}"] },
    Break { maps: SELECTORS, field: "app", values: &[r#""web""#] },
    Break {
        maps: EXPRESSIONS,
        field: "key",
        values: &[GONE, "null", r#""""#, r#""a b""#, r#""a.example/b""#, r#""a/b/c""#, "7", LONG],
    },
    Break {
        maps: EXPRESSIONS,
        field: "operator",
        values: &[
            GONE,
            "null",
            r#""""#,
            r#""In""#,
            r#""NotIn""#,
            r#""Exists""#,
            r#""DoesNotExist""#,
            r#""in""#,
            r#""Gt""#,
            r#""Equals""#,
            "7",
        ],
    },
    Break {
        maps: EXPRESSIONS,
        field: "values",
        values: &[
            GONE,
            "null",
            "[]",
            r#"["a"]"#,
            r#"[""]"#,
            r#"["a", "a"]"#,
            r#"["a b"]"#,
            r#"["-"]"#,
            r#"["a", "b c", "d e"]"#,
            "[7]",
            "[true]",
            "{}",
            r#""a""#,
        ],
    },
    Break { maps: EXPRESSIONS, field: "value", values: &[r#""a""#] },
];

/// A policy as a document, with mistakes or without.
#[derive(Clone)]
pub struct PolicyDocument(pub Value);

impl fmt::Debug for PolicyDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&render::yaml::documents(std::slice::from_ref(&self.0)))
    }
}

/// A random policy with up to three mistakes.
pub fn policy_document() -> impl Strategy<Value = PolicyDocument> {
    let policy = policies::policy(Size::JUDGED.ports)
        .prop_map(|policy| render::manifest::object(&Object::Policy(policy.into())));
    let edits =
        prop::collection::vec((0..BREAKS.len(), any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..=3);
    (policy, edits).prop_map(|(mut policy, edits)| {
        for (number, place, value) in edits {
            let places = BREAKS[number].places(&policy);
            if !places.is_empty() {
                let values = BREAKS[number].values;
                BREAKS[number].put(&mut policy, place.get::<String>(&places), value.get::<&str>(values));
            }
        }
        PolicyDocument(policy)
    })
}

/// A policy with one of everything, and it again with each of the mistakes wherever it can be made.
pub fn every_break() -> Vec<PolicyDocument> {
    let sound = with_everything();
    let mut documents = vec![PolicyDocument(sound.clone())];
    for one in BREAKS {
        let places = one.places(&sound);
        assert!(!places.is_empty(), "there is no place to break {}", one.field);
        for (place, value) in places.iter().flat_map(|place| one.values.iter().map(move |value| (place, value))) {
            let mut broken = sound.clone();
            one.put(&mut broken, place, value);
            documents.push(PolicyDocument(broken));
        }
    }
    documents
}

fn with_everything() -> Value {
    let selector = json!({
        "matchLabels": {"app": "web"},
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["a", "b"]},
            {"key": "example.com/old", "operator": "DoesNotExist"},
        ],
    });
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"namespace": "default", "name": "p", "labels": {"app": "web"}},
        "spec": {
            "podSelector": selector,
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{
                "from": [
                    {"podSelector": {}, "namespaceSelector": {"matchLabels": {"team": "a"}}},
                    {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
                ],
                "ports": [{"protocol": "TCP", "port": 80, "endPort": 90}, {"port": "http"}],
            }],
            "egress": [{"to": [{"podSelector": {}}], "ports": [{"protocol": "UDP"}]}],
        },
    })
}

impl Break {
    /// Where it can be made: pointers to maps.
    fn places(&self, policy: &Value) -> Vec<String> {
        let mut places = Vec::new();
        collect(policy, "", &mut String::new(), &mut |key, pointer| {
            if self.maps.contains(&key) {
                places.push(pointer.to_owned());
            }
        });
        places
    }

    fn put(&self, policy: &mut Value, place: &str, value: &str) {
        let Some(Value::Object(map)) = policy.pointer_mut(place) else { panic!("{place} is a map") };
        if value == GONE {
            map.shift_remove(self.field);
        } else {
            map.insert(self.field.to_owned(), serde_json::from_str(value).expect("it is JSON"));
        }
    }
}

/// Tells every map: the key that it, or the list that it is in, has, and where it is.
fn collect(value: &Value, key: &str, pointer: &mut String, tell: &mut impl FnMut(&str, &str)) {
    let mut inside = |step: &str, key: &str, value: &Value| {
        let length = pointer.len();
        pointer.push('/');
        // As pointers want it.
        pointer.push_str(&step.replace('~', "~0").replace('/', "~1"));
        collect(value, key, pointer, tell);
        pointer.truncate(length);
    };
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| inside(&index.to_string(), key, item));
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(field, value)| inside(field, field, value));
            tell(key, pointer);
        }
        _ => {}
    }
}
