//! Services: the fields that say what stands behind them are read strictly, the rest passes.

use std::net::IpAddr;
use std::sync::Arc;

use super::fields::{Field, Fields, Unknown};
use super::{metadata, names, pod, policy};
use crate::model::{ObjectName, Origin, Protocol, Service, ServicePort, TargetPort};

/// Reads what is left of a document after its metadata.
pub(super) fn read(mut document: Fields<'_>, name: Option<ObjectName>, origin: &Origin) -> Option<Service> {
    let spec = document.take("spec").and_then(|field| field.open());
    document.finish(Unknown::Passed);
    let bare = Service {
        name: name?,
        selector: None,
        addresses: Vec::new(),
        headless: false,
        ports: Vec::new(),
        external_name: None,
        origin: Some(origin.clone()),
    };
    let Some(mut spec) = spec else { return Some(bare) };
    let kind = spec.take("type").and_then(|field| field.string());
    let selector = spec.take("selector").map(|field| metadata::labels(&field)).filter(|labels| !labels.is_empty());
    let first = spec.take("clusterIP");
    let all = spec.take("clusterIPs");
    let ports = spec.take("ports");
    let external_name = spec.take("externalName").and_then(|field| field.string());
    spec.finish(Unknown::Passed);

    // Nothing is forwarded to what is only a name in DNS.
    let external_name = external_name.filter(|_| kind.as_deref() == Some("ExternalName"));
    let mut addresses: Vec<IpAddr> = Vec::new();
    let mut headless = false;
    for field in first.into_iter().chain(all.iter().flat_map(Field::items)) {
        match cluster_ip(&field) {
            Some(ClusterIp::None) => headless = true,
            Some(ClusterIp::Address(address)) if !addresses.contains(&address) => addresses.push(address),
            Some(ClusterIp::Address(_)) | None => (),
        }
    }
    let ports = ports.iter().flat_map(Field::items).filter_map(|entry| service_port(&entry)).collect();
    Some(Service {
        selector: selector.filter(|_| external_name.is_none()),
        addresses,
        headless,
        ports,
        external_name,
        ..bare
    })
}

enum ClusterIp {
    Address(IpAddr),
    /// The text `None`, which makes a Service headless.
    None,
}

fn cluster_ip(at: &Field<'_>) -> Option<ClusterIp> {
    if &*at.string()? == "None" { Some(ClusterIp::None) } else { pod::address(at).map(ClusterIp::Address) }
}

fn service_port(at: &Field<'_>) -> Option<ServicePort> {
    let mut entry = at.open()?;
    let name = entry.take("name").filter(pod::is_given).and_then(|field| field.name(&names::LABEL));
    let protocol =
        entry.take("protocol").filter(pod::is_given).map_or(Some(Protocol::Tcp), |field| policy::protocol(&field));
    let port = entry.require("port").and_then(|field| field.port_number());
    let target = entry.take("targetPort").filter(pod::is_given).map(|field| target_port(&field));
    entry.finish(Unknown::Passed);
    let port = port?;
    let target = match target {
        Some(target) => target?.unwrap_or(TargetPort::Number(port)),
        None => TargetPort::Number(port),
    };
    Some(ServicePort { name, protocol: protocol?, port, target })
}

