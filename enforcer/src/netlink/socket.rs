//! The socket that outlives transactions. The kernel works inside `send`, so every answer is already waiting when `send`
//! returns, and more of a listing when a part of it has been read: nothing here ever waits.

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::errno::Errno;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};

use super::attribute::{self, Writer};
use super::batch::{self, Finished, message};
use super::error::{NetlinkError, Refusal};
use super::received::{ErrorAnswer, Message, NLMSG_ERROR, messages};

const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_DUMP_INTERRUPTED: u16 = 0x10;
pub(super) const MSG_DONTWAIT: i32 = 0x40;
/// No datagram of the kernel is larger.
pub(super) const RECEIVE: usize = 1 << 20;

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
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
    limit: usize,
}

/// One object of a listing.
pub(crate) struct Entry {
    pub(crate) family: u8,
    pub(crate) attributes: Vec<u8>,
}

impl NetlinkSocket {
    pub(crate) fn open() -> Result<Self, NetlinkError> {
        let failed = |doing| move |source| NetlinkError::Socket { doing, source };
        let mut socket = Socket::new(NETLINK_NETFILTER).map_err(failed("open"))?;
        let port = socket.bind_auto().map_err(failed("bind"))?.port_number();
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed("connect"))?;
        socket.set_cap_ack(true).and_then(|()| socket.set_ext_ack(true)).map_err(failed("configure"))?;
        // Beyond the system's limit the size must be forced, which takes privileges in the first user namespace;
        // where they are missing, the limit is what there is, and large transactions are split.
        setsockopt(&socket, sockopt::SndBufForce, &SEND_BUFFER)
            .or_else(|_| setsockopt(&socket, sockopt::SndBuf, &SEND_BUFFER))
            .map_err(unsized_buffer)?;
        set_receive_buffer(&socket, RECEIVE_BUFFER)?;
        let limit = getsockopt(&socket, sockopt::SndBuf).map_err(unsized_buffer)?.saturating_sub(OVERHEAD);
        Ok(Self { socket, port, sequence: 1, buffer: Vec::with_capacity(RECEIVE), limit })
    }

    /// The number under which others hear of its transactions.
    pub(crate) fn port(&self) -> u32 {
        self.port
    }

    /// The most bytes that one transaction may have.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Makes the kernel throw away every further answer: there is hardly room for one, and refusals are waiting.
    #[cfg(test)]
    pub(crate) fn overflow(&mut self) {
        self.shrink();
        let missing = |w: &mut Writer<'_>| w.text(1, "missing");
        (0..100).for_each(|_| _ = self.ask(message::GET_TABLE, 0, batch::FAMILY_INET, &missing).unwrap());
    }

    /// Leaves room for an answer or two.
    #[cfg(test)]
    pub(crate) fn shrink(&mut self) {
        setsockopt(&self.socket, sockopt::RcvBuf, &0).unwrap();
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
    ///
    /// Where answers were lost, a refusal among those that were not still says for sure that nothing was applied.
    pub(crate) fn commit(&mut self, batch: &Finished) -> Result<(), NetlinkError> {
        self.sequence = batch.next_sequence();
        self.socket.send(batch.bytes(), 0).map_err(|source| match source.raw_os_error() {
            Some(errno) if errno == Errno::EMSGSIZE as i32 => NetlinkError::TooLarge { bytes: batch.bytes().len() },
            _ => NetlinkError::Socket { doing: "send to", source },
        })?;
        let mut refusals = Vec::new();
        let (mut confirmed, mut lost) = (false, false);
        loop {
            let received = match self.receive() {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Until the last answer that is queued has been read, the kernel throws away all others.
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                    lost = true;
                    continue;
                }
                Err(source) => return Err(NetlinkError::Socket { doing: "receive from", source }),
            };
            for answer in messages(received) {
                let Some(error) = ErrorAnswer::read(&answer) else { continue };
                // Answers to questions that were given up may still be queued.
                let Some(operation) = batch.operation(answer.sequence) else { continue };
                // Once the kernel has found a circle of chains, it finds it again at every later operation.
                let again = |refusal: &Refusal| refusal.errno == error.errno && error.errno == Errno::EMLINK as i32;
                if error.errno == 0 {
                    confirmed |= batch.is_last(operation);
                } else if !refusals.iter().any(again) {
                    let (what, culprit) = batch.describe(operation, error.offset);
                    refusals.push(Refusal { errno: error.errno, operation, what, culprit, reason: error.reason });
                }
            }
        }
        match (refusals.is_empty(), confirmed && !lost) {
            (false, _) => Err(NetlinkError::Refused(refusals)),
            (true, true) => Ok(()),
            (true, false) => Err(NetlinkError::Unconfirmed),
        }
    }

    /// Everything that a listing answers. While others change the ruleset it is asked for again; the last answer is
    /// taken as it is.
    pub(crate) fn dump_settled(
        &mut self,
        kind: u16,
        family: u8,
        fill: impl Fn(&mut Writer<'_>),
    ) -> Result<Vec<Entry>, NetlinkError> {
        let mut attempts = 1;
        loop {
            let (entries, settled) = self.try_dump(kind, family, &fill)?;
            if settled || attempts == DUMP_ATTEMPTS {
                return Ok(entries);
            }
            attempts += 1;
        }
    }

    /// Everything that a listing answers, also where transactions came between its parts: those of other tables make
    /// no difference to what one table has.
    pub(crate) fn dump(
        &mut self,
        kind: u16,
        family: u8,
        fill: impl Fn(&mut Writer<'_>),
    ) -> Result<Vec<Entry>, NetlinkError> {
        Ok(self.try_dump(kind, family, &fill)?.0)
    }

    /// The entries, and whether no transaction came between them.
    fn try_dump(
        &mut self,
        kind: u16,
        family: u8,
        fill: &impl Fn(&mut Writer<'_>),
    ) -> Result<(Vec<Entry>, bool), NetlinkError> {
        let sequence = self.ask(kind, NLM_F_DUMP, family, fill)?;
        let mut entries = Vec::new();
        let mut settled = true;
        loop {
            for answer in messages(self.answer()?).filter(|answer| answer.sequence == sequence) {
                settled &= answer.flags & NLM_F_DUMP_INTERRUPTED == 0;
                match answer.kind {
                    NLMSG_DONE => return Ok((entries, settled)),
                    NLMSG_ERROR => return Err(read_error(&answer)),
                    _ => entries.push(Entry { family: answer.family(), attributes: answer.attributes().to_vec() }),
                }
            }
        }
    }

    /// The attributes of one object; none where there is no such object.
    pub(crate) fn get(&mut self, kind: u16, fill: impl Fn(&mut Writer<'_>)) -> Result<Option<Vec<u8>>, NetlinkError> {
        let family = if kind == message::GET_GENERATION { batch::FAMILY_ANY } else { batch::FAMILY_INET };
        let sequence = self.ask(kind, 0, family, &fill)?;
        loop {
            if let Some(answer) = messages(self.answer()?).find(|answer| answer.sequence == sequence) {
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

    fn ask(&mut self, kind: u16, flags: u16, family: u8, fill: &impl Fn(&mut Writer<'_>)) -> Result<u32, NetlinkError> {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        let mut request = Vec::new();
        batch::open(&mut request, batch::SUBSYSTEM | kind, batch::NLM_F_REQUEST | flags, sequence, family, 0);
        fill(&mut Writer::new(&mut request));
        batch::close(&mut request, 0);
        self.socket.send(&request, 0).map_err(|source| NetlinkError::Socket { doing: "send to", source })?;
        Ok(sequence)
    }

    fn answer(&mut self) -> Result<&[u8], NetlinkError> {
        self.receive().map_err(|source| NetlinkError::Socket { doing: "receive from", source })
    }

    /// One datagram.
    fn receive(&mut self) -> io::Result<&[u8]> {
        self.buffer.clear();
        self.socket.recv(&mut self.buffer, MSG_DONTWAIT)?;
        Ok(&self.buffer)
    }
}

/// Room for what is not read yet; beyond the system's limit where that may be forced.
pub(super) fn set_receive_buffer(socket: &Socket, bytes: usize) -> Result<(), NetlinkError> {
    setsockopt(socket, sockopt::RcvBufForce, &bytes)
        .or_else(|_| setsockopt(socket, sockopt::RcvBuf, &bytes))
        .map_err(unsized_buffer)
}

fn unsized_buffer(errno: Errno) -> NetlinkError {
    NetlinkError::Socket { doing: "size the buffers of", source: errno.into() }
}

fn read_error(answer: &Message<'_>) -> NetlinkError {
    let errno = ErrorAnswer::read(answer).map_or(0, |error| error.errno);
    NetlinkError::Socket { doing: "list the ruleset over", source: io::Error::from_raw_os_error(errno) }
}
