//! Recorded input, read to its end: files and folders of every kind, in parallel, through the sources that `run` follows.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashSet;

use super::terminal::Terminal;
use crate::merge::{Merge, Merged, Outlet, Pace};
use crate::source::feed::{Feed, Limits};
use crate::source::folder::{Content, Folder};
use crate::source::normalize::Normalizer;
use crate::source::stream::Stream;
use crate::source::{Record, Rejected, RejectedKind, SourceItem};
use crate::stage::Stage;
use crate::time::{Lateness, VirtualClock};
use crate::untrusted::Untrusted;

/// Rejected records that are told one by one.
const MAX_TOLD: usize = 20;
/// Items between a source's thread and the merge.
const CAPACITY: usize = 4096;

#[derive(Debug, Clone)]
pub(super) enum Input {
    /// A file of host events; "-" is stdin.
    Host(PathBuf),
    /// A file or folder of AWS's.
    Feed(Content, PathBuf),
}

impl Input {
    /// Events of any kind: flow logs by their first line, everything else by what each record is.
    pub(super) fn any(path: PathBuf) -> Self {
        match path.as_path() == Path::new("-") {
            true => Self::Host(path),
            false if is_flow_log(&path) => Self::Feed(Content::VpcFlow, path),
            false => Self::Feed(Content::CloudTrail, path),
        }
    }
}

/// A folder is what the first file in it is.
fn is_flow_log(path: &Path) -> bool {
    let entries = || std::fs::read_dir(path).ok().map(|entries| entries.flatten().map(|entry| entry.path()));
    if let Some(entries) = entries() {
        return entries
            .filter(|entry| !entry.as_os_str().is_empty())
            .min()
            .is_some_and(|first| is_flow_log(&first));
    }
    let Ok(file) = File::open(path) else { return false };
    let is_packed = path.extension().is_some_and(|end| end == "gz");
    let mut head = [0; 64];
    let mut reader: Box<dyn io::Read> =
        if is_packed { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) };
    let n = reader.read(&mut head).unwrap_or(0);
    // A header of field names, or the version that a line begins with.
    let text = String::from_utf8_lossy(&head[..n]).into_owned();
    text.starts_with("version ") || text.starts_with("2 ") || text.contains("interface-id")
}

/// Everything that was read.
pub(super) struct Read {
    pub(super) records: Vec<(Arc<str>, Record)>,
    pub(super) rejected: Vec<Rejected>,
    /// What was read to its end and held neither an event nor anything that could not be read.
    pub(super) empty: Vec<Empty>,
}

/// The name of an input in which nothing was.
pub(super) struct Empty(String);

pub(super) fn read_all(inputs: &[Input], normalizer: &Normalizer) -> Read {
    read_all_by(None, inputs, normalizer)
}

/// The same, with workers that read and ask the rules.
pub(super) fn read_all_by(stage: Option<Stage>, inputs: &[Input], normalizer: &Normalizer) -> Read {
    let mut records = Vec::new();
    let (rejected, empty) = read(stage, inputs, normalizer, |source, record| records.push((source, record)));
    Read { records, rejected, empty }
}

/// The same, an event at a time: there may be more of them than fit into memory. Returns what could not be read, and in what
/// nothing was.
pub(super) fn read_each(
    inputs: &[Input],
    normalizer: &Normalizer,
    each: impl FnMut(Arc<str>, Record),
) -> (Vec<Rejected>, Vec<Empty>) {
    read(None, inputs, normalizer, each)
}

