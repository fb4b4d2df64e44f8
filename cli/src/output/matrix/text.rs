//! A matrix to look at: a grid for every set of ports that have the same one.

use std::collections::BTreeMap;
use std::fmt::{Result, Write as _};

use analysis::matrix::{Cell, Matrix, Unit};
use policy_compiler::model::Protocol;

use crate::output::{BOLD, DIM, GREEN, RED, YELLOW};

/// The heading of rows that are no pods.
const OUTSIDE: &str = "outside the cluster";

/// The grids, and a last line that counts.
pub(crate) fn text(matrix: &Matrix<'_>) -> String {
    let mut out = String::new();
    // A String takes every write.
    _ = write(&mut out, matrix);
    out
}

fn write(out: &mut String, matrix: &Matrix<'_>) -> Result {
    if matrix.rows.is_empty() || matrix.columns.is_empty() {
        return writeln!(out, "no pods");
    }
    legend(out, matrix)?;
    let same = names(&matrix.rows) == names(&matrix.columns);
    if !same {
        column_names(out, &matrix.columns)?;
    }
    // Most ports are named by no policy, and look the same.
    let mut grids: BTreeMap<Vec<char>, Vec<usize>> = BTreeMap::new();
    for port in 0..matrix.ports.len() {
        grids.entry(symbols(matrix, port)).or_default().push(port);
    }
    let mut grids: Vec<Vec<usize>> = grids.into_values().collect();
    grids.sort_unstable();
    for ports in &grids {
        grid(out, matrix, ports)?;
    }
    summary(out, matrix)
}

fn names<'u>(units: &'u [Unit<'_>]) -> Vec<&'u analysis::matrix::UnitName> {
    units.iter().map(|unit| &unit.name).collect()
}

fn symbols(matrix: &Matrix<'_>, port: usize) -> Vec<char> {
    let pairs = (0..matrix.rows.len()).flat_map(|row| (0..matrix.columns.len()).map(move |column| (row, column)));
    pairs.map(|(row, column)| matrix.cell(row, column, port).symbol()).collect()
}

/// Only the symbols that are there are explained.
fn legend(out: &mut String, matrix: &Matrix<'_>) -> Result {
    let used: std::collections::BTreeSet<char> =
        (0..matrix.ports.len()).flat_map(|port| symbols(matrix, port)).collect();
    write!(out, "{DIM}from the row to the column: . allowed   X denied")?;
    for (symbol, meaning) in [
        ('~', "between some of the pods only"),
        ('4', "over IPv4 only"),
        ('6', "over IPv6 only"),
        ('-', "the pod itself"),
        (' ', "(blank) no way at all"),
    ] {
        if used.contains(&symbol) {
            write!(out, "   {symbol} {meaning}")?;
        }
    }
    writeln!(out, "{DIM:#}\n")
}

fn column_names(out: &mut String, columns: &[Unit<'_>]) -> Result {
    writeln!(out, "{BOLD}columns{BOLD:#}")?;
    for (place, unit) in columns.iter().enumerate() {
        writeln!(out, "{:>4} {}", place + 1, unit.name)?;
    }
    writeln!(out)
}

/// One grid: a heading with its ports, the numbers of the columns from top to bottom, a line a row.
fn grid(out: &mut String, matrix: &Matrix<'_>, ports: &[usize]) -> Result {
    let Some(first) = ports.first() else { return Ok(()) };
    let labels: Vec<String> = matrix.rows.iter().map(label).collect();
    let width = labels.iter().map(String::len).max().unwrap_or(0) + 5;

    writeln!(out, "{BOLD}{}{BOLD:#}", title(ports.iter().filter_map(|port| matrix.ports.get(*port))))?;
    let digits = matrix.columns.len().to_string().len();
    for digit in (0..digits).rev() {
        write!(out, "{DIM}{:width$}", "")?;
        spaced(out, &matrix.columns, |out, column| {
            let number = (column + 1).to_string();
            let digit = number.len().checked_sub(digit + 1).and_then(|place| number.as_bytes().get(place));
            out.push(digit.map_or(' ', |digit| char::from(*digit)));
            Ok(())
        })?;
        writeln!(out, "{DIM:#}")?;
    }
    let mut heading = None;
    for (row, (unit, label)) in matrix.rows.iter().zip(&labels).enumerate() {
        let namespace = unit.name.namespace().unwrap_or(OUTSIDE);
        if heading != Some(namespace) {
            writeln!(out, "{namespace}")?;
            heading = Some(namespace);
        }
        write!(out, "{DIM}{:>4}{DIM:#} {label:<rest$}", row + 1, rest = width - 5)?;
        spaced(out, &matrix.columns, |out, column| {
            let cell = matrix.cell(row, column, *first);
            let style = match cell {
                Cell::Allowed => GREEN,
                Cell::Denied => RED,
                Cell::Only(_) | Cell::Some => YELLOW,
                Cell::Itself | Cell::NoWay => DIM,
            };
            write!(out, "{style}{}{style:#}", cell.symbol())
        })?;
        writeln!(out)?;
    }
    writeln!(out)
}

/// What is written for each column, with a gap before each namespace.
fn spaced(out: &mut String, columns: &[Unit<'_>], mut write: impl FnMut(&mut String, usize) -> Result) -> Result {
    let mut last = None;
    for (column, unit) in columns.iter().enumerate() {
        if last != Some(unit.name.namespace()) {
            out.push(' ');
            last = Some(unit.name.namespace());
        }
        write(out, column)?;
    }
    Ok(())
}

/// `deploy/web (3 pods)`
fn label(unit: &Unit<'_>) -> String {
    match unit.pods.len() {
        0 | 1 => unit.name.short(),
        pods => format!("{} ({pods} pods)", unit.name.short()),
    }
}

/// `TCP 80,443  UDP 53`
fn title<'p>(ports: impl Iterator<Item = &'p (Protocol, u16)>) -> String {
    let mut by_protocol: BTreeMap<Protocol, Vec<String>> = BTreeMap::new();
    for (protocol, port) in ports {
        by_protocol.entry(*protocol).or_default().push(port.to_string());
    }
    let lists: Vec<String> =
        by_protocol.iter().map(|(protocol, ports)| format!("{protocol} {}", ports.join(","))).collect();
    lists.join("  ")
}

fn summary(out: &mut String, matrix: &Matrix<'_>) -> Result {
    let mut counts: BTreeMap<char, usize> = BTreeMap::new();
    for port in 0..matrix.ports.len() {
        symbols(matrix, port).into_iter().for_each(|symbol| *counts.entry(symbol).or_default() += 1);
    }
    let count = |symbol| counts.get(&symbol).copied().unwrap_or(0);
    let mut parts = vec![format!("{} allowed", count('.')), format!("{} denied", count('X'))];
    let partly = count('~') + count('4') + count('6');
    if partly > 0 {
        parts.push(format!("{partly} in part"));
    }
    let s = |count: usize| if count == 1 { "" } else { "s" };
    writeln!(
        out,
        "{} row{} x {} column{} x {} port{}: {}",
        matrix.rows.len(),
        s(matrix.rows.len()),
        matrix.columns.len(),
        s(matrix.columns.len()),
        matrix.ports.len(),
        s(matrix.ports.len()),
        parts.join(", "),
    )
}
