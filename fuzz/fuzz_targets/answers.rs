#![no_main]

#[path = "../questions.rs"]
#[allow(dead_code, reason = "each target uses its part")]
mod questions;

libfuzzer_sys::fuzz_target!(|input: &[u8]| questions::answers(input));
