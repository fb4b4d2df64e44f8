//! What a machine must have to hold a lab.

use std::{
    io,
    path::Path,
    process::{Command, Stdio},
};

use nix::sys::{
    resource::{Resource, getrlimit, setrlimit},
    socket::SockProtocol,
};

use crate::{LabError, Namespace, cni, lineage::mark, netlink};

/// Something that this machine lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Missing {
    /// CNI plugins are not installed.
    #[error(
        "CNI plugin {} in {} (Debian, Ubuntu: apt install containernetworking-plugins; or set CNI_PATH)",
        .plugins.join(", "), folders(.searched)
    )]
    Plugins {
        /// Which.
        plugins: Vec<&'static str>,
        /// Where they were looked for.
        searched: Vec<std::path::PathBuf>,
    },
    /// Programs are not installed.
    #[error("{} (Debian, Ubuntu: apt install iproute2 nftables)", .0.join(", "))]
    Programs(Vec<&'static str>),
    /// Bridged packets do not pass netfilter.
    #[error("kernel module br_netfilter (as root: modprobe br_netfilter)")]
    BridgeNetfilter,
    /// The kernel has no nf_tables, or does not load it.
    #[error("kernel module nf_tables (as root: modprobe nf_tables): {0}")]
    NfTables(String),
    /// The kernel was booted without IPv6.
    #[error("IPv6 (the kernel was booted with ipv6.disable=1, or has none)")]
    Ipv6,
}

fn folders(folders: &[std::path::PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(":")
}

/// What sets up links, routes and masquerade.
const PROGRAMS: [&str; 3] = ["ip", "bridge", "nft"];

fn is_installed(program: &str) -> bool {
    let mut command = Command::new(program);
    mark(&mut command).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// Looks at everything and reports all that is missing at once.
pub fn check() -> Result<(), LabError> {
    let mut missing = Vec::new();
    let plugins: Vec<_> = cni::PLUGINS.into_iter().filter(|plugin| cni::find(plugin).is_none()).collect();
    if !plugins.is_empty() {
        missing.push(Missing::Plugins { plugins, searched: cni::search_path() });
    }
    let programs: Vec<_> = PROGRAMS.into_iter().filter(|program| !is_installed(program)).collect();
    if !programs.is_empty() {
        missing.push(Missing::Programs(programs));
    }
    if !Path::new("/proc/sys/net/ipv6").exists() {
        // Without it no namespace of ours can be made to look further.
        missing.push(Missing::Ipv6);
        return Err(LabError::Requirements(missing));
    }
    Namespace::new("requirements")?.run(|| {
        if !Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables").exists() {
            missing.push(Missing::BridgeNetfilter);
        }
        if let Err(error) = ask_nf_tables() {
            missing.push(Missing::NfTables(error.to_string()));
        }
    })?;
    if missing.is_empty() { Ok(()) } else { Err(LabError::Requirements(missing)) }
}

/// Lets the process have as many files as it may: every namespace, listener and probe is one.
pub(crate) fn raise_file_limit() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // What it is too little for says so itself.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

/// Asks nf_tables for its generation, which also makes the kernel load the module where it may.
fn ask_nf_tables() -> io::Result<()> {
    const GET_GENERATION: u16 = 10 << 8 | 16;
    netlink::send(SockProtocol::NetlinkNetFilter, &netlink::message(GET_GENERATION, 0, &[0; 4]))
}
