//! SIGTERM: a process has one, so this test has a process of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant};

use enforcer::engine;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{TABLE, agent, in_namespace, nft};

#[test]
fn the_rules_stay_when_the_agent_is_told_to_stop() {
    in_namespace(|| {
        let directory = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let agent = engine::run(agent(directory.path(), "node-a"));
            let stopping = async {
                while !nft("list tables").contains(TABLE) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                kill(Pid::this(), Signal::SIGTERM).unwrap();
                Instant::now()
            };
            let (ended, told) =
                tokio::time::timeout(Duration::from_secs(10), async { tokio::join!(agent, stopping) }).await.unwrap();
            ended.unwrap();
            assert!(told.elapsed() < Duration::from_secs(2));
        });
        assert!(nft("list table inet podwall").contains("hook forward"));
    });
}
