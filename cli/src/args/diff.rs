//! The flags of `podwall diff`.

use clap::Args as Group;

use super::Input;

#[derive(Debug, Group)]
pub(crate) struct Diff {
    #[command(flatten)]
    pub(crate) input: Input,
}
