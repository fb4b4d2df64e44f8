//! A lab may die at any moment.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lab::lineage::ProcessId;
use lab::{Process, Signal};
use podwall_tests::{Manifests, podwall, random, setting};

use crate::traces::{Traces, running, runs};
use crate::{Ground, PATIENCE, end_of, manifests, wait_for};

/// How many labs are killed, half of them kept ones.
const KILLS: u64 = 50;

/// What a lab was doing when it was killed.
#[derive(Debug, Default)]
struct Moments {
    /// It had not begun, or it had ended before.
    nothing: usize,
    building: usize,
    enforcing_or_probing: usize,
    standing: usize,
}

#[test]
#[expect(clippy::print_stdout, reason = "a failure is seen again with the seed")]
fn a_lab_that_is_killed_at_any_moment_leaves_nothing_that_down_does_not_end() {
    let seed = setting("PODWALL_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("PODWALL_SEED={seed}");
    let manifests = manifests();
    let start = Instant::now();
    let ground = Ground::new();
    ground.lab(&["-f", manifests.argument(), "--keep"]).expect(0);
    let whole = start.elapsed();
    ground.lab(&["down"]).expect(0);
    let mut moments = Moments::default();
    for kill in 0..KILLS {
        // The kills are spread evenly: each has its own part of the time, and a random moment of that.
        let part = f64::from(random::sample(&(0..1000u32), seed.wrapping_add(kill))) / 1000.;
        let is_kept = kill % 2 == 0;
        // Of a lab that is kept the last fifth of the moments come when it stands.
        let end = if is_kept { 1.25 } else { 1. };
        let moment = whole.mul_f64(end * ((kill / 2) as f64 + part) / (KILLS / 2) as f64);
        let when = format!("kill {kill} of seed {seed}, after {moment:?}, kept: {is_kept}");
        if is_kept {
            kill_kept(manifests.argument(), moment, &when, &mut moments);
        } else {
            kill_foreground(manifests.argument(), moment, &when, &mut moments);
        }
    }
    println!("{whole:?} a lab, {moments:?}");
    assert!(moments.building > 4 && moments.enforcing_or_probing > 4 && moments.standing > 1, "{moments:?}");
}

fn kill_foreground(manifests: &str, moment: Duration, when: &str, moments: &mut Moments) {
    let ground = Ground::new();
    let mut child = ground.start(&["-f", manifests]);
    sleep(moment);
    kill(&ground, ProcessId::of(child.id()).ok(), &mut child, when, moments);
}

fn kill_kept(manifests: &str, moment: Duration, when: &str, moments: &mut Moments) {
    let ground = Ground::new();
    // By the name its processes are found, too.
    let name = format!("killed-{}-{}", std::process::id(), moment.as_nanos());
    let mut child = ground.start(&["-f", manifests, "--keep", "--name", &name]);
    sleep(moment);
    let keeper = running(&["--starter", &name]).into_iter().next();
    kill(&ground, keeper.or_else(|| ProcessId::of(child.id()).ok()), &mut child, when, moments);
    let listed = ground.lab(&["list"]).expect(0).stdout;
    assert_eq!(listed, "no lab stands\n", "{when}");
}

/// Kills a lab, takes down what is left of it, and looks.
fn kill(ground: &Ground, lab: Option<ProcessId>, child: &mut Child, when: &str, moments: &mut Moments) {
    let Some(lab) = lab else {
        moments.nothing += 1;
        child.wait().unwrap();
        return;
    };
    // Stopped, so that what it has is known when it dies.
    let traces = Traces::of_stopped(lab);
    let agents = running(&["--end-with-parent", &lab.pid.to_string()]);
    *match (traces.count(), agents.len()) {
        (0, _) => &mut moments.nothing,
        (_, 0) => &mut moments.building,
        _ if child.try_wait().unwrap().is_some() => &mut moments.standing,
        _ => &mut moments.enforcing_or_probing,
    } += 1;
    lab.signal(Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    ground.lab(&["down"]).expect(0);
    traces.expect_none(ground, when);
}

#[test]
fn a_keeper_that_is_killed_leaves_shells_that_down_ends() {
    let (ground, manifests) = (Ground::new(), manifests());
    ground.lab(&["-f", manifests.argument(), "--keep"]).expect(0);
    let keeper = ground.keeper();
    let traces = Traces::of(keeper);
    assert!(traces.count() > 4, "a switch, a node, three pods");
    let mut shell = ground.start(&["shell", "server", "--", "sleep", "1000"]);
    wait_for("the shell", || runs(shell.id(), &["sleep", "1000"]).then_some(()));
    keeper.signal(Signal::SIGKILL).unwrap();
    wait_for("the keeper's end", || (!keeper.is_alive()).then_some(()));
    let down = ground.lab(&["down"]).expect(0).stdout;
    assert!(down.starts_with("no lab stands\n"), "{down}");
    // Or by the same command of somebody else.
    assert_eq!(end_of(&mut shell).signal(), Some(9), "ended by down");
    traces.expect_none(&ground, "after down");
}

/// What a lab starts for a moment, too, may hang when the lab is killed.
#[test]
fn a_killed_lab_leaves_no_program_that_it_waited_for() {
    let manifests = manifests();
    for (program, variable, others) in
        [("bridge", "CNI_PATH", "/usr/lib/cni"), ("ip", "PATH", "/usr/sbin:/usr/bin:/bin")]
    {
        let ground = Ground::new();
        let tag = format!("30{}", std::process::id());
        let hanging = Manifests::new(&[]);
        let file = hanging.path().join(program);
        std::fs::write(&file, format!("#!/bin/sh\n[ \"$1\" = -V ] || exec /bin/sleep {tag}\n")).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
        let mut command = Command::new(podwall());
        command.args(["lab", "-f", manifests.argument()]);
        command.env(variable, format!("{}:{others}", hanging.argument()));
        let mut lab = ground.spawn(command);
        let left = wait_for(program, || running(&["/bin/sleep", &tag]).into_iter().next());
        let traces = Traces::of_stopped(ProcessId::of(lab.id()).unwrap());
        lab.kill().unwrap();
        end_of(&mut lab);
        ground.lab(&["down"]).expect(0);
        assert!(!left.is_alive(), "{program}");
        traces.expect_none(&ground, program);
    }
}

#[test]
fn down_leaves_labs_in_the_foreground_alone() {
    let (ground, manifests) = (Ground::new(), manifests());
    let mut child = ground.start(&["-f", manifests.argument()]);
    let agent = ["--end-with-parent", &child.id().to_string()];
    let agent = wait_for("an agent", || running(&agent).into_iter().next());
    let down = ground.lab(&["down"]).expect(0).stdout;
    assert!(down.starts_with("no lab stands\n") && !down.contains(&format!("process {} ", agent.pid)), "{down}");
    assert!(child.wait().unwrap().success());
}

#[test]
fn down_ends_nothing_in_containers_where_numbers_mean_other_processes() {
    let ground = Ground::new();
    let tag = format!("20{}", std::process::id());
    // Linux has no process of this number.
    let mark = format!("{}=4194305.1", lab::lineage::VARIABLE);
    let start = |words: &[&str]| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        Process::spawn(&ground.network, command).unwrap()
    };
    let mut outside = start(&["env", &mark, "sleep", &tag]);
    let mut inside = start(&["unshare", "--pid", "--fork", "--kill-child", "env", &mark, "sleep", &tag]);
    wait_for("both", || (running(&[&tag]).len() == 3 && running(&[&mark]).len() == 1).then_some(()));
    ground.lab(&["down"]).expect(0);
    assert_eq!(outside.wait(PATIENCE).unwrap().unwrap().signal(), Some(9));
    assert!(inside.wait(Duration::ZERO).unwrap().is_none(), "the one in the container is another lab's");
}
