//! What the loader found wrong, as findings.

use policy_compiler::cidr::CidrOddity;
use policy_compiler::manifest::{self, Problem, ProblemKind};

use super::{Code, Finding, Severity, Source};

pub(super) fn findings(sources: &[Source<'_>]) -> Vec<Finding> {
    sources.iter().flat_map(|source| &source.manifest.problems).map(finding).collect()
}

fn finding(problem: &Problem) -> Finding {
    let (code, why, help) = match &problem.kind {
        ProblemKind::QuotedPort => (Code::QuotedPort, QUOTED.to_owned(), quoted_port(&problem.message)),
        ProblemKind::OddCidr(oddity) => {
            let (why, meant) = odd_cidr(oddity);
            (Code::OddCidr, why.to_owned(), Some(format!("write {meant}")))
        }
        ProblemKind::EmptyBlock => {
            let why = "The excepts together are as wide as the cidr, so the entry allows nothing.";
            (Code::PeerMatchesNothing, why.to_owned(), Some("narrow the excepts, or delete the entry".to_owned()))
        }
        ProblemKind::Invalid => (Code::InvalidManifest, invalid(problem), None),
    };
    Finding {
        code,
        severity: match problem.severity {
            manifest::Severity::Error => Severity::Error,
            manifest::Severity::Warning => Severity::Warning,
        },
        object: problem.object.clone(),
        path: problem.path.clone(),
        origin: problem.origin.clone(),
        message: problem.message.clone(),
        why,
        help,
    }
}

const QUOTED: &str = "In quotes it is the name of a port, and names need a letter: the API server refuses the policy.";

/// The message ends in the number.
fn quoted_port(message: &str) -> Option<String> {
    let (_, number) = message.rsplit_once("unquote it: ")?;
    Some(format!("write port: {number}"))
}

fn odd_cidr(oddity: &CidrOddity) -> (&'static str, policy_compiler::cidr::Cidr) {
    match oddity {
        CidrOddity::HostBits { meant } => (
            "The address bits behind the prefix are ignored: the block is wider than its address looks. API servers with \
             strict validation refuse it.",
            *meant,
        ),
        CidrOddity::LeadingZeros { meant } => (
            "Some programs read such numbers as octal, and so another block. API servers with strict validation refuse it.",
            *meant,
        ),
        CidrOddity::Mapped { meant } => (
            "Packets carry the IPv4 address, and engines differ on whether the block matches it. API servers with strict \
             validation refuse it.",
            *meant,
        ),
        CidrOddity::Spelling { meant } => {
            ("It means the same, but whoever searches for the block as it is usually spelt does not find it.", *meant)
        }
    }
}

fn invalid(problem: &Problem) -> String {
    let is_policy = problem.object.as_deref().is_some_and(|object| object.starts_with("NetworkPolicy "));
    match (is_policy, problem.object.is_some()) {
        (true, _) => "The API server refuses the policy; the agent closes the pods that it selects until it is mended.",
        (false, true) => "The object cannot be used, and what is said here of its pods and policies may be incomplete.",
        (false, false) => "What the document says is lost, and what is said here of the rest may be incomplete.",
    }
    .to_owned()
}
