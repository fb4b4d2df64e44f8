//! `podwall enforce`: the agent of one node.

use std::error::Error;
use std::io::IsTerminal;
use std::process::ExitCode;

use enforcer::engine::{self, Options};
use enforcer::kernel::Kernel;
use enforcer::preflight;
use enforcer::source::Directory;
use policy_compiler::cidr::CidrRules;
use tracing_subscriber::EnvFilter;

use crate::args::{Enforce, LogFormat};

pub(crate) fn run(args: &Enforce) -> Result<ExitCode, Box<dyn Error>> {
    if let Some(parent) = args.end_with_parent {
        lab::lineage::end_with_parent(parent)?;
    }
    let settings = args.data_plane.settings()?;
    log_to_stderr(args.log_format);
    let rules = if args.strict_cidrs { CidrRules::Strict } else { CidrRules::Legacy };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // First what can be wrong with the call; nothing of the node is touched before.
        let source = Directory::open(&args.manifests, rules)?;
        preflight::bridge_filter()?;
        let kernel = Kernel::open(settings.table.clone())?;
        engine::run(source, kernel, Options { node: args.node.clone(), settings }).await?;
        Ok::<_, Box<dyn Error>>(())
    })?;
    Ok(ExitCode::SUCCESS)
}

/// One event a line; `RUST_LOG` says what is told, by default everything from `info` up.
fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal);
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Compact => false,
        LogFormat::Json => true,
    };
    if json { builder.json().init() } else { builder.compact().with_target(false).init() }
}
