//! Into the background and out of it.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::process::Command;

use lab::Signal;
use lab::lineage::ProcessId;
use podwall_tests::{Manifests, assert_documented, finish, podwall, root};
use serde_json::Value;

use crate::traces::{Traces, running, runs};
use crate::{Ground, address, end_of, listen_to, manifests, manifests_of, strs, wait_for};

#[test]
fn a_kept_lab_stands_until_it_is_taken_down_and_then_nothing_is_left() {
    let (ground, manifests) = (Ground::new(), manifests());
    let kept = ground.lab(&["-f", manifests.argument(), "--keep"]).expect(0);
    for part in [
        "flows among 3 pods, 1 node and 2 addresses outside are as the policies say",
        "default/client  10.244.1.",
        "lab stands, kept by process",
        "podwall lab shell default/client ",
        "podwall lab shell node ",
        "podwall lab down ",
    ] {
        assert!(kept.stdout.contains(part), "{part} is missing in\n{}", kept.stdout);
    }
    let keeper = ground.keeper();
    assert!(keeper.is_alive() && kept.stdout.contains(&keeper.pid.to_string()));
    let listed = ground.lab(&["list"]).expect(0).stdout;
    let words: Vec<&str> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    let [name, network, nodes, pods, age, process] = words[..] else { panic!("{listed}") };
    assert_eq!((name, network, nodes, pods, process), ("lab", "bridge", "1", "3", &*keeper.pid.to_string()));
    assert!(age.ends_with('s'), "{age}");

    let traces = Traces::of(keeper);
    assert!(traces.count() > 4, "a switch, a node, three pods, or the next lines prove nothing");
    assert_eq!(ground.links(), ["lo"], "while it stands");
    let down = ground.lab(&["down"]).expect(0).stdout;
    assert!(!keeper.is_alive() && down.starts_with("lab is gone: 1 node, 3 pods\n"), "{down}");
    traces.expect_none(&ground, "after down");
    assert_eq!(ground.lab(&["list"]).expect(0).stdout, "no lab stands\n");
    assert!(ground.lab(&["down"]).expect(0).stdout.starts_with("no lab stands\n"));
    assert!(ground.lab(&["down", "--name", "x"]).expect(0).stdout.starts_with("no lab x stands\n"));
}

#[test]
fn what_is_kept_is_told_to_programs_too() {
    let (ground, manifests) = (Ground::new(), manifests());
    let run = |arguments: &[&str]| -> Value {
        serde_json::from_str(&ground.lab(&[arguments, &["-o", "json"]].concat()).expect(0).stdout).unwrap()
    };
    let kept = run(&["-f", manifests.argument(), "--keep", "--name", "told"]);
    let list = run(&["list"]);
    assert_eq!(list["labs"][0], kept["lab"]);
    assert_eq!((&kept["lab"]["name"], &kept["mismatches"]), (&"told".into(), &0.into()));
    assert_eq!(kept["lab"]["pods"][2]["node"], "node");
    let mut shell = ground.start(&["shell", "server", "--", "sleep", "1000"]);
    let pid = Value::from(shell.id());
    wait_for("the shell", || runs(shell.id(), &["sleep", "1000"]).then_some(()));
    let down = run(&["down"]);
    assert_eq!(down["labs"][0]["name"], "told");
    assert_eq!(down["labs"][0]["ended"], serde_json::json!([{"pid": pid, "command": "sleep 1000"}]));
    end_of(&mut shell);
    assert_documented("lab", &[kept, list, down]);
}

