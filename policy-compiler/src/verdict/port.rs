//! Whether one entry of `ports` means where a flow goes.

use std::sync::Arc;

use super::flow::{Flow, Traffic};
use super::miss::PortMiss;
use crate::model::{PolicyPort, PortMatch, Protocol};

/// Why an entry does not mean where the flow goes; `None` where it does. Whatever the direction, the port is the
/// destination's (rules 56, 62).
pub(super) fn miss(entry: &PolicyPort, flow: &Flow<'_>) -> Option<PortMiss> {
    match flow.traffic {
        Traffic::Port(protocol, port) if protocol == entry.protocol => match &entry.ports {
            PortMatch::All => None,
            PortMatch::Range(first, last) => {
                let within = *first <= port && port <= *last;
                (!within).then_some(PortMiss::Number { first: *first, last: *last })
            }
            PortMatch::Named(name) => name_miss(name, protocol, port, flow),
        },
        // Also for protocols that no entry can name: an entry is always for one protocol (rules 34, 57).
        Traffic::Port(..) | Traffic::Other(_) => Some(PortMiss::Protocol { wanted: entry.protocol }),
    }
}

/// A name means what the destination pod calls so, for the same protocol, and nothing elsewhere (rules 62-69).
fn name_miss(name: &Arc<str>, protocol: Protocol, port: u16, flow: &Flow<'_>) -> Option<PortMiss> {
    let Some(pod) = flow.to.selectable() else { return Some(PortMiss::NameWithoutPod { name: name.clone() }) };
    let called_so: Vec<_> = pod.ports.iter().filter(|declared| declared.name.as_ref() == Some(name)).collect();
    let numbers: Vec<u16> =
        called_so.iter().filter(|declared| declared.protocol == protocol).map(|declared| declared.number).collect();
    // A valid pod has a name once; where it stands more often, each of them will do (rule 70).
    if numbers.contains(&port) {
        return None;
    }
    let name = name.clone();
    Some(match called_so.first() {
        None => PortMiss::NameMissing { name },
        Some(declared) if numbers.is_empty() => PortMiss::NameProtocol { name, declared: declared.protocol },
        Some(_) => PortMiss::NameNumber { name, numbers },
    })
}
