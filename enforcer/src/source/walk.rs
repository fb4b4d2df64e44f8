//! Which files of a directory are manifests.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// What tells one content of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

/// A manifest found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) identity: Identity,
    /// Its content may change without its directory being told.
    pub(super) symlink: bool,
}

/// Everything below a path.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// In order of their paths.
    pub(super) files: Vec<Found>,
    pub(super) unreadable: Vec<(PathBuf, io::Error)>,
}

/// All manifests below a path, sorted: `*.yaml`, `*.yml` and `*.json`, without hidden files and directories, symbolic
/// links followed. A path that is a file is a manifest, whatever its name.
///
/// # Errors
/// When a file or directory cannot be looked at, with its path in the message.
pub fn manifest_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let walk = walk(path, &mut |_| Ok(()));
    match walk.unreadable.into_iter().next() {
        Some((path, error)) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        None => Ok(walk.files.into_iter().map(|file| file.path).collect()),
    }
}

/// Looks at everything below `root`. `enter` is called for each directory before it is listed.
pub(super) fn walk(root: &Path, enter: &mut dyn FnMut(&Path) -> io::Result<()>) -> Walk {
    let mut walk = Walk::default();
    let mut entered = BTreeSet::new();
    visit(root, true, &mut walk, &mut entered, enter);
    walk.files.sort_by(|a, b| a.path.cmp(&b.path));
    walk
}

fn visit(
    path: &Path,
    root: bool,
    walk: &mut Walk,
    entered: &mut BTreeSet<(u64, u64)>,
    enter: &mut dyn FnMut(&Path) -> io::Result<()>,
) {
    match look(path, root, walk, entered, enter) {
        Ok(mut entries) => {
            entries.sort_unstable();
            for entry in entries.iter().filter(|entry| !is_hidden(entry)) {
                visit(entry, false, walk, entered, enter);
            }
        }
        // Gone since its directory was listed, or a link to nothing: as good as not there.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !root => {}
        Err(error) => walk.unreadable.push((path.to_owned(), error)),
    }
}

/// Notes a file, or gives back the entries of a directory.
fn look(
    path: &Path,
    root: bool,
    walk: &mut Walk,
    entered: &mut BTreeSet<(u64, u64)>,
    enter: &mut dyn FnMut(&Path) -> io::Result<()>,
) -> io::Result<Vec<PathBuf>> {
    let metadata = fs::metadata(path)?;
    if metadata.is_file() && (root || is_manifest(path)) {
        let symlink = fs::symlink_metadata(path)?.is_symlink();
        walk.files.push(Found { path: path.to_owned(), identity: Identity::of(&metadata), symlink });
    }
    // A link may lead back to a directory that is being listed.
    if !metadata.is_dir() || !entered.insert((metadata.dev(), metadata.ino())) {
        return Ok(Vec::new());
    }
    enter(path)?;
    fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect()
}

impl Identity {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

fn is_manifest(path: &Path) -> bool {
    ["yaml", "yml", "json"].iter().any(|extension| path.extension() == Some(OsStr::new(extension)))
}

/// Editors' and ConfigMap mounts' own entries start with a dot.
fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn finds_manifests_behind_links_and_no_hidden_ones() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        for directory in ["b", ".git", "..data-1"] {
            fs::create_dir(path(directory)).unwrap();
        }
        for file in ["z.yaml", "b/x.yml", "b/y.json", "b/README.md", ".git/a.yaml", ".swp.yaml", "..data-1/m.yaml"] {
            fs::write(path(file), "").unwrap();
        }
        symlink("..data-1", path("..data")).unwrap();
        symlink("..data/m.yaml", path("m.yaml")).unwrap();
        symlink(".", path("loop")).unwrap();
        symlink("nowhere", path("dangling.yaml")).unwrap();
        let found = manifest_files(root.path()).unwrap();
        assert_eq!(found, ["b/x.yml", "b/y.json", "m.yaml", "z.yaml"].map(path));
        assert_eq!(manifest_files(&path("b/README.md")).unwrap(), [path("b/README.md")]);
        let error = manifest_files(&path("missing")).unwrap_err();
        assert!(error.to_string().contains("missing"), "{error}");
    }
}
