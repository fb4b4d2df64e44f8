//! The flags of `podwall lint`.

use clap::Args as Group;

use super::Input;

#[derive(Debug, Group)]
pub(crate) struct Lint {
    #[command(flatten)]
    pub(crate) input: Input,
}
