//! A lab: nodes, their pods, and what the pods listen on.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    panic::resume_unwind,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use crate::{
    LabError, Namespace, Node, OUTSIDE, Observed, PodNet, PodNetwork, Probe, Protocol, Reactor, Responder, neighbours,
    outside::Outside,
    probe::{self, Question},
    requirements,
    underlay::{Site, Underlay},
};

/// The third byte of a pod's address is its node's number; the last one is for the world outside.
pub(crate) const MAX_NODES: usize = 253;
/// CNI plugins are processes that wait for locks and for the kernel more than they compute.
const BUILDERS: usize = 4;

/// What to build.
#[derive(Debug, Clone, Default)]
pub struct LabSpec {
    /// The nodes' names.
    pub nodes: Vec<String>,
    /// How their pods reach each other.
    pub network: PodNetwork,
    /// The pods.
    pub pods: Vec<PodSpec>,
    /// The addresses that the host outside has.
    pub outside: Vec<IpAddr>,
    /// What nodes and the host outside listen on.
    pub host_ports: Vec<(Protocol, u16)>,
}

/// A pod to build.
#[derive(Debug, Clone)]
pub struct PodSpec {
    /// `namespace/name`.
    pub id: String,
    /// The name of its node.
    pub node: String,
    /// What it listens on.
    pub ports: Vec<(Protocol, u16)>,
}

/// A cluster that lives as long as this value, and no longer than this process.
#[derive(Debug)]
pub struct Lab {
    // In the order in which they must go: what listens, the thread that serves it, the network below.
    pods: BTreeMap<String, Pod>,
    _host_responders: Vec<Responder>,
    reactor: Reactor,
    nodes: BTreeMap<String, Node>,
    outside: Outside,
    _underlay: Underlay,
}

#[derive(Debug)]
struct Pod {
    node: String,
    responder: Responder,
    net: PodNet,
}

impl Lab {
    /// Checks the machine and builds everything.
    pub fn build(spec: &LabSpec) -> Result<Self, LabError> {
        requirements::check()?;
        requirements::raise_file_limit();
        if spec.nodes.len() > MAX_NODES {
            return Err(LabError::TooManyNodes { asked: spec.nodes.len() });
        }
        let underlay = Underlay::new()?;
        let mut outside = Outside::new(&underlay)?;
        outside.own(&spec.outside)?;
        let mut nodes = BTreeMap::new();
        for (name, number) in spec.nodes.iter().zip(1..) {
            let node = Node::new(name, number, spec.network)?;
            underlay.connect(node.namespace(), node.site())?;
            outside.route(node.namespace(), node.site())?;
            if nodes.insert(name.clone(), node).is_some() {
                return Err(LabError::Duplicate(name.clone()));
            }
        }
        for (name, node) in &nodes {
            let others: Vec<&Site> =
                nodes.iter().filter(|(other, _)| *other != name).map(|(_, node)| node.site()).collect();
            spec.network.connect(node.namespace(), node.site(), &others)?;
        }
        let reactor = Reactor::start()?;
        let hosts = nodes.values().map(Node::namespace).chain([&outside.namespace]);
        let listen = |host: &Namespace| Responder::start(&reactor, host, &spec.host_ports);
        let responders = hosts.map(listen).collect::<Result<_, _>>()?;
        let pods = BTreeMap::new();
        let mut lab = Self { pods, _host_responders: responders, reactor, nodes, outside, _underlay: underlay };
        // The first pod of each node makes its bridge; the others would race for it.
        let is_first = |index: usize| !spec.pods[..index].iter().any(|pod| pod.node == spec.pods[index].node);
        let (first, rest): (Vec<_>, Vec<_>) = (0..spec.pods.len()).partition(|&index| is_first(index));
        for indices in [first, rest] {
            let pods: Vec<_> = indices.into_iter().map(|index| &spec.pods[index]).collect();
            lab.add_all(&pods)?;
        }
        for node in &spec.nodes {
            lab.introduce_pods(node)?;
        }
        Ok(lab)
    }

