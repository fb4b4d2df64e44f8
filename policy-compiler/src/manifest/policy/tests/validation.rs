//! What is refused, with which words and where.

use super::*;

#[test]
fn rules_146_and_147_metadata() {
    let allowed = "must be lower case letters, digits, '-' and '.', with a letter or digit at both ends of each part, and at \
                   most 253 characters";
    let label =
        "must be lower case letters, digits and '-', with a letter or digit at both ends, and at most 63 characters";
    let key = "the key must be at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends, perhaps \
               after a DNS name and '/', such as example.com/role";
    let value = "must be empty, or at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends";
    for (metadata, problem) in [
        ("{name: Web}", format!("3:18: error: NetworkPolicy Web: metadata.name: {allowed}, is \"Web\"")),
        ("{name: 1}", "3:18: error: NetworkPolicy: metadata.name: must be a string, is the number 1; quote it".into()),
        ("{name: ''}", "3:11: error: NetworkPolicy: metadata.name: is required".into()),
        (
            "{name: a, namespace: b.c}",
            format!("3:32: error: NetworkPolicy b.c/a: metadata.namespace: {label}, is \"b.c\""),
        ),
        (
            "{name: a, labels: {b: -c}}",
            format!("3:33: error: NetworkPolicy default/a: metadata.labels[b]: {value}, is \"-c\""),
        ),
        (
            "{name: a, labels: {/b: c}}",
            format!("3:34: error: NetworkPolicy default/a: metadata.labels[/b]: {key}, is \"/b\""),
        ),
        (
            "{name: a, labels: {b: 1.5}}",
            "3:33: error: NetworkPolicy default/a: metadata.labels[b]: must be a string, is the number 1.5; quote it"
                .into(),
        ),
        (
            "{name: a, labels: {b: yes}}",
            "3:33: error: NetworkPolicy default/a: metadata.labels[b]: must be a string, is the boolean yes; quote it"
                .into(),
        ),
        (
            "{name: a, labels: {b: ~}}",
            "3:33: error: NetworkPolicy default/a: metadata.labels[b]: must not be null".into(),
        ),
        (
            "{name: a, labels: [b]}",
            "3:29: error: NetworkPolicy default/a: metadata.labels: must be a map, is a list".into(),
        ),
        (
            "{name: a, annotations: {B_: c}}",
            format!("3:39: error: NetworkPolicy default/a: metadata.annotations[B_]: {key}, is \"b_\""),
        ),
        (
            "{name: a, generation: x}",
            "3:33: error: NetworkPolicy default/a: metadata.generation: must be a whole number, is the text \"x\""
                .into(),
        ),
        (
            "{name: a, finalizers: [b, 1]}",
            "3:37: error: NetworkPolicy default/a: metadata.finalizers[1]: must be a string, is the number 1; quote it"
                .into(),
        ),
        ("{name: a, clusterName: b}", "3:21: error: NetworkPolicy a: metadata.clusterName: unknown field".into()),
        (
            "{name: a, lables: {}}",
            "3:21: error: NetworkPolicy a: metadata.lables: unknown field; did you mean labels?".into(),
        ),
        ("[]", "3:11: error: NetworkPolicy: metadata: must be a map, is a list".into()),
    ] {
        let text = format!("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {metadata}\n");
        assert_eq!(problems(&manifest(&text)), [format!("m.yaml:{problem}")], "{metadata}");
    }
}

#[test]
fn rule_147_annotations_have_a_limit() {
    let text = |length| {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: a, annotations: {{B: {}}}}}\n",
            "x".repeat(length)
        )
    };
    assert_eq!(problems(&manifest(&text(256 * 1024 - 1))), [""; 0]);
    assert_eq!(
        problems(&manifest(&text(256 * 1024))),
        ["m.yaml:3:34: error: NetworkPolicy default/a: metadata.annotations: must be at most 262144 bytes, is 262145"]
    );
}

#[test]
fn metadata_of_live_objects_is_accepted() {
    let metadata = "metadata:
  name: a
  generateName: a-
  uid: 3f1c
  resourceVersion: '12'
  generation: 3
  creationTimestamp: 2024-01-02T03:04:05Z
  deletionTimestamp: ~
  deletionGracePeriodSeconds: 30
  selfLink: /x
  finalizers: [x/y]
  ownerReferences: [{apiVersion: v1, kind: Pod, name: p, uid: u}]
  managedFields: [{manager: kubectl, fieldsV1: {'f:spec': {}}}]
  annotations: {kubectl.kubernetes.io/last-applied-configuration: '{}'}
status: {conditions: [1, {}], x: {}}
";
    parsed(&format!("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n{metadata}"));
}

