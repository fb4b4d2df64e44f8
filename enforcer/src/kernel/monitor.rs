//! What others do to the table, told when it happens.

use std::collections::BTreeMap;
use std::fmt;

use policy_compiler::ruleset::Name;

use super::KernelError;
use crate::netlink::attribute;
use crate::netlink::batch::{FAMILY_INET, message};
use crate::netlink::element::DumpedElement;
use crate::netlink::listener::{Listener, Queue};
use crate::netlink::received::Message;

/// Some hundred thousand objects, changed by anybody while nobody listens.
const RECEIVE_BUFFER: usize = 8 << 20;
/// As many processes are named.
const NAMED: usize = 3;

/// Hears of changes of one table by anybody but its writer.
///
/// An owned table can be changed by its writer only; a table without an owner by everybody.
pub struct Monitor {
    listener: Listener,
    table: Name,
    writer: u32,
    heard: Heard,
}

/// What somebody else than the writer did to the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// It was changed.
    Changed {
        /// Who did it: `nft (pid 4711)`. The number is the process's in the first PID namespace.
        by: Option<String>,
        /// What was done: `1 element of peer_x deleted`.
        what: String,
    },
    /// So much happened at once that not all was heard, the writer's own transactions included. The table may have
    /// been changed.
    Lost,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { by: Some(by), what } => write!(f, "{what}, by {by}"),
            Self::Changed { by: None, what } => f.write_str(what),
            Self::Lost => f.write_str("the kernel had more to tell than could be heard"),
        }
    }
}

impl Monitor {
    /// Hears of everything from now on. `writer` is [`super::Kernel::port`]. The network namespace is that of the
    /// calling thread.
    ///
    /// # Errors
    /// [`KernelError::NotPermitted`] without CAP_NET_ADMIN, or when there can be no netlink socket.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn open(table: impl Into<Name>, writer: u32) -> Result<Self, KernelError> {
        Self::with_buffer(table, writer, RECEIVE_BUFFER)
    }

    fn with_buffer(table: impl Into<Name>, writer: u32, bytes: usize) -> Result<Self, KernelError> {
        Ok(Self { listener: Listener::open(bytes)?, table: table.into(), writer, heard: Heard::default() })
    }

    /// Waits until somebody else has changed the table, or something was lost. All that has happened by then is one
    /// answer, however many objects and transactions it was.
    ///
    /// Cancelled, it has forgotten nothing.
    ///
    /// # Errors
    /// When the socket fails.
    pub async fn changed(&mut self) -> Result<Foreign, KernelError> {
        loop {
            let heard = &mut self.heard;
            match self.listener.hear(|message| heard.hear(&message, &self.table, self.writer)).await? {
                Queue::Lost => heard.lost = true,
                Queue::More => tokio::task::yield_now().await,
                Queue::Empty => {
                    if let Some(foreign) = heard.take() {
                        return Ok(foreign);
                    }
                }
            }
        }
    }
}

