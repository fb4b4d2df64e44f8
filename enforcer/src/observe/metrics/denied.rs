//! Denied packets by pod and direction, read from the kernel when somebody asks.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use policy_compiler::model::{Direction, ObjectName};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio::sync::Mutex;

use super::PREFIX;
use crate::kernel::{Denied, KernelError, Reader};
use crate::observe::View;

/// The kernel's counters, and how many pods may be told of.
pub(super) struct Denials {
    reader: Arc<Mutex<Reader>>,
    pods: usize,
}

impl fmt::Debug for Denials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Denials").field("pods", &self.pods).finish_non_exhaustive()
    }
}

impl Denials {
    pub(super) fn new(reader: Reader, pods: usize) -> Self {
        Self { reader: Arc::new(Mutex::new(reader)), pods }
    }

    /// As they are now. Reading takes its time and happens on a thread of its own.
    pub(super) async fn read(&self, view: &View) -> Result<Registry, KernelError> {
        let mut reader = self.reader.clone().lock_owned().await;
        let mut registry = Registry::with_prefix(PREFIX);
        // Without an answer the process is about to end.
        if let Ok(denied) = tokio::task::spawn_blocking(move || reader.denied()).await {
            registry.register_collector(Box::new(Counts::of(&denied?, view, self.pods)));
        }
        Ok(registry)
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Counts {
    /// Pods, and the packets that were denied to them by direction, as far as they are isolated.
    pods: Vec<(ObjectName, BTreeMap<Direction, u64>)>,
    omitted: usize,
}

impl Counts {
    /// Of more pods than may be told of, those with the most packets.
    fn of(denied: &[Denied], view: &View, limit: usize) -> Self {
        let mut by_pod: BTreeMap<ObjectName, BTreeMap<Direction, u64>> = BTreeMap::new();
        for Denied { address, direction, packets, .. } in denied {
            // A pod's counters go with its isolation, which the view may not have heard of yet.
            let Some(pod) = view.owner(*address) else { continue };
            *by_pod.entry(pod.name.clone()).or_default().entry(*direction).or_default() += packets;
        }
        let omitted = by_pod.len().saturating_sub(limit);
        let mut pods: Vec<_> = by_pod.into_iter().collect();
        if omitted > 0 {
            pods.sort_by_key(|(_, packets)| Reverse(packets.values().sum::<u64>()));
            pods.truncate(limit);
        }
        Self { pods, omitted }
    }
}

impl Collector for Counts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if !self.pods.is_empty() {
            let help = "Packets denied to or from a pod of this node since it was isolated";
            let mut family = encoder.encode_descriptor("denied_packets", help, None, MetricType::Counter)?;
            for (pod, directions) in &self.pods {
                for (direction, packets) in directions {
                    let labels =
                        [("namespace", &*pod.namespace), ("pod", &*pod.name), ("direction", direction.section())];
                    ConstCounter::new(*packets).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        let help = "Isolated pods whose denied packets are not told of, since there are too many";
        let omitted = ConstGauge::new(self.omitted as u64);
        omitted.encode(encoder.encode_descriptor("denied_packets_omitted_pods", help, None, MetricType::Gauge)?)
    }
}

#[cfg(test)]
mod tests {
    use policy_compiler::model::Pod;

    use super::*;

    #[test]
    fn addresses_of_a_pod_count_together_and_the_most_denied_are_told_of() {
        let view = View::default();
        let name = |name: &str| ObjectName::new("shop", name);
        for (id, addresses) in [("a", &["10.0.0.1", "fd00::1"][..]), ("b", &["10.0.0.2"]), ("c", &["10.0.0.3"])] {
            let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
            view.put(&Pod { addresses, ..Pod::new(name(id)) }, true);
        }
        let denied = |address: &str, direction, packets| Denied {
            address: address.parse().unwrap(),
            direction,
            packets,
            bytes: 0,
        };
        let (ingress, egress) = (Direction::Ingress, Direction::Egress);
        let all = [
            denied("10.0.0.1", ingress, 2),
            denied("fd00::1", ingress, 3),
            denied("10.0.0.1", egress, 1),
            denied("10.0.0.2", ingress, 0),
            denied("10.0.0.3", egress, 7),
            denied("10.0.0.9", egress, 100),
        ];
        let told = |limit| {
            let counts = Counts::of(&all, &view, limit);
            let pods = counts.pods.into_iter().map(|(pod, packets)| (pod.name.to_string(), packets));
            (pods.collect::<Vec<_>>(), counts.omitted)
        };
        let a = ("a".to_owned(), BTreeMap::from([(ingress, 5), (egress, 1)]));
        let b = ("b".to_owned(), BTreeMap::from([(ingress, 0)]));
        let c = ("c".to_owned(), BTreeMap::from([(egress, 7)]));
        assert_eq!(told(3), (vec![a.clone(), b, c.clone()], 0));
        assert_eq!(told(2), (vec![c, a], 1));
    }
}
