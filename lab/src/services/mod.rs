//! Services: what an API server and kube-proxy make of them.
//!
//! [`assign`] gives them the addresses and node ports that nobody has written down, [`served`] tells what stands behind
//! which of their ports, and [`load_on`] makes every node forward there, as kube-proxy does in its nftables mode.

mod assign;
mod served;
mod table;

pub use assign::assign;
pub use served::{Backend, Served, served};

use policy_compiler::cluster::Cluster;

use crate::{Lab, LabError, Namespace, ip, underlay::Site};

/// kube-proxy on every node of a cluster. It may be called again whenever pods or Services have changed; connections
/// that stand keep the pod that they have.
///
/// # Errors
/// When the lab lacks a node of the cluster, or a kernel refuses the rules.
pub fn load_on(lab: &Lab, cluster: &Cluster) -> Result<(), LabError> {
    let services = served(cluster);
    cluster.node_names().iter().try_for_each(|name| {
        let node = lab.node(name)?;
        load(node.namespace(), node.site(), name, &services)
    })
}

/// kube-proxy on one node: its tables, whole, in one transaction.
pub(crate) fn load(node: &Namespace, site: &Site, node_name: &str, services: &[Served]) -> Result<(), LabError> {
    ip::nft(node, &table::table(services, node_name, site))
}
