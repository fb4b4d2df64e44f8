//! Who reaches whom, as text, as rows, as a page.

mod flows;
pub(crate) mod html;
mod text;

pub(crate) use flows::{csv, json};
pub(crate) use text::text;
