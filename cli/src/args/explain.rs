//! The flags of `podwall explain`.

use clap::Args as Group;

use super::Input;

#[derive(Debug, Group)]
pub(crate) struct Explain {
    #[command(flatten)]
    pub(crate) input: Input,
}
