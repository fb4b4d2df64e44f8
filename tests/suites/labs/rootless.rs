//! Labs that stay, of an ordinary user.

use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;

use lab::Signal;
use lab::lineage::ProcessId;
use podwall_tests::{Manifests, Run, finish, fixture, podwall};
use serde_json::Value;

use crate::traces::{Traces, running, runs};
use crate::{Ground, address, end_of, listen_to, manifests, strs, wait_for};

const NOBODY: u32 = 65_534;

/// A user without any right, and what such a user may read: our own files may lie where nobody else gets.
struct User<'g> {
    ground: &'g Ground,
    files: Manifests,
    user: u32,
}

impl<'g> User<'g> {
    fn new(ground: &'g Ground, user: u32) -> Self {
        let files = Manifests::new(&[]);
        let readable = || PermissionsExt::from_mode(0o755);
        let program = files.path().join("podwall");
        std::fs::copy(podwall(), &program).unwrap();
        std::fs::set_permissions(program, readable()).unwrap();
        std::fs::set_permissions(files.path(), readable()).unwrap();
        Self { ground, files, user }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.files.path().join("podwall"));
        command.args(arguments).uid(self.user).gid(self.user).current_dir("/");
        command
    }

    fn run(&self, arguments: &[&str]) -> Run {
        self.ground.network.run(|| finish(self.command(arguments), "")).unwrap()
    }

    fn lab(&self, arguments: &[&str], stdin: &str) -> Run {
        let command = self.command(&[&["lab"], arguments].concat());
        self.ground.network.run(|| finish(command, stdin)).unwrap()
    }

    /// A file that the user may read.
    fn file(&self, name: &str, text: &str) -> String {
        self.files.write(name, text);
        self.files.path().join(name).to_string_lossy().into_owned()
    }
}

impl Drop for User<'_> {
    /// A test that fails leaves no lab, either.
    fn drop(&mut self) {
        self.lab(&["down"], "");
    }
}

#[test]
fn an_ordinary_user_keeps_a_lab_enters_it_and_takes_it_down() {
    let ground = Ground::new();
    let user = User::new(&ground, NOBODY);
    let text = std::fs::read_to_string(manifests().path().join("all.yaml")).unwrap();
    user.lab(&["-f", "-", "--keep"], &text).expect(0);
    let listed: Value = serde_json::from_str(&user.lab(&["list", "-o", "json"], "").expect(0).stdout).unwrap();
    let lab = &listed["labs"][0];
    let keeper = ProcessId::of(lab["keeper"].as_u64().unwrap() as u32).unwrap();
    let traces = Traces::of(keeper);
    assert!(traces.count() > 4, "a switch, a node, three pods");

    let (client, server) = (address(lab, "default/client"), address(lab, "default/server"));
    let shell = |place: &str, command: &[&str]| user.lab(&[&["shell", place, "--"], command].concat(), "");
    let own = shell("client", &["ip", "-o", "addr"]).expect(0).stdout;
    assert!(own.contains(&format!("inet {client}/24")), "{own}");
    assert_eq!(shell("client", &strs(&listen_to(&server, 80))).expect(0).stdout, "podwall-lab default/server\n");
    assert_eq!(shell("other", &strs(&listen_to(&server, 80))).expect(124).stdout, "");
    let rules = shell("node", &["nft", "list", "table", "inet", "podwall"]).expect(0).stdout;
    assert!(rules.contains("pod_ingress/default/server"), "{rules}");

    // Labs are their user's alone.
    for other in [0, NOBODY - 1] {
        let other = User::new(&ground, other);
        assert_eq!(other.lab(&["list"], "").expect(0).stdout, "no lab stands\n");
        assert!(other.lab(&["down", "--name", "lab"], "").expect(0).stdout.starts_with("no lab lab stands\n"));
    }
    let address = |name: &str| SocketAddr::from_abstract_name(format!("podwall-lab-{NOBODY}-{name}")).unwrap();
    let asked = ground.network.run(|| {
        let mut stream = UnixStream::connect_addr(&address("lab"))?;
        // It may have hung up by now.
        _ = stream.write_all(b"\"down\"\n");
        let mut answer = String::new();
        _ = stream.read_to_string(&mut answer);
        std::io::Result::Ok(answer)
    });
    assert_eq!(asked.unwrap().unwrap(), "", "root is somebody else, too");
    assert!(keeper.is_alive());
    // Nor is a lab of theirs what somebody else has given such a name.
    let foreign = ground.network.run(|| UnixListener::bind_addr(&address("foreign"))).unwrap().unwrap();
    assert_eq!(user.lab(&["list"], "").expect(0).stdout.lines().count(), 2);
    drop(foreign);
    let down = user.lab(&["down"], "").expect(0).stdout;
    assert!(down.starts_with("lab is gone: 1 node, 3 pods\n"), "{down}");
    traces.expect_none(&ground, "after down");
}

