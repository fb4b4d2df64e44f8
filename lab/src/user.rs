//! Becoming root where one is not: in a user namespace, which is root over its own networks and nothing else.

use std::{fs, io};

use nix::{
    sched::{CloneFlags, unshare},
    unistd::{getegid, geteuid},
};

use crate::LabError;

/// CAP_NET_ADMIN, CAP_NET_RAW and CAP_SYS_ADMIN.
const NEEDED: u64 = 1 << 12 | 1 << 13 | 1 << 21;

/// Enters a user namespace as its root, unless the process already may make network namespaces.
///
/// Must be called before the process has a second thread, because the kernel refuses it afterwards.
pub fn enter_user_namespace_if_needed() -> Result<(), LabError> {
    if effective_capabilities().is_some_and(|held| held & NEEDED == NEEDED) {
        return Ok(());
    }
    let (user, group) = (geteuid(), getegid());
    let failed = |source| LabError::UserNamespace { hint: hint(&source), source };
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| failed(errno.into()))?;
    // A group may be mapped by an unprivileged process only once it has given up setgroups.
    fs::write("/proc/self/setgroups", "deny").map_err(failed)?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1")).map_err(failed)?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1")).map_err(failed)
}

fn effective_capabilities() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(held.trim(), 16).ok()
}

/// The switches by which distributions and administrators forbid user namespaces, each with the value that does.
const SWITCHES: [(&str, &str, &str); 3] = [
    ("kernel/unprivileged_userns_clone", "0", "1"),
    ("user/max_user_namespaces", "0", "15000"),
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
];

fn hint(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::InvalidInput {
        return "the process already has several threads, or the kernel was built without user namespaces".into();
    }
    let is = |key: &str, value: &str| {
        fs::read_to_string(format!("/proc/sys/{key}")).is_ok_and(|current| current.trim() == value)
    };
    let forbidding: Vec<String> = SWITCHES
        .iter()
        .filter(|(key, bad, _)| is(key, bad))
        .map(|(key, bad, good)| {
            let key = key.replace('/', ".");
            format!("{key} is {bad} (as root: sysctl {key}={good})")
        })
        .collect();
    if forbidding.is_empty() {
        "run it as root".into()
    } else {
        format!("{}, or run it as root", forbidding.join("; "))
    }
}
