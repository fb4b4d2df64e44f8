//! One fault at a time. While it lasts and after it, what is never allowed never gets through, and what always is is
//! never cut; then each node's kernel holds what a plan from scratch says, made of the API's objects.

mod agents;
mod api_server;
mod churn;
mod drift;
mod flows;
mod kernel;
mod malformed;
mod world;
