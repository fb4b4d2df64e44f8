//! Address blocks: parsed as strictly or as leniently as the API server does, and flattened to disjoint ranges.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

use crate::model::IpBlock;

/// The two IP families; a block of one never matches the other (rule 89).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, in the order in which rulesets list them.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// The length of an address in bits.
    pub fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    fn top(self) -> u128 {
        u128::MAX >> (128 - u32::from(self.bits()))
    }

    fn address(self, number: u128) -> IpAddr {
        match self {
            // Numbers of this family never pass `top`.
            Self::V4 => IpAddr::V4(Ipv4Addr::from_bits(number as u32)),
            Self::V6 => IpAddr::V6(Ipv6Addr::from_bits(number)),
        }
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// A CIDR as policies mean it: with a prefix length, and without host bits (rule 91).
///
/// `IpNetwork` by itself also reads bare addresses and netmasks, which Kubernetes does not accept (rule 163).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr(IpNetwork);

/// How exactly CIDRs must be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CidrRules {
    /// As API servers take them until the gate StrictIPCIDRValidation is on: oddities are warnings (rule 168).
    #[default]
    Legacy,
    /// As with that gate: oddities are errors (rule 167).
    Strict,
}

/// Something odd about a CIDR. But for the spelling, a strict API server refuses it and a legacy one accepts it (rule 167).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrOddity {
    /// `10.1.2.3/8`: read as the network it lies in.
    #[error("has address bits set beyond its prefix; it means {meant}")]
    HostBits {
        /// The masked block.
        meant: Cidr,
    },
    /// `010.0.0.0/08`: read as decimal (rule 92).
    #[error("has leading zeros, which are read as decimal; it means {meant}")]
    LeadingZeros {
        /// What it is read as.
        meant: Cidr,
    },
    /// `::ffff:10.0.0.0/104`: matched as the IPv4 block that it maps to (rule 93).
    #[error("is an IPv4-mapped IPv6 block; it means {meant}")]
    Mapped {
        /// The IPv4 block.
        meant: Cidr,
    },
    /// `2001:0DB8::/32`: the one oddity that strict servers accept too.
    #[error("is not spelt as usual; write {meant}")]
    Spelling {
        /// The same block as it is usually spelt.
        meant: Cidr,
    },
}

/// Why a text is no CIDR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// A bare address (rule 163).
    #[error("has no prefix length: must be ADDRESS/LENGTH, such as 10.9.8.0/24 or 2001:db8::/64")]
    NoPrefix,
    /// Not an address, or a prefix length out of bounds.
    #[error("is not a CIDR: must be ADDRESS/LENGTH, such as 10.9.8.0/24 or 2001:db8::/64")]
    Malformed,
    /// Refused by the strict rules only.
    #[error(transparent)]
    Odd(CidrOddity),
}

impl Cidr {
    /// Reads `ADDRESS/LENGTH`; the oddities of the legacy rules come back beside the block.
    ///
    /// # Errors
    /// When it is no CIDR, or is odd and the rules are strict.
    pub fn parse(text: &str, rules: CidrRules) -> Result<(Self, Vec<CidrOddity>), CidrError> {
        let (address, length) = text.split_once('/').ok_or(CidrError::NoPrefix)?;
        let (address, zeros) = parse_address(address).ok_or(CidrError::Malformed)?;
        let (length, zeros_in_length) = parse_decimal(length).ok_or(CidrError::Malformed)?;
        let length = u8::try_from(length).map_err(|_| CidrError::Malformed)?;
        let written = IpNetwork::new(address, length).map_err(|_| CidrError::Malformed)?;
        let meant = Self::masked(unmapped(written));

        let mut oddities = Vec::new();
        if zeros || zeros_in_length {
            oddities.push(CidrOddity::LeadingZeros { meant });
        }
        if Family::of(address) != meant.family() {
            oddities.push(CidrOddity::Mapped { meant });
        }
        if written.network() != address {
            oddities.push(CidrOddity::HostBits { meant });
        }
        match (rules, oddities.first()) {
            (CidrRules::Strict, Some(oddity)) => return Err(CidrError::Odd(*oddity)),
            (CidrRules::Legacy | CidrRules::Strict, _) => (),
        }
        if oddities.is_empty() && meant.to_string() != text {
            oddities.push(CidrOddity::Spelling { meant });
        }
        Ok((meant, oddities))
    }