fn read(
    stage: Option<Stage>,
    inputs: &[Input],
    normalizer: &Normalizer,
    mut each: impl FnMut(Arc<str>, Record),
) -> (Vec<Rejected>, Vec<Empty>) {
    let clock = Arc::new(VirtualClock::default());
    let mut merge = Merge::new(CAPACITY, Pace::Replay, clock).with_stage(stage);
    let outlets: Vec<(&Input, Arc<str>, Outlet)> = inputs
        .iter()
        .map(|input| {
            let name: Arc<str> = input.name().into();
            (input, Arc::clone(&name), merge.add(name, Lateness::CLOUDTRAIL))
        })
        .collect();
    let names: Vec<Arc<str>> = outlets.iter().map(|(_, name, _)| Arc::clone(name)).collect();
    let mut heard: FxHashSet<Arc<str>> = FxHashSet::default();
    let mut all = Vec::new();
    std::thread::scope(|scope| {
        for (input, name, outlet) in outlets {
            scope.spawn(move || input.read(&name, normalizer, &outlet));
        }
        loop {
            match merge.next(Duration::from_secs(1)) {
                Some(Merged::Record(id, record)) => {
                    let name = merge.name(id);
                    if !heard.contains(name) {
                        heard.insert(Arc::clone(name));
                    }
                    each(Arc::clone(name), record);
                }
                Some(Merged::Rejected(rejected)) => {
                    heard.insert(Arc::clone(&rejected.source));
                    all.push(rejected);
                }
                Some(
                    Merged::Position(_)
                    | Merged::Receipt(_)
                    | Merged::LeftOut(_)
                    | Merged::Watermark(_)
                    | Merged::Doubt(_),
                )
                | None => {}
                Some(Merged::End) => break,
            }
        }
    });
    let empty = names.iter().filter(|name| !heard.contains(*name)).map(|name| Empty(name.to_string()));
    (all, empty.collect())
}

impl Input {
    fn name(&self) -> String {
        match self {
            Self::Host(path) => format!("host {}", path.display()),
            Self::Feed(Content::CloudTrail, path) => format!("cloudtrail {}", path.display()),
            Self::Feed(Content::GuardDuty, path) => format!("guardduty {}", path.display()),
            Self::Feed(Content::VpcFlow, path) => format!("vpcflow {}", path.display()),
        }
    }

    /// Sends everything, and at last what could not be opened. The receiver outlives this thread.
    fn read(&self, name: &Arc<str>, normalizer: &Normalizer, outlet: &Outlet) {
        let limits = Limits::default();
        let source = Arc::clone(name);
        let opened = match self {
            Self::Host(path) if path == Path::new("-") => {
                let stream = Stream { source, limits };
                let _ = stream.read_once("stdin", io::stdin().lock(), normalizer, outlet);
                Ok(())
            }
            Self::Host(path) => {
                let stream = Stream { source, limits };
                stream.read_file(path, normalizer, outlet).map(|_| ()).map_err(|error| error.to_string())
            }
            Self::Feed(_, path) if !path.exists() => {
                Err("cannot read this: there is no file or folder at this path; check it, and that this user may read what is above it".to_owned())
            }
            Self::Feed(content, path) if std::fs::metadata(path).is_ok_and(|data| !data.is_dir()) => {
                match File::open(path) {
                    Ok(file) => {
                        let feed = Feed { source, normalizer, outlet: outlet.clone(), limits };
                        let shown = path.display().to_string();
                        let _ = match content {
                            Content::CloudTrail | Content::GuardDuty => feed.json(&shown, file),
                            Content::VpcFlow => feed.flow_log(&shown, file),
                        };
                        Ok(())
                    }
                    Err(error) => {
                        Err(format!("cannot read this file: {error}; check that this user may read it"))
                    }
                }
            }
            Self::Feed(content, path) => {
                let folder = Folder { source, path: path.clone(), content: *content, limits };
                let _ = folder.read_once(normalizer, outlet);
                Ok(())
            }
        };
        if let Err(reason) = opened {
            let rejected = Rejected {
                source: Arc::clone(name),
                at: name.to_string(),
                reason,
                kind: RejectedKind::Unreadable,
            };
            let _ = outlet.send(SourceItem::Rejected(rejected));
        }
        let _ = outlet.send(SourceItem::End);
    }
}

/// Tells in what nothing was: a wrong path looks like a quiet day.
pub(super) fn say_empty(empty: &[Empty], terminal: &Terminal) {
    for Empty(name) in empty {
        terminal.note("warning", &format!("{}: no event is in it; is the path right?", Untrusted(name)));
    }
}

/// Tells what could not be read, a line each, and counts the rest.
pub(super) fn say_rejected(rejected: &[Rejected], terminal: &Terminal) {
    for item in rejected.iter().take(MAX_TOLD) {
        terminal.note("warning", &format!("{}: {}", Untrusted(&item.at), Untrusted(&item.reason)));
    }
    if rejected.len() > MAX_TOLD {
        terminal.note("warning", &format!("{} more could not be read", rejected.len() - MAX_TOLD));
    }
}
