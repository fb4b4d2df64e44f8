//! The flags of `podwall matrix`.

use clap::Args as Group;

use super::Input;

#[derive(Debug, Group)]
pub(crate) struct Matrix {
    #[command(flatten)]
    pub(crate) input: Input,
}
