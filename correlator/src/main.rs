//! `groundtrail`: the command line. Everything is in [`correlator::cli`].
#![forbid(unsafe_code)]

use std::process::ExitCode;

/// Reading an event is dozens of small pieces of memory, taken and given back by different threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    correlator::cli::main()
}
