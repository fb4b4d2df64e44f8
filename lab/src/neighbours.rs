//! Neighbour entries for labs with many pods.
//!
//! The kernel's neighbour tables are shared by all namespaces and hold 1024 entries that it may collect (the sysctl
//! `gc_thresh3`, the machine's alone). Pods that all talk to each other need the square of their number; beyond the
//! limit packets vanish, which would look like a policy. Entries marked as learned elsewhere do not count. They are
//! added as stale ones, so that the kernel still verifies by ARP and neighbour discovery what it uses.

use std::net::{IpAddr, Ipv6Addr};

use nix::{
    net::if_::if_nametoindex,
    sys::socket::{AddressFamily, SockProtocol},
};

use crate::{LabError, PodNet, cni::POD_LINK, netlink};

/// Up to this many pods on a node the tables do as they are, and pods find each other as they do everywhere.
pub(crate) const UNAIDED: usize = 16;

/// Tells one pod the link addresses of the others.
pub(crate) fn teach(pod: &PodNet, others: &[&PodNet]) -> Result<(), LabError> {
    pod.namespace
        .run(|| {
            let link = if_nametoindex(POD_LINK)?;
            let messages: Vec<u8> = others.iter().flat_map(|other| entries(link, other)).collect();
            netlink::send(SockProtocol::NetlinkRoute, &messages)
        })?
        .map_err(pod.namespace.error("learn its neighbours"))
}

fn entries(link: u32, pod: &PodNet) -> Vec<u8> {
    // The link-local address too: it is the one that verifies what is stale, and being asked makes an entry.
    let link_local = link_local(pod.link_address).into();
    pod.addresses.iter().chain([&link_local]).flat_map(|&ip| entry(link, ip, pod.link_address)).collect()
}

/// The address that the kernel derives from a link address (RFC 4291, appendix A).
fn link_local([a, b, c, d, e, f]: [u8; 6]) -> Ipv6Addr {
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

fn entry(link: u32, ip: IpAddr, link_address: [u8; 6]) -> Vec<u8> {
    const NEW_NEIGHBOUR: u16 = 28;
    const REPLACE_OR_CREATE: u16 = 0x100 | 0x400;
    const STALE: u16 = 0x04;
    const LEARNED_ELSEWHERE: u8 = 0x10;
    const IP: u16 = 1;
    const LINK_ADDRESS: u16 = 2;

    let (family, ip) = match ip {
        IpAddr::V4(ip) => (AddressFamily::Inet, ip.octets().to_vec()),
        IpAddr::V6(ip) => (AddressFamily::Inet6, ip.octets().to_vec()),
    };
    let mut payload = vec![family as u8, 0, 0, 0];
    payload.extend(link.to_ne_bytes());
    payload.extend(STALE.to_ne_bytes());
    payload.extend([LEARNED_ELSEWHERE, 0]);
    payload.extend(netlink::attribute(IP, &ip));
    payload.extend(netlink::attribute(LINK_ADDRESS, &link_address));
    netlink::message(NEW_NEIGHBOUR, REPLACE_OR_CREATE, &payload)
}
