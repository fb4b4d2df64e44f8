//! ipBlocks in the kernel: their flattened ranges may come and go one by one, in any order (rules 85, 86, 94).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::net::Ipv4Addr;

use enforcer::kernel::{Kernel, Repair};
use policy_compiler::cidr::{Cidr, CidrRules, Family};
use policy_compiler::delta::{Delta, SetChange};
use policy_compiler::model::IpBlock;
use policy_compiler::ruleset::{Element, Key, Set, SetShape, Table};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use support::{TABLE, in_namespace};

fn cidr(text: &str) -> Cidr {
    Cidr::parse(text, CidrRules::Legacy).unwrap().0
}

/// Blocks at the bottom, in the middle and at the top of the address space, with excepts of any overlap.
fn block() -> impl Strategy<Value = IpBlock> {
    let corner = prop::sample::select(vec![[0, 0, 0], [192, 0, 2], [255, 255, 255]]);
    let inside = (25u8..=32, any::<u8>());
    (prop::bool::weighted(0.2), corner, prop::collection::vec(inside, 0..10)).prop_map(|(whole, net, inside)| {
        let within =
            |(length, host): (u8, u8)| cidr(&format!("{}/{length}", Ipv4Addr::new(net[0], net[1], net[2], host)));
        let block = if whole { "0.0.0.0/0".to_owned() } else { format!("{}.{}.{}.0/24", net[0], net[1], net[2]) };
        IpBlock { cidr: cidr(&block), except: inside.into_iter().map(within).collect() }
    })
}

#[test]
fn ranges_of_a_block_come_and_go_in_any_order() {
    let mut runner = TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
    let orders = block().prop_flat_map(|block| {
        let ranges: Vec<Element> = block.ranges().into_iter().map(|range| Element::new(Key::Range(range))).collect();
        (Just(ranges.clone()).prop_shuffle(), Just(ranges).prop_shuffle())
    });
    runner
        .run(&orders, |(coming, going)| {
            in_namespace(|| {
                let mut kernel = Kernel::open(TABLE).unwrap();
                let mut table = Table::new(TABLE);
                table.sets.insert("block".into(), Set::new(SetShape::Ranges, Family::V4, "a block"));
                kernel.repair(&Repair::create(&table)).unwrap();
                let mut step = |remove: Vec<Element>, add: Vec<Element>| {
                    let edit = SetChange::Edit { remove, add };
                    let delta = Delta { sets: [("block".into(), edit)].into(), ..Delta::default() };
                    kernel.commit(&delta).unwrap();
                    delta.apply(&mut table);
                    assert!(kernel.read().unwrap().unwrap().delta_to(&table).is_empty());
                };
                coming.iter().for_each(|range| step(vec![], vec![range.clone()]));
                going.iter().for_each(|range| step(vec![range.clone()], vec![]));
            });
            Ok(())
        })
        .unwrap();
}
