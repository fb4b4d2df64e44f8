//! Whether the agent is alive, and whether it is ready: what must hold for that, each with a reason in words.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Kind, read, write};

/// How long the loop may be silent before the agent counts as hung.
pub const HEARTBEAT_LIMIT: Duration = Duration::from_secs(60);

/// Something that must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// What it is called: one word.
    pub name: String,
    /// Whether it holds.
    pub holds: bool,
    /// Why, or why not.
    pub reason: String,
}

impl Condition {
    fn new(name: &str, holds: bool, reason: impl Into<String>) -> Self {
        Self { name: name.to_owned(), holds, reason: reason.into() }
    }
}

#[derive(Debug)]
pub(super) struct Health {
    epoch: Instant,
    /// Milliseconds since the epoch.
    heartbeat: AtomicU64,
    withdrawn: AtomicBool,
    missing: RwLock<BTreeSet<Kind>>,
    commits: RwLock<Commits>,
    /// By name of the check what would stop enforcement; none before the checks were made.
    findings: RwLock<Option<BTreeMap<&'static str, String>>>,
}

#[derive(Debug)]
enum Commits {
    None,
    InForce,
    Refused { since: Instant, times: u32, error: String },
}

impl Default for Health {
    fn default() -> Self {
        Self {
            epoch: Instant::now(),
            heartbeat: AtomicU64::new(0),
            withdrawn: AtomicBool::new(false),
            missing: RwLock::new(Kind::WATCHED.into()),
            commits: RwLock::new(Commits::None),
            findings: RwLock::new(None),
        }
    }
}

impl Health {
    pub(super) fn beat(&self) {
        self.heartbeat.store(self.epoch.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    pub(super) fn listed(&self, kind: Kind) {
        write(&self.missing).remove(&kind);
    }

    pub(super) fn in_force(&self) {
        *write(&self.commits) = Commits::InForce;
    }

    pub(super) fn refused(&self, error: String) {
        let mut commits = write(&self.commits);
        let (since, times) = match &*commits {
            Commits::Refused { since, times, .. } => (*since, times.saturating_add(1)),
            Commits::None | Commits::InForce => (Instant::now(), 1),
        };
        *commits = Commits::Refused { since, times, error };
    }

    pub(super) fn checked(&self, findings: impl IntoIterator<Item = (&'static str, Option<String>)>) {
        let mut known = write(&self.findings);
        let known = known.get_or_insert_default();
        for (name, finding) in findings {
            match finding {
                Some(finding) => _ = known.insert(name, finding),
                None => _ = known.remove(name),
            }
        }
    }

    pub(super) fn withdrawn(&self) {
        self.withdrawn.store(true, Ordering::Relaxed);
        *write(&self.commits) = Commits::None;
    }

    pub(super) fn heartbeat(&self) -> Condition {
        let last = Duration::from_millis(self.heartbeat.load(Ordering::Relaxed));
        let silent = self.epoch.elapsed().saturating_sub(last);
        let reason = format!("the loop was last heard of {} ago", in_words(silent));
        Condition::new("heartbeat", silent < HEARTBEAT_LIMIT, reason)
    }

    /// All of them, in the order in which they come to hold.
    pub(super) fn conditions(&self) -> Vec<Condition> {
        vec![self.preflight(), self.synced(), self.committed(), self.enforcing()]
    }

    fn preflight(&self) -> Condition {
        let (holds, reason) = match &*read(&self.findings) {
            None => (false, "the node has not been checked yet".to_owned()),
            Some(findings) if findings.is_empty() => (true, "nothing stands in the way of enforcement".to_owned()),
            Some(findings) => {
                let findings: Vec<String> = findings.iter().map(|(name, why)| format!("{name}: {why}")).collect();
                (false, findings.join("; "))
            }
        };
        Condition::new("preflight", holds, reason)
    }

    fn synced(&self) -> Condition {
        let missing: Vec<&str> = read(&self.missing).iter().map(|kind| kind.name()).collect();
        let reason = match missing.is_empty() {
            true => "every kind of object has been listed".to_owned(),
            false => format!("not listed yet: {}", missing.join(", ")),
        };
        Condition::new("synced", missing.is_empty(), reason)
    }

    fn committed(&self) -> Condition {
        let (holds, reason) = match &*read(&self.commits) {
            Commits::None => (false, "nothing has been committed".to_owned()),
            Commits::InForce => (true, "the kernel holds what it should".to_owned()),
            Commits::Refused { since, times, error } => {
                let (times, ago) = (if *times == 1 { "once" } else { &format!("{times} times") }, since.elapsed());
                (false, format!("refused {times} in {}: {error}", in_words(ago)))
            }
        };
        Condition::new("committed", holds, reason)
    }

    fn enforcing(&self) -> Condition {
        match self.withdrawn.load(Ordering::Relaxed) {
            false => Condition::new("enforcing", true, "nobody asked for the table to be removed"),
            true => Condition::new("enforcing", false, "the table was removed on request; a restart enforces again"),
        }
    }
}

fn in_words(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 10..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(health: &Health) -> Vec<String> {
        health.conditions().into_iter().filter(|condition| !condition.holds).map(|condition| condition.name).collect()
    }

    fn reason(health: &Health, name: &str) -> String {
        health.conditions().into_iter().find(|condition| condition.name == name).unwrap().reason
    }

    #[test]
    fn every_condition_keeps_an_agent_from_being_ready() {
        let health = Health::default();
        assert_eq!(failing(&health), ["preflight", "synced", "committed"]);
        health.checked([("br_netfilter", Some("is off".into())), ("conntrack", None)]);
        assert_eq!(reason(&health, "preflight"), "br_netfilter: is off");
        health.checked([("br_netfilter", None)]);
        assert_eq!(failing(&health), ["synced", "committed"]);

        [Kind::Pod, Kind::Policy, Kind::Node].into_iter().for_each(|kind| health.listed(kind));
        assert_eq!(reason(&health, "synced"), "not listed yet: Namespace");
        health.listed(Kind::Namespace);
        assert_eq!(failing(&health), ["committed"]);

        health.in_force();
        assert_eq!(failing(&health), [""; 0]);
        health.withdrawn();
        assert_eq!(failing(&health), ["committed", "enforcing"]);
    }

    #[test]
    fn refusals_are_counted_until_something_is_in_force() {
        let health = Health::default();
        health.in_force();
        health.refused("first".into());
        assert!(reason(&health, "committed").starts_with("refused once in 0."), "{}", reason(&health, "committed"));
        health.refused("second".into());
        let told = reason(&health, "committed");
        assert!(told.starts_with("refused 2 times in ") && told.ends_with(": second"), "{told}");
        health.in_force();
        health.refused("third".into());
        assert!(reason(&health, "committed").starts_with("refused once"));
    }

    #[test]
    fn a_loop_that_is_silent_for_too_long_is_dead() {
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
        let health = Health { epoch: ago(59), ..Health::default() };
        assert!(health.heartbeat().holds, "{:?}", health.heartbeat());
        let health = Health { epoch: ago(61), ..Health::default() };
        assert!(!health.heartbeat().holds);
        health.beat();
        assert!(health.heartbeat().holds);
    }
}
