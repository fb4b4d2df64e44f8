//! `podwall lab`: every fixture's policies hold for real packets, and a disagreement is seen and told.

use std::collections::BTreeMap;

use podwall_tests::{Manifests, assert_documented, run};
use serde_json::Value;

fn lab(path: &str) -> Value {
    let run = run(&["lab", "-f", path, "-o", "json"], "").expect(0);
    serde_json::from_str(&run.stdout).unwrap()
}

/// What was observed of each flow between pods to a port (of an echo: null), by the names of its ends; both families must
/// agree.
fn observed(proof: &Value, protocol: &str, port: impl Into<Value>) -> BTreeMap<(String, String), String> {
    let (port, mut flows) = (port.into(), BTreeMap::new());
    for flow in flows_of(proof) {
        let name = |key: &str| flow[key].as_str().unwrap().to_owned();
        let between_pods = ["from", "to"].iter().all(|end| name(end).split('/').count() == 2);
        if between_pods && flow["protocol"] == protocol && flow["port"] == port {
            let before = flows.insert((name("from"), name("to")), name("observed"));
            assert!(before.is_none_or(|before| before == name("observed")), "the families differ: {flow}");
        }
    }
    flows
}

fn flows_of(proof: &Value) -> &Vec<Value> {
    proof["states"][0]["flows"].as_array().unwrap()
}

fn allowed(proof: &Value, protocol: &str, port: impl Into<Value>) -> Vec<String> {
    let flows = observed(proof, protocol, port);
    flows
        .into_iter()
        .filter(|(_, verdict)| verdict == "allow")
        .map(|((from, to), _)| format!("{from} -> {to}"))
        .collect()
}

#[test]
fn web_allow_frontend_lets_the_frontend_in_on_port_80_and_nobody_else() {
    let proof = lab("fixtures/seeds/web-allow-frontend");
    let to_backend = |port| {
        let mut flows = allowed(&proof, "TCP", port);
        flows.retain(|flow| flow.ends_with("/web-backend"));
        flows
    };
    assert_eq!(to_backend(80), ["default/web-frontend -> default/web-backend"]);
    assert_eq!(to_backend(8080), [""; 0]);
    // Nothing else is isolated: 3 x 2 pairs, of which two lead to the backend.
    assert_eq!(allowed(&proof, "TCP", 8080).len(), 4);
    assert_eq!(proof["mismatches"], 0);
}

#[test]
fn restrict_access_lets_only_the_frontend_reach_the_backend() {
    let proof = lab("fixtures/seeds/restrict-access");
    for (protocol, port) in [("TCP", 80), ("TCP", 5000), ("UDP", 5000)] {
        let mut to_backend = allowed(&proof, protocol, port);
        to_backend.retain(|flow| flow.ends_with("/backend"));
        assert_eq!(to_backend, ["default/frontend -> default/backend"], "{protocol} {port}");
    }
}

#[test]
fn the_shop_is_as_its_policies_say() {
    let proof = lab("fixtures/shop");
    let names = |flows: Vec<String>, from: &str, to: &str| {
        flows.iter().filter(|flow| flow.starts_with(from) && flow.contains(&format!("-> {to}"))).count()
    };
    // 3 frontends, 2 backends, 2 databases, 2 DNS pods, 1 monitoring.
    let backend = || allowed(&proof, "TCP", 3000);
    assert_eq!((names(backend(), "shop/frontend", "shop/backend"), names(backend(), "", "shop/backend")), (6, 6));
    let database = || allowed(&proof, "TCP", 5432);
    assert_eq!((names(database(), "shop/backend", "shop/database"), names(database(), "", "shop/database")), (4, 4));
    assert_eq!(names(allowed(&proof, "UDP", 53), "shop/", "platform/dns"), 7 * 2);
    let metrics = || allowed(&proof, "TCP", 9100);
    assert_eq!((names(metrics(), "platform/monitoring", "shop/"), names(metrics(), "", "shop/")), (5, 5));
    assert_eq!(proof["mismatches"], 0);
}