#[test]
fn rule_149_to_154_selectors() {
    let key = "must be at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends, perhaps after a DNS \
               name and '/', such as example.com/role";
    let value = "must be empty, or at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends";
    for (selector, problem) in [
        ("{matchLabels: {a_: b}}", format!("5:35: podSelector.matchLabels[a_]: the key {key}, is \"a_\"")),
        ("{matchLabels: {a: b c}}", format!("5:34: podSelector.matchLabels[a]: {value}, is \"b c\"")),
        (
            "{matchLabels: {a: 123}}",
            "5:34: podSelector.matchLabels[a]: must be a string, is the number 123; quote it".into(),
        ),
        (
            "{matchLabels: {a: true}}",
            "5:34: podSelector.matchLabels[a]: must be a string, is the boolean true; quote it".into(),
        ),
        (
            "{matchLabels: {a: on}}",
            "5:34: podSelector.matchLabels[a]: must be a string, is the boolean on; quote it".into(),
        ),
        ("{matchLabels: {a: }}", "5:32: podSelector.matchLabels[a]: must not be null".into()),
        (
            "{matchLabels: {a: b, a: b}}",
            "5:37: podSelector.matchLabels[a]: the key stands twice; first in line 5, column 31".into(),
        ),
        ("{matchlabels: {}}", "5:17: podSelector.matchlabels: unknown field; did you mean matchLabels?".into()),
        ("{app: web}", "5:17: podSelector.app: unknown field".into()),
        ("web", "5:16: podSelector: must be a map, is the text \"web\"".into()),
        ("{matchExpressions: {}}", "5:35: podSelector.matchExpressions: must be a list, is a map".into()),
        ("{matchExpressions: [~]}", "5:36: podSelector.matchExpressions[0]: must not be null".into()),
        ("{matchExpressions: [a]}", "5:36: podSelector.matchExpressions[0]: must be a map, is the text \"a\"".into()),
        ("{matchExpressions: [{operator: Exists}]}", "5:36: podSelector.matchExpressions[0].key: is required".into()),
        ("{matchExpressions: [{key: a}]}", "5:36: podSelector.matchExpressions[0].operator: is required".into()),
        (
            "{matchExpressions: [{key: '', operator: Exists}]}",
            format!("5:42: podSelector.matchExpressions[0].key: {key}, is \"\""),
        ),
        (
            "{matchExpressions: [{key: a, operator: in, values: [b]}]}",
            "5:55: podSelector.matchExpressions[0].operator: must be In, NotIn, Exists or DoesNotExist, is \"in\""
                .into(),
        ),
        (
            "{matchExpressions: [{key: a, operator: Gt, values: ['1']}]}",
            "5:55: podSelector.matchExpressions[0].operator: must be In, NotIn, Exists or DoesNotExist, is \"Gt\""
                .into(),
        ),
        (
            "{matchExpressions: [{key: a, operator: In}]}",
            "5:36: podSelector.matchExpressions[0].values: must not be empty with the operator In".into(),
        ),
        (
            "{matchExpressions: [{key: a, operator: NotIn, values: []}]}",
            "5:36: podSelector.matchExpressions[0].values: must not be empty with the operator NotIn".into(),
        ),
        (
            "{matchExpressions: [{key: a, operator: Exists, values: [b]}]}",
            "5:71: podSelector.matchExpressions[0].values: must not be there with the operator Exists".into(),
        ),
        (
            "{matchExpressions: [{key: a, operator: DoesNotExist, values: [b]}]}",
            "5:77: podSelector.matchExpressions[0].values: must not be there with the operator DoesNotExist".into(),
        ),
        (
            "{matchExpressions: [{key: a, operator: In, values: [b, -c]}]}",
            format!("5:71: podSelector.matchExpressions[0].values[1]: {value}, is \"-c\""),
        ),
        (
            "{matchExpressions: [{key: a, operator: In, values: [~]}]}",
            "5:68: podSelector.matchExpressions[0].values[0]: must not be null".into(),
        ),
        (
            "{matchExpressions: [{key: a, operator: In, values: b}]}",
            "5:67: podSelector.matchExpressions[0].values: must be a list, is the text \"b\"".into(),
        ),
    ] {
        assert_eq!(complaints(&format!("podSelector: {selector}")), [problem], "{selector}");
    }
    for list in ["podSelector", "namespaceSelector"] {
        let problem = format!("{}: .{list}.x: unknown field", list.len() + 5);
        assert_eq!(peer_complaints(&format!("{{{list}: {{x: 1}}}}")), [problem]);
    }
}

