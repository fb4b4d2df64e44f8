//! Throw-away clusters: nodes and pods out of network namespaces, wired by the real CNI plugins.
//!
//! Nothing here has a name in the system. A namespace is a file descriptor of this process, a node's CNI state is
//! a tmpfs in a mount namespace that is a file descriptor too, and whatever is to happen inside is done by a thread
//! that goes there. When the process ends, in whatever way (return, panic, Ctrl-C, SIGKILL), the kernel takes all
//! of it away: links, addresses, rules, files. Only child processes outlive a SIGKILL; one that should not asks for
//! `PR_SET_PDEATHSIG` itself (see [`Process`]), and all of them bear a mark by which they are found ([`lineage`]).
//!
//! The root namespace's links, routes and rules are never touched and no packet leaves the lab.
//!
//! From the bottom up: [`Namespace`], [`cni`], [`Node`], [`PodNetwork`], [`Responder`] and [`probe`], and [`Lab`], which puts them
//! together. [`proof`] holds a cluster's policies against packets; a [`keeper`] is the process of a lab that is to
//! stay. [`Flood`] and [`Connection`] are for tests that change rules while traffic flows.

#![forbid(unsafe_code)]

mod cluster;
pub mod cni;
mod connection;
mod datagram;
mod echo;
mod error;
mod flood;
mod frame;
mod ip;
pub mod keeper;
pub mod lineage;
mod namespace;
mod neighbours;
mod netlink;
mod network;
mod node;
mod outside;
pub mod probe;
mod process;
pub mod proof;
mod reactor;
pub mod requirements;
mod responder;
mod scratch;
mod sctp;
pub mod services;
mod switch;
mod traffic;
mod underlay;
pub mod user;

pub use policy_compiler::model::Protocol;

pub use cluster::{Lab, LabSpec, PodSpec};
pub use connection::Connection;
pub use datagram::receive;
pub use error::LabError;
pub use flood::{Flood, FloodReceiver, FloodResult};
pub use namespace::Namespace;
pub use network::{PodNetwork, UnknownNetwork};
pub use node::{Node, PodNet};
pub use outside::OUTSIDE;
pub use probe::{Expectation, Observed, Probe};
pub use process::{Process, Signal};
pub use reactor::Reactor;
pub use responder::Responder;
pub use scratch::Scratch;
pub use switch::{Port, Switch};
pub use traffic::Traffic;