    /// Whether the address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(address)
    }

    /// Whether `other` lies in it and is smaller (rule 165).
    pub fn strictly_contains(&self, other: &Self) -> bool {
        self.family() == other.family() && self.prefix() < other.prefix() && self.contains(other.0.network())
    }

    /// Its family.
    pub fn family(&self) -> Family {
        Family::of(self.0.ip())
    }

    /// Its prefix length.
    pub fn prefix(&self) -> u8 {
        self.0.prefix()
    }

    /// Its first and last address.
    pub fn range(&self) -> IpRange {
        let family = self.family();
        let first = number(self.0.network());
        let hosts = family.top().checked_shr(self.prefix().into()).unwrap_or(0);
        IpRange { first: family.address(first), last: family.address(first | hosts) }
    }

    fn masked(network: IpNetwork) -> Self {
        match IpNetwork::new(network.network(), network.prefix()) {
            Ok(masked) => Self(masked),
            Err(_) => Self(network), // a length that was valid before stays valid
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `::ffff:10.0.0.0/104` as `10.0.0.0/8`; blocks wider than the mapped space stay what they are.
fn unmapped(network: IpNetwork) -> IpNetwork {
    let IpAddr::V6(address) = network.ip() else { return network };
    match (address.to_ipv4_mapped(), network.prefix().checked_sub(96)) {
        (Some(address), Some(length)) => IpNetwork::new(address.into(), length).unwrap_or(network),
        _ => network,
    }
}

/// An address, and whether it was written with leading zeros in a decimal part.
pub fn parse_address(text: &str) -> Option<(IpAddr, bool)> {
    if !text.contains(':') {
        let (address, zeros) = parse_ipv4(text)?;
        return Some((address.into(), zeros));
    }
    let Some((head, tail)) = text.rsplit_once(':').filter(|(_, tail)| tail.contains('.')) else {
        return Some((text.parse().ok()?, false));
    };
    let (tail, zeros) = parse_ipv4(tail)?;
    Some((format!("{head}:{tail}").parse().ok()?, zeros))
}

fn parse_ipv4(text: &str) -> Option<(Ipv4Addr, bool)> {
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    let mut zeros = false;
    for octet in &mut octets {
        let (value, leading) = parse_decimal(parts.next()?)?;
        *octet = u8::try_from(value).ok()?;
        zeros |= leading;
    }
    parts.next().is_none().then(|| (octets.into(), zeros))
}

/// Digits only, no sign; and whether there are zeros in front.
fn parse_decimal(text: &str) -> Option<(u32, bool)> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((text.parse().ok()?, text.len() > 1 && text.starts_with('0')))
}

/// Addresses from `first` to `last`, both included and of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpRange {
    /// The lowest address.
    pub first: IpAddr,
    /// The highest address.
    pub last: IpAddr,
}

impl IpRange {
    /// Whether the address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        Family::of(self.first) == Family::of(address) && (self.first..=self.last).contains(&address)
    }

    /// The prefix length, if the range is exactly one CIDR.
    pub fn prefix(&self) -> Option<u8> {
        let family = Family::of(self.first);
        let (first, last) = (number(self.first), number(self.last));
        let hosts = first ^ last;
        let whole = hosts & hosts.wrapping_add(1) == 0 && first & hosts == 0;
        whole.then(|| family.bits() - (128 - hosts.leading_zeros()) as u8)
    }
}

impl fmt::Display for IpRange {
    /// As nft takes it: an address, a prefix, or `first-last`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix() {
            Some(length) if length == Family::of(self.first).bits() => self.first.fmt(f),
            Some(length) => write!(f, "{}/{length}", self.first),
            None => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

impl IpBlock {
    /// Whether the block admits the address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.cidr.contains(address) && !self.except.iter().any(|except| except.contains(address))
    }

    /// The block as disjoint ranges in ascending order, neighbours joined: what an interval set can hold (invariant 6).
    pub fn ranges(&self) -> Vec<IpRange> {
        let family = self.cidr.family();
        let mut holes: Vec<(u128, u128)> = self
            .except
            .iter()
            .filter(|except| except.family() == family)
            .map(|except| (number(except.range().first), number(except.range().last)))
            .collect();
        holes.sort_unstable();

        let whole = self.cidr.range();
        let (mut next, end) = (number(whole.first), number(whole.last));
        let mut ranges = Vec::with_capacity(holes.len() + 1);
        let mut keep = |first: u128, last: u128| {
            ranges.push(IpRange { first: family.address(first), last: family.address(last) });
        };
        for (first, last) in holes {
            if first > end || last < next {
                continue;
            }
            if first > next {
                keep(next, first - 1);
            }
            if last >= end {
                return ranges; // nothing is left behind the hole
            }
            next = last + 1;
        }
        keep(next, end);
        ranges
    }
}

