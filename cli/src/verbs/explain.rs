//! `podwall explain`: why one flow is allowed or denied.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use crate::args::{AnswerFormat, Explain};
use crate::{input, output};

pub(crate) fn run(args: &Explain) -> Result<ExitCode, Box<dyn Error>> {
    let mut cluster = input::load(&args.input)?.cluster;
    cluster.place_pods(input::ONLY_NODE);
    let explanation = analysis::explain::between(&cluster, &args.from, &args.to, args.port)?;
    let mut out = anstream::stdout().lock();
    match args.output {
        AnswerFormat::Text => out.write_all(output::explain::text(&explanation).as_bytes())?,
        AnswerFormat::Json => writeln!(out, "{:#}", output::explain::json(&explanation))?,
    }
    out.flush()?;
    Ok(if explanation.is_allowed() { ExitCode::SUCCESS } else { ExitCode::from(super::FINDINGS) })
}
