//! The rules of all policies, with peers as sets of classes and ports as sets of atoms.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use fixedbitset::FixedBitSet;
use policy_compiler::cluster::Cluster;
use policy_compiler::model::{Direction, IpBlock, Labels, NamespaceScope, Peer, Policy, PortMatch, Protocol, Rule};
use policy_compiler::selector::Selector;

use super::class::{Class, ClassId, Host};
use super::ports::{self, PortSpace};

/// The place of a set of rules in [`RuleSets`].
pub(super) type SetId = usize;

/// What isolated classes may send or receive: subjects of the same policies share a set.
#[derive(Debug, Default)]
pub(super) struct RuleSets {
    rules: Vec<ResolvedRule>,
    sets: Vec<RuleSet>,
    /// What each name of a port stands for on each class, as atoms; nothing where the class has no such port (rule 64).
    named: Vec<Vec<Option<Vec<u64>>>>,
}

/// The rules of some policies, in one direction.
#[derive(Debug)]
pub(super) struct RuleSet {
    rules: Vec<usize>,
    /// Whether a port has a name, so that what a rule allows depends on the destination.
    pub(super) has_names: bool,
}

#[derive(Debug)]
struct ResolvedRule {
    /// The other ends, for IPv4 and for IPv6; everybody without (rule 32).
    peers: Option<[FixedBitSet; 2]>,
    /// The ports that are numbers.
    ports: Vec<u64>,
    /// The ports that are names, by their place in `named`.
    names: Vec<usize>,
}

impl RuleSets {
    pub(super) fn set(&self, id: SetId) -> Option<&RuleSet> {
        self.sets.get(id)
    }

    /// Adds what a set allows between its subject and one peer, at a destination, in the view of one family.
    pub(super) fn add(&self, set: &RuleSet, view: usize, peer: ClassId, destination: ClassId, words: &mut [u64]) {
        for rule in set.rules.iter().filter_map(|place| self.rules.get(*place)) {
            if rule.means(view, peer) {
                self.add_ports(rule, destination, words);
            }
        }
    }

    /// Adds what a set allows its subject to send, to every class at once.
    pub(super) fn add_to_all(&self, set: &RuleSet, view: usize, cells: &mut [u64], words: usize) {
        for rule in set.rules.iter().filter_map(|place| self.rules.get(*place)) {
            for (to, cell) in cells.chunks_exact_mut(words).enumerate() {
                if rule.means(view, to) {
                    self.add_ports(rule, to, cell);
                }
            }
        }
    }

    fn add_ports(&self, rule: &ResolvedRule, destination: ClassId, words: &mut [u64]) {
        unite(words, &rule.ports);
        for name in &rule.names {
            if let Some(Some(atoms)) = self.named.get(*name).and_then(|classes| classes.get(destination)) {
                unite(words, atoms);
            }
        }
    }
}

impl ResolvedRule {
    fn means(&self, view: usize, peer: ClassId) -> bool {
        self.peers.as_ref().is_none_or(|views| views.get(view).is_some_and(|classes| classes.contains(peer)))
    }
}

fn unite(words: &mut [u64], more: &[u64]) {
    words.iter_mut().zip(more).for_each(|(word, more)| *word |= more);
}

/// Policies, on their way to [`RuleSets`].
pub(super) struct Reading<'r, 'c> {
    cluster: &'c Cluster,
    space: &'r PortSpace,
    classes: &'r [Class<'c>],
    blocks: &'r [IpBlock],
    namespaces: HashMap<Arc<str>, Labels>,
    names: Vec<(Arc<str>, Protocol)>,
    /// What each peer means: many rules name the same.
    peers: HashMap<(Option<Arc<str>>, &'c Peer), [FixedBitSet; 2]>,
    found: RuleSets,
}

