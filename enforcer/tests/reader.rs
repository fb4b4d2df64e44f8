//! Listings over a socket of their own, beside a writer that goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use enforcer::kernel::{Denied, Kernel, Reader, Repair};
use policy_compiler::cidr::Family::{V4, V6};
use policy_compiler::delta::Delta;
use policy_compiler::model::Direction::{Egress, Ingress};
use policy_compiler::plan::{Generation, LivePlan, Settings, denied_counters};
use policy_compiler::ruleset::{Chain, Element, Key, LookupKey, SetShape, Table};
use support::{
    TABLE, everything, in_namespace, listing, lookup, nft, released, rule, set, try_nft, v4, v6, without_capabilities,
};

fn created(table: &Table) -> Kernel {
    let mut kernel = Kernel::open(TABLE).unwrap();
    kernel.repair(&Repair::create(table)).unwrap();
    kernel
}

#[test]
fn a_reader_reads_on_another_thread_what_the_writer_wrote() {
    in_namespace(|| {
        let mut reader = Reader::open(TABLE).unwrap();
        assert!(reader.read().unwrap().is_none());
        let _kernel = created(&everything());
        let before = listing();
        let observed = thread::spawn(move || reader.read()).join().unwrap().unwrap().unwrap();
        assert!(observed.is_settled());
        assert!(observed.delta_to(&everything()).is_empty());
        assert_eq!(listing(), before);
        assert!(try_nft(&["delete", "table", "inet", TABLE], "").is_err(), "the writer owns it still");
    });
}

/// Sets come and go while they are listed.
#[test]
fn a_reading_beside_a_busy_writer_succeeds() {
    in_namespace(|| {
        let mut quiet = everything();
        // Reading it takes long enough for a transaction to come between.
        let many = (0..10_000).map(|n: u32| Element::new(Key::Address(std::net::Ipv4Addr::from(n).into())));
        quiet.sets.insert("large_4".into(), set(SetShape::Addresses, V4, "", many));
        let mut kernel = created(&quiet);
        let mut reader = Reader::open(TABLE).unwrap();
        let mut busy = quiet.clone();
        for n in 0..20 {
            let name = format!("busy_{n}");
            busy.sets
                .insert(name.clone().into(), set(SetShape::Addresses, V4, "", [Element::new(Key::Address(v4(n)))]));
            let rules = vec![rule([lookup(LookupKey::Source(V4), &name)])];
            busy.chains.insert(name.into(), Chain::new("", rules));
        }
        let (there, back) = (Delta::between(&quiet, &busy), Delta::between(&busy, &quiet));
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let writer = thread::spawn(move || {
            while !stopped.load(Relaxed) {
                kernel.commit(&there).unwrap();
                kernel.commit(&back).unwrap();
            }
            kernel
        });
        for _ in 0..3 {
            let observed = reader.read().unwrap().expect("it is there all the time");
            assert!(!observed.is_settled());
        }
        stop.store(true, Relaxed);
        let _kernel = writer.join().unwrap();
        let observed = reader.read().unwrap().unwrap();
        assert!(observed.is_settled() && observed.delta_to(&quiet).is_empty());
    });
}

#[test]
fn denied_packets_are_counted_by_address_and_direction() {
    in_namespace(|| {
        let mut reader = Reader::open(TABLE).unwrap();
        assert_eq!(reader.denied().unwrap(), []);
        nft("add table inet podwall"); // nobody's, so that nft can put counts in
        let plan = LivePlan::new("node", Settings::default(), Generation::FIRST);
        let _kernel = created(plan.table());
        assert_eq!(reader.denied().unwrap(), []);
        let add = |direction, family, element: &str| {
            nft(&format!("add element inet podwall {} {{ {element} }}", denied_counters(direction, family)));
        };
        add(Ingress, V4, "10.244.1.1 counter packets 3 bytes 200");
        add(Ingress, V6, "fd00:10:244:1::1 counter packets 5 bytes 6000000000");
        add(Egress, V4, "10.244.1.1, 10.244.1.2 counter packets 7 bytes 8");
        let mut denied = reader.denied().unwrap();
        denied.sort();
        let count = |address, direction, packets, bytes| Denied { address, direction, packets, bytes };
        let expected = [
            count(v4(1), Ingress, 3, 200),
            count(v4(1), Egress, 0, 0),
            count(v4(2), Egress, 7, 8),
            count(v6(1), Ingress, 5, 6_000_000_000),
        ];
        assert_eq!(denied, expected);
    });
}

