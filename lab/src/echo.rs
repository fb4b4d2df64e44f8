//! Echo requests, over the kernel's ICMP sockets for datagrams.
//!
//! Such a socket hears what has its own identifier, and of ICMP errors those about its own packets, so that no probe
//! takes the answer of another. The kernel fills in identifier and checksum.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket as StdUdpSocket},
    os::fd::AsRawFd,
};

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, socket};
use tokio::net::UdpSocket;

/// Type, code, checksum, identifier, sequence number.
const HEADER: usize = 8;

/// An echo request that may be sent several times.
pub(crate) struct Echo {
    // Its type knows of UDP only, but what it does is the same for every socket of whole packets.
    socket: UdpSocket,
    to: IpAddr,
    payload: String,
}

impl Echo {
    /// Makes the socket, in the calling thread's namespace and runtime. The identifier is the port of `source`.
    pub(crate) fn new(source: SocketAddr, to: IpAddr, payload: String) -> io::Result<Self> {
        let (family, protocol) = match to {
            IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
            IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = StdUdpSocket::from(socket(family, SockType::Datagram, flags, protocol)?);
        bind(socket.as_raw_fd(), &SockaddrStorage::from(source))?;
        // Only a connected socket is told of errors.
        socket.connect(SocketAddr::new(to, 0))?;
        Ok(Self { socket: UdpSocket::from_std(socket)?, to, payload })
    }

    /// Sends the request. Each round has a sequence number of its own.
    pub(crate) async fn send(&self, round: u16) -> io::Result<()> {
        let request = if self.to.is_ipv4() { 8 } else { 128 };
        let mut packet = vec![request, 0, 0, 0, 0, 0];
        packet.extend(round.to_be_bytes());
        packet.extend(self.payload.bytes());
        self.socket.send(&packet).await.map(drop)
    }

    /// Awaits the reply to any round; what is wrong with it is said. The errors are those of ICMP, but for a host or
    /// network out of reach: those may come of the asker's own neighbour discovery, and are silence.
    pub(crate) async fn answer(&self) -> io::Result<Result<(), String>> {
        let mut buffer = vec![0; 1 << 16];
        let (length, from) = self.socket.recv_from(&mut buffer).await?;
        let reply = if self.to.is_ipv4() { 0 } else { 129 };
        let (header, payload) = buffer[..length].split_at(HEADER.min(length));
        Ok(if from.ip() != self.to {
            Err(format!("asked {}, was answered by {}", self.to, from.ip()))
        } else if header.first() != Some(&reply) || payload != self.payload.as_bytes() {
            let payload = String::from_utf8_lossy(&payload[..payload.len().min(64)]);
            Err(format!("asked otherwise, was answered {payload:?} ({header:?})"))
        } else {
            Ok(())
        })
    }
}
