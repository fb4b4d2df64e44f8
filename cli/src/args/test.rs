//! The flags of `podwall test`.

use clap::Args as Group;

use super::Input;

#[derive(Debug, Group)]
pub(crate) struct Test {
    #[command(flatten)]
    pub(crate) input: Input,
}
