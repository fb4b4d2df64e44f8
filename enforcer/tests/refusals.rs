//! Everything that the kernel refuses to do, provoked by commits, and the words in which that is told: which operation,
//! on what, and which element or instruction is at fault. What is refused leaves nothing behind, or what nothing leads to.
//!
//! Some refusals of nf_tables are not here, because no change can say what would be refused:
//! * A comment that is too long: a `Comment` is cut to what the kernel takes.
//! * A stale generation: transactions do not name the one that they were made for.
//! * A lookup of a narrower set, and a header without a guard, which the kernel does not refuse at all. Guards are
//!   written by the encoder; families are the plan's.
//! * Half an interval by itself: a range that starts or ends elsewhere than the one that is there comes closest.
//!
//! Others are elsewhere: what exceeds the send buffer in `limits.rs`, what exceeds the receive buffer in `kernel::tests`
//! within the crate.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use enforcer::kernel::{Kernel, KernelError, NetlinkError, Refusal, Repair};
use nix::errno::Errno::{self, EBUSY, EEXIST, EINVAL, EMLINK, ENODATA, ENOENT, EOPNOTSUPP, EPERM, ERANGE};
use policy_compiler::cidr::Family::V4;
use policy_compiler::delta::{ChainChange, Delta, SetChange};
use policy_compiler::model::Protocol::{Sctp, Tcp, Udp};
use policy_compiler::ruleset::{
    Chain, Connection, Element, Key, LookupKey, PortRange, Rule, Set, SetShape, Statement, Verdict,
};
use support::{
    TABLE, everything, goto, in_namespace, jump, listing, nft, range, rule, v4, v6, verdict, without_capabilities,
};

fn created() -> Kernel {
    let mut kernel = Kernel::open(TABLE).unwrap();
    kernel.repair(&Repair::create(&everything())).unwrap();
    kernel
}

fn addresses(last: &[u8]) -> Vec<Element> {
    last.iter().map(|last| Element::new(Key::Address(v4(*last)))).collect()
}

fn one(key: Key) -> Vec<Element> {
    vec![Element::new(key)]
}

fn change_set(name: &str, change: SetChange) -> Delta {
    Delta { sets: [(name.into(), change)].into(), ..Delta::default() }
}

fn add(set: &str, elements: Vec<Element>) -> Delta {
    change_set(set, SetChange::Edit { remove: vec![], add: elements })
}

fn remove(set: &str, elements: Vec<Element>) -> Delta {
    change_set(set, SetChange::Edit { remove: elements, add: vec![] })
}

fn create_set(name: &str, shape: SetShape) -> Delta {
    change_set(name, SetChange::Create(Set::new(shape, V4, "")))
}

fn change_chain(name: &str, change: ChainChange) -> Delta {
    Delta { chains: [(name.into(), change)].into(), ..Delta::default() }
}

fn create_chain(name: &str, rules: Vec<Rule>) -> Delta {
    change_chain(name, ChainChange::Create(Chain::new("", rules)))
}

fn base_chain(name: &str) -> Delta {
    change_chain(name, ChainChange::Create(Chain { base: true, ..Chain::default() }))
}

fn rewrite(chain: &str, statement: Statement) -> Delta {
    change_chain(chain, ChainChange::Rewrite(vec![rule([statement])]))
}

fn lookup(set: &str) -> Statement {
    support::lookup(LookupKey::Source(V4), set)
}

fn vmap(map: &str) -> Statement {
    support::vmap(LookupKey::Source(V4), map)
}

fn together(deltas: impl IntoIterator<Item = Delta>) -> Delta {
    deltas.into_iter().fold(Delta::default(), |mut all, delta| {
        all.chains.extend(delta.chains);
        all.sets.extend(delta.sets);
        all
    })
}

/// Operations that are not refused, in front of others and behind them.
fn beside() -> [Delta; 4] {
    let counter = || vec![rule([Statement::Counter])];
    let set = |name| create_set(name, SetShape::Addresses);
    [create_chain("a", counter()), create_chain("z", counter()), set("a_4"), set("z_4")]
}

fn refusals(error: &KernelError) -> &[Refusal] {
    match error {
        KernelError::Netlink(NetlinkError::Refused(refusals)) => refusals,
        KernelError::Garbage(error) => refusals(error),
        other => panic!("{other:?} is no refusal"),
    }
}

