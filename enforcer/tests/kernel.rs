//! Commits, reading back, repairs, ownership and refusals, on a real kernel.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use enforcer::kernel::{Kernel, KernelError, Repair};
use policy_compiler::cidr::Family::V4;
use policy_compiler::delta::{ChainChange, Delta};
use policy_compiler::ruleset::{Chain, Element, Key, LookupKey, SetShape, Statement, Table, Verdict};
use support::{
    EVERYTHING, MASK, TABLE, everything, goto, in_namespace, jump, listing, load, lookup, nft, released, rule, set,
    text, try_nft, v4, verdict, vmap,
};

fn created(table: &Table) -> Kernel {
    let mut kernel = Kernel::open(TABLE).unwrap();
    kernel.repair(&Repair::create(table)).unwrap();
    kernel
}

fn difference(kernel: &mut Kernel, wanted: &Table) -> Repair {
    kernel.read().unwrap().expect("there is a table").delta_to(wanted)
}

#[test]
fn what_was_committed_is_read_back_without_a_difference() {
    in_namespace(|| {
        let mut kernel = created(&everything());
        assert_eq!(difference(&mut kernel, &everything()), Repair::default());
        assert_eq!(kernel.read().unwrap().unwrap().stamp(MASK), Some(0x0010_0000));
        assert_eq!(kernel.read().unwrap().unwrap().stamp(0xff), None);
        assert_eq!(kernel.commit(&Delta::default()).unwrap().transactions, 0);
    });
}

#[test]
fn what_nft_loaded_from_text_is_adopted_without_a_difference() {
    in_namespace(|| {
        load(EVERYTHING);
        let mut kernel = Kernel::open(TABLE).unwrap();
        assert_eq!(difference(&mut kernel, &everything()), Repair::default());
        // Such a table has no owner, and can be given none; it is edited as it is.
        let mut wanted = everything();
        wanted.sets.get_mut("addresses_4").unwrap().elements.insert(Element::new(Key::Address(v4(9))));
        kernel.commit(&Delta::between(&everything(), &wanted)).unwrap();
        assert_eq!(difference(&mut kernel, &wanted), Repair::default());
    });
}

#[test]
fn counters_are_no_difference() {
    in_namespace(|| {
        load(
            &EVERYTHING
                .replace("counter drop", "counter packets 7 bytes 700 drop")
                .replace("10.244.1.1 counter", "10.244.1.1 counter packets 3 bytes 9"),
        );
        assert!(listing().json.iter().any(|object| object.contains("700")));
        assert_eq!(difference(&mut Kernel::open(TABLE).unwrap(), &everything()), Repair::default());
    });
}

#[test]
fn anonymous_sets_are_compared_by_what_they_hold() {
    in_namespace(|| {
        load(&EVERYTHING.replace("tcp dport { 80, 443 }", "tcp dport { 80, 444 }"));
        let repair = difference(&mut Kernel::open(TABLE).unwrap(), &everything());
        assert_eq!(repair.delta().chains.keys().map(|name| &**name).collect::<Vec<_>>(), ["base"]);
        assert!(repair.delta().sets.is_empty());
    });
}

