//! The rules of NetworkPolicy that a verdict, a plan or the reader can show, one test each or for a few that are one.
//! Names carry the rules' numbers.

#![cfg(test)]

#[path = "../common/mod.rs"]
mod common;

mod blocks;
mod defaults;
mod empty;
mod isolation;
mod lifecycle;
mod local;
mod ports;
mod protocols;
mod selectors;
mod services;
mod validation;