#[test]
fn rules_80_and_83_a_rule_without_ports_admits_icmp_and_one_with_ports_does_not() {
    let pod = |name: &str| {
        format!(
            "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, labels: {{app: {name}}}}}, \
             spec: {{containers: [{{name: c, ports: [{{containerPort: 80}}]}}]}}}}\n"
        )
    };
    let every_port = "[{protocol: TCP}, {protocol: UDP}, {protocol: SCTP}]";
    let policy = format!(
        "---\n{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: server}}, spec: {{\
         podSelector: {{matchLabels: {{app: server}}}}, ingress: [\
         {{from: [{{podSelector: {{matchLabels: {{app: any}}}}}}]}}, \
         {{from: [{{podSelector: {{matchLabels: {{app: ports}}}}}}], ports: {every_port}}}]}}}}\n"
    );
    let manifests = Manifests::new(&[("all.yaml", &(["server", "any", "ports"].map(pod).concat() + &policy))]);
    let proof = lab(manifests.argument());
    let to_server = |protocol: &str, port: Value| {
        let mut flows = allowed(&proof, protocol, port);
        flows.retain(|flow| flow.ends_with("/server"));
        flows
    };
    let (any, ports) = ("default/any -> default/server", "default/ports -> default/server");
    assert_eq!(to_server("TCP", 80.into()), [any, ports]);
    for protocol in ["ICMP", "ICMPv6"] {
        assert_eq!(to_server(protocol, Value::Null), [any]);
        // Nothing else is isolated: 3 x 2 pairs, of which one is denied.
        assert_eq!(allowed(&proof, protocol, Value::Null).len(), 5, "{protocol}");
    }
    assert_eq!(proof["mismatches"], 0);
}

#[test]
fn the_matrix_shows_pods_ports_and_a_summary() {
    let run = run(&["lab", "-f", "fixtures/seeds/web-allow-frontend"], "").expect(0);
    assert!(!run.stdout.contains('\x1b'), "no colours in a pipe");
    let lines = [
        "TCP 80",
        "ICMP  ",
        " 2 default/web-backend",
        " 4 node node ",
        " 6 2001:db8::1 ",
        "all 108 flows among 3 pods, 1 node and 2 addresses outside are as the policies say",
    ];
    for line in lines {
        assert!(run.stdout.contains(line), "{line} is missing in\n{}", run.stdout);
    }
}

/// Where plugins are that drop some packets behind the policies' backs, by a rule that is added to each node
/// that a lab makes, through the one program that the lab calls by name.
fn plugins_with_a_grudge(against: &str) -> Manifests {
    let plugins = Manifests::new(&[]);
    let bridge = plugins.path().join("bridge");
    let script = format!(
        "#!/bin/sh\n/usr/lib/cni/bridge || exit 1\n\
        /usr/sbin/nft 'add table inet behind; add chain inet behind f {{ type filter hook forward priority -1; }}; \
        flush chain inet behind f; add rule inet behind f {against} drop' >&2\n"
    );
    std::fs::write(&bridge, script).unwrap();
    std::fs::set_permissions(&bridge, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for plugin in ["host-local", "loopback", "ptp"] {
        std::os::unix::fs::symlink(format!("/usr/lib/cni/{plugin}"), plugins.path().join(plugin)).unwrap();
    }
    plugins
}

fn run_with(plugins: &Manifests, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(podwall_tests::podwall());
    command.args(arguments).env("CNI_PATH", plugins.path()).current_dir(podwall_tests::root());
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    (output.status.code(), text.concat())
}

const TWO_PODS: &str = "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [\
     {name: c, ports: [{containerPort: 81}]}]}}\n---\n\
     {apiVersion: v1, kind: Pod, metadata: {name: b}, spec: {containers: [{name: c, ports: [{containerPort: 80}]}]}}\n";

#[test]
fn a_disagreement_is_told_and_the_exit_status_says_so() {
    let plugins = plugins_with_a_grudge("tcp dport 81");
    let manifests = Manifests::new(&[("pods.yaml", TWO_PODS)]);
    let lab = ["lab", "-f", manifests.argument()];
    let (status, text) = run_with(&plugins, &lab);
    assert_eq!(status, Some(1), "{text}");
    // Between the pods and from and to the world outside; the node and its pods are not forwarded.
    assert!(text.contains("12 of 60 flows are not as the policies say"), "{text}");
    assert!(text.contains("TCP 81: predicted allow, observed deny"), "{text}");
    let (status, text) = run_with(&plugins, &[&lab[..], &["-o", "json"]].concat());
    let proof: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &proof["mismatches"]), (Some(1), &Value::from(12)));
}

