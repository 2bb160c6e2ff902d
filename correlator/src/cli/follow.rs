//! One thread per source of the configuration, each into the merge.

use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::CliError;
use crate::config::aws::{self, DeadLetters};
use crate::config::{Feed, Input, SensorInput, Source};
use crate::health::Board;
use crate::merge::{Closed, Merge, Outlet};
use crate::source::feed::Limits;
use crate::source::folder::{Content, Folder, Positions};
use crate::source::normalize::Normalizer;
use crate::source::stop::Stop;
use crate::source::stream::{self, Stream};
use crate::source::{Rejected, RejectedKind, SourceItem};
use crate::time::Lateness;
use crate::wire::account::Account;
use crate::wire::listen::{self as wire, Listener, Place, Settings};

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

/// Starts the sources.
///
/// # Errors
/// When a socket cannot be made, or a path cannot hold a stream. Files and folders that are not there yet are waited for.
pub(super) fn start(
    sources: &[Source],
    merge: &mut Merge,
    normalizer: &Arc<Normalizer>,
    positions: &Arc<dyn Positions>,
    stop: &Stop,
    store: Option<&Path>,
    board: &Board,
) -> Result<Vec<JoinHandle<()>>, CliError> {
    let mut threads = Vec::new();
    for source in sources {
        let source = &with_dead_letters(source, store);
        let name: Arc<str> = name(&source.input).into();
        let lateness = Lateness(source.lateness);
        let outlet = match source.input {
            Input::Folder { follow: true, .. } | Input::Sensor(SensorInput::File { follow: true, .. }) => {
                merge.add_follower(Arc::clone(&name), lateness)
            }
            _ => merge.add(Arc::clone(&name), lateness),
        };
        let around = Around {
            normalizer: Arc::clone(normalizer),
            positions: Arc::clone(positions),
            stop: stop.clone(),
            outlet,
        };
        threads.push(start_one(source, name, around, board)?);
    }
    Ok(threads)
}

/// The name a source has in positions, counters and messages: the same in every run.
pub(super) fn name(input: &Input) -> String {
    match input {
        Input::Sensor(SensorInput::Stdin) => "sensor -".to_owned(),
        Input::Sensor(SensorInput::File { path, .. }) => format!("sensor {}", path.display()),
        Input::Sensor(SensorInput::Unix(path)) => format!("sensor unix:{}", path.display()),
        Input::Sensors(Settings { place: Place::Tls { listen, .. }, .. }) => format!("sensors {listen}"),
        Input::Sensors(Settings { place: Place::Unix { path, .. }, .. }) => {
            format!("sensors unix:{}", path.display())
        }
        Input::Folder { kind, path, .. } => format!("{} {}", kind.name(), path.display()),
        Input::Queue(queue) => format!("sqs {}", queue.url),
        Input::Bucket(bucket) => format!("s3 {}/{}", bucket.name, bucket.prefix),
    }
}

/// Whether its end is what was asked for.
fn is_read_once(input: &Input) -> bool {
    match input {
        Input::Sensor(SensorInput::File { follow, .. }) | Input::Folder { follow, .. } => !follow,
        Input::Bucket(_) => true,
        Input::Sensor(SensorInput::Stdin | SensorInput::Unix(_)) | Input::Sensors(_) | Input::Queue(_) => {
            false
        }
    }
}

