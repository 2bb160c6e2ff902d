//! `groundtrail`: the command line. Everything is in [`correlator::cli`].
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    correlator::cli::main()
}
