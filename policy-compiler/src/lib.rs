//! NetworkPolicy, compiled: manifests and API objects in, one node's nftables table out.
//!
//! Data flows one way: [`manifest`] reads text into the lean types of [`model`]; [`cluster`] holds them; [`plan`]
//! derives from a cluster what one node's kernel must hold, as a [`ruleset`]; [`render`] writes a ruleset as text or
//! JSON; [`delta`] says what must change to come from one ruleset to another. [`verdict`] judges single flows straight
//! from the policies, without any of it; [`interpret`] sends single packets through a ruleset.
//!
//! The crate does no I/O, reads no clock and panics on no input.
#![forbid(unsafe_code)]

pub mod cidr;
pub mod cluster;
pub mod delta;
pub mod interpret;
pub mod manifest;
pub mod model;
pub mod plan;
pub mod render;
pub mod ruleset;
pub mod selector;
pub mod verdict;
