//! Who has which address, and what isolates the node's own pods: one writer, any number of readers, nobody waits.

use std::net::IpAddr;
use std::sync::Arc;

use dashmap::DashMap;
use policy_compiler::model::{ObjectName, Pod};
use policy_compiler::plan::PlannedPod;

/// A pod that policy can apply to: itself as the source told last, its isolation as it was last committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodView {
    /// Namespace and name.
    pub name: ObjectName,
    /// The API server's identity of it; none for pods of manifests.
    pub uid: Option<Arc<str>>,
    /// The node that it runs on.
    pub node: Option<Arc<str>>,
    /// Whether that is this node.
    pub local: bool,
    /// Its addresses; none while it waits for them.
    pub addresses: Arc<[IpAddr]>,
    /// Whether it is on its way out, and gives way to others that claim its addresses (rule 129).
    pub terminating: bool,
    /// The policies that isolate it for ingress; known of local pods only.
    pub ingress: Arc<[ObjectName]>,
    /// The policies that isolate it for egress; known of local pods only.
    pub egress: Arc<[ObjectName]>,
}

/// Pods by name and by address. What a pod costs does not depend on how many there are.
///
/// For one writer. A reader may see a pod's change between two of its addresses.
#[derive(Debug, Default)]
pub struct View {
    pods: DashMap<ObjectName, Arc<PodView>>,
    /// Everybody who claims an address, its owner first: nearly always one.
    claims: DashMap<IpAddr, Vec<Arc<PodView>>>,
}

impl View {
    /// A pod came or changed. One that policy cannot apply to is as good as gone.
    pub fn put(&self, pod: &Pod, local: bool) {
        if !pod.is_selectable() {
            return self.remove(&pod.name);
        }
        let before = self.pod(&pod.name).filter(|before| before.local && local);
        let policies = |of: fn(&PodView) -> &Arc<[ObjectName]>| before.as_deref().map(of).cloned().unwrap_or_default();
        self.replace(PodView {
            name: pod.name.clone(),
            uid: pod.uid.clone(),
            node: pod.node.clone(),
            local,
            addresses: pod.addresses.as_slice().into(),
            terminating: pod.terminating,
            ingress: policies(|view| &view.ingress),
            egress: policies(|view| &view.egress),
        });
    }

    /// A pod is gone.
    pub fn remove(&self, name: &ObjectName) {
        if let Some((_, pod)) = self.pods.remove(name) {
            pod.addresses.iter().for_each(|address| self.unclaim(*address, name));
        }
    }

