//! How a Service leads to pods. Policy never sees it: flows are judged as they leave it (rules 139, 141).

use policy_compiler::cluster::Cluster;
use policy_compiler::model::{ObjectName, Pod, Protocol, Service, ServicePort, TargetPort};
use policy_compiler::selector::{Operator, Requirement, Selector};
use policy_compiler::verdict::Traffic;

use super::words;

/// One port of a Service, and what stands behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route<'c> {
    /// The Service.
    pub service: &'c Service,
    /// The port of it that the flow is to.
    pub port: &'c ServicePort,
    /// The pods that it selects, by name.
    pub backends: Vec<Backend<'c>>,
}

/// A pod behind a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend<'c> {
    /// The pod.
    pub pod: &'c Pod,
    /// Where it listens; none where it lacks the port that `targetPort` names, and so gets nothing.
    pub port: Option<u16>,
}

/// Why nothing can be judged behind a Service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// It does not listen there.
    #[error("Service {service} has no port {wanted}; it has {known}")]
    NoSuchPort {
        /// The Service.
        service: ObjectName,
        /// What was asked for.
        wanted: String,
        /// Its ports, in words.
        known: String,
    },
    /// It is a name in DNS.
    #[error("Service {service} is only another name, {target}, in DNS: name the address that this stands for")]
    ExternalName {
        /// The Service.
        service: ObjectName,
        /// Its `spec.externalName`.
        target: String,
    },
    /// Nothing says here what stands behind it.
    #[error("Service {0} has no selector, so the input does not say what stands behind it: name a pod or an address")]
    NoSelector(ObjectName),
    /// It selects nobody.
    #[error("no live pod in namespace {} has the labels of Service {service}: {selector}", .service.namespace)]
    NoBackends {
        /// The Service.
        service: ObjectName,
        /// Its selector, in words.
        selector: String,
    },
    /// Nobody that it selects has the port that it means.
    #[error("no pod behind Service {service} has a {protocol} port named {name}, which its port {port} leads to")]
    NoTarget {
        /// The Service.
        service: ObjectName,
        /// The Service's port.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
        /// Its `targetPort`.
        name: String,
    },
}

impl<'c> Route<'c> {
    /// Through a Service, to whatever stands behind it.
    ///
    /// # Errors
    /// When the Service does not have the port, or there is no pod behind it.
    pub fn new(cluster: &'c Cluster, service: &'c Service, traffic: Traffic) -> Result<Self, RouteError> {
        let name = || service.name.clone();
        if let Some(target) = &service.external_name {
            return Err(RouteError::ExternalName { service: name(), target: target.to_string() });
        }
        let port = service.ports.iter().find(|port| Traffic::Port(port.protocol, port.port) == traffic);
        let port = port.ok_or_else(|| RouteError::NoSuchPort {
            service: name(),
            wanted: words::traffic(traffic),
            known: known_ports(service),
        })?;
        let selector = service.selector.as_ref().ok_or_else(|| RouteError::NoSelector(name()))?;
        let selected = cluster.pods().filter(|pod| service.selects(pod));
        let backends: Vec<Backend<'_>> = selected.map(|pod| Backend { pod, port: port.on(pod) }).collect();
        if backends.is_empty() {
            let requirement = |(key, value): (&str, &str)| Requirement {
                key: key.into(),
                operator: Operator::In([value.into()].into()),
            };
            let selector = Selector::new(selector.iter().map(requirement)).to_string();
            return Err(RouteError::NoBackends { service: name(), selector });
        }
        match &port.target {
            TargetPort::Name(target) if backends.iter().all(|backend| backend.port.is_none()) => {
                let target = target.to_string();
                Err(RouteError::NoTarget { service: name(), port: port.port, protocol: port.protocol, name: target })
            }
            _ => Ok(Self { service, port, backends }),
        }
    }
}

fn known_ports(service: &Service) -> String {
    let port = |port: &ServicePort| match &port.name {
        Some(name) => format!("{} {} ({name})", port.protocol, port.port),
        None => format!("{} {}", port.protocol, port.port),
    };
    let ports: Vec<String> = service.ports.iter().map(port).collect();
    if ports.is_empty() { "none".to_owned() } else { ports.join(", ") }
}
