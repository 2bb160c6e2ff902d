//! `cargo xtask soak`: kills the real program where it happens to be, again and again, and looks at what it then says.

use clap::Args;

use crate::shell::{self, Failure};

#[derive(Args)]
pub(crate) struct Soak {
    /// How often it is killed
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    kills: u32,
}

pub(crate) fn run(options: &Soak) -> Result<(), Failure> {
    shell::say(format!("killing groundtrail {} times; a kill takes a second or so", options.kills));
    let args = ["test", "--release", "-p", "tests", "--test", "killed", "--", "--ignored", "--nocapture"];
    shell::succeed(shell::cargo(&args).env("GROUNDTRAIL_KILLS", options.kills.to_string()))
}
