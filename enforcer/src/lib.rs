//! Keeps one node's nftables table what its plan says.
//!
//! Data flows one way: a [`source`] yields objects; the [`engine`] has them compiled, compares the plan with what was
//! committed and hands the difference to the [`kernel`], the only door to the node's nftables: one writer, one table,
//! over netlink. [`preflight`] sees to it that packets pass that table at all.
#![forbid(unsafe_code)]

pub mod engine;
pub mod kernel;
mod netlink;
pub mod observe;
pub mod preflight;
pub mod source;
