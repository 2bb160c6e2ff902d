//! `[[sink]]`: where alerts go besides standard output.

mod cloud;
mod peer;
mod secrets;
mod to;
mod url;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rules::event::Span;
use rules::rule::Severity;

pub use cloud::{Hub, Messages, S3};
pub use peer::{Facility, Peer};
pub use to::{Documents, Elastic, FileOutput, Splunk, Syslog, To, Webhook};
pub use url::{Url, is_metadata};

use super::reader::{Context, Table};
use super::show::{self, quote, quote_path};
use crate::sink::Format;

/// One sink, whatever it is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Sink {
    /// Names its queue over restarts, and its files, metrics and lines in logs.
    pub name: String,
    pub min_severity: Severity,
    /// One rule is told of the same principals and hosts no more often than this; nought: whenever it fires.
    pub repeat: Span,
    pub format: Format,
    /// Past this the least severe go, the oldest of them first.
    pub max_queued: u32,
    /// The same, by the bytes of their documents.
    pub max_queued_bytes: u64,
    /// For one portion of alerts.
    pub timeout: Span,
    pub retry_from: Span,
    pub retry_to: Span,
    pub give_up_after: Span,
    /// None: in a folder beside the store.
    pub dead_letters: Option<PathBuf>,
    pub to: To,
}

const SEVERITIES: [(&str, Severity); 4] = [
    ("low", Severity::Low),
    ("medium", Severity::Medium),
    ("high", Severity::High),
    ("critical", Severity::Critical),
];

const MS: i64 = 1_000_000;
const SECOND: i64 = 1_000 * MS;
const DAY: i64 = 86_400 * SECOND;

/// A span of the table: its key, default and bounds, and those in words.
struct Wait(&'static str, Span, [Span; 2], &'static str);

const TIMEOUT: Wait =
    Wait("timeout", Span(30 * SECOND), [Span(100 * MS), Span(600 * SECOND)], "\"100ms\" to \"10m\"");
const RETRY_FROM: Wait =
    Wait("retry_from", Span(SECOND), [Span(10 * MS), Span(600 * SECOND)], "\"10ms\" to \"10m\"");
const RETRY_TO: Wait =
    Wait("retry_to", Span(60 * SECOND), [Span(10 * MS), Span(3_600 * SECOND)], "\"10ms\" to \"1h\"");
const GIVE_UP: Wait =
    Wait("give_up_after", Span(3 * DAY), [Span(60 * SECOND), Span(3_650 * DAY)], "\"1m\" to \"3650d\"");
const MAX_QUEUED: u32 = 10_000;
const MIB: u64 = 1 << 20;
const MAX_QUEUED_BYTES: u64 = 256 * MIB;

pub(super) fn read(root: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Vec<Sink> {
    let mut sinks: Vec<Sink> = Vec::new();
    for table in root.tables("sink", ctx) {
        let at = table.span();
        let Some(sink) = sink(table, ctx) else { continue };
        if sinks.iter().any(|other| other.name == sink.name) {
            let message = format!("two sinks are called \"{}\"", sink.name);
            ctx.fault(at.clone(), message, "give each a name of its own: its queue goes by it");
        }
        if let Some((other, path)) = sinks.iter().chain([&sink]).find_map(|other| shared(other, &sink)) {
            let message = format!("\"{}\" writes to \"{}\" as well", other.name, path.display());
            ctx.fault(
                at,
                message,
                "give each file to one sink: what one sets aside or removes is the other's",
            );
        }
        sinks.push(sink);
    }
    sinks
}

fn sink(mut table: Table<'_, '_>, ctx: &mut Context<'_>) -> Option<Sink> {
    let name = name(&mut table, ctx);
    let min_severity = table.choice("min_severity", &SEVERITIES, ctx).unwrap_or(Severity::Low);
    let repeat = repeat(&mut table, ctx);
    let format = table.choice("format", &Format::ALL, ctx).unwrap_or_default();
    let max_queued = table.integer("max_queued", 10..10_000_001, ctx).unwrap_or(MAX_QUEUED);
    let max_queued_bytes = queued_bytes(&mut table, ctx);
    let [timeout, retry_from, retry_to, give_up_after] =
        [TIMEOUT, RETRY_FROM, RETRY_TO, GIVE_UP].map(|wait| wait.read(&mut table, ctx));
    let dead_letters = table.path("dead_letters", ctx);
    let to = to::read(&mut table, ctx);
    let at = table.span();
    table.finish(ctx);
    if retry_from > retry_to {
        ctx.fault(
            at,
            "\"retry_from\" is longer than \"retry_to\"",
            "waits grow from the first to the second",
        );
    }
    Some(Sink {
        name: name?,
        min_severity,
        repeat,
        format,
        max_queued,
        max_queued_bytes,
        timeout,
        retry_from,
        retry_to,
        give_up_after,
        dead_letters,
        to: to?,
    })
}

/// A file that both would write, and one of them as it pleases.
fn shared<'s>(one: &'s Sink, other: &'s Sink) -> Option<(&'s Sink, &'s Path)> {
    let of = |writer: &'s Sink, sink: &'s Sink| {
        let To::File(file) = &writer.to else { return None };
        let output = match &sink.to {
            To::File(output) if !std::ptr::eq(writer, sink) => Some(output.path.as_path()),
            _ => None,
        };
        let paths = output.into_iter().chain(sink.dead_letters.as_deref());
        paths.into_iter().find(|path| file.writes(path)).map(|path| (one, path))
    };
    of(one, other).or_else(|| of(other, one))
}

