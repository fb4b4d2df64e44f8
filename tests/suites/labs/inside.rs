//! `podwall lab shell`: what one sees from inside a lab.

use std::process::Command;

use podwall_tests::{finish, podwall};

use crate::traces::{Traces, running};
use crate::{Ground, address, end_of, listen_to, manifests, strs, wait_for};

#[test]
fn a_shell_is_in_its_pod_or_on_its_node() {
    let (ground, manifests) = (Ground::new(), manifests());
    ground.lab(&["-f", manifests.argument(), "--keep"]).expect(0);
    let lab = &ground.labs()[0];
    let (client, server) = (address(lab, "default/client"), address(lab, "default/server"));

    let own = ground.shell("client", &["ip", "-o", "addr"]).expect(0).stdout;
    assert!(own.contains(&format!("inet {client}/24")), "{own}");
    assert_eq!(ground.shell("client", &["ls", "/sys/class/net"]).expect(0).stdout, "eth0\nlo\n");
    let ask = |place, address: &str| ground.shell(place, &strs(&listen_to(address, 80)));
    assert_eq!(ask("default/client", &server).expect(0).stdout, "podwall-lab default/server\n");
    assert_eq!(ask("default/other", &server).expect(124).stdout, "", "the policy does not allow it");
    assert_eq!(ask("default/server", &client).expect(0).stdout, "podwall-lab default/client\n");

    let rules = ground.shell("node", &["nft", "list", "table", "inet", "podwall"]).expect(0).stdout;
    assert!(rules.contains("pod_ingress/default/server") && rules.contains(&server), "{rules}");
    let place = ground.shell("node", &["sh", "-c", "echo $PODWALL_LAB_PLACE; exit 7"]).expect(7);
    assert_eq!(place.stdout, "node\n");
    let missing = ground.shell("node", &["/no/such/program"]).expect(2);
    assert!(missing.stderr.contains("cannot run /no/such/program: No such file"), "{}", missing.stderr);
    let nowhere = ground.lab(&["shell", "nowhere"]).expect(2);
    assert!(
        nowhere.stderr.contains(
            "no pod or node nowhere in lab lab; there are nodes node and pods default/client, default/other, default/server"
        ),
        "{}",
        nowhere.stderr
    );
}

/// In a terminal, which `script` makes.
#[test]
fn the_prompt_says_where_one_is() {
    let (ground, manifests) = (Ground::new(), manifests());
    ground.lab(&["-f", manifests.argument(), "--keep"]).expect(0);
    for (shell, prompt) in [("/bin/bash", "(default/client) "), ("/bin/sh", "(default/client) $ ")] {
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--command", &format!("{} lab shell client", podwall().display())]);
        command.arg("/dev/null").env("SHELL", shell);
        let run = ground.network.run(|| finish(command, "echo $PODWALL_LAB_PLACE; exit 3\n")).unwrap().expect(3);
        assert!(run.stdout.contains(prompt) && run.stdout.contains("default/client\r\n"), "{shell}: {}", run.stdout);
    }
}

#[test]
fn down_ends_who_is_inside() {
    let (ground, manifests) = (Ground::new(), manifests());
    ground.lab(&["-f", manifests.argument(), "--keep"]).expect(0);
    let traces = Traces::of(ground.keeper());
    // One that goes when it is told to, one that does not, one that nothing tells to be of the lab but where it is, and
    // one that has left the lab's networks.
    let tag = format!("10{}", std::process::id());
    let sleep = ["sleep", &*tag];
    let deaf = format!("trap '' HUP; sleep {tag} & wait");
    let commands: [&[&str]; 4] = [
        &sleep,
        &["sh", "-c", &deaf],
        &["env", "-i", "/usr/bin/sleep", &tag],
        &["unshare", "--net", "/usr/bin/sleep", &tag],
    ];
    let mut shells: Vec<_> =
        commands.iter().map(|command| ground.start(&[&["shell", "server", "--"], *command].concat())).collect();
    wait_for("all of them", || (running(&[&tag]).len() == 4).then_some(()));
    let down = ground.lab(&["down"]).expect(0).stdout;
    assert!(down.contains(&format!("({}), which was still in it", sleep.join(" "))), "{down}");
    assert!(running(&[&tag]).is_empty(), "{down}");
    traces.expect_none(&ground, "after down");
    shells.iter_mut().for_each(|shell| assert!(!end_of(shell).success()));
}
