//! What a scheduler, a controller and a CNI would add to manifests that nobody has run: nodes and addresses. The same
//! input always gets the same.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::Cluster;
use crate::cidr::{Cidr, Family};
use crate::model::{Node, ObjectName, Pod};

/// Why pods of manifests cannot be placed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// The address block is too small.
    #[error("{cidr} has no address left for pod {pod}")]
    PoolExhausted {
        /// The block.
        cidr: Cidr,
        /// The first pod that got none.
        pod: ObjectName,
    },
    /// Two blocks of one family.
    #[error("{0} and {1} are of the same family: at most one IPv4 and one IPv6 block")]
    SameFamily(Cidr, Cidr),
}

/// The blocks that made-up pod addresses come from, at most one a family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressPools(BTreeMap<Family, Cidr>);

impl AddressPools {
    /// Pools from these blocks.
    ///
    /// # Errors
    /// When two are of one family.
    pub fn new(cidrs: impl IntoIterator<Item = Cidr>) -> Result<Self, PlacementError> {
        let mut pools = BTreeMap::new();
        for cidr in cidrs {
            if let Some(other) = pools.insert(cidr.family(), cidr) {
                return Err(PlacementError::SameFamily(other, cidr));
            }
        }
        Ok(Self(pools))
    }
}

impl Cluster {
    /// Makes one pod per node of every DaemonSet, and spreads the pods that name no node over all nodes in turn. With
    /// no node known at all there is one, called `fallback`.
    pub fn place_pods(&mut self, fallback: &str) {
        let mut nodes: Vec<Arc<str>> = self.node_names().into_iter().collect();
        if nodes.is_empty() {
            let name: Arc<str> = fallback.into();
            self.nodes.insert(name.clone(), Node { name: name.clone(), origin: None });
            nodes.push(name);
        }
        let unplaced: Vec<ObjectName> =
            self.pods().filter(|pod| pod.node.is_none()).map(|pod| pod.name.clone()).collect();
        let mut turn = nodes.iter().cycle();
        for name in unplaced {
            if self.pods.get(&name).is_some_and(stands_for_daemon_set) {
                self.expand_daemon_set(&name, &nodes);
            } else if let Some(pod) = self.pods.get_mut(&name) {
                pod.node = turn.next().cloned();
            }
        }
    }

    fn expand_daemon_set(&mut self, name: &ObjectName, nodes: &[Arc<str>]) {
        let Some(template) = self.pods.remove(name) else { return };
        for node in nodes {
            let name = ObjectName::new(name.namespace.clone(), format!("{}-{node}", name.name));
            let pod = Pod { name: name.clone(), node: Some(node.clone()), ..template.clone() };
            self.pods.insert(name, pod);
        }
    }

    /// Gives every pod without an address the next free one of each pool, in the order of names. The first address of
    /// a pool, and those that pods have already, are left out.
    ///
    /// # Errors
    /// When a pool is too small.
    pub fn assign_addresses(&mut self, pools: &AddressPools) -> Result<(), PlacementError> {
        let taken: std::collections::BTreeSet<IpAddr> =
            self.pods().flat_map(|pod| pod.addresses.iter().copied()).collect();
        let mut free: Vec<_> =
            pools.0.values().map(|cidr| (*cidr, hosts(*cidr).filter(|a| !taken.contains(a)))).collect();
        for pod in self.pods.values_mut().filter(|pod| pod.is_selectable() && pod.addresses.is_empty()) {
            for (cidr, hosts) in &mut free {
                let exhausted = || PlacementError::PoolExhausted { cidr: *cidr, pod: pod.name.clone() };
                pod.addresses.push(hosts.next().ok_or_else(exhausted)?);
            }
        }
        Ok(())
    }
}

/// The one pod that a DaemonSet's manifest is read as; what a controller made of it has another name.
fn stands_for_daemon_set(pod: &Pod) -> bool {
    pod.workload.as_ref().is_some_and(|workload| &*workload.kind == "DaemonSet" && workload.name == pod.name.name)
}

/// The addresses of a block without its first (network) and, where it is not IPv6, its last (broadcast).
fn hosts(cidr: Cidr) -> Box<dyn Iterator<Item = IpAddr>> {
    let range = cidr.range();
    match (range.first, range.last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            let bounds = first.to_bits().saturating_add(1)..last.to_bits();
            Box::new(bounds.map(|bits| IpAddr::V4(bits.into())))
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            let bounds = first.to_bits().saturating_add(1)..=last.to_bits();
            Box::new(bounds.map(|bits| IpAddr::V6(bits.into())))
        }
        _ => Box::new(std::iter::empty()), // both ends of a block are of its family
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cidr::CidrRules;
    use crate::model::{Object, Workload};

    fn pod(name: &str) -> Pod {
        Pod::new(ObjectName::new("shop", name))
    }

    fn pools(cidrs: &[&str]) -> AddressPools {
        AddressPools::new(cidrs.iter().map(|cidr| Cidr::parse(cidr, CidrRules::Strict).unwrap().0)).unwrap()
    }

    #[test]
    fn addresses_are_dealt_in_the_order_of_names_around_those_taken() {
        let taken = Pod { addresses: vec!["10.0.0.1".parse().unwrap()], ..pod("c") };
        let mut cluster: Cluster = [pod("b"), pod("a"), taken].map(|pod| Object::Pod(pod.into())).into_iter().collect();
        cluster.assign_addresses(&pools(&["10.0.0.0/29", "fd00::/64"])).unwrap();
        let dealt: Vec<_> = cluster.pods().map(|pod| format!("{} {:?}", pod.name.name, pod.addresses)).collect();
        assert_eq!(dealt, ["a [10.0.0.2, fd00::1]", "b [10.0.0.3, fd00::2]", "c [10.0.0.1]"]);
        assert!(matches!(
            [pod("a"), pod("b"), pod("c")].map(|pod| Object::Pod(pod.into())).into_iter().collect::<Cluster>()
                .assign_addresses(&pools(&["10.0.0.0/30"])),
            Err(PlacementError::PoolExhausted { pod, .. }) if &*pod.name == "c"
        ));
    }

    #[test]
    fn daemon_sets_have_a_pod_a_node_and_the_rest_is_spread() {
        let workload = Some(Workload { kind: "DaemonSet".into(), name: "agent".into() });
        let bound = Pod { node: Some("n2".into()), ..pod("bound") };
        let mut cluster: Cluster = [Pod { workload, ..pod("agent") }, pod("a"), pod("b"), bound]
            .map(|pod| Object::Pod(pod.into()))
            .into_iter()
            .chain([Object::Node(Node { name: "n1".into(), origin: None })])
            .collect();
        cluster.place_pods("unused");
        let placed: Vec<_> = cluster.pods().map(|pod| (&*pod.name.name, pod.node.as_deref().unwrap())).collect();
        assert_eq!(placed, [("a", "n1"), ("agent-n1", "n1"), ("agent-n2", "n2"), ("b", "n2"), ("bound", "n2")]);
    }
}