fn start_one(
    source: &Source,
    name: Arc<str>,
    around: Around,
    board: &Board,
) -> Result<JoinHandle<()>, CliError> {
    let limits = Limits {
        max_record_bytes: usize::try_from(source.max_record_bytes).unwrap_or(usize::MAX),
        max_file_bytes: source.max_file_bytes,
    };
    if let Input::Sensor(SensorInput::File { path, .. }) = &source.input
        && let Ok(data) = std::fs::metadata(path)
    {
        stream::refuse(path, data.file_type()).map_err(|error| CliError::Usage(error.to_string()))?;
    }
    if matches!(source.input, Input::Queue(_) | Input::Bucket(_)) {
        is_built_for_aws().map_err(|reason| CliError::Usage(reason.to_owned()))?;
    }
    let is_open =
        matches!(source.input, Input::Sensors(_) | Input::Sensor(SensorInput::Stdin | SensorInput::Unix(_)));
    if is_read_once(&source.input) {
        board.add_once(Arc::clone(&name));
    }
    let named = Arc::clone(&name);
    let stream = Stream { source: Arc::clone(&name), limits };
    let spawn = |work: Work| {
        std::thread::spawn(move || {
            // What can be waited for says by itself when it is there.
            if is_open {
                let _ = around.outlet.send(SourceItem::Opened);
            }
            // Closed: the run is over, and nobody waits for more.
            let done = catch_unwind(AssertUnwindSafe(|| work(&around)));
            if done.is_err() {
                let reason =
                    "its reader failed, and nothing more is read of it; restart the run, and report this";
                let _ = around.outlet.send(SourceItem::Rejected(Rejected {
                    source: Arc::clone(&named),
                    at: named.to_string(),
                    reason: reason.to_owned(),
                    kind: RejectedKind::Unreadable,
                }));
            }
            let _ = around.outlet.send(SourceItem::End);
            if let Err(panic) = done {
                resume_unwind(panic);
            }
        })
    };
    Ok(match source.input.clone() {
        Input::Sensor(SensorInput::Stdin) => spawn(Box::new(move |around| {
            let Around { normalizer, stop, outlet, .. } = around;
            stream.read_until_stopped("stdin", || Box::new(io::stdin().lock()), normalizer, outlet, stop)
        })),
        Input::Sensor(SensorInput::Unix(path)) => {
            let listener = stream
                .listen(&path)
                .map_err(|source| CliError::Run { what: "cannot start".to_owned(), source: source.into() })?;
            spawn(Box::new(move |around| listener.run(&around.normalizer, &around.outlet, &around.stop)))
        }
        Input::Sensors(settings) => {
            let what = format!("cannot listen for {name}");
            let listener =
                Listener::bind(settings).map_err(|source| CliError::Run { what, source: source.into() })?;
            if let Some(listen) = listener.address() {
                tracing::info!(%listen, "sensors are listened for");
            }
            let account: Arc<Account> = Arc::default();
            board.add_wire(Arc::clone(&name), Arc::clone(&account));
            spawn(Box::new(move |around| {
                let Around { normalizer, positions, stop, outlet } = around;
                let schema = normalizer.schema();
                let around = wire::Around {
                    stream,
                    normalizer,
                    schema: &schema,
                    positions,
                    account: &account,
                    outlet,
                    stop,
                };
                listener.run(&around)
            }))
        }
        Input::Sensor(SensorInput::File { path, follow: true }) => spawn(Box::new(move |around| {
            let Around { normalizer, positions, stop, outlet } = around;
            stream.follow_file(&path, POLL, normalizer, outlet, &**positions, stop)
        })),
        Input::Sensor(SensorInput::File { path, follow: false }) => spawn(Box::new(move |around| {
            let Around { normalizer, outlet, stop, .. } = around;
            let read = match std::fs::metadata(&path).is_ok_and(|data| data.file_type().is_fifo()) {
                true => stream.read_pipe(&path, normalizer, outlet, stop),
                false => stream.read_file(&path, normalizer, outlet),
            };
            match read {
                Ok(read) => read,
                Err(error) => around.outlet.send(SourceItem::Rejected(Rejected {
                    source: name,
                    at: path.display().to_string(),
                    reason: error.to_string(),
                    kind: RejectedKind::Unreadable,
                })),
            }
        })),
        Input::Queue(of) => spawn(queue(of, name, limits)),
        Input::Bucket(of) => spawn(bucket(of, name, limits)),
        Input::Folder { kind, path, follow } => {
            let content = content(kind);
            let folder = Folder { source: name, path, content, limits };
            spawn(Box::new(move |around| {
                let Around { normalizer, positions, stop, outlet } = around;
                match follow {
                    true => folder.follow(POLL, normalizer, outlet, &**positions, stop),
                    false => folder.read_once(normalizer, outlet),
                }
            }))
        }
    })
}

/// Beside the store, where nothing else is said: what cannot be read shall not go round for ever.
fn with_dead_letters(source: &Source, store: Option<&Path>) -> Source {
    let mut source = source.clone();
    if let (Input::Queue(queue), Some(store)) = (&mut source.input, store) {
        let mut path = store.as_os_str().to_owned();
        path.push("-dead-letters.ndjson");
        let path = PathBuf::from(path);
        match &mut queue.dead_letters {
            Some(DeadLetters::Queue { otherwise, .. }) => *otherwise = Some(path),
            Some(DeadLetters::File(_)) => {}
            none => *none = Some(DeadLetters::File(path)),
        }
    }
    source
}

/// # Errors
/// In words, when this program cannot ask AWS.
pub(super) fn is_built_for_aws() -> Result<(), &'static str> {
    match cfg!(feature = "aws") {
        true => Ok(()),
        false => Err(
            "this groundtrail was built without the sources that ask AWS: take a released one, or build it with \
             --features aws",
        ),
    }
}

#[cfg(feature = "aws")]
fn queue(queue: aws::Queue, source: Arc<str>, limits: Limits) -> Work {
    let queued = crate::aws::Queued { source, queue, limits };
    Box::new(move |around| queued.follow(&around.normalizer, &around.outlet, &around.stop))
}

#[cfg(feature = "aws")]
fn bucket(bucket: aws::Bucket, source: Arc<str>, limits: Limits) -> Work {
    let listing = crate::aws::Listing { source, bucket, limits };
    Box::new(move |around| {
        let Around { normalizer, positions, stop, outlet } = around;
        listing.read(normalizer, outlet, &**positions, stop)
    })
}

/// Never called: [`is_built_for_aws`] says no first.
#[cfg(not(feature = "aws"))]
fn queue(_: aws::Queue, _: Arc<str>, _: Limits) -> Work {
    Box::new(|_| Ok(()))
}

/// As [`queue`].
#[cfg(not(feature = "aws"))]
fn bucket(_: aws::Bucket, _: Arc<str>, _: Limits) -> Work {
    Box::new(|_| Ok(()))
}

fn content(feed: Feed) -> Content {
    match feed {
        Feed::CloudTrail => Content::CloudTrail,
        Feed::GuardDuty => Content::GuardDuty,
        Feed::VpcFlow => Content::VpcFlow,
    }
}
