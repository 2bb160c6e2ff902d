//! `groundtrail-sensor`: flags to config to run to exit code.
fn main() {}
