//! Random changes of random tables: what is committed step by step is what comes of a fresh start.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use enforcer::kernel::{Kernel, Repair};
use policy_compiler::cidr::Family::V4;
use policy_compiler::delta::Delta;
use policy_compiler::ruleset::{Chain, Element, Key, LookupKey, PortRange, Rule, SetShape, Statement, Table, Verdict};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use support::{TABLE, goto, in_namespace, jump, listing, lookup, range, rule, set, v4, verdict, vmap};

/// Which sets, chains, elements and rules of a small universe are there: one bit each.
#[derive(Clone, Debug)]
struct Seed {
    sets: [Option<u8>; 3],
    map: u8,
    chains: [Option<u8>; 4],
    base: u8,
}

fn seed() -> impl Strategy<Value = Seed> {
    let some = || prop::option::weighted(0.7, any::<u8>());
    (prop::array::uniform3(some()), any::<u8>(), prop::array::uniform4(some()), any::<u8>())
        .prop_map(|(sets, map, chains, base)| Seed { sets, map, chains, base })
}

fn chosen<T>(bits: u8, all: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
    all.into_iter().enumerate().filter(move |(n, _)| bits >> (n % 8) & 1 == 1).map(|(_, item)| item)
}

/// A shape, and the n-th key of such a set.
type Kind = (SetShape, fn(u8) -> Key);

fn table(seed: &Seed) -> Table {
    let mut table = Table::new(TABLE);
    let kinds: [Kind; 3] = [
        (SetShape::Addresses, |n| Key::Address(v4(n))),
        (SetShape::Ranges, |n| range(&format!("10.{n}.0.0"), &format!("10.{n}.255.255"))),
        (SetShape::AddressPairs, |n| Key::Pair(v4(n))),
    ];
    let keys = [LookupKey::Source(V4), LookupKey::Destination(V4), LookupKey::SourceAndDestination(V4)];
    for (n, bits) in seed.sets.iter().enumerate().filter_map(|(n, bits)| Some((n, (*bits)?))) {
        let (shape, key) = kinds[n];
        let elements = chosen(bits, (0..8).map(|n| Element::new(key(n))));
        table.sets.insert(format!("s{n}").into(), set(shape, V4, "a set", elements));
    }
    for (n, bits) in seed.chains.iter().enumerate().filter_map(|(n, bits)| Some((n, (*bits)?))) {
        let mut rules: Vec<Rule> = chosen(bits, 0..8u8)
            .map(|n| match n {
                0 => rule([Statement::Counter, verdict(Verdict::Drop)]),
                n => {
                    let ports = (0..n).map(|p| 100 * u16::from(p)).map(|first| PortRange { first, last: first + 5 });
                    let protocol = policy_compiler::model::Protocol::Udp;
                    rule([Statement::DestinationPort { protocol, ports: ports.collect() }, verdict(Verdict::Accept)])
                }
            })
            .collect();
        let present = (0..3).filter(|s| seed.sets[*s].is_some() && bits >> s & 1 == 1);
        rules.extend(present.map(|s| rule([lookup(keys[s], &format!("s{s}"))]).comment(format!("set {s}"))));
        let later = (n + 1..4).filter(|c| seed.chains[*c].is_some() && bits >> c & 1 == 1);
        rules.extend(later.map(|c| rule([verdict(jump(&format!("c{c}")))])));
        table.chains.insert(format!("c{n}").into(), Chain::new("a chain", rules));
    }
    let targets: Vec<_> = (0..4).filter(|c| seed.chains[*c].is_some()).map(|c| goto(&format!("c{c}"))).collect();
    let verdicts = targets.into_iter().chain([Verdict::Accept]).cycle().skip(usize::from(seed.map & 3));
    let elements = chosen(seed.map, (0..8).zip(verdicts).map(|(n, verdict)| Element::verdict(v4(n), verdict)));
    table.sets.insert("m".into(), set(SetShape::Verdicts, V4, "dispatch", elements));
    let base = chosen(
        seed.base | 1,
        [rule([vmap(LookupKey::Source(V4), "m")]), rule([Statement::ReplyDirection]), rule([Statement::Counter])],
    );
    let base = Chain { base: true, comment: None, rules: base.collect() };
    table.chains.insert("base".into(), base);
    table
}

#[test]
fn any_way_to_a_table_ends_in_the_same_table() {
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    runner
        .run(&prop::collection::vec(seed(), 2..5), |seeds| {
            let tables: Vec<_> = seeds.iter().map(table).collect();
            in_namespace(|| {
                let mut kernel = Kernel::open(TABLE).unwrap();
                kernel.repair(&Repair::create(&tables[0])).unwrap();
                for pair in tables.windows(2) {
                    let read = kernel.read().unwrap().unwrap();
                    assert_eq!(*read.delta_to(&pair[1]).delta(), Delta::between(&pair[0], &pair[1]));
                    kernel.commit(&Delta::between(&pair[0], &pair[1])).unwrap();
                    assert!(kernel.read().unwrap().unwrap().delta_to(&pair[1]).is_empty());
                }
            });
            let last = tables.last().unwrap();
            let stepwise = in_namespace(|| {
                let mut kernel = Kernel::open(TABLE).unwrap();
                let mut before = Table::new(TABLE);
                for table in &tables {
                    kernel.commit(&Delta::between(&before, table)).unwrap();
                    before.clone_from(table);
                }
                listing()
            });
            let fresh = in_namespace(|| {
                let mut kernel = Kernel::open(TABLE).unwrap();
                kernel.repair(&Repair::create(last)).unwrap();
                listing()
            });
            prop_assert_eq!(stepwise.json, fresh.json);
            prop_assert_eq!(stepwise.text, fresh.text);
            Ok(())
        })
        .unwrap();
}
