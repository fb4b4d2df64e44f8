//! What the suites share: the binary, namespaces of their own, and nft as the judge.
//!
//! Everything here panics when something is missing, and says what: a test that cannot run has failed.
#![forbid(unsafe_code)]

pub mod agent;
pub mod browser;
pub mod kubernetes;
pub mod random;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use lab::Namespace;
use serde_json::Value;

/// The `podwall` binary, built from what is in the tree now: optimised where `PODWALL_RELEASE` is set, for measurements.
pub fn podwall() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let release = std::env::var_os("PODWALL_RELEASE").is_some();
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", "podwall", "--manifest-path"])
            .arg(root().join("Cargo.toml"))
            .args(release.then_some("--release"))
            .status()
            .expect("cargo starts");
        assert!(built.success(), "podwall does not build");
        let test = std::env::current_exe().expect("a test has a path");
        let target = test.ancestors().nth(3).expect("tests lie in target/PROFILE/deps");
        let binary = target.join(if release { "release" } else { "debug" }).join("podwall");
        assert!(binary.exists(), "{} is missing", binary.display());
        binary
    })
}

/// The `podwall` binary as somebody starts it who sits at a terminal: tests that are started in the background hand on
/// that Ctrl-C is to be ignored.
pub fn podwall_at_terminal() -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal=INT").arg(podwall());
    command
}

/// The top of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lie below the root")
}

/// A number that the environment sets for the suites.
pub fn setting(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, is {text}")))
}

/// A fixture, by its path below `fixtures`.
pub fn fixture(path: &str) -> PathBuf {
    root().join("fixtures").join(path)
}

/// Holds what was printed against the file of what is expected, which `PODWALL_BLESS=1` writes anew.
#[track_caller]
pub fn golden(file: &Path, found: &str) {
    if std::env::var_os("PODWALL_BLESS").is_some() {
        std::fs::write(file, found).expect("fixtures can be written");
    }
    let expected = std::fs::read_to_string(file).unwrap_or_default();
    assert_same_lines(found, &expected, &format!("{}: PODWALL_BLESS=1 writes what is printed now", file.display()));
}

