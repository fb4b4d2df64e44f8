//! `podwall enforce`: the agent of one node.

use std::error::Error;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use enforcer::engine::{self, Agent, Options};
use enforcer::kernel::{Kernel, KernelError, Reader};
use enforcer::observe::{Identity, Observer, control, http};
use enforcer::preflight::{self, Asker, BridgeFilter, Check, Node};
use enforcer::source::{Directory, Kubernetes, Source};
use policy_compiler::cidr::CidrRules;
use policy_compiler::plan::Settings;
use tracing_subscriber::EnvFilter;

use crate::args::{Enforce, LogFormat};

/// Threads that decode what the API server says and answer who asks; the writer has one of its own.
const WORKERS: usize = 2;
/// How long whatever still runs may take after the writer has ended.
const LEAVE: Duration = Duration::from_millis(500);

pub(crate) fn run(args: &Enforce) -> Result<ExitCode, Box<dyn Error>> {
    if let Some(parent) = args.end_with_parent {
        lab::lineage::end_with_parent(parent)?;
    }
    let settings = args.data_plane.settings()?;
    log_to_stderr(args.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    let ended = runtime.block_on(enforce(args, settings));
    runtime.shutdown_timeout(LEAVE);
    ended.map(|()| ExitCode::SUCCESS)
}

async fn enforce(args: &Enforce, settings: Settings) -> Result<(), Box<dyn Error>> {
    let observer = Observer::new(Identity { node: args.node.as_str().into(), table: settings.table.clone() });
    // First what can be wrong with the call; nothing of the node is touched before.
    match &args.manifests {
        Some(directory) => {
            let rules = if args.strict_cidrs { CidrRules::Strict } else { CidrRules::Legacy };
            follow(Directory::open(directory, rules)?, args, settings, observer).await
        }
        None => {
            let source = Kubernetes::open(args.kubeconfig.as_deref(), &args.node, observer.clone()).await?;
            follow(source, args, settings, observer).await
        }
    }
}

async fn follow(
    source: impl Source,
    args: &Enforce,
    settings: Settings,
    observer: Observer,
) -> Result<(), Box<dyn Error>> {
    let bridge = prepare(args, &observer).await;
    let requests = tell(args, &observer)?;
    let kernel = Kernel::open(settings.table.clone())?;
    let options = Options { node: args.node.clone(), settings, audit: args.audit };
    engine::run(Agent { source, kernel, observer, requests, bridge, options }).await?;
    Ok(())
}

/// Turns on what the node needs, and looks at all of it.
async fn prepare(args: &Enforce, observer: &Observer) -> BridgeFilter {
    let sysctls = args.sysctls.sysctls.clone();
    let mut bridge = BridgeFilter::new(&sysctls);
    bridge.uphold(observer);
    let checks = preflight::check(&Node { table: observer.identity().table.clone(), sysctls }, Asker::Agent).await;
    preflight::log(&checks);
    observer.checked(checks.iter().map(Check::obstacle));
    bridge
}

/// Starts to answer who asks after this agent.
fn tell(args: &Enforce, observer: &Observer) -> Result<control::Receiver, KernelError> {
    if args.observation.pod_metrics > 0 {
        let reader = Reader::open(observer.identity().table.clone())?;
        observer.count_denied(reader, args.observation.pod_metrics);
    }
    let (sender, requests) = control::channel();
    tokio::spawn(control::serve(observer.clone(), sender));
    if let Some(address) = args.observation.http.0 {
        tokio::spawn(http::serve(address, observer.clone()));
    }
    Ok(requests)
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
