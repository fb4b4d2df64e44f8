//! Whether an agent runs.

use super::{Asker, Check};
use crate::observe::control::Client;

const NAME: &str = "agent";

pub(super) async fn check(table: &str, asker: Asker) -> Check {
    let show = format!("podwall status --table {table}");
    let status = match Client::new(table).status().await {
        Ok(Some(status)) => status,
        Ok(None) => return Check::fine(NAME, format!("no agent runs for table {table}")),
        Err(error) => return Check::warning(NAME, error.to_string(), show),
    };
    let found = format!("an agent of version {} runs for table {table}", status.version);
    match asker {
        Asker::Agent => Check::warning(NAME, format!("{found}: this one waits for it to end"), show),
        Asker::Person if status.ready => Check::fine(NAME, found),
        Asker::Person => Check::warning(NAME, format!("{found}, and is not ready"), show),
    }
}
