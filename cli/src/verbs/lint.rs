//! `podwall lint`: what is probably not meant.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use analysis::lint::{self, Report, Source};

use crate::args::{Lint, LintFormat};
use crate::{input, output};

pub(crate) fn run(args: &Lint) -> Result<ExitCode, Box<dyn Error>> {
    let read = input::read(&args.input.paths, args.input.cidr_rules())?;
    let sources: Vec<Source<'_>> =
        read.iter().map(|source| Source { text: &source.text, manifest: &source.manifest }).collect();
    let report = lint::lint(&sources);
    if !report.skipped.is_empty() {
        output::line(&skipped(&report));
    }

    let mut out = anstream::stdout().lock();
    match args.output {
        LintFormat::Text => out.write_all(output::lint::text(&report, &sources).as_bytes())?,
        LintFormat::Json => writeln!(out, "{:#}", output::lint::json(&report))?,
        LintFormat::Sarif => writeln!(out, "{:#}", output::sarif::log(&report))?,
    }
    out.flush()?;
    let worst = report.findings.iter().map(|finding| finding.severity).max();
    let fails = args.fail_on.severity().is_some_and(|least| worst.is_some_and(|worst| worst >= least));
    Ok(if fails { ExitCode::from(super::FINDINGS) } else { ExitCode::SUCCESS })
}

fn skipped(report: &Report) -> String {
    let codes: Vec<&str> = report.skipped.iter().map(|code| code.name()).collect();
    format!("no pods in the input, so these checks were skipped: {}", codes.join(", "))
}
