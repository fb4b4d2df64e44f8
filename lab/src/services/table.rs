//! kube-proxy's tables, as a script for nft: one for each family, in the manner of its nftables mode.
//!
//! ```text
//! prerouting, output  services -> service/NS/NAME/PROTOCOL/PORT   -> endpoint/../ADDRESS/PORT: dnat
//!                              -> node-port/NS/NAME/PROTOCOL/PORT -> ..
//! postrouting         masquerades what the former have marked
//! forward, output, input  refuse what found no endpoint
//! ```

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use policy_compiler::{cidr::Family, model::ExternalTrafficPolicy};

use super::Served;
use crate::underlay::Site;

/// A script that replaces both tables of a node, `ip kube-proxy` and `ip6 kube-proxy`, in one transaction.
pub(super) fn table(services: &[Served], node_name: &str, site: &Site) -> String {
    let families = Family::BOTH.into_iter().zip(site.addresses).zip(&site.pod_cidrs);
    families.map(|((family, address), pods)| Node { name: node_name, family, address, pods }.table(services)).collect()
}

/// A node in one family.
struct Node<'a> {
    name: &'a str,
    family: Family,
    /// On the underlay. Node ports are open here, and at none of the node's other addresses.
    address: IpAddr,
    /// Where its pods' addresses come from, by which its kube-proxy knows them (`detectLocalMode: NodeCIDR`).
    pods: &'a str,
}

/// A port of a Service in one family.
struct Port<'a> {
    served: &'a Served,
    protocol: String,
    /// What its chains are called after.
    name: String,
    address: IpAddr,
    endpoints: Endpoints,
    /// Those on the node itself.
    local: Endpoints,
}

/// Addresses and ports of pods. Two pods with hostNetwork may share them.
type Endpoints = BTreeSet<(IpAddr, u16)>;

/// Marks a packet for masquerade.
const MARK: &str = "meta mark set meta mark | 0x4000";
const IS_UNMARKED: &str = "meta mark & 0x4000 == 0";
const UNMARK: &str = "meta mark set meta mark & 0xffffbfff";

