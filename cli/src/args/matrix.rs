//! The flags of `podwall matrix`.

use analysis::matrix::{Fold, Question};
use analysis::party::{Pattern, parse_port};
use clap::{Args as Group, ValueEnum};
use policy_compiler::cidr::Cidr;
use policy_compiler::model::Protocol;

use super::{Input, cidr};

#[derive(Debug, Group)]
pub(crate) struct Matrix {
    #[command(flatten)]
    pub(crate) input: Input,
    /// A port to ask for, TCP unless said; may be given several times. Without it every port that a container declares
    /// or a policy names
    #[arg(long = "port", value_name = "PORT[/PROTOCOL]", value_parser = parse_port)]
    ports: Vec<(Protocol, u16)>,
    /// Only what these pods send: NAMESPACE/NAME, with * as you like, or labels as KEY=VALUE; may be given several times
    #[arg(long, value_name = "PODS")]
    from: Vec<Pattern>,
    /// Only what these pods receive
    #[arg(long, value_name = "PODS")]
    to: Vec<Pattern>,
    /// Addresses outside the cluster as rows and columns too; may be given several times
    #[arg(long, value_name = "CIDR", value_parser = cidr)]
    external: Vec<Cidr>,
    /// A row for every pod, not for every workload; JSON and CSV always have that
    #[arg(long)]
    pods: bool,
    /// A matrix to look at, a row for each flow, or a page for a browser
    #[arg(short, long, value_enum, default_value_t = MatrixFormat::Text)]
    pub(crate) output: MatrixFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MatrixFormat {
    Text,
    Json,
    Csv,
    Html,
}

impl Matrix {
    pub(crate) fn question(&self) -> Question {
        let by_pod = self.pods || matches!(self.output, MatrixFormat::Json | MatrixFormat::Csv);
        Question {
            ports: self.ports.clone(),
            from: self.from.clone(),
            to: self.to.clone(),
            external: self.external.clone(),
            fold: if by_pod { Fold::Pods } else { Fold::Workloads },
        }
    }
}
