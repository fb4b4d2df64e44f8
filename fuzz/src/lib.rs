//! What fuzz targets do with an input. The suite that replays their corpus shares it.

pub mod exercise;
pub mod questions;
