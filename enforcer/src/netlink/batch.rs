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

/// In questions: whatever the family.
pub(crate) const FAMILY_ANY: u8 = 0;
pub(crate) const FAMILY_INET: u8 = 1;
pub(crate) const SUBSYSTEM: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

/// The two headers in front of the attributes: netlink's 16 bytes and netfilter's 4.
pub(crate) const HEADERS: usize = 20;
/// Elements per message are bounded by the 16-bit length of the attribute that lists them.
const ELEMENT_BYTES: usize = 60_000;

/// Flags of a table. This socket owns it: nobody else can change it, and a flush of the whole ruleset passes it by.
pub(crate) const TABLE_OWNER: u32 = 2;
/// It stays when the socket closes, and the next owner adopts it.
pub(crate) const TABLE_PERSIST: u32 = 4;
/// Its base chains are not hooked: nothing in it has any effect.
pub(crate) const TABLE_DORMANT: u32 = 1;

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
    pub(crate) const NEW_GENERATION: u16 = 15;
    pub(crate) const GET_GENERATION: u16 = 16;
    pub(crate) const NEW_OBJECT: u16 = 18;
    pub(crate) const DELETE_OBJECT: u16 = 20;
    pub(crate) const NEW_FLOWTABLE: u16 = 22;
    pub(crate) const DELETE_FLOWTABLE: u16 = 24;
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

/// A place in a transaction under construction.
pub(crate) struct Mark {
    bytes: usize,
    messages: usize,
    next_set_id: u32,
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

    /// Where it is now, to come back to with [`Batch::rewind`].
    pub(crate) fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), messages: self.starts.len(), next_set_id: self.next_set_id }
    }

    /// Takes back what was written since.
    pub(crate) fn rewind(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        self.starts.truncate(mark.messages);
        self.next_set_id = mark.next_set_id;
        self.overflow = self.overflow.filter(|index| (*index as usize) < mark.messages);
    }

    /// The sequence number behind its END, were it finished now.
    pub(crate) fn sequence_behind(&self) -> u32 {
        self.first_sequence.wrapping_add(self.starts.len() as u32 + 1)
    }

    /// The table, if it is not there; it wakes up if it is dormant.
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

    /// Closes the transaction.
    pub(crate) fn finish(mut self) -> Result<Finished, NetlinkError> {
        let operations = self.starts.len();
        self.append(BATCH_END, 0, 0, SUBSYSTEM >> 8, |_| ());
        self.acknowledge(operations - 1)
    }

    /// Leaves the transaction without its END: the kernel tries every operation, judges what would come of them, and
    /// takes them all back. Without an END it never brings anything into force.
    pub(crate) fn rehearsal(self) -> Result<Finished, NetlinkError> {
        let operations = self.starts.len();
        self.acknowledge(operations - 1)
    }

    /// Only the last operation is to be acknowledged: refusals are reported without being asked for, and an answer per
    /// operation would overflow the receive buffer.
    fn acknowledge(mut self, last: usize) -> Result<Finished, NetlinkError> {
        let flags = self.starts[last] + 6;
        let acknowledged = u16::from_ne_bytes([self.bytes[flags], self.bytes[flags + 1]]) | NLM_F_ACK;
        self.bytes[flags..flags + 2].copy_from_slice(&acknowledged.to_ne_bytes());
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
        self.last as usize
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
        let Some((kind, attributes)) = self.message(operation as usize) else {
            return ("an unknown operation".into(), None);
        };
        let offset = offset.and_then(|offset| (offset as usize).checked_sub(HEADERS));
        let part = offset.and_then(|offset| describe::part(kind, attributes, offset));
        // An anonymous set comes in front of the rule that it is for, and has no name yet.
        if describe::is_about_anonymous_set(kind, attributes) {
            let mut later = (operation as usize + 1..self.starts.len()).filter_map(|index| self.message(index));
            if let Some((kind, attributes)) = later.find(|(kind, _)| *kind == SUBSYSTEM | message::NEW_RULE) {
                // Keys that are no ports would read as addresses.
                let port = part.filter(|part| part.starts_with("port ")).map(|port| port + " of ");
                return (describe::operation(kind, attributes), Some(port.unwrap_or_default() + "its anonymous set"));
            }
        }
        (describe::operation(kind, attributes), part)
    }

    /// The kind and the attributes of a message.
    fn message(&self, index: usize) -> Option<(u16, &[u8])> {
        let start = *self.starts.get(index)?;
        let end = self.starts.get(index + 1).copied().unwrap_or(self.bytes.len());
        let message = &self.bytes[start..end];
        Some((u16::from_ne_bytes([message[4], message[5]]), &message[HEADERS..]))
    }
}
