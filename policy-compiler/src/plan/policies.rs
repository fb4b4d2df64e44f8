//! All policies, by namespace and by a label that their subjects must have, so that finding a pod's policies does not
//! visit every policy.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::model::{Labels, ObjectName, Policy};
use crate::selector::Operator;

type Label = (Arc<str>, Arc<str>);

#[derive(Clone, Debug, Default)]
pub(super) struct PolicyStore {
    policies: BTreeMap<ObjectName, Policy>,
    /// Names of the policies whose subjects need this label, by namespace.
    labelled: HashMap<Arc<str>, HashMap<Label, BTreeSet<Arc<str>>>>,
    /// Names of the policies whose subjects need no particular label, by namespace.
    others: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
}

impl PolicyStore {
    pub(super) fn get(&self, name: &ObjectName) -> Option<&Policy> {
        self.policies.get(name)
    }

    pub(super) fn len(&self) -> usize {
        self.policies.len()
    }

    pub(super) fn insert(&mut self, policy: Policy) -> Option<Policy> {
        let before = self.remove(&policy.name);
        let ObjectName { namespace, name } = policy.name.clone();
        match needed_labels(&policy) {
            Some(labels) => {
                let index = self.labelled.entry(namespace).or_default();
                for label in labels {
                    index.entry(label).or_default().insert(name.clone());
                }
            }
            None => _ = self.others.entry(namespace).or_default().insert(name),
        }
        self.policies.insert(policy.name.clone(), policy);
        before
    }

    pub(super) fn remove(&mut self, name: &ObjectName) -> Option<Policy> {
        let policy = self.policies.remove(name)?;
        match needed_labels(&policy) {
            Some(labels) => {
                let Some(index) = self.labelled.get_mut(&name.namespace) else { return Some(policy) };
                for label in labels {
                    if let Some(names) = index.get_mut(&label) {
                        names.remove(&name.name);
                        if names.is_empty() {
                            index.remove(&label);
                        }
                    }
                }
                if index.is_empty() {
                    self.labelled.remove(&name.namespace);
                }
            }
            None => {
                if let Some(names) = self.others.get_mut(&name.namespace) {
                    names.remove(&name.name);
                    if names.is_empty() {
                        self.others.remove(&name.namespace);
                    }
                }
            }
        }
        Some(policy)
    }

    /// The policies that select pods of a namespace with these labels, by name (rules 16, 21).
    pub(super) fn selecting(&self, namespace: &Arc<str>, labels: &Labels) -> Vec<&Policy> {
        let index = self.labelled.get(namespace);
        let labelled = labels.entries().filter_map(|(key, value)| index?.get(&(key.clone(), value.clone()))).flatten();
        let candidates = self.others.get(namespace).into_iter().flatten().chain(labelled);
        let selecting: BTreeMap<_, _> = candidates
            .filter_map(|name| self.policies.get(&ObjectName { namespace: namespace.clone(), name: name.clone() }))
            .filter(|policy| policy.subject.matches(labels))
            .map(|policy| (&policy.name, policy))
            .collect();
        selecting.into_values().collect()
    }
}

/// The labels of which a subject must have one: the values of its first `In` requirement.
fn needed_labels(policy: &Policy) -> Option<Vec<Label>> {
    policy.subject.requirements().iter().find_map(|requirement| match &requirement.operator {
        Operator::In(values) => Some(values.iter().map(|value| (requirement.key.clone(), value.clone())).collect()),
        Operator::NotIn(_) | Operator::Exists | Operator::DoesNotExist => None,
    })
}
