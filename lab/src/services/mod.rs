//! Services: what an API server and kube-proxy make of them.
//!
//! [`assign`] gives them the addresses and node ports that nobody has written down, [`served`] tells what stands behind
//! which of their ports, and [`load_on`] makes every node forward there, as kube-proxy does in its nftables mode.

mod assign;
mod served;
mod table;

pub use assign::assign;
pub use served::{Backend, Served, served};

use std::sync::Arc;

use crate::{Lab, LabError, ip};

/// kube-proxy on nodes, which it shows what [`served`] tells. It may be called again whenever pods or Services have changed; connections
/// that stand keep the pod that they have.
///
/// # Errors
/// When the lab lacks a node, or a kernel refuses the rules.
pub fn load_on<'n>(
    lab: &Lab,
    nodes: impl IntoIterator<Item = &'n Arc<str>>,
    services: &[Served],
) -> Result<(), LabError> {
    nodes.into_iter().try_for_each(|name| {
        let node = lab.node(name)?;
        // The tables, whole, in one transaction.
        ip::nft(node.namespace(), &table::table(services, name, node.site()))
    })
}
