//! What happens to a cluster: objects come, go, come again, and change in one field at a time.

use std::collections::BTreeMap;
use std::fmt;

use policy_compiler::cluster::Cluster;
use policy_compiler::model::{Namespace, Node, Object, ObjectId, Pod, Policy};
use policy_compiler::render;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{NODES, RandomCluster, Size, cluster, namespace, pods, policies};

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The object is there from now on, in place of one with its id.
    Apply(Object),
    /// It is not there any more; perhaps it never was.
    Remove(ObjectId),
}

impl Event {
    /// Carries it out.
    pub fn happen(&self, cluster: &mut Cluster) {
        match self {
            Self::Apply(object) => _ = cluster.apply(object.clone()),
            Self::Remove(id) => _ = cluster.remove(id),
        }
    }
}

/// A cluster, and what becomes of it.
#[derive(Clone, PartialEq)]
pub struct History {
    /// What is there first.
    pub start: RandomCluster,
    /// What happens then; the events of one step are seen at once.
    pub steps: Vec<Vec<Event>>,
}

impl fmt::Debug for History {
    /// The cluster as manifests; then what happens, with an object's manifest where one is applied.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.start)?;
        for (number, step) in self.steps.iter().enumerate() {
            for event in step {
                match event {
                    Event::Remove(id) => writeln!(f, "# step {}: remove {id}", number + 1)?,
                    Event::Apply(object) => {
                        writeln!(f, "# step {}: apply {}", number + 1, object.id())?;
                        f.write_str(&render::yaml::documents([&render::manifest::object(object)]))?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Histories of one to `steps` steps. Removed and changed are mostly objects that are there at that time.
pub fn history(size: &Size, steps: usize) -> impl Strategy<Value = History> + use<> {
    let step = prop::collection::vec(draft(size.ports), 1..=3);
    (cluster(size), prop::collection::vec(step, 1..=steps)).prop_map(|(start, drafts)| {
        let mut now: BTreeMap<ObjectId, Object> =
            start.objects.iter().map(|object| (object.id(), object.clone())).collect();
        let mut settle = |draft| {
            let event = settle(draft, &now);
            match &event {
                Event::Apply(object) => _ = now.insert(object.id(), object.clone()),
                Event::Remove(id) => _ = now.remove(id),
            }
            event
        };
        let steps = drafts.into_iter().map(|step| step.into_iter().map(&mut settle).collect()).collect();
        History { start, steps }
    })
}

/// An event before it is known what there is.
#[derive(Clone, Debug)]
enum Draft {
    Apply(Object),
    Remove(ObjectId),
    /// Takes away one of the objects that are there.
    RemoveAny(Index),
    /// Changes one field of one of them to that of a donor.
    Change(Index, u8, Box<Donors>),
}

#[derive(Clone, Debug)]
struct Donors {
    namespace: Namespace,
    pod: Pod,
    policy: Policy,
}

fn draft(ports: &'static [u16]) -> impl Strategy<Value = Draft> {
    let donors = (namespace(), pods::pod(ports), policies::policy(ports))
        .prop_map(|(namespace, pod, policy)| Donors { namespace, pod, policy }.into());
    prop_oneof![
        6 => (any::<Index>(), any::<u8>(), donors).prop_map(|(which, field, donors)| Draft::Change(which, field, donors)),
        4 => object(ports).prop_map(Draft::Apply),
        3 => any::<Index>().prop_map(Draft::RemoveAny),
        1 => id().prop_map(Draft::Remove),
    ]
}

fn object(ports: &'static [u16]) -> impl Strategy<Value = Object> {
    prop_oneof![
        4 => pods::pod(ports).prop_map(|pod| Object::Pod(pod.into())),
        4 => policies::policy(ports).prop_map(|policy| Object::Policy(policy.into())),
        2 => namespace().prop_map(Object::Namespace),
        1 => select(&NODES[..]).prop_map(|name| Object::Node(Node { name: name.into(), origin: None })),
    ]
}

fn id() -> impl Strategy<Value = ObjectId> {
    prop_oneof![
        4 => pods::name().prop_map(ObjectId::Pod),
        4 => policies::name().prop_map(ObjectId::Policy),
        2 => super::namespace_name().prop_map(ObjectId::Namespace),
        1 => select(&NODES[..]).prop_map(|name| ObjectId::Node(name.into())),
    ]
}

fn settle(draft: Draft, now: &BTreeMap<ObjectId, Object>) -> Event {
    let any = |index: Index| now.values().nth(index.index(now.len().max(1)));
    match draft {
        Draft::Apply(object) => Event::Apply(object),
        Draft::Remove(id) => Event::Remove(id),
        Draft::RemoveAny(index) => Event::Remove(any(index).map_or(ObjectId::Node(NODES[0].into()), Object::id)),
        Draft::Change(index, field, donors) => match any(index) {
            Some(object) => Event::Apply(changed(object.clone(), field, *donors)),
            None => Event::Apply(Object::Pod(donors.pod.into())),
        },
    }
}

/// The object with one field of a donor's; the last field is none, so that it is applied as it was.
fn changed(object: Object, field: u8, donors: Donors) -> Object {
    match object {
        Object::Pod(mut pod) => {
            let donor = donors.pod;
            match field % 10 {
                0 | 1 => pod.labels = donor.labels,
                2 => pod.addresses = donor.addresses,
                3 => pod.ports = donor.ports,
                4 => pod.node = donor.node,
                5 => pod.phase = donor.phase,
                6 => pod.terminating = !pod.terminating,
                7 => pod.uid = donor.uid,
                // A pod cannot change its network, but one with its name may have another.
                8 => (pod.host_network, pod.addresses) = (donor.host_network, donor.addresses),
                _ => (),
            }
            Object::Pod(pod)
        }
        Object::Policy(mut policy) => {
            let donor = donors.policy;
            match field % 5 {
                0 => policy.subject = donor.subject,
                1 => (policy.ingress, policy.egress) = (donor.ingress, donor.egress),
                2 if policy.ingress.is_some() => policy.ingress = donor.ingress.or(Some(Vec::new())),
                3 if policy.egress.is_some() => policy.egress = donor.egress.or(Some(Vec::new())),
                _ => (),
            }
            Object::Policy(policy)
        }
        Object::Namespace(mut namespace) => {
            if field < 192 {
                namespace = Namespace::new(namespace.name, &donors.namespace.labels);
            }
            Object::Namespace(namespace)
        }
        other @ (Object::Node(_) | Object::Service(_)) => other,
    }
}
