//! Against a real API server: it, the nodes and the pods that the suites stand on.

mod api_server;
mod changes;
mod faults;
mod manifests;
mod nodes;
mod validation;
