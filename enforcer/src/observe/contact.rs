//! Whether the API server answers, by kind of object.

use std::collections::BTreeMap;
use std::sync::RwLock;
use std::time::{Duration, Instant};

use super::{Kind, read, write};

/// What is known of the API server's answers for one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contact {
    /// The kind.
    pub kind: Kind,
    /// Whether it answers now.
    pub connected: bool,
    /// How old what is known may be: nothing while connected, otherwise the time since it last was.
    pub age: Duration,
}

/// Kinds that are watched, with the moment at which contact was lost. Empty where there is no API server.
#[derive(Debug, Default)]
pub(super) struct Contacts(RwLock<BTreeMap<Kind, Option<Instant>>>);

impl Contacts {
    pub(super) fn connected(&self, kind: Kind) {
        write(&self.0).insert(kind, None);
    }

    pub(super) fn disconnected(&self, kind: Kind) {
        write(&self.0).entry(kind).or_default().get_or_insert_with(Instant::now);
    }

    pub(super) fn all(&self) -> Vec<Contact> {
        let contact = |(kind, lost): (&Kind, &Option<Instant>)| Contact {
            kind: *kind,
            connected: lost.is_none(),
            age: lost.map(|lost| lost.elapsed()).unwrap_or_default(),
        };
        read(&self.0).iter().map(contact).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_counts_from_the_moment_at_which_contact_was_lost() {
        let contacts = Contacts::default();
        contacts.connected(Kind::Pod);
        contacts.disconnected(Kind::Policy);
        let nothing = Duration::ZERO;
        assert_eq!(contacts.all()[0], Contact { kind: Kind::Pod, connected: true, age: nothing });
        std::thread::sleep(Duration::from_millis(5));
        contacts.disconnected(Kind::Policy);
        let lost = contacts.all()[1];
        assert!(!lost.connected && lost.age >= Duration::from_millis(5), "{lost:?}");
        contacts.connected(Kind::Policy);
        assert_eq!(contacts.all()[1].age, nothing);
    }
}
