//! Declarations of sets and maps.

use policy_compiler::cidr::Family;
use policy_compiler::ruleset::{Comment, SetShape};

use super::attribute::{self, Writer};
use super::userdata::{self, KeyOrder};

const ANONYMOUS: u32 = 1;
const CONSTANT: u32 = 2;
const INTERVAL: u32 = 4;
const MAP: u32 = 8;
/// The data type that stands for verdicts.
const VERDICTS: u32 = 0xffff_ff00;

const SHAPES: [SetShape; 6] = [
    SetShape::Addresses,
    SetShape::CountedAddresses,
    SetShape::Ranges,
    SetShape::AddressPairs,
    SetShape::AddressPorts,
    SetShape::Verdicts,
];

/// What one field of a key is. The numbers are nft's, not the kernel's: they only make `nft list` name the type.
#[derive(Clone, Copy)]
enum KeyType {
    Ipv4 = 7,
    Ipv6 = 8,
    Protocol = 12,
    Port = 13,
    CtState = 26,
    Icmpv6Type = 29,
}

impl KeyType {
    fn length(self) -> u32 {
        match self {
            Self::Protocol | Self::Icmpv6Type => 1,
            Self::Port => 2,
            Self::Ipv4 | Self::CtState => 4,
            Self::Ipv6 => 16,
        }
    }
}

/// What a set is, but for its name, comment and elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Declaration {
    flags: u32,
    /// nft packs the types of a concatenation into 6 bits each.
    key_type: u32,
    key_length: u32,
    counter: bool,
}

impl Declaration {
    fn new(flags: u32, key: &[KeyType]) -> Self {
        let key_length = match key {
            [one] => one.length(),
            many => many.iter().map(|field| field.length().next_multiple_of(4)).sum(),
        };
        let key_type = key.iter().fold(0, |packed, field| packed << 6 | *field as u32);
        Self { flags, key_type, key_length, counter: false }
    }

    /// How a named set of a shape is declared.
    pub(crate) fn of(shape: SetShape, family: Family) -> Self {
        let address = match family {
            Family::V4 => KeyType::Ipv4,
            Family::V6 => KeyType::Ipv6,
        };
        match shape {
            SetShape::Addresses => Self::new(0, &[address]),
            SetShape::CountedAddresses => Self { counter: true, ..Self::new(0, &[address]) },
            SetShape::Ranges => Self::new(INTERVAL, &[address]),
            SetShape::AddressPairs => Self::new(0, &[address, address]),
            SetShape::AddressPorts => Self::new(0, &[address, KeyType::Protocol, KeyType::Port]),
            SetShape::Verdicts => Self::new(MAP, &[address]),
        }
    }

    /// An anonymous map of connection states.
    pub(crate) fn inline_states() -> Self {
        Self::new(ANONYMOUS | CONSTANT | MAP, &[KeyType::CtState])
    }

    /// An anonymous set of ICMPv6 types.
    pub(crate) fn inline_icmpv6_types() -> Self {
        Self::new(ANONYMOUS | CONSTANT, &[KeyType::Icmpv6Type])
    }

    /// An anonymous set of ports: a hash, unless there are ranges among them.
    pub(crate) fn inline_ports(ranges: bool) -> Self {
        Self::new(ANONYMOUS | CONSTANT | if ranges { INTERVAL } else { 0 }, &[KeyType::Port])
    }

    pub(crate) fn is_map(self) -> bool {
        self.flags & MAP != 0
    }

    pub(crate) fn is_anonymous(self) -> bool {
        self.flags & ANONYMOUS != 0
    }

    pub(crate) fn flags(self) -> u32 {
        self.flags
    }

    /// The shape that is declared so; none for a set that this crate never declares.
    pub(crate) fn shape(self) -> Option<(SetShape, Family)> {
        let mut all = SHAPES.into_iter().flat_map(|shape| Family::BOTH.map(|family| (shape, family)));
        all.find(|(shape, family)| Self::of(*shape, *family) == self)
    }

    fn key_order(self) -> KeyOrder {
        match self.key_type {
            state if state == KeyType::CtState as u32 => KeyOrder::Host,
            single if single < 1 << 6 => KeyOrder::Network,
            _ => KeyOrder::None,
        }
    }

    /// Writes the attributes of NEWSET. `size` is told for anonymous sets, as nft does, so that the kernel can pick
    /// the cheapest kind.
    pub(crate) fn write(self, w: &mut Writer<'_>, table: &str, name: &str, set: NewSet<'_>) {
        w.text(1, table);
        w.text(2, name);
        w.be32(3, self.flags);
        w.be32(4, self.key_type);
        w.be32(5, self.key_length);
        if self.is_map() {
            w.be32(6, VERDICTS);
            w.be32(7, 0);
        }
        w.be32(10, set.id);
        if let Some(size) = set.size {
            w.nest(9, |w| w.be32(1, size));
        }
        w.raw(13, &userdata::set(self.key_order(), self.is_map(), set.comment));
        if self.counter {
            w.nest(17, |w| {
                w.text(1, "counter");
                w.nest(2, |_| ());
            });
        }
    }

    /// Reads the attributes of a dumped set.
    pub(crate) fn read(attributes: &[u8]) -> Self {
        let number = |kind| attribute::find(attributes, kind).and_then(|a| a.as_be32()).unwrap_or(0);
        let counter = attribute::text(attribute::value(attributes, 17), 1) == "counter";
        Self { flags: number(3), key_type: number(4), key_length: number(5), counter }
    }
}

/// What else NEWSET says.
#[derive(Clone, Copy)]
pub(crate) struct NewSet<'c> {
    /// Unique in the transaction.
    pub(crate) id: u32,
    /// How many elements an anonymous set has.
    pub(crate) size: Option<u32>,
    pub(crate) comment: Option<&'c Comment>,
}
