//! The answer for two names, each of which may stand for many pods.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;

use policy_compiler::cidr::Family;
use policy_compiler::cluster::Cluster;
use policy_compiler::model::Pod;
use policy_compiler::verdict::{Endpoint, Flow, Host, Traffic};

use super::ExplainError;
use super::answer::{Answer, Note, flow};
use super::route::Route;
use crate::party::{Name, Party};

/// More pairs than these are not judged one by one.
pub const MAX_PAIRS: usize = 100_000;

/// Why flows between two names are allowed or denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation<'c> {
    /// Who opens the connections.
    pub from: Name,
    /// Who they are opened to.
    pub to: Name,
    /// What is sent; to a Service as it leaves the client.
    pub traffic: Traffic,
    /// The Service in between.
    pub route: Option<Route<'c>>,
    /// How many pairs of a source and a destination there are.
    pub pairs: usize,
    /// How many of them are denied, in one family at least.
    pub denied: usize,
    /// Pairs with the same verdict for the same reasons, the denied ones first. Never empty.
    pub groups: Vec<Group<'c>>,
}

impl Explanation<'_> {
    /// Whether every flow passes.
    pub fn is_allowed(&self) -> bool {
        self.denied == 0
    }
}

/// Pairs with the same verdict for the same reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group<'c> {
    /// The answer for the first of them.
    pub answer: Answer<'c>,
    /// The family that this is about, where a pair's families have different answers.
    pub family: Option<Family>,
    /// How many pairs it stands for.
    pub pairs: usize,
}

/// Explains what may be sent between two parties.
///
/// # Errors
/// When a name means nobody or several, a Service leads nowhere, or there are more than [`MAX_PAIRS`] pairs.
pub fn between<'c>(
    cluster: &'c Cluster,
    from: &Name,
    to: &Name,
    traffic: Traffic,
) -> Result<Explanation<'c>, ExplainError> {
    let sources = match from.resolve(cluster)? {
        Party::Service(service) => return Err(ExplainError::ServiceAsSource(service.name.clone())),
        Party::Pods(pods) => pods.into_iter().map(End::Pod).collect(),
        Party::Address(address) => vec![End::at(cluster, address)],
    };
    let (route, targets) = match to.resolve(cluster)? {
        Party::Pods(pods) => (None, pods.into_iter().map(|pod| (End::Pod(pod), traffic)).collect()),
        Party::Address(address) => (None, vec![(End::at(cluster, address), traffic)]),
        Party::Service(service) => {
            let route = Route::new(cluster, service, traffic)?;
            let listening = route.backends.iter().filter_map(|backend| Some((backend.pod, backend.port?)));
            let target = |(pod, port)| (End::Pod(pod), Traffic::Port(route.port.protocol, port));
            let targets: Vec<_> = listening.map(target).collect();
            (Some(route), targets)
        }
    };
    let pairs = sources.len().checked_mul(targets.len()).filter(|pairs| *pairs <= MAX_PAIRS).ok_or_else(|| {
        ExplainError::TooManyPairs {
            from: from.to_string(),
            from_pods: sources.len(),
            to: to.to_string(),
            to_pods: targets.len(),
        }
    })?;

    let mut groups = Groups::default();
    let mut denied = 0;
    for source in &sources {
        for (target, traffic) in &targets {
            let answers = answers(cluster, *source, *target, *traffic);
            denied += usize::from(answers.iter().any(|(_, answer)| !answer.verdict.is_allowed()));
            answers.into_iter().for_each(|(family, answer)| groups.add(family, answer));
        }
    }
    let groups = groups.finish();
    Ok(Explanation { from: from.clone(), to: to.clone(), traffic, route, pairs, denied, groups })
}

/// One end, before it is known which of its addresses a flow uses.
#[derive(Clone, Copy)]
enum End<'c> {
    Pod(&'c Pod),
    /// Whoever has the address that was asked for.
    Fixed(Endpoint<'c>, IpAddr),
}

impl<'c> End<'c> {
    fn at(cluster: &'c Cluster, address: IpAddr) -> Self {
        Self::Fixed(Endpoint::resolve(cluster, address), address)
    }

    fn addresses(&self) -> &[IpAddr] {
        match self {
            Self::Pod(pod) => &pod.addresses,
            Self::Fixed(_, address) => std::slice::from_ref(address),
        }
    }

    /// The end as it is over one family; without an address where it has none of it.
    fn over(&self, family: Option<Family>) -> Endpoint<'c> {
        match self {
            Self::Pod(pod) => {
                let address = pod.addresses.iter().find(|address| Some(Family::of(**address)) == family);
                Endpoint::pod(pod, address.copied())
            }
            Self::Fixed(endpoint, _) => *endpoint,
        }
    }
}

/// A pair's answers: one, or one a family where those differ.
fn answers<'c>(
    cluster: &'c Cluster,
    from: End<'c>,
    to: End<'c>,
    traffic: Traffic,
) -> Vec<(Option<Family>, Answer<'c>)> {
    let has = |end: &End<'_>, family: Family| {
        // An end without any address yet may get any.
        end.addresses().is_empty() || end.addresses().iter().any(|address| Family::of(*address) == family)
    };
    let known = !from.addresses().is_empty() || !to.addresses().is_empty();
    let common = |family: &Family| carries(*family, traffic) && has(&from, *family) && has(&to, *family);
    let families: Vec<Family> = Family::BOTH.into_iter().filter(|family| known && common(family)).collect();
    let over = |family| flow(cluster, Flow { from: from.over(family), to: to.over(family), traffic });
    let mut answers: Vec<_> = families.iter().map(|family| (Some(*family), over(Some(*family)))).collect();
    if answers.is_empty() {
        let mut answer = over(None);
        let itself =
            matches!((answer.flow.from.host, answer.flow.to.host), (Host::Pod(a), Host::Pod(b)) if a.name == b.name);
        if known && !itself {
            answer.notes.push(Note::NoCommonFamily);
        }
        return vec![(None, answer)];
    }
    let differ = answers.windows(2).any(|pair| match pair {
        [(_, one), (_, other)] => one.sameness() != other.sameness(),
        _ => false,
    });
    if !differ {
        answers.truncate(1);
        answers.iter_mut().for_each(|(family, _)| *family = None);
    }
    answers
}

/// ICMP and ICMPv6 are of one family each.
fn carries(family: Family, traffic: Traffic) -> bool {
    match traffic {
        Traffic::Other(1) => family == Family::V4,
        Traffic::Other(58) => family == Family::V6,
        _ => true,
    }
}

#[derive(Default)]
struct Groups<'c> {
    groups: Vec<Group<'c>>,
    places: HashMap<(Option<Family>, String), usize>,
}

impl<'c> Groups<'c> {
    fn add(&mut self, family: Option<Family>, answer: Answer<'c>) {
        match self.places.entry((family, answer.sameness())) {
            Entry::Occupied(place) => {
                if let Some(group) = self.groups.get_mut(*place.get()) {
                    group.pairs += 1;
                }
            }
            Entry::Vacant(place) => {
                place.insert(self.groups.len());
                self.groups.push(Group { answer, family, pairs: 1 });
            }
        }
    }

    fn finish(mut self) -> Vec<Group<'c>> {
        self.groups.sort_by_key(|group| group.answer.verdict.is_allowed());
        self.groups
    }
}
