//! One private table in the kernel: committed to, read back, removed; no other table is ever touched.

mod comparison;
mod error;
mod monitor;
mod observed;
mod read;
mod reader;
mod transactions;

pub use crate::netlink::{NetlinkError, Refusal};
pub use error::KernelError;
pub use monitor::{Foreign, Monitor};
pub use observed::{Observed, Repair};
pub use reader::{Denied, ListedChain, ListedTable, Reader};

use std::time::{Duration, Instant};

use nix::errno::Errno;
use policy_compiler::delta::Delta;
use policy_compiler::ruleset::Name;

use crate::netlink::attribute;
use crate::netlink::batch::{Batch, Finished, TABLE_OWNER, TABLE_PERSIST, message};
use crate::netlink::socket::NetlinkSocket;
use transactions::{Division, Transactions};

/// The writer of one table. There must be one only; where the kernel knows table owners (Linux 6.9) a second one is
/// refused. The table and its rules outlive it.
pub struct Kernel {
    socket: NetlinkSocket,
    table: Name,
    /// What the table is created with; 0 once the kernel has refused more.
    flags: u32,
}

/// What a commit took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// Transactions sent.
    pub transactions: usize,
    /// Operations in them.
    pub operations: usize,
    /// Bytes sent.
    pub bytes: usize,
    /// How long deletions took, and waiting for packets before them, when all was in force already.
    pub deleting: Duration,
}

impl Kernel {
    /// Opens the socket; nothing is sent yet. The network namespace is that of the calling thread.
    ///
    /// # Errors
    /// When there can be no netlink socket.
    pub fn open(table: impl Into<Name>) -> Result<Self, KernelError> {
        Ok(Self { socket: NetlinkSocket::open()?, table: table.into(), flags: TABLE_OWNER | TABLE_PERSIST })
    }

    /// The table's name.
    pub fn table(&self) -> &Name {
        &self.table
    }

    /// The number under which a [`Monitor`] knows its transactions.
    pub fn port(&self) -> u32 {
        self.socket.port()
    }

    /// Whether it makes its table one that nobody else can change: not once the kernel has refused that.
    pub(crate) fn makes_owned_tables(&self) -> bool {
        self.flags != 0
    }

