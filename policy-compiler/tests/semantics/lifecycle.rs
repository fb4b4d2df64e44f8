//! Rules 110-138, as far as a state of the cluster can show them: what comes and goes, and who has an address.

use policy_compiler::cluster::Cluster;
use policy_compiler::interpret::{self, ConnectionState, Packet, Payload};
use policy_compiler::model::{Object, ObjectId, ObjectName, Protocol};
use policy_compiler::plan::{self, Generation, Settings};

use crate::common::{allowed, cluster, denied, ingress, ingress_policy, pod, policy, read, world};

/// The objects of a text, one by one.
fn objects(text: &str) -> Vec<Object> {
    let documents = read(text).documents.into_iter().map(|document| document.content);
    documents
        .flat_map(|content| match content {
            policy_compiler::manifest::Content::Objects(objects) => objects,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn apply(cluster: &mut Cluster, text: &str) {
    objects(text).into_iter().for_each(|object| drop(cluster.apply(object)));
}

fn named(namespace: &str, name: &str) -> ObjectName {
    ObjectName::new(namespace, name)
}

/// A pod with another line in the place of its status.
fn with_status(name: &str, labels: &str, status: &str) -> String {
    let text = pod(name, labels, "{name: http, containerPort: 80}");
    let at = text.find("status:").unwrap();
    format!("{}status: {{{status}}}\n", &text[..at])
}

#[test]
fn rules_110_and_113_a_new_pod_is_isolated_whatever_its_containers() {
    let mut cluster = ingress("[]");
    let init = pod("b/u", "app: u", "").replace("containers", "initContainers: [{name: i}], containers");
    apply(&mut cluster, &(init + &policy("b/p", "podSelector: {matchLabels: {app: u}}")));
    denied(&cluster, "a/v -> b/u TCP/80");
}

#[test]
fn rule_114_the_order_of_events_does_not_matter() {
    let rule = "- from: [{namespaceSelector: {matchLabels: {team: blue}}, podSelector: {matchLabels: {app: v}}}]";
    let text = pod("a/u", "app: u", "")
        + &pod("b/v", "app: v", "")
        + "\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: b, labels: {team: blue}}\n"
        + &ingress_policy("a/p", rule);
    let objects = objects(&text);
    for first in 0..objects.len() {
        let mut turned = objects.clone();
        turned.rotate_left(first);
        let forwards: Cluster = turned.iter().cloned().collect();
        let backwards: Cluster = turned.into_iter().rev().collect();
        assert_eq!(forwards, backwards);
        allowed(&forwards, "b/v -> a/u TCP/80");
        denied(&forwards, "192.0.2.1 -> a/u TCP/80");
    }
}

#[test]
fn rules_115_and_117_a_deleted_policy_isolates_no_more_and_others_stay() {
    let mut cluster = world(&(ingress_policy("a/p", "[]") + &ingress_policy("a/q", "- ports: [{port: 80}]")));
    allowed(&cluster, "b/v -> a/u TCP/80");
    drop(cluster.remove(&ObjectId::Policy(named("a", "q"))));
    denied(&cluster, "b/v -> a/u TCP/80");
    drop(cluster.remove(&ObjectId::Policy(named("a", "p"))));
    allowed(&cluster, "b/v -> a/u TCP/80 ICMP");
}

#[test]
fn rules_116_and_118_an_updated_policy_replaces_the_old_one_whole() {
    let mut cluster = ingress("- ports: [{port: 80}]");
    apply(&mut cluster, &ingress_policy("a/p", "- ports: [{port: 81}]"));
    denied(&cluster, "b/v -> a/u TCP/80");
    allowed(&cluster, "b/v -> a/u TCP/81");
    apply(&mut cluster, &policy("a/p", "podSelector: {matchLabels: {app: v}}"));
    allowed(&cluster, "b/v -> a/u TCP/80");
    denied(&cluster, "b/v -> a/v TCP/80");
    apply(&mut cluster, &policy("a/p", "podSelector: {matchLabels: {app: v}}\npolicyTypes: [Egress]"));
    allowed(&cluster, "b/v -> a/v TCP/80");
    denied(&cluster, "a/v -> b/v TCP/80");
}

#[test]
fn rules_119_and_120_labels_of_pods_count_as_they_are_now() {
    let mut cluster = ingress("- from: [{podSelector: {matchLabels: {role: client}}}]");
    denied(&cluster, "a/v -> a/u TCP/80");
    apply(&mut cluster, &pod("a/v", "role: client", ""));
    allowed(&cluster, "a/v -> a/u TCP/80");
    apply(&mut cluster, &pod("a/u", "app: other", ""));
    allowed(&cluster, "a/w b/v -> a/u TCP/80");
}

#[test]
fn rules_121_and_122_namespaces_count_as_they_are_now() {
    let mut cluster = ingress("- from: [{namespaceSelector: {matchLabels: {team: blue}}}]");
    allowed(&cluster, "b/v -> a/u TCP/80");
    denied(&cluster, "c/v -> a/u TCP/80");
    apply(&mut cluster, "apiVersion: v1\nkind: Namespace\nmetadata: {name: c, labels: {team: blue}}");
    allowed(&cluster, "c/v -> a/u TCP/80");
    apply(&mut cluster, "apiVersion: v1\nkind: Namespace\nmetadata: {name: b, labels: {other: label}}");
    denied(&cluster, "b/v -> a/u TCP/80");
    drop(cluster.remove(&ObjectId::Namespace("c".into())));
    denied(&cluster, "c/v -> a/u TCP/80");
}

#[test]
fn rule_124_a_finished_pod_is_neither_subject_nor_peer() {
    for phase in ["Succeeded", "Failed"] {
        let finished = with_status("a/u", "app: u", &format!("phase: {phase}, podIP: 10.0.1.1"));
        let cluster = world(&(finished + &policy("a/p", "policyTypes: [Ingress, Egress]")));
        allowed(&cluster, "192.0.2.1 -> a/u 10.0.1.1 TCP/80");
        let gone = with_status("a/v", "app: v", &format!("phase: {phase}, podIP: 10.0.1.2"));
        let cluster = world(&(gone + &ingress_policy("a/p", "- from: [{podSelector: {}}]")));
        denied(&cluster, "a/v 10.0.1.2 -> a/u TCP/80");
    }
}

#[test]
fn rule_125_pods_of_every_other_phase_count() {
    for phase in ["Pending", "Running", "Unknown"] {
        let text = with_status("a/u", "app: u", &format!("phase: {phase}, podIP: 10.0.1.1"));
        denied(&world(&(text + &policy("a/p", ""))), "10.0.2.1 -> a/u TCP/80");
    }
}

#[test]
fn rule_126_a_terminating_pod_keeps_what_it_has() {
    let leaving =
        pod("a/v", "app: v", "").replace("metadata: {", "metadata: {deletionTimestamp: '2024-01-02T03:04:05Z', ");
    let cluster = world(&(leaving.clone() + &ingress_policy("a/p", "- from: [{podSelector: {}}]")));
    allowed(&cluster, "a/v -> a/u TCP/80");
    denied(&world(&(leaving + &policy("a/p", ""))), "b/u -> a/v TCP/80");
}

#[test]
fn rule_127_a_pod_without_an_address_waits() {
    let waiting = with_status("a/u", "app: u", "phase: Pending");
    let mut cluster = world(&(waiting + &policy("a/p", "")));
    let plan = plan::compile(&cluster, "n1", &Settings::default(), Generation::FIRST);
    assert_eq!(plan.pending, [named("a", "u")]);
    denied(&cluster, "b/v -> a/u TCP/80");
    apply(&mut cluster, &pod("a/u", "app: u", ""));
    denied(&cluster, "b/v -> 10.0.1.1 TCP/80");
}

#[test]
fn rule_129_an_address_belongs_to_the_live_one_of_two_pods() {
    let rules = ingress_policy("a/p", "- from: [{podSelector: {matchLabels: {role: old}}}]");
    let old = with_status("a/v", "role: old", "podIP: 10.0.1.9");
    let new = with_status("a/w", "role: new", "podIP: 10.0.1.9");
    let leaving = old.replace("metadata: {", "metadata: {deletionTimestamp: '2024-01-02T03:04:05Z', uid: a, ");
    let finished = with_status("a/v", "role: old", "phase: Failed, podIP: 10.0.1.9");
    for gone in [leaving, finished] {
        denied(&world(&(gone + &new + &rules)), "10.0.1.9 -> a/u TCP/80");
    }
    allowed(&world(&(old + &rules)), "10.0.1.9 -> a/u TCP/80");
}

#[test]
fn rule_130_a_pod_created_anew_is_another() {
    let mut cluster = ingress("- from: [{podSelector: {matchLabels: {app: v}}}]");
    apply(&mut cluster, &with_status("a/v", "app: other", "podIP: 10.0.1.77"));
    denied(&cluster, "10.0.1.2 10.0.1.77 -> a/u TCP/80");
    apply(&mut cluster, &with_status("a/v", "app: v", "podIP: 10.0.1.78"));
    allowed(&cluster, "10.0.1.78 -> a/u TCP/80");
    denied(&cluster, "10.0.1.2 10.0.1.77 -> a/u TCP/80");
}

#[test]
fn rule_131_every_address_of_a_pod_is_isolated_and_matched() {
    let cluster = ingress("- from: [{podSelector: {}}]");
    allowed(&cluster, "10.0.1.2 -> 10.0.1.1 TCP/80");
    allowed(&cluster, "fd00::1:2 -> fd00::1:1 TCP/80");
    denied(&cluster, "10.0.2.2 192.0.2.1 -> 10.0.1.1 TCP/80");
    denied(&cluster, "fd00::2:2 2001:db8::1 -> fd00::1:1 TCP/80");
    // Three of one family, the second only in podIPs.
    let many =
        with_status("a/v", "app: v", "podIP: 10.0.1.2, podIPs: [{ip: 10.0.1.2}, {ip: 10.0.1.22}, {ip: 10.0.1.23}]");
    let cluster = world(&(many + &ingress_policy("a/p", "- from: [{podSelector: {matchLabels: {app: v}}}]")));
    allowed(&cluster, "10.0.1.2 10.0.1.22 10.0.1.23 -> 10.0.1.1 TCP/80");
}

#[test]
fn rule_132_a_block_of_one_family_leaves_the_other_denied() {
    let cluster = ingress("- from: [{ipBlock: {cidr: 10.0.0.0/8}}]");
    allowed(&cluster, "10.0.2.2 -> 10.0.1.1 TCP/80");
    denied(&cluster, "fd00::2:2 -> fd00::1:1 TCP/80");
}

#[test]
fn rule_133_established_connections_are_judged_again_when_a_policy_tightens() {
    let settings = Settings::default();
    let table = |rules, generation| plan::compile(&ingress(rules), "n1", &settings, generation).table;
    let next = Generation::FIRST.next(settings.mark_mask);
    let opening =
        Packet::new("10.0.1.2".parse().unwrap(), "10.0.1.1".parse().unwrap(), Payload::Port(Protocol::Tcp, 80));
    let open = "- ports: [{port: 80}]";
    let mark = interpret::judge(&table(open, Generation::FIRST), &opening).unwrap().mark;
    let connection = ConnectionState::Established { reply: false };
    let later = Packet { connection, mark, ..opening };
    for (rules, generation, allowed) in [
        (open, Generation::FIRST, true),
        (open, next, true),
        ("[]", next, false),
        ("- ports: [{port: 81}]", next, false),
    ] {
        let outcome = interpret::judge(&table(rules, generation), &later).unwrap();
        assert_eq!(outcome.is_accepted(), allowed, "{rules}");
    }
}

#[test]
fn rules_134_to_136_replies_pass_and_do_not_let_their_sender_open_anything() {
    let both = policy(
        "a/p",
        "podSelector: {matchLabels: {app: u}}\npolicyTypes: [Ingress, Egress]\ningress: [{from: [{podSelector: {}}]}]",
    );
    let cluster = cluster(&(pod("a/u", "app: u", "") + &pod("a/v", "app: v", "") + &both));
    allowed(&cluster, "a/v -> a/u TCP/80 UDP/53");
    denied(&cluster, "a/u -> a/v TCP/80 UDP/53");
    let table = plan::compile(&cluster, "n1", &Settings::default(), Generation::FIRST).table;
    let (u, v) = ("10.0.1.1".parse().unwrap(), "10.0.1.2".parse().unwrap());
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let opening = Packet::new(v, u, Payload::Port(protocol, 80));
        let mark = interpret::judge(&table, &opening).unwrap().mark;
        for (reply, allowed) in [(true, true), (false, false)] {
            let connection = ConnectionState::Established { reply };
            let back = Packet { connection, mark, ..Packet::new(u, v, Payload::Port(protocol, 40_000)) };
            // Without the mark of a connection that was allowed, only what is a reply passes.
            let unmarked = Packet { mark: 0, ..back };
            assert_eq!(interpret::judge(&table, &unmarked).unwrap().is_accepted(), allowed, "{protocol} {reply}");
        }
    }
}

#[test]
fn rule_138_nothing_is_left_of_what_is_gone() {
    let empty = world("");
    let mut cluster =
        world(&(ingress_policy("a/p", "- {from: [{ipBlock: {cidr: 10.0.0.0/8}}], ports: [{port: http}]}")));
    drop(cluster.remove(&ObjectId::Policy(named("a", "p"))));
    let plan = |cluster| plan::compile(cluster, "n1", &Settings::default(), Generation::FIRST);
    assert_eq!(plan(&cluster), plan(&empty));
}
