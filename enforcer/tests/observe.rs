//! What a running agent answers, and whom: over TCP and over the control socket.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};
use std::process::Command;
use std::time::{Duration, Instant};

use enforcer::observe::control::{self, Client, ControlError, Request};
use enforcer::observe::{Enforcement, Identity, Kind, Observer, http};
use policy_compiler::ruleset::TableSize;
use support::{TABLE, in_namespace};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(20);

fn observer() -> Observer {
    Observer::new(Identity { node: "n1".into(), table: TABLE.into() })
}

fn make_ready(observer: &Observer) {
    observer.checked([]);
    Kind::WATCHED.into_iter().for_each(|kind| observer.listed(kind));
    observer.in_force(Enforcement { generation: 1, owned: true, size: TableSize::default(), policies: 0 });
}

/// In a namespace of its own, whose loopback is up.
fn with_runtime(test: impl AsyncFnOnce() + Send) {
    in_namespace(|| {
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip is installed");
        assert!(up.success());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { timeout(PATIENCE, test()).await.expect("it ends") });
    });
}

fn address() -> SocketAddr {
    ([127, 0, 0, 1], 9469).into()
}

async fn connect(address: SocketAddr) -> TcpStream {
    loop {
        match TcpStream::connect(address).await {
            Ok(stream) => return stream,
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Status and body; the head has what is looked for.
async fn get(address: SocketAddr, path: &str, head_has: &str) -> (u16, String) {
    let mut stream = connect(address).await;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.to_lowercase().contains(head_has), "{head}");
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn probes_say_what_does_not_hold() {
    with_runtime(async || {
        let (observer, address) = (observer(), address());
        tokio::spawn(http::serve(address, observer.clone()));
        let (status, body) = get(address, "/readyz", "").await;
        assert_eq!(status, 503);
        let signs: Vec<&str> = body.lines().map(|line| line.split(':').next().unwrap()).collect();
        assert_eq!(signs, ["[-]preflight", "[-]synced", "[-]committed", "[+]enforcing"]);
        make_ready(&observer);
        let (status, body) = get(address, "/readyz", "").await;
        assert_eq!((status, body.matches("[+]").count()), (200, 4), "{body}");
        let (status, body) = get(address, "/livez", "").await;
        assert!(status == 200 && body.starts_with("[+]heartbeat: "), "{body}");
        let (status, body) = get(address, "/metrics", "content-type: application/openmetrics-text").await;
        assert!(status == 200 && body.contains("podwall_ready 1\n"), "{body}");
        for path in ["/", "/status", "/withdraw", "/livez/x"] {
            assert_eq!(get(address, path, "").await.0, 404, "{path} is for the control socket, or for nobody");
        }
    });
}

#[test]
fn connections_that_say_nothing_keep_nobody_waiting_for_long() {
    with_runtime(async || {
        let address = address();
        tokio::spawn(http::serve(address, observer()));
        let mut silent = Vec::new();
        for _ in 0..40 {
            silent.push(connect(address).await);
        }
        // Those before it have been given up, or this one would wait behind them for ever.
        assert_eq!(get(address, "/livez", "").await.0, 200);
    });
}

#[test]
fn an_address_that_is_taken_is_waited_for() {
    with_runtime(async || {
        let address = address();
        let taken = tokio::net::TcpListener::bind(address).await.unwrap();
        tokio::spawn(http::serve(address, observer()));
        sleep(Duration::from_millis(50)).await;
        drop(taken);
        assert_eq!(get(address, "/livez", "").await.0, 200);
    });
}

#[test]
fn the_agent_of_a_table_is_found_by_the_tables_name() {
    with_runtime(async || {
        let observer = observer();
        let client = Client::new(TABLE);
        assert_eq!(client.status().await.unwrap(), None, "no agent");
        let (requests, mut received) = control::channel();
        tokio::spawn(control::serve(observer.clone(), requests));
        let status = loop {
            match client.status().await.unwrap() {
                Some(status) => break status,
                None => sleep(Duration::from_millis(10)).await,
            }
        };
        assert!(!status.ready && status.node == "n1", "{status:?}");
        make_ready(&observer);
        assert_eq!(client.status().await.unwrap().unwrap(), observer.status());
        assert!(observer.status().ready);
        assert_eq!(Client::new("other").status().await.unwrap(), None, "another table has another agent");

        let engine = async {
            let Request::Withdraw { answer } = received.recv().await.unwrap();
            answer.send(Ok(true)).unwrap();
            let Request::Withdraw { answer } = received.recv().await.unwrap();
            answer.send(Err(enforcer::kernel::KernelError::NotPermitted)).unwrap();
            let Request::Withdraw { answer } = received.recv().await.unwrap();
            drop(answer);
        };
        let asking = async {
            assert_eq!(client.withdraw().await.unwrap(), Some(true));
            let ControlError::Refused(why) = client.withdraw().await.unwrap_err() else { panic!("not refused") };
            assert!(why.contains("CAP_NET_ADMIN"), "{why}");
            let ControlError::Refused(why) = client.withdraw().await.unwrap_err() else { panic!("not refused") };
            assert_eq!(why, "the agent is ending");
        };
        tokio::join!(engine, asking);
    });
}

#[test]
fn nobody_waits_for_a_loop_that_does_not_answer() {
    with_runtime(async || {
        let (requests, mut received) = control::channel();
        tokio::spawn(control::serve(observer(), requests));
        let client = Client::new(TABLE);
        let why = loop {
            match client.withdraw().await {
                Ok(None) => sleep(Duration::from_millis(10)).await,
                answer => break answer.unwrap_err().to_string(),
            }
        };
        assert!(why.contains("loop does not answer"), "{why}");
        let Request::Withdraw { answer } = received.recv().await.unwrap();
        assert!(answer.is_closed(), "nothing must come of it any more");
    });
}

#[test]
fn nobody_waits_for_an_agent_that_does_not_answer() {
    with_runtime(async || {
        let address = UnixAddress::from_abstract_name(format!("podwall/{TABLE}")).unwrap();
        let _listener = UnixListener::bind_addr(&address).unwrap();
        let started = Instant::now();
        assert!(matches!(Client::new(TABLE).status().await, Err(ControlError::Silent)));
        assert!(started.elapsed() < PATIENCE);
    });
}
