//! Looking at a node, in a network namespace of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use enforcer::kernel::{Kernel, Repair};
use enforcer::preflight::{Asker, BridgeFilter, BridgeState, Check, CheckState, Node, SYSCTLS, check};
use support::{TABLE, everything, in_namespace, load, nft};

fn look() -> Vec<Check> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(check(&Node { table: TABLE.into(), sysctls: SYSCTLS.into() }, Asker::Person))
}

#[track_caller]
fn found<'c>(checks: &'c [Check], name: &str) -> &'c Check {
    checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no {name} in {checks:#?}"))
}

#[test]
fn this_kernel_takes_everything_and_nothing_is_left_behind() {
    in_namespace(|| {
        let bridge = look();
        assert!(found(&bridge, "br_netfilter").finding.contains("bridge-nf-filter-vlan-tagged is off"), "{bridge:#?}");
        assert_eq!(BridgeFilter::new(SYSCTLS.as_ref()).check().0, BridgeState::On);
        let checks = look();
        for name in ["kernel", "capability", "nf_tables", "owner", "br_netfilter", "engines", "agent"] {
            assert_eq!(found(&checks, name).state, CheckState::Fine, "{checks:#?}");
        }
        assert_eq!(nft("list tables"), "");
        assert_eq!(found(&checks, "forwarding").state, CheckState::Warning, "a new namespace forwards nothing");
        assert!(checks.iter().all(|check| (check.state == CheckState::Fine) == check.remedy.is_none()), "{checks:#?}");
    });
}

#[test]
fn an_owned_table_is_in_nobodys_way() {
    in_namespace(|| {
        let mut kernel = Kernel::open(TABLE).unwrap();
        kernel.repair(&Repair::create(&everything())).unwrap();
        let before = nft("-j list ruleset");
        assert_eq!(found(&look(), "nf_tables").state, CheckState::Fine);
        assert_eq!(nft("-j list ruleset"), before);
    });
}

#[test]
fn another_engine_is_seen_by_its_names() {
    in_namespace(|| {
        load("table ip filter { chain cali-FORWARD { accept; }\n}\ntable inet kube-network-policies { }\n");
        let checks = look();
        let engines = found(&checks, "engines");
        assert_eq!(engines.state, CheckState::Warning);
        for name in ["Calico (chain cali-FORWARD)", "kube-network-policies (table kube-network-policies)"] {
            assert!(engines.finding.contains(name), "{engines:?}");
        }
    });
}
