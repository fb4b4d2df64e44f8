//! The flags of the verbs that look after one node.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args as Group;
use enforcer::preflight::SYSCTLS;

use super::{AnswerFormat, table_name};

/// What an agent tells of itself.
#[derive(Debug, Group)]
#[command(next_help_heading = "Observation")]
pub(crate) struct Observation {
    /// Where /livez, /readyz and /metrics are answered, or `off`
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9469", value_parser = http)]
    pub(crate) http: Http,
    /// Of how many pods /metrics tells the denied packets; 0 for none
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub(crate) pod_metrics: usize,
}

/// Where HTTP is answered, if anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Http(pub(crate) Option<SocketAddr>);

fn http(text: &str) -> Result<Http, String> {
    if text == "off" {
        return Ok(Http(None));
    }
    let wanted = |_| "must be an address and a port, such as 127.0.0.1:9469 or [::]:9469, or off".to_owned();
    text.parse().map(|address| Http(Some(address))).map_err(wanted)
}

/// Where the kernel's settings are.
#[derive(Debug, Group)]
pub(crate) struct Sysctls {
    /// Where the node's network settings are: in a container that sees /proc/sys read-only, where they are mounted
    #[arg(long, value_name = "DIR", default_value = SYSCTLS)]
    pub(crate) sysctls: PathBuf,
}

/// Which table, and so which agent.
#[derive(Debug, Group)]
pub(crate) struct Table {
    /// The table's name
    #[arg(long, value_name = "NAME", default_value = "podwall", value_parser = table_name)]
    pub(crate) table: String,
}

#[derive(Debug, Group)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) table: Table,
    /// For a terminal, or for programs
    #[arg(short, long, value_enum, default_value_t = AnswerFormat::Text)]
    pub(crate) output: AnswerFormat,
}

#[derive(Debug, Group)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) table: Table,
    #[command(flatten)]
    pub(crate) sysctls: Sysctls,
    /// For a terminal, or for programs
    #[arg(short, long, value_enum, default_value_t = AnswerFormat::Text)]
    pub(crate) output: AnswerFormat,
}

#[derive(Debug, Group)]
pub(crate) struct Cleanup {
    #[command(flatten)]
    pub(crate) table: Table,
}
