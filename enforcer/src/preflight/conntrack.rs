//! Connection tracking, which lets replies and known connections pass. A full table drops whatever is new.

use std::fs;
use std::path::Path;

use super::Check;

const NAME: &str = "conntrack";
/// In percent.
const FULL: u64 = 90;

pub(super) fn check(sysctls: &Path) -> Check {
    let number = |file: &str| -> Option<u64> {
        fs::read_to_string(sysctls.join("netfilter").join(file)).ok()?.trim().parse().ok()
    };
    let Some((count, limit)) = number("nf_conntrack_count").zip(number("nf_conntrack_max")) else {
        let finding = "connections are not tracked yet: the kernel loads nf_conntrack with the first rules";
        return Check::warning(NAME, finding, "modprobe nf_conntrack");
    };
    if limit == 0 {
        return Check::fine(NAME, format!("{count} connections are tracked, without a limit"));
    }
    let finding = format!("{count} of {limit} connections are tracked");
    if count.saturating_mul(100) <= limit.saturating_mul(FULL) {
        return Check::fine(NAME, finding);
    }
    let more = limit.saturating_mul(2);
    Check::warning(
        NAME,
        format!("{finding}: when the table is full, new ones are dropped"),
        format!("sysctl -w net.netfilter.nf_conntrack_max={more}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::CheckState::{Fine, Warning};

    #[test]
    fn a_table_that_is_nearly_full_is_told_of() {
        let sysctls = tempfile::tempdir().unwrap();
        assert_eq!(check(sysctls.path()).state, Warning, "there is none");
        fs::create_dir(sysctls.path().join("netfilter")).unwrap();
        for (count, limit, expected) in [(90, 100, Fine), (91, 100, Warning), (7, 0, Fine), (0, 262_144, Fine)] {
            fs::write(sysctls.path().join("netfilter/nf_conntrack_count"), format!("{count}\n")).unwrap();
            fs::write(sysctls.path().join("netfilter/nf_conntrack_max"), format!("{limit}\n")).unwrap();
            let found = check(sysctls.path());
            assert_eq!(found.state, expected, "{found:?}");
            assert_eq!(found.remedy.is_some(), expected == Warning);
        }
    }
}
