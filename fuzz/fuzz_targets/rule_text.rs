//! Any bytes into `targets/rule_text.rs`.
#![no_main]

#[path = "../targets/rule_text.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
