//! Expectations, and whether the policies of a cluster meet them.
//!
//! A file is a list:
//!
//! ```yaml
//! - from: shop/deploy/frontend
//!   to: {namespace: shop, labels: {app: backend}}
//!   port: 3000/TCP
//!   verdict: allow
//! - {from: "*/*", to: shop/sts/database, port: "*", verdict: deny, note: nobody else}
//! ```

mod check;
mod file;

#[cfg(test)]
mod tests;

pub use check::{Failure, Flaw, Outcome, check};
pub use file::{ExpectationError, read};

use policy_compiler::model::Origin;
use policy_compiler::verdict::Traffic;

use crate::party::Pattern;

/// What somebody expects of all flows between some parties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Who sends.
    pub from: Pattern,
    /// Who receives.
    pub to: Pattern,
    /// What; without one all there is: an allow then means everything, a deny anything.
    pub traffic: Option<Traffic>,
    /// Whether it is to pass.
    pub allowed: bool,
    /// Why somebody wants it so.
    pub note: Option<String>,
    /// Where it is written.
    pub origin: Origin,
}
