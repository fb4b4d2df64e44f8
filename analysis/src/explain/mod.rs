//! Why one flow is allowed or denied.
