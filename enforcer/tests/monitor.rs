//! What others do to the table is heard, and nothing else is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use enforcer::kernel::{Foreign, Kernel, KernelError, Monitor, Repair};
use policy_compiler::delta::Delta;
use policy_compiler::ruleset::{Element, Key, Table};
use support::{TABLE, everything, in_namespace, listing, load, nft, try_nft, v4, without_capabilities};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);
const NEVER: Duration = Duration::from_millis(200);

/// A table that has no owner, as on kernels before 6.9, with its writer and who listens.
struct Plain {
    kernel: Kernel,
    monitor: Monitor,
}

impl Plain {
    fn new() -> Self {
        nft("add table inet podwall");
        let mut kernel = Kernel::open(TABLE).unwrap();
        let monitor = Monitor::open(TABLE, kernel.port()).unwrap();
        kernel.repair(&Repair::create(&everything())).unwrap();
        Self { kernel, monitor }
    }

    async fn hears(&mut self) -> Foreign {
        timeout(SOON, self.monitor.changed()).await.expect("something has happened").unwrap()
    }

    /// What was done; nft did it.
    async fn hears_nft(&mut self) -> String {
        match self.hears().await {
            Foreign::Changed { by: Some(by), what } if by.starts_with("nft (pid ") => what,
            other => panic!("{other:?}"),
        }
    }

    async fn hears_nothing(&mut self) {
        let heard = timeout(NEVER, self.monitor.changed()).await;
        assert!(heard.is_err(), "{heard:?}");
    }
}

fn in_runtime(test: impl AsyncFnOnce() + Send) {
    in_namespace(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
    });
}

#[test]
fn what_others_change_is_told_in_words_and_by_whom() {
    let cases = [
        ("delete element inet podwall addresses_4 { 10.244.1.1 }", "1 element of addresses_4 deleted"),
        ("add element inet podwall addresses_4 { 10.9.9.1, 10.9.9.2 }", "2 elements of addresses_4 added"),
        ("delete element inet podwall ranges_4 { 10.0.0.0/8 }", "1 element of ranges_4 deleted"),
        ("flush set inet podwall named_4", "3 elements of named_4 deleted"),
        ("flush chain inet podwall side", "1 rule of side deleted"),
        ("insert rule inet podwall base accept", "1 rule of base added"),
        ("add chain inet podwall stranger", "chain stranger created or changed"),
        ("delete chain inet podwall stranger", "chain stranger deleted"),
        ("add set inet podwall stranger { type ipv4_addr; }", "set stranger created or changed"),
        ("add chain inet podwall base { policy drop; }", "chain base created or changed"),
        ("add counter inet podwall stranger", "1 other object created or changed"),
        ("add table inet podwall { flags dormant; }", "the table was created or changed"),
    ];
    in_runtime(async || {
        let mut plain = Plain::new();
        plain.hears_nothing().await;
        for (command, what) in cases {
            nft(command);
            assert_eq!(plain.hears_nft().await, what, "{command}");
        }
        plain.hears_nothing().await;
    });
}

#[test]
fn a_flush_of_everything_is_one_answer() {
    in_runtime(async || {
        let mut plain = Plain::new();
        nft("flush ruleset");
        assert_eq!(plain.hears_nft().await, "the table was deleted");
        plain.hears_nothing().await;
        plain.kernel.repair(&Repair::create(&everything())).unwrap();
        plain.hears_nothing().await;
        load("delete table inet podwall\ntable inet podwall { chain x { }\n }");
        assert_eq!(plain.hears_nft().await, "the table was deleted and created anew");
        load("flush table inet podwall\nadd chain inet podwall y\nadd chain inet podwall z");
        assert_eq!(plain.hears_nft().await, "2 chains created or changed");
    });
}

