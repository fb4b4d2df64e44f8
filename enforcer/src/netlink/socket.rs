//! The socket that outlives transactions. The kernel works through a batch inside `send`, so every answer is already
//! waiting when `send` returns: reading the answers to a transaction never blocks.

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::errno::Errno;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};

use super::attribute::{self, Writer};
use super::batch::{self, Finished, message};
use super::error::{NetlinkError, Refusal};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_DUMP_INTERRUPTED: u16 = 0x10;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const MSG_DONTWAIT: i32 = 0x40;
/// No datagram of the kernel is larger.
const RECEIVE: usize = 1 << 20;

/// A whole plan of some 25 000 pods, or two million elements, in one transaction.
const SEND_BUFFER: usize = 32 << 20;
/// Some tens of thousands of refusals.
const RECEIVE_BUFFER: usize = 8 << 20;
/// What the kernel needs of the send buffer beside the bytes of a transaction.
const OVERHEAD: usize = 4096;
/// How often a listing is asked for that others keep changing.
const DUMP_ATTEMPTS: usize = 20;

/// A netlink socket that commits transactions and reads listings. Whoever closes it gives up the tables it owns.
pub(crate) struct NetlinkSocket {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
    limit: usize,
}

impl NetlinkSocket {
    pub(crate) fn open() -> Result<Self, NetlinkError> {
        let failed = |doing| move |source| NetlinkError::Socket { doing, source };
        let mut socket = Socket::new(NETLINK_NETFILTER).map_err(failed("open"))?;
        socket.bind_auto().map_err(failed("bind"))?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed("connect"))?;
        socket.set_cap_ack(true).and_then(|()| socket.set_ext_ack(true)).map_err(failed("configure"))?;
        let errno = |errno: Errno| NetlinkError::Socket { doing: "size the buffers of", source: errno.into() };
        // Beyond the system's limit the size must be forced, which takes privileges in the first user namespace;
        // where they are missing, the limit is what there is, and large transactions are split.
        setsockopt(&socket, sockopt::SndBufForce, &SEND_BUFFER)
            .or_else(|_| setsockopt(&socket, sockopt::SndBuf, &SEND_BUFFER))
            .map_err(errno)?;
        setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)
            .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER))
            .map_err(errno)?;
        let limit = getsockopt(&socket, sockopt::SndBuf).map_err(errno)?.saturating_sub(OVERHEAD);
        Ok(Self { socket, sequence: 1, buffer: Vec::with_capacity(RECEIVE), limit })
    }

    /// The most bytes that one transaction may have.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    #[cfg(test)]
    pub(crate) fn set_limit(&mut self, bytes: usize) {
        self.limit = bytes;
    }

    /// The number that the next message must carry.
    pub(crate) fn next_sequence(&self) -> u32 {
        self.sequence
    }

    /// Committed means: the last operation is confirmed *and* nothing was refused. The kernel confirms an operation
    /// that it liked even when another one takes the whole transaction back.
    pub(crate) fn commit(&mut self, batch: &Finished) -> Result<(), NetlinkError> {
        self.sequence = batch.next_sequence();
        self.socket.send(batch.bytes(), 0).map_err(|source| match source.raw_os_error() {
            Some(errno) if errno == Errno::EMSGSIZE as i32 => NetlinkError::TooLarge { bytes: batch.bytes().len() },
            _ => NetlinkError::Socket { doing: "send to", source },
        })?;
        let mut refusals = Vec::new();
        let mut confirmed = false;
        loop {
            let received = match self.receive(MSG_DONTWAIT) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                    return Err(NetlinkError::Unconfirmed);
                }
                Err(source) => return Err(NetlinkError::Socket { doing: "receive from", source }),
            };
            for answer in messages(received) {
                let Some(error) = ErrorAnswer::read(&answer) else { continue };
                // Answers to a transaction whose answers were given up may still be queued.
                let Some(operation) = batch.operation(answer.sequence) else { continue };
                if error.errno == 0 {
                    confirmed |= batch.is_last(operation);
                } else {
                    let (what, culprit) = batch.describe(operation, error.offset);
                    refusals.push(Refusal { errno: error.errno, operation, what, culprit, reason: error.reason });
                }
            }
        }
        match (refusals.is_empty(), confirmed) {
            (false, _) => Err(NetlinkError::Refused(refusals)),
            (true, true) => Ok(()),
            (true, false) => Err(NetlinkError::Unconfirmed),
        }
    }

    /// Everything that a listing answers: the attributes of each entry. Asked again while others change the ruleset.
    pub(crate) fn dump(&mut self, kind: u16, fill: impl Fn(&mut Writer<'_>)) -> Result<Vec<Vec<u8>>, NetlinkError> {
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(entries) = self.try_dump(kind, &fill)? {
                return Ok(entries);
            }
        }
        Err(NetlinkError::Unstable)
    }

    fn try_dump(&mut self, kind: u16, fill: &impl Fn(&mut Writer<'_>)) -> Result<Option<Vec<Vec<u8>>>, NetlinkError> {
        let sequence = self.ask(kind, NLM_F_DUMP, fill)?;
        let mut entries = Vec::new();
        let mut consistent = true;
        loop {
            for answer in messages(self.wait()?).filter(|answer| answer.sequence == sequence) {
                consistent &= answer.flags & NLM_F_DUMP_INTERRUPTED == 0;
                match answer.kind {
                    NLMSG_DONE => return Ok(consistent.then_some(entries)),
                    NLMSG_ERROR => return Err(read_error(&answer)),
                    _ => entries.push(answer.attributes().to_vec()),
                }
            }
        }
    }

    /// The attributes of one object; none where there is no such object.
    pub(crate) fn get(&mut self, kind: u16, fill: impl Fn(&mut Writer<'_>)) -> Result<Option<Vec<u8>>, NetlinkError> {
        let sequence = self.ask(kind, 0, &fill)?;
        loop {
            if let Some(answer) = messages(self.wait()?).find(|answer| answer.sequence == sequence) {
                return match ErrorAnswer::read(&answer).map(|error| error.errno) {
                    Some(errno) if errno == Errno::ENOENT as i32 => Ok(None),
                    Some(_) => Err(read_error(&answer)),
                    None => Ok(Some(answer.attributes().to_vec())),
                };
            }
        }
    }

    /// How many transactions this network namespace has seen, anybody's.
    pub(crate) fn generation(&mut self) -> Result<u32, NetlinkError> {
        let answer = self.get(message::GET_GENERATION, |_| ())?;
        Ok(answer.and_then(|attributes| attribute::find(&attributes, 1)?.as_be32()).unwrap_or_default())
    }

    fn ask(&mut self, kind: u16, flags: u16, fill: &impl Fn(&mut Writer<'_>)) -> Result<u32, NetlinkError> {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        let mut request = Vec::new();
        let family = if kind == message::GET_GENERATION { 0 } else { batch::FAMILY_INET };
        batch::open(&mut request, batch::SUBSYSTEM | kind, batch::NLM_F_REQUEST | flags, sequence, family, 0);
        fill(&mut Writer::new(&mut request));
        batch::close(&mut request, 0);
        self.socket.send(&request, 0).map_err(|source| NetlinkError::Socket { doing: "send to", source })?;
        Ok(sequence)
    }

    fn wait(&mut self) -> Result<&[u8], NetlinkError> {
        loop {
            match self.receive(0) {
                Ok(_) => return Ok(&self.buffer),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(NetlinkError::Socket { doing: "receive from", source }),
            }
        }
    }

    /// One datagram.
    fn receive(&mut self, flags: i32) -> io::Result<&[u8]> {
        self.buffer.clear();
        self.socket.recv(&mut self.buffer, flags)?;
        Ok(&self.buffer)
    }
}

fn read_error(answer: &Message<'_>) -> NetlinkError {
    let errno = ErrorAnswer::read(answer).map_or(0, |error| error.errno);
    NetlinkError::Socket { doing: "list the ruleset over", source: io::Error::from_raw_os_error(errno) }
}

struct Message<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: &'a [u8],
}

impl<'a> Message<'a> {
    /// What follows the netfilter header.
    fn attributes(&self) -> &'a [u8] {
        self.body.get(4..).unwrap_or_default()
    }
}

