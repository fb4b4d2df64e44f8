//! How people name the ends of flows, and who in a cluster is meant.
//!
//! | written | means |
//! |---|---|
//! | `shop/web-1` | the pod, else the workload, else the Service of that name; without `NAMESPACE/` in `default` |
//! | `shop/deploy/web` | the workload; `pod/`, `sts/`, `ds/`, `rs/`, `job/`, `cronjob/`, `svc/` likewise |
//! | `10.0.0.1` | whoever has that address |
//! | `shop/*`, `*/web*` | all pods that match, by their own name or their workload's |
//! | `app=web,tier!=db` | all pods with such labels; `shop:app=web` those of one namespace |
//! | `10.0.0.0/8` | a block of addresses |

mod name;
mod pattern;
mod port;
#[cfg(test)]
mod tests;

use std::fmt;

pub use name::{Name, NameError, Party, UnknownParty};
pub use pattern::{Glob, Pattern, PatternError};
pub use port::{PortError, parse_port, parse_traffic};

/// The kinds that names may carry in front, as kubectl has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `pod/`
    Pod,
    /// A kind with a pod template, as its objects spell it.
    Workload(&'static str),
    /// `svc/`
    Service,
}

impl Kind {
    /// Reads a prefix.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "pod" | "pods" | "po" => Self::Pod,
            "deploy" | "deployment" | "deployments" => Self::Workload("Deployment"),
            "sts" | "statefulset" | "statefulsets" => Self::Workload("StatefulSet"),
            "ds" | "daemonset" | "daemonsets" => Self::Workload("DaemonSet"),
            "rs" | "replicaset" | "replicasets" => Self::Workload("ReplicaSet"),
            "rc" | "replicationcontroller" | "replicationcontrollers" => Self::Workload("ReplicationController"),
            "job" | "jobs" => Self::Workload("Job"),
            "cj" | "cronjob" | "cronjobs" => Self::Workload("CronJob"),
            "svc" | "service" | "services" => Self::Service,
            _ => return None,
        })
    }

    /// The shortest prefix that stands for a kind of workload; the kind itself where there is none.
    pub fn short(workload: &str) -> &str {
        match workload {
            "Deployment" => "deploy",
            "StatefulSet" => "sts",
            "DaemonSet" => "ds",
            "ReplicaSet" => "rs",
            "ReplicationController" => "rc",
            "Job" => "job",
            "CronJob" => "cj",
            other => other,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pod => "pod",
            Self::Workload(kind) => Self::short(kind),
            Self::Service => "svc",
        })
    }
}

/// `[NAMESPACE/][KIND/]NAME`.
enum Split<'t> {
    /// `shop/deploy/web`, `shop/web`, `web`
    Full(&'t str, Option<Kind>, &'t str),
    /// `deploy/web`: a kind of the namespace `default`, or what is called so in a namespace that is called like a kind.
    Short(&'t str, Kind, &'t str),
}

fn split(text: &str) -> Option<Split<'_>> {
    const DEFAULT: &str = policy_compiler::model::DEFAULT_NAMESPACE;
    let parts: Vec<&str> = text.split('/').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return None;
    }
    match *parts {
        [name] => Some(Split::Full(DEFAULT, None, name)),
        [first, name] => Some(match Kind::parse(first) {
            Some(kind) => Split::Short(first, kind, name),
            None => Split::Full(first, None, name),
        }),
        [namespace, kind, name] => Some(Split::Full(namespace, Some(Kind::parse(kind)?), name)),
        _ => None,
    }
}
