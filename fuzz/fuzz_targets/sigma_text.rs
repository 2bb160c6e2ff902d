//! Any bytes into `targets/sigma_text.rs`.
#![no_main]

#[path = "../targets/rule_text.rs"]
#[expect(dead_code, reason = "only the parts that the targets share are called")]
mod rule_text;
#[path = "../targets/sigma_text.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
