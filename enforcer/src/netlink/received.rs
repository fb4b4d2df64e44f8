//! What the kernel sends: the messages of a datagram, and errors among them.

use super::attribute;
use super::batch::SUBSYSTEM;

pub(crate) const NLMSG_ERROR: u16 = 2;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;

/// One message.
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    /// Of notifications: the port of the socket that caused it.
    pub(crate) port: u32,
    body: &'a [u8],
}

impl<'a> Message<'a> {
    /// Its number in the nf_tables subsystem; none for what belongs to netlink itself.
    pub(crate) fn number(&self) -> Option<u16> {
        (self.kind & !0xff == SUBSYSTEM).then_some(self.kind & 0xff)
    }

    /// The family in the netfilter header.
    pub(crate) fn family(&self) -> u8 {
        self.body.first().copied().unwrap_or_default()
    }

    /// What follows the netfilter header.
    pub(crate) fn attributes(&self) -> &'a [u8] {
        self.body.get(4..).unwrap_or_default()
    }
}

/// The messages of one datagram.
pub(crate) fn messages(bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
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
            port: word(12),
            body,
        })
    })
}

/// The answer to an operation that was refused, or that asked to be confirmed.
pub(crate) struct ErrorAnswer {
    /// Positive; 0 confirms.
    pub(crate) errno: i32,
    pub(crate) reason: Option<String>,
    /// From the start of the refused message.
    pub(crate) offset: Option<u32>,
}

impl ErrorAnswer {
    /// NLMSG_ERROR: errno, the header of the refused message (its body too, unless capped), then attributes.
    pub(crate) fn read(answer: &Message<'_>) -> Option<Self> {
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
