//! `groundtrail-stage`: plays the scenarios of the five systems with real clients, in a namespace of its own.
//!
//! Outside, it starts itself again under `unshare`; inside, it furnishes the namespace, starts the stand-ins and the SSM
//! agent, and plays. What it did is in the CloudTrail folder it was given, and on the host for a sensor to see.
#![forbid(unsafe_code)]

mod scenes;
mod set;

use std::error::Error;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use harness::{netns, ssm};

#[derive(Parser)]
#[command(
    about = "Plays what groundtrail detects, harmlessly: real clients, AWS stand-ins, nothing leaves its namespace"
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Play scenes, in the order given.
    Play(Play),
    /// List the scenes.
    Scenes,
    /// The half of `play` that runs inside the namespace.
    #[command(hide = true)]
    Inside(Play),
}

#[derive(Args, Clone)]
struct Play {
    /// The scenes to play (`groundtrail-stage scenes` lists them), or `all`.
    #[arg(required = true)]
    scenes: Vec<String>,
    /// The folder CloudTrail files are delivered to.
    #[arg(long, value_name = "DIR")]
    cloudtrail: PathBuf,
    /// The AWS CLI to use instead of the first `aws` on the path.
    #[arg(long, value_name = "PATH")]
    aws: Option<PathBuf>,
    /// Where home, credentials and mounts of the scenario live; made anew and removed at the end.
    #[arg(long, value_name = "DIR", hide = true)]
    scratch: Option<PathBuf>,
}

fn main() -> ExitCode {
    ssm::play_if_named_so();
    let outcome = match Cli::parse().verb {
        Verb::Scenes => {
            for scene in scenes::ALL {
                println!("{:<22} {}", scene.name, scene.about);
            }
            Ok(ExitCode::SUCCESS)
        }
        Verb::Play(play) => outside(&play),
        Verb::Inside(play) => inside(&play).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|err| {
        eprintln!("groundtrail-stage: {err}");
        ExitCode::FAILURE
    })
}

fn outside(play: &Play) -> Result<ExitCode, Box<dyn Error>> {
    scenes::named(&play.scenes)?;
    let scratch = netns::scratch()?;
    std::fs::create_dir_all(&play.cloudtrail)?;
    let mut args = vec!["inside".to_owned()];
    args.extend(play.scenes.iter().cloned());
    args.extend(["--cloudtrail".to_owned(), play.cloudtrail.canonicalize()?.display().to_string()]);
    args.extend(["--scratch".to_owned(), scratch.path().display().to_string()]);
    if let Some(aws) = &play.aws {
        args.extend(["--aws".to_owned(), aws.canonicalize()?.display().to_string()]);
    }
    let (stop, stopped) = mpsc::channel();
    ctrlc::set_handler(move || stop.send(()).unwrap_or_default())?;
    let mut inside = netns::enter(&args)?.spawn()?;
    let lifeline = inside.stdin.take();
    let status = loop {
        if let Some(status) = inside.try_wait()? {
            break status;
        }
        if stopped.recv_timeout(Duration::from_millis(50)).is_ok() {
            drop(lifeline);
            inside.wait()?;
            return Err("stopped before the scenario was over".into());
        }
    };
    if let Some(signal) = status.signal() {
        return Err(format!("the scenario was ended by signal {signal}").into());
    }
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn inside(play: &Play) -> Result<(), Box<dyn Error>> {
    let scratch = play.scratch.as_deref().ok_or("\"inside\" is started by \"play\", not by hand")?;
    ssm::end_with_standard_input();
    let mut set = set::Set::build(scratch, &play.cloudtrail, play.aws.as_deref())?;
    for scene in scenes::named(&play.scenes)? {
        println!("scene {}: {}", scene.name, scene.about);
        (scene.play)(&set)?;
        set.deliver()?;
    }
    set.strike();
    Ok(())
}