#[test]
fn an_ordinary_user_takes_down_what_a_dead_lab_has_left() {
    let ground = Ground::new();
    let user = User::new(&ground, NOBODY);
    let text = std::fs::read_to_string(manifests().path().join("all.yaml")).unwrap();
    let name = format!("rootless-{}", std::process::id());
    user.lab(&["-f", "-", "--keep", "--name", &name], &text).expect(0);
    let keeper = running(&["--starter", &name])[0];
    let traces = Traces::of(keeper);
    let mut shell = ground.spawn(user.command(&["lab", "shell", "node", "--", "sleep", "1000"]));
    wait_for("the shell", || runs(shell.id(), &["sleep", "1000"]).then_some(()));
    keeper.signal(Signal::SIGKILL).unwrap();
    wait_for("the keeper's end", || (!keeper.is_alive()).then_some(()));
    user.lab(&["down"], "").expect(0);
    assert_eq!(end_of(&mut shell).signal(), Some(9), "ended by down");
    traces.expect_none(&ground, "after down");
}

/// All that a lab can do, over every network: Services, the world outside, states, fragments, expectations.
#[test]
fn an_ordinary_user_proves_whatever_root_does() {
    let ground = Ground::new();
    let user = User::new(&ground, NOBODY);
    let [open, closed] = ["open", "closed"].map(|state| {
        let files = ["cluster.yaml", "policies.yaml"].map(|name| fixture(&format!("lab/{state}/{name}")));
        let texts = files.map(|file| std::fs::read_to_string(file).unwrap());
        user.file(&format!("{state}.yaml"), &texts.join("\n---\n"))
    });
    let expectations = "- {from: default/client, to: default/web-1, port: 8080, verdict: allow}\n\
        - {from: 198.51.100.7, to: default/web-1, port: 8080, verdict: deny}\n";
    let expectations = user.file("expectations", expectations);
    for network in ["bridge", "ptp", "flannel-vxlan", "flannel-host-gw"] {
        let with_network = ["--cni", network, "--payload", "3000", "-o", "json"];
        let arguments = [&["-f", &open, "--then", &closed][..], &with_network].concat();
        let proof: Value = serde_json::from_str(&user.lab(&arguments, "").expect(0).stdout).unwrap();
        let states = proof["states"].as_array().unwrap();
        assert!(states.iter().all(|state| state["flows"].as_array().unwrap().len() > 300), "{network}");
        let cut = states[1]["connections"].as_array().unwrap().iter().filter(|one| one["observed"] == "deny").count();
        assert_eq!(cut, 4, "{network}: the client's, to both pods, in both families");
        let tested = user.run(&["test", "-f", &open, &expectations, "--lab", "--cni", network]).expect(0).stdout;
        assert!(tested.contains("all 2 expectations hold, and 3 flows of packets agree"), "{tested}");
    }
}
