//! What a scheduler and a CNI would add to two versions of a cluster, so that what is in both is the same in both.

use std::collections::BTreeSet;

use policy_compiler::cluster::{AddressPools, Cluster};
use policy_compiler::model::{Node, Object, Pod};

pub use policy_compiler::cluster::PlacementError;

/// Places the pods of two clusters on nodes, and with pools gives them addresses, as [`Cluster::place_pods`] and
/// [`Cluster::assign_addresses`] do for one. A pod that comes or goes does not move the others.
///
/// # Errors
/// When a pool is too small for the pods of both.
pub fn place_alike(
    old: &mut Cluster,
    new: &mut Cluster,
    fallback: &str,
    pools: Option<&AddressPools>,
) -> Result<(), PlacementError> {
    let homeless = |cluster: &Cluster| -> BTreeSet<_> {
        cluster.pods().filter(|pod| pod.node.is_none()).map(|pod| pod.name.clone()).collect()
    };
    let (homeless_before, homeless_now) = (homeless(old), homeless(new));
    let nodes = [old.node_names(), new.node_names()];
    for (cluster, others) in [&mut *old, &mut *new].into_iter().zip(nodes.iter().rev()) {
        let known = cluster.node_names();
        for name in others.difference(&known) {
            _ = cluster.apply(Object::Node(Node { name: name.clone(), origin: None }));
        }
        cluster.place_pods(fallback);
    }
    let stay: Vec<Pod> = homeless_now
        .intersection(&homeless_before)
        .filter_map(|name| Some(Pod { node: old.pod(name)?.node.clone(), ..new.pod(name)?.clone() }))
        .collect();
    stay.into_iter().for_each(|pod| _ = new.apply(Object::Pod(pod.into())));
    let Some(pools) = pools else { return Ok(()) };

    // Every pod of both, as it is now.
    let pods = old.pods().chain(new.pods()).map(|pod| Object::Pod(pod.clone().into()));
    let mut both: Cluster = pods.collect();
    both.assign_addresses(pools)?;
    for cluster in [old, new] {
        let without = cluster.pods().filter(|pod| pod.is_selectable() && pod.addresses.is_empty());
        let addressed: Vec<Pod> = without
            .filter_map(|pod| Some(Pod { addresses: both.pod(&pod.name)?.addresses.clone(), ..pod.clone() }))
            .collect();
        addressed.into_iter().for_each(|pod| _ = cluster.apply(Object::Pod(pod.into())));
    }
    Ok(())
}
