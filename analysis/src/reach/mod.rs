//! All flows of a cluster at once.
