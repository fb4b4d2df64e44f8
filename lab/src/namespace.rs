//! A network namespace that is nothing but a file descriptor.

use std::{
    fs::{self, File},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsRawFd,
    panic::resume_unwind,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    thread,
};

use nix::{
    sched::{CloneFlags, setns, unshare},
    unistd::getegid,
};

use crate::LabError;

/// Below are the ports that pods listen on by habit.
const FIRST_SOURCE_PORT: u16 = 10_000;

/// A network namespace. Clones are the same namespace; it vanishes with the last of them, with whatever still runs
/// in it, and with the process.
#[derive(Debug, Clone)]
pub struct Namespace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    handle: File,
    next_source_port: AtomicU16,
}

impl Namespace {
    /// Makes an empty namespace. The name appears in errors only.
    ///
    /// Duplicate address detection is off in it, or every IPv6 address would take a second to become usable.
    pub fn new(name: impl Into<String>) -> Result<Self, LabError> {
        let name = name.into();
        let handle = on_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net")
        })
        .and_then(|handle| handle)
        .map_err(|source| LabError::Namespace {
            namespace: name.clone(),
            action: "be made".into(),
            source,
        })?;
        let next_source_port = AtomicU16::new(FIRST_SOURCE_PORT);
        let namespace = Self(Arc::new(Inner { name, handle, next_source_port }));
        let group = getegid();
        namespace.set_sysctls(&[
            ("net/ipv6/conf/all/accept_dad", "0"),
            ("net/ipv6/conf/default/accept_dad", "0"),
            ("net/ipv6/conf/default/dad_transmits", "0"),
            // No router ever answers, and each question takes a place in the kernel's one neighbour table.
            ("net/ipv6/conf/default/router_solicitations", "0"),
            // Who may have the sockets that echo requests are sent from: nobody, unless told otherwise.
            ("net/ipv4/ping_group_range", &format!("{group} {group}")),
        ])?;
        Ok(namespace)
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// A path that any process may open while this one lives; what `CNI_NETNS` wants.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.handle.as_raw_fd()).into()
    }

    /// Does something inside, on a thread of its own, and waits for it. Sockets made there stay there, wherever they
    /// are used later; processes spawned there are born there. A panic of `work` is a panic of the caller.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        on_thread(|| self.enter().map(|()| work())).and_then(|result| result).map_err(self.error("enter it"))
    }

    /// Writes files below `/proc/sys`.
    pub fn set_sysctls(&self, settings: &[(&str, &str)]) -> Result<(), LabError> {
        self.run(|| {
            settings.iter().try_for_each(|(key, value)| {
                fs::write(format!("/proc/sys/{key}"), value).map_err(self.error(format!("set {key} to {value}")))
            })
        })?
    }

    /// Moves the calling thread in, for good.
    pub(crate) fn enter(&self) -> io::Result<()> {
        Ok(setns(&self.0.handle, CloneFlags::CLONE_NEWNET)?)
    }

    pub(crate) fn error(&self, action: impl Into<String>) -> impl FnOnce(io::Error) -> LabError {
        let (namespace, action) = (self.0.name.clone(), action.into());
        move |source| LabError::Namespace { namespace, action, source }
    }

    /// Makes a socket on an address of its own, or on [`any`], and on a source port that this namespace has not used for
    /// as long as possible, so that no packet of it is taken for one of an older flow that conntrack remembers.
    ///
    /// The calling thread must have entered the namespace.
    pub(crate) fn bind_fresh<S>(&self, source: IpAddr, bind: impl Fn(SocketAddr) -> io::Result<S>) -> io::Result<S> {
        let mut attempts = FIRST_SOURCE_PORT..u16::MAX;
        loop {
            match bind(SocketAddr::new(source, self.next_source_port())) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts.next().is_some() => {}
                result => return result,
            }
        }
    }

    fn next_source_port(&self) -> u16 {
        let next = |port: u16| Some(port.checked_add(1).unwrap_or(FIRST_SOURCE_PORT));
        match self.0.next_source_port.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(port) | Err(port) => port,
        }
    }
}

/// The address that leaves it to the kernel from which one of its own a socket speaks to `to`.
pub(crate) fn any(to: IpAddr) -> IpAddr {
    match to {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Runs `work` on a thread that ends with it, for what changes a thread and must not change the caller's.
pub(crate) fn on_thread<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, work)?;
        Ok(thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}
