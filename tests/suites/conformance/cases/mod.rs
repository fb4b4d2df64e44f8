//! The cases that need more than pods and manifests.

mod bypasses;
mod connections;
mod finished;
mod flows;
mod frames;
mod lifecycle;
mod neighbours;
mod node_ports;
mod nodes;
mod pods;
mod services;
mod shell;

use super::Case;

/// All of them.
pub fn all() -> Vec<Case> {
    let subjects = [
        pods::cases(),
        nodes::cases(),
        services::cases(),
        node_ports::cases(),
        neighbours::cases(),
        connections::cases(),
        lifecycle::cases(),
        finished::cases(),
        bypasses::cases(),
    ];
    subjects.into_iter().flatten().collect()
}
