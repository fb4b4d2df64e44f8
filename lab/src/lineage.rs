//! Which processes are a lab's, so that none outlives it unseen.

use std::{
    fmt, fs, io,
    path::Path,
    process::Command,
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        prctl,
        signal::{self, Signal},
    },
    unistd::{Pid, getppid},
};
use serde::{Deserialize, Serialize};

/// What every process that a lab starts has in its environment, and hands on to its children: the lab's [`ProcessId`].
pub const VARIABLE: &str = "PODWALL_LAB";

/// Longer than the kernel takes to end whatever can be ended.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);

/// A process, told from later ones with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its number.
    pub pid: u32,
    /// When it was started, in clock ticks since the machine was.
    pub started: u64,
}

impl ProcessId {
    /// The calling process.
    pub fn own() -> io::Result<Self> {
        Self::of(std::process::id())
    }

    /// The process that has this number now, if it still runs.
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The second field is the program's name in parentheses, which may hold anything.
        let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let runs = fields.next().is_some_and(|state| !matches!(state, "Z" | "X"));
        let started = fields.nth(18).and_then(|ticks| ticks.parse().ok());
        match started {
            Some(started) if runs => Ok(Self { pid, started }),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Whether it still runs. One that has ended and that nobody has waited for does not.
    pub fn is_alive(self) -> bool {
        Self::of(self.pid).is_ok_and(|now| now == self)
    }

    /// Sends it a signal, unless it has ended.
    pub fn signal(self, signal: Signal) -> io::Result<()> {
        if !self.is_alive() {
            return Ok(());
        }
        // Linux has no process ids beyond 2^22.
        match signal::kill(Pid::from_raw(self.pid as i32), signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits for its end; whether it has come in time.
    pub(crate) fn wait_until_gone(self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.is_alive() {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(PAUSE);
        }
        true
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.pid, self.started)
    }
}

impl FromStr for ProcessId {
    type Err = io::Error;

    fn from_str(text: &str) -> io::Result<Self> {
        let parse = || {
            let (pid, started) = text.split_once('.')?;
            Some(Self { pid: pid.parse().ok()?, started: started.parse().ok()? })
        };
        parse().ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// Marks a command as one of this process's labs.
pub(crate) fn mark(command: &mut Command) -> &mut Command {
    match ProcessId::own() {
        Ok(id) => command.env(VARIABLE, id.to_string()),
        // Without /proc nothing of a lab works, and what is to be started says so.
        Err(_) => command,
    }
}

/// Has the kernel kill the calling process when the thread that started it ends. Ends at once, by the error, where the
/// parent has ended before.
///
/// # Errors
/// When the parent is no longer the process with that number.
pub fn end_with_parent(parent: u32) -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() == Pid::from_raw(parent as i32) {
        Ok(())
    } else {
        Err(io::Error::other("the process that started this one has ended"))
    }
}

/// A process that a lab, or somebody in a lab, has started.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Straggler {
    /// Which.
    pub id: ProcessId,
    /// Its command line.
    pub command: String,
}

/// Kills every process that was started by a lab which is gone, and waits until they are gone, too. Says which.
///
/// Labs that still run are not touched, whoever runs them; neither is what other users have started, unless root asks.
///
/// # Errors
/// When one of them cannot be killed.
pub fn end_stragglers() -> io::Result<Vec<Straggler>> {
    let own_pids = fs::read_link("/proc/self/ns/pid")?;
    let is_one = |process: &Path| {
        // In a container numbers mean other processes.
        fs::read_link(process.join("ns/pid")).is_ok_and(|pids| pids == own_pids)
            && lab_of(process).is_some_and(|lab| !lab.is_alive())
    };
    end_all(is_one, None)
}

/// The lab that a process belongs to, as its folder in `/proc` says.
fn lab_of(process: &Path) -> Option<ProcessId> {
    let environment = fs::read(process.join("environ")).ok()?;
    let value = environment
        .split(|byte| *byte == 0)
        .find_map(|variable| variable.strip_prefix(VARIABLE.as_bytes())?.strip_prefix(b"="))?;
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Ends every other process of which the folder in `/proc` says that it is to end, and those that they start meanwhile.
/// With `grace` they are first told by SIGHUP and have so long to end by themselves.
pub(crate) fn end_all(is_one: impl Fn(&Path) -> bool, grace: Option<Duration>) -> io::Result<Vec<Straggler>> {
    let start = Instant::now();
    let mut ended: Vec<Straggler> = Vec::new();
    loop {
        let found = processes(&is_one)?;
        let Some(first) = found.first() else { return Ok(ended) };
        if start.elapsed() > PATIENCE + grace.unwrap_or_default() {
            return Err(io::Error::other(format!("process {} ({}) does not end", first.id.pid, first.command)));
        }
        for straggler in found {
            let is_new = ended.iter().all(|known| known.id != straggler.id);
            match grace {
                Some(grace) if start.elapsed() < grace => {
                    if is_new {
                        // One that is stopped hears nothing before it goes on.
                        straggler.id.signal(Signal::SIGHUP)?;
                        straggler.id.signal(Signal::SIGCONT)?;
                    }
                }
                _ => straggler.id.signal(Signal::SIGKILL)?,
            }
            if is_new {
                ended.push(straggler);
            }
        }
        thread::sleep(PAUSE);
    }
}

fn processes(is_one: impl Fn(&Path) -> bool) -> io::Result<Vec<Straggler>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if pid == std::process::id() {
            continue;
        }
        // The start first: what is then read of another process with this number ends nobody.
        let Ok(id) = ProcessId::of(pid) else { continue };
        if is_one(&entry.path()) {
            found.push(Straggler { id, command: command_line(&entry.path()) });
        }
    }
    Ok(found)
}

fn command_line(process: &Path) -> String {
    let words = fs::read(process.join("cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(words.strip_suffix(b"\0").unwrap_or(&words)).replace('\0', " ");
    if text.is_empty() { "?".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_alive_until_it_has_ended_even_if_nobody_has_waited_for_it() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let id = ProcessId::of(child.id()).unwrap();
        assert!(id.is_alive() && id != ProcessId::own().unwrap());
        assert!(!ProcessId { started: id.started + 1, ..id }.is_alive(), "a later one with its number");
        assert!(!id.wait_until_gone(Duration::ZERO));
        id.signal(Signal::SIGKILL).unwrap();
        assert!(id.wait_until_gone(PATIENCE), "a zombie");
        child.wait().unwrap();
        assert!(!id.is_alive());
    }

    #[test]
    fn what_a_lab_starts_bears_its_mark() {
        let own = ProcessId::own().unwrap();
        let printed = mark(Command::new("env").env_clear()).output().unwrap().stdout;
        assert_eq!(String::from_utf8(printed).unwrap(), format!("{VARIABLE}={own}\n"));
        assert_eq!(own.to_string().parse::<ProcessId>().unwrap(), own);
        for wrong in ["", "1", "1.", ".1", "1.2.3", "a.b"] {
            assert!(wrong.parse::<ProcessId>().is_err(), "{wrong:?}");
        }
    }
}