#[test]
fn rule_155_protocols() {
    for protocol in ["tcp", "ICMP", "", " TCP"] {
        let problem = format!("12: .protocol: must be TCP, UDP or SCTP, is \"{protocol}\"");
        assert_eq!(port_complaints(&format!("{{protocol: '{protocol}'}}")), [problem]);
    }
    assert_eq!(port_complaints("{protocol: 6}"), ["12: .protocol: must be a string, is the number 6; quote it"]);
}

#[test]
fn rule_156_numbers_of_ports() {
    for port in ["0", "-1", "65536", "4294967376"] {
        let problem = format!("8: .port: must be between 1 and 65535, is {port}");
        assert_eq!(port_complaints(&format!("{{port: {port}}}")), [problem]);
    }
    for (port, is) in
        [("80.0", "the number 80.0"), ("1e2", "the number 1e2"), ("true", "the boolean true"), ("[80]", "a list")]
    {
        let what = if is.starts_with("the number") { "a whole number" } else { "a number or a name" };
        assert_eq!(port_complaints(&format!("{{port: {port}}}")), [format!("8: .port: must be {what}, is {is}")]);
    }
}

#[test]
fn rule_157_names_of_ports() {
    assert_eq!(
        port_complaints("{port: '80'}"),
        ["8: .port: must be a number or a name, is \"80\", which in quotes is neither; unquote it: 80"]
    );
    for name in ["HTTP", "", "a--b", "-a", "much-too-long-for-a-port"] {
        let problem = format!(
            "8: .port: must be 1 to 15 lower case letters, digits and '-', with a letter among them, no '-' at an end and no \
             '--', is \"{name}\""
        );
        assert_eq!(port_complaints(&format!("{{port: '{name}'}}")), [problem]);
    }
}

#[test]
fn rule_158_end_port_without_port() {
    assert_eq!(port_complaints("{endPort: 80}"), ["11: .endPort: must not be there without port"]);
}

#[test]
fn rule_159_end_port_with_a_name() {
    assert_eq!(port_complaints("{port: http, endPort: 80}"), ["23: .endPort: must not be there with a named port"]);
    let found = port_complaints("{port: '80', endPort: 90}");
    assert_eq!(found[1..], ["23: .endPort: must not be there with a named port"], "whatever the name");
}

#[test]
fn rule_160_end_port_below_port_or_out_of_bounds() {
    assert_eq!(port_complaints("{port: 80, endPort: 79}"), ["21: .endPort: must be at least port, which is 80, is 79"]);
    assert_eq!(port_complaints("{port: 80, endPort: 65537}"), ["21: .endPort: must be between 1 and 65535, is 65537"]);
    assert_eq!(port_complaints("{port: 80, endPort: 0}"), ["21: .endPort: must be between 1 and 65535, is 0"]);
    assert_eq!(
        port_complaints("{port: 80, endPort: '90'}"),
        ["21: .endPort: must be a whole number, is the text \"90\"; unquote it: 90"]
    );
    assert_eq!(
        port_complaints("{port: 70000, endPort: 90}"),
        [
            "8: .port: must be between 1 and 65535, is 70000",
            "24: .endPort: must be at least port, which is 70000, is 90"
        ]
    );
}

#[test]
fn rule_161_a_peer_must_say_something() {
    for peer in ["{}", "{podSelector: ~}", "{namespaceSelector: , ipBlock: }"] {
        assert_eq!(
            peer_complaints(peer),
            ["1: : must have a podSelector, a namespaceSelector or an ipBlock"],
            "{peer}"
        );
    }
    // One complaint is enough where it is clear what was meant.
    assert_eq!(
        peer_complaints("{namespaceSelctor: {}}"),
        ["2: .namespaceSelctor: unknown field; did you mean namespaceSelector?"]
    );
}

