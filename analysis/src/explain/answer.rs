//! The answer for one flow.

use policy_compiler::cluster::Cluster;
use policy_compiler::model::{Direction, Phase, Pod};
use policy_compiler::verdict::{Endpoint, Flow, Host, Judgement, Verdict, judge};

use super::finding::{self, Finding};
use super::path::{self, Hop};

/// Why one flow is allowed or denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<'c> {
    /// The flow.
    pub flow: Flow<'c>,
    /// What policy says about it.
    pub verdict: Verdict<'c>,
    /// The places that it passes.
    pub path: Vec<Hop<'c>>,
    /// What the policies say that isolate the source for egress: of an allowed flow the one that allows it, of a denied
    /// one each of them.
    pub egress: Vec<Finding<'c>>,
    /// The same at the destination.
    pub ingress: Vec<Finding<'c>>,
    /// What else one should know.
    pub notes: Vec<Note<'c>>,
}

/// Something about an end of a flow that policy does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note<'c> {
    /// The pod has finished: nobody listens, and its address may be another pod's already (rule 124).
    Finished(&'c Pod),
    /// The pod is being deleted: policy holds until it is gone (rule 126).
    Terminating(&'c Pod),
    /// The pod is bound to no address yet, so that no ipBlock means it (rule 127).
    NoAddress(&'c Pod),
    /// The two ends have no address of one family, or none of the family that the traffic is of.
    NoCommonFamily,
}

/// Explains one flow.
pub fn flow<'c>(cluster: &'c Cluster, flow: Flow<'c>) -> Answer<'c> {
    let verdict = judge(cluster, &flow);
    let notes = notes(flow.from).into_iter().chain(notes(flow.to).into_iter().filter(|_| flow.from != flow.to));
    Answer {
        path: path::path(&flow, &verdict),
        egress: finding::findings(cluster, Direction::Egress, &flow, &verdict.egress),
        ingress: finding::findings(cluster, Direction::Ingress, &flow, &verdict.ingress),
        notes: notes.collect(),
        flow,
        verdict,
    }
}

fn notes(end: Endpoint<'_>) -> Vec<Note<'_>> {
    let Host::Pod(pod) = end.host else { return Vec::new() };
    if pod.phase == Phase::Finished {
        return vec![Note::Finished(pod)];
    }
    let terminating = pod.terminating.then_some(Note::Terminating(pod));
    let no_address = pod.addresses.is_empty().then_some(Note::NoAddress(pod));
    terminating.into_iter().chain(no_address).collect()
}

impl<'c> Answer<'c> {
    /// What one direction says.
    pub fn judgement(&self, direction: Direction) -> &Judgement<'c> {
        match direction {
            Direction::Egress => &self.verdict.egress,
            Direction::Ingress => &self.verdict.ingress,
        }
    }

    /// What the policies of one direction say.
    pub fn findings(&self, direction: Direction) -> &[Finding<'c>] {
        match direction {
            Direction::Egress => &self.egress,
            Direction::Ingress => &self.ingress,
        }
    }

    /// The directions that deny the flow, egress first; none where it is allowed.
    pub fn denied_at(&self) -> Vec<Direction> {
        let denies = |direction: &Direction| !self.judgement(*direction).is_allowed();
        if self.verdict.exempt.is_some() {
            return Vec::new();
        }
        [Direction::Egress, Direction::Ingress].into_iter().filter(denies).collect()
    }

    /// The node where a direction is judged; none where it is judged nowhere, or the pod is bound to no node yet.
    pub fn judged_on(&self, wanted: Direction) -> Option<&'c str> {
        self.path.iter().find_map(|hop| match hop {
            Hop::Node { name, judges, .. } if judges.contains(&wanted) => *name,
            _ => None,
        })
    }

    /// Equal for two flows with the same verdict for the same reasons, whoever they are between.
    pub(super) fn sameness(&self) -> String {
        let mut key = format!("{:?} {:?}", self.flow.traffic, self.verdict.exempt);
        if self.notes.contains(&Note::NoCommonFamily) {
            key.push_str(" no common family");
        }
        if self.verdict.exempt.is_some() {
            return key;
        }
        for direction in Direction::BOTH {
            key.push_str(match self.judgement(direction) {
                Judgement::NoSubject => " no subject",
                Judgement::NotIsolated => " not isolated",
                Judgement::Allowed { .. } => " allowed",
                Judgement::Denied { .. } => " denied",
            });
            self.findings(direction).iter().for_each(|finding| finding.write_sameness(&mut key));
        }
        key
    }
}
