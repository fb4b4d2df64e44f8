//! What is enforced now, as one document: `GET /status` of the control socket, `podwall status -o json`, and
//! `docs/json.md`.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use policy_compiler::model::ObjectName;
use policy_compiler::ruleset::TableSize;
use serde::{Deserialize, Serialize};

use super::{COMMIT, Condition, Contact, LastCommit, PodView, State, VERSION, read};

/// What an agent enforces, and how it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The agent's version.
    pub version: String,
    /// The commit that it was built from, if known.
    pub commit: Option<String>,
    /// The node whose pods it isolates.
    pub node: String,
    /// The table that does it.
    pub table: String,
    /// Since when the agent runs, in seconds since 1970.
    pub since: u64,
    /// Whether all conditions hold.
    pub ready: bool,
    /// Whether the agent's loop is alive.
    pub live: bool,
    /// What must hold for it to be ready.
    pub conditions: Vec<Condition>,
    /// Whether the kernel keeps others from changing the table; none while nothing is in force.
    pub owned: Option<bool>,
    /// The number of the generation that connections are stamped with; none while nothing is in force.
    pub generation: Option<u32>,
    /// How much the table holds; none while nothing is in force.
    pub size: Option<SizeStatus>,
    /// How many changes the kernel took since the agent runs.
    pub commits: u64,
    /// The last one.
    pub last_commit: Option<CommitStatus>,
    /// How many pods there are on all nodes.
    pub known_pods: usize,
    /// How many policies there are; none while nothing is in force.
    pub policies: Option<usize>,
    /// The node's pods that policy can apply to, by name.
    pub pods: Vec<PodStatus>,
    /// The node's pods that wait for an address, by name.
    pub pending: Vec<String>,
    /// Whether the API server answers, by kind of object; empty where there is none.
    pub api: Vec<ApiStatus>,
    /// What is wrong with the objects.
    pub problems: Vec<Problem>,
}

/// How much a table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeStatus {
    /// Chains.
    pub chains: usize,
    /// Rules of all chains.
    pub rules: usize,
    /// Sets and maps.
    pub sets: usize,
    /// Elements of all sets and maps.
    pub elements: usize,
}

/// A change that the kernel took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitStatus {
    /// When, in seconds since 1970.
    pub at: u64,
    /// How long it took.
    pub microseconds: u64,
    /// Operations in it.
    pub operations: usize,
}

/// A pod of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodStatus {
    /// Namespace and name.
    pub name: String,
    /// The API server's identity of it; none for pods of manifests.
    pub uid: Option<String>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The policies that isolate it for ingress; none: not isolated.
    pub ingress: Vec<String>,
    /// The policies that isolate it for egress; none: not isolated.
    pub egress: Vec<String>,
}

/// Whether the API server answers for a kind of object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApiStatus {
    /// The kind.
    pub kind: String,
    /// Whether it answers.
    pub connected: bool,
    /// How old what is known may be; nothing while connected.
    pub age_seconds: f64,
}

/// Something wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The policy that it is about, as namespace and name; none where it is about something else.
    pub policy: Option<String>,
    /// Whether the pods that the policy selects are closed for that.
    pub closed: bool,
    /// What is wrong.
    pub message: String,
}

impl Status {
    pub(super) fn of(state: &State) -> Self {
        let (record, conditions) = (state.enforced.get(), state.health.conditions());
        let (pods, pending): (Vec<_>, Vec<_>) =
            state.view.local().into_iter().partition(|pod| !pod.addresses.is_empty());
        Self {
            version: VERSION.to_owned(),
            commit: COMMIT.map(str::to_owned),
            node: state.identity.node.to_string(),
            table: state.identity.table.to_string(),
            since: seconds(state.started),
            ready: conditions.iter().all(|condition| condition.holds),
            live: state.health.heartbeat().holds,
            conditions,
            owned: record.enforcement.map(|enforcement| enforcement.owned),
            generation: record.enforcement.map(|enforcement| enforcement.generation),
            size: record.enforcement.map(|enforcement| enforcement.size.into()),
            commits: record.commits,
            last_commit: record.last_commit.map(CommitStatus::from),
            known_pods: state.view.len(),
            policies: record.enforcement.map(|enforcement| enforcement.policies),
            pods: pods.iter().map(|pod| PodStatus::of(pod)).collect(),
            pending: pending.iter().map(|pod| pod.name.to_string()).collect(),
            api: state.contacts.all().into_iter().map(ApiStatus::from).collect(),
            problems: read(&state.problems).to_vec(),
        }
    }
}

impl PodStatus {
    fn of(pod: &PodView) -> Self {
        let names = |policies: &[ObjectName]| policies.iter().map(ObjectName::to_string).collect();
        Self {
            name: pod.name.to_string(),
            uid: pod.uid.as_deref().map(str::to_owned),
            addresses: pod.addresses.to_vec(),
            ingress: names(&pod.ingress),
            egress: names(&pod.egress),
        }
    }
}

impl From<TableSize> for SizeStatus {
    fn from(size: TableSize) -> Self {
        let TableSize { chains, rules, sets, elements } = size;
        Self { chains, rules, sets, elements }
    }
}

impl From<LastCommit> for CommitStatus {
    fn from(last: LastCommit) -> Self {
        let microseconds = last.took.as_micros().try_into().unwrap_or(u64::MAX);
        Self { at: seconds(last.at), microseconds, operations: last.commit.operations }
    }
}

impl From<Contact> for ApiStatus {
    fn from(contact: Contact) -> Self {
        let age_seconds = Duration::from_millis(contact.age.as_millis() as u64).as_secs_f64();
        Self { kind: contact.kind.name().to_owned(), connected: contact.connected, age_seconds }
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
