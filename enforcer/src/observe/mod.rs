//! What the agent shows of itself. The writer's loop and the watches tell an [`Observer`]; `/readyz`, `/metrics` and
//! `podwall status` read it, and neither ever waits for the other.

mod connection;
mod contact;
pub mod control;
mod enforcement;
mod health;
pub mod http;
mod kind;
mod metrics;
mod status;
mod view;

pub use contact::Contact;
pub use enforcement::{Enforcement, LastCommit};
pub use health::{Condition, HEARTBEAT_LIMIT};
pub use kind::{Action, Kind};
pub use metrics::CONTENT_TYPE;
pub use status::{ApiStatus, CommitStatus, PodStatus, Problem, SizeStatus, Status};
pub use view::{PodView, View};

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, SystemTime};

use crate::kernel::{Commit, KernelError, Reader};
use contact::Contacts;
use enforcement::Enforced;
use health::Health;
use metrics::Metrics;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit that it was built from, where the build was told.
pub const COMMIT: Option<&str> = option_env!("PODWALL_COMMIT");

/// Who is observed.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The node whose pods are isolated.
    pub node: Arc<str>,
    /// The table that does it.
    pub table: Arc<str>,
}

/// What is known of a running agent. Clones are handles of the same.
#[derive(Clone, Debug)]
pub struct Observer {
    state: Arc<State>,
    metrics: Arc<Metrics>,
}

/// What is read when somebody asks.
#[derive(Debug)]
struct State {
    identity: Identity,
    started: SystemTime,
    health: Health,
    view: View,
    contacts: Contacts,
    enforced: Enforced,
    problems: RwLock<Arc<[Problem]>>,
}

impl Observer {
    /// Nothing has happened yet; what is observed is not ready.
    pub fn new(identity: Identity) -> Self {
        let state = Arc::new(State {
            identity,
            started: SystemTime::now(),
            health: Health::default(),
            view: View::default(),
            contacts: Contacts::default(),
            enforced: Enforced::default(),
            problems: RwLock::default(),
        });
        Self { metrics: Arc::new(Metrics::new(state.clone())), state }
    }

    /// Who is observed.
    pub fn identity(&self) -> &Identity {
        &self.state.identity
    }

    /// Pods by address.
    pub fn view(&self) -> &View {
        &self.state.view
    }

    /// The loop is alive. To be called at least every second; without it for [`HEARTBEAT_LIMIT`] the agent counts as
    /// hung.
    pub fn beat(&self) {
        self.state.health.beat();
    }

    /// An object came, changed or went.
    pub fn event(&self, kind: Kind, action: Action) {
        self.metrics.event(kind, action);
    }

    /// All objects of a kind are known. The agent is not ready before this was said of every kind of
    /// [`Kind::WATCHED`]; a source that has all of them at once says it of all.
    pub fn listed(&self, kind: Kind) {
        self.state.health.listed(kind);
    }

    /// The API server answers for a kind.
    pub fn connected(&self, kind: Kind) {
        self.state.contacts.connected(kind);
    }

    /// The API server does not answer for a kind. What is in force stays, and gets old.
    pub fn disconnected(&self, kind: Kind) {
        self.state.contacts.disconnected(kind);
    }

    /// A watch of a kind ended with an error.
    pub fn watch_failed(&self, kind: Kind) {
        self.metrics.watch_failed(kind);
    }

    /// A kind had to be listed again.
    pub fn relisted(&self, kind: Kind) {
        self.metrics.relisted(kind);
    }

    /// The kernel took a change.
    pub fn committed(&self, commit: Commit, took: Duration) {
        self.metrics.committed(commit, took);
        self.state.enforced.committed(commit, took);
    }

    /// An event is in force, so long after it was received.
    pub fn applied(&self, kind: Kind, latency: Duration) {
        self.metrics.applied(kind, latency);
    }

    /// The kernel holds what it should.
    pub fn in_force(&self, enforcement: Enforcement) {
        self.state.enforced.set(enforcement);
        self.state.health.in_force();
    }

    /// The kernel does not hold what it should; it is tried again.
    pub fn refused(&self, error: &KernelError) {
        self.metrics.refused(error);
        self.state.health.refused(error.to_string());
    }

    /// What is wrong with the objects now, in place of what was wrong before.
    pub fn set_problems(&self, problems: impl Into<Arc<[Problem]>>) {
        *write(&self.state.problems) = problems.into();
    }