/// The messages of one datagram.
fn messages(bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let header = bytes.get(at..at + 16)?;
        let word = |i: usize| u32::from_ne_bytes([header[i], header[i + 1], header[i + 2], header[i + 3]]);
        let length = word(0) as usize;
        let body = bytes.get(at + 16..at + length)?;
        at += length.next_multiple_of(4);
        Some(Message {
            kind: u16::from_ne_bytes([header[4], header[5]]),
            flags: u16::from_ne_bytes([header[6], header[7]]),
            sequence: word(8),
            body,
        })
    })
}

struct ErrorAnswer {
    errno: i32,
    reason: Option<String>,
    offset: Option<u32>,
}

impl ErrorAnswer {
    /// NLMSG_ERROR: errno, the header of the refused message (its body too, unless capped), then attributes.
    fn read(answer: &Message<'_>) -> Option<Self> {
        if answer.kind != NLMSG_ERROR {
            return None;
        }
        let errno = i32::from_ne_bytes(answer.body.get(..4)?.try_into().ok()?).checked_neg()?;
        let echoed = answer.body.get(4..8).and_then(|b| b.try_into().ok()).map_or(16, u32::from_ne_bytes);
        let skip = if answer.flags & NLM_F_CAPPED != 0 { 16 } else { (echoed as usize).next_multiple_of(4) };
        let extended = match answer.flags & NLM_F_ACK_TLVS {
            0 => &[],
            _ => answer.body.get(4 + skip..).unwrap_or_default(),
        };
        Some(Self {
            errno,
            reason: attribute::find(extended, 1).map(|a| a.as_str().to_owned()),
            offset: attribute::find(extended, 2).and_then(|a| Some(u32::from_ne_bytes(a.value.try_into().ok()?))),
        })
    }
}
