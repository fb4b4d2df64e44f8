//! The flags of `podwall test`.

use std::path::PathBuf;

use clap::{Args as Group, ValueEnum};
use lab::PodNetwork;

use super::Input;

#[derive(Debug, Group)]
pub(crate) struct Test {
    #[command(flatten)]
    pub(crate) input: Input,
    /// Files of expectations: lists of {from, to, port, verdict, note}
    #[arg(value_name = "EXPECTATIONS", required = true)]
    pub(crate) expectations: Vec<PathBuf>,
    /// Ask packets, too: the cluster is built out of network namespaces, and every flow is tried
    #[arg(long)]
    pub(crate) lab: bool,
    /// How pods reach each other in the lab: bridge, ptp, flannel-vxlan or flannel-host-gw
    #[arg(long, value_name = "NETWORK", default_value_t = PodNetwork::default(), requires = "lab")]
    pub(crate) cni: PodNetwork,
    /// For a terminal, for programs, or for the reports of a CI system
    #[arg(short, long, value_enum, default_value_t = TestFormat::Text)]
    pub(crate) output: TestFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TestFormat {
    Text,
    Json,
    Junit,
}
