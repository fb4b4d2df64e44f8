//! Changes through the API that never end, and never touch what is always allowed or never is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use kube::Result;
use podwall_tests::kubernetes::{Api, objects};
use podwall_tests::random::Dice;
use serde_json::{Value, json};

use super::world::NODES;

/// Leaves the API server some time for others.
const PAUSE: Duration = Duration::from_millis(2);
const POLICIES: u64 = 6;
const PODS: u64 = 6;
/// A node that nobody has made: its pods run only as far as their status says so.
const ELSEWHERE: &str = "elsewhere";

/// A thread that changes something all the time, whether the API server is there or not. It is told to stop when this is dropped.
pub(super) struct Churn {
    stop: Arc<AtomicBool>,
    changes: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Churn {
    pub(super) fn start(api: &Api, seed: u64) -> Self {
        let (stop, changes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let thread = thread::spawn({
            let (api, stop, changes, mut dice) = (api.clone(), stop.clone(), changes.clone(), Dice::new(seed));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    // What is there already, is gone already, or is on its way out, is left as it is.
                    changes.fetch_add(u64::from(change(&api, &mut dice).is_ok()), Ordering::Relaxed);
                    thread::sleep(PAUSE);
                }
            }
        });
        Self { stop, changes, thread: Some(thread) }
    }

    /// How many changes the API server has taken.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Stops, and says the same.
    pub(super) fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("whatever the API server says, the next change follows");
        }
        self.changes()
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn change(api: &Api, dice: &mut Dice) -> Result<Value> {
    let policy = format!("shop/extra-{}", dice.below(POLICIES));
    let pod = format!("busy/pod-{}", dice.below(PODS));
    match dice.below(20) {
        0..6 => api.apply(&objects::policy(&policy, spec(dice))),
        6..9 => api.delete("NetworkPolicy", &policy),
        9..14 => api.patch("Pod", &pod, &json!({"metadata": {"labels": {"app": app(dice)}}})),
        14..16 => {
            api.create(&objects::pod(&pod, ELSEWHERE, json!({"app": app(dice)}), &[]))?;
            let addresses = [format!("10.250.0.{}", dice.below(200)), format!("fd00:250::{}", dice.below(200))];
            let listed: Vec<_> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
            let status = json!({"phase": "Running", "podIP": addresses[0], "podIPs": listed});
            api.patch_status("Pod", &pod, &status)
        }
        16 => api.delete_now("Pod", &pod),
        17..19 => {
            let value = if dice.below(2) == 0 { json!("yes") } else { Value::Null };
            api.patch("Namespace", "busy", &json!({"metadata": {"labels": {"busy": value}}}))
        }
        // A pod of one of the nodes, which takes longer.
        _ => {
            let node = NODES[dice.below(2) as usize];
            let local = format!("busy/local-{node}");
            match dice.below(4) {
                0 => api.create(&objects::pod(&local, node, json!({"app": app(dice)}), &[])),
                1 => api.delete("Pod", &local),
                _ => api.patch("Pod", &local, &json!({"metadata": {"labels": {"app": app(dice)}}})),
            }
        }
    }
}

fn app(dice: &mut Dice) -> String {
    format!("app-{}", dice.below(3))
}

/// What lets in or out more than there is a policy for already, or isolates pods that nobody sends to.
fn spec(dice: &mut Dice) -> Value {
    let pods = json!({"podSelector": {"matchLabels": {"app": app(dice)}}});
    let busy = json!({"namespaceSelector": {"matchLabels": {"busy": "yes"}}});
    let both = json!({
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "busy"}},
        "podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["app-0", "app-1"]}]},
    });
    let block = json!({"ipBlock": {"cidr": "10.250.0.0/16", "except": [format!("10.250.0.{}/32", dice.below(100))]}});
    let peers: Vec<_> = [pods, busy, both, block].into_iter().filter(|_| dice.below(2) == 0).collect();
    // No peers at all would be everybody.
    let rules = if peers.is_empty() { json!([]) } else { json!([{"PEERS": peers, "ports": ports(dice)}]) };
    let rules = |peers: &str| -> Value { serde_json::from_str(&rules.to_string().replace("PEERS", peers)).unwrap() };
    match dice.below(3) {
        0 => json!({"podSelector": {"matchLabels": {"app": "server"}}, "ingress": rules("from")}),
        1 => json!({"podSelector": {"matchLabels": {"app": "good"}}, "policyTypes": ["Egress"], "egress": rules("to")}),
        _ => json!({
            "podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["server", "captive"]}]},
            "ingress": rules("from"),
        }),
    }
}

fn ports(dice: &mut Dice) -> Value {
    match dice.below(3) {
        0 => json!([]),
        1 => json!([{"port": 8000 + dice.below(3)}]),
        _ => json!([{"protocol": "UDP", "port": 9000, "endPort": 9000 + dice.below(50)}]),
    }
}
