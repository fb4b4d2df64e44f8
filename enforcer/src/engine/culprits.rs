//! Which policies the kernel refuses a transaction for.

use policy_compiler::model::ObjectName;

/// Finds the policies that must be closed for a change to be accepted: as few as possible, by closing first one, then
/// twice as many, and halving what is left. None where closing all of them does not help, so that none is at fault.
///
/// `suspects` come in order of suspicion. `accepts` says whether the change would pass with these policies closed; what it
/// costs is one rehearsal, and some ten a culprit are asked for.
///
/// # Errors
/// What `accepts` gives.
pub(super) fn find<E>(
    suspects: &[ObjectName],
    mut accepts: impl FnMut(&[ObjectName]) -> Result<bool, E>,
) -> Result<Option<Vec<ObjectName>>, E> {
    let mut culprits: Vec<ObjectName> = Vec::new();
    while !accepts(&culprits)? {
        let rest: Vec<_> = suspects.iter().filter(|name| !culprits.contains(name)).cloned().collect();
        let mut passes = |count: usize| accepts(&[culprits.as_slice(), &rest[..count]].concat());
        // Closing `refused` of the rest is not enough, closing `enough` of it is.
        let (mut refused, mut enough) = (0, 1);
        loop {
            if enough >= rest.len() {
                enough = rest.len();
                if !passes(enough)? {
                    return Ok(None);
                }
                break;
            }
            if passes(enough)? {
                break;
            }
            (refused, enough) = (enough, enough * 2);
        }
        while enough - refused > 1 {
            let middle = refused.midpoint(enough);
            if passes(middle)? { enough = middle } else { refused = middle }
        }
        // The last of the first that have to be closed together: without it they were not enough.
        let Some(culprit) = rest.into_iter().take(enough).last() else { return Ok(None) };
        culprits.push(culprit);
    }
    Ok(Some(culprits))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::convert::Infallible;

    use super::*;

    fn names(numbers: impl IntoIterator<Item = usize>) -> Vec<ObjectName> {
        numbers.into_iter().map(|n| ObjectName::new("n", format!("{n:04}"))).collect()
    }

    fn found(count: usize, bad: &[usize], beyond_help: bool) -> (Option<BTreeSet<ObjectName>>, usize) {
        let bad: BTreeSet<_> = names(bad.iter().copied()).into_iter().collect();
        let mut asked = 0;
        let result = find(&names(0..count), |closed| {
            asked += 1;
            Ok::<_, Infallible>(!beyond_help && bad.iter().all(|name| closed.contains(name)))
        });
        (result.unwrap().map(|found| found.into_iter().collect()), asked)
    }

    #[test]
    fn exactly_the_policies_at_fault_are_found() {
        for count in [1, 2, 3, 10, 1000] {
            for bad in [&[0][..], &[count - 1], &[count / 2, count - 1], &[0, count / 3, count / 2]] {
                let (found, asked) = found(count, bad, false);
                assert_eq!(found.unwrap(), names(bad.iter().copied()).into_iter().collect(), "{count} {bad:?}");
                assert!(asked <= 25 * (bad.len() + 1), "{asked} rehearsals for {count} {bad:?}");
            }
        }
    }

    #[test]
    fn none_is_blamed_for_what_is_none_of_theirs() {
        assert_eq!(found(10, &[], false).0, Some(BTreeSet::new()));
        for count in [0, 1, 7, 1000] {
            assert_eq!(found(count, &[], true).0, None);
        }
    }
}
