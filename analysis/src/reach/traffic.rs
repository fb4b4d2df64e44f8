//! A set of traffic: ports of each protocol, and whatever has no ports.

use std::fmt;

use policy_compiler::model::Protocol;
use policy_compiler::verdict::Traffic;

/// Ports by protocol, in any number of ranges, and whether protocols without ports belong to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrafficSet {
    /// Of each of [`Protocol::ALL`], disjoint, ascending, neighbours joined.
    ports: [Vec<(u16, u16)>; 3],
    other: bool,
}

const ALL_PORTS: (u16, u16) = (1, u16::MAX);

impl TrafficSet {
    /// All traffic.
    pub fn everything() -> Self {
        Self { ports: [(); 3].map(|()| vec![ALL_PORTS]), other: true }
    }

    /// A set of these ranges, which must ascend and be disjoint, a list for each of [`Protocol::ALL`].
    pub(super) fn new(mut ports: [Vec<(u16, u16)>; 3], other: bool) -> Self {
        for ranges in &mut ports {
            ranges.dedup_by(|next, last| {
                let joined = last.1.checked_add(1) == Some(next.0);
                if joined {
                    last.1 = next.1;
                }
                joined
            });
        }
        Self { ports, other }
    }

    /// Whether nothing belongs to it.
    pub fn is_empty(&self) -> bool {
        !self.other && self.ports.iter().all(Vec::is_empty)
    }

    /// Whether everything belongs to it.
    pub fn is_everything(&self) -> bool {
        *self == Self::everything()
    }

    /// Whether this traffic belongs to it.
    pub fn contains(&self, traffic: Traffic) -> bool {
        match traffic {
            Traffic::Port(protocol, port) => {
                self.ports(protocol).iter().any(|(first, last)| (*first..=*last).contains(&port))
            }
            Traffic::Other(_) => self.other,
        }
    }

    /// The ports of a protocol that belong to it: disjoint ranges, both ends included, ascending.
    pub fn ports(&self, protocol: Protocol) -> &[(u16, u16)] {
        let [tcp, udp, sctp] = &self.ports;
        match protocol {
            Protocol::Tcp => tcp,
            Protocol::Udp => udp,
            Protocol::Sctp => sctp,
        }
    }

    /// Something that belongs to it, a port rather than what has none.
    pub fn first(&self) -> Option<Traffic> {
        let ports = Protocol::ALL
            .into_iter()
            .flat_map(|protocol| self.ports(protocol).iter().map(move |range| (protocol, range)));
        let port = ports.map(|(protocol, (first, _))| Traffic::Port(protocol, *first)).next();
        port.or(self.other.then_some(Traffic::Other(1)))
    }

    /// Whether protocols that have no ports, such as ICMP, belong to it.
    pub fn other(&self) -> bool {
        self.other
    }

    /// All that does not belong to it.
    pub fn complement(&self) -> Self {
        let gaps = |ranges: &Vec<(u16, u16)>| {
            let mut gaps = Vec::new();
            let mut next = ALL_PORTS.0;
            for (first, last) in ranges {
                if *first > next {
                    gaps.push((next, first - 1));
                }
                match last.checked_add(1) {
                    Some(behind) => next = behind,
                    None => return gaps,
                }
            }
            gaps.push((next, ALL_PORTS.1));
            gaps
        };
        Self { ports: self.ports.each_ref().map(gaps), other: !self.other }
    }

    fn ranges(&self) -> usize {
        self.ports.iter().map(Vec::len).sum()
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for protocol in Protocol::ALL {
            let ranges = self.ports(protocol);
            match ranges {
                [] => continue,
                [ALL_PORTS] => write!(f, "{separator}all {protocol}")?,
                _ => write!(f, "{separator}{protocol} ")?,
            }
            separator = ", ";
            if ranges == [ALL_PORTS] {
                continue;
            }
            for (index, (first, last)) in ranges.iter().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                if first == last { write!(f, "{comma}{first}")? } else { write!(f, "{comma}{first}-{last}")? }
            }
        }
        if self.other {
            write!(f, "{separator}other protocols")?;
        }
        Ok(())
    }
}

impl fmt::Display for TrafficSet {
    /// `TCP 80,443,8000-8100, all UDP`; what is nearly everything is said by what it lacks.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        if self.is_everything() {
            return f.write_str("everything");
        }
        let rest = self.complement();
        if self.other && rest.ranges() < self.ranges() {
            f.write_str("everything but ")?;
            return rest.write(f);
        }
        self.write(f)
    }
}