#[test]
fn all_that_is_queued_is_one_answer() {
    in_runtime(async || {
        let mut plain = Plain::new();
        for last in 10..20 {
            nft(&format!("add element inet podwall addresses_4 {{ 10.9.9.{last} }}"));
        }
        nft("delete element inet podwall map_4 { 10.244.1.1 }");
        nft("add element inet podwall named_4 { 10.9.9.9 . tcp . 80 }");
        match plain.hears().await {
            Foreign::Changed { by: Some(by), what } => {
                assert_eq!(what, "1 element of map_4 deleted, 11 elements of several sets added");
                assert_eq!(by.matches("nft (pid ").count(), 3, "a few are named: {by}");
            }
            other => panic!("{other:?}"),
        }
        plain.hears_nothing().await;
    });
}

#[test]
fn the_writer_and_other_tables_are_not_heard() {
    in_runtime(async || {
        let mut plain = Plain::new();
        let mut wanted = everything();
        wanted.sets.get_mut("addresses_4").unwrap().elements.insert(Element::new(Key::Address(v4(77))));
        wanted.chains.get_mut("side").unwrap().rules.clear();
        plain.kernel.commit(&Delta::between(&everything(), &wanted)).unwrap();
        load(
            "table inet podwall2 { set addresses_4 { type ipv4_addr; elements = { 10.0.0.1 }
                }
                chain side { drop; }
            }
            table ip podwall { chain side { drop; }
            }
            table inet podwal { chain side { drop; }
            }
            delete table ip podwall",
        );
        plain.hears_nothing().await;
        nft("delete element inet podwall2 addresses_4 { 10.0.0.1 }");
        plain.hears_nothing().await;
        // Another socket of this very process is somebody else.
        let mut other = Kernel::open(TABLE).unwrap();
        other.commit(&Delta::between(&wanted, &everything())).unwrap();
        let heard = plain.hears().await.to_string();
        assert!(heard.starts_with("1 rule of side added, 1 element of addresses_4 deleted, by "), "{heard}");
    });
}

#[test]
fn a_cancelled_wait_loses_nothing() {
    in_runtime(async || {
        let mut plain = Plain::new();
        for _ in 0..20 {
            assert!(timeout(Duration::ZERO, plain.monitor.changed()).await.is_err());
        }
        nft("flush chain inet podwall other");
        for _ in 0..20 {
            // Polled once at the most, and dropped.
            if let Ok(heard) = timeout(Duration::ZERO, plain.monitor.changed()).await {
                assert!(heard.unwrap().to_string().starts_with("1 rule of other deleted"));
                return;
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(plain.hears_nft().await, "1 rule of other deleted");
    });
}

#[test]
fn an_owned_table_is_changed_by_nobody() {
    in_runtime(async || {
        let mut kernel = Kernel::open(TABLE).unwrap();
        let mut monitor = Monitor::open(TABLE, kernel.port()).unwrap();
        kernel.repair(&Repair::create(&everything())).unwrap();
        let before = listing();
        let edits = [
            "delete element inet podwall addresses_4 { 10.244.1.1 }",
            "flush chain inet podwall side",
            "delete table inet podwall",
            "add table inet podwall { flags dormant; }",
        ];
        for edit in edits {
            let refused = try_nft(&edit.split(' ').collect::<Vec<_>>(), "").unwrap_err();
            assert!(refused.contains("Operation not permitted"), "{edit}: {refused}");
        }
        load("table inet other { chain x { }\n }");
        nft("flush ruleset");
        assert_eq!(nft("list tables"), "table inet podwall\n");
        assert_eq!(listing(), before);
        assert!(timeout(NEVER, monitor.changed()).await.is_err());
    });
}

#[test]
fn listening_takes_a_capability() {
    without_capabilities("listening_takes_a_capability", || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _inside = runtime.enter();
        assert!(matches!(Monitor::open(TABLE, 1), Err(KernelError::NotPermitted)));
        let mut kernel = Kernel::open(TABLE).unwrap();
        assert!(matches!(kernel.repair(&Repair::create(&Table::new(TABLE))), Err(KernelError::NotPermitted)));
    });
}