/// Each change, alone and with others beside it, is refused in these words, and nothing of it stays.
fn are_refused<const N: usize>(cases: [(Delta, Errno, &'static str); N]) {
    in_namespace(|| {
        let mut kernel = created();
        let before = listing();
        for (delta, errno, words) in cases {
            for delta in [delta.clone(), together(beside().into_iter().chain([delta]))] {
                let error = kernel.commit(&delta).expect_err(words);
                let first = &refusals(&error)[0];
                assert_eq!(first.errno, errno as i32, "{error} is not {errno}");
                assert!(first.to_string().starts_with(&format!("{words}: ")), "{first} does not say {words}");
                assert!(error.to_string().starts_with("the kernel refused the transaction: "), "{error}");
                assert_eq!(listing(), before, "{words}");
            }
        }
    });
}

#[test]
fn elements_that_are_there_or_missing() {
    are_refused([
        (remove("addresses_4", addresses(&[1, 2, 77])), ENOENT, "delete elements of set addresses_4, at 10.244.1.77"),
        (remove("self_4", one(Key::Pair(v4(9)))), ENOENT, "delete elements of set self_4, at 10.244.1.9 . 10.244.1.9"),
        (
            remove("self_6", one(Key::Pair(v6(9)))),
            ENOENT,
            "delete elements of set self_6, at fd00:10:244:1::9 . fd00:10:244:1::9",
        ),
        (
            remove("named_4", one(Key::Port(v4(9), Udp, 53))),
            ENOENT,
            "delete elements of set named_4, at 10.244.1.9 . udp . 53",
        ),
        (
            remove("named_6", one(Key::Port(v6(9), Sctp, 80))),
            ENOENT,
            "delete elements of set named_6, at fd00:10:244:1::9 . sctp . 80",
        ),
        (
            remove("map_4", vec![Element::verdict(v4(9), Verdict::Accept)]),
            ENOENT,
            "delete elements of set map_4, at 10.244.1.9",
        ),
        (add("addresses_4", addresses(&[7, 1])), EEXIST, "add elements to set addresses_4, at 10.244.1.1"),
        (
            add("map_4", vec![Element::verdict(v4(1), Verdict::Drop)]),
            EEXIST,
            "add elements to set map_4, at 10.244.1.1",
        ),
        (add("nowhere", addresses(&[1])), ENOENT, "add elements to set nowhere"),
        (remove("nowhere", addresses(&[1])), ENOENT, "delete elements of set nowhere"),
    ]);
}

#[test]
fn elements_that_do_not_fit() {
    are_refused([
        (add("addresses_4", one(Key::Address(v6(1)))), EINVAL, "add elements to set addresses_4, at fd00:10:244:1::1"),
        (add("self_4", addresses(&[1])), EINVAL, "add elements to set self_4, at 10.244.1.1"),
        (
            add("addresses_4", one(range("10.9.0.0", "10.9.0.255"))),
            EINVAL,
            "add elements to set addresses_4, at the range that ends before 10.9.1.0",
        ),
        (
            add("addresses_4", vec![Element::verdict(v4(9), Verdict::Drop)]),
            EINVAL,
            "add elements to set addresses_4, at 10.244.1.9",
        ),
    ]);
}

/// 10.0.0.0/8 is there, and 11.0.0.0.
#[test]
fn ranges_that_overlap_or_are_others() {
    let add = |first, last| add("ranges_4", one(range(first, last)));
    let remove = |first, last| remove("ranges_4", one(range(first, last)));
    are_refused([
        (add("10.1.0.0", "10.1.255.255"), EEXIST, "add elements to set ranges_4, at 10.1.0.0"),
        (
            add("9.0.0.0", "12.255.255.255"),
            EEXIST,
            "add elements to set ranges_4, at the range that ends before 13.0.0.0",
        ),
        (
            add("9.0.0.0", "10.1.255.255"),
            EEXIST,
            "add elements to set ranges_4, at the range that ends before 10.2.0.0",
        ),
        (add("10.255.0.0", "10.255.255.255"), EEXIST, "add elements to set ranges_4, at 10.255.0.0"),
        (add("10.0.0.0", "10.255.255.255"), EEXIST, "add elements to set ranges_4, at 10.0.0.0"),
        (
            remove("10.0.0.0", "10.0.255.255"),
            ENOENT,
            "delete elements of set ranges_4, at the range that ends before 10.1.0.0",
        ),
        (remove("10.0.1.0", "10.255.255.255"), ENOENT, "delete elements of set ranges_4, at 10.0.1.0"),
    ]);
}

#[test]
fn sets_and_chains_that_are_there_or_missing() {
    are_refused([
        (create_set("map_4", SetShape::Verdicts), EEXIST, "create set map_4"),
        (create_set("map_4", SetShape::Addresses), EEXIST, "create set map_4"),
        (create_set("addresses_4", SetShape::Ranges), EEXIST, "create set addresses_4"),
        (create_chain("side", vec![]), EEXIST, "create chain side"),
        (base_chain("side"), EOPNOTSUPP, "create chain side"),
        (create_chain("base", vec![]), EEXIST, "create chain base"),
        (rewrite("nowhere", Statement::Counter), ENOENT, "flush chain nowhere"),
    ]);
}

#[test]
fn names_that_are_too_long() {
    in_namespace(|| {
        let mut kernel = created();
        let name = "x".repeat(256);
        for (delta, what) in [(create_chain(&name, vec![]), "chain"), (create_set(&name, SetShape::Ranges), "set")] {
            let error = kernel.commit(&delta).unwrap_err();
            let refusal = &refusals(&error)[0];
            assert_eq!(refusal.errno, ERANGE as i32);
            assert_eq!(refusal.what, format!("create {what} {name}"));
            assert!(refusal.to_string().ends_with("Attribute failed policy validation"), "{refusal}");
        }
        kernel.commit(&create_chain(&name[1..], vec![])).unwrap();
    });
}

#[test]
fn what_leads_nowhere_or_where_it_must_not() {
    let rewrite = |statement| rewrite("side", statement);
    let new_base = |statement| together([base_chain("b"), rewrite(statement)]);
    let state = Statement::ConnectionState(vec![(Connection::Related, jump("nowhere"))]);
    are_refused([
        (
            rewrite(verdict(jump("nowhere"))),
            ENOENT,
            "add a rule to chain side, at instruction 1 (jump or goto nowhere)",
        ),
        (
            rewrite(verdict(goto("nowhere"))),
            ENOENT,
            "add a rule to chain side, at instruction 1 (jump or goto nowhere)",
        ),
        (
            add("map_4", vec![Element::verdict(v4(9), goto("nowhere"))]),
            ENOENT,
            "add elements to set map_4, at 10.244.1.9",
        ),
        (rewrite(state), ENOENT, "add a rule to chain side, at its anonymous set"),
        (rewrite(lookup("nowhere")), ENOENT, "add a rule to chain side, at instruction 4 (lookup in set nowhere)"),
        (rewrite(vmap("nowhere")), ENOENT, "add a rule to chain side, at instruction 4 (lookup in set nowhere)"),
        (rewrite(verdict(jump("base"))), EOPNOTSUPP, "add a rule to chain side, at instruction 1 (jump or goto base)"),
        (new_base(verdict(goto("b"))), EOPNOTSUPP, "add a rule to chain side, at instruction 1 (jump or goto b)"),
        (
            add("map_4", vec![Element::verdict(v4(9), goto("base"))]),
            EOPNOTSUPP,
            "add elements to set map_4, at 10.244.1.9",
        ),
    ]);
}

#[test]
fn rules_that_make_no_sense() {
    let rewrite = |statement| rewrite("side", statement);
    let ports = |ports: [(u16, u16); 2]| Statement::DestinationPort {
        protocol: Tcp,
        ports: ports.map(|(first, last)| PortRange { first, last }).into(),
    };
    are_refused([
        (
            rewrite(vmap("addresses_4")),
            EINVAL,
            "add a rule to chain side, at instruction 4 (lookup in set addresses_4)",
        ),
        (
            rewrite(lookup("addresses_6")),
            ENODATA,
            "add a rule to chain side, at instruction 4 (lookup in set addresses_6)",
        ),
        (
            rewrite(Statement::Log { prefix: "x".repeat(128).into(), group: 1, snaplen: 0 }),
            ERANGE,
            "add a rule to chain side, at instruction 1 (log)",
        ),
        (
            rewrite(Statement::Limit { per_second: 0, burst: 0 }),
            EINVAL,
            "add a rule to chain side, at instruction 1 (limit)",
        ),
        (rewrite(ports([(1, 5), (3, 8)])), EEXIST, "add a rule to chain side, at port 3 of its anonymous set"),
    ]);
}

/// The kernel judges chains as a whole, and only those that a packet can come to.
#[test]
fn chains_that_lead_back_or_too_deep() {
    let ladder = |rungs: u8| {
        let rung = |n| match n + 1 < rungs {
            true => create_chain(&format!("l{n:02}"), vec![rule([verdict(jump(&format!("l{:02}", n + 1)))])]),
            false => create_chain(&format!("l{n:02}"), vec![]),
        };
        together((0..rungs).map(rung).chain([rewrite("side", verdict(jump("l00")))]))
    };
    let around = together([rewrite("side", verdict(jump("other"))), rewrite("other", verdict(goto("side")))]);
    are_refused([
        (rewrite("side", verdict(jump("side"))), EMLINK, "add a rule to chain side"),
        (rewrite("side", vmap("map_4")), EMLINK, "add a rule to chain side"),
        (around, EMLINK, "add a rule to chain side"),
        (ladder(20), EMLINK, "add a rule to chain side"),
    ]);
    in_namespace(|| {
        let mut kernel = created();
        kernel.commit(&ladder(10)).unwrap();
        let many = || (0..50).map(|n| format!("z{n}"));
        kernel.commit(&together(many().map(|name| create_chain(&name, vec![])))).unwrap();
        let later = many().map(|name| rewrite(&name, Statement::Counter));
        let error = kernel.commit(&together(later.chain([rewrite("side", verdict(jump("side")))]))).unwrap_err();
        assert_eq!(refusals(&error).len(), 1, "{error}");
        assert!(error.to_string().ends_with(", chains would lead back to themselves, or be more than 16 jumps deep"));
    });
}

#[test]
fn elements_that_lead_to_a_new_chain_and_from_there_back() {
    in_namespace(|| {
        let mut kernel = created();
        let before = listing();
        let error = kernel
            .commit(&together([
                create_chain("c", vec![rule([vmap("map_4")])]),
                add("map_4", vec![Element::verdict(v4(9), jump("c"))]),
            ]))
            .unwrap_err();
        let refusal = &refusals(&error)[0];
        assert_eq!(refusal.errno, EMLINK as i32);
        assert!(refusal.to_string().starts_with("add elements to set map_4: "), "{refusal}");
        // The chain was made before, and nothing leads to it.
        assert_ne!(listing(), before);
        let repair = kernel.read().unwrap().unwrap().delta_to(&everything());
        assert_eq!(repair.delta(), &change_chain("c", ChainChange::Delete));
        kernel.repair(&repair).unwrap();
        assert_eq!(listing(), before);
    });
}

#[test]
fn every_refused_operation_is_told_a_few_of_them_in_words() {
    in_namespace(|| {
        let mut kernel = created();
        let missing = ["a", "b", "c", "d", "e"].map(|name| remove(name, addresses(&[1])));
        let error = kernel.commit(&together(missing)).unwrap_err();
        assert_eq!(refusals(&error).len(), 5);
        let words = error.to_string();
        assert!(words.contains("elements of set a: ") && words.contains("elements of set c: "), "{words}");
        assert!(!words.contains("elements of set d: ") && words.ends_with("; and 2 more"), "{words}");
    });
}

#[test]
fn what_is_in_use_cannot_be_garbage_and_everything_else_is_in_force() {
    let deletions = [
        (change_chain("other", ChainChange::Delete), EBUSY, "delete chain other"),
        (change_chain("side", ChainChange::Delete), EBUSY, "delete chain side"),
        (change_set("map_4", SetChange::Delete), EBUSY, "delete set map_4"),
        (change_set("addresses_4", SetChange::Delete), EBUSY, "delete set addresses_4"),
        (change_chain("nowhere", ChainChange::Delete), ENOENT, "flush chain nowhere"),
        (change_set("nowhere", SetChange::Delete), ENOENT, "delete set nowhere"),
    ];
    for (delta, errno, words) in deletions {
        in_namespace(|| {
            let mut kernel = created();
            let rules = nft("list chain inet podwall other");
            let delta = together([delta, add("self_4", one(Key::Pair(v4(7))))]);
            let error = kernel.commit(&delta).unwrap_err();
            assert!(matches!(error, KernelError::Garbage(_)), "{error:?}");
            assert_eq!(refusals(&error)[0].errno, errno as i32, "{error}");
            let told = format!("cannot delete what is no longer used: the kernel refused the transaction: {words}: ");
            assert!(error.to_string().starts_with(&told), "{error}");
            assert!(nft("list set inet podwall self_4").contains("10.244.1.7"));
            assert_eq!(nft("list chain inet podwall other"), rules, "they were not flushed");
        });
    }
}

#[test]
fn a_table_that_another_socket_owns() {
    in_namespace(|| {
        let (_owner, mut other) = (created(), Kernel::open(TABLE).unwrap());
        let before = listing();
        let refused = other.commit(&create_chain("x", vec![])).unwrap_err();
        assert!(matches!(&refused, KernelError::Owned { table } if &**table == TABLE), "{refused:?}");
        assert_eq!(refused.to_string(), "table podwall is owned by another process: an agent is running");
        assert_eq!(refused.errno(), Some(EPERM as i32));
        assert_eq!(listing(), before);
    });
}

#[test]
fn a_process_without_capabilities() {
    without_capabilities("a_process_without_capabilities", || {
        let mut kernel = Kernel::open(TABLE).unwrap();
        let refused = kernel.repair(&Repair::create(&everything())).unwrap_err();
        assert!(matches!(refused, KernelError::NotPermitted), "{refused:?}");
        assert_eq!(refused.to_string(), "changing nftables takes the capability CAP_NET_ADMIN");
        assert!(matches!(Kernel::cleanup(TABLE), Err(KernelError::NotPermitted)));
    });
}
