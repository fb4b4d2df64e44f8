//! Whether the node forwards packets: pods reach nobody otherwise.

use std::fs;
use std::path::Path;

use super::Check;

const NAME: &str = "forwarding";
/// A family, its setting's file and name.
const SETTINGS: [(&str, &str, &str); 2] = [
    ("IPv4", "ipv4/ip_forward", "net.ipv4.ip_forward"),
    ("IPv6", "ipv6/conf/all/forwarding", "net.ipv6.conf.all.forwarding"),
];

pub(super) fn check(sysctls: &Path) -> Check {
    // A family that the kernel does not have is not off.
    let is_off = |file: &str| fs::read_to_string(sysctls.join(file)).is_ok_and(|value| value.trim() == "0");
    let off: Vec<_> = SETTINGS.into_iter().filter(|(_, file, _)| is_off(file)).collect();
    if off.is_empty() {
        return Check::fine(NAME, "the node forwards packets");
    }
    let families: Vec<&str> = off.iter().map(|(family, ..)| *family).collect();
    let settings: Vec<String> = off.iter().map(|(.., setting)| format!("{setting}=1")).collect();
    Check::warning(
        NAME,
        format!("the node does not forward {}: pods that use it reach nobody on other nodes", families.join(" and ")),
        format!("sysctl -w {}", settings.join(" ")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::CheckState;

    #[test]
    fn the_families_that_are_off_are_named() {
        let sysctls = tempfile::tempdir().unwrap();
        let set = |file: &str, value: &str| {
            let path = sysctls.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, value).unwrap();
        };
        assert_eq!(check(sysctls.path()).state, CheckState::Fine, "a family that is not there");
        set("ipv4/ip_forward", "1\n");
        set("ipv6/conf/all/forwarding", "0\n");
        let found = check(sysctls.path());
        assert!(found.state == CheckState::Warning && found.finding.contains("forward IPv6:"), "{found:?}");
        assert_eq!(found.remedy.as_deref(), Some("sysctl -w net.ipv6.conf.all.forwarding=1"));
        set("ipv6/conf/all/forwarding", "1\n");
        assert_eq!(check(sysctls.path()).state, CheckState::Fine);
    }
}
