//! Links, addresses and routes, by iproute2: what a node sets up once, where nothing depends on speed.

use std::{
    io::{self, Write},
    process::{Command, Stdio},
};

use crate::{LabError, Namespace, lineage::mark};

/// Runs `ip` commands in a namespace, a line each without the `ip`; the first that fails is the error.
pub(crate) fn batch(namespace: &Namespace, lines: &[String]) -> Result<(), LabError> {
    run(namespace, Command::new("ip"), &["-batch", "-"], &lines.join("\n"), "set up links and routes")
}

/// The same for `bridge`, which knows forwarding databases.
pub(crate) fn bridge_batch(namespace: &Namespace, lines: &[String]) -> Result<(), LabError> {
    run(namespace, Command::new("bridge"), &["-batch", "-"], &lines.join("\n"), "set up forwarding databases")
}

/// Loads rules into a namespace.
pub(crate) fn nft(namespace: &Namespace, rules: &str) -> Result<(), LabError> {
    run(namespace, Command::new("nft"), &["-f", "-"], rules, "load rules")
}

fn run(
    namespace: &Namespace,
    mut command: Command,
    arguments: &[&str],
    input: &str,
    action: &str,
) -> Result<(), LabError> {
    let output = namespace.run(|| {
        let mut child = mark(&mut command)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        // Taken out of the child, so that it sees the end of its input.
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        child.wait_with_output()
    })?;
    let failed = |output: std::process::Output| {
        io::Error::other(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
    };
    let result = output.and_then(|output| if output.status.success() { Ok(()) } else { Err(failed(output)) });
    result.map_err(namespace.error(action))
}
