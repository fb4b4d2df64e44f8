//! A matrix as a row for each flow: JSON and CSV. Written as it goes, for there may be millions.

use std::io::{self, Write};

use analysis::matrix::{Cell, Matrix};
use policy_compiler::cidr::Family;
use policy_compiler::model::Protocol;
use serde_json::json;

/// What a flow comes to.
struct Flow<'m> {
    from: &'m str,
    to: &'m str,
    port: u16,
    protocol: Protocol,
    verdict: &'static str,
    /// Where it is not the same over both families: those over which it is allowed.
    families: Option<&'static [&'static str]>,
}

/// `{"flows": [{"from", "to", "port", "protocol", "verdict"}]}`, a row a line.
pub(crate) fn json(matrix: &Matrix<'_>, out: &mut impl Write) -> io::Result<()> {
    write!(out, "{{\"flows\":[")?;
    let mut separator = "\n";
    each(matrix, |flow| {
        let mut row = json!({
            "from": flow.from,
            "to": flow.to,
            "port": flow.port,
            "protocol": flow.protocol.name(),
            "verdict": flow.verdict,
        });
        if let Some(families) = flow.families {
            row["families"] = json!(families);
        }
        write!(out, "{separator}{row}")?;
        separator = ",\n";
        Ok(())
    })?;
    writeln!(out, "\n]}}")?;
    out.flush()
}

/// `from,to,port,protocol,verdict,families`. No name in Kubernetes holds a comma or a quote.
pub(crate) fn csv(matrix: &Matrix<'_>, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "from,to,port,protocol,verdict,families")?;
    each(matrix, |flow| {
        let Flow { from, to, port, protocol, verdict, .. } = flow;
        let families = match flow.families {
            None => String::new(),
            Some([]) => "none".to_owned(),
            Some(families) => families.join(" "),
        };
        writeln!(out, "{from},{to},{port},{protocol},{verdict},{families}")
    })?;
    out.flush()
}

fn each(matrix: &Matrix<'_>, mut write: impl FnMut(Flow<'_>) -> io::Result<()>) -> io::Result<()> {
    let names = |units: &[analysis::matrix::Unit<'_>]| -> Vec<String> {
        units.iter().map(|unit| unit.name.to_string()).collect()
    };
    let (rows, columns) = (names(&matrix.rows), names(&matrix.columns));
    for (row, from) in rows.iter().enumerate() {
        for (column, to) in columns.iter().enumerate() {
            let between_strangers = matrix.rows[row].pods.is_empty() && matrix.columns[column].pods.is_empty();
            if between_strangers {
                continue;
            }
            for ((protocol, port), cell) in matrix.ports.iter().zip(matrix.cells(row, column)) {
                let (verdict, families) = verdict(*cell);
                write(Flow { from, to, port: *port, protocol: *protocol, verdict, families })?;
            }
        }
    }
    Ok(())
}

/// Rows are single pods, of which `Some` cannot be true.
fn verdict(cell: Cell) -> (&'static str, Option<&'static [&'static str]>) {
    match cell {
        Cell::Allowed | Cell::Itself => ("allow", None),
        Cell::Denied | Cell::Some => ("deny", None),
        Cell::Only(Family::V4) => ("allow", Some(&["IPv4"])),
        Cell::Only(Family::V6) => ("allow", Some(&["IPv6"])),
        Cell::NoWay => ("deny", Some(&[])),
    }
}
