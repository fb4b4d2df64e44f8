//! Who reaches whom, on which port.

mod cell;
mod pair;
mod unit;

#[cfg(test)]
mod tests;

pub use cell::Cell;
pub use pair::Pair;
pub use unit::{Fold, Unit, UnitName};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use policy_compiler::cidr::Cidr;
use policy_compiler::cluster::Cluster;
use policy_compiler::model::{Pod, Protocol};
use policy_compiler::verdict::Traffic;

use crate::party::Pattern;
use crate::reach::{self, AddressGroup, ClassId, PortSpace, Reach, Row};
use cell::Outcomes;

/// More cells than this are refused: nobody reads them, and few machines hold them.
pub const MOST_CELLS: usize = 20_000_000;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// The ports; none for every port that a container declares or a policy names (of a range its two ends).
    pub ports: Vec<(Protocol, u16)>,
    /// Only what any of these send; none for all pods.
    pub from: Vec<Pattern>,
    /// Only what any of these receive; none for all pods.
    pub to: Vec<Pattern>,
    /// Addresses outside the cluster that are rows and columns too, in as many parts as policies cut them into.
    pub external: Vec<Cidr>,
    /// What a row and a column are.
    pub fold: Fold,
}

/// Who reaches whom: a cell for each row, column and port.
#[derive(Debug)]
pub struct Matrix<'c> {
    /// The ports, ascending.
    pub ports: Vec<(Protocol, u16)>,
    /// Senders.
    pub rows: Vec<Unit<'c>>,
    /// Receivers.
    pub columns: Vec<Unit<'c>>,
    cells: Vec<Cell>,
    row_parts: Vec<Parts<'c>>,
    column_parts: Vec<Parts<'c>>,
}

/// Why a question is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatrixError {
    /// The answer would be too large.
    #[error("{rows} rows x {columns} columns x {ports} ports make {} cells, at most {MOST_CELLS} are answered; narrow the question with --from, --to or --port", .rows * .columns * .ports)]
    TooLarge {
        /// Senders.
        rows: usize,
        /// Receivers.
        columns: usize,
        /// Ports.
        ports: usize,
    },
    /// A filter that leaves nobody: it is misspelt, or the input is not the one that was meant.
    #[error("{0} matches no pod of the input")]
    Nobody(Pattern),
}

impl<'c> Matrix<'c> {
    /// Answers a question. Pods that have finished are left out; what a pod sends to itself, or to its own node, always
    /// passes.
    ///
    /// # Errors
    /// When a filter matches nobody, or the answer would be too large.
    pub fn of(cluster: &'c Cluster, question: &Question) -> Result<Self, MatrixError> {
        let mut ports = question.ports.clone();
        if ports.is_empty() {
            ports.extend(cluster.ports());
        }
        if ports.is_empty() {
            ports.push((Protocol::Tcp, 80));
        }
        ports.sort_unstable();
        ports.dedup();

        let outside: Vec<AddressGroup> =
            question.external.iter().flat_map(|cidr| reach::split(cluster, *cidr)).collect();
        let rows = units(cluster, &question.from, question.fold, &outside)?;
        let columns = units(cluster, &question.to, question.fold, &outside)?;
        let size = rows.len().saturating_mul(columns.len()).saturating_mul(ports.len());
        if size > MOST_CELLS {
            return Err(MatrixError::TooLarge { rows: rows.len(), columns: columns.len(), ports: ports.len() });
        }
        let reach = Reach::new(cluster, PortSpace::of([cluster]), &outside);
        let mut filling = Filling::new(&reach, &rows, &columns, &ports);
        filling.fill();
        let Filling { rows: row_parts, columns: column_parts, outcomes, .. } = filling;
        let cells = outcomes.into_iter().map(Outcomes::cell).collect();
        Ok(Self { ports, rows, columns, cells, row_parts, column_parts })
    }

    /// What passes from a row to a column on a port, by their places.
    pub fn cell(&self, row: usize, column: usize, port: usize) -> Cell {
        let place = (row * self.columns.len() + column) * self.ports.len() + port;
        self.cells.get(place).copied().unwrap_or(Cell::NoWay)
    }

    /// All cells of a row and a column, port by port.
    pub fn cells(&self, row: usize, column: usize) -> &[Cell] {
        let start = (row * self.columns.len() + column) * self.ports.len();
        self.cells.get(start..start + self.ports.len()).unwrap_or_default()
    }
}

