//! What has a value now, read when somebody asks.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use policy_compiler::model::Direction;
use policy_compiler::ruleset::TableSize;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;

use crate::observe::{COMMIT, Enforcement, PodView, State, VERSION, read};

#[derive(Debug)]
pub(super) struct Collected(pub(super) Arc<State>);

impl Collector for Collected {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let state = &self.0;
        let mut out = Gauges(encoder);
        let info = Info::new([("version", VERSION), ("commit", COMMIT.unwrap_or("unknown"))]);
        info.encode(out.0.encode_descriptor("build", "This build of Podwall", None, info.metric_type())?)?;
        self.health(&mut out)?;
        self.enforcement(&mut out)?;
        self.pods(&mut out)?;
        let problems = read(&state.problems).clone();
        let closed: BTreeSet<&str> =
            problems.iter().filter(|problem| problem.closed).filter_map(|problem| problem.policy.as_deref()).collect();
        out.one("problems", "Things that are wrong with objects", problems.len() as u64)?;
        out.one("closed_policies", "Policies that cannot be compiled: their pods are closed", closed.len() as u64)?;
        self.api(&mut out)
    }
}

impl Collected {
    fn health(&self, out: &mut Gauges<'_>) -> fmt::Result {
        let conditions = self.0.health.conditions();
        let ready = conditions.iter().all(|condition| condition.holds);
        out.one("ready", "Whether the agent is ready: 1 or 0", u64::from(ready))?;
        let values = conditions.iter().map(|condition| (&*condition.name, u64::from(condition.holds)));
        out.each("condition", "Whether a condition of readiness holds: 1 or 0", "condition", values)
    }

    /// 0 while nothing is in force.
    fn enforcement(&self, out: &mut Gauges<'_>) -> fmt::Result {
        let enforcement = self.0.enforced.get().enforcement;
        let TableSize { chains, rules, sets, elements } =
            enforcement.map(|enforcement| enforcement.size).unwrap_or_default();
        let number = |of: fn(&Enforcement) -> u64| enforcement.as_ref().map(of).unwrap_or_default();
        out.one("table_chains", "Chains of the table", chains as u64)?;
        out.one("table_rules", "Rules of the table", rules as u64)?;
        out.one("table_sets", "Sets and maps of the table", sets as u64)?;
        out.one("table_elements", "Elements of all sets and maps", elements as u64)?;
        out.one("table_owned", "Whether the kernel keeps others from changing the table", number(|e| e.owned.into()))?;
        out.one("generation", "Policy generation that connections are stamped with", number(|e| e.generation.into()))?;
        out.one("policies", "Policies of the cluster", number(|e| e.policies as u64))
    }

    fn pods(&self, out: &mut Gauges<'_>) -> fmt::Result {
        let (known, local) = (self.0.view.len(), self.0.view.local());
        let count = |is: fn(&PodView) -> bool| local.iter().filter(|pod| is(pod)).count() as u64;
        out.one("known_pods", "Pods of the cluster that policy can apply to", known as u64)?;
        out.one("local_pods", "Pods of this node that policy can apply to", local.len() as u64)?;
        out.one("pending_pods", "Pods of this node without an address", count(|pod| pod.addresses.is_empty()))?;
        let isolated = Direction::BOTH.map(|direction| {
            let count = match direction {
                Direction::Ingress => count(|pod| !pod.ingress.is_empty()),
                Direction::Egress => count(|pod| !pod.egress.is_empty()),
            };
            (direction.section(), count)
        });
        out.each("isolated_pods", "Pods of this node that policies isolate", "direction", isolated)
    }

    fn api(&self, out: &mut Gauges<'_>) -> fmt::Result {
        let contacts = self.0.contacts.all();
        if contacts.is_empty() {
            return Ok(());
        }
        let up = contacts.iter().map(|contact| (contact.kind.name(), u64::from(contact.connected)));
        out.each("api_up", "Whether the API server answers: 1 or 0", "kind", up)?;
        let age = contacts.iter().map(|contact| (contact.kind.name(), contact.age.as_secs_f64()));
        out.each("api_state_age_seconds", "Time since the API server last answered; 0 while it does", "kind", age)
    }
}

struct Gauges<'a>(DescriptorEncoder<'a>);

impl Gauges<'_> {
    fn one(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        ConstGauge::new(value).encode(self.0.encode_descriptor(name, help, None, MetricType::Gauge)?)
    }

    fn each<'l, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'l str, V)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (name, value) in values {
            ConstGauge::new(value).encode(family.encode_family(&[(label, name)])?)?;
        }
        Ok(())
    }
}
