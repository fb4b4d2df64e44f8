//! What Prometheus reads. Counters and histograms are counted here; everything that has a value now is read from the
//! state when somebody asks.

mod denied;
mod process;
mod state;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::errno::Errno;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{Action, Kind, State};
use crate::kernel::{Commit, KernelError, NetlinkError, Reader};
use crate::preflight::SETTINGS;
use denied::Denials;

/// What [`super::Observer::metrics`] is, in a word for HTTP.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Seconds, from half a millisecond to ten seconds.
const BUCKETS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

const PREFIX: &str = "podwall";

type Labels<const N: usize> = [(&'static str, &'static str); N];
type Counters<const N: usize> = Family<Labels<N>, Counter>;
type Histograms = Family<Labels<1>, Histogram, fn() -> Histogram>;

#[derive(Debug)]
pub(super) struct Metrics {
    state: Arc<State>,
    registry: Registry,
    denials: OnceLock<Denials>,
    events: Counters<2>,
    latency: Histograms,
    commits: Counters<1>,
    operations: Counter,
    refused_operations: Family<[(&'static str, String); 1], Counter>,
    commit_duration: Histogram,
    watch_failures: Counters<1>,
    relists: Counters<1>,
    repairs: Counter,
    audits: Counter,
    audit_differences: Counter,
    audit_duration: Histogram,
    turned_off: Counters<1>,
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

impl Metrics {
    pub(super) fn new(state: Arc<State>) -> Self {
        let mut metrics = Self {
            state: state.clone(),
            registry: Registry::default(),
            denials: OnceLock::new(),
            events: Family::default(),
            latency: Family::new_with_constructor(histogram),
            commits: Family::default(),
            operations: Counter::default(),
            refused_operations: Family::default(),
            commit_duration: histogram(),
            watch_failures: Family::default(),
            relists: Family::default(),
            repairs: Counter::default(),
            audits: Counter::default(),
            audit_differences: Counter::default(),
            audit_duration: histogram(),
            turned_off: Family::default(),
        };
        metrics.start_at_zero();
        metrics.register(state);
        metrics
    }

    /// What never happened is 0, and not unknown.
    fn start_at_zero(&self) {
        for kind in Kind::WATCHED {
            for action in Action::BOTH {
                _ = self.events.get_or_create(&event(kind, action));
            }
            for family in [&self.watch_failures, &self.relists] {
                _ = family.get_or_create(&[("kind", kind.name())]);
            }
            _ = self.latency.get_or_create(&[("kind", kind.name())]);
        }
        for result in RESULTS {
            _ = self.commits.get_or_create(&[("result", result)]);
        }
        for setting in SETTINGS {
            _ = self.turned_off.get_or_create(&[("setting", setting)]);
        }
    }

    fn register(&mut self, state: Arc<State>) {
        let registry = &mut self.registry;
        registry.register_collector(Box::new(process::Process::new(state.started)));
        let podwall = registry.sub_registry_with_prefix(PREFIX);
        podwall.register("events", "Changes of objects received", self.events.clone());
        podwall.register(
            "event_to_kernel_seconds",
            "Time from receiving a change of an object until it is in force",
            self.latency.clone(),
        );
        podwall.register("commits", "Changes of the table, by what became of them", self.commits.clone());
        podwall.register(
            "commit_duration_seconds",
            "Time until a change of the table was in force, deletions that follow it aside",
            self.commit_duration.clone(),
        );
        podwall.register("operations", "Netlink operations that the kernel took", self.operations.clone());
        podwall.register(
            "refused_operations",
            "Netlink operations that the kernel refused, by errno",
            self.refused_operations.clone(),
        );
        podwall.register("watch_failures", "Watches that ended with an error", self.watch_failures.clone());
        podwall.register("relists", "Lists that had to be read again", self.relists.clone());
        podwall.register("drift_repairs", "Changes of the table by others that were undone", self.repairs.clone());
        podwall.register("audits", "Comparisons of kernel and plan", self.audits.clone());
        podwall.register(
            "audit_differences",
            "Chains and sets that differed between kernel and plan; expected to stay 0",
            self.audit_differences.clone(),
        );
        podwall.register("audit_duration_seconds", "Time that a comparison took", self.audit_duration.clone());
        podwall.register(
            "bridge_filter_turned_off",
            "Settings of br_netfilter that somebody had turned off",
            self.turned_off.clone(),
        );
        podwall.register_collector(Box::new(state::Collected(state)));
    }

    pub(super) fn event(&self, kind: Kind, action: Action) {
        self.events.get_or_create(&event(kind, action)).inc();
    }

    pub(super) fn applied(&self, kind: Kind, latency: Duration) {
        self.latency.get_or_create(&[("kind", kind.name())]).observe(latency.as_secs_f64());
    }

    pub(super) fn committed(&self, commit: Commit, took: Duration) {
        self.commits.get_or_create(&[("result", SUCCESS)]).inc();
        self.operations.inc_by(commit.operations as u64);
        self.commit_duration.observe(took.as_secs_f64());
    }

    pub(super) fn refused(&self, error: &KernelError) {
        self.commits.get_or_create(&[("result", result(error))]).inc();
        for refusal in refusals(error) {
            let errno = format!("{:?}", Errno::from_raw(refusal));
            self.refused_operations.get_or_create(&[("errno", errno)]).inc();
        }
    }

    pub(super) fn watch_failed(&self, kind: Kind) {
        self.watch_failures.get_or_create(&[("kind", kind.name())]).inc();
    }

    pub(super) fn relisted(&self, kind: Kind) {
        self.relists.get_or_create(&[("kind", kind.name())]).inc();
    }

    pub(super) fn repaired(&self) {
        self.repairs.inc();
    }

    pub(super) fn audited(&self, differences: usize, took: Duration) {
        self.audits.inc();
        self.audit_differences.inc_by(differences as u64);
        self.audit_duration.observe(took.as_secs_f64());
    }

    pub(super) fn turned_off(&self, setting: &'static str) {
        self.turned_off.get_or_create(&[("setting", setting)]).inc();
    }

    /// The first call counts.
    pub(super) fn count_denied(&self, reader: Reader, pods: usize) {
        _ = self.denials.set(Denials::new(reader, pods));
    }

    pub(super) async fn encode(&self) -> String {
        let mut text = String::new();
        // A String takes every write.
        _ = text::encode_registry(&mut text, &self.registry);
        if let Some(denials) = self.denials.get() {
            match denials.read(&self.state.view).await {
                Ok(registry) => _ = text::encode_registry(&mut text, &registry),
                Err(error) => tracing::warn!(%error, "denied packets cannot be read"),
            }
        }
        _ = text::encode_eof(&mut text);
        text
    }
}

fn event(kind: Kind, action: Action) -> Labels<2> {
    [("kind", kind.name()), ("action", action.name())]
}

const SUCCESS: &str = "success";
const RESULTS: [&str; 6] = [SUCCESS, "refused", "unconfirmed", "owned", "garbage", "failed"];

/// What became of a change, in a word.
fn result(error: &KernelError) -> &'static str {
    match error {
        KernelError::Owned { .. } => "owned",
        KernelError::Garbage(_) => "garbage",
        KernelError::Netlink(NetlinkError::Refused(_)) => "refused",
        KernelError::Netlink(NetlinkError::Unconfirmed) => "unconfirmed",
        _ => "failed",
    }
}

/// The errno of every operation that was refused.
fn refusals(error: &KernelError) -> Vec<i32> {
    match error {
        KernelError::Garbage(error) => refusals(error),
        KernelError::Netlink(NetlinkError::Refused(refusals)) => refusals.iter().map(|refusal| refusal.errno).collect(),
        error => error.errno().into_iter().collect(),
    }
}
