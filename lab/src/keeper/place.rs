//! A pod or node of a kept lab, and the way into it.

use std::{
    fs::{self, File},
    io,
    net::IpAddr,
    os::unix::fs::MetadataExt,
    path::PathBuf,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
};
use serde::{Deserialize, Serialize};

use super::{Description, KeeperError};
use crate::lineage::ProcessId;

/// The namespace of pods that are named without one.
const DEFAULT_NAMESPACE: &str = "default";

/// A pod or a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// A pod's `namespace/name`, a node's name.
    pub name: String,
    /// The name of a pod's node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Its addresses, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// A path that is its network namespace, as long as the keeper lives.
    pub namespace: PathBuf,
}

impl Description {
    /// The pod or node that is called so: `namespace/pod`, a node, or a pod of the namespace `default`, in this order.
    ///
    /// # Errors
    /// When there is none; the error lists what there is.
    pub fn place(&self, name: &str) -> Result<&Place, KeeperError> {
        let find = |name: &str| self.nodes.iter().chain(&self.pods).find(|place| place.name == name);
        find(name).or_else(|| find(&format!("{DEFAULT_NAMESPACE}/{name}"))).ok_or_else(|| {
            let names = |places: &[Place]| places.iter().map(|place| place.name.clone()).collect();
            KeeperError::NoSuchPlace {
                lab: self.name.clone(),
                place: name.to_owned(),
                nodes: names(&self.nodes),
                pods: names(&self.pods),
            }
        })
    }
}

/// Moves the calling process, which must have one thread only, into a place of a keeper: for good.
pub(super) fn enter(place: &Place, keeper: ProcessId) -> io::Result<()> {
    let user = File::open(format!("/proc/{}/ns/user", keeper.pid))?;
    let network = File::open(&place.namespace)?;
    // Otherwise the two are somebody else's.
    if !keeper.is_alive() {
        return Err(io::ErrorKind::NotConnected.into());
    }
    // Nobody may enter the user namespace in which they are.
    if user.metadata()?.ino() != fs::metadata("/proc/self/ns/user")?.ino() {
        setns(user, CloneFlags::CLONE_NEWUSER)?;
    }
    setns(network, CloneFlags::CLONE_NEWNET)?;
    // Where /sys cannot be shown anew, it goes on to show the links of the place that one comes from.
    _ = show_sys();
    Ok(())
}

/// Gives the calling process a `/sys` with the links of its network namespace.
fn show_sys() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    // Slave, not private: what the host unmounts must not stay busy because of us.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("lab"), "/sys", Some("sysfs"), flags, None::<&str>)
}
