//! A child that runs in a namespace and is listened to.

use std::{
    io::{self, BufRead, BufReader},
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use nix::{sys::signal, unistd::Pid};

use crate::{LabError, Namespace, lineage::mark, scratch::Scratch};

pub use nix::sys::signal::Signal;

/// A child process, killed and waited for when this is dropped.
///
/// It leads a process group of its own, so that Ctrl-C on the terminal is the lab's business and not the child's,
/// and so that its own children go with it. Against SIGKILL of the lab it must set `PR_SET_PDEATHSIG` itself
/// ([`crate::lineage::end_with_parent`]); the thread that spawned it lives as long as it does, as that signal demands.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
    /// Set once it has been waited for.
    status: Option<ExitStatus>,
    /// Its end lets the thread go. The thread is not waited for: a daemon that left the group may hold stderr open.
    _release: Sender<()>,
}

impl Process {
    /// Starts a command in a namespace. Its stdin is empty and its stderr is collected; its stdout is as set.
    pub fn spawn(namespace: &Namespace, command: Command) -> Result<Self, LabError> {
        Self::start(namespace, None, command)
    }

    /// The same, for a command that sees the files of a scratch folder.
    pub fn spawn_seeing(namespace: &Namespace, scratch: &Scratch, command: Command) -> Result<Self, LabError> {
        Self::start(namespace, Some(scratch.clone()), command)
    }

    fn start(namespace: &Namespace, scratch: Option<Scratch>, mut command: Command) -> Result<Self, LabError> {
        let name = command.get_program().to_string_lossy().into_owned();
        mark(&mut command).stdin(Stdio::null()).stderr(Stdio::piped()).process_group(0);

        let (spawned, child) = mpsc::channel();
        let (say, lines) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let namespace = namespace.clone();
        let keep = move || {
            let seen = scratch.iter().try_for_each(|scratch| scratch.enter().map(|_| ()));
            let born = seen.and_then(|()| namespace.enter()).and_then(|()| command.spawn());
            drop(namespace);
            let Ok(mut child) = born else {
                let _ = spawned.send(born);
                return;
            };
            let stderr = child.stderr.take();
            let _ = spawned.send(Ok(child));
            for line in stderr.into_iter().flat_map(|stderr| BufReader::new(stderr).split(b'\n')).map_while(Result::ok)
            {
                let _ = say.send(String::from_utf8_lossy(&line).into_owned());
            }
            drop(say);
            let _ = released.recv();
        };
        thread::Builder::new().spawn(keep).map_err(LabError::Thread)?;
        let child = child
            .recv()
            .unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
            .map_err(|source| LabError::Process { process: name.clone(), action: "start it", source })?;
        Ok(Self { name, child, lines, said: Vec::new(), status: None, _release: release })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line of its stderr that contains `pattern`. Each call goes on after the line that the last found.
    pub fn wait_for_line(&mut self, pattern: &str, timeout: Duration) -> Result<String, LabError> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(pattern) {
                        return Ok(line);
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Err(LabError::Silent {
                        process: self.name.clone(),
                        pattern: pattern.into(),
                        waited: timeout,
                        said: self.said.join("\n"),
                    });
                }
            }
        }
    }

    /// Everything it has said on stderr so far.
    pub fn stderr(&mut self) -> &[String] {
        self.said.extend(self.lines.try_iter());
        &self.said
    }

    /// Sends it a signal; one that has been waited for gets none.
    pub fn signal(&self, signal: Signal) -> Result<(), LabError> {
        // Its number may be somebody else's by now.
        if self.status.is_some() {
            return Ok(());
        }
        signal::kill(self.pid(), signal).map_err(self.error("signal it"))
    }

    /// Kills it and its group, and waits for it.
    pub fn kill(&mut self) -> Result<ExitStatus, LabError> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        signal::killpg(self.pid(), Signal::SIGKILL).map_err(self.error("kill it"))?;
        let status = self.child.wait().map_err(self.error("wait for it"))?;
        self.status = Some(status);
        Ok(status)
    }

    /// Waits for its end; `None` when it has not come in time.
    pub fn wait(&mut self, timeout: Duration) -> Result<Option<ExitStatus>, LabError> {
        let deadline = Instant::now() + timeout;
        while self.status.is_none() {
            self.status = self.child.try_wait().map_err(self.error("wait for it"))?;
            if Instant::now() >= deadline {
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(self.status)
    }

    fn pid(&self) -> Pid {
        // Linux has no process ids beyond 2^22.
        Pid::from_raw(self.child.id() as i32)
    }

    fn error<E: Into<io::Error>>(&self, action: &'static str) -> impl FnOnce(E) -> LabError {
        let process = self.name.clone();
        move |error| LabError::Process { process, action, source: error.into() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // There is nobody to tell, and a child that cannot be killed is already gone.
        let _ = self.kill();
    }
}
