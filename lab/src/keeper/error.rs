//! What can go wrong between a keeper and those who ask it.

use std::{io, process::ExitStatus};

use super::LabName;
use crate::LabError;

/// A failure to keep a lab or to use a kept one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeeperError {
    /// The name is in use.
    #[error(
        "the name {0} is taken, by a lab that stands or is being built; --name gives another one, `podwall lab down --name {0}` takes that lab down"
    )]
    Taken(LabName),
    /// A keeper does not answer as it should.
    #[error("lab {lab}: cannot {action}")]
    Talk {
        /// Which lab.
        lab: LabName,
        /// What was tried.
        action: &'static str,
        /// What came of it.
        source: io::Error,
    },
    /// The keeper is there, but what it was asked for failed; its own words.
    #[error("lab {lab}: {reason}")]
    Refused {
        /// Which lab.
        lab: LabName,
        /// Why.
        reason: String,
    },
    /// A keeper does not end although it was told to.
    #[error("lab {lab}: its keeper, process {keeper}, does not end")]
    Stuck {
        /// Which lab.
        lab: LabName,
        /// The keeper.
        keeper: u32,
    },
    /// The lab went while it was to be entered.
    #[error("lab {0} is gone")]
    Gone(LabName),
    /// A pod or node was named that the lab does not have.
    #[error("no pod or node {place} in lab {lab}; there are nodes {} and pods {}", .nodes.join(", "), .pods.join(", "))]
    NoSuchPlace {
        /// Which lab.
        lab: LabName,
        /// What was asked for.
        place: String,
        /// The nodes there are.
        nodes: Vec<String>,
        /// The pods there are.
        pods: Vec<String>,
    },
    /// A pod or node cannot be entered.
    #[error("cannot enter {place}")]
    Enter {
        /// The pod or node.
        place: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The keeper could not be started, or not go into the background.
    #[error("cannot {action}")]
    Background {
        /// What was tried.
        action: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The keeper ended by a signal before its lab stood.
    #[error("the keeper ended before the lab stood: {0}")]
    Died(ExitStatus),
    /// Labs cannot be looked for, or what they left cannot be ended.
    #[error("cannot {action}")]
    Look {
        /// What was tried.
        action: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Something of the lab itself.
    #[error(transparent)]
    Lab(#[from] LabError),
}
