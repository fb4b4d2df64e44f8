//! What the node must be set to for its packets to pass the table at all.

use std::path::{Path, PathBuf};
use std::{fs, io};

const BRIDGE: &str = "/proc/sys/net/bridge";

/// Settings of br_netfilter that leave a way past the table while they are 0. Without the first two, packets between
/// pods on one bridge are not shown to the inet family; without the last, frames with a VLAN tag are not, and a tag of
/// VLAN 0 is delivered like none.
const SETTINGS: [&str; 3] = ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables", "bridge-nf-filter-vlan-tagged"];

/// Whether traffic between pods on one bridge is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BridgeFilter {
    /// It is.
    On {
        /// The settings that were 0 and have been turned on.
        changed: Vec<&'static str>,
    },
    /// The module br_netfilter is not loaded: it is not judged.
    Absent,
}

/// Why the settings could not be read or turned on.
#[derive(Debug, thiserror::Error)]
#[error("cannot turn on {}: {source}", path.display())]
pub struct PreflightError {
    /// The setting.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Turns on what br_netfilter needs to show same-bridge traffic to the table, in the network namespace of the calling
/// thread, and logs what it did.
///
/// # Errors
/// When a setting is 0 and cannot be written.
pub fn bridge_filter() -> Result<BridgeFilter, PreflightError> {
    let state = turn_on(Path::new(BRIDGE))?;
    match &state {
        BridgeFilter::Absent => tracing::warn!(
            "the module br_netfilter is not loaded: traffic between pods on one bridge passes without being judged"
        ),
        BridgeFilter::On { changed } => {
            changed.iter().for_each(|setting| tracing::info!(setting, "turned on: bridged packets are judged"));
        }
    }
    Ok(state)
}

fn turn_on(bridge: &Path) -> Result<BridgeFilter, PreflightError> {
    let mut changed = Vec::new();
    for setting in SETTINGS {
        let path = bridge.join(setting);
        match fs::read_to_string(&path) {
            Ok(value) if value.trim() != "0" => {}
            Ok(_) => {
                fs::write(&path, "1\n").map_err(|source| PreflightError { path, source })?;
                changed.push(setting);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BridgeFilter::Absent),
            Err(source) => return Err(PreflightError { path, source }),
        }
    }
    Ok(BridgeFilter::On { changed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_off_is_turned_on_and_nothing_else_is_touched() {
        let bridge = tempfile::tempdir().unwrap();
        assert_eq!(turn_on(bridge.path()).unwrap(), BridgeFilter::Absent);
        for (setting, value) in SETTINGS.iter().zip(["1\n", "0\n", "0\n"]) {
            fs::write(bridge.path().join(setting), value).unwrap();
        }
        let changed = SETTINGS[1..].to_vec();
        assert_eq!(turn_on(bridge.path()).unwrap(), BridgeFilter::On { changed });
        assert_eq!(turn_on(bridge.path()).unwrap(), BridgeFilter::On { changed: Vec::new() });
    }
}
