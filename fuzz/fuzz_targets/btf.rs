//! Any bytes into `targets/btf.rs`.
#![no_main]

#[path = "../targets/btf.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
