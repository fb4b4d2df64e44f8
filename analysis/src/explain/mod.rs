//! Why a flow is allowed or denied, by which rule of which policy, and which way it takes.
//!
//! [`between`] answers for two names, which may stand for many pods: pairs with the same verdict for the same reasons
//! come as one [`Group`]. [`flow`] answers for one flow. [`reason`] says in one line what one direction says. All of it
//! stands on [`policy_compiler::verdict`], which does the judging; here it is only told.

mod answer;
mod finding;
mod pairs;
mod path;
mod reason;
mod route;
#[cfg(test)]
mod tests;
pub mod words;

pub use answer::{Answer, Note, flow};
pub use finding::{Entry, Finding};
pub use pairs::{Explanation, Group, MAX_PAIRS, between};
pub use path::Hop;
pub use reason::reason;
pub use route::{Backend, Route, RouteError};

use policy_compiler::model::ObjectName;

use crate::party::UnknownParty;

/// Why there is nothing to explain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    /// A name that means nobody, or several.
    #[error(transparent)]
    Party(#[from] UnknownParty),
    /// The Service leads nowhere.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// A Service where a flow begins.
    #[error("{0} is a Service, and Services open no connections: name the pods that do")]
    ServiceAsSource(ObjectName),
    /// Too many pods on both sides.
    #[error(
        "{from} ({from_pods} pods) to {to} ({to_pods} pods) is more than {MAX_PAIRS} pairs: name one pod on either side"
    )]
    TooManyPairs {
        /// Who opens the connection.
        from: String,
        /// Pods behind that name.
        from_pods: usize,
        /// Who it is opened to.
        to: String,
        /// Pods behind that name.
        to_pods: usize,
    },
}
