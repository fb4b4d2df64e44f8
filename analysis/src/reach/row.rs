//! All that one class may send.

use policy_compiler::cidr::Family;
use policy_compiler::verdict::Traffic;

use super::Reach;
use super::class::ClassId;
use super::ports;
use super::traffic::TrafficSet;

/// All that one class may send, to every class.
#[derive(Debug)]
pub struct Row<'r> {
    reach: &'r Reach<'r>,
    from: ClassId,
    /// For IPv4 and for IPv6, class by class, the atoms of what is allowed.
    views: [Vec<u64>; 2],
}

/// Whether some traffic may pass from one class to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Passage {
    /// In every family that both ends have.
    Allowed,
    /// In none.
    Denied,
    /// Both ends have both families, and only this one is allowed.
    Only(Family),
    /// No family is known that both ends have: there is no way at all.
    NoFamily,
}

impl<'r> Row<'r> {
    pub(super) fn new(reach: &'r Reach<'r>, from: ClassId) -> Self {
        Self { reach, from, views: [0, 1].map(|view| view_of(reach, from, view)) }
    }

    /// Whether some traffic may pass to a class; of pods, to others than the sender itself.
    pub fn passage(&self, to: ClassId, traffic: Traffic) -> Passage {
        let atom = self.reach.space.atom(traffic);
        self.fold(to, |words| ports::contains(words, atom))
    }

    /// All that may pass to a class, for each family that both ends have. For two ends without known addresses that is
    /// one.
    pub fn traffic(&self, to: ClassId) -> Vec<(Family, TrafficSet)> {
        self.families(to).map(|family| (family, self.reach.space.traffic(self.words(family, to)))).collect()
    }

    /// Families that both ends have or may have; two ends without known addresses look the same in each.
    pub(crate) fn families(&self, to: ClassId) -> impl Iterator<Item = Family> {
        let ends = self.reach.classes.get(self.from).zip(self.reach.classes.get(to));
        let unknown = ends.is_some_and(|(from, to)| from.has_no_address() && to.has_no_address());
        let both = move |family: &Family| self.may_meet(*family, to);
        Family::BOTH.into_iter().filter(both).take(if unknown { 1 } else { 2 })
    }

    /// Whether both ends have, or may have, addresses of a family.
    pub(crate) fn may_meet(&self, family: Family, to: ClassId) -> bool {
        let ends = self.reach.classes.get(self.from).zip(self.reach.classes.get(to));
        ends.is_some_and(|(from, to)| from.may_have(family) && to.may_have(family))
    }

    /// The atoms that may pass to a class over a family.
    pub(crate) fn words(&self, family: Family, to: ClassId) -> &[u64] {
        let count = self.reach.space.words();
        let [v4, v6] = &self.views;
        let view = match family {
            Family::V4 => v4,
            Family::V6 => v6,
        };
        view.get(to * count..(to + 1) * count).unwrap_or_default()
    }

    fn fold(&self, to: ClassId, allowed: impl Fn(&[u64]) -> bool) -> Passage {
        let mut passage = Passage::NoFamily;
        for family in self.families(to) {
            passage = match (passage, allowed(self.words(family, to))) {
                (Passage::NoFamily, true) => Passage::Allowed,
                (Passage::NoFamily, false) => Passage::Denied,
                (Passage::Allowed, false) => Passage::Only(Family::V4),
                (Passage::Denied, true) => Passage::Only(family),
                (same, _) => same,
            };
        }
        passage
    }
}

/// What passes both directions (rule 20), class by class.
fn view_of(reach: &Reach<'_>, from: ClassId, view: usize) -> Vec<u64> {
    let words = reach.space.words();
    let everything = reach.space.everything();
    let mut cells = vec![0; words * reach.classes.len()];
    match reach.egress.get(from).copied().flatten().and_then(|set| reach.rules.set(set)) {
        None => cells.chunks_exact_mut(words).for_each(|cell| cell.copy_from_slice(&everything)),
        Some(set) => reach.rules.add_to_all(set, view, &mut cells, words),
    }
    // What subjects of the same policies may receive from here differs only by named ports.
    let mut shared: Vec<Option<Vec<u64>>> = Vec::new();
    let mut own = vec![0; words];
    for (to, cell) in cells.chunks_exact_mut(words).enumerate() {
        let Some(id) = reach.ingress.get(to).copied().flatten() else { continue };
        let Some(set) = reach.rules.set(id) else { continue };
        if cell.iter().all(|word| *word == 0) {
            continue;
        }
        if set.has_names {
            own.fill(0);
            reach.rules.add(set, view, from, to, &mut own);
            intersect(cell, &own);
            continue;
        }
        if shared.len() <= id {
            shared.resize(id + 1, None);
        }
        let Some(slot) = shared.get_mut(id) else { continue };
        let ingress = slot.get_or_insert_with(|| {
            let mut allowed = vec![0; words];
            reach.rules.add(set, view, from, to, &mut allowed);
            allowed
        });
        intersect(cell, ingress);
    }
    cells
}

fn intersect(words: &mut [u64], others: &[u64]) {
    words.iter_mut().zip(others).for_each(|(word, other)| *word &= other);
}
