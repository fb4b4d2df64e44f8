//! br_netfilter, which shows to the table what pods on one bridge say to each other: turned on, and kept on.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::Check;
use crate::observe::Observer;

const NAME: &str = "br_netfilter";

/// Settings of br_netfilter that leave a way past the table while they are 0. Without the first two, packets between
/// pods on one bridge are not shown to the inet family; without the last, frames with a VLAN tag are not, and a tag of
/// VLAN 0 is delivered like none.
pub(crate) const SETTINGS: [&str; 3] =
    ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables", "bridge-nf-filter-vlan-tagged"];

/// Whether traffic between pods on one bridge is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BridgeState {
    /// It is.
    On,
    /// The module br_netfilter is not loaded: it is not.
    Absent,
    /// A setting is off, and cannot be turned on, or cannot be read: it is not.
    Off {
        /// The setting.
        setting: &'static str,
        /// Why it stays off, in the system's words.
        reason: String,
    },
}

impl BridgeState {
    /// Why traffic between pods on one bridge is not judged; none where it is.
    pub fn obstacle(&self) -> Option<String> {
        match self {
            Self::On => None,
            Self::Absent => Some(ABSENT.to_owned()),
            Self::Off { setting, reason } => Some(format!("cannot turn on net.bridge.{setting}: {reason}")),
        }
    }
}

const ABSENT: &str = "the module br_netfilter is not loaded: what pods of one bridge say to each other is not judged";

/// Keeps the settings of br_netfilter on, in the network namespace of whatever thread asks for it.
#[derive(Debug)]
pub struct BridgeFilter {
    directory: PathBuf,
    /// What the last look came to; none before the first.
    state: Option<BridgeState>,
}

impl BridgeFilter {
    /// Nothing is looked at yet. `sysctls`: see [`super::SYSCTLS`].
    pub fn new(sysctls: &Path) -> Self {
        Self { directory: bridge(sysctls), state: None }
    }

    /// Looks, turns on what is off, and says which settings that were. Three small files are read: cheap enough for
    /// every second.
    pub fn check(&mut self) -> (BridgeState, Vec<&'static str>) {
        let mut turned_on = Vec::new();
        let state = turn_on(&self.directory, &mut turned_on);
        self.state = Some(state.clone());
        (state, turned_on)
    }

    /// Looks, and tells the log, the health and the metrics what it came to. What is turned on at the first look was
    /// never on; later, somebody turned it off.
    pub fn uphold(&mut self, observer: &Observer) {
        let before = self.state.take();
        let (state, turned_on) = self.check();
        for setting in turned_on {
            match before {
                None => tracing::info!(setting, "turned on: bridged packets are judged"),
                Some(_) => {
                    tracing::warn!(setting, "somebody turned it off: turned on again");
                    observer.turned_off(setting);
                }
            }
        }
        let obstacle = state.obstacle();
        if before.as_ref() != Some(&state) {
            match &obstacle {
                Some(why) => tracing::error!(check = NAME, "{why}"),
                None => tracing::info!(check = NAME, "bridged packets are judged"),
            }
        }
        observer.checked([(NAME, obstacle)]);
    }
}

fn bridge(sysctls: &Path) -> PathBuf {
    sysctls.join("bridge")
}

