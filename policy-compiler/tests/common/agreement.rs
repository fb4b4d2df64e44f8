//! A verdict and a node's plan, held against each other. The suites here and the fuzz targets share it.

use policy_compiler::interpret::{self, Fault, Packet, Payload};
use policy_compiler::model::Direction;
use policy_compiler::ruleset::Table;
use policy_compiler::verdict::{Exemption, Flow, Traffic, Verdict};

/// Whether the table of a node says of a flow what its verdict says of the node's own pods; `None` for flows that no
/// table sees, since a pod and its node, and a pod and itself, speak without passing `forward`.
///
/// # Errors
/// When the table is one that the kernel would not take.
pub(crate) fn agrees(table: &Table, node: &str, flow: &Flow<'_>, verdict: &Verdict<'_>) -> Result<Option<bool>, Fault> {
    let (Some(source), Some(destination)) = (flow.from.address, flow.to.address) else { return Ok(None) };
    match verdict.exempt {
        Some(Exemption::OwnNode) => return Ok(None),
        Some(Exemption::SamePod) if source != destination => return Ok(None),
        Some(Exemption::SamePod) | None => {}
    }
    let payload = match flow.traffic {
        Traffic::Port(protocol, port) => Payload::Port(protocol, port),
        Traffic::Other(_) => Payload::Other,
    };
    let expected = verdict.exempt.is_some()
        || Direction::BOTH.into_iter().all(|direction| {
            let judgement = match direction {
                Direction::Ingress => &verdict.ingress,
                Direction::Egress => &verdict.egress,
            };
            let subject = flow.subject(direction).selectable();
            let is_here = subject.is_some_and(|pod| pod.node.as_deref() == Some(node));
            !is_here || judgement.is_allowed()
        });
    let outcome = interpret::judge(table, &Packet::new(source, destination, payload))?;
    Ok(Some(outcome.is_accepted() == expected))
}
