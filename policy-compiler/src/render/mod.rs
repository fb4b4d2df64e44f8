//! Plans and objects in forms that people and other programs read.

pub mod json;
pub mod manifest;
pub mod text;
pub mod yaml;
