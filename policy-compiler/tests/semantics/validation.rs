//! Rules 146-172: what the API server would not take, and what it would.

use policy_compiler::cidr::CidrRules;
use policy_compiler::manifest::{self, Content, Severity};

use crate::common::{policy, read};

/// The paths that errors are reported at, below `spec`.
fn errors(spec: &str) -> Vec<String> {
    paths(&policy("a/p", spec), CidrRules::Legacy, Severity::Error)
}

fn paths(text: &str, rules: CidrRules, severity: Severity) -> Vec<String> {
    let problems = manifest::read(&"m.yaml".into(), text, rules).problems;
    let wanted = problems.into_iter().filter(|problem| problem.severity == severity);
    wanted.map(|problem| problem.path.unwrap_or_default().replace("spec.", "")).collect()
}

#[track_caller]
fn refused(spec: &str, path: &str) {
    assert_eq!(errors(spec), [path], "{spec}");
}

#[track_caller]
fn accepted(spec: &str) {
    assert_eq!(errors(spec), [""; 0], "{spec}");
}

fn port(port: &str) -> String {
    format!("ingress: [{{ports: [{port}]}}]")
}

fn from(peer: &str) -> String {
    format!("ingress: [{{from: [{peer}]}}]")
}

#[test]
fn rules_146_and_147_metadata() {
    let metadata = |metadata: &str| {
        let text = format!("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {metadata}\n");
        paths(&text, CidrRules::Legacy, Severity::Error)
    };
    let long = |length| "a".repeat(length);
    for good in
        ["{name: a}", "{name: a-b.c-0}", "{name: 'a', labels: {example.com/k: v_w.u-Y}}", "{name: a, labels: {k: ''}}"]
    {
        assert_eq!(metadata(good), [""; 0], "{good}");
    }
    assert_eq!(metadata(&format!("{{name: {}, namespace: {}}}", long(253), long(63))), [""; 0]);
    for (bad, path) in [
        ("{}", "metadata.name"),
        ("{name: A}", "metadata.name"),
        ("{name: a_b}", "metadata.name"),
        ("{name: a..b}", "metadata.name"),
        ("{name: -a}", "metadata.name"),
        (&format!("{{name: {}}}", long(254)), "metadata.name"),
        ("{name: a, namespace: b.c}", "metadata.namespace"),
        ("{name: a, namespace: B}", "metadata.namespace"),
        (&format!("{{name: a, namespace: {}}}", long(64)), "metadata.namespace"),
        ("{name: a, labels: {k: v w}}", "metadata.labels[k]"),
        ("{name: a, labels: {-k: v}}", "metadata.labels[-k]"),
        ("{name: a, annotations: {-k: v}}", "metadata.annotations[-k]"),
        (&format!("{{name: a, annotations: {{k: {}}}}}", "u".repeat(256 * 1024)), "metadata.annotations"),
    ] {
        assert_eq!(metadata(bad), [path], "{}", &bad[..bad.len().min(80)]);
    }
}

#[test]
fn rule_149_keys_of_labels() {
    let selector = |key: &str| format!("{{matchExpressions: [{{key: {key}, operator: Exists}}]}}");
    let key = "matchExpressions[0].key";
    let long = "a".repeat(63);
    for good in ["a", "A.b_c-d", "example.com/a", "a.b.c/D", &long] {
        accepted(&format!("podSelector: {}", selector(good)));
    }
    for bad in ["''", "-a", "a-", "a b", "/a", "a/", "a/b/c", "Ex.com/a", "a_b/c", &format!("{long}b")] {
        refused(&format!("podSelector: {}", selector(bad)), &format!("podSelector.{key}"));
        for side in ["podSelector", "namespaceSelector"] {
            let peer = format!("{{{side}: {}}}", selector(bad));
            refused(&from(&peer), &format!("ingress[0].from[0].{side}.{key}"));
            let to = format!("policyTypes: [Egress]\negress: [{{to: [{peer}]}}]");
            refused(&to, &format!("egress[0].to[0].{side}.{key}"));
        }
    }
}

