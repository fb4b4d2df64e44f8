//! Elements of sets and maps, to the kernel and back.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use policy_compiler::cidr::{Family, IpRange};
use policy_compiler::model::Protocol;
use policy_compiler::ruleset::{Element, Key, PortRange, SetShape, Verdict};

use super::attribute::{self, Writer};
use super::expression::{write_value, write_verdict};
use super::userdata;

/// An interval's end is an element of its own: the first key behind it, with this flag.
const INTERVAL_END: u32 = 1;

/// Key bytes without an allocation: two IPv6 addresses at most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyBytes {
    bytes: [u8; 32],
    length: u8,
}

impl KeyBytes {
    /// The first 32 bytes count.
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self { bytes: [0; 32], length: 0 }.push(bytes)
    }

    fn address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::new(&address.octets()),
            IpAddr::V6(address) => Self::new(&address.octets()),
        }
    }

    /// Appends a field of a concatenation, padded to 4 bytes as all of them are, the last too.
    fn and(self, bytes: &[u8]) -> Self {
        let pushed = self.push(bytes);
        Self { length: pushed.length.next_multiple_of(4), ..pushed }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    fn push(mut self, bytes: &[u8]) -> Self {
        let start = usize::from(self.length);
        let end = (start + bytes.len()).min(self.bytes.len());
        self.bytes[start..end].copy_from_slice(&bytes[..end - start]);
        self.length = end as u8;
        self
    }

    /// The next value of the key as a big-endian number, or none behind the last one.
    fn successor(mut self) -> Option<Self> {
        for byte in self.bytes[..usize::from(self.length)].iter_mut().rev() {
            let (sum, carried) = byte.overflowing_add(1);
            *byte = sum;
            if !carried {
                return Some(self);
            }
        }
        None
    }
}

/// One element as the kernel stores it. An interval is two of them: its start, and the first value behind it.
#[derive(Clone, Copy)]
pub(crate) struct RawElement<'r> {
    key: KeyBytes,
    end: bool,
    open: bool,
    verdict: Option<&'r Verdict>,
}

impl<'r> RawElement<'r> {
    pub(crate) fn new(key: &[u8]) -> Self {
        Self { key: KeyBytes::new(key), end: false, open: false, verdict: None }
    }

    pub(crate) fn with_verdict(self, verdict: &'r Verdict) -> Self {
        Self { verdict: Some(verdict), ..self }
    }

    pub(crate) fn of(element: &'r Element) -> impl Iterator<Item = Self> + use<'r> {
        let key = match element.key {
            Key::Address(address) => KeyBytes::address(address),
            Key::Pair(address) => {
                let bytes = KeyBytes::address(address);
                bytes.and(bytes.as_bytes())
            }
            Key::Port(address, protocol, port) => {
                KeyBytes::address(address).and(&[protocol.number()]).and(&port.to_be_bytes())
            }
            Key::Range(IpRange { first, last }) => {
                let [start, end] = Self::range(KeyBytes::address(first), KeyBytes::address(last));
                return start.into_iter().chain(end);
            }
        };
        Some(Self { key, end: false, open: false, verdict: element.verdict.as_ref() }).into_iter().chain(None)
    }

    pub(crate) fn port_range(ports: PortRange) -> impl Iterator<Item = Self> + use<'r> {
        let [start, end] =
            Self::range(KeyBytes::new(&ports.first.to_be_bytes()), KeyBytes::new(&ports.last.to_be_bytes()));
        start.into_iter().chain(end)
    }

    /// The one or two elements of an inclusive range.
    fn range(first: KeyBytes, last: KeyBytes) -> [Option<Self>; 2] {
        let behind = last.successor();
        let start = Self { key: first, end: false, open: behind.is_none(), verdict: None };
        [Some(start), behind.map(|key| Self { key, end: true, open: false, verdict: None })]
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        w.nest(1, |w| {
            if self.end {
                w.be32(3, INTERVAL_END);
            }
            write_value(w, 1, self.key.as_bytes());
            if let Some(verdict) = self.verdict {
                write_verdict(w, verdict);
            }
            if self.open {
                w.raw(6, &userdata::open_range());
            }
        });
    }
}

/// An element as the kernel dumps it. A verdict that this crate never writes reads as none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DumpedElement {
    pub(crate) key: Vec<u8>,
    /// At equal keys the end of one interval comes before the start of the next.
    pub(crate) start: bool,
    pub(crate) verdict: Option<Verdict>,
}

impl DumpedElement {
    /// Reads the attributes of one element, received or sent.
    pub(crate) fn read(element: &[u8]) -> Self {
        let flags = attribute::find(element, 3).and_then(|a| a.as_be32()).unwrap_or(0);
        Self {
            key: attribute::value(attribute::value(element, 1), 1).to_vec(),
            start: flags & INTERVAL_END == 0,
            verdict: read_verdict(attribute::value(attribute::value(element, 2), 2)),
        }
    }

