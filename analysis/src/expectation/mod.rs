//! Expectations, and whether a cluster's policies meet them.
