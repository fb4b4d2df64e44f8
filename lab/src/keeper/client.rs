//! The side of those who ask: which labs stand, what they are, and an end to them.

use std::{
    collections::BTreeSet,
    fs, io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixStream},
    },
    time::Duration,
};

use nix::{
    sys::socket::{self, sockopt},
    unistd::geteuid,
};
use serde::de::DeserializeOwned;

use super::{
    Description, KeeperError, LabName, Place, place,
    wire::{self, Request},
};
use crate::lineage::{ProcessId, Straggler};

/// A keeper answers at once, unless it takes down a lab: then it waits for whoever is in it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A lab of this user, in this network namespace, that stood when it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptLab {
    /// What it is.
    pub description: Description,
    keeper: ProcessId,
}

/// A lab that was taken down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Down {
    /// What it was.
    pub description: Description,
    /// What was still running in it, such as somebody's shell.
    pub ended: Vec<Straggler>,
}

impl KeptLab {
    /// Every lab that stands, by name.
    ///
    /// # Errors
    /// When one of them does not answer.
    pub fn all() -> Result<Vec<Self>, KeeperError> {
        let failed = |source| KeeperError::Look { action: "look for labs in /proc/net/unix", source };
        let sockets = fs::read_to_string("/proc/self/net/unix").map_err(failed)?;
        // Connections have the address of the socket that they were made to.
        let names: BTreeSet<LabName> = sockets.lines().filter_map(name_of).collect();
        // Nobody answers for one that is being built, or goes meanwhile.
        names.iter().filter_map(|name| Self::find(name).transpose()).collect()
    }

    /// The lab of this name, if it stands.
    ///
    /// # Errors
    /// When its keeper does not answer.
    pub fn find(name: &LabName) -> Result<Option<Self>, KeeperError> {
        let Some(stream) = connect(name)? else { return Ok(None) };
        let failed = |source| KeeperError::Talk { lab: name.clone(), action: "ask its keeper", source };
        match ask::<Description>(&stream, Request::Describe) {
            Ok(description) => match ProcessId::of(description.keeper) {
                Ok(keeper) => Ok(Some(Self { description, keeper })),
                Err(_) => Ok(None),
            },
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// The process that keeps it, of which whatever is started in the lab should bear the mark
    /// ([`VARIABLE`](crate::lineage::VARIABLE)).
    pub fn keeper(&self) -> ProcessId {
        self.keeper
    }

    /// Moves the calling process into a place, for good, with the rights that the lab has there. It must have no second
    /// thread.
    ///
    /// # Errors
    /// When the lab is gone, or the kernel refuses.
    pub fn enter(&self, place: &Place) -> Result<(), KeeperError> {
        place::enter(place, self.keeper).map_err(|source| {
            if self.keeper.is_alive() {
                KeeperError::Enter { place: place.name.clone(), source }
            } else {
                KeeperError::Gone(self.description.name.clone())
            }
        })
    }

    /// Has the lab taken down, with whatever runs in it, and waits until it is gone. `None` when it was gone before.
    ///
    /// # Errors
    /// When the keeper does not answer or does not end.
    pub fn take_down(self) -> Result<Option<Down>, KeeperError> {
        let lab = &self.description.name;
        let Some(stream) = connect(lab)? else { return Ok(None) };
        let answer: Result<Vec<Straggler>, String> = match ask(&stream, Request::Down) {
            Ok(answer) => answer,
            Err(error) if is_gone(&error) => return Ok(None),
            Err(source) => return Err(KeeperError::Talk { lab: lab.clone(), action: "take it down", source }),
        };
        if !self.keeper.wait_until_gone(PATIENCE) {
            return Err(KeeperError::Stuck { lab: lab.clone(), keeper: self.keeper.pid });
        }
        match answer {
            Ok(ended) => Ok(Some(Down { description: self.description, ended })),
            Err(reason) => Err(KeeperError::Refused { lab: self.description.name, reason }),
        }
    }
}

/// The lab whose keeper has this socket, by a line of `/proc/net/unix`.
fn name_of(line: &str) -> Option<LabName> {
    let address = line.split_whitespace().last()?.strip_prefix('@')?;
    LabName::from_address(address, geteuid())
}

fn connect(name: &LabName) -> Result<Option<UnixStream>, KeeperError> {
    let user = geteuid();
    let connect = || {
        let stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(name.address(user))?)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        // Anybody may listen under any name.
        let keeper = socket::getsockopt(&stream, sockopt::PeerCredentials)?;
        if keeper.uid() == user.as_raw() { Ok(stream) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
    };
    match connect() {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(source) => Err(KeeperError::Talk { lab: name.clone(), action: "reach its keeper", source }),
    }
}

fn ask<T: DeserializeOwned>(stream: &UnixStream, request: Request) -> io::Result<T> {
    wire::say(stream, &request)?;
    wire::hear(stream)
}

/// Whether that is what one sees of a keeper that has just ended.
fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionRefused | ConnectionReset | UnexpectedEof)
}
