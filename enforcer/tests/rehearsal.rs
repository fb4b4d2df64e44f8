//! A rehearsal tells what the kernel would say to a transaction, and leaves everything as it is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use enforcer::kernel::{Kernel, KernelError, Monitor, NetlinkError, Observed, Repair};
use policy_compiler::cidr::Family::V4;
use policy_compiler::ruleset::{Chain, Element, Key, LookupKey, Statement, Table};
use support::{
    EVERYTHING, TABLE, everything, goto, in_namespace, jump, load, lookup, nft, released, rule, try_nft, v4, verdict,
};

fn read(kernel: &mut Kernel) -> Observed {
    kernel.read().unwrap().unwrap()
}

/// A table that differs from [`everything`] in each way that a repair can be about, but for what `spoil` makes of it.
fn changed(spoil: impl FnOnce(&mut Table)) -> Table {
    let mut table = everything();
    table.chains.values_mut().for_each(|chain| chain.rules.insert(0, rule([Statement::Counter])));
    table.chains.insert("new".into(), Chain::new("new", vec![rule([lookup(LookupKey::Source(V4), "new_4")])]));
    table.chains.get_mut("side").unwrap().rules.push(rule([verdict(jump("new"))]));
    let new = support::set(policy_compiler::ruleset::SetShape::Addresses, V4, "", [Element::new(Key::Address(v4(1)))]);
    table.sets.insert("new_4".into(), new);
    table.sets.get_mut("map_4").unwrap().elements.pop_first();
    table.sets.get_mut("ranges_4").unwrap().elements.pop_first();
    spoil(&mut table);
    table
}

type Spoil = fn(&mut Table);

const NUMBERS: &str = "packets 7 bytes 700";

/// A table with counts, of which nobody is the owner.
fn counted() -> Kernel {
    load(
        &EVERYTHING
            .replace("counter drop", &format!("counter {NUMBERS} drop"))
            .replace("10.244.1.1 counter", &format!("10.244.1.1 counter {NUMBERS}")),
    );
    load("table ip other { chain c { counter packets 3 bytes 9; }\n }");
    Kernel::open(TABLE).unwrap()
}

#[test]
fn nothing_changes_and_nobody_is_notified() {
    in_namespace(|| {
        let mut kernel = counted();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut monitor = runtime.block_on(async { Monitor::open(TABLE, 0).unwrap() });
        let before = nft("-j list ruleset");
        assert!(before.matches("\"bytes\": 700").count() >= 2, "{before}");
        let observed = read(&mut kernel);
        let (good, bad) = (changed(|_| ()), changed(|table| drop(table.chains.remove("new"))));
        for _ in 0..2 {
            kernel.rehearse(&observed.delta_to(&good)).unwrap();
            assert_eq!(nft("-j list ruleset"), before);
            kernel.rehearse(&observed.delta_to(&bad)).unwrap_err();
            assert_eq!(nft("-j list ruleset"), before);
        }
        runtime.block_on(async {
            let heard = tokio::time::timeout(Duration::from_millis(200), monitor.changed()).await;
            assert!(heard.is_err(), "{heard:?}");
        });
        // What was rehearsed can be done.
        kernel.repair(&observed.delta_to(&good)).unwrap();
        assert!(read(&mut kernel).delta_to(&good).is_empty());
    });
}

#[test]
fn a_table_that_is_not_there_is_not_made_and_one_that_has_no_owner_is_not_taken() {
    in_namespace(|| {
        let mut kernel = Kernel::open(TABLE).unwrap();
        kernel.rehearse(&Repair::create(&everything())).unwrap();
        assert_eq!(nft("list ruleset"), "");
        kernel.repair(&Repair::create(&everything())).unwrap();
        let mut other = Kernel::open(TABLE).unwrap();
        let repair = read(&mut other).delta_to(&changed(|_| ()));
        assert!(matches!(other.rehearse(&repair), Err(KernelError::Owned { .. })));
        drop(kernel);
        released();
        other.rehearse(&repair).unwrap();
        assert!(!nft("list table inet podwall").contains("progname"), "still nobody's");
        assert!(read(&mut other).delta_to(&everything()).is_empty());
        nft("delete table inet podwall");
    });
}

#[test]
fn what_would_be_refused_is_refused_in_the_same_words() {
    let spoilt: [(&str, Spoil); 5] = [
        ("add a rule to chain side, at instruction 1 (jump or goto new): No such file", |table| {
            drop(table.chains.remove("new"));
        }),
        ("add a rule to chain new, at instruction 4 (lookup in set new_4): No such file", |table| {
            drop(table.sets.remove("new_4"));
        }),
        ("add elements to set map_4, at 10.244.1.9: No such file", |table| {
            table.sets.get_mut("map_4").unwrap().elements.insert(Element::verdict(v4(9), goto("nowhere")));
        }),
        ("add elements to set addresses_4, at fd00::1: Invalid argument", |table| {
            let element = Element::new(Key::Address("fd00::1".parse().unwrap()));
            table.sets.get_mut("addresses_4").unwrap().elements.insert(element);
        }),
        // The kernel finds loops only when it judges the whole.
        ("Too many links", |table| {
            table.chains.get_mut("new").unwrap().rules.push(rule([verdict(jump("side"))]));
        }),
    ];
    in_namespace(|| {
        let mut kernel = counted();
        let before = nft("-j list ruleset");
        let observed = read(&mut kernel);
        for (words, spoil) in spoilt {
            let repair = observed.delta_to(&changed(spoil));
            let rehearsed = kernel.rehearse(&repair).unwrap_err();
            assert!(matches!(rehearsed, KernelError::Netlink(NetlinkError::Refused(_))), "{rehearsed:?}");
            assert!(rehearsed.to_string().contains(words), "{rehearsed} does not say {words}");
            assert_eq!(kernel.repair(&repair).unwrap_err().to_string(), rehearsed.to_string());
            assert_eq!(nft("-j list ruleset"), before, "{words}");
        }
    });
}

#[test]
fn an_owned_table_can_be_rehearsed_by_its_owner() {
    in_namespace(|| {
        let mut kernel = Kernel::open(TABLE).unwrap();
        kernel.repair(&Repair::create(&everything())).unwrap();
        let before = nft("-j list ruleset");
        let repair = read(&mut kernel).delta_to(&changed(|_| ()));
        kernel.rehearse(&repair).unwrap();
        assert_eq!(nft("-j list ruleset"), before);
        assert!(try_nft(&["delete", "table", "inet", "podwall"], "").is_err(), "still owned");
        kernel.repair(&repair).unwrap();
    });
}
