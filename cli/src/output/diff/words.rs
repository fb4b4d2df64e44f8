//! The ends of flows in words.

use std::collections::{BTreeMap, BTreeSet};

use analysis::diff::{Change, Connectivity, Movement, Side};
use analysis::matrix::UnitName;
use policy_compiler::cidr::{Family, IpRange};
use policy_compiler::model::ObjectName;

/// How many names, or ranges of addresses, are listed before the rest is counted.
const LISTED: usize = 6;

/// Names of both lists of a change.
pub(super) struct Words<'c> {
    /// All pods that are in both clusters, by namespace.
    namespaces: BTreeMap<&'c str, BTreeSet<&'c UnitName>>,
    all: usize,
    groups: usize,
}

impl<'c> Words<'c> {
    pub(super) fn new(connectivity: &'c Connectivity) -> Self {
        let mut namespaces: BTreeMap<&str, BTreeSet<&UnitName>> = BTreeMap::new();
        for unit in &connectivity.units {
            namespaces.entry(unit.namespace().unwrap_or_default()).or_default().insert(unit);
        }
        Self { namespaces, all: connectivity.units.len(), groups: connectivity.groups }
    }

    /// Who sends and who receives.
    pub(super) fn ends(&self, change: &Change) -> (String, String) {
        (self.side(&change.from, &change.to), self.side(&change.to, &change.from))
    }

    /// `shop/deploy/web, platform/*, 10.0.0.0/8`; whole namespaces, and the whole cluster, by one word.
    fn side(&self, sides: &[Side], other: &[Side]) -> String {
        let mut names = Vec::new();
        match (self.all > 1).then(|| self.missing(sides)).flatten() {
            Some(missing) if missing.is_empty() => names.push("every pod".to_owned()),
            Some(missing) if self.all > 3 && missing.len() == 1 && missing == whole_units(other) => {
                names.push("every other pod".to_owned())
            }
            _ => self.pods(sides, &mut names),
        }
        names = shortened(names, "more");
        let outside = sides.iter().filter_map(|side| match side {
            Side::Outside { ranges, rest } => Some((ranges, *rest)),
            Side::Pods { .. } => None,
        });
        if outside.clone().count() == self.groups {
            names.push("everywhere outside".to_owned());
            return names.join(", ");
        }
        let named: BTreeSet<&IpRange> =
            outside.clone().filter(|(_, rest)| !rest).flat_map(|(ranges, _)| ranges).collect();
        names.extend(shortened(named.iter().map(ToString::to_string).collect(), "more ranges"));
        if outside.clone().any(|(_, rest)| rest) {
            names.push("everywhere else outside".to_owned());
        }
        names.join(", ")
    }

    /// The workloads that are not among these; none if only a part of one is.
    fn missing(&self, sides: &[Side]) -> Option<BTreeSet<&UnitName>> {
        let named = whole_units(sides);
        let all = self.namespaces.values().flatten().copied();
        sides.iter().all(is_entire).then(|| all.filter(|unit| !named.contains(unit)).collect())
    }

    fn pods(&self, sides: &[Side], names: &mut Vec<String>) {
        let mut by_namespace: BTreeMap<&str, Vec<&Side>> = BTreeMap::new();
        for side in sides {
            if let Side::Pods { unit, .. } = side {
                by_namespace.entry(unit.namespace().unwrap_or_default()).or_default().push(side);
            }
        }
        for (namespace, units) in by_namespace {
            let all = self.namespaces.get(namespace).map_or(0, BTreeSet::len);
            if units.len() > 1 && units.len() == all && units.iter().all(|side| is_entire(side)) {
                names.push(format!("{namespace}/*"));
                continue;
            }
            for side in units {
                match side {
                    Side::Pods { unit, only: None } => names.push(unit.to_string()),
                    Side::Pods { only: Some(pods), .. } => names.extend(pods.iter().map(ToString::to_string)),
                    Side::Outside { .. } => (),
                }
            }
        }
    }
}

/// Of what all pods are among these.
fn whole_units(sides: &[Side]) -> BTreeSet<&UnitName> {
    let mut units = BTreeSet::new();
    for side in sides {
        if let Side::Pods { unit, only: None } = side {
            units.insert(unit);
        }
    }
    units
}

/// Not only some pods of a workload.
fn is_entire(side: &Side) -> bool {
    !matches!(side, Side::Pods { only: Some(_), .. })
}

fn shortened(mut names: Vec<String>, what: &str) -> Vec<String> {
    if names.len() > LISTED + 1 {
        let more = names.len() - LISTED;
        names.truncate(LISTED);
        names.push(format!("{more} {what}"));
    }
    names
}

/// What passes, and over which family if not over all.
pub(super) fn traffic(change: &Change) -> String {
    match change.family {
        None => change.traffic.to_string(),
        Some(Family::V4) => format!("{} over IPv4", change.traffic),
        Some(Family::V6) => format!("{} over IPv6", change.traffic),
    }
}

/// `shop/deploy/web (2 pods): ingress isolated by shop/deny; egress open`
pub(super) fn movement(movement: &Movement) -> String {
    let isolation = |policies: &[ObjectName]| match policies {
        [] => "open".to_owned(),
        _ => {
            let names = policies.iter().map(ToString::to_string).collect();
            format!("isolated by {}", shortened(names, "more").join(", "))
        }
    };
    let pods = match movement.pods.len() {
        1 => "1 pod".to_owned(),
        pods => format!("{pods} pods"),
    };
    let (ingress, egress) = (isolation(&movement.ingress), isolation(&movement.egress));
    format!("{} ({pods}): ingress {ingress}; egress {egress}", movement.unit)
}

/// Policies that differ: a sign and a name each.
pub(super) fn policies(connectivity: &Connectivity) -> Vec<(char, &ObjectName)> {
    let changes = &connectivity.policies;
    let signed = |sign: char| move |name| (sign, name);
    let added = changes.added.iter().map(signed('+'));
    added.chain(changes.removed.iter().map(signed('-'))).chain(changes.changed.iter().map(signed('~'))).collect()
}