#[test]
fn expectations_are_held_against_packets_too() {
    let plugins = plugins_with_a_grudge("tcp dport 81");
    let expectations = "- {from: default/a, to: default/b, port: 80, verdict: allow}\n\
        - {from: default/a, to: default/b, port: 81, verdict: allow}\n";
    let manifests = Manifests::new(&[("pods.yaml", TWO_PODS)]);
    let expected = Manifests::new(&[("expect.yaml", expectations)]);
    let file = expected.path().join("expect.yaml");
    let test = ["test", "-f", manifests.argument(), file.to_str().unwrap()];
    assert_eq!(run_with(&plugins, &test).0, Some(0), "policies allow everything");
    let (status, text) = run_with(&plugins, &[&test[..], &["--lab"]].concat());
    assert_eq!(status, Some(1), "{text}");
    for line in ["TCP 80: allow [2 flows]", "TCP 81: packets do not pass", "1 of 2 expectations do not hold"] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    let (status, text) = run_with(&plugins, &[&test[..], &["--lab", "-o", "json"]].concat());
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &report["failed"], &report["expectations"][1]["tried"]), (Some(1), &1.into(), &2.into()));
    assert_documented("test", &[report]);
    let (status, text) = run_with(&plugins, &[&test[..], &["--lab", "-o", "junit"]].concat());
    assert!(status == Some(1) && text.contains("failures=\"1\""), "{text}");
    let (status, text) = run_with(&plugins, &[&test[..], &["--lab", "--cni", "ptp"]].concat());
    assert!(status == Some(0) && text.contains("and 4 flows of packets agree"), "{text}");
}

#[test]
fn open_connections_go_on_or_are_cut_as_the_cluster_changes() {
    let [open, closed] = ["fixtures/lab/open", "fixtures/lab/closed"];
    for network in ["bridge", "ptp", "flannel-vxlan", "flannel-host-gw"] {
        let run = run(&["lab", "-f", open, "--then", closed, "--then", open, "--cni", network, "-o", "json"], "");
        let proof: Value = serde_json::from_str(&run.expect(0).stdout).unwrap();
        let observed = |state: usize, from: &str, to: &str| -> Vec<&Value> {
            let connections = proof["states"][state]["connections"].as_array().unwrap();
            let between = connections.iter().filter(|one| one["from"] == from && one["to"] == to);
            between.map(|one| &one["observed"]).collect()
        };
        assert_eq!(proof["states"][0]["connections"], serde_json::json!([]));
        // In both families: what is not allowed any more is cut, the rest goes on, and nothing stays that was denied.
        assert_eq!(observed(1, "default/client", "default/web-1"), ["deny", "deny"], "{network}");
        assert_eq!(observed(1, "default/client", "default/web-2"), ["deny", "deny"], "{network}");
        assert_eq!(observed(1, "default/client", "default/stranger"), ["allow", "allow"], "{network}");
        assert_eq!(observed(1, "node n1", "default/web-1"), ["allow", "allow"], "{network}");
        assert_eq!(observed(2, "default/client", "default/web-1"), [""; 0], "{network}");
        assert_eq!(observed(2, "default/client", "default/stranger"), ["allow", "allow"], "{network}");
        let allowed = |state: usize| {
            let flows = proof["states"][state]["flows"].as_array().unwrap();
            let to_web = |flow: &&Value| flow["from"] == "192.0.2.1" && flow["to"] == "default/web-2";
            flows.iter().filter(to_web).map(|flow| &flow["observed"]).collect::<Vec<_>>()
        };
        // TCP and echo.
        assert_eq!([allowed(0), allowed(1), allowed(2)], [["allow", "deny"], ["deny", "deny"], ["allow", "deny"]]);
        assert_documented("lab", &[proof]);
    }
}

#[test]
fn services_lead_to_those_who_may_be_spoken_to() {
    let proof = lab("fixtures/lab/open");
    let flows = flows_of(&proof);
    let predicted = |from: &str, to: &str| {
        let found: Vec<_> = flows.iter().filter(|flow| flow["from"] == from && flow["to"] == to).collect();
        assert!(!found.is_empty(), "{from} -> {to}");
        assert!(found.iter().all(|flow| flow["predicted"] == found[0]["predicted"]), "the families differ: {found:?}");
        found[0]["predicted"].as_str().unwrap()
    };
    for (from, to, expected) in [
        ("default/client", "default/svc/web", "allow"),
        ("default/stranger", "default/svc/web", "deny"),
        // By itself, and to the other one.
        ("default/web-1", "default/svc/web", "partly"),
        ("192.0.2.1", "default/svc/web-local at node n1", "allow"),
        ("198.51.100.1", "default/svc/web-local at node n1", "deny"),
        // Nobody is there.
        ("192.0.2.1", "default/svc/web-local at node n3", "deny"),
        // The client itself to the node's own pod, the node to the other one.
        ("192.0.2.1", "default/svc/web at node n1", "partly"),
        ("192.0.2.1", "default/svc/web at node n3", "deny"),
    ] {
        assert_eq!(predicted(from, to), expected, "{from} -> {to}");
    }
}

