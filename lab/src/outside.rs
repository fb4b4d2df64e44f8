//! The world outside the cluster: one host that has every address that is asked for, and that all nodes route to.

use std::net::IpAddr;

use crate::{
    LabError, Namespace, ip,
    underlay::{Site, Underlay},
};

/// What the host outside is called where pods and nodes have their ids.
pub const OUTSIDE: &str = "(outside)";
/// Its place on the underlay, where the last node's would be.
const NUMBER: u8 = 254;

/// The host outside.
#[derive(Debug)]
pub(crate) struct Outside {
    pub(crate) namespace: Namespace,
    site: Site,
    /// Beside its own on the underlay.
    pub(crate) addresses: Vec<IpAddr>,
}

impl Outside {
    /// A host that has only its address on the underlay.
    pub(crate) fn new(underlay: &Underlay) -> Result<Self, LabError> {
        let outside = Self { namespace: Namespace::new(OUTSIDE)?, site: Site::new(NUMBER), addresses: Vec::new() };
        ip::batch(&outside.namespace, &["link set lo up".to_owned()])?;
        underlay.connect(&outside.namespace, &outside.site)?;
        Ok(outside)
    }

    /// Makes it the router of a node, and tells it where the node's pods are.
    pub(crate) fn route(&self, node: &Namespace, site: &Site) -> Result<(), LabError> {
        let defaults = self.site.addresses.map(|address| format!("route add default via {address}"));
        ip::batch(node, &defaults)?;
        let pods = site.pod_cidrs.iter().zip(&site.addresses);
        let lines: Vec<String> = pods.map(|(cidr, node)| format!("route add {cidr} via {node}")).collect();
        ip::batch(&self.namespace, &lines)
    }

    /// Gives it more addresses; those that it has already stay.
    pub(crate) fn own(&mut self, addresses: &[IpAddr]) -> Result<(), LabError> {
        let mut lines = Vec::new();
        for address in addresses {
            if !self.addresses.contains(address) {
                self.addresses.push(*address);
                lines.push(format!("addr add {address}/{} dev lo", if address.is_ipv4() { 32 } else { 128 }));
            }
        }
        ip::batch(&self.namespace, &lines)
    }
}