#[test]
fn rules_150_and_154_values_of_labels() {
    let long = "a".repeat(63);
    for good in ["a", "''", "A_b.c-0", "'0'", "'true'", &long] {
        accepted(&format!("podSelector: {{matchLabels: {{k: {good}}}}}"));
        accepted(&format!("podSelector: {{matchExpressions: [{{key: k, operator: In, values: [{good}]}}]}}"));
    }
    for bad in ["-a", "a-", "a b", "a/b", "ä", "1", "true", "~", &format!("{long}b")] {
        refused(&format!("podSelector: {{matchLabels: {{k: {bad}}}}}"), "podSelector.matchLabels[k]");
        for operator in ["In", "NotIn"] {
            let expression = format!("{{key: k, operator: {operator}, values: [a, {bad}]}}");
            let path = "podSelector.matchExpressions[0].values[1]";
            refused(&format!("podSelector: {{matchExpressions: [{expression}]}}"), path);
        }
    }
}

#[test]
fn rules_151_to_153_operators() {
    let expression = |rest: &str| format!("podSelector: {{matchExpressions: [{{key: k, {rest}}}]}}");
    let at = |field: &str| format!("podSelector.matchExpressions[0].{field}");
    for operator in ["in", "notin", "exists", "Equals", "Gt", "Lt", "''", "'In '"] {
        refused(&expression(&format!("operator: {operator}, values: [a]")), &at("operator"));
    }
    for operator in ["In", "NotIn"] {
        for values in ["", ", values: []", ", values: ~"] {
            refused(&expression(&format!("operator: {operator}{values}")), &at("values"));
        }
    }
    for operator in ["Exists", "DoesNotExist"] {
        refused(&expression(&format!("operator: {operator}, values: [a]")), &at("values"));
        accepted(&expression(&format!("operator: {operator}, values: []")));
    }
    refused("podSelector: {matchExpressions: [{operator: Exists}]}", &at("key"));
    refused("podSelector: {matchExpressions: [{key: k}]}", &at("operator"));
}

#[test]
fn rules_155_to_157_protocols_and_ports() {
    let long = "a23456789012345";
    for good in ["{protocol: TCP}", "{protocol: UDP}", "{protocol: SCTP}", "{port: 1}", "{port: 65535}", "{port: a-1}"]
    {
        accepted(&port(good));
    }
    accepted(&port(&format!("{{port: {long}}}")));
    for bad in ["tcp", "ICMP", "''", "6", "TCP6"] {
        refused(&port(&format!("{{protocol: {bad}}}")), "ingress[0].ports[0].protocol");
    }
    let names = ["''", "'80'", "A", "-a", "a-", "a--b", "a_b", "a.b", "'1-2'", &format!("{long}6")];
    for bad in ["0", "-1", "65536", "80.5", "true", "[80]"].into_iter().chain(names) {
        refused(&port(&format!("{{port: {bad}}}")), "ingress[0].ports[0].port");
    }
}

#[test]
fn rules_158_to_160_end_port() {
    accepted(&port("{port: 80, endPort: 80}"));
    accepted(&port("{port: 1, endPort: 65535}"));
    for bad in [
        "{endPort: 80}",
        "{port: http, endPort: 80}",
        "{port: 80, endPort: 79}",
        "{port: 80, endPort: 65537}",
        "{port: 80, endPort: 0}",
        "{port: 80, endPort: -1}",
        "{port: 80, endPort: '90'}",
    ] {
        refused(&port(bad), "ingress[0].ports[0].endPort");
    }
}

#[test]
fn rules_161_and_162_a_peer_is_selectors_or_a_block() {
    accepted(&from("{podSelector: {}, namespaceSelector: {}}"));
    refused(&from("{}"), "ingress[0].from[0]");
    refused(&from("{podSelector: ~, ipBlock: ~}"), "ingress[0].from[0]");
    let block = "ipBlock: {cidr: 10.0.0.0/8}";
    for selectors in ["podSelector: {}", "namespaceSelector: {}", "podSelector: {}, namespaceSelector: {}"] {
        refused(&from(&format!("{{{block}, {selectors}}}")), "ingress[0].from[0]");
    }
}

#[test]
fn rule_163_cidr() {
    for bad in [
        "{}",
        "{cidr: ~}",
        "{cidr: ''}",
        "{cidr: 192.168.5.6}",
        "{cidr: 'fd00:192:168::'}",
        "{cidr: 10.0.0.0/33}",
        "{cidr: '::/129'}",
        "{cidr: 10.0.0.0/255.0.0.0}",
        "{cidr: 10.0.0/8}",
        "{cidr: 10.0.0.0/-1}",
        "{cidr: 10.0.0.0/+8}",
        "{cidr: ' 10.0.0.0/8'}",
        "{cidr: 300.300.300.300/8}",
        "{cidr: 'fe80::1%eth0/64'}",
        "{cidr: example.com/8}",
    ] {
        refused(&from(&format!("{{ipBlock: {bad}}}")), "ingress[0].from[0].ipBlock.cidr");
    }
}