    /// What isolates some of the node's pods now. Nothing is written where nothing changed, so that telling of all of
    /// them is cheap.
    pub fn isolate<'a>(&self, planned: impl IntoIterator<Item = &'a PlannedPod>) {
        for plan in planned {
            let Some(pod) = self.pod(&plan.name).filter(|pod| pod.local) else { continue };
            if *pod.ingress != *plan.ingress || *pod.egress != *plan.egress {
                let (ingress, egress) = (plan.ingress.as_slice().into(), plan.egress.as_slice().into());
                self.replace(PodView { ingress, egress, ..PodView::clone(&pod) });
            }
        }
    }

    /// Nothing isolates any pod any more.
    pub fn release(&self) {
        let open = |name: &ObjectName| PlannedPod { name: name.clone(), ingress: Vec::new(), egress: Vec::new() };
        self.isolate(&self.local().iter().map(|pod| open(&pod.name)).collect::<Vec<_>>());
    }

    /// A pod.
    pub fn pod(&self, name: &ObjectName) -> Option<Arc<PodView>> {
        self.pods.get(name).map(|pod| pod.clone())
    }

    /// Whose address it is. Of several claimants one that is not terminating has it, as in
    /// [`policy_compiler::cluster::Cluster::address_owners`].
    pub fn owner(&self, address: IpAddr) -> Option<Arc<PodView>> {
        self.claims.get(&address)?.first().cloned()
    }

    /// The node's own pods, by name.
    pub fn local(&self) -> Vec<Arc<PodView>> {
        let mut local: Vec<_> = self.pods.iter().filter(|pod| pod.local).map(|pod| Arc::clone(pod.value())).collect();
        local.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        local
    }

    /// How many pods there are, on all nodes.
    pub fn len(&self) -> usize {
        self.pods.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    fn replace(&self, pod: PodView) {
        let pod = Arc::new(pod);
        let before = self.pods.insert(pod.name.clone(), pod.clone());
        for address in pod.addresses.iter() {
            let mut claims = self.claims.entry(*address).or_default();
            claims.retain(|claim| claim.name != pod.name);
            let rank = |pod: &PodView| (pod.terminating, pod.name.clone());
            let place = claims.partition_point(|claim| rank(claim) < rank(&pod));
            claims.insert(place, pod.clone());
        }
        for address in before.iter().flat_map(|before| before.addresses.iter()) {
            if !pod.addresses.contains(address) {
                self.unclaim(*address, &pod.name);
            }
        }
    }

    fn unclaim(&self, address: IpAddr, name: &ObjectName) {
        if let Some(mut claims) = self.claims.get_mut(&address) {
            claims.retain(|claim| claim.name != *name);
        }
        self.claims.remove_if(&address, |_, claims| claims.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use policy_compiler::model::Phase;

    use super::*;

    fn name(name: &str) -> ObjectName {
        ObjectName::new("shop", name)
    }

    fn address(last: u8) -> IpAddr {
        [10, 244, 1, last].into()
    }

    fn pod(id: &str, addresses: &[u8]) -> Pod {
        Pod { addresses: addresses.iter().map(|last| address(*last)).collect(), ..Pod::new(name(id)) }
    }

    fn owner(view: &View, last: u8) -> Option<String> {
        view.owner(address(last)).map(|pod| pod.name.name.to_string())
    }

    #[test]
    fn addresses_follow_their_pods() {
        let view = View::default();
        view.put(&pod("a", &[1, 2]), true);
        view.put(&pod("b", &[3]), false);
        assert_eq!(
            [1, 2, 3, 4].map(|last| owner(&view, last)),
            [Some("a".into()), Some("a".into()), Some("b".into()), None]
        );
        view.put(&pod("a", &[2, 4]), true);
        assert_eq!([1, 2, 4].map(|last| owner(&view, last)), [None, Some("a".into()), Some("a".into())]);
        view.put(&Pod { phase: Phase::Finished, ..pod("a", &[2, 4]) }, true);
        assert_eq!([2, 4].map(|last| owner(&view, last)), [None, None]);
        view.remove(&name("b"));
        assert!(view.is_empty() && view.claims.is_empty());
    }

    #[test]
    fn of_two_claimants_the_one_that_stays_has_the_address_and_the_other_gets_it_back() {
        let view = View::default();
        view.put(&pod("a", &[1]), true);
        view.put(&pod("b", &[1]), true);
        assert_eq!(owner(&view, 1), Some("a".into()));
        view.put(&Pod { terminating: true, ..pod("a", &[1]) }, true);
        assert_eq!(owner(&view, 1), Some("b".into()));
        view.remove(&name("b"));
        assert_eq!(owner(&view, 1), Some("a".into()));
    }

    #[test]
    fn isolation_is_that_of_the_plan_and_outlives_changes_of_the_pod() {
        let view = View::default();
        view.put(&pod("b", &[2]), true);
        view.put(&pod("a", &[1]), true);
        view.put(&pod("remote", &[3]), false);
        let plan = |id, ingress: &[&str]| PlannedPod {
            name: name(id),
            ingress: ingress.iter().map(|policy| name(policy)).collect(),
            egress: Vec::new(),
        };
        let isolation = || -> Vec<usize> { view.local().iter().map(|pod| pod.ingress.len()).collect() };
        view.isolate(&[plan("a", &["p", "q"]), plan("b", &[]), plan("remote", &["p"]), plan("unknown", &["p"])]);
        assert_eq!(isolation(), [2, 0]);
        assert!(view.pod(&name("remote")).unwrap().ingress.is_empty());
        view.put(&pod("a", &[9]), true);
        assert_eq!(isolation(), [2, 0]);
        let before = view.pod(&name("a")).unwrap();
        view.isolate(&[plan("a", &["p", "q"]), plan("b", &["p"])]);
        assert!(Arc::ptr_eq(&before, &view.pod(&name("a")).unwrap()), "an equal one is not written");
        assert_eq!((isolation(), owner(&view, 9)), (vec![2, 1], Some("a".into())));
        view.isolate(&[plan("a", &[])]);
        assert!(view.owner(address(9)).unwrap().ingress.is_empty(), "both ways lead to the same");
    }
}
