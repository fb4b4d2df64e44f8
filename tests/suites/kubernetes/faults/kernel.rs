//! What a node's kernel holds, and what it should hold.

use std::process::Command;

use lab::Namespace;
use podwall_tests::kubernetes::Api;
use podwall_tests::{finish, namespace, nft, run};
use serde_json::{Value, json};

/// What stands for the stamp of the present generation.
const GENERATION: &str = "the generation";
/// The bits of a connection's mark that are not ours.
const FOREIGN_BITS: u64 = 0x000f_ffff;

/// A table as nft lists it, made comparable: without handles, counts and owner, whatever order its objects were made in,
/// and whatever generation it is. None where there is none.
pub(super) fn held(node: &Namespace) -> Option<String> {
    let mut command = Command::new("nft");
    command.args(["--json", "list", "table", "inet", "podwall"]);
    let listed = node.run(|| finish(command, "")).unwrap();
    if listed.status != Some(0) {
        assert!(listed.stderr.contains("No such file or directory"), "{}", listed.stderr);
        return None;
    }
    let mut table: Value = serde_json::from_str(&listed.stdout).expect("nft prints JSON");
    let stamp = stamp(&table);
    tidy(&mut table, stamp);
    let mut objects: Vec<(String, &Value)> = table["nftables"].as_array().unwrap().iter().map(with_place).collect();
    // The rules of a chain stay in their order.
    objects.sort_by(|(left, _), (right, _)| left.cmp(right));
    Some(objects.into_iter().map(|(_, object)| format!("{object}\n")).collect())
}

/// What the table of a node should be: compiled from scratch from what the API server has, with the flags of the agents
/// of [`podwall_tests::kubernetes`], and listed by nft in a namespace that has nothing else. `read` is how a policy is
/// meant that the compiler would not take.
pub(super) fn wanted(api: &Api, node: &str, read: impl Fn(Value) -> Value) -> Option<String> {
    let kinds = [("Node", "v1"), ("Namespace", "v1"), ("Pod", "v1"), ("NetworkPolicy", "networking.k8s.io/v1")];
    let objects = kinds.iter().flat_map(|(kind, version)| {
        let objects = api.list(kind).unwrap_or_else(|error| panic!("{kind}: {error}"));
        objects.into_iter().map(|mut object| {
            object["apiVersion"] = (*version).into();
            read(object)
        })
    });
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects.collect::<Vec<_>>()});
    let arguments = ["compile", "-f", "-", "--node", node, "--pod-interface", "cni0", "--unknown-pods", "drop"];
    let rules = run(&arguments, &list.to_string()).expect(0).stdout;
    let scratch = namespace("scratch");
    nft(&scratch, &["-f", "-"], &rules);
    held(&scratch)
}

/// The generation that a table is of, as its connections are stamped.
fn stamp(table: &Value) -> Option<u64> {
    let rules = table["nftables"].as_array().expect("a list of objects").iter().map(|object| &object["rule"]);
    let mut known = rules.filter(|rule| rule["chain"] == "conn_established");
    // nft takes the bits that are looked at for a prefix of the mark.
    known.find_map(|rule| rule["expr"][0]["match"]["right"]["prefix"]["addr"].as_u64())
}

fn tidy(value: &mut Value, stamp: Option<u64>) {
    match value {
        // nft lets a mask keep the bits that are set afterwards.
        Value::Number(number)
            if stamp.is_some_and(|stamp| [stamp, stamp | FOREIGN_BITS].map(Some).contains(&number.as_u64())) =>
        {
            *value = GENERATION.into();
        }
        Value::Object(fields) => {
            for key in ["handle", "packets", "bytes"] {
                fields.remove(key);
            }
            if let Some(table) = fields.get_mut("table").and_then(Value::as_object_mut) {
                table.remove("flags");
            }
            if let Some(Value::Array(elements)) = fields.get_mut("elem") {
                elements.iter_mut().for_each(|element| tidy(element, stamp));
                elements.sort_by_cached_key(Value::to_string);
            }
            fields.values_mut().for_each(|value| tidy(value, stamp));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| tidy(item, stamp)),
        _ => (),
    }
}

/// An object and what it is sorted by.
fn with_place(object: &Value) -> (String, &Value) {
    let (kind, fields) = object.as_object().and_then(|object| object.iter().next()).expect("an object of one field");
    let name = [&fields["chain"], &fields["name"]].into_iter().find_map(Value::as_str).unwrap_or_default();
    (format!("{kind} {name}"), object)
}
