//! Services that select pods by one label or by none, with node ports or without.

use policy_compiler::cidr::Family;
use policy_compiler::model::{ExternalTrafficPolicy, Labels, Service, ServicePort, TargetPort};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::{labels, object_name, pods};

const NAMES: [&str; 3] = ["s", "s-x", "t"];
/// What they listen on: seldom what pods do.
const PORTS: [u16; 3] = [80, 1080, 8443];

/// A Service without addresses yet.
pub fn service(ports: &'static [u16]) -> impl Strategy<Value = Service> {
    let target = prop_oneof![
        2 => select(ports).prop_map(TargetPort::Number),
        1 => pods::port_name().prop_map(TargetPort::Name),
    ];
    let port = (pods::protocol(), select(&PORTS[..]), target).prop_map(|(protocol, port, target)| ServicePort {
        name: None,
        protocol,
        port,
        target,
        node_port: None,
    });
    let families = subsequence(Family::BOTH.to_vec(), 1..=2);
    let policy = select(vec![ExternalTrafficPolicy::Cluster, ExternalTrafficPolicy::Local]);
    // Few labels, so that somebody has them; none at all selects nobody.
    let selector = labels::labels().prop_map(|labels| labels.iter().take(1).collect::<Labels>());
    (object_name(&NAMES), selector, port, families, any::<bool>(), policy).prop_map(
        |(name, selector, port, families, node_ports, external_traffic_policy)| Service {
            selector: Some(selector).filter(|labels| !labels.is_empty()),
            ports: vec![port],
            families,
            node_ports,
            // Without node ports nothing comes from outside.
            external_traffic_policy: if node_ports { external_traffic_policy } else { Default::default() },
            ..Service::new(name)
        },
    )
}
