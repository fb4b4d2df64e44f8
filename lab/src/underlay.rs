//! What nodes are joined by: a switch, in a namespace of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{LabError, Namespace, Switch};

/// A node's link to the underlay.
pub(crate) const UPLINK: &str = "eth0";

/// The switch. It goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Underlay(Switch);

/// Where a node is: its number tells all of its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Site {
    number: u8,
    /// Its own, on the underlay, IPv4 first.
    pub(crate) addresses: [IpAddr; 2],
    /// Where its pods' addresses come from, IPv4 first.
    pub(crate) pod_cidrs: [String; 2],
}

impl Site {
    /// 172.30.0.N and fd00:30::N; pods 10.244.N.0/24 and fd00:10:244:N::/64.
    pub(crate) fn new(number: u8) -> Self {
        let v4 = Ipv4Addr::new(172, 30, 0, number).into();
        let v6 = Ipv6Addr::new(0xfd00, 0x30, 0, 0, 0, 0, 0, number.into()).into();
        let pod_cidrs = [format!("10.244.{number}.0/24"), format!("fd00:10:244:{number}::/64")];
        Self { number, addresses: [v4, v6], pod_cidrs }
    }

    /// The first addresses of its blocks, which flannel gives to its vxlan devices.
    pub(crate) fn tunnel_addresses(&self) -> [IpAddr; 2] {
        let v6 = Ipv6Addr::new(
            0xfd00,
            0x10,
            0x244,
            u16::from_str_radix(&self.number.to_string(), 16).unwrap_or(0),
            0,
            0,
            0,
            0,
        );
        [Ipv4Addr::new(10, 244, self.number, 0).into(), v6.into()]
    }

    /// Where tunnels to it end, IPv4 first: addresses that nothing else is sent to. Where NodePorts or masquerade are behind
    /// the same address, a router's word about the MTU of what is carried shrinks the carrier, which then carries less
    /// than before, and so on.
    pub(crate) fn tunnel_ends(&self) -> [IpAddr; 2] {
        let v6 = Ipv6Addr::new(0xfd00, 0x31, 0, 0, 0, 0, 0, self.number.into());
        [Ipv4Addr::new(172, 31, 0, self.number).into(), v6.into()]
    }

    /// The link address of its vxlan device of a family.
    pub(crate) fn link_address(&self, family: u8) -> String {
        format!("02:00:00:00:{family:02x}:{:02x}", self.number)
    }
}

impl Underlay {
    /// A switch without anything on it.
    pub(crate) fn new() -> Result<Self, LabError> {
        Switch::new(&Namespace::new("underlay")?).map(Self)
    }

    /// Gives a node its uplink and addresses.
    pub(crate) fn connect(&self, node: &Namespace, site: &Site) -> Result<(), LabError> {
        let [v4, v6] = &site.addresses;
        let addresses = [format!("{v4}/24"), format!("{v6}/64")];
        self.0.connect(&format!("port{}", site.number), node, UPLINK, &addresses).map(|_| ())
    }
}