/// What a run of a program came to.
#[derive(Debug)]
pub struct Run {
    /// The exit status; none for a signal.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Run {
    /// The same, after checking its exit status.
    #[track_caller]
    pub fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

/// Runs `podwall` with these arguments and this standard input.
pub fn run(arguments: &[&str], stdin: &str) -> Run {
    let mut command = Command::new(podwall());
    command.args(arguments).current_dir(root());
    finish(command, stdin)
}

/// Has `podwall` show its colours: these are there where colours are wanted, and none in a pipe or where they are not.
#[track_caller]
pub fn assert_coloured(arguments: &[&str], colours: &[&str]) {
    let ask = |variable: &str| {
        let mut command = Command::new(podwall());
        command.args(arguments).current_dir(root());
        command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").env(variable, "1");
        finish(command, "").stdout
    };
    let coloured = ask("CLICOLOR_FORCE");
    assert!(colours.iter().all(|colour| coloured.contains(colour)), "{coloured:?}");
    for variable in ["NO_COLOR", "NOTHING_TO_DO_WITH_COLOURS"] {
        assert!(!ask(variable).contains('\u{1b}'), "{variable}");
    }
}

/// Runs `podwall` in a network namespace.
pub fn run_in(namespace: &Namespace, arguments: &[&str]) -> Run {
    namespace.run(|| run(arguments, "")).expect("the namespace can be entered")
}

/// Runs a program with this standard input, until it has ended and nobody has its output open.
pub fn finish(mut command: Command, stdin: &str) -> Run {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let mut input = child.stdin.take().expect("it is piped");
    let text = stdin.to_owned();
    let writer = std::thread::spawn(move || {
        // A program that has seen enough may close its input.
        _ = input.write_all(text.as_bytes());
    });
    let Output { status, stdout, stderr } = child.wait_with_output().expect("a child can be waited for");
    writer.join().expect("writing does not panic");
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    Run { status: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// A new network namespace with nothing in it.
pub fn namespace(name: &str) -> Namespace {
    Namespace::new(name).unwrap_or_else(|error| panic!("{error}"))
}

/// nft in a namespace; panics with what it says where it refuses.
#[track_caller]
pub fn nft(namespace: &Namespace, arguments: &[&str], stdin: &str) -> String {
    let run = namespace
        .run(|| {
            let mut command = Command::new("nft");
            command.args(arguments);
            finish(command, stdin)
        })
        .expect("the namespace can be entered");
    assert_eq!(run.status, Some(0), "nft {arguments:?}: {}\n{}", run.stderr, numbered(stdin));
    run.stdout
}

fn numbered(text: &str) -> String {
    text.lines().enumerate().map(|(number, line)| format!("{:>4} {line}\n", number + 1)).collect()
}

/// The table as nft lists it: without the state of counters, empty lines, and the marks of who owns it.
#[track_caller]
pub fn listing(namespace: &Namespace) -> String {
    let text = nft(namespace, &["--stateless", "list", "table", "inet", "podwall"], "");
    let mark = |line: &&str| matches!(line.trim(), "" | "flags" | "flags owner");
    let lines = text.lines().filter(|line| !mark(line));
    lines.map(|line| line.split(" # progname").next().unwrap_or(line).to_owned() + "\n").collect()
}

/// Every key of what a verb prints stands in its section of `docs/json.md`.
#[track_caller]
pub fn assert_documented(verb: &str, printed: &[Value]) {
    let text = std::fs::read_to_string(root().join("docs/json.md")).expect("docs/json.md is there");
    let section = text.split("\n## ").find(|section| section.starts_with(&format!("{verb}\n")));
    let section = section.unwrap_or_else(|| panic!("docs/json.md has no section {verb}"));
    let mut keys = BTreeSet::new();
    printed.iter().for_each(|value| collect_keys(value, &mut keys));
    assert!(keys.len() > 3, "{keys:?}");
    let documented = |key: &&String| {
        let written = [format!("`{key}`"), format!("`{key}: true`"), format!("\"{key}\":")];
        written.iter().any(|written| section.contains(written))
    };
    let missing: Vec<_> = keys.iter().filter(|key| !documented(key)).collect();
    assert!(missing.is_empty(), "docs/json.md does not tell of {missing:?}");
}

fn collect_keys(value: &Value, keys: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            keys.extend(fields.keys().cloned());
            fields.values().for_each(|value| collect_keys(value, keys));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_keys(item, keys)),
        _ => (),
    }
}

/// Panics with the lines that differ, and not with two whole listings.
#[track_caller]
pub fn assert_same_lines(left: &str, right: &str, what: &str) {
    assert!(left == right, "{what}: {}", differing_lines(left, right));
}

/// The lines that only one of two texts has.
pub fn differing_lines(left: &str, right: &str) -> String {
    let only = |text: &str, other: &str| -> String {
        let other: std::collections::HashSet<&str> = other.lines().collect();
        text.lines().filter(|line| !other.contains(line)).map(|line| line.to_owned() + "\n").collect()
    };
    format!("only left:\n{}only right:\n{}", only(left, right), only(right, left))
}

/// All tables as nft lists them in JSON, an object a line: without handles, counts and what tells who made them, and in
/// the order of names where order means nothing, which is everywhere but in chains.
#[track_caller]
pub fn json_ruleset(namespace: &Namespace) -> String {
    const ATTEMPTS: usize = 5;
    for _ in 0..ATTEMPTS {
        let mut objects = json_objects(namespace, &["list", "ruleset"]);
        // Listed while the kernel resizes it, as it does for a moment after elements came, a set has some of them twice.
        if objects.iter().all(has_no_element_twice) {
            objects.sort_by_key(place);
            return objects.iter().map(|object| format!("{object}\n")).collect();
        }
    }
    panic!("nft lists elements twice, {ATTEMPTS} times");
}

/// Kind, table, and the name of the object, or of the chain that a rule is in.
fn place(object: &Value) -> (String, String, String) {
    let (kind, fields) = object.as_object().and_then(|object| object.iter().next()).expect("an object of one kind");
    let text = |field: &str| fields[field].as_str().unwrap_or_default().to_owned();
    (kind.clone(), text("table"), if kind == "rule" { text("chain") } else { text("name") })
}

fn has_no_element_twice(object: &Value) -> bool {
    let elements = ["set", "map"].into_iter().find_map(|kind| object[kind]["elem"].as_array());
    let elements: Vec<_> = elements.into_iter().flatten().map(Value::to_string).collect();
    elements.iter().collect::<BTreeSet<_>>().len() == elements.len()
}

/// The table as nft lists it in JSON: without handles, counts and what tells who made it.
#[track_caller]
pub fn json_listing(namespace: &Namespace) -> Value {
    json_objects(namespace, &["list", "table", "inet", "podwall"]).into()
}

#[track_caller]
fn json_objects(namespace: &Namespace, arguments: &[&str]) -> Vec<Value> {
    let text = nft(namespace, &[&["--json"], arguments].concat(), "");
    let mut value: Value = serde_json::from_str(&text).expect("nft prints JSON");
    let mut objects = std::mem::take(value["nftables"].as_array_mut().expect("a list of objects"));
    objects.retain(|object| object.get("metainfo").is_none());
    objects.iter_mut().for_each(without_state);
    objects
}

fn without_state(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for key in ["handle", "packets", "bytes", "flags"] {
                // Flags of sets say what they are; those of tables, who made them.
                if key != "flags" || fields.get("type").is_none() {
                    fields.remove(key);
                }
            }
            fields.values_mut().for_each(without_state);
        }
        Value::Array(items) => items.iter_mut().for_each(without_state),
        _ => (),
    }
}

/// A listing without the comments of chains, sets and maps, which nft up to 1.0.6 ignores where it reads JSON.
pub fn without_comments(listing: &str) -> String {
    let kept = listing.lines().filter(|line| !line.trim_start().starts_with("comment \""));
    kept.map(|line| line.to_owned() + "\n").collect()
}

/// A directory of manifests, edited as a careful person does: whole files, put in place by renaming.
pub struct Manifests(tempfile::TempDir);

impl Manifests {
    /// A new directory with these files.
    pub fn new(files: &[(&str, &str)]) -> Self {
        let manifests = Self(tempfile::tempdir().expect("a temporary directory"));
        files.iter().for_each(|(name, text)| manifests.write(name, text));
        manifests
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Its path as an argument.
    pub fn argument(&self) -> &str {
        self.path().to_str().expect("temporary paths are UTF-8")
    }

    /// Writes a file, in place of the one that is there.
    pub fn write(&self, name: &str, text: &str) {
        let draft = self.path().join(format!(".{name}.draft"));
        std::fs::write(&draft, text).expect("the directory is ours");
        std::fs::rename(draft, self.path().join(name)).expect("the directory is ours");
    }

    /// Writes into the file that is there, as editors do that do not rename.
    pub fn overwrite(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).expect("the directory is ours");
    }

    /// Removes a file.
    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.path().join(name)).expect("the file is there");
    }
}
