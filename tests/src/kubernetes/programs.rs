//! Where Kubernetes' programs are.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::root;

/// A program of Kubernetes, such as `kube-apiserver` or `kubectl`.
pub fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let dev = root().join("dev");
        // What it says goes to stderr, for it may take a while.
        let output = Command::new(&dev).arg("control-plane").stderr(Stdio::inherit()).output();
        let output = output.unwrap_or_else(|error| panic!("{} does not start: {error}", dev.display()));
        assert!(output.status.success(), "./dev control-plane failed: {}", output.status);
        String::from_utf8(output.stdout).expect("a path in UTF-8").trim().into()
    });
    let program = folder.join(name);
    assert!(program.exists(), "{} is missing", program.display());
    program
}
