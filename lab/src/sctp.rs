//! SCTP without an SCTP stack, which few kernels have: the first two packets of a handshake, over raw sockets.
//!
//! They are all that a rule judges. The INIT is what conntrack calls new, the INIT ACK is its reply, and both carry the
//! tags and checksums without which conntrack takes them for invalid. The handshake goes no further, so that nothing is
//! left to end.

use std::{
    hash::{BuildHasher, RandomState},
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr, UdpSocket as StdUdpSocket},
    os::fd::AsRawFd,
    sync::Arc,
};

use nix::{
    cmsg_space,
    errno::Errno,
    libc::{sock_extended_err, sockaddr_in6},
    sys::socket::{
        AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, recv,
        recvmsg, setsockopt, socket, sockopt,
    },
};
use tokio::{io::Interest, net::UdpSocket};

use crate::datagram::Datagrams;

/// More than any packet of ours, and than any that we would understand.
const PACKET: usize = 2048;
/// Room for the answers to a burst of probes, as far as net.core.rmem_max lets it be.
const RECEIVE_BUFFER: usize = 1 << 20;

/// An SCTP packet of the one chunk that matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Packet {
    source: u16,
    destination: u16,
    /// The tag that the receiver gave itself; 0 in an INIT, whose receiver has none yet.
    verification_tag: u32,
    chunk: Chunk,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Chunk {
    Init { tag: u32 },
    InitAck { tag: u32, cookie: Vec<u8> },
    Abort,
}

impl Packet {
    const HEADER: usize = 12;
    const CHECKSUM: std::ops::Range<usize> = 8..12;
    const INIT: u8 = 1;
    const INIT_ACK: u8 = 2;
    const ABORT: u8 = 6;
    const STATE_COOKIE: u16 = 7;

    fn to_bytes(&self) -> Vec<u8> {
        let (kind, body) = match &self.chunk {
            Chunk::Init { tag } => (Self::INIT, handshake(*tag)),
            Chunk::InitAck { tag, cookie } => {
                let length = 4 + cookie.len() as u16;
                let parameter = [&Self::STATE_COOKIE.to_be_bytes()[..], &length.to_be_bytes(), cookie].concat();
                (Self::INIT_ACK, [handshake(*tag), parameter].concat())
            }
            Chunk::Abort => (Self::ABORT, vec![]),
        };
        let mut bytes = [self.source.to_be_bytes(), self.destination.to_be_bytes()].concat();
        bytes.extend(self.verification_tag.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend([kind, 0]);
        bytes.extend((4 + body.len() as u16).to_be_bytes());
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let checksum = crc32c(&bytes);
        // The one number of SCTP that starts with its low byte.
        bytes[Self::CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// None for what is damaged, and for what only a whole SCTP stack sends.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut summed = bytes.to_vec();
        summed.get_mut(Self::CHECKSUM)?.fill(0);
        if crc32c(&summed).to_le_bytes() != field(bytes, Self::CHECKSUM.start)? {
            return None;
        }
        let tag = || field(bytes, Self::HEADER + 4).map(u32::from_be_bytes);
        let chunk = match *bytes.get(Self::HEADER)? {
            Self::INIT => Chunk::Init { tag: tag()? },
            Self::INIT_ACK => {
                let parameter = bytes.get(Self::HEADER + 20..)?;
                if field(parameter, 0)? != Self::STATE_COOKIE.to_be_bytes() {
                    return None;
                }
                let length = u16::from_be_bytes(field(parameter, 2)?);
                Chunk::InitAck { tag: tag()?, cookie: parameter.get(4..length.into())?.to_vec() }
            }
            Self::ABORT => Chunk::Abort,
            _ => return None,
        };
        Some(Self {
            source: u16::from_be_bytes(field(bytes, 0)?),
            destination: u16::from_be_bytes(field(bytes, 2)?),
            verification_tag: u32::from_be_bytes(field(bytes, 4)?),
            chunk,
        })
    }

    /// What one who listens on those ports says to this; nothing unless it opens a conversation.
    fn answer(&self, ports: &[u16], cookie: &str) -> Option<Self> {
        let Chunk::Init { tag } = self.chunk else { return None };
        let chunk = if ports.contains(&self.destination) {
            // Depends on the question alone, so that a repeated one is answered as before, which conntrack wants.
            Chunk::InitAck { tag: tag.rotate_left(16), cookie: cookie.into() }
        } else {
            Chunk::Abort
        };
        Some(Self { source: self.destination, destination: self.source, verification_tag: tag, chunk })
    }

    /// Whether this is for the sender of that INIT: every raw socket hears what its address says to any of them.
    fn answers(&self, init: &Self) -> bool {
        let Chunk::Init { tag } = init.chunk else { return false };
        let is_answer = !matches!(self.chunk, Chunk::Init { .. });
        let ports = (self.source, self.destination);
        is_answer && ports == (init.destination, init.source) && self.verification_tag == tag
    }
}

/// What an INIT and an INIT ACK begin with: tag, receive window, streams out and in, first sequence number.
fn handshake(tag: u32) -> Vec<u8> {
    [tag, 1 << 16, 1 << 16 | 1, tag].into_iter().flat_map(u32::to_be_bytes).collect()
}

fn field<const LENGTH: usize>(bytes: &[u8], at: usize) -> Option<[u8; LENGTH]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn crc32c(bytes: &[u8]) -> u32 {
    let shift = |sum: u32, _| if sum & 1 == 1 { sum >> 1 ^ 0x82f6_3b78 } else { sum >> 1 };
    !bytes.iter().fold(!0, |sum, &byte| (0..8).fold(sum ^ u32::from(byte), shift))
}

/// A raw socket. Its type knows of UDP only, but what it does is the same for every socket of whole packets.
///
/// As long as one is open, the kernel no longer answers SCTP by "protocol unreachable".
fn raw_socket(family: AddressFamily) -> io::Result<StdUdpSocket> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, SockType::Raw, flags, SockProtocol::Sctp)?;
    setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
    Ok(socket.into())
}

