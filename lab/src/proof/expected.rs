//! What somebody expects, tried with packets.

use std::net::IpAddr;

use analysis::{
    expectation::Expectation,
    party::Pattern,
    reach::{self, AddressGroup},
};
use policy_compiler::{
    cidr::Family,
    cluster::Cluster,
    verdict::{self, Endpoint, Host},
};

use super::{Claim, End, Prediction, Stage, Trial, outside};
use crate::Traffic;

impl Claim<'_> {
    /// Has the lab provide for the ports and addresses that expectations name.
    pub fn provide_for(&mut self, expectations: &[Expectation]) {
        for expectation in expectations {
            if let Some(verdict::Traffic::Port(protocol, port)) = expectation.traffic {
                self.ports.push((protocol, port));
            }
            for state in self.states {
                for pattern in [&expectation.from, &expectation.to] {
                    let ends = ends(&state.cluster, pattern);
                    self.outside.extend(ends.into_iter().filter_map(|end| match end {
                        End::Outside(address) => Some(address),
                        _ => None,
                    }));
                }
            }
        }
    }
}

impl Stage {
    /// The flows of an expectation, each predicted to be as it says. Names and addresses are those of the state as it was
    /// read, which the lab has given addresses of its own. Everything, where it names no traffic, is what the lab can
    /// send: every port that is tried, and echo.
    pub fn trials_for(&self, state: &Cluster, expectation: &Expectation) -> Vec<Trial> {
        let (senders, receivers) = (ends(state, &expectation.from), ends(state, &expectation.to));
        let traffics = match expectation.traffic {
            None => self.traffics(),
            Some(verdict::Traffic::Port(protocol, port)) => vec![Traffic::Port(protocol, port)],
            Some(verdict::Traffic::Other(_)) => vec![Traffic::Echo],
        };
        let is_outside = |end: &End| matches!(end, End::Outside(_));
        let mut trials = Vec::new();
        for from in &senders {
            for to in receivers.iter().filter(|to| *to != from && !(is_outside(from) && is_outside(to))) {
                trials.extend(traffics.iter().flat_map(|traffic| self.trials_of(from, to, *traffic)));
            }
        }
        for trial in &mut trials {
            trial.predicted = Prediction::of(expectation.allowed);
            trial.answerers.extend(trial.to.place());
            trial.answerers.dedup();
        }
        trials
    }
}

/// Who is meant, as the lab has them.
fn ends(cluster: &Cluster, pattern: &Pattern) -> Vec<End> {
    let addresses = |groups: Vec<AddressGroup>| -> Vec<End> {
        let of = |group: &AddressGroup| Family::BOTH.map(|family| outside::representative(&group.ranges, family));
        let found: Vec<IpAddr> = groups.iter().flat_map(of).flatten().collect();
        found.into_iter().map(End::Outside).collect()
    };
    match pattern {
        Pattern::Address(address) => match Endpoint::resolve(cluster, *address).host {
            Host::Pod(pod) => vec![End::Pod(pod.name.clone())],
            Host::Node(name) => vec![End::Node(name.into())],
            Host::Outside => vec![End::Outside(*address)],
        },
        Pattern::Block(cidr) => addresses(reach::split(cluster, *cidr)),
        Pattern::Name { .. } | Pattern::Short { .. } | Pattern::Labels { .. } => {
            let end = |pod: &policy_compiler::model::Pod| match &pod.node {
                Some(node) if pod.host_network => Some(End::Node(node.clone())),
                _ if pod.is_selectable() => Some(End::Pod(pod.name.clone())),
                _ => None,
            };
            pattern.pods(cluster).into_iter().filter_map(end).collect()
        }
    }
}
