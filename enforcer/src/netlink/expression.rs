//! The kernel's rule instructions, one variant each, and how each is written.
//!
//! Attributes stand in the order in which the kernel dumps them, with the defaults that it adds, so that a dump gives
//! back the bytes that were sent. Two things differ by nature: the values of counters, and names of anonymous sets.

use policy_compiler::ruleset::Verdict;

use super::attribute::Writer;

/// The 16-byte register every value is loaded into. A longer key goes on into the registers behind it.
pub(crate) const KEY: u32 = 1;
/// Writing here ends the rule with a verdict.
const VERDICT: u32 = 0;

/// Names of anonymous sets; the kernel replaces %d by a number of its own.
pub(crate) const INLINE_SET: &str = "__set%d";
pub(crate) const INLINE_MAP: &str = "__map%d";

/// The register that holds byte `offset` of a concatenated key: whole 16-byte registers have their own numbers
/// (1..4), every other 4-byte slot is counted from 8.
pub(crate) fn register_at(offset: u32) -> u32 {
    let slot = offset / 4;
    if slot.is_multiple_of(4) { KEY + slot / 4 } else { 8 + slot }
}

/// Bytes that a value is masked or compared with: at most one register of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Constant {
    bytes: [u8; 16],
    length: u8,
}

impl Constant {
    /// The first 16 bytes count.
    pub(crate) fn new(value: &[u8]) -> Self {
        let mut bytes = [0; 16];
        let length = value.len().min(bytes.len());
        bytes[..length].copy_from_slice(&value[..length]);
        Self { bytes, length: length as u8 }
    }

    /// The same bytes, and zeros up to 16: how the kernel keeps interface names.
    pub(crate) fn padded(value: &[u8]) -> Self {
        Self { length: 16, ..Self::new(value) }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meta {
    InputInterface = 6,
    OutputInterface = 7,
    Family = 15,
    Protocol = 16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ct {
    State = 0,
    Direction = 1,
    Status = 2,
    Mark = 3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    Network = 1,
    Transport = 2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compare {
    Equal = 0,
    NotEqual = 1,
    AtMost = 3,
    AtLeast = 5,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetName<'r> {
    Named(&'r str),
    /// The n-th anonymous set of the same rule. The kernel names it; until then only its number tells it apart.
    Inline(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expression<'r> {
    LoadMeta { key: Meta, into: u32 },
    LoadCt(Ct),
    LoadPayload { header: Header, offset: u32, length: u32, into: u32 },
    Mask { mask: Constant, xor: Constant },
    Compare { how: Compare, with: Constant },
    Lookup { set: SetName<'r>, verdict_map: bool },
    SetCtMark,
    Verdict(&'r Verdict),
    Counter,
    Limit { per_second: u64, burst: u32 },
    Log { prefix: &'r str, group: u16, snaplen: u32 },
    RejectTcpReset,
    RejectAdminProhibited,
}

impl Expression<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::LoadMeta { .. } => "meta",
            Self::LoadCt(_) | Self::SetCtMark => "ct",
            Self::LoadPayload { .. } => "payload",
            Self::Mask { .. } => "bitwise",
            Self::Compare { .. } => "cmp",
            Self::Lookup { .. } => "lookup",
            Self::Verdict(_) => "immediate",
            Self::Counter => "counter",
            Self::Limit { .. } => "limit",
            Self::Log { .. } => "log",
            Self::RejectTcpReset | Self::RejectAdminProhibited => "reject",
        }
    }

    /// Writes `LIST_ELEM { NAME, DATA { .. } }`. The rule's anonymous sets are numbered from `first_inline` on.
    pub(crate) fn write(&self, w: &mut Writer<'_>, first_inline: u32) {
        w.nest(1, |w| {
            w.text(1, self.name());
            w.nest(2, |w| self.write_data(w, first_inline));
        });
    }

    fn write_data(&self, w: &mut Writer<'_>, first_inline: u32) {
        match self {
            Self::LoadMeta { key, into } => {
                w.be32(2, *key as u32);
                w.be32(1, *into);
            }
            Self::LoadCt(key) => {
                w.be32(1, KEY);
                w.be32(2, *key as u32);
            }
            Self::SetCtMark => {
                w.be32(4, KEY);
                w.be32(2, Ct::Mark as u32);
            }
            Self::LoadPayload { header, offset, length, into } => {
                w.be32(1, *into);
                w.be32(2, *header as u32);
                w.be32(3, *offset);
                w.be32(4, *length);
            }
            Self::Mask { mask, xor } => {
                w.be32(1, KEY);
                w.be32(2, KEY);
                w.be32(3, mask.length.into());
                w.be32(6, 0); // mask and xor, as against shifts
                write_value(w, 4, mask.as_bytes());
                write_value(w, 5, xor.as_bytes());
            }
            Self::Compare { how, with } => {
                w.be32(1, KEY);
                w.be32(2, *how as u32);
                write_value(w, 3, with.as_bytes());
            }
            Self::Lookup { set, verdict_map } => {
                match set {
                    SetName::Named(name) => w.text(1, name),
                    SetName::Inline(n) => {
                        w.text(1, if *verdict_map { INLINE_MAP } else { INLINE_SET });
                        w.be32(4, first_inline + n);
                    }
                }
                w.be32(2, KEY);
                if *verdict_map {
                    w.be32(3, VERDICT);
                }
                w.be32(5, 0); // not negated
            }
            Self::Verdict(verdict) => {
                w.be32(1, VERDICT);
                write_verdict(w, verdict);
            }
            Self::Counter => {
                w.be64(1, 0);
                w.be64(2, 0);
            }
            Self::Limit { per_second, burst } => {
                w.be64(1, *per_second);
                w.be64(2, 1); // the unit: one second
                w.be32(3, *burst);
                w.be32(4, 0); // packets, not bytes
                w.be32(5, 0); // up to the rate, not over it
            }
            Self::Log { prefix, group, snaplen } => {
                w.text(2, prefix);
                w.be16(1, *group);
                w.be32(3, *snaplen); // left out it would mean all of the packet, and zero does not
            }
            Self::RejectTcpReset => w.be32(1, 1),
            Self::RejectAdminProhibited => {
                w.be32(1, 2); // icmpx: of the packet's own family
                w.u8(2, 3);
            }
        }
    }
}

/// `DATA { VERDICT { CODE, CHAIN } }`, in rules and in map elements alike.
pub(crate) fn write_verdict(w: &mut Writer<'_>, verdict: &Verdict) {
    let code: i32 = match verdict {
        Verdict::Drop => 0,
        Verdict::Accept => 1,
        Verdict::Jump(_) => -3,
        Verdict::Goto(_) => -4,
        Verdict::Return => -5,
    };
    w.nest(2, |w| {
        w.nest(2, |w| {
            w.raw(1, &code.to_be_bytes());
            if let Some(chain) = verdict.chain() {
                w.text(2, chain);
            }
        });
    });
}

/// `attribute { VALUE }`: how a constant travels wherever the kernel takes one.
pub(crate) fn write_value(w: &mut Writer<'_>, attribute: u16, bytes: &[u8]) {
    w.nest(attribute, |w| w.raw(1, bytes));
}