#[test]
fn rules_164_and_165_except() {
    let block = |except: &str| from(&format!("{{ipBlock: {{cidr: 10.1.0.0/16, except: [{except}]}}}}"));
    for good in ["10.1.1.0/24", "10.1.0.0/17", "10.1.255.255/32", "10.1.1.0/24, 10.1.1.0/25, 10.1.1.0/24"] {
        accepted(&block(good));
    }
    for bad in [
        "''",
        "' '",
        "300.300.300.300",
        "10.1.1.1",
        "10.1.0.0/16",
        "10.0.0.0/8",
        "10.2.0.0/24",
        "'fd00::/64'",
        "0.0.0.0/0",
        "~",
    ] {
        refused(&block(bad), "ingress[0].from[0].ipBlock.except[0]");
    }
}

#[test]
fn rule_166_policy_types() {
    for good in ["[]", "~", "[Ingress]", "[Egress, Ingress]", "[Ingress, Ingress]"] {
        accepted(&format!("policyTypes: {good}"));
    }
    refused("policyTypes: [Ingress, Egress, Ingress]", "policyTypes");
    for bad in ["ingress", "''", "Both", "~", "1"] {
        refused(&format!("policyTypes: [{bad}]"), "policyTypes[0]");
    }
    refused("policyTypes: Ingress", "policyTypes");
}

#[test]
fn rules_167_and_168_odd_cidrs_are_errors_only_to_strict_servers() {
    for odd in ["10.1.2.3/8", "010.0.0.0/8", "10.0.0.0/08", "::ffff:10.0.0.0/104", "fd00::1/64"] {
        let text = policy("a/p", &from(&format!("{{ipBlock: {{cidr: '{odd}'}}}}")));
        let path = ["ingress[0].from[0].ipBlock.cidr"];
        assert_eq!(paths(&text, CidrRules::Legacy, Severity::Warning), path, "{odd}");
        assert_eq!(paths(&text, CidrRules::Legacy, Severity::Error), [""; 0], "{odd}");
        assert_eq!(paths(&text, CidrRules::Strict, Severity::Error), path, "{odd}");
    }
    let canonical = policy("a/p", &from("{ipBlock: {cidr: '2001:0DB8::/32'}}"));
    assert_eq!(paths(&canonical, CidrRules::Strict, Severity::Error), [""; 0]);
}

#[test]
fn rule_169_what_the_server_does_not_check() {
    accepted("ingress: [{}, {}, {from: [{podSelector: {}}, {podSelector: {}}], ports: [{port: 80}, {port: 80}]}]");
    accepted("podSelector: {matchExpressions: [{key: k, operator: Exists}, {key: k, operator: DoesNotExist}]}");
    accepted("policyTypes: [Ingress]\negress: [{ports: [{port: nobody}]}]");
    accepted(&from("{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: nowhere}}}"));
}

#[test]
fn rule_170_unknown_and_duplicated_fields_are_refused() {
    refused("podSelctor: {}", "podSelctor");
    refused(&from("{podSelector: {}, namespaceSelctor: {}}"), "ingress[0].from[0].namespaceSelctor");
    refused("ingress: []\ningress: [{}]", "ingress");
    refused("podSelector: {matchLabels: {a: b, a: c}}", "podSelector.matchLabels[a]");
    refused("ingress: [~]", "ingress[0]");
    refused("ingress: {}", "ingress");
}

#[test]
fn rule_171_status_is_ignored() {
    for status in ["{}", "~", "{conditions: []}"] {
        assert_eq!(read(&format!("{}status: {status}\n", policy("a/p", "podSelector: {}"))).problems, []);
    }
}

#[test]
fn rule_172_only_the_known_version_is_a_network_policy() {
    let text = policy("a/p", "podSelector: {}");
    for old in ["extensions/v1beta1", "networking.k8s.io/v1beta1", "v1"] {
        let manifest = read(&text.replace("networking.k8s.io/v1", old));
        assert_eq!(manifest.errors().count(), 1, "{old}");
        assert!(matches!(manifest.documents[0].content, Content::Invalid { closed: Some(_), .. }));
    }
    for foreign in ["crd.projectcalico.org/v1", "cilium.io/v2"] {
        let manifest = read(&text.replace("networking.k8s.io/v1", foreign));
        assert_eq!((manifest.problems, &manifest.documents[0].content), (vec![], &Content::Skipped), "{foreign}");
    }
}
