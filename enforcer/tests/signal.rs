//! SIGTERM: a process has one, so this test has a process of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant};

use enforcer::engine::{self, Options};
use enforcer::kernel::Kernel;
use enforcer::source::Directory;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use policy_compiler::cidr::CidrRules;
use policy_compiler::plan::Settings;
use support::{TABLE, in_namespace, nft};

#[test]
fn the_rules_stay_when_the_agent_is_told_to_stop() {
    in_namespace(|| {
        let directory = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let source = Directory::open(directory.path(), CidrRules::Legacy).unwrap();
            let options = Options { node: "node-a".into(), settings: Settings::default() };
            let agent = engine::run(source, Kernel::open(TABLE).unwrap(), options);
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
