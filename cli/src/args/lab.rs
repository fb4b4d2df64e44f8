//! The flags of `podwall lab`, and its own verbs.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args as Group, Subcommand};
use lab::PodNetwork;
use lab::keeper::LabName;

use super::{AnswerFormat, Input};

/// What a lab is called that is given no name.
pub(crate) const DEFAULT_NAME: &str = "lab";

#[derive(Debug, Group)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Lab {
    #[command(subcommand)]
    pub(crate) verb: Option<LabVerb>,
    #[command(flatten)]
    pub(crate) prove: Prove,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LabVerb {
    /// Enter a pod or a node of a lab that was kept
    Shell(Shell),
    /// Show the labs that were kept
    List(List),
    /// Take down labs that were kept, and what dead ones have left running
    Down(Down),
}

#[derive(Debug, Group)]
pub(crate) struct Prove {
    #[command(flatten)]
    pub(crate) input: Input,
    /// How pods reach each other: bridge, ptp, flannel-vxlan or flannel-host-gw
    #[arg(long, value_name = "NETWORK", default_value_t = PodNetwork::default())]
    pub(crate) cni: PodNetwork,
    /// Another state of the cluster, all of it: the lab is taken there, and judged again; may be given several times
    #[arg(long, value_name = "PATH")]
    pub(crate) then: Vec<PathBuf>,
    /// How many bytes each probe carries beside what it needs; more than a link's MTU makes fragments
    #[arg(long, value_name = "BYTES", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=60_000))]
    pub(crate) payload: u16,
    /// Let the lab stand, in the background, until `podwall lab down`
    #[arg(long)]
    pub(crate) keep: bool,
    /// What the lab that is kept is called
    #[arg(long, value_name = "NAME", requires = "keep", default_value = DEFAULT_NAME)]
    pub(crate) name: LabName,
    /// A matrix to look at, or JSON
    #[arg(short, long, value_enum, default_value_t = AnswerFormat::Text)]
    pub(crate) output: AnswerFormat,
    /// Be the process that keeps the lab, for the one with this number
    #[arg(long, value_name = "PID", requires = "keep", hide = true)]
    pub(crate) starter: Option<u32>,
}

#[derive(Debug, Group)]
pub(crate) struct Shell {
    /// NAMESPACE/POD, a node, or a pod of the namespace default
    #[arg(value_name = "WHERE")]
    pub(crate) place: String,
    /// The lab; may be left out where only one stands
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<LabName>,
    /// What to run there; without it, your shell
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Group)]
pub(crate) struct List {
    /// For people, or JSON
    #[arg(short, long, value_enum, default_value_t = AnswerFormat::Text)]
    pub(crate) output: AnswerFormat,
}

#[derive(Debug, Group)]
pub(crate) struct Down {
    /// The lab; without it, all of yours
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<LabName>,
    /// For people, or JSON
    #[arg(short, long, value_enum, default_value_t = AnswerFormat::Text)]
    pub(crate) output: AnswerFormat,
}
