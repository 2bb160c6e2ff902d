//! `cargo xtask soak`: what only time and repetition show, of the real programs.

use clap::{Args, Subcommand};

use crate::shell::{self, Failure};
use crate::statics::{self, Arch};
use crate::{ebpf, live};

#[derive(Args)]
pub(crate) struct Soak {
    #[command(subcommand)]
    what: Option<What>,
    /// How often the correlator is killed
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    kills: u32,
}

#[derive(Subcommand)]
enum What {
    /// Lets programs be executed as fast as this machine can, and looks at what the sensor holds meanwhile.
    Sensor {
        /// How long the storm lasts
        #[arg(long, default_value_t = 60, value_name = "N")]
        minutes: u32,
    },
}

pub(crate) fn run(options: &Soak) -> Result<(), Failure> {
    match options.what {
        Some(What::Sensor { minutes }) => storm(minutes),
        None => kill(options.kills),
    }
}

fn kill(n_kills: u32) -> Result<(), Failure> {
    shell::say(format!("killing groundtrail {n_kills} times; a kill takes a second or so"));
    let args = ["test", "--release", "-p", "tests", "--test", "killed", "--", "--ignored", "--nocapture"];
    shell::succeed(shell::cargo(&args).env("GROUNDTRAIL_KILLS", n_kills.to_string()))
}

fn storm(minutes: u32) -> Result<(), Failure> {
    if let Some(reason) = live::obstacle() {
        return Err(Failure(format!("the sensor cannot be tried here: {reason}")));
    }
    ebpf::prepare()?;
    let arch = Arch::own()?;
    shell::succeed(statics::cargo(arch, "build")?.args([
        "--package",
        "sensor",
        "--bin",
        "groundtrail-sensor",
    ]))?;
    let sensor = statics::folder(arch).join("groundtrail-sensor");
    shell::say(format!("executing programs for {minutes} minutes under {}", sensor.display()));
    let args = ["test", "-p", "sensor", "--features", "sensor/live-kernel", "--test", "live_kernel"];
    let mut test = shell::cargo(&args);
    test.args(["memory_is_flat_in_a_long_storm", "--", "--ignored", "--nocapture"]);
    shell::succeed(
        test.env("GROUNDTRAIL_SENSOR", sensor).env("GROUNDTRAIL_SOAK_MINUTES", minutes.to_string()),
    )
}
