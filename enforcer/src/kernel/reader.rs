//! Listings only: what may take a while, for another thread than the writer's.

use std::net::IpAddr;

use policy_compiler::cidr::Family;
use policy_compiler::model::Direction;
use policy_compiler::plan::denied_counters;
use policy_compiler::ruleset::Name;

use super::observed::Observed;
use super::read::{self, there};
use super::{KernelError, NetlinkError};
use crate::netlink::attribute;
use crate::netlink::batch::{FAMILY_ANY, message};
use crate::netlink::element;
use crate::netlink::socket::{Entry, NetlinkSocket};

/// Reads the table, and the names of all others, over a socket of its own. It changes nothing and owns nothing.
pub struct Reader {
    socket: NetlinkSocket,
    table: Name,
}

/// What was denied to one pod's address, in one direction, since the address was first isolated there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denied {
    /// The pod's address.
    pub address: IpAddr,
    /// Ingress: packets to it. Egress: packets from it.
    pub direction: Direction,
    /// How many packets.
    pub packets: u64,
    /// Their length from the IP header on.
    pub bytes: u64,
}

/// Any table of the network namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedTable {
    /// As nft calls it: `inet`, `ip`, `ip6`, `arp`, `bridge`, `netdev`.
    pub family: &'static str,
    /// The table's name.
    pub name: String,
}

/// Any chain of the network namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedChain {
    /// The table that it is in.
    pub table: ListedTable,
    /// The chain's name.
    pub name: String,
}

impl Reader {
    /// Opens the socket. The network namespace is that of the calling thread; the reader may then move to any other.
    ///
    /// # Errors
    /// When there can be no netlink socket.
    pub fn open(table: impl Into<Name>) -> Result<Self, KernelError> {
        Ok(Self { socket: NetlinkSocket::open()?, table: table.into() })
    }

    /// Reads the whole table; none if there is no such table. Where the writer commits at the same time, parts of the
    /// reading may be older than others: what it differs in then means nothing.
    ///
    /// # Errors
    /// When the kernel cannot be asked; [`KernelError::NotPermitted`] without CAP_NET_ADMIN, as for all others.
    pub fn read(&mut self) -> Result<Option<Observed>, KernelError> {
        Ok(read::table(&mut self.socket, &self.table)?)
    }

    /// What every isolated pod was denied, by address and direction. Nothing where there is no table.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn denied(&mut self) -> Result<Vec<Denied>, KernelError> {
        let mut all = Vec::new();
        for direction in Direction::BOTH {
            for family in Family::BOTH {
                let set = denied_counters(direction, family);
                let listed = there(read::elements(&mut self.socket, &self.table, &set))?.unwrap_or_default();
                let counted = read::each_of(&listed).filter_map(element::counted);
                all.extend(counted.map(|(address, packets, bytes)| Denied { address, direction, packets, bytes }));
            }
        }
        Ok(all)
    }

    /// All tables of the network namespace, of all families.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn tables(&mut self) -> Result<Vec<ListedTable>, KernelError> {
        Ok(self.list(message::GET_TABLE)?.iter().map(listed_table).collect())
    }

    /// All chains of all tables of the network namespace.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn chains(&mut self) -> Result<Vec<ListedChain>, KernelError> {
        let chain = |entry: &Entry| ListedChain {
            table: listed_table(entry),
            name: attribute::text(&entry.attributes, 3).to_owned(),
        };
        Ok(self.list(message::GET_CHAIN)?.iter().map(chain).collect())
    }

    /// How many transactions this network namespace has seen, of any table, anybody's.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn generation(&mut self) -> Result<u32, KernelError> {
        Ok(self.socket.generation()?)
    }

    fn list(&mut self, kind: u16) -> Result<Vec<Entry>, NetlinkError> {
        self.socket.dump_settled(kind, FAMILY_ANY, |_| ())
    }
}

/// Tables and what is in them name the table alike.
fn listed_table(entry: &Entry) -> ListedTable {
    let family = match entry.family {
        1 => "inet",
        2 => "ip",
        3 => "arp",
        5 => "netdev",
        7 => "bridge",
        10 => "ip6",
        _ => "unknown",
    };
    ListedTable { family, name: attribute::text(&entry.attributes, 1).to_owned() }
}