impl<'r, 'c> Reading<'r, 'c> {
    pub(super) fn new(
        cluster: &'c Cluster,
        space: &'r PortSpace,
        classes: &'r [Class<'c>],
        blocks: &'r [IpBlock],
    ) -> Self {
        let names: Vec<_> = ports::names(cluster).into_iter().collect();
        let atoms = |class: &Class<'_>, name: &(Arc<str>, Protocol)| {
            let meant = class.key.ports.iter().filter(|(called, protocol, _)| (called, protocol) == (&name.0, &name.1));
            let mut words = vec![0; space.words()];
            meant.clone().for_each(|(_, protocol, number)| space.add(&mut words, *protocol, *number, *number));
            (meant.count() > 0).then_some(words)
        };
        let named = names.iter().map(|name| classes.iter().map(|class| atoms(class, name)).collect()).collect();
        let namespaces =
            cluster.namespace_names().into_iter().map(|name| (name.clone(), cluster.namespace_labels(&name)));
        Self {
            cluster,
            space,
            classes,
            blocks,
            namespaces: namespaces.collect(),
            names,
            peers: HashMap::new(),
            found: RuleSets { named, ..RuleSets::default() },
        }
    }

    /// What each class is allowed in one direction; none where no policy isolates it (rules 15, 16).
    pub(super) fn subjects(&mut self, direction: Direction) -> Vec<Option<SetId>> {
        let mut rules: Vec<Option<Vec<usize>>> = vec![None; self.classes.len()];
        let isolating = |policy: &&'c Policy| policy.rules(direction).is_some();
        for policy in self.cluster.policies().filter(isolating) {
            let subjects: Vec<ClassId> = self.subjects_of(policy).collect();
            if subjects.is_empty() {
                continue;
            }
            let first = self.found.rules.len();
            for rule in policy.rules(direction).unwrap_or_default() {
                let resolved = self.rule(policy, rule);
                self.found.rules.push(resolved);
            }
            for subject in subjects {
                if let Some(rules) = rules.get_mut(subject) {
                    rules.get_or_insert_default().extend(first..self.found.rules.len());
                }
            }
        }
        let mut sets: HashMap<Vec<usize>, SetId> = HashMap::new();
        let mut intern = |rules: Vec<usize>| {
            *sets.entry(rules).or_insert_with_key(|rules| {
                let named = |place: &usize| self.found.rules.get(*place).is_some_and(|rule| !rule.names.is_empty());
                let has_names = rules.iter().any(named);
                self.found.sets.push(RuleSet { rules: rules.clone(), has_names });
                self.found.sets.len() - 1
            })
        };
        rules.into_iter().map(|rules| rules.map(&mut intern)).collect()
    }

    pub(super) fn finish(self) -> RuleSets {
        self.found
    }

    /// Rules 11 and 21.
    fn subjects_of(&self, policy: &Policy) -> impl Iterator<Item = ClassId> {
        let selected = |class: &Class<'_>| match &class.key.host {
            Host::Pod { namespace, labels } => *namespace == policy.name.namespace && policy.subject.matches(labels),
            Host::Node | Host::Outside => false,
        };
        self.classes.iter().enumerate().filter(move |(_, class)| selected(class)).map(|(id, _)| id)
    }

    fn rule(&mut self, policy: &Policy, rule: &'c Rule) -> ResolvedRule {
        let peers = rule.peers.as_ref().map(|peers| {
            let mut all = [(); 2].map(|()| FixedBitSet::with_capacity(self.classes.len()));
            for peer in peers {
                let own = match peer {
                    Peer::Pods { namespaces: NamespaceScope::Own, .. } => Some(policy.name.namespace.clone()),
                    Peer::Pods { .. } | Peer::Block(_) => None,
                };
                let key = (own, peer);
                if !self.peers.contains_key(&key) {
                    self.peers.insert(key.clone(), self.meant(key.0.as_deref(), peer));
                }
                let Some(meant) = self.peers.get(&key) else { continue };
                all.iter_mut().zip(meant).for_each(|(all, meant)| all.union_with(meant));
            }
            all
        });
        let (mut ports, mut names) = (vec![0; self.space.words()], Vec::new());
        match &rule.ports {
            None => ports = self.space.everything(),
            Some(entries) => {
                for entry in entries {
                    match &entry.ports {
                        PortMatch::All => self.space.add(&mut ports, entry.protocol, 1, u16::MAX),
                        PortMatch::Range(first, last) => self.space.add(&mut ports, entry.protocol, *first, *last),
                        PortMatch::Named(name) => {
                            names.extend(self.names.binary_search(&(name.clone(), entry.protocol)).ok());
                        }
                    }
                }
            }
        }
        ResolvedRule { peers, ports, names }
    }

    /// The classes that a peer means, for each family (rules 39-41, 84-89).
    fn meant(&self, own: Option<&str>, peer: &Peer) -> [FixedBitSet; 2] {
        let pods = |namespaces: &NamespaceScope, pods: &Selector| {
            let scope: BTreeSet<&str> = match namespaces {
                NamespaceScope::Own => own.into_iter().collect(),
                NamespaceScope::Matching(selector) => {
                    let matching = self.namespaces.iter().filter(|(_, labels)| selector.matches(labels));
                    matching.map(|(name, _)| &**name).collect()
                }
            };
            self.set_of(|class| match &class.key.host {
                Host::Pod { namespace, labels } => scope.contains(&**namespace) && pods.matches(labels),
                Host::Node | Host::Outside => false,
            })
        };
        match peer {
            Peer::Pods { namespaces, pods: selector } => {
                let meant = pods(namespaces, selector);
                [meant.clone(), meant]
            }
            Peer::Block(block) => {
                let place = self.blocks.binary_search(block).ok().and_then(|place| u32::try_from(place).ok());
                let admits = |blocks: &Option<Vec<u32>>| {
                    place
                        .is_some_and(|place| blocks.as_ref().is_some_and(|blocks| blocks.binary_search(&place).is_ok()))
                };
                [0, 1].map(|family: usize| self.set_of(|class| class.key.blocks.get(family).is_some_and(admits)))
            }
        }
    }

    fn set_of(&self, belongs: impl Fn(&Class<'_>) -> bool) -> FixedBitSet {
        let mut set = FixedBitSet::with_capacity(self.classes.len());
        set.extend(self.classes.iter().enumerate().filter(|(_, class)| belongs(class)).map(|(id, _)| id));
        set
    }
}
