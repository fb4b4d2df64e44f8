//! A matrix as one page for a browser, which needs nothing else.

use analysis::matrix::Matrix;
use policy_compiler::cluster::Cluster;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
#[error("the page would be too large")]
pub(crate) struct PageError;

/// The page.
pub(crate) fn page(_cluster: &Cluster, _matrix: &Matrix<'_>) -> Result<String, PageError> {
    Err(PageError)
}