/// The SCTP packet in what a raw socket received: with the header of IPv4, without that of IPv6.
fn payload(received: &[u8], from: IpAddr) -> &[u8] {
    let header = match (from, received.first()) {
        (IpAddr::V4(_), Some(first)) => usize::from(first & 0xf) * 4,
        _ => 0,
    };
    received.get(header..).unwrap_or_default()
}

/// Answers for all SCTP ports of a pod, in both families: raw sockets are not bound to ports.
pub(crate) struct Listener {
    sockets: [StdUdpSocket; 2],
    ports: Arc<[u16]>,
}

impl Listener {
    /// Listens in the calling thread's namespace.
    pub(crate) fn bind(ports: Arc<[u16]>) -> io::Result<Self> {
        Ok(Self { sockets: [raw_socket(AddressFamily::Inet)?, raw_socket(AddressFamily::Inet6)?], ports })
    }

    /// Answers with an INIT ACK that has the greeting for its state cookie; on other ports with an ABORT.
    ///
    /// Must be called in the context of a runtime.
    pub(crate) fn serve(self, greeting: Arc<str>) -> io::Result<impl Future<Output = ()> + Send + use<>> {
        let Self { sockets: [v4, v6], ports } = self;
        let (v4, v6) = (Datagrams::new(v4)?, Datagrams::new(v6)?);
        Ok(async move { _ = tokio::join!(serve(v4, &ports, &greeting), serve(v6, &ports, &greeting)) })
    }
}

async fn serve(socket: Datagrams, ports: &[u16], greeting: &str) {
    let mut buffer = [0; PACKET];
    loop {
        let Ok((length, asker)) = socket.receive(&mut buffer).await else { continue };
        let question = Packet::parse(payload(&buffer[..length], asker.ip));
        if let Some(answer) = question.and_then(|question| question.answer(ports, greeting)) {
            // An asker that is gone, or out of reach, is told nothing.
            let _ = socket.answer(&answer.to_bytes(), &asker).await;
        }
    }
}

/// An association that is asked for.
pub(crate) struct Opening {
    socket: UdpSocket,
    to: IpAddr,
    init: Packet,
}

