//! The node's own pods: their dispatch, their chains, and the chains of their policy sets.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::ledger::Ledger;
use super::live::LivePlan;
use super::needs::Need;
use super::{names, policy_set, skeleton};
use crate::cidr::Family;
use crate::model::{Direction, ObjectName, Policy};
use crate::ruleset::{Chain, Element, Key, Name, Rule, Statement, Verdict};

#[derive(Clone, Debug)]
pub(super) struct PolicySet {
    pub(super) direction: Direction,
    pub(super) namespace: Arc<str>,
    pub(super) policies: Vec<ObjectName>,
    pub(super) pods: usize,
    pub(super) needs: BTreeSet<Need>,
}

/// What the table holds for one of the node's pods.
#[derive(Clone, Debug, Default)]
pub(super) struct LocalPod {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) ingress: Isolation,
    pub(super) egress: Isolation,
}

/// The policies that isolate a pod for one direction, and their chain; none where it is not isolated.
pub(super) type Isolation = Option<(Name, Vec<ObjectName>)>;

impl LivePlan {
    /// Brings what the table holds for these pods of the node up to date; nothing for pods of other nodes. All of them
    /// leave the dispatch before any comes back, since an address may go from one to the other.
    pub(super) fn refresh(&mut self, names: &BTreeSet<ObjectName>) {
        let before: Vec<(&ObjectName, Option<LocalPod>)> =
            names.iter().map(|name| (name, self.local.remove(name))).collect();
        for (name, pod) in &before {
            if let Some(pod) = pod {
                self.place(name, pod, Ledger::remove_element);
            }
        }
        for (name, before) in before {
            let now = self.isolate(name);
            // The new policies were counted in first, so that what both need has stayed.
            let before = before.unwrap_or_default();
            let isolated =
                |isolation: fn(&LocalPod) -> &Isolation| now.as_ref().and_then(|now| isolation(now).as_ref());
            let (ingress, egress) = (isolated(|pod| &pod.ingress).is_some(), isolated(|pod| &pod.egress).is_some());
            self.leave(name, Direction::Ingress, before.ingress, ingress);
            self.leave(name, Direction::Egress, before.egress, egress);
            if let Some(now) = now {
                self.place(name, &now, Ledger::insert);
                self.local.insert(name.clone(), now);
            }
        }
    }

    /// Finds the policies of one of the node's pods and has them isolate it; none for other pods, and for those without
    /// an address.
    fn isolate(&mut self, name: &ObjectName) -> Option<LocalPod> {
        let id = self.pods.id(name)?;
        let record = self.pods.get(id).filter(|record| record.local)?;
        let addresses: Vec<IpAddr> = self.pods.owned(id).collect();
        if addresses.is_empty() {
            return None;
        }
        let group = self.pods.group(record.group)?;
        let selecting = self.policies.selecting(&group.namespace, &group.labels);
        let names = |direction| -> Vec<ObjectName> {
            let isolating = selecting.iter().filter(|policy| policy.rules(direction).is_some());
            isolating.map(|policy| policy.name.clone()).collect()
        };
        let (ingress, egress) = (names(Direction::Ingress), names(Direction::Egress));
        Some(LocalPod {
            addresses,
            ingress: self.enter(name, Direction::Ingress, ingress),
            egress: self.enter(name, Direction::Egress, egress),
        })
    }

    /// Has a pod isolated by these policies, if there are any.
    fn enter(&mut self, name: &ObjectName, direction: Direction, policies: Vec<ObjectName>) -> Isolation {
        if policies.is_empty() {
            return None;
        }
        let shared = names::policy_set(direction, &name.namespace, policies.iter().map(|policy| &*policy.name));
        match self.chains.get_mut(&shared) {
            Some(set) => set.pods += 1,
            None => {
                let set = PolicySet {
                    direction,
                    namespace: name.namespace.clone(),
                    policies: policies.clone(),
                    pods: 1,
                    needs: BTreeSet::new(),
                };
                for policy in &policies {
                    self.chains_of.entry(policy.clone()).or_default().insert(shared.clone());
                }
                self.chains.insert(shared.clone(), set);
                self.rebuild(&shared);
            }
        }
        let rules = vec![Rule::new([Statement::Counter, Statement::Verdict(Verdict::Goto(shared.clone()))])];
        self.ledger.put_chain(&names::pod(direction, name), Chain::new(format!("{direction} of pod {name}"), rules));
        Some((shared, policies))
    }

    /// Ends a pod's isolation by some policies; by others it may still be isolated.
    fn leave(&mut self, name: &ObjectName, direction: Direction, isolation: Isolation, still_isolated: bool) {
        let Some((shared, _)) = isolation else { return };
        if !still_isolated {
            self.ledger.drop_chain(&names::pod(direction, name));
        }
        self.release(&shared);
    }

    fn release(&mut self, shared: &Name) {
        let Some(set) = self.chains.get_mut(shared) else { return };
        set.pods -= 1;
        if set.pods > 0 {
            return;
        }
        let Some(set) = self.chains.remove(shared) else { return };
        for policy in &set.policies {
            if let Some(chains) = self.chains_of.get_mut(policy) {
                chains.remove(shared);
                if chains.is_empty() {
                    self.chains_of.remove(policy);
                }
            }
        }
        self.ledger.drop_chain(shared);
        set.needs.iter().for_each(|need| self.dispense_with(need));
    }

    /// Enters a pod's addresses into the dispatch, or takes them out.
    pub(super) fn place(&mut self, name: &ObjectName, pod: &LocalPod, change: fn(&mut Ledger, &Name, Element)) {
        for (direction, isolation) in [(Direction::Ingress, &pod.ingress), (Direction::Egress, &pod.egress)] {
            let verdict = match isolation {
                Some(_) => Verdict::Goto(names::pod(direction, name)),
                None => skeleton::allowed(direction),
            };
            for address in &pod.addresses {
                let family = Family::of(*address);
                let element = Element::verdict(*address, verdict.clone());
                change(&mut self.ledger, &names::dispatch_map(direction, family), element);
                if isolation.is_some() {
                    let counter = Element::new(Key::Address(*address));
                    change(&mut self.ledger, &names::denied_counters(direction, family), counter);
                }
            }
        }
        if pod.ingress.is_some() || pod.egress.is_some() {
            for address in &pod.addresses {
                let pair = Element::new(Key::Pair(*address));
                change(&mut self.ledger, &names::self_pairs(Family::of(*address)), pair);
            }
        }
    }

    /// Writes the chain of a policy set anew.
    pub(super) fn rebuild(&mut self, shared: &Name) {
        let Some(set) = self.chains.get_mut(shared) else { return };
        let policies: Vec<&Policy> = set.policies.iter().filter_map(|name| self.policies.get(name)).collect();
        let (chain, needs) = policy_set::chain(set.direction, &set.namespace, &policies);
        let before = std::mem::replace(&mut set.needs, needs.clone());
        if self.ledger.table().chains.get(shared) != Some(&chain) {
            self.ledger.put_chain(shared, chain);
        }
        needs.difference(&before).for_each(|need| self.provide(need));
        before.difference(&needs).for_each(|need| self.dispense_with(need));
    }
}
