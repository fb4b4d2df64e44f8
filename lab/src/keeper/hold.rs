//! The keeper's side: it takes a name, holds a lab, answers, and goes.

use std::{
    collections::BTreeSet,
    fs, io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{
            fs::MetadataExt,
            net::{UnixListener, UnixStream},
        },
    },
    path::Path,
    time::{Duration, SystemTime},
};

use nix::{
    errno::Errno,
    sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr, sockopt},
    unistd::geteuid,
};

use super::{
    Description, KeeperError, LabName, Place,
    wire::{self, Request},
};
use crate::{
    Namespace, PodNetwork,
    lineage::{self, Straggler},
    proof::Stage,
};

/// Whoever connects has something to say.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long those who are in a lab have to end by themselves.
const GRACE: Duration = Duration::from_millis(500);

/// A name that is taken, for a lab that is yet to be built.
#[derive(Debug)]
pub struct Keeper {
    name: LabName,
    socket: OwnedFd,
}

/// A lab that stands and can be asked for.
#[derive(Debug)]
pub struct Standing {
    listener: UnixListener,
    stage: Stage,
    description: Description,
}

impl Keeper {
    /// Takes a name. Nobody finds it before the lab stands. To be called before a user namespace is entered, in which
    /// everybody is root.
    ///
    /// # Errors
    /// When it is taken.
    pub fn claim(name: LabName) -> Result<Self, KeeperError> {
        let address = name.address(geteuid());
        let bind = || {
            let socket = socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
            socket::bind(socket.as_raw_fd(), &UnixAddr::new_abstract(address.as_bytes())?)?;
            Ok(socket)
        };
        match bind() {
            Ok(socket) => Ok(Self { name, socket }),
            Err(Errno::EADDRINUSE) => Err(KeeperError::Taken(name)),
            Err(errno) => Err(KeeperError::Talk { lab: name, action: "take the name", source: errno.into() }),
        }
    }

    /// Lets the lab be found. Those who ask are answered by [`Standing::serve`].
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn stand(self, stage: Stage, network: PodNetwork) -> Result<Standing, KeeperError> {
        let description = describe(self.name.clone(), &stage, network)?;
        let failed = |errno: Errno| KeeperError::Talk { lab: self.name, action: "listen", source: errno.into() };
        socket::listen(&self.socket, Backlog::MAXCONN).map_err(failed)?;
        Ok(Standing { listener: self.socket.into(), stage, description })
    }
}

fn describe(name: LabName, stage: &Stage, network: PodNetwork) -> Result<Description, KeeperError> {
    let lab = stage.lab();
    let nodes = lab.nodes().map(|node| Place {
        name: node.name().to_owned(),
        node: None,
        addresses: node.addresses().to_vec(),
        namespace: node.namespace().path(),
    });
    let pods = lab.pods().map(|pod| {
        Ok(Place {
            name: pod.to_owned(),
            node: Some(lab.node_of(pod)?.to_owned()),
            addresses: lab.addresses(pod)?.to_vec(),
            namespace: lab.namespace(pod)?.path(),
        })
    });
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Ok(Description {
        name,
        network,
        since,
        keeper: std::process::id(),
        nodes: nodes.collect(),
        pods: pods.collect::<Result<_, KeeperError>>()?,
    })
}

impl Standing {
    /// What can be told of it.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Answers until somebody wants the lab down, and takes it down.
    ///
    /// # Errors
    /// When nobody can connect any more.
    pub fn serve(self) -> Result<(), KeeperError> {
        let mut down = loop {
            let failed = |source| KeeperError::Talk { lab: self.description.name.clone(), action: "listen", source };
            let (stream, _) = self.listener.accept().map_err(failed)?;
            // Who asks and does not hear the answer, or is not to be heard, is their own problem.
            if let Ok(Request::Down) = self.answer(&stream) {
                break stream;
            }
        };
        let ended = take_down(self.stage).map_err(|error| error.to_string());
        // The name is free when who asked hears that the lab is down.
        drop(self.listener);
        _ = wire::say(&mut down, &ended);
        Ok(())
    }

    /// Hears what is asked, and answers whatever leaves the lab standing.
    fn answer(&self, stream: &UnixStream) -> io::Result<Request> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let asker = socket::getsockopt(stream, sockopt::PeerCredentials)?;
        if asker.uid() != geteuid().as_raw() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let request = wire::hear(stream)?;
        if request == Request::Describe {
            wire::say(stream, &self.description)?;
        }
        Ok(request)
    }
}

/// Ends the agents, and then whoever else is in the lab.
fn take_down(stage: Stage) -> io::Result<Vec<Straggler>> {
    let lab = stage.lab();
    let pods = lab.pods().filter_map(|pod| lab.namespace(pod).ok());
    // Held on to: numbers of namespaces that are gone are given to others.
    let held: Vec<Namespace> = lab.nodes().map(|node| node.namespace()).chain(pods).cloned().collect();
    let numbers: BTreeSet<u64> = held.iter().map(|namespace| number(&namespace.path())).collect::<Result<_, _>>()?;
    drop(stage);
    let is_inside = |process: &Path| number(&process.join("ns/net")).is_ok_and(|number| numbers.contains(&number));
    lineage::end_all(is_inside, Some(GRACE))
}

fn number(namespace: &Path) -> io::Result<u64> {
    Ok(fs::metadata(namespace)?.ino())
}