impl Opening {
    /// Makes the socket, in the calling thread's namespace and runtime.
    pub(crate) fn new(source: SocketAddr, target: SocketAddr) -> io::Result<Self> {
        let to = target.ip();
        let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let socket = raw_socket(family)?;
        match to {
            IpAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?,
            IpAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?,
        }
        // To the kernel, the port of a raw socket is the number of a protocol.
        bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(source.ip(), 0)))?;
        // Hears that address alone from now on.
        socket.connect(SocketAddr::new(to, 0))?;
        // Zero says that there is none yet.
        let tag = (RandomState::new().hash_one(source.port()) as u32).max(1);
        let init = Packet {
            source: source.port(),
            destination: target.port(),
            verification_tag: 0,
            chunk: Chunk::Init { tag },
        };
        Ok(Self { socket: UdpSocket::from_std(socket)?, to, init })
    }

    /// Sends the INIT, for the first time or again.
    pub(crate) async fn send(&self) -> io::Result<()> {
        let init = self.init.to_bytes();
        if self.socket.send(&init).await.is_err() {
            // May have been news of another's packet, kept for whoever uses the socket next. What is ours comes again.
            self.take_errors()?;
            self.socket.send(&init).await?;
        }
        Ok(())
    }

    /// Awaits the INIT ACK and gives its state cookie. The error is `ConnectionRefused` where an ABORT came, or where
    /// nobody speaks SCTP; other errors are those of ICMP.
    pub(crate) async fn answer(&self) -> io::Result<String> {
        let take = || {
            let mut buffer = [0; PACKET];
            loop {
                self.take_errors()?;
                match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                    Ok(length) => match Packet::parse(payload(&buffer[..length], self.to)) {
                        Some(packet) if packet.answers(&self.init) => return cookie(packet.chunk),
                        _ => {}
                    },
                    Err(Errno::EAGAIN) => return Err(io::ErrorKind::WouldBlock.into()),
                    // It came since, and waits among the errors.
                    Err(_) => {}
                }
            }
        };
        self.socket.async_io(Interest::READABLE | Interest::ERROR, take).await
    }

    /// Reads the ICMP errors that have come. The first that is about a packet of ours is the error: the kernel gives
    /// each to every raw socket that talks to the address, whichever port it is about.
    fn take_errors(&self) -> io::Result<()> {
        let ports = [self.init.source, self.init.destination].map(u16::to_be_bytes);
        loop {
            let mut quoted = [0; 4];
            let mut control = cmsg_space!(sock_extended_err, sockaddr_in6);
            let mut parts = [IoSliceMut::new(&mut quoted)];
            let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
            let errno = match recvmsg::<()>(self.socket.as_raw_fd(), &mut parts, Some(&mut control), flags) {
                Ok(message) => message.cmsgs()?.find_map(|control| match control {
                    ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) => {
                        Some(Errno::from_raw(error.ee_errno as i32))
                    }
                    _ => None,
                }),
                Err(Errno::EAGAIN) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            };
            if let Some(errno) = errno
                && quoted == ports.as_flattened()
            {
                return Err(match errno {
                    // Protocol unreachable, and what IPv6 says instead: next header unknown.
                    Errno::ENOPROTOOPT | Errno::EPROTO => io::ErrorKind::ConnectionRefused.into(),
                    errno => errno.into(),
                });
            }
        }
    }
}

fn cookie(chunk: Chunk) -> io::Result<String> {
    match chunk {
        Chunk::InitAck { cookie, .. } => Ok(String::from_utf8_lossy(&cookie).into_owned()),
        Chunk::Init { .. } | Chunk::Abort => Err(io::ErrorKind::ConnectionRefused.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(chunk: Chunk) -> Packet {
        Packet { source: 10_000, destination: 80, verification_tag: 0x0102_0304, chunk }
    }

    /// RFC 3720, B.4, and the check value of the catalogues.
    #[test]
    fn the_checksum_is_crc32c() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn packets_are_read_as_they_were_written() {
        let cookie = |length| Chunk::InitAck { tag: 7, cookie: vec![b'x'; length] };
        for chunk in [Chunk::Init { tag: 7 }, Chunk::Abort, cookie(0), cookie(1), cookie(4), cookie(253)] {
            let packet = packet(chunk);
            let bytes = packet.to_bytes();
            assert_eq!(bytes.len() % 4, 0);
            assert_eq!(Packet::parse(&bytes), Some(packet));
        }
    }

    #[test]
    fn what_is_damaged_or_cut_is_no_packet() {
        let bytes = packet(Chunk::InitAck { tag: 7, cookie: b"pod".to_vec() }).to_bytes();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(Packet::parse(&damaged), None, "byte {at}");
            assert_eq!(Packet::parse(&bytes[..at]), None, "{at} bytes");
        }
    }

    #[test]
    fn only_an_init_is_answered_and_only_a_served_port_says_yes() {
        let answer = |chunk| packet(chunk).answer(&[80, 81], "pod");
        let yes = answer(Chunk::Init { tag: 7 }).unwrap();
        assert_eq!((yes.source, yes.destination, yes.verification_tag), (80, 10_000, 7));
        assert!(matches!(&yes.chunk, Chunk::InitAck { cookie, .. } if cookie == b"pod"));
        assert_eq!(answer(Chunk::Init { tag: 7 }), Some(yes.clone()), "a repeated question");
        assert_eq!(answer(yes.chunk), None);
        assert_eq!(answer(Chunk::Abort), None);
        let no = packet(Chunk::Init { tag: 7 }).answer(&[81], "pod").unwrap();
        assert_eq!((no.verification_tag, no.chunk), (7, Chunk::Abort));
    }

    #[test]
    fn an_answer_is_for_whoever_has_its_ports_and_its_tag() {
        let init = packet(Chunk::Init { tag: 7 });
        for ports in [&[80][..], &[]] {
            let answer = init.answer(ports, "pod").unwrap();
            assert!(answer.answers(&init));
            assert!(!answer.answers(&Packet { source: 10_001, ..init.clone() }));
            assert!(!answer.answers(&Packet { destination: 81, ..init.clone() }));
            assert!(!answer.answers(&packet(Chunk::Init { tag: 8 })));
        }
        let back = Packet { source: 80, destination: 10_000, verification_tag: 7, chunk: Chunk::Init { tag: 7 } };
        assert!(!back.answers(&init));
    }
}
