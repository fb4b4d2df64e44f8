//! Labs that stay: a process of their own keeps them, until it is told to take them down.
//!
//! A keeper is a process that holds a [`Stage`](crate::proof::Stage) and nothing else. It listens on an abstract socket, so
//! that its name is in no file system and goes with the process: whatever [`KeptLab::all`] finds stands. On that socket it
//! says what it holds, as one line of JSON; who knows that enters by the keeper's own descriptors in `/proc`, as far as
//! the kernel lets them. It serves nobody but the user whose it is.
//!
//! [`start`] and [`Starter`] are the two sides of going into the background, [`Keeper`] and [`KeptLab`] those of the socket.

mod client;
mod error;
mod hold;
mod place;
mod starter;
mod wire;

pub use client::{Down, KeptLab};
pub use error::KeeperError;
pub use hold::{Keeper, Standing};
pub use place::Place;
pub use starter::{Starter, start};
pub use wire::{Description, InvalidName, LabName};