impl Node<'_> {
    fn table(&self, services: &[Served]) -> String {
        let (ip, address_type) = match self.family {
            Family::V4 => ("ip", "ipv4_addr"),
            Family::V6 => ("ip6", "ipv6_addr"),
        };
        let node = self.address;
        let ports: Vec<Port<'_>> = services.iter().filter_map(|served| self.port(served)).collect();
        let (open, idle): (Vec<_>, Vec<_>) = ports.iter().partition(|port| !port.endpoints.is_empty());

        let addresses: BTreeSet<IpAddr> = ports.iter().map(|port| port.address).collect();
        let cluster_ips = elements(addresses.iter().map(IpAddr::to_string));
        let cluster_ip_ports = elements(open.iter().map(|port| {
            let Port { protocol, name, address, .. } = port;
            format!("{address} . {protocol} . {} : goto service/{name}", port.served.port)
        }));
        let goto_node_port = |port: &&Port<'_>| Some(format!("{} : goto node-port/{}", port.node_port()?, port.name));
        let node_ports = elements(open.iter().filter_map(goto_node_port));
        let idle_node_ports = elements(idle.iter().filter_map(|port| port.node_port()));
        let chains: String = open.iter().map(|port| self.chains(ip, port)).collect();
        // -100 is where destinations are translated. What that has left as it was is refused right after, before any
        // policy looks at it. Masquerade comes before the pod network's own, which would leave the mark on the packet
        // and on what a tunnel wraps around it.
        format!(
            "add table {ip} kube-proxy
delete table {ip} kube-proxy
table {ip} kube-proxy {{
set cluster-ips {{ type {address_type}; {cluster_ips} }}
map cluster-ip-ports {{ type {address_type} . inet_proto . inet_service : verdict; {cluster_ip_ports} }}
map node-ports {{ type inet_proto . inet_service : verdict; {node_ports} }}
set idle-node-ports {{ type inet_proto . inet_service; {idle_node_ports} }}
chain prerouting {{ type nat hook prerouting priority -100; jump services; }}
chain output {{ type nat hook output priority -100; jump services; }}
chain services {{
{ip} daddr . meta l4proto . th dport vmap @cluster-ip-ports
{ip} daddr {node} meta l4proto . th dport vmap @node-ports
}}
chain refuse-forwarded {{ type filter hook forward priority -90; {ip} daddr @cluster-ips reject; }}
chain refuse-own {{ type filter hook output priority -90; {ip} daddr @cluster-ips reject; }}
chain refuse-delivered {{ type filter hook input priority -90;
ct state new {ip} daddr {node} meta l4proto . th dport @idle-node-ports reject
}}
chain postrouting {{ type nat hook postrouting priority srcnat - 1;
{IS_UNMARKED} return
{UNMARK} masquerade fully-random
}}
{chains}}}
"
        )
    }

    /// None where the Service has no address of the family.
    fn port<'s>(&self, served: &'s Served) -> Option<Port<'s>> {
        let is_own = |address: &&IpAddr| Family::of(**address) == self.family;
        let address = *served.addresses.iter().find(is_own)?;
        let protocol = served.protocol.name().to_lowercase();
        let name = format!("{}/{protocol}/{}", served.service, served.port);
        let (mut endpoints, mut local) = (Endpoints::new(), Endpoints::new());
        for backend in &served.backends {
            let own = backend.addresses.iter().filter(is_own).map(|address| (*address, backend.port));
            if *backend.node == *self.name {
                local.extend(own.clone());
            }
            endpoints.extend(own);
        }
        Some(Port { served, protocol, name, address, endpoints, local })
    }

    fn chains(&self, ip: &str, port: &Port<'_>) -> String {
        let Self { pods, .. } = self;
        let Port { name, protocol, endpoints, local, .. } = port;
        // Who is none of the node's pods might get the answer by another way, where nobody translates it back.
        let rules = format!("{ip} saddr != {pods} {MARK}\n{}", port.any_of(endpoints));
        let mut chains = chain(&format!("service/{name}"), &rules);
        for endpoint in endpoints {
            // A pod takes no packet that comes from its own address.
            let rules = format!(
                "{ip} saddr {} {MARK}\nmeta l4proto {protocol} dnat to {}",
                endpoint.0,
                SocketAddr::from(*endpoint)
            );
            chains += &chain(&port.endpoint(endpoint), &rules);
        }
        if port.served.node_port.is_some() {
            let rules = match port.served.external_traffic_policy {
                ExternalTrafficPolicy::Cluster => format!("{MARK}\ngoto service/{name}"),
                // What comes from the node is not from outside: its pods go as they would by the ClusterIP, and so do
                // its own processes, which get their mark there.
                ExternalTrafficPolicy::Local => format!(
                    "{ip} saddr {pods} goto service/{name}\nfib saddr type local goto service/{name}\n{}",
                    port.any_of(local),
                ),
            };
            chains += &chain(&format!("node-port/{name}"), &rules);
        }
        chains
    }
}

impl Port<'_> {
    /// As maps and sets have it, if it has any.
    fn node_port(&self) -> Option<String> {
        Some(format!("{} . {}", self.protocol, self.served.node_port?))
    }

    /// The chain of an endpoint. A colon cannot be in a name.
    fn endpoint(&self, (address, number): &(IpAddr, u16)) -> String {
        format!("endpoint/{}/{}/{number}", self.name, address.to_string().replace(':', "."))
    }

    /// Sends each connection to one of them; drops it where there is none.
    fn any_of(&self, endpoints: &Endpoints) -> String {
        if endpoints.is_empty() {
            return "drop".to_owned();
        }
        let choices = endpoints.iter().enumerate();
        let choices: Vec<String> = choices.map(|(n, one)| format!("{n} : goto {}", self.endpoint(one))).collect();
        format!("numgen random mod {} vmap {{ {} }}", choices.len(), choices.join(", "))
    }
}

fn chain(name: &str, rules: &str) -> String {
    format!("chain {name} {{\n{rules}\n}}\n")
}

/// nft takes no empty list of them.
fn elements(elements: impl Iterator<Item = String>) -> String {
    let elements: Vec<String> = elements.collect();
    if elements.is_empty() { String::new() } else { format!("elements = {{ {} }};", elements.join(", ")) }
}
