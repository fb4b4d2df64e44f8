//! What the page is told: small numbers that lead into tables, since most cells have the same ports open for the same
//! reasons.

use std::collections::HashMap;
use std::hash::Hash;

use analysis::matrix::{Matrix, Unit, UnitName};
use policy_compiler::cluster::Cluster;
use policy_compiler::model::Direction;
use policy_compiler::verdict::Traffic;
use serde::Serialize;

use super::reasons::{self, Reason};

/// The data of a page. Its fields are read by `page/data.js`.
#[derive(Debug, Serialize)]
pub(super) struct Data {
    policies: usize,
    ports: Vec<(&'static str, u16)>,
    rows: Vec<Line>,
    /// None where they are the rows.
    columns: Option<Vec<Line>>,
    /// Row by row, for each column a place in `patterns`.
    grid: Vec<Vec<usize>>,
    patterns: Vec<Pattern>,
    /// Lists of cases, of which each has places in `texts`.
    reasons: Vec<Reason>,
    texts: Vec<String>,
}

/// A row or a column.
#[derive(Debug, PartialEq, Serialize)]
struct Line {
    /// As the other formats have it.
    name: String,
    /// None outside the cluster.
    namespace: Option<String>,
    /// `deploy`; none of a bare pod.
    kind: Option<String>,
    short: String,
    /// Without the namespace.
    pods: Vec<String>,
    /// How many of the pods are isolated for egress and for ingress.
    isolated: [usize; 2],
    /// Whether policies cannot speak for any of the pods.
    host_network: bool,
}

/// What a cell holds for each port: the symbol, and a place in `reasons`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
struct Pattern(String, Vec<usize>);

impl Data {
    pub(super) fn of(cluster: &Cluster, matrix: &Matrix<'_>) -> Self {
        let lines = |units: &[Unit<'_>]| -> Vec<Line> { units.iter().map(|unit| line(cluster, unit)).collect() };
        let (rows, columns) = (lines(&matrix.rows), lines(&matrix.columns));
        let (mut patterns, mut reasons, mut texts) = (Table::default(), Table::default(), Table::default());
        let mut grid = Vec::new();
        for row in 0..matrix.rows.len() {
            let mut places = Vec::new();
            for column in 0..matrix.columns.len() {
                let pairs = matrix.pairs(row, column);
                let cells = matrix.ports.iter().zip(matrix.cells(row, column));
                let reasons = cells.clone().map(|((protocol, port), cell)| {
                    let traffic = Traffic::Port(*protocol, *port);
                    let ends = (&matrix.rows[row], &matrix.columns[column]);
                    reasons.place(reasons::of(cluster, ends, &pairs, traffic, *cell, &mut texts))
                });
                let reasons = reasons.collect();
                let symbols = cells.map(|(_, cell)| cell.symbol()).collect();
                places.push(patterns.place(Pattern(symbols, reasons)));
            }
            grid.push(places);
        }
        Self {
            policies: cluster.policies().count(),
            ports: matrix.ports.iter().map(|(protocol, port)| (protocol.name(), *port)).collect(),
            columns: (rows != columns).then_some(columns),
            rows,
            grid,
            patterns: patterns.entries,
            reasons: reasons.entries,
            texts: texts.entries,
        }
    }
}

fn line(cluster: &Cluster, unit: &Unit<'_>) -> Line {
    let (kind, short) = match &unit.name {
        UnitName::Workload { name, .. } => {
            let short = unit.name.short();
            (short.split_once('/').map(|(kind, _)| kind.to_owned()), name.name.to_string())
        }
        UnitName::Pod(_) | UnitName::Outside(_) => (None, unit.name.short()),
    };
    Line {
        name: unit.name.to_string(),
        namespace: unit.name.namespace().map(str::to_owned),
        kind,
        short,
        pods: unit.pods.iter().map(|pod| pod.name.name.to_string()).collect(),
        isolated: [Direction::Egress, Direction::Ingress].map(|direction| unit.isolated(cluster, direction)),
        host_network: !unit.pods.is_empty() && unit.pods.iter().all(|pod| pod.host_network),
    }
}

/// Equal things once.
#[derive(Debug)]
pub(super) struct Table<T> {
    entries: Vec<T>,
    places: HashMap<T, usize>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), places: HashMap::new() }
    }
}

impl<T: Clone + Eq + Hash> Table<T> {
    /// Where something stands, which is put there if it is new.
    pub(super) fn place(&mut self, entry: T) -> usize {
        if let Some(place) = self.places.get(&entry) {
            return *place;
        }
        let place = self.entries.len();
        self.entries.push(entry.clone());
        self.places.insert(entry, place);
        place
    }
}
