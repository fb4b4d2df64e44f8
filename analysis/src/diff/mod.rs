//! What changes between two clusters.
