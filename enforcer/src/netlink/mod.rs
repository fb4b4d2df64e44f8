//! nf_tables over netlink: the IR of the compiler as messages, one transaction, one socket.
//!
//! Read in this order: `attribute` (the wire format), `userdata` (comments), `expression` (the kernel's instructions),
//! `element` and `set`, `rule` (statements as instructions), `batch` (one transaction), `describe` (what an operation
//! was, in words), `received` (what the kernel sends), `socket` (sending, answers, dumps), `listener` (notifications).

pub(crate) mod attribute;
pub(crate) mod batch;
mod describe;
pub(crate) mod element;
mod error;
pub(crate) mod expression;
pub(crate) mod listener;
pub(crate) mod received;
pub(crate) mod rule;
pub(crate) mod set;
pub(crate) mod socket;
mod userdata;

pub use error::{NetlinkError, Refusal};
