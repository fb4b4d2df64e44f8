//! Which flows are tried, and what is expected of each.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use policy_compiler::{
    cidr::Family,
    cluster::Cluster,
    model::{Pod, Protocol},
};

use super::{
    End, Prediction, Trial,
    ways::{NodeAddresses, Ways, of_family},
};
use crate::{Expectation, OUTSIDE, PodNetwork, Probe, Traffic, services::Served};

/// A cluster as it stands in the lab.
pub(super) struct Ground<'c> {
    pub(super) cluster: &'c Cluster,
    pub(super) network: PodNetwork,
    pub(super) nodes: &'c BTreeMap<Arc<str>, NodeAddresses>,
    pub(super) outside: &'c [IpAddr],
    pub(super) services: &'c [Served],
    pub(super) ports: &'c [(Protocol, u16)],
}

impl Ground<'_> {
    /// Everything that can be told apart: pods, nodes and the world outside among each other, on every port and by echo;
    /// and all of them to every Service, by its addresses and by the ports of nodes.
    ///
    /// Left out is what policies have no say in: a pod and itself (its packets never leave it), and whatever is not
    /// about a pod.
    pub(super) fn trials(&self) -> Vec<Trial> {
        let pods = || self.pods().map(|pod| End::Pod(pod.name.clone()));
        let nodes = || self.nodes.keys().cloned().map(End::Node);
        let outside = || self.outside.iter().copied().map(End::Outside);
        let ends: Vec<End> = pods().chain(nodes()).chain(outside()).collect();
        let kinds = self.traffics();
        let mut trials = Vec::new();
        for from in &ends {
            for to in ends.iter().filter(|to| *to != from && (is_pod(from) || is_pod(to))) {
                trials.extend(kinds.iter().flat_map(|traffic| self.direct(from, to, *traffic)));
            }
        }
        for from in &ends {
            trials.extend(self.services.iter().flat_map(|served| self.through(from, served)));
        }
        trials
    }

    fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.cluster.pods().filter(|pod| pod.is_selectable())
    }

    /// Every port, and echo.
    pub(super) fn traffics(&self) -> Vec<Traffic> {
        let ports = self.ports.iter().map(|&(protocol, port)| Traffic::Port(protocol, port));
        ports.chain([Traffic::Echo]).collect()
    }

    /// Without a Service, in every family that both ends have.
    pub(super) fn direct(&self, from: &End, to: &End, traffic: Traffic) -> Vec<Trial> {
        let ways = self.ways();
        let sources = self.addresses(from);
        let addresses = self.addresses(to).into_iter();
        let both = addresses.filter(|address| of_family(&sources, Family::of(*address)).is_some());
        let trial = |address| Trial {
            from: from.clone(),
            to: to.clone(),
            address,
            traffic,
            predicted: Prediction::of(ways.is_allowed(from, to, address, traffic)),
            answerers: to.place().into_iter().collect(),
            observed: None,
        };
        both.map(trial).collect()
    }

    /// To one port of a Service, by all its addresses that the client can reach.
    fn through(&self, from: &End, served: &Served) -> Vec<Trial> {
        let sources = self.addresses(from);
        let mut entries: Vec<(End, IpAddr, u16)> = Vec::new();
        if !matches!(from, End::Outside(_)) {
            let own = |address: &IpAddr| (End::Service(served.service.clone()), *address, served.port);
            entries.extend(served.addresses.iter().map(own));
        }
        if let Some(port) = served.node_port {
            let families: Vec<Family> = served.addresses.iter().map(|address| Family::of(*address)).collect();
            for (node, addresses) in self.nodes {
                let to = End::NodePort { service: served.service.clone(), node: node.clone() };
                let of_service = addresses.own.iter().filter(|address| families.contains(&Family::of(**address)));
                entries.extend(of_service.map(|address| (to.clone(), *address, port)));
            }
        }
        entries.retain(|(_, address, _)| of_family(&sources, Family::of(*address)).is_some());
        entries.into_iter().map(|(to, address, port)| self.entry(from, to, address, port, served)).collect()
    }

    fn entry(&self, from: &End, to: End, address: IpAddr, port: u16, served: &Served) -> Trial {
        let ways = self.ways();
        let backends = ways.backends(from, &to, served);
        let allowed = |backend: &&_| ways.leads_to(from, &to, served, backend, Family::of(address));
        let answering: Vec<_> = backends.iter().copied().filter(allowed).collect();
        let predicted = match answering.len() {
            0 => Prediction::Denied,
            some if some == backends.len() => Prediction::Allowed,
            _ => Prediction::Partly,
        };
        // A pod with hostNetwork speaks as its node.
        let place = |backend: &crate::services::Backend| match self.cluster.pod(&backend.pod) {
            Some(pod) if pod.host_network => backend.node.to_string(),
            _ => backend.pod.to_string(),
        };
        let answerers = answering.into_iter().map(place).collect();
        let traffic = Traffic::Port(served.protocol, port);
        Trial { from: from.clone(), to, address, traffic, predicted, answerers, observed: None }
    }

    fn addresses(&self, end: &End) -> Vec<IpAddr> {
        match end {
            End::Pod(name) => self.cluster.pod(name).map(|pod| pod.addresses.clone()).unwrap_or_default(),
            End::Node(name) => self.nodes.get(name).map(|node| node.own.to_vec()).unwrap_or_default(),
            End::Outside(address) => vec![*address],
            End::Service(_) | End::NodePort { .. } => Vec::new(),
        }
    }

    fn ways(&self) -> Ways<'_> {
        Ways { cluster: self.cluster, network: self.network, nodes: self.nodes }
    }
}

fn is_pod(end: &End) -> bool {
    matches!(end, End::Pod(_))
}

impl Trial {
    /// The packets that try it.
    pub(super) fn probe(&self, payload: u16) -> Probe {
        let source = if let End::Outside(address) = self.from { Some(address) } else { None };
        Probe {
            from: self.from.place().unwrap_or_else(|| OUTSIDE.to_owned()),
            source,
            to: self.address,
            traffic: self.traffic,
            payload,
            answerers: self.answerers.clone(),
            expectation: match self.predicted {
                Prediction::Allowed => Expectation::Allowed,
                Prediction::Denied | Prediction::Partly => Expectation::Denied,
            },
        }
    }
}
