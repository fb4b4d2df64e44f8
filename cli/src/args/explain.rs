//! The flags of `podwall explain`.

use analysis::party::{self, Name};
use clap::Args as Group;
use policy_compiler::verdict::Traffic;

use super::{AnswerFormat, Input};

#[derive(Debug, Group)]
#[command(after_help = "Exit status: 0 every flow is allowed, 1 one is denied, 2 errors.")]
pub(crate) struct Explain {
    #[command(flatten)]
    pub(crate) input: Input,
    /// Who opens the connection: NAMESPACE/POD, NAMESPACE/WORKLOAD, NAMESPACE/KIND/NAME such as shop/deploy/web, or an IP address
    pub(crate) from: Name,
    /// Who it is opened to: the same, or a Service by name or ClusterIP
    pub(crate) to: Name,
    /// The destination's port, a Service's own where TO is one: PORT or PORT/PROTOCOL; or icmp, icmpv6
    #[arg(value_name = "PORT[/PROTOCOL]", value_parser = party::parse_traffic)]
    pub(crate) port: Traffic,
    /// Words, or JSON
    #[arg(short, long, value_enum, default_value_t = AnswerFormat::Text)]
    pub(crate) output: AnswerFormat,
}
