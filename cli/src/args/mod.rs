//! Every verb and flag.

mod diff;
mod enforce;
mod explain;
mod lab;
mod lint;
mod matrix;
mod node;
mod test;

pub(crate) use diff::{Diff, DiffFormat};
pub(crate) use enforce::{Enforce, LogFormat};
pub(crate) use explain::Explain;
pub(crate) use lab::{DEFAULT_NAME, Down, Lab, LabVerb, List, Prove, Shell};
pub(crate) use lint::{Lint, LintFormat};
pub(crate) use matrix::{Matrix, MatrixFormat};
pub(crate) use node::{Cleanup, Doctor, Observation, Status, Sysctls};
pub(crate) use test::{Test, TestFormat};

use std::path::PathBuf;

use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use policy_compiler::cidr::{Cidr, CidrRules};
use policy_compiler::plan::{Denial, DropLog, MarkMask, Settings, UnknownPods};
use policy_compiler::ruleset::InterfaceName;

/// NetworkPolicy for clusters whose CNI has none: compile it, enforce it, prove it.
#[derive(Debug, Parser)]
#[command(name = "podwall", version, propagate_version = true, disable_help_subcommand = true)]
#[command(after_help = "Exit status: 0 fine, 1 differences or findings where the verb says so, 2 errors.")]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Print the nftables rules that manifests come to
    Compile(Compile),
    /// Say whether a flow is allowed, and why
    Explain(Explain),
    /// Show who reaches whom
    Matrix(Matrix),
    /// Show what would change: who reaches whom, and the rules
    Diff(Diff),
    /// Find what is probably not meant
    Lint(Lint),
    /// Check policies against expectations
    Test(Test),
    /// Keep this node's rules what a directory of manifests says
    Enforce(Enforce),
    /// Show what the agent of this node enforces now
    Status(Status),
    /// Look at what this node needs, and say what to do where something is missing
    Doctor(Doctor),
    /// Remove the table from this node, and nothing else
    Cleanup(Cleanup),
    /// Build the cluster out of network namespaces, enforce, and see whether real packets agree
    Lab(Lab),
}

/// Where objects are read from.
#[derive(Debug, Group)]
pub(crate) struct Input {
    /// A manifest, a directory of them, or `-` for standard input; may be given several times
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Refuse CIDRs with host bits or leading zeros and IPv4-mapped ones, as strict API servers do
    #[arg(long)]
    pub(crate) strict_cidrs: bool,
}

impl Input {
    pub(crate) fn cidr_rules(&self) -> CidrRules {
        if self.strict_cidrs { CidrRules::Strict } else { CidrRules::Legacy }
    }
}

/// Settings of the data plane.
#[derive(Debug, Group)]
#[command(next_help_heading = "Data plane")]
pub(crate) struct DataPlane {
    /// The table's name
    #[arg(long, value_name = "NAME", default_value = "podwall", value_parser = table_name)]
    pub(crate) table: String,
    /// An interface that only pods are behind, such as cni0 or veth*; may be given several times
    #[arg(long = "pod-interface", value_name = "NAME")]
    pod_interfaces: Vec<InterfaceName>,
    /// What happens to packets on a pod interface that no known pod sent or receives
    #[arg(long, value_enum, default_value_t = UnknownPodsArg::Accept)]
    unknown_pods: UnknownPodsArg,
    /// What becomes of denied packets
    #[arg(long, value_enum, default_value_t = DenialArg::Drop)]
    deny_with: DenialArg,
    /// Neighbouring bits of the connection mark that hold the policy generation
    #[arg(long, value_name = "BITS", default_value_t = MarkMask::default())]
    mark_mask: MarkMask,
    /// The nflog group that gets copies of denied packets, at most 100 a second; 0 for none
    #[arg(long, value_name = "GROUP", default_value_t = DropLog::default().group)]
    drop_log_group: u16,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum UnknownPodsArg {
    Accept,
    Drop,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DenialArg {
    Drop,
    Reject,
}

impl DataPlane {
    pub(crate) fn settings(&self) -> Result<Settings, SettingsError> {
        let unknown_pods = match self.unknown_pods {
            UnknownPodsArg::Accept => UnknownPods::Accept,
            UnknownPodsArg::Drop if self.pod_interfaces.is_empty() => return Err(SettingsError),
            UnknownPodsArg::Drop => UnknownPods::Drop,
        };
        let log = DropLog { group: self.drop_log_group, ..DropLog::default() };
        Ok(Settings {
            table: self.table.as_str().into(),
            mark_mask: self.mark_mask,
            pod_interfaces: self.pod_interfaces.clone(),
            unknown_pods,
            denial: match self.deny_with {
                DenialArg::Drop => Denial::Drop,
                DenialArg::Reject => Denial::Reject,
            },
            drop_log: (log.group > 0).then_some(log),
        })
    }
}

/// Unknown pods can only be told from other hosts by the interface that they are behind.
#[derive(Debug, thiserror::Error)]
#[error("--unknown-pods drop needs at least one --pod-interface")]
pub(crate) struct SettingsError;

#[derive(Debug, Group)]
pub(crate) struct Compile {
    #[command(flatten)]
    pub(crate) input: Input,
    /// The node whose rules are printed; without it, every node's
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// Give pods without an address one of these blocks, in the order of their names: CIDR[,CIDR]
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = cidr)]
    pub(crate) addresses: Vec<Cidr>,
    /// Print how much each node's table holds, not the rules
    #[arg(long)]
    pub(crate) stats: bool,
    /// nft's language, or libnftables JSON
    #[arg(short, long, value_enum, default_value_t = RulesFormat::Nft)]
    pub(crate) output: RulesFormat,
    #[command(flatten)]
    pub(crate) data_plane: DataPlane,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RulesFormat {
    Nft,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AnswerFormat {
    Text,
    Json,
}

fn cidr(text: &str) -> Result<Cidr, String> {
    Cidr::parse(text, CidrRules::Strict).map(|(cidr, _)| cidr).map_err(|error| error.to_string())
}

/// nft reads table names back only if they look like this.
fn table_name(text: &str) -> Result<String, String> {
    let valid = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.len() <= 63
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if valid {
        Ok(text.to_owned())
    } else {
        Err("must start with a letter, then letters, digits or _, at most 63".to_owned())
    }
}
