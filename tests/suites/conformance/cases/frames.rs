//! Frames that no honest pod sends, and an ear for what arrives of them.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lab::PodNetwork;
use serde_json::Value;

use super::shell;
use crate::world::World;

/// Where an [`Ear`] listens, and nothing else does. A port for each family: a socket of both hears no multicast of IPv4.
pub fn port(to: IpAddr) -> u16 {
    if to.is_ipv4() { 7104 } else { 7106 }
}

/// A pod's end of its link.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its number in the pod's namespace.
    pub index: u32,
    /// Its link address.
    pub address: [u8; 6],
    /// Its own address of the link, fe80::/10.
    pub local: Ipv6Addr,
}

impl Link {
    /// Of a pod.
    pub fn of(world: &World, pod: &str) -> Result<Self, String> {
        let text = shell::run(world, pod, "ip -json address show dev eth0")?;
        let found: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let link = &found[0];
        let local = link["addr_info"].as_array().into_iter().flatten().find(|info| info["scope"] == "link");
        let read = || {
            Some(Self {
                index: link["ifindex"].as_u64()?.try_into().ok()?,
                address: link_address(link["address"].as_str()?)?,
                local: local?["local"].as_str()?.parse().ok()?,
            })
        };
        read().ok_or_else(|| format!("{pod}: cannot tell its link from {text}"))
    }

    /// The link address that a pod's frames for another one must have: that of the pod itself on a bridge, else that of
    /// the pod's router.
    pub fn towards(world: &World, from: &str, to: &str) -> Result<[u8; 6], String> {
        if world.network() != PodNetwork::Ptp {
            return Self::of(world, to).map(|link| link.address);
        }
        // There is one neighbour on its link, and after this it has been found.
        let found = shell::run(
            world,
            from,
            "ip neigh show dev eth0 nud reachable nud stale nud delay nud probe nud permanent",
        )?;
        let router = shell::word(&found, "lladdr")?;
        link_address(&router).ok_or_else(|| format!("{router:?} is no link address"))
    }
}

fn link_address(text: &str) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes?.try_into().ok()
}

/// A datagram to an [`Ear`], whole.
pub struct Frame<'a> {
    /// The link addresses of sender and receiver.
    pub links: ([u8; 6], [u8; 6]),
    /// With a tag of VLAN 0, which says nothing and is delivered like none.
    pub tagged: bool,
    /// Their addresses, both of one family.
    pub addresses: (IpAddr, IpAddr),
    /// What it says.
    pub text: &'a str,
}

impl Frame<'_> {
    /// Its bytes.
    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        const UDP: u8 = 17;
        let (from, to) = self.addresses;
        let length = u16::try_from(8 + self.text.len()).map_err(|error| error.to_string())?;
        // A flow of its own: one that had passed before would say nothing about the next.
        static NEXT: AtomicU16 = AtomicU16::new(20_000);
        let from_port = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut udp: Vec<u8> = [from_port, port(to), length, 0].map(u16::to_be_bytes).concat();
        udp.extend(self.text.as_bytes());
        let (kind, addresses, mut packet) = match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let addresses = [from.octets(), to.octets()].concat();
                let mut header = vec![0x45, 0];
                header.extend((20 + length).to_be_bytes());
                header.extend([0, 0, 0x40, 0, 64, UDP, 0, 0]);
                header.extend(&addresses);
                let sum = checksum(&[&header]);
                header[10..12].copy_from_slice(&sum);
                (0x0800_u16, addresses, header)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let addresses = [from.octets(), to.octets()].concat();
                let mut header = vec![0x60, 0, 0, 0];
                header.extend(length.to_be_bytes());
                header.extend([UDP, 64]);
                header.extend(&addresses);
                (0x86dd, addresses, header)
            }
            _ => return Err(format!("{from} and {to} are of different families")),
        };
        let pseudo_header = [&[0, UDP][..], &length.to_be_bytes()].concat();
        let sum = checksum(&[&addresses, &pseudo_header, &udp]);
        udp[6..8].copy_from_slice(&sum);
        packet.extend(udp);

        let mut frame = [self.links.1, self.links.0].concat();
        if self.tagged {
            frame.extend([0x81, 0, 0, 0]);
        }
        frame.extend(kind.to_be_bytes());
        frame.extend(packet);
        Ok(frame)
    }
}

/// That of IP and UDP, over parts of which only the last may have an odd length.
fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum: u32 = words.map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!sum as u16).to_be_bytes()
}

/// A pod's sockets that hear every datagram to their [`port`], whichever address of the pod it is for.
pub struct Ear([UdpSocket; 2]);

impl Ear {
    /// In a pod.
    pub fn of(world: &World, pod: &str) -> Result<Self, String> {
        let listen = |any: IpAddr| -> io::Result<UdpSocket> {
            let socket = UdpSocket::bind((any, port(any)))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let sockets =
            || -> io::Result<_> { Ok([listen(Ipv4Addr::UNSPECIFIED.into())?, listen(Ipv6Addr::UNSPECIFIED.into())?]) };
        let namespace = world.lab().namespace(pod).map_err(|error| error.to_string())?;
        let sockets = namespace.run(sockets).map_err(|error| error.to_string())?;
        sockets.map(Self).map_err(|error| error.to_string())
    }

    /// What arrives until all that is awaited has, or for as long as patience lasts where nothing is.
    pub fn hear(&self, awaited: &BTreeSet<String>, patience: Duration) -> Result<BTreeSet<String>, String> {
        let deadline = Instant::now() + patience;
        let mut heard = BTreeSet::new();
        let mut buffer = [0; 256];
        while Instant::now() < deadline && (awaited.is_empty() || !heard.is_superset(awaited)) {
            for socket in &self.0 {
                match socket.recv(&mut buffer) {
                    Ok(length) => _ = heard.insert(String::from_utf8_lossy(&buffer[..length]).into_owned()),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error.to_string()),
                }
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(heard)
    }
}
