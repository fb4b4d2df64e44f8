//! Why a cell is what it is: what the policies say of a pair of pods that stands for it.

use analysis::explain::reason;
use analysis::matrix::{Cell, Pair, Unit};
use policy_compiler::cidr::Family;
use policy_compiler::cluster::Cluster;
use policy_compiler::model::Direction;
use policy_compiler::verdict::{Endpoint, Flow, Host, Traffic, judge};
use serde::Serialize;

use super::data::Table;

/// The cases of a cell: one, or one that passes and one that does not where the cell is in part.
pub(super) type Reason = Vec<Case>;

/// One pair.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub(super) struct Case {
    allowed: bool,
    /// The sender's and the receiver's place among the pods of row and column.
    #[serde(rename = "pods")]
    places: [usize; 2],
    /// Where the cell is not the same over both.
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<&'static str>,
    /// Places of texts: why policy does not apply, or what egress and ingress say.
    texts: Vec<usize>,
}

pub(super) fn of(
    cluster: &Cluster,
    (from, to): (&Unit<'_>, &Unit<'_>),
    pairs: &[Pair<'_>],
    traffic: Traffic,
    cell: Cell,
    texts: &mut Table<String>,
) -> Reason {
    let is_in_part = matches!(cell, Cell::Some | Cell::Only(_));
    let mut cases: Reason = Vec::new();
    for pair in pairs {
        let verdict = judge(cluster, &Flow { from: pair.from, to: pair.to, traffic });
        let allowed = verdict.is_allowed();
        if cases.iter().any(|case| case.allowed == allowed) {
            continue;
        }
        let lines = match verdict.exempt {
            Some(exemption) => vec![exemption.to_string()],
            None => vec![reason(&verdict.egress, Direction::Egress), reason(&verdict.ingress, Direction::Ingress)],
        };
        cases.push(Case {
            allowed,
            places: [place(from, pair.from), place(to, pair.to)],
            family: pair.family.filter(|_| is_in_part).map(|family| match family {
                Family::V4 => "IPv4",
                Family::V6 => "IPv6",
            }),
            texts: lines.into_iter().map(|line| texts.place(line)).collect(),
        });
        if !is_in_part || cases.len() == 2 {
            break;
        }
    }
    cases.sort_by_key(|case| !case.allowed);
    cases
}

fn place(unit: &Unit<'_>, end: Endpoint<'_>) -> usize {
    let Host::Pod(pod) = end.host else { return 0 };
    unit.pods.binary_search_by(|other| other.name.cmp(&pod.name)).unwrap_or(0)
}
