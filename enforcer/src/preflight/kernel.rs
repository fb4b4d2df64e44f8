//! Which kernel it is. Nothing follows from its number: what it can do is tried.

use super::Check;

const NAME: &str = "kernel";

pub(super) fn check() -> Check {
    match std::fs::read_to_string("/proc/sys/kernel/osrelease") {
        Ok(release) => Check::fine(NAME, format!("Linux {}", release.trim())),
        Err(error) => Check::fine(NAME, format!("of unknown version: {error}")),
    }
}