#[test]
fn two_labs_do_not_meet_and_a_third_needs_another_name() {
    // With more pods it is a matter of luck which gets which address.
    let (ground, manifests) = (Ground::new(), manifests_of(&["client", "server"]));
    let keep = |name| ground.lab(&["-f", manifests.argument(), "--keep", "--name", name]);
    keep("one").expect(0);
    keep("two").expect(0);
    let again = keep("two").expect(2);
    assert_eq!(again.stdout, "");
    assert!(again.stderr.contains("the name two is taken"), "{}", again.stderr);

    let labs = ground.labs();
    let [one, two] = &labs[..] else { panic!("{labs:?}") };
    // Each gives the same addresses to its pods, in the order in which they happen to be made.
    let addresses = |lab| ["client", "server"].map(|pod| address(lab, &format!("default/{pod}")));
    let sorted = |mut addresses: [String; 2]| {
        addresses.sort();
        addresses
    };
    assert_eq!(sorted(addresses(one)), sorted(addresses(two)));
    let servers = [addresses(one), addresses(two)].map(|[.., server]| server);
    let ask = |name: &str| {
        let command = listen_to(&servers[usize::from(name == "two")], 80);
        ground.lab(&[&["shell", "client", "--name", name, "--"], &*strs(&command)].concat()).stdout
    };
    let greeting = "podwall-lab default/server\n";
    assert_eq!([ask("one"), ask("two")], [greeting; 2]);
    let rules = "add table inet behind; add chain inet behind f { type filter hook forward priority -1; }; \
                 add rule inet behind f tcp dport 80 drop";
    ground.lab(&["shell", "node", "--name", "one", "--", "nft", rules]).expect(0);
    assert_eq!([ask("one"), ask("two")], ["", greeting]);

    let which = ground.lab(&["shell", "client"]).expect(2);
    assert!(which.stderr.contains("several labs stand: one, two; --name says which"), "{}", which.stderr);
    let unknown = ground.lab(&["shell", "client", "--name", "three"]).expect(2);
    assert!(unknown.stderr.contains("no lab three stands; there are one, two"), "{}", unknown.stderr);
    ground.lab(&["down", "--name", "one"]).expect(0);
    assert_eq!(ask("two"), greeting);
    let down = ground.lab(&["down"]).expect(0).stdout;
    assert!(down.starts_with("two is gone: "), "{down}");
    let none = ground.lab(&["shell", "client"]).expect(2);
    assert!(none.stderr.contains("no lab stands; `podwall lab -f PATH --keep` makes one"), "{}", none.stderr);
}

#[test]
fn the_exit_status_is_the_proofs() {
    let ground = Ground::new();
    let manifests = manifests();
    // A plugin that has every packet to port 80 dropped, behind the policies' backs.
    let plugins = Manifests::new(&[]);
    let script = "#!/bin/sh\n/usr/lib/cni/bridge || exit 1\n\
        /usr/sbin/nft 'add table inet behind; add chain inet behind f { type filter hook forward priority -1; }; \
        flush chain inet behind f; add rule inet behind f tcp dport 80 drop' >&2\n";
    let bridge = plugins.path().join("bridge");
    std::fs::write(&bridge, script).unwrap();
    std::fs::set_permissions(&bridge, PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = Command::new(podwall());
    command.args(["lab", "-f", manifests.argument(), "--keep"]).env("CNI_PATH", plugins.path()).current_dir(root());
    let kept = ground.network.run(|| finish(command, "")).unwrap().expect(1);
    assert!(kept.stdout.contains("flows are not as the policies say"), "{}", kept.stdout);
    assert_eq!(ground.labs().len(), 1, "that is when one wants to look");
}

#[test]
fn a_lab_that_cannot_be_built_does_not_stand() {
    let ground = Ground::new();
    let invalid = Manifests::new(&[("policy.yaml", "kind: NetworkPolicy\n")]);
    let failed = ground.lab(&["-f", invalid.argument(), "--keep"]).expect(2);
    assert!(failed.stdout.is_empty() && failed.stderr.contains("error"), "{failed:?}");
    let manifests = manifests();
    let mut command = Command::new(podwall());
    command.args(["lab", "-f", manifests.argument(), "--keep"]).env("PATH", "").current_dir(root());
    let failed = ground.network.run(|| finish(command, "")).unwrap().expect(2);
    assert!(failed.stderr.contains("this machine cannot hold a lab"), "{}", failed.stderr);
    assert!(ground.labs().is_empty());
    let named = ground.lab(&["-f", manifests.argument(), "--keep", "--name", "a b"]).expect(2);
    assert!(named.stderr.contains("must be of letters, digits"), "{}", named.stderr);
    let named = ground.lab(&["-f", manifests.argument(), "--name", "a"]).expect(2);
    assert!(named.stderr.contains("--keep"), "{}", named.stderr);
}

#[test]
fn manifests_come_from_standard_input_too() {
    let (ground, manifests) = (Ground::new(), manifests());
    let text = std::fs::read_to_string(manifests.path().join("all.yaml")).unwrap();
    let mut command = Command::new(podwall());
    command.args(["lab", "-f", "-", "--keep"]);
    ground.network.run(|| finish(command, &text)).unwrap().expect(0);
    assert_eq!(ground.labs()[0]["pods"].as_array().unwrap().len(), 3);
}

/// Ctrl-C ends the command that the user waits for; its keeper has no terminal.
#[test]
fn a_command_that_is_ended_before_the_lab_stands_takes_it_along() {
    let manifests = manifests();
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let ground = Ground::new();
        let name = format!("interrupted-{}-{signal}", std::process::id());
        let mut starter = ground.start(&["-f", manifests.argument(), "--keep", "--name", &name]);
        let keeper = wait_for("the keeper", || running(&["--starter", &name]).into_iter().next());
        wait_for("an agent", || running(&["--end-with-parent", &keeper.pid.to_string()]).into_iter().next());
        let traces = Traces::of_stopped(keeper);
        assert!(starter.try_wait().unwrap().is_none(), "the lab stands already");
        ProcessId::of(starter.id()).unwrap().signal(signal).unwrap();
        assert!(!end_of(&mut starter).success());
        traces.expect_none(&ground, &format!("after {signal}, without down"));
    }
}

