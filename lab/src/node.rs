//! A node: a namespace that forwards between its pods and the other nodes.

use std::net::IpAddr;

use crate::{
    LabError, Namespace, PodNetwork,
    cni::{Attachment, Plugins},
    underlay::Site,
};

/// A node without anything but its network.
#[derive(Debug)]
pub struct Node {
    name: String,
    namespace: Namespace,
    site: Site,
    plugins: Plugins,
}

/// A pod's network: all that a pod is here.
#[derive(Debug)]
pub struct PodNet {
    /// The pod's namespace.
    pub namespace: Namespace,
    /// Its addresses, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// The link address of its `eth0`.
    pub link_address: [u8; 6],
}

impl Node {
    /// Makes a node that is not connected to others yet. The number tells its address, 172.30.0.N and fd00:30::N, and its
    /// pods', 10.244.N.0/24 and fd00:10:244:N::/64.
    pub fn new(name: impl Into<String>, number: u8, network: PodNetwork) -> Result<Self, LabError> {
        let name = name.into();
        let namespace = Namespace::new(&name)?;
        namespace.set_sysctls(&[
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv6/conf/all/forwarding", "1"),
            // Without these, what pods of one node say to each other passes no rule at all.
            ("net/bridge/bridge-nf-call-iptables", "1"),
            ("net/bridge/bridge-nf-call-ip6tables", "1"),
            // So short that a flood never comes back to a source port that conntrack still knows.
            ("net/netfilter/nf_conntrack_udp_timeout", "2"),
            ("net/netfilter/nf_conntrack_udp_timeout_stream", "2"),
        ])?;
        let site = Site::new(number);
        let plugins = Plugins::new(network, &namespace, site.pod_cidrs.clone())?;
        plugins.add_loopback(&namespace)?;
        Ok(Self { name, namespace, site, plugins })
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The node's namespace: where rules are loaded and an enforcer runs.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its own addresses, on the underlay, IPv4 first.
    pub fn addresses(&self) -> &[IpAddr; 2] {
        &self.site.addresses
    }

    /// Where its pods' addresses come from, IPv4 first.
    pub fn pod_cidrs(&self) -> &[String; 2] {
        &self.site.pod_cidrs
    }

    /// Where it is.
    pub(crate) fn site(&self) -> &Site {
        &self.site
    }

    /// Makes a pod. May be called by several threads, but only once the first pod has made the bridge.
    pub fn add_pod(&self, name: impl Into<String>) -> Result<PodNet, LabError> {
        let namespace = Namespace::new(name)?;
        self.plugins.add_loopback(&namespace)?;
        let Attachment { addresses, link_address } = self.plugins.add(&namespace)?;
        Ok(PodNet { namespace, addresses, link_address })
    }

    /// Takes a pod off the bridge and frees its addresses. Merely dropping a pod leaves them taken.
    pub fn remove_pod(&self, pod: PodNet) -> Result<(), LabError> {
        self.plugins.delete(&pod.namespace)
    }
}
