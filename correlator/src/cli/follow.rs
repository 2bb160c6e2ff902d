//! One thread per source of the configuration, each into the merge.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::CliError;
use crate::config::{Feed, Input, SensorInput, Source};
use crate::merge::{Closed, Merge, Outlet};
use crate::source::feed::Limits;
use crate::source::folder::{Content, Folder, Positions};
use crate::source::normalize::Normalizer;
use crate::source::stop::Stop;
use crate::source::stream::Stream;
use crate::source::{Rejected, RejectedKind, SourceItem};
use crate::time::Lateness;

/// How often files and folders are looked at.
const POLL: Duration = Duration::from_millis(500);

/// What every source needs.
#[derive(Clone)]
struct Around {
    normalizer: Arc<Normalizer>,
    positions: Arc<dyn Positions>,
    stop: Stop,
    outlet: Outlet,
}

/// What a source's thread does until it ends.
type Work = Box<dyn FnOnce(&Around) -> Result<(), Closed> + Send>;

/// Starts the sources. A thread that cannot be asked to end, because it waits for stdin, is not in the answer.
///
/// # Errors
/// When a socket cannot be made. Files and folders that are not there yet are waited for.
pub(super) fn start(
    sources: &[Source],
    merge: &mut Merge,
    normalizer: &Arc<Normalizer>,
    positions: &Arc<dyn Positions>,
    stop: &Stop,
) -> Result<Vec<Option<JoinHandle<()>>>, CliError> {
    let mut threads = Vec::new();
    for source in sources {
        let name: Arc<str> = name(&source.input).into();
        let around = Around {
            normalizer: Arc::clone(normalizer),
            positions: Arc::clone(positions),
            stop: stop.clone(),
            outlet: merge.add(Arc::clone(&name), Lateness(source.lateness)),
        };
        threads.push(start_one(source, name, around)?);
    }
    Ok(threads)
}

/// The name a source has in positions, counters and messages: the same in every run.
fn name(input: &Input) -> String {
    match input {
        Input::Sensor(SensorInput::Stdin) => "sensor -".to_owned(),
        Input::Sensor(SensorInput::File { path, .. }) => format!("sensor {}", path.display()),
        Input::Sensor(SensorInput::Unix(path)) => format!("sensor unix:{}", path.display()),
        Input::Folder { kind, path, .. } => format!("{} {}", kind.name(), path.display()),
    }
}

fn start_one(source: &Source, name: Arc<str>, around: Around) -> Result<Option<JoinHandle<()>>, CliError> {
    let limits = Limits {
        max_record_bytes: usize::try_from(source.max_record_bytes).unwrap_or(usize::MAX),
        max_file_bytes: source.max_file_bytes,
    };
    let stream = Stream { source: Arc::clone(&name), limits };
    let spawn = |work: Work| {
        std::thread::spawn(move || {
            // Closed: the run is over, and nobody waits for more.
            let _ = work(&around);
            let _ = around.outlet.send(SourceItem::End);
        })
    };
    Ok(match source.input.clone() {
        Input::Sensor(SensorInput::Stdin) => {
            spawn(Box::new(move |around| {
                stream.read_once("stdin", io::stdin().lock(), &around.normalizer, &around.outlet)
            }));
            None
        }
        Input::Sensor(SensorInput::Unix(path)) => {
            let listener = stream.listen(&path).map_err(|source| CliError::Run {
                what: format!("cannot listen on \"{}\"", path.display()),
                source: source.into(),
            })?;
            Some(spawn(Box::new(move |around| {
                listener.run(&around.normalizer, &around.outlet, &around.stop)
            })))
        }
        Input::Sensor(SensorInput::File { path, follow: true }) => Some(spawn(Box::new(move |around| {
            let Around { normalizer, positions, stop, outlet } = around;
            stream.follow_file(&path, POLL, normalizer, outlet, &**positions, stop)
        }))),
        Input::Sensor(SensorInput::File { path, follow: false }) => Some(spawn(Box::new(move |around| {
            match stream.read_file(&path, &around.normalizer, &around.outlet) {
                Ok(read) => read,
                Err(error) => around.outlet.send(SourceItem::Rejected(Rejected {
                    source: name,
                    at: path.display().to_string(),
                    reason: error.to_string(),
                    kind: RejectedKind::Unreadable,
                })),
            }
        }))),
        Input::Folder { kind, path, follow } => {
            let content = content(kind);
            let folder = Folder { source: name, path, content, limits };
            Some(spawn(Box::new(move |around| {
                let Around { normalizer, positions, stop, outlet } = around;
                match follow {
                    true => folder.follow(POLL, normalizer, outlet, &**positions, stop),
                    false => folder.read_once(normalizer, outlet),
                }
            })))
        }
    })
}

fn content(feed: Feed) -> Content {
    match feed {
        Feed::CloudTrail => Content::CloudTrail,
        Feed::GuardDuty => Content::GuardDuty,
        Feed::VpcFlow => Content::VpcFlow,
    }
}