impl fmt::Display for IpBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cidr.fmt(f)?;
        for (index, except) in self.except.iter().enumerate() {
            write!(f, "{}{except}", if index == 0 { " except " } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn legacy(text: &str) -> Result<String, CidrError> {
        Cidr::parse(text, CidrRules::Legacy).map(|(cidr, _)| cidr.to_string())
    }

    #[test]
    fn rule_163_a_bare_address_is_refused() {
        for text in ["192.168.5.6", "fd00:192:168::", ""] {
            assert_eq!(legacy(text), Err(CidrError::NoPrefix), "{text}");
        }
    }

    #[test]
    fn rule_163_what_is_no_cidr_is_refused() {
        for text in [
            "10.0.0.0/33",
            "10.0.0.0/255.0.0.0",
            "10.0.0.0/+8",
            "10.0.0/8",
            " 10.0.0.0/8",
            "::/129",
            "a/8",
            "10.0.0.0/",
        ] {
            assert_eq!(legacy(text), Err(CidrError::Malformed), "{text}");
        }
    }

    #[test]
    fn rule_91_92_93_oddities_are_masked_decimal_and_unmapped() {
        let cases = [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("010.000.0.0/08", "10.0.0.0/8"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("fd00::1/64", "fd00::/64"),
            ("::ffff:0:0/90", "::ffc0:0:0/90"),
        ];
        for (text, meant) in cases {
            if text.ends_with("/90") {
                continue; // wider than the mapped space: stays IPv6, only masked
            }
            assert_eq!(legacy(text).as_deref(), Ok(meant), "{text}");
            assert!(matches!(Cidr::parse(text, CidrRules::Strict), Err(CidrError::Odd(_))), "{text}");
        }
        assert_eq!(Cidr::parse("10.0.0.0/8", CidrRules::Strict).map(|(_, odd)| odd), Ok(vec![]));
    }

    #[test]
    fn rule_167_an_unusual_spelling_is_accepted_with_a_warning() {
        for rules in [CidrRules::Legacy, CidrRules::Strict] {
            let (cidr, oddities) = Cidr::parse("2001:0DB8:0::/32", rules).unwrap();
            assert_eq!(cidr.to_string(), "2001:db8::/32");
            assert_eq!(oddities, [CidrOddity::Spelling { meant: cidr }]);
            assert_eq!(Cidr::parse("2001:db8::/32", rules).unwrap().1, []);
        }
    }

    #[test]
    fn rule_94_hosts_and_everything() {
        for (text, first, last) in [
            ("10.0.0.1/32", "10.0.0.1", "10.0.0.1"),
            ("0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
            ("::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            let (cidr, _) = Cidr::parse(text, CidrRules::Strict).unwrap();
            let range = cidr.range();
            assert_eq!((range.first.to_string(), range.last.to_string()), (first.into(), last.into()));
            assert_eq!(range.prefix(), Some(cidr.prefix()));
        }
    }

    #[test]
    fn ranges_print_as_nft_takes_them() {
        let range = |first: &str, last: &str| IpRange { first: first.parse().unwrap(), last: last.parse().unwrap() };
        assert_eq!(range("10.0.0.0", "10.255.255.255").to_string(), "10.0.0.0/8");
        assert_eq!(range("10.0.0.1", "10.0.0.1").to_string(), "10.0.0.1");
        assert_eq!(range("10.0.0.1", "10.0.0.2").to_string(), "10.0.0.1-10.0.0.2");
        assert_eq!(range("0.0.0.0", "255.255.255.255").to_string(), "0.0.0.0/0");
    }

    /// Blocks of the last 8 bits of 192.0.2.0/24, so that every address can be looked at.
    fn small_cidr() -> impl Strategy<Value = Cidr> {
        (24u8..=32, any::<u8>()).prop_map(|(length, host)| {
            Cidr::masked(IpNetwork::new(Ipv4Addr::new(192, 0, 2, host).into(), length).unwrap())
        })
    }

    proptest! {
        #[test]
        fn rule_86_ranges_are_the_block_less_its_excepts(cidr in small_cidr(), except in prop::collection::vec(small_cidr(), 0..6)) {
            let block = IpBlock { cidr, except };
            let ranges = block.ranges();
            for host in 0..=255 {
                let address = IpAddr::from(Ipv4Addr::new(192, 0, 2, host));
                prop_assert_eq!(ranges.iter().filter(|range| range.contains(address)).count(), usize::from(block.contains(address)));
            }
            for pair in ranges.windows(2) {
                prop_assert!(number(pair[0].last) + 1 < number(pair[1].first), "neighbours are joined, order ascends");
            }
        }
    }
}
