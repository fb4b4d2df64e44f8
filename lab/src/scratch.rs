//! A folder that nobody else sees and that nothing can leave behind.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
};

use crate::namespace::on_thread;

/// Every Linux has this folder; the tmpfs that covers it is only there in our mount namespace.
const FOLDER: &str = "/dev/shm";

/// A tmpfs in a mount namespace that is held by a file descriptor alone.
#[derive(Debug, Clone)]
pub struct Scratch(Arc<File>);

impl Scratch {
    /// A new one, with nothing in it.
    pub fn new() -> io::Result<Self> {
        on_thread(|| {
            unshare(CloneFlags::CLONE_NEWNS)?;
            // Slave, not private: what the host unmounts must not stay busy because of us.
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)?;
            mount(Some("lab"), FOLDER, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=0700"))?;
            File::open("/proc/thread-self/ns/mnt").map(|file| Self(Arc::new(file)))
        })?
    }

    /// Shows the folder to the calling thread, for good, and says where it is.
    pub(crate) fn enter(&self) -> io::Result<&'static str> {
        // A thread shares its root and working folder with its process until told otherwise, and may not go alone.
        unshare(CloneFlags::CLONE_FS)?;
        setns(&*self.0, CloneFlags::CLONE_NEWNS)?;
        Ok(FOLDER)
    }

    /// Writes a file into a folder of it, in place of one that is there, and says where those who see it find the folder.
    pub fn write(&self, folder: &str, name: &str, content: &[u8]) -> io::Result<PathBuf> {
        on_thread(|| {
            let folder = Path::new(self.enter()?).join(folder);
            fs::create_dir_all(&folder)?;
            // Whoever watches the folder never sees half a file.
            let draft = folder.join(format!(".{name}.draft"));
            fs::write(&draft, content)?;
            fs::rename(draft, folder.join(name))?;
            Ok(folder)
        })?
    }
}
