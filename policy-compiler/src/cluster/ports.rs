//! The ports at which a cluster's flows can be told apart.

use std::collections::BTreeSet;

use super::Cluster;
use crate::model::{Direction, PortMatch, Protocol};

impl Cluster {
    /// Every port that a container declares or a policy names, of its protocol. A range counts with its two ends.
    pub fn ports(&self) -> BTreeSet<(Protocol, u16)> {
        let declared = self.pods().flat_map(|pod| &pod.ports).map(|port| (port.protocol, port.number));
        let rules = self.policies().flat_map(|policy| Direction::BOTH.into_iter().filter_map(|d| policy.rules(d)));
        let named = rules.flatten().flat_map(|rule| rule.ports.iter().flatten()).flat_map(|port| match port.ports {
            PortMatch::Range(first, last) => vec![(port.protocol, first), (port.protocol, last)],
            // A name is a declared port already, or nobody's.
            PortMatch::All | PortMatch::Named(_) => Vec::new(),
        });
        declared.chain(named).collect()
    }
}