#[test]
fn all_tables_and_chains_of_the_namespace_have_names_and_families() {
    in_namespace(|| {
        let mut reader = Reader::open(TABLE).unwrap();
        assert!(reader.tables().unwrap().is_empty() && reader.chains().unwrap().is_empty());
        nft("add table inet podwall");
        for family in ["ip", "ip6", "inet", "arp", "bridge", "netdev"] {
            nft(&format!("add table {family} x"));
            nft(&format!("add chain {family} x y"));
        }
        let tables = reader.tables().unwrap().into_iter().map(|table| format!("table {} {}", table.family, table.name));
        let mut tables: Vec<_> = tables.collect();
        tables.sort();
        let listing = nft("list tables");
        let mut expected: Vec<_> = listing.lines().collect();
        expected.sort();
        assert_eq!(tables, expected);
        let mut chains: Vec<_> = reader.chains().unwrap();
        chains.sort();
        let chains: Vec<_> =
            chains.iter().map(|chain| format!("{} {} {}", chain.table.family, chain.table.name, chain.name)).collect();
        assert_eq!(chains, ["arp x y", "bridge x y", "inet x y", "ip x y", "ip6 x y", "netdev x y"]);
    });
}

#[test]
fn the_generation_counts_everybodys_transactions() {
    in_namespace(|| {
        let mut reader = Reader::open(TABLE).unwrap();
        let first = reader.generation().unwrap();
        assert_eq!(reader.generation().unwrap(), first);
        nft("add table ip other");
        assert_eq!(reader.generation().unwrap(), first + 1);
    });
}

#[test]
fn who_owns_the_table_is_known() {
    in_namespace(|| {
        let mut kernel = Kernel::open(TABLE).unwrap();
        assert!(!kernel.is_owned().unwrap(), "there is none");
        kernel.repair(&Repair::create(&everything())).unwrap();
        assert!(kernel.is_owned().unwrap());
        let mut other = Kernel::open(TABLE).unwrap();
        assert!(!other.is_owned().unwrap(), "somebody else does");
        drop(kernel);
        released();
        assert!(!other.is_owned().unwrap());
        other.repair(&Repair::default()).unwrap();
        assert!(other.is_owned().unwrap());
    });
    in_namespace(|| {
        nft("add table inet podwall");
        assert!(!created(&everything()).is_owned().unwrap(), "such a table can have no owner");
    });
}

#[test]
fn a_table_that_somebody_switched_off_is_switched_on_again() {
    in_namespace(|| {
        nft("add table inet podwall");
        let mut kernel = created(&everything());
        nft("add table inet podwall { flags dormant; }");
        assert!(nft("list table inet podwall").contains("dormant"));
        let repair = kernel.read().unwrap().unwrap().delta_to(&everything());
        assert!(!repair.is_empty() && repair.delta().is_empty());
        kernel.repair(&repair).unwrap();
        assert!(!nft("list table inet podwall").contains("dormant"));
        assert!(kernel.read().unwrap().unwrap().delta_to(&everything()).is_empty());
    });
}

#[test]
fn reading_takes_a_capability() {
    without_capabilities("reading_takes_a_capability", || {
        let mut reader = Reader::open(TABLE).unwrap();
        for error in [reader.read().unwrap_err(), reader.denied().unwrap_err(), reader.tables().unwrap_err()] {
            assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error:?}");
        }
    });
}
