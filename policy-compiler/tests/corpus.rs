//! The corpus of the fuzz targets, replayed: what they once found stays found.

#![cfg(test)]

use std::path::{Path, PathBuf};

#[path = "../../fuzz/exercise.rs"]
mod exercise;

fn inputs(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} has no files", folder.display());
    files
}

fn replay(target: &str, exercise: fn(&[u8])) {
    for file in inputs(target) {
        let input = std::fs::read(&file).unwrap();
        // What went wrong has been said by then.
        assert!(std::panic::catch_unwind(|| exercise(&input)).is_ok(), "replaying {}", file.display());
    }
}

#[test]
fn the_reader_survives_the_corpus() {
    replay("manifest", exercise::manifest);
}

#[test]
fn verdicts_and_plans_agree_on_the_corpus() {
    replay("compile", exercise::compile);
}
