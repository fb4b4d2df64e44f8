//! `podwall matrix`: who reaches whom.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use analysis::matrix::Matrix as Answer;

use crate::args::{Matrix, MatrixFormat};
use crate::input;
use crate::output::matrix::{csv, html, json, text};

pub(crate) fn run(args: &Matrix) -> Result<ExitCode, Box<dyn Error>> {
    let mut loaded = input::load(&args.input)?;
    loaded.cluster.place_pods(input::ONLY_NODE);
    let matrix = Answer::of(&loaded.cluster, &args.question())?;
    match args.output {
        MatrixFormat::Text => {
            let mut out = anstream::stdout().lock();
            out.write_all(text(&matrix).as_bytes())?;
            out.flush()?;
        }
        MatrixFormat::Json => json(&matrix, &mut buffered())?,
        MatrixFormat::Csv => csv(&matrix, &mut buffered())?,
        MatrixFormat::Html => buffered().write_all(html::page(&loaded.cluster, &matrix)?.as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn buffered() -> impl Write {
    std::io::BufWriter::new(std::io::stdout().lock())
}