#[test]
fn rule_162_an_ip_block_stands_alone() {
    for other in ["podSelector", "namespaceSelector"] {
        let problem =
            "1: : must not have an ipBlock beside podSelector or namespaceSelector; make it an entry of its own";
        assert_eq!(peer_complaints(&format!("{{{other}: {{}}, ipBlock: {{cidr: 10.0.0.0/8}}}}")), [problem]);
    }
}

#[test]
fn rule_163_cidrs() {
    for block in ["{}", "{cidr: }", "{except: []}"] {
        assert_eq!(peer_complaints(&format!("{{ipBlock: {block}}}")), ["11: .ipBlock.cidr: is required"], "{block}");
    }
    for cidr in ["", "192.168.5.6", "fd00:192:168::"] {
        let problem = format!(
            "18: .ipBlock.cidr: \"{cidr}\" has no prefix length: must be ADDRESS/LENGTH, such as 10.9.8.0/24 or 2001:db8::/64"
        );
        assert_eq!(peer_complaints(&format!("{{ipBlock: {{cidr: '{cidr}'}}}}")), [problem]);
    }
    for cidr in ["10.0.0.0/33", "10.0.0/8", "x/8", " 10.0.0.0/8"] {
        let problem = format!(
            "18: .ipBlock.cidr: \"{cidr}\" is not a CIDR: must be ADDRESS/LENGTH, such as 10.9.8.0/24 or 2001:db8::/64"
        );
        assert_eq!(peer_complaints(&format!("{{ipBlock: {{cidr: '{cidr}'}}}}")), [problem]);
    }
    assert_eq!(
        peer_complaints("{ipBlock: {cidr: [10.0.0.0/8], excepts: []}}"),
        ["18: .ipBlock.cidr: must be a string, is a list", "32: .ipBlock.excepts: unknown field; did you mean except?"]
    );
}

#[test]
fn rule_164_excepts_are_cidrs() {
    for except in ["", " ", "300.300.300.300", "300.300.300.300/8"] {
        let found = peer_complaints(&format!("{{ipBlock: {{cidr: 10.0.0.0/8, except: ['{except}']}}}}"));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with(&format!("39: .ipBlock.except[0]: \"{except}\" ")), "{found:?}");
    }
    assert_eq!(
        peer_complaints("{ipBlock: {cidr: 10.0.0.0/8, except: [~]}}"),
        ["39: .ipBlock.except[0]: must not be null"]
    );
}

#[test]
fn rule_165_excepts_lie_inside_and_are_smaller() {
    for except in ["10.0.0.0/8", "0.0.0.0/0", "11.0.0.0/16", "fd00::/64"] {
        let problem = format!("39: .ipBlock.except[0]: must lie in the cidr 10.0.0.0/8 and be smaller, is {except}");
        assert_eq!(peer_complaints(&format!("{{ipBlock: {{cidr: 10.0.0.0/8, except: ['{except}']}}}}")), [problem]);
    }
    // Prefixes are compared as they are written.
    let found = peer_complaints("{ipBlock: {cidr: '::ffff:10.0.0.0/104', except: [10.1.0.0/16]}}");
    assert_eq!(found[1..], ["50: .ipBlock.except[0]: must be IPv4-mapped as the cidr is; better write both as IPv4"]);
    for (cidr, except) in [("10.0.0.0/8", "::ffff:10.0.0.0/104"), ("::ffff:10.0.0.0/104", "::ffff:10.1.0.0/112")] {
        let found = peer_complaints(&format!("{{ipBlock: {{cidr: '{cidr}', except: ['{except}']}}}}"));
        assert!(found.iter().all(|complaint| complaint.contains("is an IPv4-mapped IPv6 block")), "{found:?}");
    }
}

#[test]
fn rule_166_policy_types() {
    for (types, problem) in [
        ("[ingress]", "5:17: policyTypes[0]: must be Ingress or Egress, is \"ingress\""),
        ("[Ingress, ~]", "5:26: policyTypes[1]: must not be null"),
        ("Ingress", "5:16: policyTypes: must be a list, is the text \"Ingress\""),
        ("[Ingress, Egress, Egress]", "5:16: policyTypes: must have at most 2 entries, has 3"),
        ("[ingress, Ingress, Egress]", "5:16: policyTypes: must have at most 2 entries, has 3"),
    ] {
        assert_eq!(complaints(&format!("policyTypes: {types}")), [problem]);
    }
}

