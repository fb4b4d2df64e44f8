//! What both readings of the policies share, selectors and address blocks, held against a third.

use std::net::IpAddr;

use podwall_tests::random::{self, Cases, external_address, node_address, pod_address};
use policy_compiler::cidr::{Cidr, Family};
use policy_compiler::model::Labels;
use policy_compiler::selector::{Operator, Requirement};
use proptest::prelude::*;

use crate::CASES;

#[test]
fn rules_42_to_52_a_selector_is_the_sum_of_its_requirements() {
    random::run(
        Cases::share(1_000, CASES),
        || (random::selector(), random::labels()),
        |(selector, labels)| {
            let all = selector.requirements().iter().all(|requirement| is_met(requirement, &labels));
            prop_assert_eq!(selector.matches(&labels), all, "{} of {:?}", selector, labels);
            Ok(())
        },
    );
}

/// By what the labels list, without looking anything up.
fn is_met(requirement: &Requirement, labels: &Labels) -> bool {
    let mut values = labels.iter().filter(|(key, _)| **key == *requirement.key).map(|(_, value)| value);
    match &requirement.operator {
        Operator::In(wanted) => values.any(|value| wanted.iter().any(|one| **one == *value)),
        Operator::NotIn(unwanted) => !values.any(|value| unwanted.iter().any(|one| **one == *value)),
        Operator::Exists => values.next().is_some(),
        Operator::DoesNotExist => values.next().is_none(),
    }
}

#[test]
fn rules_84_to_94_a_block_is_its_cidr_less_its_excepts() {
    random::run(Cases::share(1_000, CASES), random::block, |block| {
        let ranges = block.ranges();
        for address in Family::BOTH.into_iter().flat_map(around_the_pools) {
            let within = lies_in(address, &block.cidr) && !block.except.iter().any(|except| lies_in(address, except));
            prop_assert_eq!(block.contains(address), within, "{} in {}", address, block);
            let holding = ranges.iter().filter(|range| range.contains(address)).count();
            prop_assert_eq!(holding, usize::from(within), "{} in {:?}", address, ranges);
        }
        Ok(())
    });
}

fn around_the_pools(family: Family) -> impl Iterator<Item = IpAddr> {
    let pods = (0..=40).map(move |host| pod_address(family, host));
    let nodes = (0..=5).map(move |number| node_address(family, number));
    pods.chain(nodes).chain((0..=12).map(move |host| external_address(family, host)))
}

/// By the bits of what is printed: the first of them are the same.
fn lies_in(address: IpAddr, cidr: &Cidr) -> bool {
    let text = cidr.to_string();
    let (network, prefix) = text.split_once('/').expect("a CIDR has a prefix");
    let network: IpAddr = network.parse().expect("an address");
    let first = |address: IpAddr| -> Vec<bool> {
        let octets = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let bits = octets.into_iter().flat_map(|octet| (0..8).rev().map(move |bit| octet >> bit & 1 == 1));
        bits.take(prefix.parse().expect("a number")).collect()
    };
    network.is_ipv4() == address.is_ipv4() && first(network) == first(address)
}
