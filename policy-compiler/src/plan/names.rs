//! What chains and sets are called. Variable parts stand behind a slash or underscore, which no name in Kubernetes can
//! contain, so that no two things can ever come to the same name; what is too long for a name is hashed.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::cidr::Family;
use crate::model::{Direction, ObjectName, Protocol};
use crate::ruleset::{NAME_LIMIT, Name};

/// The base chain.
pub(super) const FORWARD: &str = "base_forward";
/// Judges packets of known connections.
pub(super) const ESTABLISHED: &str = "conn_established";
/// Stamps the connection and lets the packet through.
pub(super) const ALLOW: &str = "conn_allow";
/// Drops what no known pod sent or receives.
pub(super) const UNKNOWN: &str = "unknown_pod";

/// Finds the pod's chain for one direction.
pub(super) fn dispatch(direction: Direction) -> Name {
    format!("dispatch_{direction}").into()
}

/// Address to pod chain.
pub(super) fn dispatch_map(direction: Direction, family: Family) -> Name {
    format!("dispatch_{direction}_{}", suffix(family)).into()
}

/// Where everything ends that no policy allows.
pub(super) fn deny(direction: Direction) -> Name {
    format!("deny_{direction}").into()
}

/// The set that counts denied packets of one direction and family, by the address of the isolated pod.
pub fn denied_counters(direction: Direction, family: Family) -> Name {
    format!("denied_{direction}_{}", suffix(family)).into()
}

/// Every isolated pod's address with itself.
pub(super) fn self_pairs(family: Family) -> Name {
    format!("self_{}", suffix(family)).into()
}

/// The chain of one isolated pod.
pub(super) fn pod(direction: Direction, pod: &ObjectName) -> Name {
    bounded(format!("pod_{direction}/{}/", pod.namespace), pod.name.to_string())
}

/// Whether a chain is an isolated pod's.
pub(super) fn is_pod(chain: &str) -> bool {
    chain.starts_with("pod_")
}

/// The chain of all pods of a namespace that exactly these policies select. Policy names cannot contain the
/// underscore that joins them.
pub(super) fn policy_set<'a>(
    direction: Direction,
    namespace: &str,
    policies: impl IntoIterator<Item = &'a str>,
) -> Name {
    let joined = policies.into_iter().collect::<Vec<_>>().join("_");
    bounded(format!("policies_{direction}/{namespace}/"), joined)
}

/// Addresses of the pods that a peer selects. `text` says which, without ambiguity.
pub(super) fn peer(text: &str, family: Family) -> Name {
    format!("peer_{}_{}", hash(text), suffix(family)).into()
}

/// An ipBlock's ranges.
pub(super) fn block(text: &str, family: Family) -> Name {
    format!("block_{}_{}", hash(text), suffix(family)).into()
}

/// Who listens on a named port: for ingress the node's pods, for egress the cluster's.
pub(super) fn port(direction: Direction, name: &str, protocol: Protocol, family: Family) -> Name {
    let protocol = protocol.name().to_ascii_lowercase();
    format!("port_{direction}/{name}/{protocol}_{}", suffix(family)).into()
}

fn suffix(family: Family) -> &'static str {
    match family {
        Family::V4 => "v4",
        Family::V6 => "v6",
    }
}

/// A hash starts with an underscore, which a name from Kubernetes cannot, so the two never meet.
fn bounded(prefix: String, rest: String) -> Name {
    if prefix.len() + rest.len() <= NAME_LIMIT {
        return (prefix + &rest).into();
    }
    let hashed = format!("_{}", hash(&rest));
    (prefix + &hashed).into()
}

/// 80 bits: two texts with one hash can be found only by who chooses both, and then open nothing but their own.
fn hash(text: &str) -> String {
    Sha256::digest(text).iter().take(10).fold(String::with_capacity(20), |mut hex, byte| {
        _ = write!(hex, "{byte:02x}"); // a String takes every write
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_and_names_never_run_together() {
        let name = |namespace, name| pod(Direction::Ingress, &ObjectName::new(namespace, name));
        assert_ne!(name("team", "a-db"), name("team-a", "db"));
        let set = |policies: &[&str]| policy_set(Direction::Egress, "shop", policies.iter().copied());
        assert_ne!(set(&["a", "b"]), set(&["a-b"]));
    }

    #[test]
    fn names_stay_within_the_kernels_limit() {
        let long = "x".repeat(253);
        let chain = pod(Direction::Ingress, &ObjectName::new("n".repeat(63), long.clone()));
        assert!(chain.len() <= NAME_LIMIT, "{chain}");
        let other = pod(Direction::Ingress, &ObjectName::new("n".repeat(63), "y".repeat(253)));
        assert_ne!(chain, other);
        let many: Vec<String> = (0..50).map(|n| format!("policy-{n}")).collect();
        assert!(policy_set(Direction::Ingress, "shop", many.iter().map(String::as_str)).len() <= NAME_LIMIT);
    }
}
