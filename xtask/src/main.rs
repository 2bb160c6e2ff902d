//! `cargo xtask <verb>`: everything the build, the tests and a first run need.
#![forbid(unsafe_code)]
fn main() {}
