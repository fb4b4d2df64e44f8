//! What rules get to see of a flow on its way, and so what it comes to: a packet crosses nodes, and on each of them
//! Services and masquerade may have rewritten it before rules judge it (rules 88, 98, 102-104, 139-141).

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use policy_compiler::{
    cidr::Family,
    cluster::Cluster,
    model::{ExternalTrafficPolicy, ObjectName, Pod},
    verdict::{self, Endpoint, Flow, Verdict},
};

use super::End;
use crate::{
    PodNetwork, Traffic,
    services::{Backend, Served},
};

/// Where a node is to be found.
#[derive(Debug, Clone)]
pub(super) struct NodeAddresses {
    /// On the underlay, IPv4 first.
    pub(super) own: [IpAddr; 2],
    /// From which it speaks to pods of other nodes.
    pub(super) towards_pods: [IpAddr; 2],
}

/// A cluster and the ways through it.
pub(super) struct Ways<'c> {
    pub(super) cluster: &'c Cluster,
    pub(super) network: PodNetwork,
    pub(super) nodes: &'c BTreeMap<Arc<str>, NodeAddresses>,
}

impl<'c> Ways<'c> {
    /// Whether policies let a flow pass that no Service leads.
    pub(super) fn is_allowed(&self, from: &'c End, to: &'c End, address: IpAddr, traffic: Traffic) -> bool {
        let target = match to {
            End::Node(name) => Some(Endpoint::node(name, Some(address))),
            End::Outside(_) => Some(Endpoint::address(address)),
            End::Pod(name) => self.pod(name).map(|pod| Endpoint::pod(pod, Some(address))),
            End::Service(_) | End::NodePort { .. } => None,
        };
        let source = match from {
            End::Node(name) => Some(self.masqueraded(name, Family::of(address))),
            from => self.client(from, Family::of(address)),
        };
        let (Some(from), Some(to)) = (source, target) else { return false };
        self.judge(from, to, traffic.judged(address)).is_allowed()
    }

    /// The pods that a Service may lead a client to at all.
    pub(super) fn backends(&self, from: &End, to: &End, served: &'c Served) -> Vec<&'c Backend> {
        let local = match to {
            End::NodePort { node, .. }
                if served.external_traffic_policy == ExternalTrafficPolicy::Local && !self.is_on(from, node) =>
            {
                Some(node)
            }
            _ => None,
        };
        served.backends.iter().filter(|backend| local.is_none_or(|node| backend.node == *node)).collect()
    }

    /// Whether policies let a flow through a Service pass to one of the pods behind it.
    pub(super) fn leads_to(
        &self,
        from: &'c End,
        to: &'c End,
        served: &'c Served,
        backend: &'c Backend,
        family: Family,
    ) -> bool {
        let address = of_family(&backend.addresses, family);
        let (Some(pod), Some(address)) = (self.pod(&backend.pod), address) else { return false };
        let target = Endpoint::pod(pod, Some(address));
        let traffic = verdict::Traffic::Port(served.protocol, backend.port);
        let Some(client) = self.client(from, family) else { return false };
        // Judged where the pod is, by what the source has become until there.
        let enters = |source| self.judge(source, target, traffic).ingress.is_allowed();
        let through = |node: &'c str| self.masqueraded(node, family);
        let is_here = |node: &str| *backend.node == *node;
        match (from, to) {
            // From pods of the node that translates, a Service is translated and nothing else.
            (End::Pod(_), End::Service(_)) => self.judge(client, target, traffic).is_allowed(),
            (End::Pod(_), End::NodePort { node, .. }) if self.is_on(from, node) => {
                if served.external_traffic_policy == ExternalTrafficPolicy::Local || is_here(node) {
                    self.judge(client, target, traffic).is_allowed()
                } else {
                    self.judge(client, target, traffic).egress.is_allowed() && enters(through(node))
                }
            }
            // Leaves its node to what looks like a port of another one.
            (End::Pod(name), End::NodePort { node, .. }) => {
                let Some(own) = self.pod(name).and_then(|pod| pod.node.as_deref()) else { return false };
                let Some(port) = served.node_port else { return false };
                let there = self.node(node, family);
                let leaves = self.judge(client, there, verdict::Traffic::Port(served.protocol, port)).egress;
                let source = if self.network.masquerades() { self.node(own, family) } else { client };
                leaves.is_allowed() && enters(if is_here(node) { source } else { through(node) })
            }
            (End::Node(name), End::Service(_)) => is_here(name) || enters(through(name)),
            (End::Node(name), End::NodePort { node, .. }) if name == node => is_here(name) || enters(through(name)),
            (_, End::NodePort { node, .. }) => enters(if is_here(node) { client } else { through(node) }),
            _ => false,
        }
    }

    /// Whether it is the node, or on it.
    fn is_on(&self, end: &End, node: &str) -> bool {
        match end {
            End::Pod(name) => self.pod(name).is_some_and(|pod| pod.node.as_deref() == Some(node)),
            End::Node(name) => **name == *node,
            _ => false,
        }
    }

    fn client(&self, from: &'c End, family: Family) -> Option<Endpoint<'c>> {
        match from {
            End::Pod(name) => {
                let pod = self.pod(name)?;
                Some(Endpoint::pod(pod, of_family(&pod.addresses, family)))
            }
            End::Node(name) => Some(self.node(name, family)),
            End::Outside(address) => Some(Endpoint::address(*address)),
            End::Service(_) | End::NodePort { .. } => None,
        }
    }

    fn node(&self, name: &'c str, family: Family) -> Endpoint<'c> {
        Endpoint::node(name, self.nodes.get(name).and_then(|node| of_family(&node.own, family)))
    }

    /// A node, as pods of other nodes see what it sends or forwards in its own name.
    fn masqueraded(&self, name: &'c str, family: Family) -> Endpoint<'c> {
        Endpoint::node(name, self.nodes.get(name).and_then(|node| of_family(&node.towards_pods, family)))
    }

    fn pod(&self, name: &ObjectName) -> Option<&'c Pod> {
        self.cluster.pod(name)
    }

    fn judge(&self, from: Endpoint<'c>, to: Endpoint<'c>, traffic: verdict::Traffic) -> Verdict<'c> {
        verdict::judge(self.cluster, &Flow { from, to, traffic })
    }
}

/// The address of a family, if there is one.
pub(super) fn of_family(addresses: &[IpAddr], family: Family) -> Option<IpAddr> {
    addresses.iter().copied().find(|address| Family::of(*address) == family)
}