    /// nft closes the space below the first interval with an end at zero, which says nothing.
    pub(crate) fn is_void(&self) -> bool {
        !self.start && self.key.iter().all(|byte| *byte == 0)
    }
}

/// What a counting set has counted of one address: packets and bytes.
pub(crate) fn counted(element: &[u8]) -> Option<(IpAddr, u64, u64)> {
    let key = attribute::value(attribute::value(element, 1), 1);
    let counter = attribute::value(attribute::value(element, 7), 2);
    let number = |kind| attribute::find(counter, kind)?.as_be64();
    Some((address(key)?, number(2)?, number(1)?))
}

/// `VERDICT { CODE, CHAIN }`.
fn read_verdict(verdict: &[u8]) -> Option<Verdict> {
    let chain = || attribute::text(verdict, 2).into();
    match attribute::find(verdict, 1)?.as_be32()? as i32 {
        0 => Some(Verdict::Drop),
        1 => Some(Verdict::Accept),
        -3 => Some(Verdict::Jump(chain())),
        -4 => Some(Verdict::Goto(chain())),
        -5 => Some(Verdict::Return),
        _ => None,
    }
}

/// Elements as the compiler names them; none if one of them can be no element of such a set.
pub(crate) fn decode(shape: SetShape, family: Family, mut dumped: Vec<DumpedElement>) -> Option<BTreeSet<Element>> {
    if shape == SetShape::Ranges {
        dumped.retain(|element| !element.is_void());
        dumped.sort_unstable();
        return decode_ranges(family, &dumped);
    }
    dumped.into_iter().map(|element| decode_one(shape, family, element)).collect()
}

fn decode_one(shape: SetShape, family: Family, element: DumpedElement) -> Option<Element> {
    let (first, rest) = element.key.split_at_checked(usize::from(family.bits() / 8))?;
    let address = address(first)?;
    let key = match (shape, rest) {
        (SetShape::Addresses | SetShape::CountedAddresses | SetShape::Verdicts, []) => Key::Address(address),
        (SetShape::AddressPairs, second) if first == second => Key::Pair(address),
        (SetShape::AddressPorts, [number, _, _, _, high, low, _, _]) => {
            let protocol = Protocol::ALL.into_iter().find(|protocol| protocol.number() == *number)?;
            Key::Port(address, protocol, u16::from_be_bytes([*high, *low]))
        }
        _ => return None,
    };
    let fits = element.verdict.is_some() == (shape == SetShape::Verdicts);
    fits.then_some(Element { key, verdict: element.verdict })
}

/// Pairs every start with the end that follows it; only the last interval may go without, and reaches the top.
fn decode_ranges(family: Family, dumped: &[DumpedElement]) -> Option<BTreeSet<Element>> {
    let mut ranges = BTreeSet::new();
    let mut rest = dumped.iter().peekable();
    while let Some(start) = rest.next() {
        let first = address(&start.key).filter(|first| start.start && Family::of(*first) == family)?;
        let last = match rest.next_if(|next| !next.start) {
            Some(end) => predecessor(address(&end.key)?)?,
            None if rest.peek().is_none() => address(&vec![0xff; start.key.len()])?,
            None => return None,
        };
        ranges.insert(Element::new(Key::Range(IpRange { first, last })));
    }
    Some(ranges)
}

fn predecessor(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => Some(Ipv4Addr::from_bits(address.to_bits().checked_sub(1)?).into()),
        IpAddr::V6(address) => Some(Ipv6Addr::from_bits(address.to_bits().checked_sub(1)?).into()),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// A key in words, told by its length alone: for messages about elements at fault.
pub(crate) struct KeyText<'a>(pub(crate) &'a [u8]);

impl fmt::Display for KeyText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let both = |f: &mut fmt::Formatter<'_>, (first, second): (&[u8], &[u8])| match (address(first), address(second))
        {
            (Some(first), Some(second)) => write!(f, "{first} . {second}"),
            _ => Err(fmt::Error),
        };
        match (self.0.len(), address(self.0)) {
            (_, Some(address)) => address.fmt(f),
            (2, _) => write!(f, "port {}", u16::from_be_bytes([self.0[0], self.0[1]])),
            (8, _) => both(f, self.0.split_at(4)),
            (32, _) => both(f, self.0.split_at(16)),
            (length @ (12 | 24), _) => {
                let (first, rest) = self.0.split_at(length - 8);
                let Some(address) = address(first) else { return Err(fmt::Error) };
                let protocol = Protocol::ALL.into_iter().find(|protocol| protocol.number() == rest[0]);
                let name = protocol.map_or("?", Protocol::name).to_ascii_lowercase();
                write!(f, "{address} . {name} . {}", u16::from_be_bytes([rest[4], rest[5]]))
            }
            _ => self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}
