//! One private table in the kernel: committed to, read back, removed; no other table is ever touched.

mod comparison;
mod error;
mod observed;
mod read;
mod transactions;

pub use crate::netlink::{NetlinkError, Refusal};
pub use error::KernelError;
pub use observed::{Observed, Repair};

use nix::errno::Errno;
use policy_compiler::delta::Delta;
use policy_compiler::ruleset::Name;

use crate::netlink::batch::{Batch, Finished, message};
use crate::netlink::socket::NetlinkSocket;
use transactions::Transactions;

/// This socket owns the table: nobody else can change it, and a flush of the whole ruleset passes it by.
const OWNER: u32 = 2;
/// The table stays when the socket closes, and the next owner adopts it.
const PERSIST: u32 = 4;

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
}

impl Kernel {
    /// Opens the socket; nothing is sent yet. The network namespace is that of the calling thread.
    ///
    /// # Errors
    /// When there can be no netlink socket.
    pub fn open(table: impl Into<Name>) -> Result<Self, KernelError> {
        Ok(Self { socket: NetlinkSocket::open()?, table: table.into(), flags: OWNER | PERSIST })
    }

    /// The table's name.
    pub fn table(&self) -> &Name {
        &self.table
    }

    /// Carries a change out, all of it in one transaction but for deletions, which follow in one of their own: a packet
    /// on its way may still hold what nothing refers to any more. The table is created if it is not there.
    ///
    /// A change larger than the send buffer becomes several transactions, split at elements of plain sets only:
    /// rules, and the verdicts of maps, come into force together.
    ///
    /// # Errors
    /// [`KernelError::Garbage`] when all is in force and only the deletions were refused. Any other refusal leaves the
    /// kernel as it was, unless the change had to be split; [`NetlinkError::Unconfirmed`] leaves it unknown. In both
    /// cases the picture that the change was computed from is wrong: [`Kernel::read`] before the next commit.
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

    /// Removes the table and nothing else. False: there was none.
    ///
    /// # Errors
    /// [`KernelError::Owned`] when a running agent owns it.
    pub fn cleanup(table: impl Into<Name>) -> Result<bool, KernelError> {
        let mut kernel = Self::open(table)?;
        let name = kernel.table.clone();
        if kernel.socket.get(message::GET_TABLE, |w| w.text(1, &name))?.is_none() {
            return Ok(false);
        }
        let mut batch = Batch::new(&name, kernel.socket.next_sequence());
        batch.delete_table();
        match kernel.send(&batch.finish()?) {
            Ok(()) => Ok(true),
            Err(error) if error.errno() == Some(Errno::ENOENT as i32) => Ok(false), // gone in the meantime
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, delta: &Delta, rebuild: Option<&observed::Rebuild>) -> Result<Commit, KernelError> {
        let mut commit = Commit::default();
        let transactions = self.encode(|transactions| transactions.change(delta, rebuild))?;
        for (index, batch) in transactions.iter().enumerate() {
            match self.send(batch) {
                Err(error) if index == 0 && self.flags != 0 && flags_unknown(&error) => {
                    tracing::info!(table = &*self.table, "the table has no owner: the kernel or the table is too old");
                    self.flags = 0;
                    return self.write(delta, rebuild);
                }
                sent => sent?,
            }
            commit.count(batch);
        }
        let garbage = self.encode(|transactions| transactions.garbage(delta))?;
        for batch in garbage.iter().filter(|_| Transactions::has_garbage(delta)) {
            self.send(batch).map_err(|error| KernelError::Garbage(Box::new(error)))?;
            commit.count(batch);
        }
        Ok(commit)
    }

    /// In one transaction if it fits into the send buffer, otherwise in several.
    fn encode(
        &self,
        fill: impl Fn(&mut Transactions<'_>) -> Result<(), NetlinkError>,
    ) -> Result<Vec<Finished>, NetlinkError> {
        let limit = self.socket.limit();
        let encode = |limit| {
            let mut transactions = Transactions::new(&self.table, self.flags, self.socket.next_sequence(), limit);
            fill(&mut transactions)?;
            transactions.finish()
        };
        let whole = encode(usize::MAX)?;
        if whole.iter().all(|batch| batch.bytes().len() <= limit) { Ok(whole) } else { encode(limit) }
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

/// Whether the table's flags were refused: an older kernel, or a table that was created without them, which can never
/// be given any.
fn flags_unknown(error: &KernelError) -> bool {
    const TABLE: u32 = 1;
    let KernelError::Netlink(NetlinkError::Refused(refusals)) = error else { return false };
    refusals.first().is_some_and(|refusal| {
        refusal.operation == TABLE && [Errno::EOPNOTSUPP as i32, Errno::EINVAL as i32].contains(&refusal.errno)
    })
}