/// `Some(None)` is 0, which the API takes for an absent one.
fn target_port(at: &Field<'_>) -> Option<Option<TargetPort>> {
    if at.is_number() {
        return match at.integer()? {
            0 => Some(None),
            _ => at.port_number().map(|number| Some(TargetPort::Number(number))),
        };
    }
    if !at.is_string() {
        return at.wrong_type("must be a number or a name", "");
    }
    let name: Arc<str> = at.name(&names::PORT_NAME)?;
    Some(Some(TargetPort::Name(name)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{manifest, objects, problems};
    use super::*;
    use crate::model::{ContainerPort, Object, Pod};

    fn service(spec: &str) -> Service {
        let text =
            format!("apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: shop}}\nspec: {{{spec}}}\n");
        match objects(&text).pop() {
            Some(Object::Service(service)) => *service,
            other => panic!("no Service: {other:?}"),
        }
    }

    #[test]
    fn a_service_as_an_api_server_has_it() {
        let found = service(
            "type: ClusterIP, clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7, 'fd00:96::7'], selector: {app: web}, \
             sessionAffinity: None, ports: [{name: http, port: 80, targetPort: web}, {port: 53, protocol: UDP}, \
             {name: tls, port: 443, targetPort: 8443, nodePort: 30443}]",
        );
        let port = |name: Option<&str>, protocol, port, target| ServicePort {
            name: name.map(Into::into),
            protocol,
            port,
            target,
        };
        let expected = Service {
            name: ObjectName::new("shop", "web"),
            selector: Some([("app", "web")].into_iter().collect()),
            addresses: vec!["10.96.0.7".parse().unwrap(), "fd00:96::7".parse().unwrap()],
            ports: vec![
                port(Some("http"), Protocol::Tcp, 80, TargetPort::Name("web".into())),
                port(None, Protocol::Udp, 53, TargetPort::Number(53)),
                port(Some("tls"), Protocol::Tcp, 443, TargetPort::Number(8443)),
            ],
            headless: false,
            external_name: None,
            origin: Some(Origin { file: "m.yaml".into(), line: 1, column: 1 }),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn headless_nameless_and_external_ones() {
        let headless = service("clusterIP: None, selector: {app: web}");
        assert!(headless.headless && headless.addresses.is_empty() && headless.selector.is_some());
        assert!(!service("selector: {app: web}").headless, "it has no address yet");
        assert_eq!(service("selector: {}").selector, None);
        let external = service("type: ExternalName, externalName: db.example.com, selector: {app: web}");
        assert_eq!((external.external_name.as_deref(), external.selector), (Some("db.example.com"), None));
        assert_eq!(service("ports: [{port: 80, targetPort: 0}]").ports[0].target, TargetPort::Number(80));
    }

    #[test]
    fn it_selects_live_pods_of_its_namespace_and_resolves_names_on_each() {
        let service = service("selector: {app: web}, ports: [{port: 80, targetPort: http}]");
        let port = ContainerPort { name: Some("http".into()), number: 8080, protocol: Protocol::Tcp };
        let web = |namespace: &str| Pod {
            labels: [("app", "web"), ("tier", "front")].into_iter().collect(),
            ports: vec![port.clone()],
            ..Pod::new(ObjectName::new(namespace, "web-1"))
        };
        assert!(service.selects(&web("shop")) && !service.selects(&web("other")));
        assert!(!service.selects(&Pod { phase: crate::model::Phase::Finished, ..web("shop") }));
        assert!(!service.selects(&Pod { terminating: true, ..web("shop") }));
        assert!(!service.selects(&Pod { labels: [("app", "db")].into_iter().collect(), ..web("shop") }));
        assert_eq!(service.ports[0].on(&web("shop")), Some(8080));
        assert_eq!(service.ports[0].on(&Pod { ports: vec![], ..web("shop") }), None);
    }

    #[test]
    fn fields_that_count_are_read_strictly() {
        for (spec, problem) in [
            ("ports: [{}]", "4:16: spec.ports[0].port: is required"),
            (
                "ports: [{port: '80'}]",
                "4:23: spec.ports[0].port: must be a whole number, is the text \"80\"; unquote it: 80",
            ),
            ("clusterIP: 10.96", "4:19: spec.clusterIP: must be a string, is the number 10.96; quote it"),
            ("clusterIPs: [x]", "4:21: spec.clusterIPs[0]: must be an IP address, is \"x\""),
            ("selector: [a]", "4:18: spec.selector: must be a map, is a list"),
        ] {
            let text = format!("apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{{spec}}}\n");
            let found: Vec<_> = problems(&manifest(&text))
                .iter()
                .map(|problem| problem.replace("m.yaml:", "").replace("error: Service default/web: ", ""))
                .collect();
            assert_eq!(found, [problem], "{spec}");
        }
    }
}
