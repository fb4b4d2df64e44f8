//! What is left of a lab, when it should be nothing.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lab::Signal;
use lab::lineage::{ProcessId, VARIABLE};

use crate::Ground;

/// The namespaces of a lab and its process. They are held open here: the numbers of namespaces that are gone are given to
/// new ones, and other tests make new ones all the time.
pub(crate) struct Traces {
    pub(crate) lab: ProcessId,
    namespaces: BTreeSet<String>,
    _held: Vec<File>,
}

impl Traces {
    /// Looks at a process that holds a lab; it is stopped from now on.
    pub(crate) fn of_stopped(lab: ProcessId) -> Self {
        lab.signal(Signal::SIGSTOP).unwrap();
        let process = PathBuf::from(format!("/proc/{}", lab.pid));
        // SIGSTOP takes its time.
        let deadline = Instant::now() + Duration::from_secs(5);
        let stands_still = |task: &PathBuf| {
            let stat = fs::read_to_string(task.join("stat")).unwrap_or_default();
            !matches!(stat.rsplit(')').next().and_then(|rest| rest.trim().chars().next()), Some('R' | 'S' | 'D'))
        };
        while !list(&process.join("task")).iter().all(stands_still) && Instant::now() < deadline {
            std::thread::yield_now();
        }
        Self::of(lab)
    }

    /// Looks at a process that holds a lab and has built all of it.
    pub(crate) fn of(lab: ProcessId) -> Self {
        let process = PathBuf::from(format!("/proc/{}", lab.pid));
        let ours: Vec<PathBuf> = ["net", "mnt"].iter().filter_map(|kind| own(kind)).collect();
        let outer = ["net", "mnt"].map(|kind| fs::read_link(process.join("ns").join(kind)).ok());
        let (mut namespaces, mut held) = (BTreeSet::new(), Vec::new());
        for path in paths(&process) {
            let Some(name) = namespace(&path) else { continue };
            // What its main thread is in is where the lab was started.
            if ours.contains(&name) || outer.contains(&Some(name.clone())) {
                continue;
            }
            if let Ok(file) = File::open(&path)
                && namespaces.insert(name.to_string_lossy().into_owned())
            {
                held.push(file);
            }
        }
        Self { lab, namespaces, _held: held }
    }

    /// How many namespaces it has.
    pub(crate) fn count(&self) -> usize {
        self.namespaces.len()
    }

    /// Those that others than this test hold.
    fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for process in processes().into_iter().filter(|process| !process.ends_with(std::process::id().to_string())) {
            let command = words(&process, "cmdline").join(" ");
            let mut note = |name: &str| {
                if self.namespaces.contains(name) {
                    left.push(format!("{name} by {} ({command})", process.display()));
                }
            };
            paths(&process).iter().filter_map(|path| namespace(path)).for_each(|name| note(&name.to_string_lossy()));
            let mounts = fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
            mounts.split_whitespace().filter(|word| word.starts_with("net:[")).for_each(&mut note);
        }
        left
    }

    /// Checks that there is no process of it, that nobody holds a namespace of it, and that it has left no link.
    #[track_caller]
    pub(crate) fn expect_none(&self, ground: &Ground, when: &str) {
        // Of processes that the kernel is about to bury, the namespaces go last.
        let deadline = Instant::now() + Duration::from_secs(3);
        loop {
            let (namespaces, processes) = (self.left(), marked(self.lab));
            if namespaces.is_empty() && processes.is_empty() && !self.lab.is_alive() {
                break;
            }
            assert!(Instant::now() < deadline, "{when}: processes {processes:?}, namespaces {namespaces:#?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(ground.links(), ["lo"], "{when}");
    }
}

/// The processes that bear the mark of a lab.
fn marked(lab: ProcessId) -> Vec<ProcessId> {
    let mark = format!("{VARIABLE}={lab}");
    find(|process| words(process, "environ").contains(&mark))
}

/// The processes of which the command line has these words, wherever.
pub(crate) fn running(wanted: &[&str]) -> Vec<ProcessId> {
    find(|process| {
        let found = words(process, "cmdline");
        wanted.iter().all(|word| found.iter().any(|found| found == word))
    })
}

/// Whether a process has come to run exactly this.
pub(crate) fn runs(pid: u32, command: &[&str]) -> bool {
    words(&PathBuf::from(format!("/proc/{pid}")), "cmdline") == command
}

fn find(is_one: impl Fn(&Path) -> bool) -> Vec<ProcessId> {
    let found = processes().into_iter().filter(|process| is_one(process));
    found.filter_map(|process| ProcessId::of(process.file_name()?.to_str()?.parse().ok()?).ok()).collect()
}

/// What a file of a process has, each with a zero byte after it.
fn words(process: &Path, file: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(&fs::read(process.join(file)).unwrap_or_default()).into_owned();
    text.split_terminator('\0').map(str::to_owned).collect()
}

fn processes() -> Vec<PathBuf> {
    let is_process = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes()[0].is_ascii_digit());
    list(Path::new("/proc")).into_iter().filter(is_process).collect()
}

/// Where a process has namespaces: its threads are in them, or its descriptors hold them.
fn paths(process: &Path) -> Vec<PathBuf> {
    let threads = list(&process.join("task")).into_iter();
    threads.flat_map(|task| [task.join("ns/net"), task.join("ns/mnt")]).chain(list(&process.join("fd"))).collect()
}

/// `net:[inode]` or `mnt:[inode]`.
fn namespace(path: &Path) -> Option<PathBuf> {
    let name = fs::read_link(path).ok()?;
    ["net:[", "mnt:["].iter().any(|kind| name.to_string_lossy().starts_with(kind)).then_some(name)
}

fn own(kind: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/self/ns/{kind}")).ok()
}

fn list(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}
