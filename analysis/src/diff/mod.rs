//! What changes between two clusters: who reaches whom, and the rules of each node.

mod align;
mod connectivity;
mod rules;
mod side;

#[cfg(test)]
mod tests;

pub use align::{PlacementError, place_alike};
pub use connectivity::{Change, Connectivity, Effect, PolicyChanges};
pub use rules::{NodeRules, rules};
pub use side::{Movement, Side};
