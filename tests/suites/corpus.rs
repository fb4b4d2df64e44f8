//! The corpus of the fuzz targets, replayed: what they once found stays found.

use std::path::PathBuf;

#[path = "../../fuzz/src/exercise.rs"]
mod exercise;
#[path = "../../fuzz/src/questions.rs"]
mod questions;

fn inputs(target: &str) -> Vec<PathBuf> {
    let folder = podwall_tests::root().join("fuzz/corpus").join(target);
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

#[test]
fn words_of_the_corpus_are_read() {
    replay("words", questions::words);
}

#[test]
fn questions_about_the_corpus_are_answered() {
    replay("answers", questions::answers);
}