#[test]
fn foreign_edits_are_repaired_and_nothing_else_is_touched() {
    let edits = [
        ("add element inet podwall addresses_4 { 10.9.9.9 }", 1),
        ("delete element inet podwall addresses_4 { 10.244.1.1 }", 1),
        ("delete element inet podwall ranges_4 { 10.0.0.0/8 }", 1),
        ("add element inet podwall ranges_4 { 100.64.0.0/10 }", 1),
        ("delete element inet podwall self_6 { fd00:10:244:1::1 . fd00:10:244:1::1 }", 1),
        ("delete element inet podwall named_4 { 10.244.1.2 . udp . 53 }", 1),
        ("add element inet podwall map_4 { 10.9.9.9 : goto side }", 1),
        ("delete element inet podwall map_6 { fd00:10:244:1::4 }", 1),
        ("add rule inet podwall side accept", 1),
        ("insert rule inet podwall base accept", 1),
        ("flush chain inet podwall other", 1),
        ("add chain inet podwall stranger", 1),
        ("add set inet podwall stranger { type ipv4_addr; }", 1),
        ("add chain inet podwall stranger { type filter hook input priority 0; }", 1),
    ];
    for (edit, differences) in edits {
        in_namespace(|| {
            let kernel = created(&everything());
            let before = listing();
            drop(kernel);
            released();
            nft(edit);
            assert_ne!(text(), before.text, "{edit}");
            let mut kernel = Kernel::open(TABLE).unwrap();
            let repair = difference(&mut kernel, &everything());
            assert_eq!(repair.delta().chains.len() + repair.delta().sets.len(), differences, "{edit}: {repair:?}");
            kernel.repair(&repair).unwrap();
            assert_eq!(listing(), before, "{edit}");
            assert!(difference(&mut kernel, &everything()).is_empty(), "{edit}");
        });
    }
}

#[test]
fn strangers_that_refer_to_each_other_are_deleted() {
    in_namespace(|| {
        let kernel = created(&everything());
        let before = listing();
        drop(kernel);
        released();
        load(
            "add set inet podwall x1 { type ipv4_addr; }
            add chain inet podwall x3
            add chain inet podwall x4
            add map inet podwall x2 { type ipv4_addr : verdict; }
            add element inet podwall x2 { 10.0.0.1 : goto x3 }
            add chain inet podwall x5 { type filter hook input priority 0; }
            add rule inet podwall x3 ip saddr @x1 drop
            add rule inet podwall x4 ip saddr vmap @x2
            add rule inet podwall x4 jump x3
            add rule inet podwall x5 jump x4",
        );
        nft("add rule inet podwall side jump x4");
        nft("add element inet podwall map_4 { 10.0.0.7 : jump x4 }");
        let mut kernel = Kernel::open(TABLE).unwrap();
        let repair = difference(&mut kernel, &everything());
        kernel.repair(&repair).unwrap();
        assert_eq!(listing(), before);
    });
}

#[test]
fn what_is_declared_otherwise_is_made_anew() {
    let otherwise = [
        ("set addresses_4 { type ipv4_addr;", "set addresses_4 { type ipv4_addr; flags interval;"),
        ("set counted_4 { type ipv4_addr; counter;", "set counted_4 { type ipv4_addr;"),
        ("set empty_4 { type ipv4_addr;", "set empty_4 { type ipv6_addr;"),
        ("hook forward priority filter", "hook forward priority filter + 1"),
        ("hook forward priority filter; policy accept", "hook forward priority filter; policy drop"),
        ("chain other { comment", "chain other { type filter hook output priority 0; comment"),
        ("10.244.1.1 : accept", "10.244.1.1 : continue"),
    ];
    let expected = in_namespace(|| {
        let _owner = created(&everything());
        listing()
    });
    for (declared, otherwise) in otherwise {
        in_namespace(|| {
            let mut text = EVERYTHING.replacen(declared, otherwise, 1);
            if otherwise.starts_with("chain other") {
                text = text.replace("goto other", "goto side"); // nothing can lead to a base chain
            }
            text = text.replace("        ip saddr @empty_4 accept\n", ""); // nft would refuse an IPv6 set
            if otherwise.contains("counted") {
                text = text.replace("{ 10.244.1.1 counter }", "{ 10.244.1.1 }");
            }
            assert_ne!(text, EVERYTHING, "{declared}");
            load(&text);
            let mut kernel = Kernel::open(TABLE).unwrap();
            let repair = difference(&mut kernel, &everything());
            kernel.repair(&repair).unwrap_or_else(|error| panic!("{otherwise}: {error}"));
            assert_eq!(listing(), expected, "{otherwise}");
            assert!(difference(&mut kernel, &everything()).is_empty(), "{otherwise}");
        });
    }
}

