//! Whether another policy engine works on the node: what either of them denies is denied, and what the other one accepts
//! early may never reach our rules. Only names of tables and chains are looked at.

use std::collections::BTreeSet;
use std::fs;

use super::Check;
use crate::kernel::{KernelError, Reader};

const NAME: &str = "engines";
const LEGACY: &str = "iptables";

/// What other programs call their tables and chains.
struct Engine {
    name: &'static str,
    /// How the names of its tables start.
    tables: &'static [&'static str],
    /// How the names of its chains start.
    chains: &'static [&'static str],
    remedy: &'static str,
}

const ENGINES: [Engine; 6] = [
    Engine {
        name: "kube-router",
        tables: &["kube-router-filter"],
        chains: &["KUBE-ROUTER-FORWARD", "KUBE-NWPLCY-", "KUBE-POD-FW-"],
        remedy: "start kube-router with --run-firewall=false (k3s: --disable-network-policy), then restart the node",
    },
    Engine {
        name: "Calico",
        tables: &["calico"],
        chains: &["cali-"],
        remedy: "kubectl -n kube-system delete daemonset calico-node, then restart the node",
    },
    Engine {
        name: "Cilium",
        tables: &["cilium"],
        chains: &["CILIUM_"],
        remedy: "cilium config set enable-policy never",
    },
    Engine {
        name: "Antrea",
        tables: &["antrea"],
        chains: &["ANTREA-"],
        remedy: "kubectl -n kube-system delete daemonset antrea-agent, then restart the node",
    },
    Engine {
        name: "Weave Net",
        tables: &["weave"],
        chains: &["WEAVE-NPC"],
        remedy: "take the container weave-npc out of the daemonset weave-net, set its EXPECT_NPC to 0, then restart the node",
    },
    Engine {
        name: "kube-network-policies",
        tables: &["kube-network-policies", "kindnet-network-policies"],
        chains: &[],
        remedy: "kubectl -n kube-system delete daemonset kube-network-policies, then restart the node",
    },
];

/// Tables of nftables first, those of the old iptables then, whose chains we do not see.
pub(super) fn check() -> [Check; 2] {
    let engines = match names() {
        Ok((tables, chains)) => others(&tables, &chains),
        Err(KernelError::NotPermitted) => Check::warning(NAME, "cannot be seen", "see capability"),
        Err(error) => Check::warning(NAME, format!("cannot be seen: {error}"), "nft list chains"),
    };
    [engines, legacy()]
}

/// Names of all tables and of all chains.
fn names() -> Result<(BTreeSet<String>, BTreeSet<String>), KernelError> {
    let mut reader = Reader::open("podwall")?;
    let tables = reader.tables()?.into_iter().map(|table| table.name).collect();
    let chains = reader.chains()?.into_iter().map(|chain| chain.name).collect();
    Ok((tables, chains))
}

fn others(tables: &BTreeSet<String>, chains: &BTreeSet<String>) -> Check {
    let starts = |names: &BTreeSet<String>, starts: &[&str]| {
        names.iter().find(|name| starts.iter().any(|start| name.starts_with(start))).cloned()
    };
    let found: Vec<(&Engine, String)> = ENGINES
        .iter()
        .filter_map(|engine| {
            let table = starts(tables, engine.tables).map(|name| format!("table {name}"));
            let trace = table.or_else(|| starts(chains, engine.chains).map(|name| format!("chain {name}")))?;
            Some((engine, trace))
        })
        .collect();
    if found.is_empty() {
        return Check::fine(NAME, "no other policy engine has rules here");
    }
    let traces: Vec<String> = found.iter().map(|(engine, trace)| format!("{} ({trace})", engine.name)).collect();
    let remedies: Vec<&str> = found.iter().map(|(engine, _)| engine.remedy).collect();
    let finding = format!("another policy engine has rules here: {}", traces.join(", "));
    Check::warning(NAME, finding, remedies.join("; "))
}

fn legacy() -> Check {
    let names = ["ip", "ip6"].map(|family| {
        let file = format!("/proc/thread-self/net/{family}_tables_names");
        fs::read_to_string(file).unwrap_or_default()
    });
    old_tables(&names)
}

/// The contents of `ip_tables_names` and `ip6_tables_names`.
fn old_tables(names: &[String]) -> Check {
    let tables: BTreeSet<&str> = names.iter().flat_map(|names| names.split_whitespace()).collect();
    if tables.is_empty() {
        return Check::fine(LEGACY, "no rules of the old iptables");
    }
    let tables: Vec<&str> = tables.into_iter().collect();
    Check::warning(
        LEGACY,
        format!(
            "the old iptables is in use (tables {}): policy engines in there are not seen by these checks",
            tables.join(", ")
        ),
        "iptables-legacy-save | grep -E 'KUBE-NWPLCY|KUBE-POD-FW|cali-|CILIUM_|ANTREA-|WEAVE-NPC'",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::CheckState::{Fine, Warning};

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn engines_are_known_by_their_tables_and_chains() {
        let ordinary = set(&["KUBE-SERVICES", "KUBE-FORWARD", "CNI-FORWARD", "FLANNEL-FWD", "DOCKER-USER"]);
        assert_eq!(others(&set(&["podwall", "filter", "nat", "kube-proxy"]), &ordinary).state, Fine);
        for (tables, chains, engine) in [
            (&["filter"][..], &["KUBE-NWPLCY-6X5"][..], "kube-router (chain KUBE-NWPLCY-6X5)"),
            (&["kube-router-filter-ipv4"], &[], "kube-router (table kube-router-filter-ipv4)"),
            (&["filter"], &["cali-FORWARD"], "Calico"),
            (&["calico"], &["filter-cali-FORWARD"], "Calico"),
            (&["filter"], &["CILIUM_FORWARD"], "Cilium"),
            (&["filter"], &["ANTREA-FORWARD"], "Antrea"),
            (&["filter"], &["WEAVE-NPC-DEFAULT"], "Weave Net"),
            (&["kube-network-policies"], &["postrouting"], "kube-network-policies"),
        ] {
            let found = others(&set(tables), &set(chains));
            assert!(found.state == Warning && found.finding.contains(engine), "{found:?}");
        }
        let two = others(&set(&["filter"]), &set(&["cali-FORWARD", "WEAVE-NPC"]));
        assert!(two.finding.contains("Calico") && two.finding.contains("Weave Net"), "{two:?}");
    }

    #[test]
    fn the_old_iptables_is_told_of() {
        assert_eq!(old_tables(&[String::new(), String::new()]).state, Fine);
        let found = old_tables(&["nat\nfilter\n".into(), "filter\n".into()]);
        assert!(found.state == Warning && found.finding.contains("tables filter, nat"), "{found:?}");
    }
}