#[test]
fn large_packets_are_cut_and_arrive() {
    for network in ["bridge", "flannel-vxlan"] {
        let arguments = ["lab", "-f", "fixtures/lab/open", "--cni", network, "--payload", "4000", "-o", "json"];
        let proof: Value = serde_json::from_str(&run(&arguments, "").expect(0).stdout).unwrap();
        assert_eq!(allowed(&proof, "ICMPv6", Value::Null).len(), 6, "{network}");
    }
    // By a rule for large packets one sees that they are.
    let plugins = plugins_with_a_grudge("meta l4proto { icmp, ipv6-icmp } meta length > 4000");
    let lab = ["lab", "-f", "fixtures/lab/open"];
    assert_eq!(run_with(&plugins, &lab).0, Some(0));
    assert_eq!(run_with(&plugins, &[&lab[..], &["--payload", "4000"]].concat()).0, Some(1));
    let refused = run(&["lab", "-f", "fixtures/lab/open", "--payload", "65000"], "").expect(2);
    assert!(refused.stderr.contains("--payload"), "{}", refused.stderr);
}

#[test]
fn input_that_cannot_be_read_builds_no_lab() {
    let run = run(&["lab", "-f", "-"], "kind: NetworkPolicy\n").expect(2);
    assert_eq!(run.stdout, "");
}

/// The processes that a process has started, by what their status files say.
fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_child = |id: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        status.lines().any(|line| line == format!("PPid:\t{parent}"))
    };
    ids.filter(is_child).collect()
}

#[test]
fn a_lab_that_is_interrupted_or_killed_leaves_no_process_and_no_link_behind() {
    use std::time::{Duration, Instant};

    let links = || std::fs::read_to_string("/proc/net/dev").unwrap().lines().count();
    let before = links();
    for signal in ["INT", "TERM", "KILL"] {
        let mut lab = podwall_tests::podwall_at_terminal()
            // Long enough for a signal to come in time.
            .args(["lab", "-f", "fixtures/shop", "--then", "fixtures/shop", "--then", "fixtures/shop", "-o", "json"])
            .current_dir(podwall_tests::root())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let is_agent = |id: &u32| {
            let command = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&command).contains("enforce")
        };
        let agent = loop {
            if let Some(agent) = children(lab.id()).into_iter().find(is_agent) {
                break agent;
            }
            assert!(Instant::now() < deadline, "no agent was started");
            std::thread::sleep(Duration::from_millis(5));
        };
        let kill = std::process::Command::new("kill").args(["-s", signal, &lab.id().to_string()]).status();
        assert!(kill.unwrap().success());
        assert!(!lab.wait().unwrap().success(), "SIG{signal} came too late");
        let deadline = Instant::now() + Duration::from_secs(5);
        while std::fs::exists(format!("/proc/{agent}")).unwrap() && is_agent(&agent) {
            assert!(Instant::now() < deadline, "the agent outlives SIG{signal}");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(links(), before, "after SIG{signal}");
    }
}

#[test]
fn the_shop_holds_over_every_pod_network() {
    let over = |network: &str| {
        let run = run(&["lab", "-f", "fixtures/shop", "--cni", network, "-o", "json"], "").expect(0);
        let proof: Value = serde_json::from_str(&run.stdout).unwrap();
        (allowed(&proof, "TCP", 8080), flows_of(&proof).len())
    };
    let (open, flows) = over("bridge");
    assert!(open.len() > 1 && flows == 3740, "{open:?} of {flows}");
    for network in ["ptp", "flannel-vxlan", "flannel-host-gw"] {
        assert_eq!(over(network), (open.clone(), flows), "{network}");
    }
    let unknown = run(&["lab", "-f", "fixtures/shop", "--cni", "flannel"], "").expect(2);
    assert!(unknown.stderr.contains("must be bridge, ptp, flannel-vxlan or flannel-host-gw"), "{}", unknown.stderr);
}