#[test]
fn the_table_outlives_its_owner_and_is_adopted() {
    in_namespace(|| {
        let mut first = created(&everything());
        let before = listing();
        for edit in ["flush chain inet podwall side", "delete table inet podwall", "add chain inet podwall x"] {
            assert!(try_nft(&edit.split(' ').collect::<Vec<_>>(), "").is_err(), "{edit}");
        }
        nft("flush ruleset");
        assert_eq!(listing(), before, "flushing the ruleset passes an owned table by");

        let mut second = Kernel::open(TABLE).unwrap();
        let wanted = Table { sets: Default::default(), ..everything() };
        let change =
            Delta { chains: [("new".into(), ChainChange::Create(Chain::default()))].into(), ..Delta::default() };
        assert!(matches!(second.commit(&change), Err(KernelError::Owned { table }) if &*table == TABLE));
        assert!(second.commit(&change).unwrap_err().to_string().contains("an agent is running"));
        assert!(matches!(Kernel::cleanup(TABLE), Err(KernelError::Owned { .. })));
        assert!(second.read().unwrap().is_some(), "reading takes no ownership");
        first.commit(&Delta::between(&wanted, &wanted)).unwrap();

        drop(first);
        released();
        assert_eq!(text(), before.text);
        let same = difference(&mut second, &everything());
        assert!(same.is_empty());
        second.repair(&same).unwrap();
        assert_eq!(listing(), before);
        assert!(try_nft(&["delete", "table", "inet", "podwall"], "").is_err(), "the second one owns it now");
    });
}

#[test]
fn cleanup_removes_one_table_and_says_whether_there_was_one() {
    in_namespace(|| {
        load("table inet other { chain c { }\n }\ntable ip podwall { chain c { }\n }\n");
        drop(created(&everything()));
        released();
        assert!(Kernel::cleanup(TABLE).unwrap());
        assert!(!Kernel::cleanup(TABLE).unwrap());
        assert_eq!(nft("list tables"), "table inet other\ntable ip podwall\n");
        assert!(Kernel::open(TABLE).unwrap().read().unwrap().is_none());
    });
}

#[test]
fn garbage_goes_whatever_refers_to_what() {
    in_namespace(|| {
        let mut table = everything();
        let mut kernel = created(&table);
        let before = table.clone();
        table.sets.insert("g_4".into(), set(SetShape::Addresses, V4, "g", [Element::new(Key::Address(v4(1)))]));
        table.sets.insert("a_map_4".into(), set(SetShape::Verdicts, V4, "g", [Element::verdict(v4(1), goto("a1"))]));
        table.sets.insert("z_map_4".into(), set(SetShape::Verdicts, V4, "g", [Element::verdict(v4(1), goto("z3"))]));
        let chain = |statements: Vec<Statement>| Chain::new("g", vec![rule(statements)]);
        table.chains.insert("a1".into(), chain(vec![verdict(jump("z2"))]));
        table.chains.insert("z2".into(), chain(vec![vmap(LookupKey::Source(V4), "z_map_4")]));
        table.chains.insert("z3".into(), chain(vec![lookup(LookupKey::Source(V4), "g_4"), verdict(Verdict::Drop)]));
        let root = table.chains.get_mut("side").unwrap();
        root.rules.insert(0, rule([vmap(LookupKey::Source(V4), "a_map_4")]));
        let commit = kernel.commit(&Delta::between(&before, &table)).unwrap();
        assert_eq!(commit.deleting, Duration::ZERO);
        assert!(difference(&mut kernel, &table).is_empty());
        let commit = kernel.commit(&Delta::between(&table, &before)).unwrap();
        assert_eq!(commit.transactions, 2);
        assert!(commit.deleting > Duration::ZERO);
        assert!(difference(&mut kernel, &before).is_empty());
    });
}
