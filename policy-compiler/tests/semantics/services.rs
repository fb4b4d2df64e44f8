//! Rules 139-145: what is judged behind a Service, and what policies cannot say.

use crate::common::{allowed, denied, egress, ingress_policy, pod, policy, read, world};

#[test]
fn rules_139_and_141_the_port_is_the_pods_not_the_services() {
    // A Service that answers on 80 and leads to 8080 here.
    let service = "\n---\napiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: a}\n\
                   spec: {clusterIP: 10.96.0.1, ports: [{port: 80, targetPort: 8080}]}\n";
    let web = pod("a/u", "app: u", "{name: web, containerPort: 8080}");
    let cluster = world(&(web + service + &ingress_policy("a/p", "- ports: [{port: 8080}]")));
    allowed(&cluster, "b/v -> a/u TCP/8080");
    denied(&cluster, "b/v -> a/u TCP/80");
}

#[test]
fn rule_142_a_service_is_no_peer() {
    for peer in ["{service: {name: s}}", "{serviceSelector: {}}"] {
        assert_ne!(read(&policy("a/p", &format!("egress: [{{to: [{peer}]}}]"))).errors().count(), 0);
    }
}

#[test]
fn rule_144_dns_is_no_exception() {
    let closed = egress("- to: [{podSelector: {}}]");
    denied(&closed, "a/u -> b/v 192.0.2.53 UDP/53 TCP/53");
    let open = egress("- to: [{podSelector: {}}]\n- ports: [{port: 53, protocol: UDP}, {port: 53}]");
    allowed(&open, "a/u -> b/v 192.0.2.53 UDP/53 TCP/53");
}

#[test]
fn rule_145_what_policies_cannot_say_is_refused() {
    for rule in ["{action: Deny}", "{log: true}", "{tls: {}}", "{from: [{nodeSelector: {}}]}", "{name: first}"] {
        let manifest = read(&policy("a/p", &format!("ingress: [{rule}]")));
        let error = manifest.errors().next().unwrap();
        assert!(error.message.starts_with("unknown field"), "{error}");
    }
}
