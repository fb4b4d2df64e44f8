//! A directory of manifests, watched: the source that needs no API server.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use policy_compiler::cidr::CidrRules;
use policy_compiler::model::{Object, ObjectId};
use tokio::time::{sleep, timeout};

use super::file::FileState;
use super::walk::{Identity, Walk, walk};
use super::watch::Watch;
use super::{Event, News, Problem, Source};

/// How long nothing may have happened to a file for what was read of it to count.
const QUIET: Duration = Duration::from_millis(15);
/// For how long a directory that never gets quiet is waited for; then the files that are quiet count.
const PATIENCE: Duration = Duration::from_secs(2);
/// When what cannot be read, and so perhaps cannot be watched, is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What a directory says at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// All objects, whole.
    pub objects: BTreeMap<ObjectId, Object>,
    /// What is wrong with the files. What it concerns is in `objects` as it last was, or closed, or not at all.
    pub problems: Vec<Problem>,
}

/// Why a directory cannot be a source.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The system gives no notifications.
    #[error("cannot watch files: {0}")]
    Watch(#[source] io::Error),
    /// The directory could not be read at the start.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The directory, or what could not be read in it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Yields the objects of all manifests below a directory, and again whenever they change.
///
/// A file that cannot be read or parsed counts as it last was; an invalid object likewise, the rest of its file counts
/// as it is. An invalid policy that never was valid counts as closed. Half-written files are waited for. Of an object
/// that two files define, the first file's counts, in order of their paths.
pub struct Directory {
    root: PathBuf,
    rules: CidrRules,
    watch: Watch,
    files: BTreeMap<PathBuf, (Identity, FileState)>,
    /// Paths that were touched since they were read; anything at all in it asks for another look.
    touched: BTreeSet<PathBuf>,
    unreadable: Vec<Problem>,
    yielded: Option<Snapshot>,
}

impl Directory {
    /// Starts to watch; must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the directory cannot be read or watched.
    pub fn open(root: impl Into<PathBuf>, rules: CidrRules) -> Result<Self, DirectoryError> {
        let root = root.into();
        let mut watch = Watch::new().map_err(DirectoryError::Watch)?;
        let found = walk(&root, &mut |directory| watch.add(directory));
        if let Some((path, source)) = found.unreadable.into_iter().next() {
            return Err(DirectoryError::Unreadable { path, source });
        }
        let touched = BTreeSet::from([root.clone()]);
        Ok(Self { root, rules, watch, files: BTreeMap::new(), touched, unreadable: Vec::new(), yielded: None })
    }

    /// The first snapshot at once, then the next one that differs. Dropped, it has forgotten nothing, but for how long it
    /// has been waiting.
    ///
    /// # Errors
    /// When the system gives no more notifications.
    pub async fn snapshot(&mut self) -> Result<Snapshot, DirectoryError> {
        loop {
            if self.touched.is_empty() {
                let retry = self.has_unreadable();
                let changed = self.watch.changed();
                let events = match retry {
                    false => changed.await,
                    // Perhaps it is not watched: asked for again, as if something had happened to it.
                    true => timeout(RETRY, changed).await.unwrap_or_else(|_| Ok(BTreeSet::from([PathBuf::new()]))),
                };
                self.touched.append(&mut events.map_err(DirectoryError::Watch)?);
            }
            self.settle().await.map_err(DirectoryError::Watch)?;
            let snapshot = self.say();
            if self.yielded.as_ref() != Some(&snapshot) {
                self.yielded = Some(snapshot.clone());
                return Ok(snapshot);
            }
        }
    }

    /// Looks until nothing moves any more, then takes over what was read.
    async fn settle(&mut self) -> io::Result<()> {
        let started = Instant::now();
        loop {
            let mut events = self.watch.drain()?;
            self.touched.append(&mut events);
            if started.elapsed() < PATIENCE
                && let Some(patience) = self.watch.patience()
            {
                if let Ok(events) = timeout(patience, self.watch.changed()).await {
                    self.touched.append(&mut events?);
                }
                continue;
            }
            let walked = self.walk();
            let read = self.read_changed(&walked);
            sleep(QUIET).await;
            let moved = self.watch.drain()?;
            if moved.is_empty() || started.elapsed() > PATIENCE {
                self.take_over(walked, read, moved);
                return Ok(());
            }
            self.touched.extend(moved);
        }
    }

    fn walk(&mut self) -> Walk {
        let mut walked = walk(&self.root, &mut |directory| self.watch.add(directory));
        for file in walked.files.iter().filter(|file| file.symlink) {
            if let Err(error) = self.watch.add(&file.path) {
                walked.unreadable.push((file.path.clone(), error));
            }
        }
        walked
    }

    fn read_changed(&self, walked: &Walk) -> Vec<(PathBuf, Identity, FileState)> {
        let changed = walked.files.iter().filter(|file| {
            let known = self.files.get(&file.path).is_some_and(|(identity, _)| *identity == file.identity);
            !known || self.touched.contains(&file.path)
        });
        changed
            .map(|file| {
                let before = self.files.get(&file.path).map(|(_, state)| state);
                (file.path.clone(), file.identity, FileState::read(&file.path, self.rules, before))
            })
            .collect()
    }

    /// `moved`: what was touched after it was read, and stays as it was until the next look.
    fn take_over(&mut self, walked: Walk, read: Vec<(PathBuf, Identity, FileState)>, moved: BTreeSet<PathBuf>) {
        let there: BTreeSet<_> = walked.files.iter().map(|file| &file.path).collect();
        let lost = |path: &Path| walked.unreadable.iter().any(|(unreadable, _)| path.starts_with(unreadable));
        self.files.retain(|path, _| there.contains(path) || lost(path));
        for (path, identity, state) in read.into_iter().filter(|(path, ..)| !moved.contains(path)) {
            self.files.insert(path, (identity, state));
        }
        self.unreadable = walked
            .unreadable
            .iter()
            .map(|(path, error)| Problem::Unreadable { file: path.to_string_lossy().into(), reason: error.to_string() })
            .collect();
        self.touched = moved;
    }

    fn say(&self) -> Snapshot {
        let mut snapshot = Snapshot { problems: self.unreadable.clone(), ..Snapshot::default() };
        let mut defined: BTreeMap<&ObjectId, &Path> = BTreeMap::new();
        for (path, (_, state)) in &self.files {
            snapshot.problems.extend(state.problems.iter().cloned());
            for (id, object) in &state.objects {
                if let Some(first) = defined.get(id) {
                    let (file, ignored) = (first.to_string_lossy().into(), path.to_string_lossy().into());
                    snapshot.problems.push(Problem::Duplicate { object: id.clone(), file, ignored });
                } else {
                    defined.insert(id, path);
                    snapshot.objects.insert(id.clone(), object.clone());
                }
            }
        }
        snapshot
    }

    fn has_unreadable(&self) -> bool {
        let of_file = |problem: &Problem| matches!(problem, Problem::Unreadable { .. });
        !self.unreadable.is_empty() || self.files.values().any(|(_, state)| state.problems.iter().any(of_file))
    }
}

impl Source for Directory {
    type Error = DirectoryError;

    async fn next(&mut self) -> Result<News, DirectoryError> {
        let before = self.yielded.clone();
        let after = self.snapshot().await?;
        Ok(after.news(before.as_ref()))
    }
}

impl Snapshot {
    /// What has happened since `before`. What is gone comes first: its addresses may be another's already.
    fn news(self, before: Option<&Self>) -> News {
        let learned = Instant::now();
        let same = before.is_some_and(|before| before.problems == self.problems);
        let was = |id: &ObjectId| before.and_then(|before| before.objects.get(id));
        let gone = before.into_iter().flat_map(|before| before.objects.keys());
        let mut events: Vec<_> =
            gone.filter(|id| !self.objects.contains_key(*id)).map(|id| Event::remove(id.clone(), learned)).collect();
        let changed = self.objects.iter().filter(|(id, object)| was(id) != Some(*object));
        events.extend(changed.map(|(_, object)| Event::apply(object.clone(), learned)));
        News { events, problems: (!same).then_some(self.problems) }
    }
}
