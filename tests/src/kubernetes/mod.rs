//! A real API server, and nodes of a lab that are nodes of it.
//!
//! A [`ControlPlane`] is etcd and kube-apiserver in a network namespace of their own. Suites talk to it through an
//! [`Api`], and programs through a [`Kubeconfig`]. A [`Cluster`] joins a lab's nodes to one, each over a link of its own
//! that can be cut, with a [`Kubelet`] on each that makes what pods the API server places there, and a [`NodeAgent`] where one is
//! wanted.
//!
//! The programs come from `KUBEBUILDER_ASSETS`, or from `./dev control-plane`, which builds them where it must.

mod agents;
mod api;
mod certificates;
mod cluster;
mod control_plane;
mod kubeconfig;
mod kubelet;
mod lease;
pub mod objects;
mod programs;
mod proxy;
mod resource;

pub use agents::{NodeAgent, kustomize};
pub use api::{Api, refusal};
pub use cluster::{Cluster, await_that};
pub use control_plane::ControlPlane;
pub use kubeconfig::Kubeconfig;
pub use kubelet::Kubelet;
pub use lease::Lease;
pub use programs::program;
pub use proxy::{NoStreams, Proxy};
