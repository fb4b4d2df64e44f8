//! What `podwall enforce` is told.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, ValueEnum};

use super::{DataPlane, Observation, Sysctls};

#[derive(Debug, Group)]
pub(crate) struct Enforce {
    /// Follow the manifests in this directory, which tell of pods with their addresses, namespaces and policies, and no
    /// API server
    #[arg(long, value_name = "DIR")]
    pub(crate) manifests: Option<PathBuf>,
    /// Where the API server is and who asks; without it, what KUBECONFIG or ~/.kube/config says, or a pod's service account
    #[arg(long, value_name = "FILE", conflicts_with = "manifests")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The name of this node, as pods have it in spec.nodeName
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    pub(crate) node: String,
    /// Compare the kernel's table with the plan every so many seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) audit: Duration,
    /// How log lines are written
    #[arg(long, value_enum, default_value_t = LogFormat::Auto)]
    pub(crate) log_format: LogFormat,
    /// Refuse CIDRs with host bits or leading zeros and IPv4-mapped ones, as strict API servers do
    #[arg(long, requires = "manifests")]
    pub(crate) strict_cidrs: bool,
    /// End when the parent, the process with this number, ends: for labs, which must leave nothing behind
    #[arg(long, value_name = "PID", hide = true)]
    pub(crate) end_with_parent: Option<u32>,
    #[command(flatten)]
    pub(crate) sysctls: Sysctls,
    #[command(flatten)]
    pub(crate) observation: Observation,
    #[command(flatten)]
    pub(crate) data_plane: DataPlane,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Compact on a terminal, JSON elsewhere
    Auto,
    Compact,
    Json,
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err("must be a number of seconds from 1 to 86400".to_owned()),
    }
}
