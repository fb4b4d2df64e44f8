//! The flags of `podwall lint`.

use analysis::lint::Severity;
use clap::{Args as Group, ValueEnum};

use super::Input;

#[derive(Debug, Group)]
pub(crate) struct Lint {
    #[command(flatten)]
    pub(crate) input: Input,
    /// Text with the lines that are meant, JSON, or SARIF 2.1.0
    #[arg(short, long, value_enum, default_value_t = LintFormat::Text)]
    pub(crate) output: LintFormat,
    /// Exit with 1 if there is a finding of this severity or worse
    #[arg(long, value_enum, value_name = "SEVERITY", default_value_t = FailOn::Warning)]
    pub(crate) fail_on: FailOn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LintFormat {
    Text,
    Json,
    Sarif,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    Error,
    Warning,
    Info,
    Never,
}

impl FailOn {
    /// The least severity that fails.
    pub(crate) fn severity(self) -> Option<Severity> {
        match self {
            Self::Error => Some(Severity::Error),
            Self::Warning => Some(Severity::Warning),
            Self::Info => Some(Severity::Info),
            Self::Never => None,
        }
    }
}