fn units<'c>(
    cluster: &'c Cluster,
    patterns: &[Pattern],
    fold: Fold,
    outside: &[AddressGroup],
) -> Result<Vec<Unit<'c>>, MatrixError> {
    let nobody = |pattern: &&Pattern| !cluster.pods().any(|pod| pattern.matches(pod));
    if let Some(pattern) = patterns.iter().find(nobody) {
        return Err(MatrixError::Nobody(pattern.clone()));
    }
    let wanted = |pod: &&Pod| patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(pod));
    Ok(unit::of(cluster.pods().filter(wanted), fold, outside))
}

/// A row or column as classes, each with the pods of the unit that are in it.
type Parts<'c> = BTreeMap<ClassId, Vec<&'c Pod>>;

/// A matrix that is being filled: class by class, so that each row of [`Reach`] is made once.
struct Filling<'m, 'c> {
    reach: &'m Reach<'c>,
    ports: Vec<Traffic>,
    rows: Vec<Parts<'c>>,
    columns: Vec<Parts<'c>>,
    outcomes: Vec<Outcomes>,
}

impl<'m, 'c> Filling<'m, 'c> {
    fn new(reach: &'m Reach<'c>, rows: &'m [Unit<'c>], columns: &'m [Unit<'c>], ports: &[(Protocol, u16)]) -> Self {
        let parts = |unit: &'m Unit<'c>| {
            let mut parts: Parts<'c> = BTreeMap::new();
            for pod in &unit.pods {
                if let Some(class) = reach.class_of(&pod.name) {
                    parts.entry(class).or_default().push(pod);
                }
            }
            if let Some(class) = unit.outside.and_then(|group| reach.class_of_outside(group)) {
                parts.insert(class, Vec::new());
            }
            parts
        };
        Self {
            reach,
            ports: ports.iter().map(|(protocol, port)| Traffic::Port(*protocol, *port)).collect(),
            rows: rows.iter().map(parts).collect(),
            columns: columns.iter().map(parts).collect(),
            outcomes: vec![Outcomes::default(); rows.len() * columns.len() * ports.len()],
        }
    }

    fn fill(&mut self) {
        let mut rows_of: BTreeMap<ClassId, Vec<usize>> = BTreeMap::new();
        for (place, parts) in self.rows.iter().enumerate() {
            parts.keys().for_each(|class| rows_of.entry(*class).or_default().push(place));
        }
        for (class, rows) in rows_of {
            let row = self.reach.row(class);
            for place in rows {
                self.fill_row(place, class, &row);
            }
        }
    }

    /// What the members of one row that are of one class send.
    fn fill_row(&mut self, place: usize, class: ClassId, row: &Row<'_>) {
        let Some(from) = self.rows.get(place).and_then(|parts| parts.get(&class)) else { return };
        for (column, parts) in self.columns.iter().enumerate() {
            for (to_class, to) in parts {
                let start = (place * self.columns.len() + column) * self.ports.len();
                let Some(outcomes) = self.outcomes.get_mut(start..start + self.ports.len()) else { continue };
                if from.is_empty() && to.is_empty() {
                    continue; // two strangers are no matter of policies
                }
                let pairs = Pairs::of(from, to);
                for (outcome, traffic) in outcomes.iter_mut().zip(&self.ports) {
                    if pairs.own_node {
                        outcome.add_allowed();
                    }
                    if pairs.judged {
                        outcome.add(row.passage(*to_class, *traffic));
                    }
                    if pairs.itself {
                        outcome.add_itself();
                    }
                }
            }
        }
    }
}

/// Which sorts of pairs there are between two lists of pods; an empty list is somebody outside.
#[derive(Default)]
struct Pairs {
    itself: bool,
    own_node: bool,
    judged: bool,
}

impl Pairs {
    /// The pods of each list are of one class, and the lists are the same or have no pod in common.
    fn of(from: &[&Pod], to: &[&Pod]) -> Self {
        let (Some(first), Some(other)) = (from.first(), to.first()) else {
            return Self { judged: true, ..Self::default() };
        };
        if first.name == other.name {
            return Self { itself: true, judged: from.len() > 1, own_node: false };
        }
        // Pods of one class are hostNetwork pods all, or none is.
        if first.host_network == other.host_network {
            return Self { judged: true, ..Self::default() };
        }
        let nodes = |pods: &[&Pod]| -> BTreeSet<Option<Arc<str>>> { pods.iter().map(|pod| pod.node.clone()).collect() };
        let (from, to) = (nodes(from), nodes(to));
        let own_node = from.intersection(&to).any(Option::is_some);
        Self { itself: false, own_node, judged: !own_node || from.len() > 1 || to.len() > 1 }
    }
}
