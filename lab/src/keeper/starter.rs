//! Into the background: the command that starts a keeper, and the keeper that lets go of it.
//!
//! The keeper's standard input is a socket whose other end is the starter's. Through it comes what the user gives the
//! starter as input, and back goes the exit status, once the lab stands. Until then the keeper dies with the starter.

use std::{
    env,
    fs::{self, File},
    io::{self, Read, Write},
    net::Shutdown,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::{Command, Stdio},
    thread,
};

use nix::{
    sys::prctl,
    unistd::{close, dup2_stderr, dup2_stdin, dup2_stdout, setsid},
};

use super::KeeperError;
use crate::lineage;

fn failed<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> KeeperError {
    move |error| KeeperError::Background { action, source: error.into() }
}

/// Starts a keeper with standard input from `input`, and waits until its lab stands or it ends. Says the exit status: the one
/// that it lets go with, or else its own.
///
/// # Errors
/// When it cannot be started, or ends by a signal.
pub fn start(mut command: Command, input: Option<impl Read + Send + 'static>) -> Result<u8, KeeperError> {
    let (mut keeper, stdin) = UnixStream::pair().map_err(failed("make a socket"))?;
    let mut child = command.stdin(Stdio::from(OwnedFd::from(stdin))).spawn().map_err(failed("start the keeper"))?;
    // It holds the keeper's end open.
    drop(command);
    let mut pipe = keeper.try_clone().map_err(failed("make a socket"))?;
    // Not waited for: a keeper that ends early reads no more, and people may never end what they type.
    thread::spawn(move || {
        // Errors are the keeper's, who has ended.
        _ = input.map(|mut input| io::copy(&mut input, &mut pipe));
        _ = pipe.shutdown(Shutdown::Write);
    });
    let mut status = [0];
    if keeper.read_exact(&mut status).is_ok() {
        return Ok(status[0]);
    }
    let ended = child.wait().map_err(failed("wait for the keeper"))?;
    ended.code().and_then(|code| code.try_into().ok()).ok_or(KeeperError::Died(ended))
}

/// What started this keeper, and waits for it.
#[derive(Debug)]
pub struct Starter(UnixStream);

impl Starter {
    /// Makes a keeper of the calling process, which [`start`] started: in a session of its own, so that no terminal ends
    /// it, and for the time being as mortal as its starter. To be called before anything is opened.
    ///
    /// # Errors
    /// When the starter has ended.
    pub fn attach(pid: u32) -> Result<Self, KeeperError> {
        setsid().map_err(failed("leave the session"))?;
        lineage::end_with_parent(pid).map_err(failed("stay with the command that started the keeper"))?;
        close_inherited().map_err(failed("close what was inherited"))?;
        let stdin =
            io::stdin().as_fd().try_clone_to_owned().map_err(failed("reach the command that started the keeper"))?;
        Ok(Self(stdin.into()))
    }

    /// Lets go of terminal, standard streams and working folder, and has the starter exit with `status`.
    ///
    /// # Errors
    /// When the starter has ended: whoever ended it wanted no lab.
    pub fn release(mut self, status: u8) -> Result<(), KeeperError> {
        let nothing = File::options().read(true).write(true).open("/dev/null").map_err(failed("open /dev/null"))?;
        let let_go = || {
            dup2_stdin(&nothing)?;
            dup2_stdout(&nothing)?;
            dup2_stderr(&nothing)?;
            env::set_current_dir("/")?;
            prctl::set_pdeathsig(None)?;
            Ok(())
        };
        let_go().map_err(|error: io::Error| failed("let go of the terminal")(error))?;
        self.0.write_all(&[status]).map_err(failed("tell that the lab stands"))
    }
}

/// What a shell or a build has open would stay open for as long as the lab stands: the lock of a script, the pipe that
/// somebody reads to its end.
fn close_inherited() -> io::Result<()> {
    let open: Vec<i32> =
        fs::read_dir("/proc/self/fd")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        // The one that listed them is closed already.
        _ = close(descriptor);
    }
    Ok(())
}
