//! What a lab leaves behind: nothing, however it ends. Needs root (or a user namespace).

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use lab::{Lab, LabSpec, Node, PodNetwork, PodSpec, Protocol};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const HELPER: &str = "PODWALL_LAB_TEST_HELPER";

fn build() -> Result<Lab> {
    let pod = |id: &str| PodSpec { id: id.into(), node: "node".into(), ports: vec![(Protocol::Tcp, 80)] };
    Ok(Lab::build(&LabSpec {
        nodes: vec!["node".into()],
        network: PodNetwork::default(),
        pods: vec![pod("a/a"), pod("a/b")],
        ..LabSpec::default()
    })?)
}

/// The namespaces (`net:[inode]`) of a lab.
fn namespaces(lab: &Lab) -> Result<BTreeSet<String>> {
    let name = |id| -> Result<String> {
        let link = lab.namespace(id)?.run(|| fs::read_link("/proc/thread-self/ns/net"))??;
        Ok(link.to_string_lossy().into_owned())
    };
    ["node", "a/a", "a/b"].into_iter().map(name).collect()
}

/// Every network namespace that some thread is in, some descriptor holds or some mount keeps.
fn held() -> BTreeSet<String> {
    let list = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut held = BTreeSet::new();
    let mut add = |path: PathBuf| held.extend(fs::read_link(path).map(|link| link.to_string_lossy().into_owned()));
    for process in list("/proc".into()).filter(|path| path.join("ns").exists()) {
        list(process.join("task")).for_each(|task| add(task.join("ns/net")));
        list(process.join("fd")).for_each(&mut add);
        let mounts = fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
        mounts.split_whitespace().filter(|word| word.starts_with("net:[")).for_each(|word| add(word.into()));
    }
    held
}

fn assert_gone(namespaces: &BTreeSet<String>) {
    let deadline = Instant::now() + Duration::from_secs(3);
    loop {
        let left: Vec<_> = held().intersection(namespaces).cloned().collect();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "{left:?} are still held");
        sleep(Duration::from_millis(20));
    }
}

fn links() -> Result<BTreeSet<String>> {
    Ok(fs::read_dir("/sys/class/net")?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect())
}

fn root_network() -> Result<(BTreeSet<String>, String, String, String)> {
    let routes = |file| fs::read_to_string(format!("/proc/self/net/{file}"));
    Ok((links()?, routes("route")?, routes("ipv6_route")?, fs::read_to_string("/proc/self/mountinfo")?))
}

#[test]
fn the_root_namespace_is_the_same_during_and_after_a_lab() -> Result {
    let before = root_network()?;
    let shm = fs::read_dir("/dev/shm")?.count();
    let lab = build()?;
    let inside = namespaces(&lab)?;
    assert_eq!(inside.len(), 3);
    assert!(held().is_superset(&inside), "or the next lines prove nothing");
    assert!(
        inside
            .iter()
            .all(|name| !fs::read_link("/proc/self/ns/net").is_ok_and(|root| root.as_os_str() == name.as_str()))
    );
    assert_eq!(root_network()?, before);
    assert_eq!(fs::read_dir("/dev/shm")?.count(), shm);
    drop(lab);
    assert_gone(&inside);
    assert_eq!(root_network()?, before);
    Ok(())
}

#[test]
fn a_dropped_pod_takes_its_link_off_the_node() -> Result {
    let node = Node::new("node", 1, PodNetwork::default())?;
    let pod = node.add_pod("a/a")?;
    let links = || -> Result<usize> {
        let listed = node.namespace().run(|| fs::read_to_string("/proc/thread-self/net/dev"))??;
        Ok(listed.lines().filter(|line| line.contains("veth")).count())
    };
    assert_eq!(links()?, 1);
    // No DEL: the link can only go when the kernel takes the whole namespace down.
    drop(pod);
    let deadline = Instant::now() + Duration::from_secs(3);
    while links()? > 0 {
        assert!(Instant::now() < deadline, "the pod's namespace lives on");
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[test]
fn a_killed_lab_leaves_nothing() -> Result {
    let before = root_network()?;
    let mut helper = Command::new(std::env::current_exe()?)
        .args(["--exact", "helper", "--nocapture"])
        .env(HELPER, "1")
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = helper.stdout.take().ok_or("no stdout")?;
    let announced =
        BufReader::new(stdout).lines().map_while(std::result::Result::ok).find(|line| line.contains("net:["));
    let words = announced.ok_or("the helper built no lab")?;
    let namespaces: BTreeSet<String> =
        words.split_whitespace().filter(|word| word.starts_with("net:[")).map(Into::into).collect();
    assert_eq!(namespaces.len(), 3);
    assert!(held().is_superset(&namespaces), "or the next lines prove nothing");

    helper.kill()?;
    helper.wait()?;
    assert_gone(&namespaces);
    assert_eq!(root_network()?, before);
    Ok(())
}

/// Not a test: what [`a_killed_lab_leaves_nothing`] kills.
#[test]
#[expect(clippy::print_stdout, reason = "it tells its parent")]
fn helper() -> Result {
    if std::env::var_os(HELPER).is_some() {
        let lab = build()?;
        println!("\n{}", namespaces(&lab)?.into_iter().collect::<Vec<_>>().join(" "));
        sleep(Duration::from_secs(60));
    }
    Ok(())
}
