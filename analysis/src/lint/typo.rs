//! Selectors that a slip of the pen keeps from matching.

use policy_compiler::model::Labels;
use policy_compiler::selector::{Operator, Requirement, Selector};

/// One word of a selector that would make it match, were it another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Correction {
    distance: usize,
    /// The key of the requirement, as it is written.
    pub(super) key: String,
    /// The key or the value that is wrong.
    written: String,
    /// The label that was probably meant.
    pub(super) meant: (String, String),
}

/// The least change of one key or value of a selector, which matches nothing, that makes it match any of these labels.
pub(super) fn correction<'l>(selector: &Selector, labels: impl Iterator<Item = &'l Labels>) -> Option<Correction> {
    let requirements = selector.requirements();
    labels
        .filter_map(|labels| {
            let mut unmet = requirements.iter().filter(|requirement| !requirement.matches(labels));
            let wrong = unmet.next()?;
            // Two slips in one selector are no slip.
            if unmet.next().is_some() { None } else { of_requirement(wrong, labels) }
        })
        .min()
}

fn of_requirement(wrong: &Requirement, labels: &Labels) -> Option<Correction> {
    let found = |distance, written: &str, (key, value): (&str, &str)| Correction {
        distance,
        key: wrong.key.to_string(),
        written: written.to_owned(),
        meant: (key.to_owned(), value.to_owned()),
    };
    let keys = labels.iter().filter_map(|label| Some((near(&wrong.key, label.0)?, label)));
    match (&wrong.operator, labels.get(&wrong.key)) {
        (Operator::In(values), Some(there)) => {
            let near = values.iter().filter_map(|value| Some(found(near(value, there)?, value, (&wrong.key, there))));
            near.min()
        }
        (Operator::In(values), None) => {
            let keys = keys.filter(|(_, (_, value))| values.contains(*value));
            keys.map(|(distance, label)| found(distance, &wrong.key, label)).min()
        }
        (Operator::Exists, _) => keys.map(|(distance, label)| found(distance, &wrong.key, label)).min(),
        (Operator::NotIn(_) | Operator::DoesNotExist, _) => None,
    }
}

/// How many letters one word is from the other, if these are so few that it is probably a slip of the pen: one of three
/// letters or more, two of six or more, and not only another number or another letter at its place: `v1` and `v2`,
/// `team-a` and `team-b` are names that people choose.
pub(super) fn near(written: &str, known: &str) -> Option<usize> {
    if written.len().abs_diff(known.len()) > 2 * 4 {
        return None; // no two letters make up for that
    }
    let distance = strsim::osa_distance(&written.to_lowercase(), &known.to_lowercase());
    let length = written.chars().count().min(known.chars().count());
    let close = match distance {
        0 => written != known, // but for the case
        1 => length >= 3,
        2 => length >= 6,
        _ => false,
    };
    (close && !is_sibling(written, known)).then_some(distance)
}

/// Whether two words differ only in numbers, or in parts of one or two letters.
fn is_sibling(written: &str, known: &str) -> bool {
    let separators = ['-', '_', '.', '/'];
    let without_digits = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
    let parts = |text: &str| text.split(separators).map(str::to_owned).collect::<Vec<_>>();
    let (left, right) = (parts(written), parts(known));
    let differ = || left.iter().zip(&right).filter(|(left, right)| left != right);
    without_digits(written) == without_digits(known)
        || left.len() == right.len()
            && left.len() > 1
            && differ().all(|(left, right)| left.chars().count().max(right.chars().count()) <= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_near_and_names_that_people_choose_are_not() {
        for (written, known) in [
            ("fronted", "frontend"),
            ("wbe", "web"),
            ("App", "app"),
            ("databse", "database"),
            ("front-end", "frontend"),
        ] {
            assert!(near(written, known).is_some(), "{written} {known}");
        }
        for (written, known) in [
            ("web", "web"),
            ("db", "web"),
            ("v1", "v2"),
            ("team-a", "team-b"),
            ("web-1", "web-2"),
            ("shop-eu1", "shop-eu2"),
            ("prod", "test"),
            ("api", "app1"),
            ("cart", "mail"),
        ] {
            assert_eq!(near(written, known), None, "{written} {known}");
        }
    }

    #[test]
    fn a_correction_makes_the_selector_match() {
        let pods: [Labels; 2] =
            [[("app", "web"), ("tier", "front")].into_iter().collect(), [("app", "database")].into_iter().collect()];
        let both = |app: &str, tier: &str| {
            let requirement =
                |key: &str, value: &str| Requirement { key: key.into(), operator: Operator::In([value.into()].into()) };
            Selector::new([requirement("app", app), requirement("tier", tier)])
        };
        let meant = |selector: &Selector| {
            correction(selector, pods.iter()).map(|correction| (correction.written, correction.meant.1))
        };
        assert_eq!(meant(&both("wbe", "front")), Some(("wbe".into(), "web".into())));
        // Neither of these words alone is what keeps it from matching.
        assert_eq!(meant(&both("wbe", "frnt")), None);
        assert_eq!(meant(&both("databse", "front")), None);
        assert_eq!(meant(&Selector::label("ap", "web")), None);
        assert_eq!(meant(&Selector::label("appp", "web")), Some(("appp".into(), "web".into())));
    }
}
