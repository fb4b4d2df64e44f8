//! What changes between two clusters, for a terminal, for programs, and for pull requests.

pub(crate) mod json;
pub(crate) mod markdown;
pub(crate) mod text;
mod words;