fn queued_bytes(table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> u64 {
    let Some(size) = table.size_at("max_queued_size", ctx) else { return MAX_QUEUED_BYTES };
    if size.value < MIB {
        ctx.fault(size.span, "\"max_queued_size\" is too little for a queue", "write \"1MiB\" or more");
    }
    size.value
}

/// It becomes a file's name, a label and a word on the command line.
fn name(table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Option<String> {
    let name = table.required("name", ctx)?;
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    let is_name = (1..=64).contains(&name.value.len()) && name.value.bytes().all(is_plain);
    if !is_name {
        let message = format!("\"{}\" is no name for a sink", name.value);
        ctx.fault(name.span, message, "write up to 64 of a to z, 0 to 9, - and _");
    }
    is_name.then_some(name.value)
}

const MAX_REPEAT: Span = Span(7 * DAY);

fn repeat(table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Span {
    let Some(span) = table.duration_at("repeat", ctx) else { return Span(0) };
    if span.value > MAX_REPEAT {
        ctx.fault(span.span, "\"repeat\" is out of bounds", "write a span from \"0s\" to \"7d\"");
    }
    span.value
}

impl Wait {
    fn read(&self, table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Span {
        let Self(key, default, [least, most], words) = self;
        let Some(span) = table.duration_at(key, ctx) else { return *default };
        if span.value < *least || span.value > *most {
            ctx.fault(span.span, format!("\"{key}\" is out of bounds"), format!("write a span from {words}"));
        }
        span.value
    }
}

/// As clocks that run on take it.
pub fn duration(Span(nanos): Span) -> Duration {
    Duration::from_nanos(nanos.unsigned_abs())
}

pub(super) fn write(sinks: &[Sink], out: &mut String) -> std::fmt::Result {
    for sink in sinks {
        writeln!(out, "\n[[sink]]\nname = {}", quote(&sink.name))?;
        to::write(&sink.to, out)?;
        let severity = sink.min_severity.as_str();
        writeln!(out, "min_severity = \"{severity}\"\nformat = \"{}\"", sink.format.name())?;
        if sink.repeat > Span(0) {
            writeln!(out, "repeat = \"{}\"", show::duration(sink.repeat))?;
        }
        writeln!(out, "max_queued = {}", sink.max_queued)?;
        writeln!(out, "max_queued_size = \"{}\"", show::size(sink.max_queued_bytes))?;
        for (Wait(key, ..), span) in [TIMEOUT, RETRY_FROM, RETRY_TO, GIVE_UP].iter().zip([
            sink.timeout,
            sink.retry_from,
            sink.retry_to,
            sink.give_up_after,
        ]) {
            writeln!(out, "{key} = \"{}\"", show::duration(span))?;
        }
        if let Some(path) = &sink.dead_letters {
            writeln!(out, "dead_letters = {}", quote_path(path))?;
        }
    }
    Ok(())
}
