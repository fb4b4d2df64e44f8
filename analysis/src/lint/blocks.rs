//! ipBlocks with addresses of pods in them (rules 87, 90).

use std::collections::HashMap;
use std::net::IpAddr;

use policy_compiler::model::{Direction, IpBlock, ObjectName, Peer};

use super::context::{Context, peer_path};
use super::finding::count;
use super::{Code, Finding, Severity};

/// How many addresses of pods a block admits, and whose the first is.
type Covered<'c> = Option<(usize, IpAddr, &'c ObjectName)>;

pub(super) fn findings(context: &Context<'_>) -> Vec<Finding> {
    // Addresses of pods on their node's network are the node's, and an ipBlock is how these are meant (rule 96).
    let owners: Vec<(IpAddr, &ObjectName)> =
        context.cluster.address_owners().into_iter().map(|(address, pod)| (address, &pod.name)).collect();
    let mut known: HashMap<&IpBlock, Covered<'_>> = HashMap::new();
    let mut findings = Vec::new();
    for subject in &context.subjects {
        for direction in Direction::BOTH {
            for (index, rule) in subject.policy.rules(direction).unwrap_or_default().iter().enumerate() {
                for (entry, peer) in rule.peers.iter().flatten().enumerate() {
                    let Peer::Block(block) = peer else { continue };
                    let covered = *known.entry(block).or_insert_with(|| covered(block, &owners));
                    let Some((addresses, first, pod)) = covered else { continue };
                    let path = format!("{}.ipBlock.cidr", peer_path(direction, index, entry));
                    let of = count(addresses, "pod address").replace("addresss", "addresses");
                    let message = format!("{block} covers {of}, such as {first} of {pod}");
                    let why = "Addresses of pods change whenever pods do, and whoever gets one of the block next is allowed \
                               too.";
                    let finding = subject.finding(Code::IpBlockCoversPods, &path, message, why);
                    // Nobody who writes it takes it for less than everything.
                    let everything = block.cidr.prefix() == 0 && block.except.is_empty();
                    findings.push(Finding {
                        severity: if everything { Severity::Info } else { finding.severity },
                        ..finding.help(
                            "allow pods by podSelector and namespaceSelector; keep pods out of a wide block with \
                             except: [POD_CIDR]",
                        )
                    });
                }
            }
        }
    }
    findings
}

fn covered<'c>(block: &IpBlock, owners: &[(IpAddr, &'c ObjectName)]) -> Covered<'c> {
    let range = block.cidr.range();
    let start = owners.partition_point(|(address, _)| *address < range.first);
    let inside = owners.iter().skip(start).take_while(|(address, _)| *address <= range.last);
    let mut inside = inside.filter(|(address, _)| block.contains(*address));
    let (address, pod) = inside.next()?;
    Some((1 + inside.count(), *address, pod))
}
