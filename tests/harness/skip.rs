//! A test that cannot run here says so where somebody reads it, since the test runner calls it passed.

use std::env;
use std::fs::File;
use std::io::{self, Write as _};
use std::thread;

/// Names the file in which `cargo xtask` gathers what was skipped.
const LIST: &str = "GROUNDTRAIL_SKIPS";

/// Tells that the running test is skipped, on the terminal and to `cargo xtask`.
///
/// # Panics
/// When neither can be written.
pub fn say(reason: &str) {
    let thread = thread::current();
    let line = format!("{}: {}\n", thread.name().unwrap_or("a test"), reason.replace('\n', " "));
    // Written to the stream itself: the runner holds back what the print macros say of a test that passes.
    io::stderr().write_all(format!("SKIPPED {line}").as_bytes()).expect("standard error can be written");
    if let Some(list) = env::var_os(LIST) {
        let mut list = File::options().append(true).create(true).open(list).expect("the list of skips opens");
        list.write_all(line.as_bytes()).expect("the list of skips can be written");
    }
}
