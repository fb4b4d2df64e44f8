//! The control socket and other users. A process has one user, so this test has a process of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

use enforcer::observe::control::{self, Client, ControlError};
use enforcer::observe::{Identity, Observer};
use nix::unistd::{Uid, seteuid};
use support::{TABLE, in_namespace};
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

const NOBODY: u32 = 65_534;

fn address() -> SocketAddr {
    SocketAddr::from_abstract_name(format!("podwall/{TABLE}")).unwrap()
}

fn as_nobody<T>(act: impl FnOnce() -> T) -> T {
    seteuid(Uid::from_raw(NOBODY)).expect("tests run as root");
    let result = act();
    seteuid(Uid::from_raw(0)).unwrap();
    result
}

/// Lets the agent run for a moment.
fn run(runtime: &Runtime) {
    runtime.block_on(async { sleep(Duration::from_millis(10)).await });
}

/// What is answered while the agent runs; it runs in here only.
fn answer(runtime: &Runtime, mut stream: UnixStream) -> String {
    let asking = std::thread::spawn(move || {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(b"POST /withdraw HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    });
    while !asking.is_finished() {
        run(runtime);
    }
    asking.join().unwrap()
}

#[test]
fn other_users_are_neither_answered_nor_believed() {
    in_namespace(|| {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let squatter = as_nobody(|| UnixListener::bind_addr(&address()).unwrap());
        let believed = runtime.block_on(Client::new(TABLE).status());
        assert!(matches!(believed, Err(ControlError::Foreign { user: NOBODY, .. })), "{believed:?}");

        // The agent gets its name once it is free.
        let (requests, mut received) = control::channel();
        let observer = Observer::new(Identity { node: "n1".into(), table: TABLE.into() });
        runtime.spawn(control::serve(observer, requests));
        run(&runtime);
        drop(squatter);
        let own = loop {
            match UnixStream::connect_addr(&address()) {
                Ok(stream) => break stream,
                Err(_) => run(&runtime),
            }
        };
        let foreign = as_nobody(|| UnixStream::connect_addr(&address()).unwrap());
        let refused = answer(&runtime, foreign);
        assert!(refused.starts_with("HTTP/1.1 403 ") && refused.contains("only root may ask"), "{refused}");
        assert!(received.try_recv().is_err(), "nothing reached the loop");

        runtime.spawn(async move { drop(received.recv().await) });
        let heard = answer(&runtime, own);
        assert!(heard.contains("the agent is ending"), "{heard}");
    });
}
