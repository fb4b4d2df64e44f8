//! What makes the pods of a lab's node: the API server says which, the node's CNI plugins give them their networks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::{self, Event};
use kube::{Error, ResourceExt, Result};
use lab::{Lab, PodSpec};
use policy_compiler::model::Protocol;
use serde_json::{Value, json};
use tokio::task::AbortHandle;

use super::Api;

/// Between attempts to reach an API server that is not there.
const PAUSE: Duration = Duration::from_millis(50);

/// The kubelet of one node, as far as networks go. It makes the pods that are bound to the node, in the lab's node of
/// that name, and reports their addresses; where a pod is to go, it takes it away at once, whatever the grace, and says
/// that it has. A pod on its node's network has the node's addresses, and listens on nothing.
///
/// Where something goes wrong on the node, the test fails when this is dropped.
#[derive(Debug)]
pub struct Kubelet {
    watch: AbortHandle,
    stopped: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
}

impl Kubelet {
    /// Starts it. It reaches the API server whatever happens to the node's link there.
    pub fn start(api: &Api, lab: &Arc<Mutex<Lab>>, node: &str) -> Self {
        let (events, heard) = mpsc::channel();
        let pods = kube::Api::<Pod>::all(api.client());
        let config = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
        let watch = api.reactor().handle().spawn(async move {
            let mut stream = pin!(watcher::watcher(pods, config));
            while let Some(event) = stream.next().await {
                match event {
                    Ok(event) => _ = events.send(event),
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
        });
        let stopped = Arc::new(AtomicBool::new(false));
        let mut worker = Worker {
            api: api.clone(),
            lab: lab.clone(),
            node: node.to_owned(),
            stopped: stopped.clone(),
            made: BTreeMap::new(),
            listed: BTreeSet::new(),
        };
        let work = move || heard.into_iter().for_each(|event| worker.follow(event));
        let worker = thread::Builder::new().name(format!("kubelet-{node}")).spawn(work).expect("threads can be made");
        Self { watch: watch.abort_handle(), stopped, worker: Some(worker) }
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.watch.abort();
        let worked = self.worker.take().map(JoinHandle::join);
        assert!(!matches!(worked, Some(Err(_))) || thread::panicking(), "the kubelet has panicked, see above");
    }
}

struct Worker {
    api: Api,
    lab: Arc<Mutex<Lab>>,
    node: String,
    stopped: Arc<AtomicBool>,
    /// The pods that are there, by id.
    made: BTreeMap<String, Made>,
    /// The ids of a list that is coming in.
    listed: BTreeSet<String>,
}

struct Made {
    uid: Option<String>,
    is_on_host: bool,
}

impl Worker {
    fn follow(&mut self, event: Event<Pod>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(pod) => {
                self.listed.insert(id(&pod));
                self.keep(&pod);
            }
            Event::InitDone => {
                let gone: Vec<_> = self.made.keys().filter(|id| !self.listed.contains(*id)).cloned().collect();
                gone.iter().for_each(|id| self.remove(id));
            }
            Event::Apply(pod) => self.keep(&pod),
            Event::Delete(pod) => self.remove(&id(&pod)),
        }
    }

    fn keep(&mut self, pod: &Pod) {
        let id = id(pod);
        // One of the same name that has gone unseen.
        if self.made.get(&id).is_some_and(|made| made.uid != pod.uid()) {
            self.remove(&id);
        }
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if pod.metadata.deletion_timestamp.is_some() {
            self.remove(&id);
            self.tell(|api| api.delete_now("Pod", &id));
        } else if !self.made.contains_key(&id) && !matches!(phase, Some("Succeeded" | "Failed")) {
            self.make(&id, pod);
        }
    }

    fn make(&mut self, id: &str, pod: &Pod) {
        let spec = pod.spec.as_ref().expect("the API server stores no pod without a spec");
        let is_on_host = spec.host_network == Some(true);
        let pod_spec = PodSpec { id: id.to_owned(), node: self.node.clone(), ports: ports(pod) };
        let (addresses, host) = self.in_lab(|lab| {
            if !is_on_host {
                lab.add_pod(&pod_spec)?;
            }
            let host = lab.addresses(&self.node)?.to_vec();
            Ok((if is_on_host { host.clone() } else { lab.addresses(id)?.to_vec() }, host))
        });
        self.made.insert(id.to_owned(), Made { uid: pod.uid(), is_on_host });
        let status = running(&addresses, &host);
        self.tell(|api| api.patch_status("Pod", id, &status));
    }

    fn remove(&mut self, id: &str) {
        if self.made.remove(id).is_some_and(|made| !made.is_on_host) {
            self.in_lab(|lab| lab.remove_pod(id));
        }
    }

    fn in_lab<T>(&self, work: impl FnOnce(&mut Lab) -> std::result::Result<T, lab::LabError>) -> T {
        let mut lab: MutexGuard<'_, Lab> = self.lab.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut lab).unwrap_or_else(|error| panic!("the kubelet of {}: {}", self.node, chain(&error)))
    }

    /// Tells the API server, until it has heard.
    fn tell(&self, say: impl Fn(&Api) -> Result<Value>) {
        while !self.stopped.load(Ordering::Relaxed) {
            match say(&self.api) {
                Ok(_) => return,
                // Gone meanwhile, or another of its name.
                Err(Error::Api(status)) if matches!(status.code, 404 | 409) => return,
                Err(Error::Api(status)) if status.code < 429 => panic!("the kubelet of {}: {status}", self.node),
                Err(_) => thread::sleep(PAUSE),
            }
        }
    }
}

fn id(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any())
}

/// What its containers, and the sidecars among its init containers, listen on.
fn ports(pod: &Pod) -> Vec<(Protocol, u16)> {
    let spec = pod.spec.iter();
    let containers = spec.clone().flat_map(|spec| &spec.containers);
    let sidecars = spec
        .flat_map(|spec| spec.init_containers.iter().flatten())
        .filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let ports = containers.chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let parse = |name: Option<&str>| match name {
        None | Some("TCP") => Protocol::Tcp,
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        Some(other) => panic!("the API server stores no protocol {other}"),
    };
    let ports = ports.map(|port| {
        let number = u16::try_from(port.container_port).expect("the API server stores no other port");
        (parse(port.protocol.as_deref()), number)
    });
    // Several containers may name the same.
    ports.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The status of a pod that runs. An API server that is told `podIP` alone keeps the `podIPs` that it has.
fn running(addresses: &[IpAddr], host: &[IpAddr]) -> Value {
    let listed = |addresses: &[IpAddr]| -> Vec<Value> { addresses.iter().map(|ip| json!({"ip": ip})).collect() };
    let conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"];
    json!({
        "phase": "Running",
        "podIP": addresses.first(),
        "podIPs": listed(addresses),
        "hostIP": host.first(),
        "hostIPs": listed(host),
        "conditions": conditions.map(|condition| json!({"type": condition, "status": "True"})),
    })
}

/// An error and what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(|source| format!(": {}", chain(source)));
    format!("{error}{}", cause.unwrap_or_default())
}
