//! Any bytes into `targets/event_json.rs`.
#![no_main]

#[path = "../targets/event_json.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
