//! All pods, in groups of equal namespace and labels: what a selector says of one it says of the whole group.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use policy_compiler::cluster::Cluster;
use policy_compiler::model::{Labels, NAMESPACE_NAME_LABEL, NamespaceScope, Pod, Protocol};
use policy_compiler::selector::{Operator, Selector};

pub(super) type GroupId = usize;

/// Pods of one namespace with the same labels.
pub(super) struct Group<'c> {
    pub(super) namespace: &'c str,
    pub(super) labels: &'c Labels,
    /// Those that policy applies to.
    pub(super) pods: Vec<&'c Pod>,
    /// Those on their node's network (rule 105).
    pub(super) on_host: Vec<&'c Pod>,
    /// The ports of those that policy applies to.
    pub(super) ports: BTreeSet<Port<'c>>,
}

/// A container port: protocol, name and number.
pub(super) type Port<'c> = (Protocol, Option<&'c str>, u16);

/// Whom a peer matches.
pub(super) struct Peers {
    /// The namespaces that it looks into.
    pub(super) namespaces: Vec<String>,
    /// The groups there that it selects, sorted.
    pub(super) groups: Vec<GroupId>,
}

/// What tells peers apart: the policy's namespace, where that matters, and the selectors.
type PeerKey = (Option<String>, NamespaceScope, Selector);

/// Who is there to be selected.
pub(super) struct Population<'c> {
    groups: Vec<Group<'c>>,
    by_namespace: HashMap<&'c str, Vec<GroupId>>,
    by_label: HashMap<(&'c str, &'c str), Vec<GroupId>>,
    namespaces: BTreeMap<String, Labels>,
    ports: BTreeSet<Port<'c>>,
    /// Peers that were asked for: several checks do, and policies repeat each other.
    peers: RefCell<HashMap<PeerKey, Rc<Peers>>>,
}

impl<'c> Population<'c> {
    pub(super) fn new(cluster: &'c Cluster) -> Self {
        let namespaces = cluster.namespace_names().into_iter();
        let mut population = Self {
            groups: Vec::new(),
            by_namespace: HashMap::new(),
            by_label: HashMap::new(),
            namespaces: namespaces.map(|name| (name.to_string(), cluster.namespace_labels(&name))).collect(),
            ports: BTreeSet::new(),
            peers: RefCell::default(),
        };
        let mut ids: HashMap<(&str, &Labels), GroupId> = HashMap::new();
        for pod in cluster.pods() {
            let namespace = &*pod.name.namespace;
            let id = *ids.entry((namespace, &pod.labels)).or_insert_with(|| population.add(namespace, &pod.labels));
            let Some(group) = population.groups.get_mut(id) else { continue };
            if pod.is_selectable() {
                group.pods.push(pod);
                group.ports.extend(pod.ports.iter().map(|port| (port.protocol, port.name.as_deref(), port.number)));
            } else if pod.host_network {
                group.on_host.push(pod);
            }
        }
        population.ports = population.groups.iter().flat_map(|group| &group.ports).copied().collect();
        population
    }

    fn add(&mut self, namespace: &'c str, labels: &'c Labels) -> GroupId {
        let id = self.groups.len();
        self.groups.push(Group { namespace, labels, pods: Vec::new(), on_host: Vec::new(), ports: BTreeSet::new() });
        self.by_namespace.entry(namespace).or_default().push(id);
        for label in labels.iter() {
            self.by_label.entry(label).or_default().push(id);
        }
        id
    }

    /// A group by its id.
    pub(super) fn group(&self, id: GroupId) -> &Group<'c> {
        &self.groups[id]
    }

    /// All groups.
    pub(super) fn groups(&self) -> impl Iterator<Item = &Group<'c>> {
        self.groups.iter()
    }

    /// The ports of all pods that policy applies to.
    pub(super) fn ports(&self) -> &BTreeSet<Port<'c>> {
        &self.ports
    }

    /// Every namespace that the input speaks of, and its labels.
    pub(super) fn namespaces(&self) -> &BTreeMap<String, Labels> {
        &self.namespaces
    }

    /// The groups of a namespace.
    pub(super) fn of_namespace(&self, namespace: &str) -> &[GroupId] {
        self.by_namespace.get(namespace).map(Vec::as_slice).unwrap_or_default()
    }

    /// The groups of one namespace that a selector matches, sorted.
    pub(super) fn in_namespace(&self, namespace: &str, selector: &Selector) -> Vec<GroupId> {
        self.select(&[namespace], selector)
    }

    /// Whom a peer of a policy in namespace `own` matches.
    pub(super) fn peers(&self, own: &str, scope: &NamespaceScope, pods: &Selector) -> Rc<Peers> {
        let key = ((*scope == NamespaceScope::Own).then(|| own.to_owned()), scope.clone(), pods.clone());
        if let Some(known) = self.peers.borrow().get(&key) {
            return known.clone();
        }
        let namespaces = self.scope(own, scope);
        let groups = self.select(&namespaces, pods);
        let namespaces = namespaces.into_iter().map(str::to_owned).collect();
        let peers = Rc::new(Peers { namespaces, groups });
        self.peers.borrow_mut().insert(key, peers.clone());
        peers
    }

    /// The namespaces that a peer of a policy in namespace `own` looks into.
    pub(super) fn scope<'s>(&'s self, own: &'s str, scope: &NamespaceScope) -> Vec<&'s str> {
        match scope {
            NamespaceScope::Own => vec![own],
            NamespaceScope::Matching(selector) => {
                let matching = self.namespaces.iter().filter(|(_, labels)| selector.matches(labels));
                matching.map(|(name, _)| name.as_str()).collect()
            }
        }
    }

    /// The groups of these namespaces that a selector matches, sorted.
    pub(super) fn select(&self, namespaces: &[&str], selector: &Selector) -> Vec<GroupId> {
        // With the rarest label that the selector asks for there are few to look at.
        let labelled = selector.requirements().iter().filter_map(|requirement| match &requirement.operator {
            Operator::In(values) => Some(
                values
                    .iter()
                    .filter_map(|value| self.by_label.get(&(&*requirement.key, &**value)))
                    .map(Vec::as_slice)
                    .collect::<Vec<_>>(),
            ),
            Operator::NotIn(_) | Operator::Exists | Operator::DoesNotExist => None,
        });
        let of_namespaces = namespaces.iter().map(|namespace| self.of_namespace(namespace)).collect();
        let size = |lists: &Vec<&[GroupId]>| lists.iter().map(|list| list.len()).sum::<usize>();
        let candidates = labelled.chain([of_namespaces]).min_by_key(size).unwrap_or_default();

        let wanted: HashSet<&str> = namespaces.iter().copied().collect();
        let selects = |id: &GroupId| {
            let group = self.group(*id);
            wanted.contains(group.namespace) && selector.matches(group.labels)
        };
        let mut selected: Vec<GroupId> = candidates.into_iter().flatten().copied().filter(selects).collect();
        selected.sort_unstable();
        selected
    }

    /// Whether a namespaceSelector asks by name for a namespace that the input does not speak of.
    pub(super) fn asks_for_unknown(&self, selector: &Selector) -> bool {
        selector.requirements().iter().any(|requirement| match &requirement.operator {
            Operator::In(values) if &*requirement.key == NAMESPACE_NAME_LABEL => {
                values.iter().any(|name| !self.namespaces.contains_key(&**name))
            }
            _ => false,
        })
    }
}
