//! What this crate encodes is what nft makes of the same table written by hand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use enforcer::kernel::{Kernel, Repair};
use support::{EVERYTHING, everything, in_namespace, listing, load};

#[test]
fn every_construct_is_listed_as_nft_lists_its_own() {
    let theirs = in_namespace(|| {
        load(EVERYTHING);
        listing()
    });
    let ours = in_namespace(|| {
        let mut kernel = Kernel::open("podwall").unwrap();
        kernel.repair(&Repair::create(&everything())).unwrap();
        listing()
    });
    assert!(theirs.json.len() > 45 && theirs.programs.len() > 130, "{theirs:#?}");
    let pairs = [
        (ours.json, theirs.json),
        (ours.text, theirs.text),
        (ours.programs, theirs.programs),
        (ours.elements, theirs.elements),
    ];
    for (ours, theirs) in pairs {
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs);
        }
        assert_eq!(ours.len(), theirs.len());
    }
}
