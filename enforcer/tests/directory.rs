//! A watched directory: what counts while files come, go, break and are being written.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use enforcer::source::{Directory, DirectoryError, Snapshot};
use policy_compiler::cidr::CidrRules;
use policy_compiler::model::{Object, ObjectId};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

const SOON: Duration = Duration::from_secs(5);
const NEVER: Duration = Duration::from_millis(300);

fn policy(name: &str, app: &str) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{podSelector: {{matchLabels: {{app: \"{app}\"}}}}, policyTypes: [Ingress]}}\n"
    )
}

fn invalid(name: &str) -> String {
    policy(name, "x").replace("policyTypes: [Ingress]", "policyTypes: [Ingress], ingress: [{ports: [{port: 0}]}]")
}

struct Fixture {
    directory: TempDir,
    source: Directory,
}

impl Fixture {
    fn new(files: &[(&str, String)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, text)| fs::write(directory.path().join(name), text).unwrap());
        let source = Directory::open(directory.path(), CidrRules::Legacy).unwrap();
        Self { directory, source }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    async fn next(&mut self) -> Snapshot {
        timeout(SOON, self.source.snapshot()).await.expect("something has changed").unwrap()
    }

    async fn nothing(&mut self) {
        let next = timeout(NEVER, self.source.snapshot()).await;
        assert!(next.is_err(), "nothing has changed, but: {next:?}");
    }
}

/// Policies by name, those that are closed with a star.
fn names(snapshot: &Snapshot) -> String {
    let name = |(id, object): (&ObjectId, &Object)| match (id, object) {
        (ObjectId::Policy(name), Object::Policy(policy)) => {
            format!("{}{}", name.name, if policy.closed { "*" } else { "" })
        }
        (id, _) => id.to_string(),
    };
    snapshot.objects.iter().map(name).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn files_come_change_move_and_go() {
    let mut fixture = Fixture::new(&[("a.yaml", policy("a", "1") + &policy("b", "1")), ("notes.txt", "x".into())]);
    assert_eq!(names(&fixture.next().await), "a b");
    fixture.nothing().await;
    fixture.write("c.yml", &policy("c", "1"));
    assert_eq!(names(&fixture.next().await), "a b c");
    fs::create_dir(fixture.path("deep")).unwrap();
    fs::create_dir(fixture.path("deep/er")).unwrap();
    fixture.write("deep/er/d.yaml", &policy("d", "1"));
    assert_eq!(names(&fixture.next().await), "a b c d");
    fixture.write("deep/er/e.yaml", &policy("e", "1"));
    assert_eq!(names(&fixture.next().await), "a b c d e");
    fs::rename(fixture.path("deep"), fixture.path(".hidden")).unwrap();
    assert_eq!(names(&fixture.next().await), "a b c");
    fixture.write("a.yaml", &policy("a", "2"));
    assert_eq!(names(&fixture.next().await), "a c");
    fs::remove_file(fixture.path("c.yml")).unwrap();
    assert_eq!(names(&fixture.next().await), "a");
    fixture.write(".swp", "x");
    fixture.write("notes.txt", "y");
    fixture.nothing().await;
}

#[tokio::test]
async fn a_config_map_mount_is_switched_whole() {
    let mut fixture = Fixture::new(&[]);
    let version = |fixture: &Fixture, name: &str, app: &str| {
        fs::create_dir(fixture.path(name)).unwrap();
        fs::write(fixture.path(name).join("p.yaml"), policy("p", app)).unwrap();
        symlink(name, fixture.path("..data_tmp")).unwrap();
        fs::rename(fixture.path("..data_tmp"), fixture.path("..data")).unwrap();
    };
    version(&fixture, "..1", "1");
    symlink("..data/p.yaml", fixture.path("p.yaml")).unwrap();
    let first = fixture.next().await;
    assert_eq!(names(&first), "p");
    version(&fixture, "..2", "2");
    let second = fixture.next().await;
    assert_eq!(names(&second), "p");
    assert_ne!(first, second);
}

#[tokio::test]
async fn a_linked_file_is_watched_where_it_is() {
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("target");
    fs::write(&target, policy("a", "1")).unwrap();
    let mut fixture = Fixture::new(&[]);
    symlink(&target, fixture.path("a.yaml")).unwrap();
    assert_eq!(names(&fixture.next().await), "a");
    fs::write(&target, policy("b", "1")).unwrap();
    assert_eq!(names(&fixture.next().await), "b");
}

#[tokio::test]
async fn what_breaks_counts_as_it_last_was() {
    let mut fixture = Fixture::new(&[("a.yaml", policy("a", "1") + &policy("b", "1")), ("z.yaml", policy("z", "1"))]);
    let good = fixture.next().await;
    assert!(good.problems.is_empty());

    fixture.write("a.yaml", &(policy("a", "1") + "spec: [unclosed\n"));
    let broken = fixture.next().await;
    assert_eq!(broken.objects, good.objects, "a broken file counts as it was, whole");
    assert!(broken.problems[0].to_string().contains("a.yaml"), "{:?}", broken.problems);

    fixture.write("a.yaml", &(invalid("a") + &policy("b", "2")));
    let invalid = fixture.next().await;
    assert_eq!(names(&invalid), "a b z");
    let id = |name: &str| good.objects.keys().find(|id| id.to_string().ends_with(name)).unwrap();
    assert_eq!(invalid.objects[id("/a")], good.objects[id("/a")], "an invalid policy counts as it was");
    assert_ne!(invalid.objects[id("/b")], good.objects[id("/b")], "the rest of its file as it is");

    fixture.write("a.yaml", &policy("a", "1").replace("name: a,", "name: [],"));
    assert_eq!(names(&fixture.next().await), "a b z", "nobody can tell which one this is");

    fixture.write("a.yaml", &policy("b", "2"));
    let gone = fixture.next().await;
    assert_eq!(names(&gone), "b z");
    assert!(gone.problems.is_empty());
}

#[tokio::test]
async fn a_policy_that_never_was_valid_is_closed() {
    let mut fixture = Fixture::new(&[("a.yaml", invalid("a") + &policy("b", "1"))]);
    assert_eq!(names(&fixture.next().await), "a* b");
    fixture.write("a.yaml", &(invalid("a").replace("app: \"x\"", "app: \"y\"") + &policy("b", "1")));
    assert_eq!(names(&fixture.next().await), "a* b");
    fixture.write("a.yaml", &policy("a", "y"));
    assert_eq!(names(&fixture.next().await), "a");
    fixture.write("a.yaml", &invalid("a"));
    assert_eq!(names(&fixture.next().await), "a");
}

#[tokio::test]
async fn the_first_file_that_defines_an_object_counts() {
    let mut fixture = Fixture::new(&[("1.yaml", policy("a", "first")), ("2.yaml", policy("a", "second"))]);
    let both = fixture.next().await;
    assert!(format!("{:?}", both.objects).contains("first"));
    let problem = both.problems[0].to_string();
    assert!(problem.contains("2.yaml: NetworkPolicy shop/a is defined in") && problem.contains("1.yaml"), "{problem}");
    fs::remove_file(fixture.path("1.yaml")).unwrap();
    let one = fixture.next().await;
    assert!(format!("{:?}", one.objects).contains("second") && one.problems.is_empty());
}

#[tokio::test]
async fn a_half_written_file_is_waited_for() {
    let mut fixture = Fixture::new(&[("a.yaml", policy("a", "1") + &policy("b", "1"))]);
    fixture.next().await;
    let mut file = File::create(fixture.path("a.yaml")).unwrap();
    fixture.nothing().await;
    file.write_all(policy("a", "2").as_bytes()).unwrap();
    fixture.nothing().await;
    file.write_all(policy("b", "2").as_bytes()).unwrap();
    drop(file);
    let whole = fixture.next().await;
    assert_eq!(names(&whole), "a b");
    assert!(!format!("{:?}", whole.objects).contains("\"1\""));
}

#[tokio::test]
async fn a_file_that_is_never_closed_holds_nothing_up_for_long() {
    let mut fixture = Fixture::new(&[("a.yaml", policy("a", "1"))]);
    fixture.next().await;
    let mut file = File::create(fixture.path("a.yaml")).unwrap();
    file.write_all(policy("b", "1").as_bytes()).unwrap();
    let started = Instant::now();
    assert_eq!(names(&fixture.next().await), "b");
    assert!((1500..3500).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());

    // Another one is written to again and again: it stays what it was, the rest goes on.
    let noisy = fixture.path("noisy.yaml");
    let writer = tokio::spawn(async move {
        let mut file = File::create(noisy).unwrap();
        file.write_all(policy("noisy", "1").as_bytes()).unwrap();
        loop {
            file.write_all(b"# more\n").unwrap();
            sleep(Duration::from_millis(3)).await;
        }
    });
    sleep(Duration::from_millis(50)).await;
    fixture.write("c.yaml", &policy("c", "1"));
    assert_eq!(names(&fixture.next().await), "b c");
    writer.abort();
}

#[tokio::test]
async fn a_directory_must_be_there_at_the_start_and_is_missed_later() {
    let missing = Directory::open("/nonexistent/manifests", CidrRules::Legacy);
    assert!(
        matches!(missing, Err(DirectoryError::Unreadable { path, .. }) if path == Path::new("/nonexistent/manifests"))
    );

    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("manifests");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a.yaml"), policy("a", "1")).unwrap();
    let mut source = Directory::open(&root, CidrRules::Legacy).unwrap();
    let before = source.snapshot().await.unwrap();
    fs::rename(&root, parent.path().join("aside")).unwrap();
    let lost = timeout(SOON, source.snapshot()).await.unwrap().unwrap();
    assert_eq!(lost.objects, before.objects);
    assert!(lost.problems[0].to_string().contains("cannot be read"), "{:?}", lost.problems);

    fs::create_dir(&root).unwrap();
    fs::write(root.join("b.yaml"), policy("b", "1")).unwrap();
    let found = timeout(SOON, source.snapshot()).await.unwrap().unwrap();
    assert_eq!(names(&found), "b");
    fs::write(root.join("c.yaml"), policy("c", "1")).unwrap();
    assert_eq!(names(&timeout(SOON, source.snapshot()).await.unwrap().unwrap()), "b c");
}

#[tokio::test]
async fn an_unreadable_file_counts_as_it_last_was() {
    let mut fixture = Fixture::new(&[("a.yaml", policy("a", "1"))]);
    fixture.next().await;
    fs::write(fixture.path("a.yaml"), [b'#', 0xff, 0xfe]).unwrap();
    let lost = fixture.next().await;
    assert_eq!((names(&lost).as_str(), lost.problems.len()), ("a", 1));
    fixture.write("a.yaml", &policy("b", "1"));
    assert_eq!(names(&fixture.next().await), "b");
}
