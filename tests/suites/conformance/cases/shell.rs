//! Programs of iproute2 and nft in the namespaces of a lab.

use std::process::Command;

use lab::Namespace;

use crate::world::World;

/// Runs a command in the namespace of a pod, a node or the host outside. Says what it printed.
pub fn run(world: &World, id: &str, command: &str) -> Result<String, String> {
    run_in(world.lab().namespace(id).map_err(|error| error.to_string())?, command)
}

fn run_in(namespace: &Namespace, command: &str) -> Result<String, String> {
    let mut words = command.split_whitespace();
    let program = words.next().ok_or("no command")?;
    let output = namespace.run(|| Command::new(program).args(words).output()).map_err(|error| error.to_string())?;
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{}: {command}: {}", namespace.name(), String::from_utf8_lossy(&output.stderr).trim()))
    }
}

/// The word after another one.
pub fn word(text: &str, before: &str) -> Result<String, String> {
    let mut words = text.split_whitespace().skip_while(|word| *word != before);
    words.nth(1).map(str::to_owned).ok_or_else(|| format!("no {before} in {text:?}"))
}

/// What must be undone at the end of a case, however it ends: the last first.
#[derive(Default)]
pub struct Undo(Vec<(Namespace, String)>);

impl Undo {
    /// A command for the namespace of a pod, a node or the host outside.
    pub fn then(&mut self, world: &World, id: &str, command: impl Into<String>) -> Result<(), String> {
        let namespace = world.lab().namespace(id).map_err(|error| error.to_string())?;
        self.0.push((namespace.clone(), command.into()));
        Ok(())
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        for (namespace, command) in self.0.iter().rev() {
            let undone = run_in(namespace, command);
            // A panic costs the lab, which is what must be: later cases would fail for no reason of theirs.
            assert!(undone.is_ok() || std::thread::panicking(), "cannot undo: {undone:?}");
        }
    }
}
