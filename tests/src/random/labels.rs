//! Labels and selectors over a few keys and values, the empty value and missing keys included.

use std::collections::BTreeSet;
use std::sync::Arc;

use policy_compiler::model::{Labels, NAMESPACE_NAME_LABEL};
use policy_compiler::selector::{Operator, Requirement, Selector};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::NAMESPACES;

const KEYS: [&str; 3] = ["app", "tier", "example.com/role"];
/// Values are compared exactly, case included (rule 49).
const VALUES: [&str; 4] = ["a", "b", "", "A"];

/// The labels of a pod or namespace.
pub fn labels() -> impl Strategy<Value = Labels> {
    prop::collection::vec((select(&KEYS[..]), value()), 0..=3).prop_map(Labels::from_iter)
}

fn value() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just(VALUES[0]), 3 => Just(VALUES[1]), 2 => Just(VALUES[2]), 1 => Just(VALUES[3])]
}

/// A selector of pods. Contradictions come up by themselves (rule 52).
pub fn pods() -> impl Strategy<Value = Selector> {
    selector(requirement())
}

/// A selector of namespaces: by labels like those of pods, or by name (rule 54).
pub(super) fn namespaces() -> impl Strategy<Value = Selector> {
    let named = (any::<bool>(), subsequence(NAMESPACES.to_vec(), 1..=2)).prop_map(|(wanted, names)| Requirement {
        key: NAMESPACE_NAME_LABEL.into(),
        operator: if wanted { Operator::In(set(names)) } else { Operator::NotIn(set(names)) },
    });
    selector(prop_oneof![2 => requirement().boxed(), 1 => named.boxed()])
}

fn selector(requirement: impl Strategy<Value = Requirement>) -> impl Strategy<Value = Selector> {
    let count = prop_oneof![4 => Just(0_usize), 5 => Just(1), 2 => Just(2), 1 => Just(3)];
    // As many are drawn as may be needed; a count that depends on nothing shrinks better than a list of its own.
    (count, prop::array::uniform3(requirement))
        .prop_map(|(count, requirements)| Selector::new(requirements.into_iter().take(count)))
}

fn requirement() -> impl Strategy<Value = Requirement> {
    let values = || subsequence(VALUES.to_vec(), 1..=3).prop_map(set);
    let operator = prop_oneof![
        4 => value().prop_map(|value| Operator::In(set([value]))),
        2 => values().prop_map(Operator::In),
        3 => values().prop_map(Operator::NotIn),
        1 => Just(Operator::Exists),
        1 => Just(Operator::DoesNotExist),
    ];
    (select(&KEYS[..]), operator).prop_map(|(key, operator)| Requirement { key: key.into(), operator })
}

fn set(values: impl IntoIterator<Item = &'static str>) -> BTreeSet<Arc<str>> {
    values.into_iter().map(Arc::from).collect()
}
