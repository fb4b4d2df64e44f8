//! `podwall doctor`.

use std::path::Path;

use lab::Namespace;
use podwall_tests::{assert_coloured, assert_documented, nft, run_in};
use serde_json::Value;

use super::{manifests, node, run_as_nobody, start};

fn doctor(node: &Namespace, more: &[&str], exit: i32) -> Value {
    let arguments = [&["doctor", "-o", "json"], more].concat();
    serde_json::from_str(&run_in(node, &arguments).expect(exit).stdout).unwrap()
}

/// A check's state, finding and remedy.
#[track_caller]
fn check(found: &Value, name: &str) -> (String, String, String) {
    let checks = found["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name} in {found:#}"));
    let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
    (text("state"), text("finding"), text("remedy"))
}

#[track_caller]
fn state(found: &Value, name: &str) -> String {
    check(found, name).0
}

/// Files as the kernel shows its settings.
fn sysctls(directory: &Path, settings: &[(&str, &str)]) {
    for (name, value) in settings {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("{value}\n")).unwrap();
    }
}

const BRIDGE: [(&str, &str); 3] = [
    ("bridge/bridge-nf-call-iptables", "1"),
    ("bridge/bridge-nf-call-ip6tables", "1"),
    ("bridge/bridge-nf-filter-vlan-tagged", "1"),
];

#[test]
fn a_node_that_has_everything_is_fine() {
    let node = node();
    let settings = [("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")];
    node.set_sysctls(&[&settings[..], &BRIDGE.map(|(name, value)| (&*format!("net/{name}").leak(), value))].concat())
        .unwrap();
    let found = doctor(&node, &[], 0);
    assert_eq!((&found["failures"], &found["warnings"]), (&0.into(), &0.into()), "{found:#}");
    assert_documented("doctor", std::slice::from_ref(&found));
    let text = run_in(&node, &["doctor"]).expect(0).stdout;
    assert!(text.ends_with("\nnothing stands in the way of enforcement\n"), "{text}");
    assert_eq!(text.matches("\nfine     ").count() + 1, found["checks"].as_array().unwrap().len(), "{text}");
    let page = std::fs::read_to_string(podwall_tests::root().join("docs/agent.md")).unwrap();
    for check in found["checks"].as_array().unwrap() {
        let name = check["name"].as_str().unwrap();
        assert!(page.contains(&format!("\n| `{name}` | ")), "docs/agent.md does not tell of {name}");
    }
    assert_eq!(nft(&node, &["list", "tables"], ""), "", "nothing is left behind");
}

#[test]
fn what_is_off_is_told_with_what_to_type() {
    let node = node();
    let fresh = doctor(&node, &[], 0);
    let (state_, finding, remedy) = check(&fresh, "forwarding");
    assert!(state_ == "warning" && finding.contains("IPv4 and IPv6"), "{finding}");
    assert_eq!(remedy, "sysctl -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    node.set_sysctls(&[("net/bridge/bridge-nf-call-ip6tables", "0")]).unwrap();
    let (state_, finding, remedy) = check(&doctor(&node, &[], 0), "br_netfilter");
    assert!(state_ == "warning" && finding.contains("bridge-nf-call-ip6tables is off"), "{finding}");
    assert!(remedy.contains("sysctl -w net.bridge.bridge-nf-call-ip6tables=1"), "{remedy}");
    let off = std::fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-ip6tables");
    assert!(off.is_ok(), "br_netfilter is loaded");
    let still = node.run(|| std::fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-ip6tables")).unwrap();
    assert_eq!(still.unwrap().trim(), "0", "doctor changes nothing");
}

#[test]
fn what_stands_in_the_way_of_enforcement_is_a_failure() {
    let node = node();
    let elsewhere = tempfile::tempdir().unwrap();
    let arguments = ["--sysctls", elsewhere.path().to_str().unwrap()];
    let found = doctor(&node, &arguments, 1);
    let (state_, _, remedy) = check(&found, "br_netfilter");
    assert_eq!((&*state_, &*remedy), ("failure", "modprobe br_netfilter"));
    assert_eq!(state(&found, "conntrack"), "warning");
    let full = [("netfilter/nf_conntrack_count", "950"), ("netfilter/nf_conntrack_max", "1000")];
    sysctls(elsewhere.path(), &[&BRIDGE[..], &full].concat());
    let found = doctor(&node, &arguments, 0);
    assert_eq!(state(&found, "br_netfilter"), "fine");
    let (state_, finding, remedy) = check(&found, "conntrack");
    assert!(state_ == "warning" && finding.starts_with("950 of 1000 "), "{finding}");
    assert_eq!(remedy, "sysctl -w net.netfilter.nf_conntrack_max=2000");

    let nobody = run_as_nobody(&node, &["doctor"]).expect(1).stdout;
    assert!(nobody.contains("failure  capability") && nobody.contains("CAP_NET_ADMIN"), "{nobody}");
    assert!(nobody.contains("policies are not enforced, or not all of them: "), "{nobody}");
    run_in(&node, &["doctor", "--table", "no-such-name"]).expect(2);
}

#[test]
fn other_engines_are_known_by_the_names_of_their_tables_and_chains() {
    let node = node();
    assert_eq!(state(&doctor(&node, &[], 0), "engines"), "fine");
    let text = "table ip filter { chain KUBE-POD-FW-ABC { }\n chain KUBE-SERVICES { }\n}\n\
                table ip6 calico { chain filter-cali-FORWARD { }\n}\n";
    nft(&node, &["-f", "-"], text);
    let (state_, finding, remedy) = check(&doctor(&node, &[], 0), "engines");
    assert_eq!(state_, "warning");
    assert!(finding.contains("kube-router (chain KUBE-POD-FW-ABC)") && finding.contains("Calico (table calico)"));
    assert!(remedy.contains("--run-firewall=false") && remedy.contains("calico-node"), "{remedy}");
    let coloured = ["\u{1b}[33mwarning", "\u{1b}[32mfine", "\u{1b}[2m->"];
    node.run(|| assert_coloured(&["doctor"], &coloured)).unwrap();
}

#[test]
fn an_agent_is_seen_and_disturbed_by_nothing() {
    let (node, manifests) = (node(), manifests());
    assert!(check(&doctor(&node, &[], 0), "agent").1.starts_with("no agent runs"));
    let _agent = start(&node, &manifests, &[]);
    let before = podwall_tests::listing(&node);
    let found = doctor(&node, &[], 0);
    let (state_, finding, _) = check(&found, "agent");
    assert!(state_ == "fine" && finding.contains("runs for table podwall"), "{finding}");
    assert_eq!((state(&found, "nf_tables"), state(&found, "owner")), ("fine".into(), "fine".into()));
    assert_eq!(podwall_tests::listing(&node), before);
    run_in(&node, &["cleanup"]).expect(0);
    let (state_, finding, remedy) = check(&doctor(&node, &[], 0), "agent");
    assert!(state_ == "warning" && finding.ends_with("is not ready"), "{finding}");
    assert_eq!(remedy, "podwall status --table podwall");
}
