//! Any bytes into `targets/ring_record.rs`.
#![no_main]

#[path = "../targets/ring_record.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