    /// Somebody else's change of the table was undone.
    pub fn repaired(&self) {
        self.metrics.repaired();
    }

    /// Kernel and plan were compared, and differ in so many chains and sets.
    pub fn audited(&self, differences: usize, took: Duration) {
        self.metrics.audited(differences, took);
    }

    /// The preflight checks were made. A check that would stop enforcement has a finding; one that would not, none.
    pub fn checked(&self, findings: impl IntoIterator<Item = (&'static str, Option<String>)>) {
        self.state.health.checked(findings);
    }

    /// Somebody had turned this setting of br_netfilter off.
    pub fn turned_off(&self, setting: &'static str) {
        self.metrics.turned_off(setting);
    }

    /// The table was removed because somebody asked for it; nothing is enforced until the agent is restarted.
    pub fn withdrawn(&self) {
        self.state.health.withdrawn();
        self.state.enforced.clear();
        self.state.view.release();
    }

    /// Everything that must hold for the agent to be ready.
    pub fn conditions(&self) -> Vec<Condition> {
        self.state.health.conditions()
    }

    /// Whether the loop is alive.
    pub fn heartbeat(&self) -> Condition {
        self.state.health.heartbeat()
    }

    /// What is enforced now.
    pub fn status(&self) -> Status {
        Status::of(&self.state)
    }

    /// Has the metrics tell of denied packets, of so many pods at most.
    pub fn count_denied(&self, reader: Reader, pods: usize) {
        self.metrics.count_denied(reader, pods);
    }

    /// All metrics, as OpenMetrics text: see [`CONTENT_TYPE`].
    pub async fn metrics(&self) -> String {
        self.metrics.encode().await
    }
}

/// What a panic left behind is as good as what it found: every value is written whole.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use policy_compiler::model::{ObjectName, Pod};
    use policy_compiler::plan::PlannedPod;
    use policy_compiler::ruleset::TableSize;

    use super::*;
    use crate::kernel::{NetlinkError, Refusal};

    fn observer() -> Observer {
        Observer::new(Identity { node: "n1".into(), table: "podwall".into() })
    }

    const ENFORCEMENT: Enforcement = Enforcement {
        generation: 7,
        owned: true,
        size: TableSize { chains: 1, rules: 2, sets: 3, elements: 4 },
        policies: 5,
    };

    fn refusal(errno: i32) -> Refusal {
        Refusal { errno, operation: 1, what: "add chain a".into(), culprit: None, reason: None }
    }

