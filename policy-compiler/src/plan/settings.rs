//! What an operator may choose of the data plane.

use std::fmt;
use std::str::FromStr;

use crate::ruleset::{InterfaceName, Name};

/// The data plane's settings. Equal settings and clusters give equal plans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The table's name.
    pub table: Name,
    /// The bits of the connection mark that hold the generation.
    pub mark_mask: MarkMask,
    /// The interfaces that pods, and nothing else, are behind: the pods' bridge, or the prefix of their veths.
    pub pod_interfaces: Vec<InterfaceName>,
    /// What happens to packets on a pod interface that no known pod sent or receives.
    pub unknown_pods: UnknownPods,
    /// What becomes of a denied packet.
    pub denial: Denial,
    /// Copies of denied packets for a listener; `None` for none.
    pub drop_log: Option<DropLog>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            table: "podwall".into(),
            mark_mask: MarkMask::default(),
            pod_interfaces: Vec::new(),
            unknown_pods: UnknownPods::default(),
            denial: Denial::default(),
            drop_log: Some(DropLog::default()),
        }
    }
}

/// What happens to packets from or to an address on a pod interface that belongs to no known pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownPods {
    /// They pass, as without Podwall.
    #[default]
    Accept,
    /// They are dropped: a pod has no network before it is known, and none under addresses that are not its own,
    /// link-local, multicast and broadcast included. Needs pod interfaces.
    Drop,
}

/// What becomes of a denied packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Denial {
    /// Nothing answers; the sender runs into its own timeout.
    #[default]
    Drop,
    /// A TCP reset, or an ICMP error saying that it is prohibited.
    Reject,
}

/// Copies of denied packets, by nflog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropLog {
    /// The nflog group.
    pub group: u16,
    /// Packets per second and direction.
    pub per_second: u32,
    /// Packets at once.
    pub burst: u32,
    /// Bytes of each packet.
    pub snaplen: u32,
}

impl Default for DropLog {
    /// Unlimited copies to a listener cost more than half as much again as the drop itself; 100 a second do not.
    fn default() -> Self {
        Self { group: 100, per_second: 100, burst: 100, snaplen: 96 }
    }
}

/// Neighbouring bits of the connection mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkMask(u32);

/// Why a number is no mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a number of neighbouring set bits, at least two, such as 0xfff00000")]
pub struct MarkMaskError;

impl MarkMask {
    /// A mask of these bits.
    ///
    /// # Errors
    /// When they are fewer than two, or not neighbours.
    pub fn new(bits: u32) -> Result<Self, MarkMaskError> {
        let run = bits.checked_shr(bits.trailing_zeros()).unwrap_or(0);
        if run.count_ones() >= 2 && run & run.wrapping_add(1) == 0 { Ok(Self(bits)) } else { Err(MarkMaskError) }
    }

    /// The bits.
    pub fn bits(self) -> u32 {
        self.0
    }

    fn highest(self) -> u32 {
        self.0 >> self.0.trailing_zeros()
    }
}

impl Default for MarkMask {
    /// The top 12 bits.
    fn default() -> Self {
        Self(0xfff0_0000)
    }
}

impl FromStr for MarkMask {
    type Err = MarkMaskError;

    fn from_str(text: &str) -> Result<Self, MarkMaskError> {
        let bits = match text.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => text.parse(),
        };
        Self::new(bits.map_err(|_| MarkMaskError)?)
    }
}

impl fmt::Display for MarkMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

/// How often policy has been tightened: connections that carry another number are judged again (rule 133).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(u32);

impl Generation {
    /// What a fresh table starts with. 0 is never used: it is what connections carry that were never judged.
    pub const FIRST: Self = Self(1);

    /// The one after it; behind the mask's highest number comes 1 again.
    #[must_use]
    pub fn next(self, mask: MarkMask) -> Self {
        if self.0 >= mask.highest() { Self::FIRST } else { Self(self.0 + 1) }
    }

    /// One that depends on a number; what counts on by one comes past all of them.
    pub fn numbered(number: u64, mask: MarkMask) -> Self {
        Self(1 + (number % u64::from(mask.highest())) as u32)
    }

    /// As it stands in the connection mark.
    pub fn value(self, mask: MarkMask) -> u32 {
        (self.0 << mask.0.trailing_zeros()) & mask.0
    }

    /// Read from a connection mark; none where the mark carries no generation.
    pub fn from_value(value: u32, mask: MarkMask) -> Option<Self> {
        let number = (value & mask.0) >> mask.0.trailing_zeros();
        (number > 0).then_some(Self(number))
    }

    /// The number itself.
    pub fn number(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_runs_of_bits() {
        for (text, valid) in [
            ("0xfff00000", true),
            ("3", true),
            ("0xffffffff", true),
            ("0", false),
            ("1", false),
            ("5", false),
            ("x", false),
        ] {
            assert_eq!(text.parse::<MarkMask>().is_ok(), valid, "{text}");
        }
    }

    #[test]
    fn generations_count_up_skip_zero_and_come_back() {
        let mask = MarkMask::new(0x0000_0600).unwrap();
        let two = Generation::FIRST.next(mask);
        let three = two.next(mask);
        assert_eq!([Generation::FIRST, two, three].map(|g| g.value(mask)), [0x200, 0x400, 0x600]);
        assert_eq!(three.next(mask), Generation::FIRST);
        assert_eq!([3, 4, 5].map(|number| Generation::numbered(number, mask)), [Generation::FIRST, two, three]);
        assert_eq!(Generation::from_value(0xffff_f9ff, mask), None);
        assert_eq!(Generation::from_value(three.value(mask), mask), Some(three));
    }
}
