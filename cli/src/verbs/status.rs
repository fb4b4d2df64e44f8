//! `podwall status`: what the agent of this node enforces now.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use enforcer::kernel::Reader;
use enforcer::observe::control::Client;

use crate::args::{AnswerFormat, Status};
use crate::output;

/// There is nobody to ask.
#[derive(Debug, thiserror::Error)]
#[error("no agent runs for table inet {table}{}", rest.sentence())]
struct NoAgent {
    table: String,
    rest: Rest,
}

/// What there is without an agent.
#[derive(Debug)]
enum Rest {
    Table,
    Nothing,
    Unknown(String),
}

impl Rest {
    fn sentence(&self) -> String {
        match self {
            Self::Table => {
                "; the table of an earlier one is there, and its rules are in force as it left them".to_owned()
            }
            Self::Nothing => "; there is no such table, and no policy is enforced".to_owned(),
            Self::Unknown(why) => format!("; whether there is such a table cannot be seen: {why}"),
        }
    }

    fn of(table: &str) -> Self {
        let tables = Reader::open(table).and_then(|mut reader| reader.tables());
        match tables {
            Ok(tables) if tables.iter().any(|there| there.family == "inet" && there.name == table) => Self::Table,
            Ok(_) => Self::Nothing,
            Err(error) => Self::Unknown(error.to_string()),
        }
    }
}

pub(crate) fn run(args: &Status) -> Result<ExitCode, Box<dyn Error>> {
    let table = args.table.table.as_str();
    let Some(status) = super::runtime()?.block_on(Client::new(table).status())? else {
        return Err(NoAgent { table: table.to_owned(), rest: Rest::of(table) }.into());
    };
    let mut out = anstream::stdout().lock();
    match args.output {
        AnswerFormat::Text => out.write_all(output::status::text(&status).as_bytes())?,
        AnswerFormat::Json => writeln!(out, "{:#}", serde_json::to_value(&status)?)?,
    }
    out.flush()?;
    let well = status.ready && status.live;
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(super::FINDINGS) })
}