    /// The value of a metric, by its name and labels.
    #[track_caller]
    fn value(text: &str, metric: &str) -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {metric} in\n{text}")).parse().unwrap()
    }

    fn metrics(observer: &Observer) -> String {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(observer.metrics())
    }

    #[test]
    fn what_was_told_is_what_is_read() {
        let observer = observer();
        let name = ObjectName::new("shop", "web");
        let mut web = Pod { addresses: vec!["10.244.1.1".parse().unwrap()], ..Pod::new(name.clone()) };
        observer.view().put(&web, true);
        web.name = ObjectName::new("shop", "waiting");
        web.addresses.clear();
        observer.view().put(&web, true);
        web.name = ObjectName::new("shop", "remote");
        observer.view().put(&web, false);
        let policy = ObjectName::new("shop", "policy");
        observer.view().isolate(&[PlannedPod { name, ingress: vec![policy], egress: Vec::new() }]);
        let problem =
            |closed, message: &str| Problem { policy: Some("shop/bad".into()), closed, message: message.into() };
        observer.set_problems([problem(true, "one"), problem(true, "two"), problem(false, "three")]);
        observer.event(Kind::Pod, Action::Delete);
        observer.applied(Kind::Policy, Duration::from_millis(3));
        observer.committed(
            Commit { transactions: 1, operations: 9, bytes: 100, ..Commit::default() },
            Duration::from_millis(2),
        );
        observer.in_force(ENFORCEMENT);
        observer.connected(Kind::Pod);
        observer.disconnected(Kind::Node);
        observer.audited(2, Duration::from_millis(1));
        observer.turned_off("bridge-nf-call-iptables");

        let status = observer.status();
        assert_eq!((status.pods.len(), &*status.pods[0].ingress), (1, &["shop/policy".to_owned()][..]));
        assert_eq!((status.pending.as_slice(), status.known_pods), (&["shop/waiting".to_owned()][..], 3));
        assert_eq!((status.generation, status.owned, status.commits), (Some(7), Some(true), 1));
        assert_eq!(status.last_commit.map(|commit| (commit.operations, commit.microseconds)), Some((9, 2000)));
        assert_eq!(status.api.iter().map(|api| api.connected).collect::<Vec<_>>(), [true, false]);
        assert!(!status.ready && status.live);

        let text = metrics(&observer);
        for (metric, expected) in [
            ("podwall_events_total{kind=\"Pod\",action=\"delete\"}", 1.0),
            ("podwall_events_total{kind=\"NetworkPolicy\",action=\"apply\"}", 0.0),
            ("podwall_event_to_kernel_seconds_bucket{le=\"0.0025\",kind=\"NetworkPolicy\"}", 0.0),
            ("podwall_event_to_kernel_seconds_bucket{le=\"0.005\",kind=\"NetworkPolicy\"}", 1.0),
            ("podwall_commits_total{result=\"success\"}", 1.0),
            ("podwall_operations_total", 9.0),
            ("podwall_commit_duration_seconds_count", 1.0),
            ("podwall_table_chains", 1.0),
            ("podwall_table_rules", 2.0),
            ("podwall_table_sets", 3.0),
            ("podwall_table_elements", 4.0),
            ("podwall_table_owned", 1.0),
            ("podwall_generation", 7.0),
            ("podwall_policies", 5.0),
            ("podwall_closed_policies", 1.0),
            ("podwall_problems", 3.0),
            ("podwall_known_pods", 3.0),
            ("podwall_local_pods", 2.0),
            ("podwall_pending_pods", 1.0),
            ("podwall_isolated_pods{direction=\"ingress\"}", 1.0),
            ("podwall_isolated_pods{direction=\"egress\"}", 0.0),
            ("podwall_api_up{kind=\"Pod\"}", 1.0),
            ("podwall_api_up{kind=\"Node\"}", 0.0),
            ("podwall_api_state_age_seconds{kind=\"Pod\"}", 0.0),
            ("podwall_audit_differences_total", 2.0),
            ("podwall_bridge_filter_turned_off_total{setting=\"bridge-nf-call-iptables\"}", 1.0),
            ("podwall_condition{condition=\"committed\"}", 1.0),
            ("podwall_condition{condition=\"synced\"}", 0.0),
            ("podwall_ready", 0.0),
            (&format!("podwall_build_info{{version=\"{VERSION}\",commit=\"{}\"}}", COMMIT.unwrap_or("unknown")), 1.0),
        ] {
            assert_eq!(value(&text, metric), expected, "{metric}");
        }
        assert!(value(&text, "process_start_time_seconds") > 1e9 && text.ends_with("# EOF\n"), "{text}");

        observer.withdrawn();
        assert_eq!((observer.status().size, observer.status().commits), (None, 1));
        assert!(observer.status().pods[0].ingress.is_empty(), "nobody is isolated any more");
        assert_eq!(value(&metrics(&observer), "podwall_table_chains"), 0.0);
    }

    #[test]
    fn refusals_are_told_by_what_was_refused() {
        let observer = observer();
        observer.refused(&KernelError::Owned { table: "podwall".into() });
        let refused = NetlinkError::Refused(vec![refusal(2), refusal(2), refusal(16)]);
        observer.refused(&KernelError::Garbage(Box::new(KernelError::Netlink(refused))));
        observer.refused(&KernelError::Netlink(NetlinkError::Refused(vec![refusal(2)])));
        observer.refused(&KernelError::Netlink(NetlinkError::TooLarge { bytes: 1 }));
        let text = metrics(&observer);
        for result in ["owned", "garbage", "refused", "failed"] {
            assert_eq!(value(&text, &format!("podwall_commits_total{{result=\"{result}\"}}")), 1.0, "{result}");
        }
        assert_eq!(value(&text, "podwall_commits_total{result=\"unconfirmed\"}"), 0.0);
        assert_eq!(value(&text, "podwall_refused_operations_total{errno=\"ENOENT\"}"), 3.0);
        assert_eq!(value(&text, "podwall_refused_operations_total{errno=\"EBUSY\"}"), 1.0);
    }
}