    fn add_all(&mut self, specs: &[&PodSpec]) -> Result<(), LabError> {
        let next = AtomicUsize::new(0);
        let build = || {
            let mut built = Vec::new();
            while let Some(spec) = specs.get(next.fetch_add(1, Ordering::Relaxed)) {
                built.push((spec.id.clone(), self.make(spec)?));
            }
            Ok(built)
        };
        let results: Vec<Result<Vec<_>, LabError>> = thread::scope(|scope| {
            let builders: Vec<_> = (0..BUILDERS.min(specs.len())).map(|_| scope.spawn(build)).collect();
            builders.into_iter().map(|builder| builder.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
        });
        for (id, pod) in results.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
            if self.pods.insert(id.clone(), pod).is_some() {
                return Err(LabError::Duplicate(id));
            }
        }
        Ok(())
    }

    fn make(&self, spec: &PodSpec) -> Result<Pod, LabError> {
        let net = self.node(&spec.node)?.add_pod(&spec.id)?;
        let responder = Responder::start(&self.reactor, &net.namespace, &spec.ports)?;
        Ok(Pod { node: spec.node.clone(), responder, net })
    }

    /// Adds one pod.
    pub fn add_pod(&mut self, spec: &PodSpec) -> Result<(), LabError> {
        if self.pods.contains_key(&spec.id) {
            return Err(LabError::Duplicate(spec.id.clone()));
        }
        let pod = self.make(spec)?;
        self.pods.insert(spec.id.clone(), pod);
        self.introduce_pods(&spec.node)
    }

    fn introduce_pods(&self, node: &str) -> Result<(), LabError> {
        let pods: Vec<_> = self.pods.values().filter(|pod| pod.node == node).map(|pod| &pod.net).collect();
        if pods.len() > neighbours::UNAIDED {
            pods.iter().try_for_each(|pod| neighbours::teach(pod, &pods))?;
        }
        Ok(())
    }

    /// Removes one pod and frees its addresses.
    pub fn remove_pod(&mut self, id: &str) -> Result<(), LabError> {
        let Pod { node, responder, net } = self.pods.remove(id).ok_or_else(|| LabError::Unknown(id.into()))?;
        drop(responder);
        self.node(&node)?.remove_pod(net)
    }

    /// The node of that name.
    pub fn node(&self, name: &str) -> Result<&Node, LabError> {
        self.nodes.get(name).ok_or_else(|| LabError::Unknown(name.into()))
    }

    /// The nodes, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// The pods' ids, in order.
    pub fn pods(&self) -> impl Iterator<Item = &str> {
        self.pods.keys().map(String::as_str)
    }

    /// The addresses of a pod, of a node on the underlay, or of the host outside; IPv4 first.
    pub fn addresses(&self, id: &str) -> Result<&[IpAddr], LabError> {
        match self.pods.get(id) {
            Some(pod) => Ok(&pod.net.addresses),
            None if id == OUTSIDE => Ok(&self.outside.addresses),
            None => self.node(id).map(|node| node.addresses().as_slice()),
        }
    }

    /// The name of a pod's node.
    pub fn node_of(&self, id: &str) -> Result<&str, LabError> {
        Ok(&self.pods.get(id).ok_or_else(|| LabError::Unknown(id.into()))?.node)
    }

    /// The network namespace of a pod, of a node, or of the host outside.
    pub fn namespace(&self, id: &str) -> Result<&Namespace, LabError> {
        match self.pods.get(id) {
            Some(pod) => Ok(&pod.net.namespace),
            None if id == OUTSIDE => Ok(&self.outside.namespace),
            None => self.node(id).map(Node::namespace),
        }
    }

    /// Asks every probe and tells each observation as it is made. The observations come in the order of the probes.
    ///
    pub fn probe_all(
        &self,
        probes: &[Probe],
        mut progress: impl FnMut(&Probe, &Observed),
    ) -> Result<Vec<Observed>, LabError> {
        let owners: BTreeMap<IpAddr, &String> =
            self.pods.iter().flat_map(|(id, pod)| pod.net.addresses.iter().map(move |&ip| (ip, id))).collect();
        let question = |probe: &Probe| {
            let mut probe = probe.clone();
            if probe.answerers.is_empty() {
                probe.answerers.extend(owners.get(&probe.to).map(|id| (*id).clone()));
            }
            Ok(Question { from: self.namespace(&probe.from)?.clone(), probe })
        };
        let questions = probes.iter().map(question).collect::<Result<Vec<_>, LabError>>()?;
        probe::ask(questions, |index, observed| progress(&probes[index], observed))
    }
}
