//! How the pods of several nodes reach each other: the pod networks that a lab knows.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    LabError, Namespace,
    cni::BRIDGE,
    ip,
    underlay::{Site, UPLINK},
};

/// The blocks that the pod addresses of all nodes come from, IPv4 first.
const CLUSTER_CIDRS: [&str; 2] = ["10.244.0.0/16", "fd00:10:244::/48"];
/// What vxlan over IPv6 leaves of a packet; over IPv4 it were twenty bytes more.
const VXLAN_MTU: u16 = 1430;
/// The device of each family, as flannel calls them, with the family in its link address.
const TUNNELS: [(&str, u8); 2] = [("flannel.1", 4), ("flannel-v6.1", 6)];

/// A pod network: what plugs pods in on a node, and how nodes know each other's pods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PodNetwork {
    /// A bridge on each node, host routes between nodes.
    #[default]
    Bridge,
    /// A routed veth for each pod, host routes between nodes.
    Ptp,
    /// What flannel makes of `vxlan`: a bridge on each node, a vxlan device between nodes, masquerade.
    FlannelVxlan,
    /// What flannel makes of `host-gw`: a bridge on each node, host routes between nodes, masquerade.
    FlannelHostGw,
}

/// A text that names no pod network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be bridge, ptp, flannel-vxlan or flannel-host-gw, is {0:?}")]
pub struct UnknownNetwork(String);

impl PodNetwork {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Bridge, Self::Ptp, Self::FlannelVxlan, Self::FlannelHostGw];

    /// The CNI plugin that gives a pod its link.
    pub(crate) fn plugin(self) -> &'static str {
        match self {
            Self::Bridge | Self::FlannelVxlan | Self::FlannelHostGw => "bridge",
            Self::Ptp => "ptp",
        }
    }

    /// The links of a node that only pods are behind, as the agent takes them.
    pub fn pod_interface(self) -> &'static str {
        match self {
            Self::Bridge | Self::FlannelVxlan | Self::FlannelHostGw => BRIDGE,
            Self::Ptp => "veth*",
        }
    }

    /// The MTU of pods' links, where it is not the usual one.
    pub(crate) fn mtu(self) -> Option<u16> {
        (self == Self::FlannelVxlan).then_some(VXLAN_MTU)
    }

    /// The addresses from which a node speaks to pods of others, IPv4 first: those of the link that its packets leave by.
    pub(crate) fn addresses_towards_pods(self, node: &Site) -> [IpAddr; 2] {
        match self {
            Self::Bridge | Self::Ptp | Self::FlannelHostGw => node.addresses,
            Self::FlannelVxlan => node.tunnel_addresses(),
        }
    }

    /// Whether what pods send out of the cluster, or to another node, leaves with their node's address.
    pub(crate) fn masquerades(self) -> bool {
        match self {
            Self::Bridge | Self::Ptp => false,
            Self::FlannelVxlan | Self::FlannelHostGw => true,
        }
    }

    /// Tells a node where the pods of the others are, once all nodes are there.
    pub(crate) fn connect(self, node: &Namespace, own: &Site, others: &[&Site]) -> Result<(), LabError> {
        let mut lines = Vec::new();
        match self {
            Self::Bridge | Self::Ptp | Self::FlannelHostGw => {
                for other in others {
                    for (cidr, gateway) in other.pod_cidrs.iter().zip(&other.addresses) {
                        lines.push(format!("route add {cidr} via {gateway}"));
                    }
                }
            }
            Self::FlannelVxlan => {
                lines.extend(vxlan(own));
                lines.extend(others.iter().flat_map(|other| vxlan_routes(other)));
            }
        }
        ip::batch(node, &lines)?;
        if self == Self::FlannelVxlan {
            let ends: Vec<String> = others.iter().flat_map(|other| vxlan_ends(other)).collect();
            ip::bridge_batch(node, &ends)?;
        }
        if self.masquerades() { ip::nft(node, &masquerade(own)) } else { Ok(()) }
    }
}

/// The devices, each with the first address of the node's block.
fn vxlan(site: &Site) -> Vec<String> {
    let devices = TUNNELS.iter().zip(site.tunnel_ends()).zip(site.tunnel_addresses());
    let lines = devices.flat_map(|(((device, family), local), address)| {
        let (link_address, bits) = (site.link_address(*family), if *family == 4 { 32 } else { 128 });
        // Never preferred: whatever the node itself sends has its usual address.
        let end = format!("addr add {local}/{} dev {UPLINK} preferred_lft 0", if *family == 4 { 24 } else { 64 });
        [
            end,
            format!(
                "link add {device} address {link_address} type vxlan id 1 local {local} dev {UPLINK} dstport 8472 nolearning"
            ),
            format!("addr add {address}/{bits} dev {device}"),
            format!("link set {device} mtu {VXLAN_MTU} up"),
        ]
    });
    lines.collect()
}

/// What flannel writes for each other node: who has the next hop, and a route over the tunnel.
fn vxlan_routes(site: &Site) -> Vec<String> {
    let hops = TUNNELS.iter().zip(site.tunnel_addresses()).zip(&site.pod_cidrs);
    let lines = hops.flat_map(|(((device, family), hop), cidr)| {
        let link_address = site.link_address(*family);
        [
            format!("neigh replace {hop} lladdr {link_address} dev {device} nud permanent"),
            format!("route add {cidr} via {hop} dev {device} onlink"),
        ]
    });
    lines.collect()
}

/// And where the tunnel to it ends.
fn vxlan_ends(site: &Site) -> Vec<String> {
    let ends = TUNNELS.iter().zip(site.tunnel_ends());
    let line = |((device, family), address): (&(&str, u8), IpAddr)| {
        format!("fdb append {} dev {device} dst {address}", site.link_address(*family))
    };
    ends.map(line).collect()
}

/// What leaves the cluster gets the node's address, and so does what comes into it from elsewhere by way of this node.
fn masquerade(site: &Site) -> String {
    let families = ["ip", "ip6"].iter().zip(CLUSTER_CIDRS).zip(&site.pod_cidrs).zip(["224.0.0.0/4", "ff00::/8"]);
    let rules: String = families
        .map(|(((family, cluster), pods), multicast)| {
            format!(
                "{family} saddr {pods} {family} daddr {cluster} return\n\
                 {family} saddr {cluster} {family} daddr {pods} return\n\
                 {family} saddr != {cluster} {family} daddr {pods} return\n\
                 {family} saddr {cluster} {family} daddr != {multicast} masquerade fully-random\n\
                 {family} saddr != {cluster} {family} daddr {cluster} masquerade fully-random\n"
            )
        })
        .collect();
    format!("table inet flannel {{\nchain postrouting {{\ntype nat hook postrouting priority srcnat;\n{rules}}}\n}}\n")
}

impl fmt::Display for PodNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bridge => "bridge",
            Self::Ptp => "ptp",
            Self::FlannelVxlan => "flannel-vxlan",
            Self::FlannelHostGw => "flannel-host-gw",
        })
    }
}

impl FromStr for PodNetwork {
    type Err = UnknownNetwork;

    fn from_str(text: &str) -> Result<Self, UnknownNetwork> {
        let found = Self::ALL.into_iter().find(|network| network.to_string() == text);
        found.ok_or_else(|| UnknownNetwork(text.to_owned()))
    }
}
