//! Label selectors: parsed once, canonical, compared and matched everywhere in this one form.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::model::Labels;

/// A label selector: all requirements must hold (rule 43). Empty matches everything (rule 42); a selector that a
/// manifest leaves out is an `Option` or a scope of its own, never an empty `Selector`.
///
/// Requirements are sorted and stand once each, so that selectors that say the same the same way are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    /// The label's key.
    pub key: Arc<str>,
    /// What must be true of its value.
    pub operator: Operator,
}

/// The four operators of `matchExpressions`; `matchLabels` is `In` with one value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// The label is there and has one of the values (rule 44).
    In(BTreeSet<Arc<str>>),
    /// The label is missing, or has none of the values (rule 45).
    NotIn(BTreeSet<Arc<str>>),
    /// The label is there, whatever its value, also empty (rule 46).
    Exists,
    /// The label is missing (rule 47).
    DoesNotExist,
}

impl Selector {
    /// Matches everything.
    pub const fn everything() -> Self {
        Self { requirements: Vec::new() }
    }

    /// A selector of these requirements, in any order.
    pub fn new(requirements: impl IntoIterator<Item = Requirement>) -> Self {
        let sorted: BTreeSet<_> = requirements.into_iter().collect();
        Self { requirements: sorted.into_iter().collect() }
    }

    /// `matchLabels` with one label.
    pub fn label(key: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        Self::new([Requirement { key: key.into(), operator: Operator::In([value.into()].into()) }])
    }

    /// Whether every requirement holds for these labels.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|requirement| requirement.matches(labels))
    }

    /// Whether it matches everything.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The requirements, sorted.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }
}

impl Requirement {
    /// Whether the labels meet it.
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.operator {
            Operator::In(values) => value.is_some_and(|value| values.contains(value)),
            Operator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

impl fmt::Display for Selector {
    /// As kubectl's `-l` takes it; `all` for the empty selector.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_everything() {
            return f.write_str("all");
        }
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, values: &BTreeSet<Arc<str>>| {
            for (index, value) in values.iter().enumerate() {
                write!(f, "{}{value}", if index > 0 { "," } else { "" })?;
            }
            f.write_str(")")
        };
        match &self.operator {
            Operator::In(values) if values.len() == 1 => {
                write!(f, "{}=", self.key)?;
                values.iter().try_for_each(|value| f.write_str(value))
            }
            Operator::In(values) => {
                write!(f, "{} in (", self.key)?;
                list(f, values)
            }
            Operator::NotIn(values) => {
                write!(f, "{} notin (", self.key)?;
                list(f, values)
            }
            Operator::Exists => f.write_str(&self.key),
            Operator::DoesNotExist => write!(f, "!{}", self.key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().copied().collect()
    }

    fn requirement(key: &str, operator: Operator) -> Selector {
        Selector::new([Requirement { key: key.into(), operator }])
    }

    fn values(values: &[&str]) -> BTreeSet<Arc<str>> {
        values.iter().map(|value| Arc::from(*value)).collect()
    }

    #[test]
    fn rule_42_the_empty_selector_matches_everything() {
        assert!(Selector::everything().matches(&labels(&[])));
        assert!(Selector::everything().matches(&labels(&[("a", "b")])));
    }

    #[test]
    fn rule_43_and_52_requirements_are_anded() {
        let both = Selector::new([
            Requirement { key: "a".into(), operator: Operator::In(values(&["1"])) },
            Requirement { key: "a".into(), operator: Operator::In(values(&["2"])) },
        ]);
        assert!(!both.matches(&labels(&[("a", "1")])));
    }

    #[test]
    fn rules_44_to_47_each_operator_with_and_without_the_key() {
        let cases = [
            (Operator::In(values(&["x"])), [true, false, false, false]),
            (Operator::NotIn(values(&["x"])), [false, true, true, true]),
            (Operator::Exists, [true, true, true, false]),
            (Operator::DoesNotExist, [false, false, false, true]),
        ];
        let pods = [labels(&[("k", "x")]), labels(&[("k", "y")]), labels(&[("k", "")]), labels(&[("other", "x")])];
        for (operator, expected) in cases {
            let selector = requirement("k", operator);
            assert_eq!(pods.each_ref().map(|pod| selector.matches(pod)), expected, "{selector}");
        }
    }

    #[test]
    fn rule_48_an_empty_value_is_not_a_missing_key() {
        assert!(!Selector::label("k", "").matches(&labels(&[])));
        assert!(Selector::label("k", "").matches(&labels(&[("k", "")])));
    }

    #[test]
    fn selectors_that_say_the_same_are_equal() {
        let a = Requirement { key: "a".into(), operator: Operator::Exists };
        let b = Requirement { key: "b".into(), operator: Operator::In(values(&["1", "2"])) };
        let one = Selector::new([a.clone(), b.clone()]);
        assert_eq!(one, Selector::new([b, a.clone(), a]));
        assert_eq!(one.to_string(), "a,b in (1,2)");
    }
}
