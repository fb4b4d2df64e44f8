//! Whether the kernel takes rules like ours, and from this process: it is asked, with a transaction that has everything
//! in it and that it takes back.

use policy_compiler::cidr::CidrRules;
use policy_compiler::cluster::Cluster;
use policy_compiler::manifest::{self, Content};
use policy_compiler::plan::{self, Denial, DropLog, Generation, Settings, UnknownPods};
use policy_compiler::ruleset::Table;

use super::Check;
use crate::kernel::{Kernel, KernelError, Repair};

const CAPABILITY: &str = "capability";
const NF_TABLES: &str = "nf_tables";
const OWNER: &str = "owner";

const UNOWNED: &str = "the kernel knows no owners of tables: what others change is not refused, but undone afterwards";

/// Nobody has such a table, and nobody ever will: the kernel takes it back.
const TABLE: &str = "podwall_preflight";
/// Where the example's pod runs.
const NODE: &str = "node";

pub(super) fn check() -> [Check; 3] {
    let permitted = || Check::fine(CAPABILITY, "this process may change nftables");
    let untried = |name, see: &str| Check::warning(name, "cannot be tried", format!("see {see}"));
    let mut kernel = match Kernel::open(TABLE) {
        Ok(kernel) => kernel,
        Err(error) => return [untried(CAPABILITY, NF_TABLES), refused(&error), untried(OWNER, NF_TABLES)],
    };
    match kernel.rehearse(&Repair::create(&example())) {
        Ok(()) => {
            let owner = match kernel.makes_owned_tables() {
                true => Check::fine(OWNER, "the kernel keeps others from changing the table"),
                false => Check::warning(OWNER, UNOWNED, "use Linux 6.9 or later"),
            };
            [permitted(), Check::fine(NF_TABLES, "the kernel takes everything that rules are made of"), owner]
        }
        Err(KernelError::NotPermitted) => {
            let remedy = "run as root; in a pod: securityContext: {capabilities: {add: [NET_ADMIN]}}";
            let capability = Check::failure(CAPABILITY, KernelError::NotPermitted.to_string(), remedy);
            [capability, untried(NF_TABLES, CAPABILITY), untried(OWNER, CAPABILITY)]
        }
        Err(error) => [permitted(), refused(&error), untried(OWNER, NF_TABLES)],
    }
}

fn refused(error: &KernelError) -> Check {
    let mut finding = error.to_string();
    if let Some(source) = std::error::Error::source(error) {
        finding = format!("{finding}: {source}");
    }
    let modules = "modprobe -a nf_tables nf_conntrack nft_ct nft_limit nft_log nft_reject_inet nfnetlink_log";
    Check::failure(NF_TABLES, finding, modules)
}

/// A table with everything that a table can have.
fn example() -> Table {
    let manifest = manifest::read(&"example.yaml".into(), include_str!("example.yaml"), CidrRules::Strict);
    let objects = manifest.documents.into_iter().flat_map(|document| match document.content {
        Content::Objects(objects) => objects,
        Content::Skipped | Content::Invalid { .. } => Vec::new(),
    });
    let cluster: Cluster = objects.collect();
    let settings = Settings {
        table: TABLE.into(),
        pod_interfaces: ["cni0", "veth*"].iter().filter_map(|name| name.parse().ok()).collect(),
        unknown_pods: UnknownPods::Drop,
        denial: Denial::Reject,
        drop_log: Some(DropLog::default()),
        ..Settings::default()
    };
    plan::compile(&cluster, NODE, &settings, Generation::FIRST).table
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use policy_compiler::ruleset::{LookupKey, Reject, SetShape, Statement};

    use super::*;

    /// Every variant stands here, or this does not compile.
    fn name(statement: &Statement) -> &'static str {
        match statement {
            Statement::ConnectionState(_) => "ConnectionState",
            Statement::ReplyDirection => "ReplyDirection",
            Statement::Translated => "Translated",
            Statement::MarkIs { .. } => "MarkIs",
            Statement::SetMark { .. } => "SetMark",
            Statement::NeighbourDiscovery => "NeighbourDiscovery",
            Statement::Interface { .. } => "Interface",
            Statement::Protocol(_) => "Protocol",
            Statement::DestinationPort { ports, .. } if ports.len() > 1 => "DestinationPorts",
            Statement::DestinationPort { .. } => "DestinationPort",
            Statement::Lookup { key, .. } => match key {
                LookupKey::Source(_) => "Source",
                LookupKey::Destination(_) => "Destination",
                LookupKey::SourceAndDestination(_) => "SourceAndDestination",
                LookupKey::DestinationAndPort(_) => "DestinationAndPort",
            },
            Statement::VerdictMap { .. } => "VerdictMap",
            Statement::Counter => "Counter",
            Statement::Limit { .. } => "Limit",
            Statement::Log { .. } => "Log",
            Statement::Reject(Reject::TcpReset) => "TcpReset",
            Statement::Reject(Reject::AdminProhibited) => "AdminProhibited",
            Statement::Verdict(_) => "Verdict",
        }
    }

    #[test]
    fn the_example_has_everything() {
        let table = example();
        let rules = table.chains.values().flat_map(|chain| &chain.rules);
        let found: BTreeSet<&str> = rules.flat_map(|rule| &rule.statements).map(name).collect();
        assert_eq!(found.len(), 21, "{found:?}");
        let shapes: BTreeSet<String> = table.sets.values().map(|set| format!("{:?}", set.shape)).collect();
        let all = [
            SetShape::Addresses,
            SetShape::CountedAddresses,
            SetShape::Ranges,
            SetShape::AddressPairs,
            SetShape::AddressPorts,
            SetShape::Verdicts,
        ];
        assert_eq!(shapes, all.map(|shape| format!("{shape:?}")).into());
        let empty: Vec<_> = table.sets.iter().filter(|(_, set)| set.elements.is_empty()).collect();
        assert!(empty.is_empty(), "{empty:?}");
    }
}
