//! The flags of `podwall diff`.

use std::path::PathBuf;

use clap::{Args as Group, ValueEnum};
use policy_compiler::cidr::Cidr;

use super::{Input, cidr};

#[derive(Debug, Group)]
pub(crate) struct Diff {
    #[command(flatten)]
    pub(crate) input: Input,
    /// What the input is compared with: a manifest, or a directory of them
    #[arg(long, value_name = "PATH", value_parser = against)]
    pub(crate) against: PathBuf,
    /// Show what changes in the nodes' rules, not in who reaches whom
    #[arg(long)]
    pub(crate) rules: bool,
    /// The node whose rules are compared; without it, every node's
    #[arg(long, value_name = "NAME", requires = "rules")]
    pub(crate) node: Option<String>,
    /// Give pods without an address one of these blocks, the same in both versions: CIDR[,CIDR]
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = cidr)]
    pub(crate) addresses: Vec<Cidr>,
    /// For a terminal, for programs, or for a comment on a pull request
    #[arg(short, long, value_enum, default_value_t = DiffFormat::Text)]
    pub(crate) output: DiffFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiffFormat {
    Text,
    Json,
    Markdown,
}

/// Words that will once mean what runs, and so are no paths.
fn against(text: &str) -> Result<PathBuf, String> {
    match text {
        "cluster" | "kernel" => {
            Err(format!("{text} is a word with a meaning to come; a file of that name is ./{text}"))
        }
        path => Ok(path.into()),
    }
}
