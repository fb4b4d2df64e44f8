//! One transaction: BEGIN, operations, END, in one buffer that is sent with one call.

use policy_compiler::ruleset::{Chain, Comment, Rule, Set};

use super::attribute::Writer;
use super::describe;
use super::element::RawElement;
use super::error::NetlinkError;
use super::expression::{INLINE_MAP, INLINE_SET};
use super::rule::{self, Program};
use super::set::{Declaration, NewSet};
use super::userdata;

pub(crate) const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
/// Refuse what exists already: it would mean that the picture of the kernel is wrong.
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_APPEND: u16 = 0x800;

pub(crate) const FAMILY_INET: u8 = 1;
pub(crate) const SUBSYSTEM: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

/// The two headers in front of the attributes: netlink's 16 bytes and netfilter's 4.
pub(crate) const HEADERS: usize = 20;
/// Elements per message are bounded by the 16-bit length of the attribute that lists them.
const ELEMENT_BYTES: usize = 60_000;

/// The hook `forward` of the inet family, priority `filter`, policy accept.
pub(crate) mod base_chain {
    pub(crate) const HOOK: u32 = 2;
    pub(crate) const PRIORITY: u32 = 0;
    pub(crate) const ACCEPT: u32 = 1;
    pub(crate) const TYPE: &str = "filter";
}

/// Message numbers of the nf_tables subsystem.
pub(crate) mod message {
    pub(crate) const NEW_TABLE: u16 = 0;
    pub(crate) const GET_TABLE: u16 = 1;
    pub(crate) const DELETE_TABLE: u16 = 2;
    pub(crate) const NEW_CHAIN: u16 = 3;
    pub(crate) const GET_CHAIN: u16 = 4;
    pub(crate) const DELETE_CHAIN: u16 = 5;
    pub(crate) const NEW_RULE: u16 = 6;
    pub(crate) const GET_RULE: u16 = 7;
    pub(crate) const DELETE_RULE: u16 = 8;
    pub(crate) const NEW_SET: u16 = 9;
    pub(crate) const GET_SET: u16 = 10;
    pub(crate) const DELETE_SET: u16 = 11;
    pub(crate) const NEW_ELEMENT: u16 = 12;
    pub(crate) const GET_ELEMENT: u16 = 13;
    pub(crate) const DELETE_ELEMENT: u16 = 14;
    pub(crate) const GET_GENERATION: u16 = 16;
}

/// A transaction under construction.
pub(crate) struct Batch<'t> {
    table: &'t str,
    bytes: Vec<u8>,
    first_sequence: u32,
    /// Where each message starts, by its distance from `first_sequence`.
    starts: Vec<usize>,
    next_set_id: u32,
    overflow: Option<u32>,
}

impl<'t> Batch<'t> {
    pub(crate) fn new(table: &'t str, first_sequence: u32) -> Self {
        let mut batch =
            Self { table, bytes: Vec::new(), first_sequence, starts: Vec::new(), next_set_id: 1, overflow: None };
        batch.append(BATCH_BEGIN, 0, 0, SUBSYSTEM >> 8, |_| ());
        batch
    }

    /// How many bytes it has so far.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The sequence number behind its END, were it finished now.
    pub(crate) fn sequence_behind(&self) -> u32 {
        self.first_sequence.wrapping_add(self.starts.len() as u32 + 1)
    }

    /// The table, if it is not there. Flags: 2 this socket owns it, 4 it stays when the socket closes (Linux 6.9).
    pub(crate) fn add_table(&mut self, flags: u32) {
        let table = self.table;
        self.message(message::NEW_TABLE, NLM_F_CREATE, |w| {
            w.text(1, table);
            w.be32(2, flags);
        });
    }

    pub(crate) fn delete_table(&mut self) {
        let table = self.table;
        self.message(message::DELETE_TABLE, 0, |w| w.text(1, table));
    }

