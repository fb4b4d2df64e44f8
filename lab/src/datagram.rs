//! Sockets of whole packets that answer from the address that was asked, which a host of several addresses must.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsFd, AsRawFd},
    time::{Duration, Instant},
};

use nix::{
    cmsg_space,
    errno::Errno,
    libc::{in_pktinfo, in6_pktinfo},
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, getsockname, recvmsg, sendmsg, setsockopt,
        sockopt,
    },
};
use tokio::{io::Interest, net::UdpSocket};

/// Awaits a datagram and gives its length. `WouldBlock` says that none came in time.
///
/// # Errors
/// What the socket says, but for the news that the process was stopped and goes on.
pub fn receive(socket: &std::net::UdpSocket, buffer: &mut [u8], patience: Duration) -> io::Result<usize> {
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        socket.set_read_timeout(Some(left))?;
        match socket.recv(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// A socket that hears many and answers each. Its type knows of UDP only, but what it does is the same for every socket
/// of whole packets.
pub(crate) struct Datagrams(UdpSocket);

/// Who asked, and which of our addresses.
pub(crate) struct Asker {
    address: SockaddrStorage,
    /// Where from.
    pub(crate) ip: IpAddr,
    asked: Asked,
}

enum Asked {
    V4(in_pktinfo),
    V6(in6_pktinfo),
}

impl Datagrams {
    /// Takes over a socket that does not block, in the calling thread's runtime.
    pub(crate) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let is_v4 = getsockname::<SockaddrStorage>(socket.as_raw_fd())?.as_sockaddr_in().is_some();
        // A socket of both families tells of IPv4 in the manner of IPv6.
        if is_v4 {
            setsockopt(&socket.as_fd(), sockopt::Ipv4PacketInfo, &true)?;
        } else {
            setsockopt(&socket.as_fd(), sockopt::Ipv6RecvPacketInfo, &true)?;
        }
        UdpSocket::from_std(socket).map(Self)
    }

    /// Awaits a packet, and says how long it is.
    pub(crate) async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Asker)> {
        let fd = self.0.as_raw_fd();
        self.0
            .async_io(Interest::READABLE, || {
                let mut control = cmsg_space!(in_pktinfo, in6_pktinfo);
                let mut parts = [IoSliceMut::new(buffer)];
                let message = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
                let asked = message.cmsgs()?.find_map(|control| match control {
                    // Without the interface, or the answer could take no other way than the question came.
                    ControlMessageOwned::Ipv4PacketInfo(info) => {
                        Some(Asked::V4(in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: info.ipi_addr, ..info }))
                    }
                    ControlMessageOwned::Ipv6PacketInfo(info) => {
                        Some(Asked::V6(in6_pktinfo { ipi6_ifindex: 0, ..info }))
                    }
                    _ => None,
                });
                match (message.address, asked) {
                    (Some(address), Some(asked)) => {
                        let ip = ip(&address).ok_or(Errno::EAFNOSUPPORT)?;
                        Ok((message.bytes, Asker { address, ip, asked }))
                    }
                    _ => Err(Errno::EBADMSG.into()),
                }
            })
            .await
    }

    /// Sends a packet back.
    pub(crate) async fn answer(&self, packet: &[u8], asker: &Asker) -> io::Result<()> {
        let fd = self.0.as_raw_fd();
        self.0
            .async_io(Interest::WRITABLE, || {
                let control = match &asker.asked {
                    Asked::V4(info) => ControlMessage::Ipv4PacketInfo(info),
                    Asked::V6(info) => ControlMessage::Ipv6PacketInfo(info),
                };
                let parts = [IoSlice::new(packet)];
                Ok(sendmsg(fd, &parts, &[control], MsgFlags::MSG_DONTWAIT, Some(&asker.address)).map(drop)?)
            })
            .await
    }
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| SocketAddr::V4(SocketAddrV4::from(*address)));
    let v6 = || address.as_sockaddr_in6().map(|address| SocketAddr::V6(SocketAddrV6::from(*address)));
    v4.or_else(v6).map(|address| address.ip())
}