#[test]
fn rules_167_and_168_oddities_are_warnings_or_errors() {
    for (cidr, message) in [
        ("10.1.2.3/8", "has address bits set beyond its prefix; it means 10.0.0.0/8"),
        ("010.0.0.0/8", "has leading zeros, which are read as decimal; it means 10.0.0.0/8"),
        ("::ffff:10.0.0.0/104", "is an IPv4-mapped IPv6 block; it means 10.0.0.0/8"),
    ] {
        let text = with_spec(&format!("ingress:\n- from:\n  - ipBlock: {{cidr: '{cidr}'}}"));
        let legacy = manifest(&text);
        let place = "NetworkPolicy shop/web: spec.ingress[0].from[0].ipBlock.cidr";
        assert_eq!(problems(&legacy), [format!("m.yaml:7:23: warning: {place}: \"{cidr}\" {message}")]);
        assert!(matches!(legacy.documents[0].content, Content::Objects(_)));
        let strict = read_text(&"m.yaml".into(), &text, CidrRules::Strict);
        assert_eq!(problems(&strict), [format!("m.yaml:7:23: error: {place}: \"{cidr}\" {message}")]);
        assert!(matches!(strict.documents[0].content, Content::Invalid { .. }));
    }
}

#[test]
fn rule_86_a_block_that_its_excepts_use_up_is_warned_of() {
    let spec = |except| format!("ingress:\n- from:\n  - ipBlock: {{cidr: 10.0.0.0/24, except: [{except}]}}");
    let complaints = complaints(&spec("10.0.0.0/25, 10.0.0.128/25"));
    let [warning] = complaints.as_slice() else { panic!("{complaints:?}") };
    assert!(warning.starts_with("7:") && warning.contains("warning"), "{warning}");
    assert!(warning.contains("can never match: its excepts leave nothing of 10.0.0.0/24"), "{warning}");
    assert_eq!(super::complaints(&spec("10.0.0.0/25, 10.0.0.128/26")), [""; 0]);
}

#[test]
fn rule_170_unknown_and_duplicate_fields() {
    for (spec, problem) in [
        ("podSelectr: {}", "5:3: podSelectr: unknown field; did you mean podSelector?"),
        ("policyType: [Egress]", "5:3: policyType: unknown field; did you mean policyTypes?"),
        ("Ingress: []", "5:3: Ingress: unknown field; did you mean ingress?"),
        ("x: 1", "5:3: x: unknown field"),
        ("ingress: []\negress: []\ningress: []", "7:3: ingress: the key stands twice; first in line 5, column 3"),
        ("ingress: [{to: []}]", "5:14: ingress[0].to: unknown field"),
        ("egress: [{from: []}]", "5:13: egress[0].from: unknown field"),
        ("ingress: [{port: []}]", "5:14: ingress[0].port: unknown field; did you mean ports?"),
        (
            "ingress: [{from: []}, {from: [], from: []}]",
            "5:36: ingress[1].from: the key stands twice; first in line 5, column 26",
        ),
        ("ingress: {from: []}", "5:12: ingress: must be a list, is a map"),
        ("ingress: [~]", "5:13: ingress[0]: must not be null"),
        ("ingress: [{from: {}}]", "5:20: ingress[0].from: must be a list, is a map"),
        ("ingress: [{ports: [80]}]", "5:22: ingress[0].ports[0]: must be a map, is the number 80"),
        ("ingress: [{ports: [{prt: 80}]}]", "5:23: ingress[0].ports[0].prt: unknown field; did you mean port?"),
    ] {
        assert_eq!(complaints(spec), [problem], "{spec}");
    }
    assert_eq!(
        problems(&manifest(&format!("{HEAD}sepc: {{}}\n"))),
        ["m.yaml:4:1: error: NetworkPolicy shop/web: sepc: unknown field; did you mean spec?"]
    );
}

#[test]
fn rule_172_an_old_version_is_refused_and_closed() {
    let text =
        with_spec("podSelector: {matchLabels: {app: web}}").replace("networking.k8s.io/v1", "extensions/v1beta1");
    assert_eq!(
        problems(&manifest(&text)),
        [
            "m.yaml:1:13: error: NetworkPolicy shop/web: apiVersion: extensions/v1beta1 is not supported for NetworkPolicy; use \
          networking.k8s.io/v1"
        ]
    );
    assert_eq!(closed(&text).unwrap().subject, Selector::label("app", "web"));
}