    /// The chain without its rules.
    pub(crate) fn add_chain(&mut self, name: &str, chain: &Chain) {
        let table = self.table;
        self.message(message::NEW_CHAIN, NLM_F_CREATE | NLM_F_EXCL, |w| {
            w.text(1, table);
            w.text(3, name);
            if chain.base {
                w.nest(4, |w| {
                    w.be32(1, base_chain::HOOK);
                    w.be32(2, base_chain::PRIORITY);
                });
                w.be32(5, base_chain::ACCEPT);
                w.text(7, base_chain::TYPE);
            }
            if let Some(comment) = &chain.comment {
                w.raw(12, &userdata::comment(comment));
            }
        });
    }

    /// Nothing may refer to it; its rules go with it.
    pub(crate) fn delete_chain(&mut self, name: &str) {
        let table = self.table;
        self.message(message::DELETE_CHAIN, 0, |w| {
            w.text(1, table);
            w.text(3, name);
        });
    }

    /// A rule is named by its handle only; without one, DELRULE empties the chain, and without a chain, the table.
    pub(crate) fn flush_rules(&mut self, chain: Option<&str>) {
        let table = self.table;
        self.message(message::DELETE_RULE, 0, |w| {
            w.text(1, table);
            if let Some(chain) = chain {
                w.text(2, chain);
            }
        });
    }

    /// Appends a rule; whatever it names must be there, or come earlier in the batch.
    pub(crate) fn add_rule(&mut self, chain: &str, rule: &Rule) {
        let first_inline = self.next_set_id;
        let program = Program::of(rule);
        for inline in &program.inline {
            let name = if inline.declaration.is_map() { INLINE_MAP } else { INLINE_SET };
            let id = self.declare(inline.declaration, name, 0, Some(inline.elements.len() as u32), None);
            self.elements(message::NEW_ELEMENT, NLM_F_CREATE, name, Some(id), inline.elements.iter().copied());
        }
        let table = self.table;
        self.message(message::NEW_RULE, NLM_F_CREATE | NLM_F_APPEND, |w| {
            rule::write(w, table, chain, rule, &program, first_inline);
        });
    }

    /// The set without its elements.
    pub(crate) fn add_set(&mut self, name: &str, set: &Set) {
        self.declare(Declaration::of(set.shape, set.family), name, NLM_F_EXCL, None, Some(&set.comment));
    }

    /// No rule may refer to it.
    pub(crate) fn delete_set(&mut self, name: &str) {
        let table = self.table;
        self.message(message::DELETE_SET, 0, |w| {
            w.text(1, table);
            w.text(2, name);
        });
    }

