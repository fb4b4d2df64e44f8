//! A matrix as one page for a browser, which needs nothing else: style, script and data are in it, and it may not ask for
//! anything beside.

mod data;
mod reasons;

use analysis::matrix::Matrix;
use policy_compiler::cluster::Cluster;

use data::Data;

/// More cells than this are refused: the page would be too heavy for a browser.
const MOST_CELLS: usize = 200_000;

const FRAME: &str = include_str!("page/page.html");
const STYLE: &str = concat!(include_str!("page/page.css"), include_str!("page/graph.css"));
/// In this order: each file may use what those before it define.
const SCRIPT: &str = concat!(
    include_str!("page/data.js"),
    include_str!("page/panel.js"),
    include_str!("page/matrix.js"),
    include_str!("page/ring.js"),
    include_str!("page/graph.js"),
    include_str!("page/page.js"),
);

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageError {
    #[error("{rows} rows x {columns} columns x {ports} ports make {} cells, a page has at most {MOST_CELLS}; narrow the question with --from, --to or --port", .rows * .columns * .ports)]
    TooLarge { rows: usize, columns: usize, ports: usize },
    #[error("the data of the page cannot be written")]
    Data(#[from] serde_json::Error),
}

/// The page.
pub(crate) fn page(cluster: &Cluster, matrix: &Matrix<'_>) -> Result<String, PageError> {
    let (rows, columns, ports) = (matrix.rows.len(), matrix.columns.len(), matrix.ports.len());
    if rows.saturating_mul(columns).saturating_mul(ports) > MOST_CELLS {
        return Err(PageError::TooLarge { rows, columns, ports });
    }
    // Without `<` nothing in it can end the element that it is in.
    let data = serde_json::to_string(&Data::of(cluster, matrix))?.replace('<', "\\u003c");
    // The data goes in last: whatever it holds is looked at no more.
    Ok(FRAME.replacen("{{style}}", STYLE, 1).replacen("{{script}}", SCRIPT, 1).replacen("{{data}}", &data, 1))
}
