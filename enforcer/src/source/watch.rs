//! Notifications about files, and which files are being written right now.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tokio::io::unix::AsyncFd;

/// A file that was modified and not closed for so long is read as it is.
const LONGEST_WRITE: Duration = Duration::from_secs(2);

/// Owns its file descriptor and never exchanges it: what [`AsyncFd`] relies on.
struct Descriptor(Inotify);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Watched directories and linked files.
pub(super) struct Watch {
    descriptor: AsyncFd<Descriptor>,
    /// One inode has one watch, whichever paths lead there.
    paths: HashMap<WatchDescriptor, BTreeSet<PathBuf>>,
    /// Since when a file is being written.
    writing: BTreeMap<PathBuf, Instant>,
}

impl Watch {
    pub(super) fn new() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "the constructor that replaces it is unsafe; `Descriptor` keeps what it asks for"
        )]
        let descriptor = AsyncFd::new(Descriptor(inotify))?;
        Ok(Self { descriptor, paths: HashMap::new(), writing: BTreeMap::new() })
    }

    /// Watches a directory, or a file on its own; twice is once.
    pub(super) fn add(&mut self, path: &Path) -> io::Result<()> {
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF;
        let watch = self.descriptor.get_ref().0.add_watch(path, flags)?;
        self.paths.entry(watch).or_default().insert(path.to_owned());
        Ok(())
    }

    /// Waits for something to happen.
    pub(super) async fn changed(&mut self) -> io::Result<BTreeSet<PathBuf>> {
        loop {
            let mut guard = self.descriptor.readable().await?;
            match guard.get_inner().0.read_events() {
                Ok(events) => {
                    drop(guard);
                    let mut touched = self.note(events);
                    touched.append(&mut self.drain()?);
                    return Ok(touched);
                }
                Err(Errno::EAGAIN) => guard.clear_ready(),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// What has happened since, without waiting: the paths that were touched.
    pub(super) fn drain(&mut self) -> io::Result<BTreeSet<PathBuf>> {
        let mut touched = BTreeSet::new();
        loop {
            match self.descriptor.get_ref().0.read_events() {
                Ok(events) => touched.append(&mut self.note(events)),
                Err(Errno::EAGAIN) => return Ok(touched),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// For how long files may still be waited for that are being written; none if there are none.
    pub(super) fn patience(&mut self) -> Option<Duration> {
        self.writing.retain(|_, since| since.elapsed() < LONGEST_WRITE);
        self.writing.values().map(|since| LONGEST_WRITE.saturating_sub(since.elapsed())).min()
    }

    fn note(&mut self, events: Vec<InotifyEvent>) -> BTreeSet<PathBuf> {
        let mut touched = BTreeSet::new();
        for event in events {
            if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                self.writing.clear(); // the close may be among the events that were lost
            }
            let Some(watched) = self.paths.get(&event.wd) else {
                touched.insert(PathBuf::new());
                continue;
            };
            for path in watched {
                let path = event.name.as_ref().map_or_else(|| path.clone(), |name| path.join(name));
                if event.mask.contains(AddWatchFlags::IN_MODIFY) {
                    self.writing.entry(path.clone()).or_insert_with(Instant::now);
                } else if !event.mask.contains(AddWatchFlags::IN_ATTRIB) {
                    self.writing.remove(&path);
                }
                touched.insert(path);
            }
            if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                self.paths.remove(&event.wd);
            }
        }
        touched
    }
}