/// What was heard and not told yet.
#[derive(Default)]
struct Heard {
    changes: BTreeMap<(Object, Verb), Change>,
    by: Vec<String>,
    /// A transaction's objects come first; then who it was.
    unfinished: bool,
    lost: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Object {
    Table,
    Chain,
    Rule,
    Set,
    Element,
    Other,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verb {
    Delete,
    Create,
}

/// Objects of one kind that the same was done to.
struct Change {
    objects: usize,
    /// The chain or set that they are, or are in.
    name: String,
    /// Whether there are more than the one.
    several: bool,
}

impl Heard {
    fn hear(&mut self, message: &Message<'_>, table: &str, writer: u32) {
        let Some(number) = message.number().filter(|_| message.port != writer) else { return };
        let attributes = message.attributes();
        if number == message::NEW_GENERATION {
            if std::mem::take(&mut self.unfinished) {
                self.by(attributes);
            }
            return;
        }
        let is_ours = || message.family() == FAMILY_INET && attribute::text(attributes, 1) == table;
        if let Some((object, verb)) = kind(number).filter(|_| is_ours()) {
            self.unfinished = true;
            self.count(object, verb, attributes);
        }
    }

    fn count(&mut self, object: Object, verb: Verb, attributes: &[u8]) {
        let name = attribute::text(attributes, if object == Object::Chain { 3 } else { 2 });
        let objects = match object {
            Object::Element => {
                let elements = attribute::read(attribute::value(attributes, 3));
                elements.filter(|element| DumpedElement::read(element.value).start).count()
            }
            _ => 1,
        };
        let first = || Change { objects: 0, name: name.to_owned(), several: false };
        let change = self.changes.entry((object, verb)).or_insert_with(first);
        change.objects += objects;
        change.several |= change.name != name;
    }

    fn by(&mut self, generation: &[u8]) {
        let process = attribute::find(generation, 2).and_then(|a| a.as_be32());
        let Some(by) = process.map(|process| format!("{} (pid {process})", attribute::text(generation, 3))) else {
            return;
        };
        if self.by.len() < NAMED && !self.by.contains(&by) {
            self.by.push(by);
        }
    }

    fn take(&mut self) -> Option<Foreign> {
        if self.lost {
            *self = Self::default();
            return Some(Foreign::Lost);
        }
        if self.unfinished || self.changes.is_empty() {
            return None;
        }
        let Self { changes, by, .. } = std::mem::take(self);
        Some(Foreign::Changed { by: Some(by.join(", ")).filter(|by| !by.is_empty()), what: words(&changes) })
    }
}

fn kind(number: u16) -> Option<(Object, Verb)> {
    use Object::{Chain, Element, Other, Rule, Set, Table};
    use Verb::{Create, Delete};
    match number {
        message::NEW_TABLE => Some((Table, Create)),
        message::DELETE_TABLE => Some((Table, Delete)),
        message::NEW_CHAIN => Some((Chain, Create)),
        message::DELETE_CHAIN => Some((Chain, Delete)),
        message::NEW_RULE => Some((Rule, Create)),
        message::DELETE_RULE => Some((Rule, Delete)),
        message::NEW_SET => Some((Set, Create)),
        message::DELETE_SET => Some((Set, Delete)),
        message::NEW_ELEMENT => Some((Element, Create)),
        message::DELETE_ELEMENT => Some((Element, Delete)),
        message::NEW_OBJECT | message::NEW_FLOWTABLE => Some((Other, Create)),
        message::DELETE_OBJECT | message::DELETE_FLOWTABLE => Some((Other, Delete)),
        _ => None,
    }
}

/// With the table goes everything in it, which need not be told.
fn words(changes: &BTreeMap<(Object, Verb), Change>) -> String {
    let created = changes.contains_key(&(Object::Table, Verb::Create));
    match changes.contains_key(&(Object::Table, Verb::Delete)) {
        true if created => "the table was deleted and created anew".into(),
        true => "the table was deleted".into(),
        false => changes.iter().map(|(kind, change)| phrase(*kind, change)).collect::<Vec<_>>().join(", "),
    }
}

fn phrase((object, verb): (Object, Verb), Change { objects, name, several }: &Change) -> String {
    let s = if *objects == 1 { "" } else { "s" };
    let done = match (object, verb) {
        (_, Verb::Delete) => "deleted",
        (Object::Rule | Object::Element, Verb::Create) => "added",
        (_, Verb::Create) => "created or changed",
    };
    let what = match (object, several) {
        (Object::Table, _) => "the table was".into(),
        (Object::Chain, false) => format!("chain {name}"),
        (Object::Chain, true) => format!("{objects} chains"),
        (Object::Set, false) => format!("set {name}"),
        (Object::Set, true) => format!("{objects} sets"),
        (Object::Rule, false) => format!("{objects} rule{s} of {name}"),
        (Object::Rule, true) => format!("{objects} rules of several chains"),
        (Object::Element, false) => format!("{objects} element{s} of {name}"),
        (Object::Element, true) => format!("{objects} elements of several sets"),
        (Object::Other, _) => format!("{objects} other object{s}"),
    };
    format!("{what} {done}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::sched::{CloneFlags, unshare};
    use policy_compiler::cidr::Family;
    use policy_compiler::delta::Delta;
    use policy_compiler::ruleset::{Element, Key, Set, SetShape, Table};
    use tokio::time::timeout;

    use super::*;
    use crate::kernel::{Kernel, Repair};

    const NEVER: Duration = Duration::from_millis(200);

    fn table(addresses: u32) -> Table {
        let mut table = Table::new("podwall");
        let element = |n: u32| Element::new(Key::Address(std::net::Ipv4Addr::from(n).into()));
        let elements = (1..=addresses).map(element).collect();
        table.sets.insert("s".into(), Set { elements, ..Set::new(SetShape::Addresses, Family::V4, "") });
        table
    }

    #[test]
    fn what_could_not_be_heard_is_said_to_be_lost_and_listening_goes_on() {
        let test = async || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let open = || Kernel { flags: 0, ..Kernel::open("podwall").unwrap() };
            let (mut writer, mut other) = (open(), open());
            let mut monitor = Monitor::with_buffer("podwall", writer.port(), 4096).unwrap();
            let mut changed = async || timeout(NEVER, monitor.changed()).await.ok().map(Result::unwrap);
            writer.repair(&Repair::create(&table(10))).unwrap();
            assert_eq!(changed().await, None);
            for (committing, from, to) in [(&mut other, 10, 1000), (&mut writer, 1000, 10)] {
                committing.commit(&Delta::between(&table(from), &table(to))).unwrap();
                assert_eq!(changed().await, Some(Foreign::Lost), "whoever it was");
                assert_eq!(changed().await, None);
            }
            other.commit(&Delta::between(&table(10), &table(11))).unwrap();
            let heard = changed().await.unwrap().to_string();
            assert!(heard.starts_with("1 element of s added, by "), "{heard}");
        };
        let in_runtime = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(test());
        };
        std::thread::spawn(in_runtime).join().unwrap();
    }
}
