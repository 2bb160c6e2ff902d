//! Flags that several verbs share, and how they lie over the configuration.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use clap::Args;
use rules::program::Program;

use super::CliError;
use super::inputs::Input as Recorded;
use crate::config::{Config, Feed, Format, Input, SensorInput, Source};
use crate::source::folder::Content;
use crate::source::normalize::Normalizer;
use crate::stage::Stage;

/// Which rules run.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct RuleFlags {
    /// Rule file or folder, besides those of the configuration; may be repeated
    #[arg(long, value_name = "PATH", num_args = 1..)]
    rules: Vec<PathBuf>,

    /// Leave the shipped catalogue out
    #[arg(long)]
    no_builtin_rules: bool,

    /// Tell the matches of building blocks too, which otherwise only feed other rules
    #[arg(long)]
    building_blocks: bool,
}

impl RuleFlags {
    pub(super) fn apply(&self, config: &mut Config) {
        config.rules.paths.extend_from_slice(&self.rules);
        config.rules.has_builtin &= !self.no_builtin_rules;
        config.rules.tells_building_blocks |= self.building_blocks;
    }
}

/// Recorded events, read to their end.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct RecordedFlags {
    /// Host events: a file of NDJSON, or "-" for stdin; may be repeated
    #[arg(long, value_name = "FILE", num_args = 1..)]
    host: Vec<PathBuf>,
    /// CloudTrail: a file or a folder; may be repeated
    #[arg(long, value_name = "PATH", num_args = 1..)]
    cloudtrail: Vec<PathBuf>,
    /// GuardDuty findings: a file or a folder; may be repeated
    #[arg(long, value_name = "PATH", num_args = 1..)]
    guardduty: Vec<PathBuf>,
    /// VPC flow logs: a file or a folder; may be repeated
    #[arg(long, value_name = "PATH", num_args = 1..)]
    vpcflow: Vec<PathBuf>,
}

impl RecordedFlags {
    pub(super) fn inputs(&self) -> Vec<Recorded> {
        let hosts = self.host.iter().cloned().map(Recorded::Host);
        let feeds = [
            (Content::CloudTrail, &self.cloudtrail),
            (Content::GuardDuty, &self.guardduty),
            (Content::VpcFlow, &self.vpcflow),
        ];
        let feeds = feeds
            .into_iter()
            .flat_map(|(content, paths)| paths.iter().map(move |path| Recorded::Feed(content, path.clone())));
        hosts.chain(feeds).collect()
    }
}

/// Where events come from, besides the configuration's sources.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct SourceFlags {
    /// Sensor events: "-" for stdin, a file, or "unix:PATH" to listen on a socket; may be repeated
    #[arg(long, value_name = "-|FILE|unix:PATH")]
    sensor: Vec<SensorArgument>,

    /// Folder with CloudTrail files; may be repeated
    #[arg(long, value_name = "DIR")]
    cloudtrail: Vec<PathBuf>,

    /// Folder with GuardDuty findings; may be repeated
    #[arg(long, value_name = "DIR")]
    guardduty: Vec<PathBuf>,

    /// Folder with VPC flow logs; may be repeated
    #[arg(long, value_name = "DIR")]
    vpcflow: Vec<PathBuf>,
}

impl SourceFlags {
    /// # Errors
    /// When two sources would read stdin.
    pub(super) fn apply(&self, config: &mut Config) -> Result<(), CliError> {
        let sensors = self.sensor.iter().map(|argument| Input::Sensor(argument.0.clone()));
        let feeds = [
            (Feed::CloudTrail, &self.cloudtrail),
            (Feed::GuardDuty, &self.guardduty),
            (Feed::VpcFlow, &self.vpcflow),
        ];
        let folders = feeds.into_iter().flat_map(|(kind, paths)| {
            paths.iter().map(move |path| Input::Folder { kind, path: path.clone(), follow: true })
        });
        config.sources.extend(sensors.chain(folders).map(Source::new));
        let is_stdin = |source: &&Source| source.input == Input::Sensor(SensorInput::Stdin);
        if config.sources.iter().filter(is_stdin).count() > 1 {
            return Err(CliError::Usage(
                "two sources read stdin; let one of them read a file or a socket".to_owned(),
            ));
        }
        Ok(())
    }
}

#[derive(Debug, Clone)]
struct SensorArgument(SensorInput);

impl FromStr for SensorArgument {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(match (text, text.strip_prefix("unix:")) {
            ("-", _) => SensorInput::Stdin,
            (_, Some(path)) => SensorInput::Unix(path.into()),
            (path, None) => SensorInput::File { path: path.into(), follow: true },
        }))
    }
}

/// How many threads read.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct ThreadsFlag {
    /// Threads that read events and ask the rules about them, 1 to 64; with 1, each source reads for itself
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    threads: Option<u8>,
}

impl ThreadsFlag {
    pub(super) fn apply(self, config: &mut Config) {
        config.n_threads = self.threads.map_or(config.n_threads, u32::from);
    }
}

/// The workers that the configuration asks for. With one thread there are none: sources read for themselves.
pub(super) fn stage(config: &Config, normalizer: &Normalizer, program: &Arc<Program>) -> Option<Stage> {
    (config.n_threads > 1).then(|| Stage::new(config.n_threads as usize, normalizer, program))
}

/// What stdout gets.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(super) struct FormatFlag {
    /// Alerts on stdout: "pretty", "ndjson", "auto" (pretty on a terminal, else ndjson), or "none", for sinks alone
    #[arg(long, short, value_name = "FORMAT", value_parser = parse_format)]
    output: Option<Format>,
}

impl FormatFlag {
    pub(super) fn apply(self, config: &mut Config) {
        if let Some(format) = self.output {
            config.output.format = format;
        }
    }
}

fn parse_format(word: &str) -> Result<Format, String> {
    Format::parse(word).ok_or_else(|| "possible: auto, ndjson, pretty, none".to_owned())
}
