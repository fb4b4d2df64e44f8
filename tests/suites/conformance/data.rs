//! The cases that are data: directories of `fixtures/conformance`.

use std::fs;
use std::path::{Path, PathBuf};

use analysis::expectation::{self, Expectation};
use podwall_tests::fixture;

use super::Case;

/// Every `NNN-words` directory.
pub fn cases() -> Vec<Case> {
    directories()
        .into_iter()
        .map(|(rule, words, path)| Case::new(rule, words, move |world| show(world, &path)))
        .collect()
}

/// Every expectation of every case: what the lab must provide for.
pub fn expectations() -> Vec<Expectation> {
    let steps = directories().into_iter().flat_map(|(.., path)| steps(&path));
    steps.flat_map(|step| read(&step).unwrap_or_default()).collect()
}

fn directories() -> Vec<(u16, String, PathBuf)> {
    let mut found: Vec<_> = children(&fixture("conformance"))
        .into_iter()
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?;
            let (rule, words) = name.split_once('-')?;
            Some((rule.parse().ok()?, words.replace('-', "_"), path.clone()))
        })
        .collect();
    found.sort();
    found
}

fn children(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut found: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

/// A case of one step is the directory itself; one of several has numbered directories.
fn steps(path: &Path) -> Vec<PathBuf> {
    let numbered = children(path);
    if numbered.is_empty() { vec![path.to_owned()] } else { numbered }
}

fn read(step: &Path) -> Result<Vec<Expectation>, String> {
    let path = step.join("expect.yaml");
    let name = path.strip_prefix(fixture("")).unwrap_or(&path).to_string_lossy().into();
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    expectation::read(&name, &text).map_err(|error| error.to_string())
}

fn show(world: &mut super::world::World, path: &Path) -> Result<(), String> {
    for step in steps(path) {
        let objects = step.join("objects.yaml");
        let text = fs::read_to_string(&objects).map_err(|error| format!("{}: {error}", objects.display()))?;
        world.apply(&text)?;
        world.expect_all(&read(&step)?).map_err(|wrong| format!("{}\n{wrong}", step.display()))?;
    }
    Ok(())
}