    /// Refused if one of them is there already.
    pub(crate) fn add_elements<'r>(&mut self, set: &str, elements: impl Iterator<Item = RawElement<'r>>) {
        self.elements(message::NEW_ELEMENT, NLM_F_CREATE | NLM_F_EXCL, set, None, elements);
    }

    /// Refused if one of them is missing.
    pub(crate) fn delete_elements<'r>(&mut self, set: &str, elements: impl Iterator<Item = RawElement<'r>>) {
        self.elements(message::DELETE_ELEMENT, 0, set, None, elements);
    }

    pub(crate) fn flush_set(&mut self, set: &str) {
        let table = self.table;
        self.message(message::DELETE_ELEMENT, 0, |w| {
            w.text(1, table);
            w.text(2, set);
        });
    }

    /// Closes the transaction. Only its last operation is to be acknowledged: refusals are reported without being
    /// asked for, and an answer per operation would overflow the receive buffer.
    pub(crate) fn finish(mut self) -> Result<Finished, NetlinkError> {
        let last = self.starts.len() - 1;
        let flags = self.starts[last] + 6;
        let acknowledged = u16::from_ne_bytes([self.bytes[flags], self.bytes[flags + 1]]) | NLM_F_ACK;
        self.bytes[flags..flags + 2].copy_from_slice(&acknowledged.to_ne_bytes());
        self.append(BATCH_END, 0, 0, SUBSYSTEM >> 8, |_| ());
        let overflow = self.overflow;
        let finished =
            Finished { bytes: self.bytes, first_sequence: self.first_sequence, starts: self.starts, last: last as u32 };
        match overflow {
            Some(index) => Err(NetlinkError::Overlong { operation: finished.describe(index, None).0 }),
            None => Ok(finished),
        }
    }

    fn declare(
        &mut self,
        declaration: Declaration,
        name: &str,
        flags: u16,
        size: Option<u32>,
        comment: Option<&Comment>,
    ) -> u32 {
        let (table, id) = (self.table, self.next_set_id);
        self.next_set_id += 1;
        self.message(message::NEW_SET, NLM_F_CREATE | flags, |w| {
            declaration.write(w, table, name, NewSet { id, size, comment });
        });
        id
    }

    fn elements<'r>(
        &mut self,
        kind: u16,
        flags: u16,
        set: &str,
        set_id: Option<u32>,
        elements: impl Iterator<Item = RawElement<'r>>,
    ) {
        let table = self.table;
        let mut rest = elements.peekable();
        while rest.peek().is_some() {
            self.message(kind, flags, |w| {
                w.text(1, table);
                w.text(2, set);
                if let Some(id) = set_id {
                    w.be32(4, id);
                }
                w.nest(3, |w| {
                    let limit = w.len() + ELEMENT_BYTES;
                    while w.len() < limit
                        && let Some(element) = rest.next()
                    {
                        element.write(w);
                    }
                });
            });
        }
    }

    fn message(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Writer<'_>)) {
        self.append(SUBSYSTEM | kind, flags, FAMILY_INET, 0, fill);
    }

    fn append(&mut self, kind: u16, flags: u16, family: u8, resource: u16, fill: impl FnOnce(&mut Writer<'_>)) {
        let index = self.starts.len() as u32;
        let start = self.bytes.len();
        self.starts.push(start);
        open(&mut self.bytes, kind, NLM_F_REQUEST | flags, self.first_sequence.wrapping_add(index), family, resource);
        let mut writer = Writer::new(&mut self.bytes);
        fill(&mut writer);
        if writer.overflowed() {
            self.overflow.get_or_insert(index);
        }
        close(&mut self.bytes, start);
    }
}

/// The netlink header and the netfilter header; the length is filled in by [`close`].
pub(crate) fn open(bytes: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, family: u8, resource: u16) {
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&[family, 0]);
    bytes.extend_from_slice(&resource.to_be_bytes());
}

pub(crate) fn close(bytes: &mut [u8], start: usize) {
    let length = (bytes.len() - start) as u32;
    bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
}

/// A transaction, ready to be sent. Its bytes are kept until it is answered: refusals are told from them.
pub(crate) struct Finished {
    bytes: Vec<u8>,
    first_sequence: u32,
    starts: Vec<usize>,
    last: u32,
}

impl Finished {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The operations, BEGIN and END not counted.
    pub(crate) fn operations(&self) -> usize {
        self.starts.len() - 2
    }

    /// The sequence number of a message behind it.
    pub(crate) fn next_sequence(&self) -> u32 {
        self.first_sequence.wrapping_add(self.starts.len() as u32)
    }

    /// The number of the operation that an answer is about; 0 is BEGIN. None for answers to other transactions.
    pub(crate) fn operation(&self, sequence: u32) -> Option<u32> {
        let index = sequence.wrapping_sub(self.first_sequence);
        ((index as usize) < self.starts.len()).then_some(index)
    }

    pub(crate) fn is_last(&self, operation: u32) -> bool {
        operation == self.last
    }

    /// Says in words what an operation was, and which part of it lies at a byte offset, read back from its own bytes:
    /// success costs no bookkeeping.
    pub(crate) fn describe(&self, operation: u32, offset: Option<u32>) -> (String, Option<String>) {
        let index = operation as usize;
        let Some(start) = self.starts.get(index).copied() else { return ("an unknown operation".into(), None) };
        let end = self.starts.get(index + 1).copied().unwrap_or(self.bytes.len());
        let message = &self.bytes[start..end];
        let kind = u16::from_ne_bytes([message[4], message[5]]);
        let attributes = &message[HEADERS..];
        let offset = offset.and_then(|offset| (offset as usize).checked_sub(HEADERS));
        (describe::operation(kind, attributes), offset.and_then(|offset| describe::part(kind, attributes, offset)))
    }
}