fn turn_on(bridge: &Path, turned_on: &mut Vec<&'static str>) -> BridgeState {
    let mut state = BridgeState::On;
    for setting in SETTINGS {
        let path = bridge.join(setting);
        let done = match is_on(&path) {
            Ok(true) => Ok(()),
            Ok(false) => fs::write(&path, "1\n").map(|()| turned_on.push(setting)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return BridgeState::Absent,
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            state = BridgeState::Off { setting, reason: error.to_string() };
        }
    }
    state
}

fn is_on(path: &Path) -> io::Result<bool> {
    Ok(fs::read_to_string(path)?.trim() != "0")
}

/// Only looks. What an agent could turn on stands in nobody's way.
pub(super) fn check(sysctls: &Path) -> Check {
    let mut off = Vec::new();
    for setting in SETTINGS {
        let path = bridge(sysctls).join(setting);
        match is_on(&path) {
            Ok(true) => {}
            Ok(false) => off.push((setting, OpenOptions::new().write(true).open(&path).err())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Check::failure(NAME, ABSENT, "modprobe br_netfilter");
            }
            Err(error) => off.push((setting, Some(error))),
        }
    }
    let Some((first, _)) = off.first() else { return Check::fine(NAME, "bridged packets are judged") };
    let settings: Vec<String> = off.iter().map(|(setting, _)| format!("net.bridge.{setting}=1")).collect();
    let remedy = format!("sysctl -w {}", settings.join(" "));
    match off.iter().find_map(|(setting, error)| Some((setting, error.as_ref()?))) {
        Some((setting, error)) => {
            let finding = format!("net.bridge.{setting} is off, and nobody here can turn it on: {error}");
            Check::failure(NAME, finding, remedy)
        }
        None => Check::warning(NAME, format!("net.bridge.{first} is off; an agent turns it on when it starts"), remedy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Identity;
    use crate::preflight::CheckState;

    /// Settings with these values.
    fn sysctls(values: [&str; 3]) -> tempfile::TempDir {
        let sysctls = tempfile::tempdir().unwrap();
        fs::create_dir(bridge(sysctls.path())).unwrap();
        for (setting, value) in SETTINGS.iter().zip(values) {
            fs::write(bridge(sysctls.path()).join(setting), value).unwrap();
        }
        sysctls
    }

    /// What no write changes, whoever writes.
    fn stuck(sysctls: &Path, setting: &str) {
        let path = bridge(sysctls).join(setting);
        fs::remove_file(&path).unwrap();
        fs::create_dir(path).unwrap();
    }

    #[test]
    fn what_is_off_is_turned_on_and_nothing_else_is_touched() {
        let none = tempfile::tempdir().unwrap();
        assert_eq!(BridgeFilter::new(none.path()).check(), (BridgeState::Absent, Vec::new()));
        let sysctls = sysctls(["1\n", "0\n", "0\n"]);
        let mut filter = BridgeFilter::new(sysctls.path());
        assert_eq!(filter.check(), (BridgeState::On, SETTINGS[1..].to_vec()));
        assert_eq!(filter.check(), (BridgeState::On, Vec::new()));
    }

    #[test]
    fn one_that_cannot_be_turned_on_keeps_no_other_off() {
        let sysctls = sysctls(["0\n", "0\n", "0\n"]);
        stuck(sysctls.path(), SETTINGS[0]);
        let (state, turned_on) = BridgeFilter::new(sysctls.path()).check();
        assert!(matches!(state, BridgeState::Off { setting, .. } if setting == SETTINGS[0]), "{state:?}");
        assert_eq!(turned_on, SETTINGS[1..]);
    }

    #[test]
    fn who_turns_it_off_is_counted_and_what_stays_off_is_not_ready() {
        let observer = Observer::new(Identity { node: "n".into(), table: "t".into() });
        let preflight = || observer.conditions().into_iter().find(|condition| condition.name == "preflight").unwrap();
        let counted = |setting: &str| {
            let line = format!("podwall_bridge_filter_turned_off_total{{setting=\"{setting}\"}} ");
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime
                .block_on(observer.metrics())
                .lines()
                .find_map(|text| text.strip_prefix(&*line)?.parse::<u64>().ok())
                .unwrap()
        };
        let sysctls = sysctls(["1\n", "0\n", "1\n"]);
        let mut filter = BridgeFilter::new(sysctls.path());
        filter.uphold(&observer);
        assert!(preflight().holds, "{:?}", preflight());
        assert_eq!(counted(SETTINGS[1]), 0, "it was never on");
        fs::write(bridge(sysctls.path()).join(SETTINGS[1]), "0\n").unwrap();
        filter.uphold(&observer);
        assert_eq!((counted(SETTINGS[1]), preflight().holds), (1, true));
        stuck(sysctls.path(), SETTINGS[2]);
        filter.uphold(&observer);
        assert!(preflight().reason.contains(SETTINGS[2]), "{:?}", preflight());
        fs::remove_dir_all(bridge(sysctls.path())).unwrap();
        filter.uphold(&observer);
        assert!(!preflight().holds && preflight().reason.contains("not loaded"), "{:?}", preflight());
    }

    #[test]
    fn a_look_changes_nothing_and_fails_where_an_agent_would() {
        let fine = sysctls(["1\n", "1\n", "1\n"]);
        assert_eq!(check(fine.path()).state, CheckState::Fine);
        assert_eq!(check(tempfile::tempdir().unwrap().path()).remedy.as_deref(), Some("modprobe br_netfilter"));
        let off = sysctls(["0\n", "1\n", "0\n"]);
        for _ in 0..2 {
            let found = check(off.path());
            assert_eq!(found.state, CheckState::Warning, "{found:?}");
            let settings = "sysctl -w net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-filter-vlan-tagged=1";
            assert_eq!(found.remedy.as_deref(), Some(settings));
        }
        stuck(off.path(), SETTINGS[2]);
        assert_eq!(check(off.path()).state, CheckState::Failure);
    }
}