#[test]
fn a_keeper_or_an_agent_whose_parent_has_ended_does_nothing() {
    let (ground, manifests) = (Ground::new(), manifests());
    let keeper = ground.lab(&["-f", manifests.argument(), "--keep", "--starter", "1"]).expect(2);
    let mut enforce = Command::new("timeout");
    enforce.arg("10").arg(podwall()).args(["enforce", "--manifests", manifests.argument(), "--node", "node"]);
    enforce.args(["--end-with-parent", "1"]);
    let agent = ground.network.run(|| finish(enforce, "")).unwrap().expect(2);
    for run in [keeper, agent] {
        assert!(run.stderr.contains("the process that started this one has ended"), "{}", run.stderr);
    }
}

#[test]
fn who_connects_and_says_nothing_stops_nobody() {
    let (ground, manifests) = (Ground::new(), manifests());
    ground.lab(&["-f", manifests.argument(), "--keep"]).expect(0);
    let address = SocketAddr::from_abstract_name("podwall-lab-0-lab").unwrap();
    let silent = ground.network.run(|| UnixStream::connect_addr(&address)).unwrap().unwrap();
    assert_eq!(ground.labs().len(), 1);
    drop(silent);
}

/// With every file system read-only: what is written nowhere is left nowhere.
#[test]
fn a_lab_writes_no_file() {
    let manifests = manifests();
    let ground = Ground::new();
    let script = r#"
        set -e
        mount --make-rprivate /
        for folder in / /tmp /run /dev/shm /var "$0" "$1"; do
            mountpoint --quiet "$folder" || mount --bind "$folder" "$folder"
            mount -o remount,bind,ro "$folder"
        done
        for folder in /tmp /run /dev/shm /var/run "$0" "$1"; do
            if touch "$folder/podwall-test" 2>&-; then echo "$folder is writable"; exit 1; fi
        done
        "$0/podwall" lab -f "$1" --keep
        "$0/podwall" lab list
        "$0/podwall" lab shell server -- true
        "$0/podwall" lab down
    "#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(podwall().parent().unwrap()).arg(manifests.path());
    let run = ground.network.run(|| finish(command, "")).unwrap().expect(0);
    assert!(run.stdout.contains("lab is gone: 1 node, 3 pods"), "{}{}", run.stdout, run.stderr);
}

#[test]
fn the_keeper_lets_go_of_whatever_its_user_has_open() {
    let (ground, manifests) = (Ground::new(), manifests());
    // A pipe is read until nobody has it open.
    let script = r#""$0" lab -f "$1" --keep 9>&1 2>&1 | tail -n 1; echo read"#;
    let mut command = Command::new("timeout");
    command.args(["30", "bash", "-c", script]).arg(podwall()).arg(manifests.argument());
    let run = ground.network.run(|| finish(command, "")).unwrap().expect(0);
    assert!(run.stdout.contains("takes it down\nread\n"), "{}", run.stdout);
    let keeper = ground.keeper();
    assert_eq!(std::fs::read_link(format!("/proc/{}/cwd", keeper.pid)).unwrap().to_str(), Some("/"));
    for stream in 0..=2 {
        let file = std::fs::read_link(format!("/proc/{}/fd/{stream}", keeper.pid)).unwrap();
        assert_eq!(file.to_str(), Some("/dev/null"));
    }
}