    /// Reads the whole table; none if there is no such table. Nothing is taken over.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn read(&mut self) -> Result<Option<Observed>, KernelError> {
        Ok(read::table(&mut self.socket, &self.table)?)
    }

    /// Whether this is the owner of the table, so that nobody else can change it. False where there is no table, where
    /// the kernel knows no owners (before Linux 6.9), and where the table was made without one.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn is_owned(&mut self) -> Result<bool, KernelError> {
        let table = self.table.clone();
        let listed = self.socket.get(message::GET_TABLE, |w| w.text(1, &table))?;
        let owner = listed.and_then(|table| attribute::find(&table, 7)?.as_be32());
        Ok(owner == Some(self.port()))
    }

    /// Carries a change out: all that decides about packets in one transaction. Chains that elements of maps come to lead
    /// to are made in one before it, where a packet on its way would find them empty otherwise. Deletions follow in one
    /// behind it, when all packets have left that may still hold what nothing refers to any more; that takes some
    /// milliseconds, during which the change is in force already. The table is created if it is not there.
    ///
    /// A change larger than the send buffer becomes more transactions: what is new and not led to yet, then all that
    /// decides about packets at once, then single elements of sets that were there.
    ///
    /// # Errors
    /// [`KernelError::Garbage`] when all is in force and only the deletions were refused. Any other refusal leaves the
    /// kernel as it was, but for what nothing leads to, unless the change was larger than the send buffer;
    /// [`NetlinkError::Unconfirmed`] leaves it unknown. In both cases the picture that the change was computed from is
    /// wrong: [`Kernel::read`] before the next commit.
    pub fn commit(&mut self, delta: &Delta) -> Result<Commit, KernelError> {
        if delta.is_empty() { Ok(Commit::default()) } else { self.write(delta, None) }
    }

    /// Makes an observed table what it should be. An empty repair changes nothing, but takes the table over from an
    /// owner that has gone: without one, anybody's flush of the ruleset would remove it.
    ///
    /// # Errors
    /// As [`Kernel::commit`].
    pub fn repair(&mut self, repair: &Repair) -> Result<Commit, KernelError> {
        self.write(&repair.delta, repair.rebuild.as_ref())
    }

    /// Whether there is such a table.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn exists(&mut self) -> Result<bool, KernelError> {
        let name = self.table.clone();
        Ok(self.socket.get(message::GET_TABLE, |w| w.text(1, &name))?.is_some())
    }

    /// Asks the kernel whether it would make an observed table what it should be. Nothing changes, not for a moment, and
    /// nobody is notified. Deletions are not asked about: they decide nothing.
    ///
    /// # Errors
    /// As [`Kernel::commit`] in one transaction; [`NetlinkError::TooLarge`] when that is larger than the send buffer.
    pub fn rehearse(&mut self, repair: &Repair) -> Result<(), KernelError> {
        let mut transactions = Transactions::new(&self.table, self.flags, self.socket.next_sequence(), Division::None);
        transactions.change(&repair.delta, repair.rebuild.as_ref())?;
        let rehearsal = transactions.rehearsal()?;
        match self.send(&rehearsal) {
            Err(error) if self.gives_up_flags(&error) => self.rehearse(repair),
            sent => sent,
        }
    }

    /// Removes the table and nothing else. False: there was none.
    ///
    /// # Errors
    /// [`KernelError::Owned`] when another process owns it.
    pub fn remove(&mut self) -> Result<bool, KernelError> {
        if !self.exists()? {
            return Ok(false);
        }
        let table = self.table.clone();
        let chains = read::chains(&mut self.socket, &table)?;
        let hooked: Vec<_> = chains.into_iter().filter(|(_, kind)| *kind != observed::ChainKind::Regular).collect();
        // A packet on its way through rules whose sets go with them finds these empty, and may be denied for that: the
        // rules let go of packets first.
        let unhooked =
            hooked.is_empty() || self.delete(|batch| hooked.iter().for_each(|(name, _)| batch.delete_chain(name)))?;
        if unhooked && !hooked.is_empty() {
            self.await_packets()?;
        }
        Ok(unhooked && self.delete(|batch| batch.delete_table())?)
    }

    /// Removes a table that nobody writes. False: there was none.
    ///
    /// # Errors
    /// As [`Kernel::remove`].
    pub fn cleanup(table: impl Into<Name>) -> Result<bool, KernelError> {
        Self::open(table)?.remove()
    }

    /// False: it was gone in the meantime.
    fn delete(&mut self, what: impl FnOnce(&mut Batch<'_>)) -> Result<bool, KernelError> {
        let table = self.table.clone();
        let mut batch = Batch::new(&table, self.socket.next_sequence());
        what(&mut batch);
        match self.send(&batch.finish()?) {
            Ok(()) => Ok(true),
            Err(error) if error.errno() == Some(Errno::ENOENT as i32) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, delta: &Delta, rebuild: Option<&observed::Rebuild>) -> Result<Commit, KernelError> {
        let mut commit = Commit::default();
        let transactions = self.encode(|transactions| transactions.change(delta, rebuild))?;
        for (index, batch) in transactions.iter().enumerate() {
            match self.send(batch) {
                Err(error) if index == 0 && self.gives_up_flags(&error) => return self.write(delta, rebuild),
                sent => sent?,
            }
            commit.count(batch);
        }
        if Transactions::has_garbage(delta) {
            let in_force = Instant::now();
            self.collect(delta, &mut commit).map_err(|error| KernelError::Garbage(Box::new(error)))?;
            commit.deleting = in_force.elapsed();
        }
        Ok(commit)
    }

    fn collect(&mut self, delta: &Delta, commit: &mut Commit) -> Result<(), KernelError> {
        self.await_packets()?;
        for batch in self.encode(|transactions| transactions.garbage(delta))? {
            self.send(&batch)?;
            commit.count(&batch);
        }
        Ok(())
    }

    /// Waits until every packet that is on its way now has left the rules, for some milliseconds. A packet that finds
    /// an element and is held up, by the hypervisor for instance, until the chain behind it is deleted would pass.
    fn await_packets(&mut self) -> Result<(), KernelError> {
        // The kernel does so whenever it takes a transaction back (a grace period of RCU, in its `__nf_tables_abort`).
        self.rehearse(&Repair::default())
    }

    /// Whether the table's flags were refused, which are not asked for again: an older kernel, or a table that was
    /// created without them, which can never be given any.
    fn gives_up_flags(&mut self, error: &KernelError) -> bool {
        const TABLE: u32 = 1;
        let KernelError::Netlink(NetlinkError::Refused(refusals)) = error else { return false };
        let refused = self.flags != 0
            && refusals.first().is_some_and(|refusal| {
                refusal.operation == TABLE && [Errno::EOPNOTSUPP as i32, Errno::EINVAL as i32].contains(&refusal.errno)
            });
        if refused {
            tracing::info!(table = &*self.table, "the table has no owner: the kernel or the table is too old");
            self.flags = 0;
        }
        refused
    }

    /// In few transactions if these fit into the send buffer, otherwise in more.
    fn encode(
        &self,
        fill: impl Fn(&mut Transactions<'_>) -> Result<(), NetlinkError>,
    ) -> Result<Vec<Finished>, NetlinkError> {
        let limit = self.socket.limit();
        let encode = |division| {
            let mut transactions = Transactions::new(&self.table, self.flags, self.socket.next_sequence(), division);
            fill(&mut transactions)?;
            transactions.finish()
        };
        let fits = |batch: &Finished| batch.bytes().len() <= limit;
        let few = encode(Division::Chains)?;
        let transactions = if few.iter().all(fits) { few } else { encode(Division::Bytes(limit))? };
        match transactions.iter().find(|batch| !fits(batch)) {
            Some(batch) => Err(NetlinkError::TooLarge { bytes: batch.bytes().len() }),
            None => Ok(transactions),
        }
    }

    fn send(&mut self, batch: &Finished) -> Result<(), KernelError> {
        self.socket.commit(batch).map_err(|error| match &error {
            NetlinkError::Refused(refusals) if refusals.iter().any(|refusal| refusal.errno == Errno::EPERM as i32) => {
                match refusals.iter().any(|refusal| refusal.operation == 0) {
                    true => KernelError::NotPermitted,
                    false => KernelError::Owned { table: self.table.clone() },
                }
            }
            _ => error.into(),
        })
    }
}

impl Commit {
    fn count(&mut self, batch: &Finished) {
        self.transactions += 1;
        self.operations += batch.operations();
        self.bytes += batch.bytes().len();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use nix::sched::{CloneFlags, unshare};
    use policy_compiler::delta::ChainChange;
    use policy_compiler::ruleset::Table;

    use super::*;

    pub(crate) fn in_namespace(test: impl FnOnce() + Send + 'static) {
        let alone = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            test();
        };
        std::thread::spawn(alone).join().unwrap();
    }

    fn chains(names: impl IntoIterator<Item = u32>) -> Delta {
        let create = |n: u32| (format!("c{n}").into(), ChainChange::Create(Default::default()));
        Delta { chains: names.into_iter().map(create).collect(), ..Delta::default() }
    }

    fn table(names: impl IntoIterator<Item = u32>) -> Table {
        let mut table = Table::new("podwall");
        chains(names).apply(&mut table);
        table
    }

    #[test]
    fn a_lost_answer_leaves_open_whether_the_transaction_was_applied_and_confuses_no_later_one() {
        in_namespace(|| {
            let mut kernel = Kernel::open("podwall").unwrap();
            let holds = |kernel: &mut Kernel, names: u32| {
                let observed = kernel.read().unwrap().unwrap();
                assert!(observed.delta_to(&table(0..names)).is_empty(), "{observed:?} are not {names}");
            };
            kernel.commit(&chains(0..1)).unwrap();
            for names in 1..4 {
                kernel.socket.overflow();
                let lost = kernel.commit(&chains([names])).unwrap_err();
                assert!(matches!(lost, KernelError::Netlink(NetlinkError::Unconfirmed)), "{lost:?}");
                assert!(lost.to_string().contains("may or may not have been applied"), "{lost}");
                holds(&mut kernel, names + 1);
            }
            kernel.socket.overflow();
            kernel.commit(&chains([4])).unwrap_err();
            kernel.commit(&chains([5])).unwrap();
            kernel.commit(&chains([5])).unwrap_err();
            kernel.commit(&chains([6])).unwrap();
            holds(&mut kernel, 7);
        });
    }

    #[test]
    fn more_refusals_than_can_be_received_are_refusals() {
        in_namespace(|| {
            let mut kernel = Kernel::open("podwall").unwrap();
            kernel.commit(&chains(0..1000)).unwrap();
            kernel.socket.shrink();
            let error = kernel.commit(&chains(0..1001)).unwrap_err();
            let KernelError::Netlink(NetlinkError::Refused(refusals)) = &error else { panic!("{error:?}") };
            assert!((1..1000).contains(&refusals.len()), "{}", refusals.len());
            assert!(error.to_string().contains("create chain c0: File exists"), "{error}");
            kernel.commit(&chains(1001..1003)).unwrap();
            let expected = table((0..1000).chain(1001..1003));
            assert!(kernel.read().unwrap().unwrap().delta_to(&expected).is_empty());
        });
    }
}
