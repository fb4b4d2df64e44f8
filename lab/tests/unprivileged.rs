//! A lab without root, and the words for a machine that cannot hold one.

use std::{
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use lab::{
    Expectation, Lab, LabError, LabSpec, Observed, PodNetwork, PodSpec, Probe, Protocol, Traffic, requirements, user,
};

const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
const NOBODY: u32 = 65_534;
const STAGE: &str = "PODWALL_LAB_TEST_STAGE";

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<ExitCode> {
    match std::env::var(STAGE).as_deref() {
        Ok("lab") => a_user_builds_a_lab()?,
        Ok("plugins") => missing_plugins_are_named_at_once()?,
        Ok("threads") => a_second_thread_is_too_late()?,
        _ => {
            for stage in ["lab", "plugins", "threads"] {
                let status = as_nobody(stage).status()?;
                assert!(status.success(), "stage {stage}: {status}");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// This program again, as a user without any right; the descriptor of the file serves where the path is closed to it.
fn as_nobody(stage: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.env(STAGE, stage).uid(NOBODY).gid(NOBODY).current_dir("/");
    command
}

fn a_user_builds_a_lab() -> Result {
    assert!(Lab::build(&LabSpec::default()).is_err(), "or the next lines prove nothing");
    user::enter_user_namespace_if_needed()?;
    let pod = |id: &str| PodSpec {
        id: id.into(),
        node: "node".into(),
        ports: PROTOCOLS.map(|protocol| (protocol, 80)).into(),
    };
    let lab = Lab::build(&LabSpec {
        nodes: vec!["node".into()],
        network: PodNetwork::default(),
        pods: vec![pod("a/a"), pod("a/b")],
        ..LabSpec::default()
    })?;
    for &to in lab.addresses("a/b")? {
        let probe = |traffic| Probe::new("a/a", to, traffic, Expectation::Allowed);
        let [tcp, udp, sctp] = PROTOCOLS.map(|protocol| probe(Traffic::Port(protocol, 80)));
        let observed = lab.probe_all(&[tcp, udp, sctp, probe(Traffic::Echo)], |_, _| {})?;
        assert_eq!(observed, [const { Observed::Allowed }; 4]);
    }
    Ok(())
}

fn missing_plugins_are_named_at_once() -> Result {
    user::enter_user_namespace_if_needed()?;
    assert!(requirements::check().is_ok());
    // An empty tmpfs over each folder that has plugins, seen by this process alone.
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
    for folder in lab::cni::search_path().iter().filter(|folder| folder.is_dir()) {
        let nothing = None::<&str>;
        nix::mount::mount(Some("none"), folder, Some("tmpfs"), nix::mount::MsFlags::empty(), nothing)?;
    }
    let error = requirements::check().err().ok_or("nothing is missing")?.to_string();
    for word in ["bridge, host-local, loopback", "containernetworking-plugins", "CNI_PATH"] {
        assert!(error.contains(word), "{error}");
    }
    Ok(())
}

fn a_second_thread_is_too_late() -> Result {
    let (_keep, wait) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || wait.recv());
    let error = user::enter_user_namespace_if_needed();
    assert!(matches!(&error, Err(LabError::UserNamespace { hint, .. }) if hint.contains("threads")), "{error:?}");
    Ok(())
}
