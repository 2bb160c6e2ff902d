//! One file or stream into records: unpack, cut, normalise, and say in words what could not be read.

use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;
use serde::de::IgnoredAny;
use sha2::{Digest as _, Sha256};

use crate::merge::{Closed, Outlet};
use crate::source::layout::Kind;
use crate::source::normalize::{Normalizer, Unreadable};
#[cfg(feature = "aws")]
use crate::source::parquet;
use crate::source::split::{End, Piece, split};
use crate::source::{Origin, Record, Rejected, RejectedKind, SourceItem, vpcflow};
use crate::stage::{Spot, Sum, Text, Work};
use crate::wire::claims::Claims;

/// What one input may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A longer record or line is refused.
    pub max_record_bytes: usize,
    /// A file may unpack to no more.
    pub max_file_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_record_bytes: 1 << 20, max_file_bytes: 512 << 20 }
    }
}

/// Where records go, and under which name trouble is reported.
#[derive(Clone)]
pub struct Feed<'n> {
    pub source: Arc<str>,
    pub normalizer: &'n Normalizer,
    pub outlet: Outlet,
    pub limits: Limits,
}

/// How a file went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    pub n_records: u64,
    pub n_rejected: u64,
    /// The end is missing; the file may still be growing.
    pub is_truncated: bool,
    /// The sender stopped before the end, which says nothing about the file: see [`INTERRUPTED`]. Nothing is rejected then.
    pub is_interrupted: bool,
    /// Unpacked.
    pub n_bytes: u64,
    /// What was wrong first.
    pub first_fault: Option<String>,
    /// Of the unpacked content of a CloudTrail object that was read to its end.
    pub sha256: Option<[u8; 32]>,
}

/// The kind of error by which a reader says that the rest may be had another time.
pub const INTERRUPTED: io::ErrorKind = io::ErrorKind::ConnectionAborted;

impl Feed<'_> {
    /// Reads an object by what its name says, or else by how it begins.
    pub fn object(&self, name: &str, kind: Kind, reader: impl Read) -> Result<Outcome, Closed> {
        let mut unpacked = match Unpacked::open(reader, self.limits.max_file_bytes) {
            Ok(unpacked) => unpacked,
            Err(error) => return self.other_file(name, error),
        };
        unpacked.hash = (kind == Kind::CloudTrail).then(Sha256::new);
        let is_flow_log = match kind {
            Kind::CloudTrail | Kind::GuardDuty => false,
            Kind::VpcFlow => true,
            // What cannot be read now is said by whoever reads on.
            _ => {
                let head = String::from_utf8_lossy(unpacked.peek());
                head.lines().next().is_some_and(|line| vpcflow::is_header(line) || line.starts_with("2 "))
            }
        };
        let mut outcome = match is_flow_log {
            true => self.flow_log_of(name, unpacked),
            false => self.json_of(name, unpacked),
        }?;
        if outcome.n_bytes == 0 && outcome.n_rejected == 0 && !outcome.is_interrupted {
            let reason = "is empty: nothing was read from it; look at what writes there".to_owned();
            self.reject(name.to_owned(), reason, RejectedKind::Object, &mut outcome)?;
        }
        Ok(outcome)
    }

    /// Reads to the end for the hash of the unpacked content alone. Hands nothing over, and rejects nothing.
    #[cfg(feature = "aws")]
    pub(crate) fn hash(&self, reader: impl Read) -> Outcome {
        let mut outcome = Outcome::default();
        let mut unpacked = match Unpacked::open(reader, self.limits.max_file_bytes) {
            Ok(unpacked) => unpacked,
            Err(NotOpened::Interrupted(reason)) => {
                return Outcome { is_interrupted: true, first_fault: Some(reason), ..outcome };
            }
            Err(NotOpened::Refused(reason)) => return Outcome { first_fault: Some(reason), ..outcome },
            Err(NotOpened::Parquet(_)) => {
                return Outcome { first_fault: Some("is Parquet".to_owned()), ..outcome };
            }
        };
        unpacked.hash = Some(Sha256::new());
        match io::copy(&mut unpacked, &mut io::sink()) {
            Ok(_) => outcome.sha256 = unpacked.hash.take().map(|hash| hash.finalize().into()),
            Err(error) => {
                outcome.is_interrupted = unpacked.is_interrupted;
                outcome.first_fault = Some(match unpacked.is_over_limit {
                    true => format!(
                        "unpacks to more than {} bytes: raise \"max_file\"",
                        self.limits.max_file_bytes
                    ),
                    false => error.to_string(),
                });
            }
        }
        outcome.n_bytes = unpacked.n_read;
        outcome
    }

    /// Reads JSON records in any envelope, packed or not.
    pub fn json(&self, name: &str, reader: impl Read) -> Result<Outcome, Closed> {
        match Unpacked::open(reader, self.limits.max_file_bytes) {
            Ok(unpacked) => self.json_of(name, unpacked),
            Err(error) => self.other_file(name, error),
        }
    }

    fn json_of<R: Read>(&self, name: &str, mut unpacked: Unpacked<R>) -> Result<Outcome, Closed> {
        let mut outcome = Outcome::default();
        let mut closed = None;
        // Whether a text is a document is told by reading it, and it is read once. Where others read, a look at its form has
        // to do, and only what that does not settle is read here.
        let read = RefCell::new(None);
        let is_json = |text: &str| serde_json::from_str::<IgnoredAny>(text).is_ok();
        let is_whole = |text: &str| {
            if self.outlet.stage().is_some() && is_json(text) {
                return true;
            }
            let found = self.normalizer.read_any(text);
            let is_whole = !matches!(found[..], [Err(Unreadable::Json(_))]) || is_json(text);
            *read.borrow_mut() = Some(found);
            is_whole
        };
        let end = split(&mut unpacked, self.limits.max_record_bytes, &is_whole, &mut |piece| {
            let sent = self.piece(name, piece, read.take(), &mut outcome);
            closed = sent.err();
            closed.is_none()
        });
        if let Some(closed) = closed {
            return Err(closed);
        }
        self.settle(&mut outcome);
        if let End::Truncated { at, reason } = &end {
            self.truncated(name, *at, reason, &unpacked, &mut outcome)?;
        }
        outcome.n_bytes = unpacked.n_read;
        let is_whole = end == End::Whole && !outcome.is_truncated && !outcome.is_interrupted;
        outcome.sha256 = unpacked.hash.filter(|_| is_whole).map(|hash| hash.finalize().into());
        Ok(outcome)
    }

    /// `found` is what was read of a document, where it was.
    fn piece(
        &self,
        name: &str,
        piece: Piece,
        found: Option<Vec<Result<Record, Unreadable>>>,
        outcome: &mut Outcome,
    ) -> Result<(), Closed> {
        match piece {
            Piece::Document { text, at, number } => {
                let spot = Spot::Record { number, at };
                match found {
                    Some(found) => self.found(found, &|| spot.of(name), outcome),
                    None => self.read(None, text, name, spot, outcome),
                }
            }
            Piece::Broken { at, number, reason } => {
                let at = Spot::Record { number, at }.of(name);
                self.reject(at, reason.to_owned(), RejectedKind::Record, outcome)
            }
            Piece::TooLarge { at, number } => {
                let at = Spot::Record { number, at }.of(name);
                self.reject(at, self.too_large(), RejectedKind::TooLarge, outcome)
            }
        }
    }

    /// Reads flow log lines under their header, packed or not.
    pub fn flow_log(&self, name: &str, reader: impl Read) -> Result<Outcome, Closed> {
        match Unpacked::open(reader, self.limits.max_file_bytes) {
            Ok(unpacked) => self.flow_log_of(name, unpacked),
            Err(error) => self.other_file(name, error),
        }
    }

    fn flow_log_of<R: Read>(&self, name: &str, unpacked: Unpacked<R>) -> Result<Outcome, Closed> {
        let mut outcome = Outcome::default();
        let mut lines = Lines::new(BufReader::new(unpacked), self.limits.max_record_bytes);
        let mut header = Some(vpcflow::DEFAULT_HEADER.to_owned());
        loop {
            match lines.next_line() {
                Ok(Some(Line::Text { text, number })) => {
                    let text = text.trim();
                    if vpcflow::is_header(text) {
                        let fault = vpcflow::header_fault(text);
                        header = fault.is_none().then(|| text.to_owned());
                        if let Some(fault) = fault {
                            let at = format!("{name}, line {number}");
                            self.reject(at, fault, RejectedKind::TooLarge, &mut outcome)?;
                        }
                    } else if let Some(header) = &header
                        && !text.is_empty()
                        && vpcflow::is_event(header, text)
                    {
                        let text = format!("{header}\n{text}");
                        let spot = Spot::Line { number };
                        self.read(Some(Origin::VpcFlow), text, name, spot, &mut outcome)?;
                    }
                }
                Ok(Some(Line::TooLarge { number })) => {
                    let reason = self.too_large();
                    self.reject(
                        format!("{name}, line {number}"),
                        reason,
                        RejectedKind::TooLarge,
                        &mut outcome,
                    )?;
                }
                Ok(None) => break,
                Err(error) => {
                    self.settle(&mut outcome);
                    let at = lines.at;
                    self.truncated(name, at, &error.to_string(), lines.reader.get_ref(), &mut outcome)?;
                    break;
                }
            }
        }
        self.settle(&mut outcome);
        outcome.n_bytes = lines.reader.get_ref().n_read;
        Ok(outcome)
    }

    /// Reads one line of a host event stream: an ECS document, or a record of any other kind.
    pub fn line(&self, name: &str, line: &Line, outcome: &mut Outcome) -> Result<(), Closed> {
        let (text, number) = match line {
            Line::Text { text, number } => (text.trim_matches(['\u{feff}', ' ', '\t', '\r', '\n']), number),
            Line::TooLarge { number } => {
                let reason = self.too_large();
                return self.reject(
                    format!("{name}, line {number}"),
                    reason,
                    RejectedKind::TooLarge,
                    outcome,
                );
            }
        };
        if text.is_empty() {
            return Ok(());
        }
        self.read(None, text, name, Spot::Line { number: *number }, outcome)
    }

    /// Reads a text, or has it read: then what it came to is known when [`Self::settle`] is asked.
    fn read(
        &self,
        origin: Option<Origin>,
        text: impl AsRef<str> + Into<String>,
        name: &str,
        spot: Spot,
        outcome: &mut Outcome,
    ) -> Result<(), Closed> {
        let Some(stage) = self.outlet.stage() else {
            let found = match origin {
                Some(origin) => vec![self.normalizer.read(origin, text.as_ref())],
                None => self.normalizer.read_any(text.as_ref()),
            };
            return self.found(found, &|| spot.of(name), outcome);
        };
        let (source, tally) = (Arc::clone(&self.source), Arc::clone(self.outlet.tally()));
        tally.begin();
        let text = Text { origin, text: text.into(), source, name: name.into(), spot, tally };
        self.outlet.work(stage, Work::Read(text))
    }

    /// Adds what others found in the texts that they were handed. Waits for them.
    pub(crate) fn settle(&self, outcome: &mut Outcome) {
        let Sum { n_records, n_rejected, first_fault } = self.outlet.settle();
        outcome.n_records += n_records;
        outcome.n_rejected += n_rejected;
        outcome.first_fault = outcome.first_fault.take().or(first_fault);
    }

    /// Reads one line that somebody wrote to a socket: a host event, and never a record of AWS's, whatever it looks like.
    pub fn host_line(&self, name: &str, line: &Line, outcome: &mut Outcome) -> Result<(), Closed> {
        let Line::Text { text, number } = line else { return self.line(name, line, outcome) };
        let text = text.trim_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
        if text.is_empty() {
            return Ok(());
        }
        let claims = Claims::new(&self.normalizer.schema());
        let at = || format!("{name}, line {number}");
        match self.normalizer.read(Origin::Sensor, text) {
            Ok(record) if claims.is_disguised(&record.event) => {
                let reason =
                    "it says that it is AWS's, and comes from a host: logs of AWS have sources of their own";
                self.reject(at(), reason.to_owned(), RejectedKind::Record, outcome)
            }
            read => self.found(vec![read], &at, outcome),
        }
    }

    /// Reads whatever one JSON document holds.
    pub fn document(&self, text: &str, at: &dyn Fn() -> String, outcome: &mut Outcome) -> Result<(), Closed> {
        self.found(self.normalizer.read_any(text), at, outcome)
    }

    fn found(
        &self,
        found: Vec<Result<Record, Unreadable>>,
        at: &dyn Fn() -> String,
        outcome: &mut Outcome,
    ) -> Result<(), Closed> {
        for read in found {
            match read {
                Ok(record) => {
                    outcome.n_records += 1;
                    self.outlet.send(SourceItem::Record(record))?;
                }
                Err(error) => self.reject(at(), error.to_string(), RejectedKind::Record, outcome)?,
            }
        }
        Ok(())
    }

    fn too_large(&self) -> String {
        format!(
            "longer than {} bytes; raise \"max_record_bytes\" of the source if such records are real",
            self.limits.max_record_bytes
        )
    }

    fn truncated<R: Read>(
        &self,
        name: &str,
        at: u64,
        reason: &str,
        unpacked: &Unpacked<R>,
        outcome: &mut Outcome,
    ) -> Result<(), Closed> {
        if unpacked.is_interrupted {
            outcome.is_interrupted = true;
            outcome.first_fault = Some(reason.to_owned());
            return Ok(());
        }
        let n_records = outcome.n_records;
        let at = format!("{name}, byte {at}");
        if unpacked.is_over_limit {
            let reason = format!(
                "unpacks to more than {} bytes; {n_records} records before that were read; raise \"max_file_bytes\" of \
                 the source if such files are real",
                self.limits.max_file_bytes
            );
            return self.reject(at, reason, RejectedKind::TooLarge, outcome);
        }
        outcome.is_truncated = true;
        let what = if unpacked.is_packed { "truncated or damaged gzip" } else { "truncated" };
        let reason = format!(
            "{what}: {reason}; the {n_records} records before it were read, the rest is lost; copy the file again from \
             its bucket"
        );
        self.reject(at, reason, RejectedKind::Truncated, outcome)
    }

    /// What is no text, packed or not.
    fn other_file<R: Read>(&self, name: &str, file: NotOpened<R>) -> Result<Outcome, Closed> {
        let mut outcome = Outcome::default();
        match file {
            NotOpened::Interrupted(reason) => {
                outcome.is_interrupted = true;
                outcome.first_fault = Some(reason);
            }
            NotOpened::Parquet(reader) => self.parquet(name, reader, &mut outcome)?,
            NotOpened::Refused(reason) => {
                self.reject(name.to_owned(), reason, RejectedKind::Object, &mut outcome)?;
            }
        }
        Ok(outcome)
    }

    #[cfg(not(feature = "aws"))]
    fn parquet<R: Read>(&self, name: &str, _: BufReader<R>, outcome: &mut Outcome) -> Result<(), Closed> {
        let reason = "is Parquet, which this groundtrail was built without: take a released one, build it with --features \
                      aws, or hand over JSON or text, plain or gzipped";
        self.reject(name.to_owned(), reason.to_owned(), RejectedKind::Object, outcome)
    }

    /// Reads rows of flow logs, or of Security Lake. The file is read from its end on, so it is put on the disk first.
    #[cfg(feature = "aws")]
    fn parquet<R: Read>(
        &self,
        name: &str,
        mut reader: BufReader<R>,
        outcome: &mut Outcome,
    ) -> Result<(), Closed> {
        let file = match spool(&mut reader, self.limits.max_file_bytes) {
            Ok(Some(file)) => file,
            Ok(None) => {
                let reason = format!(
                    "larger than {} bytes; raise \"max_file\" of the source",
                    self.limits.max_file_bytes
                );
                return self.reject(name.to_owned(), reason, RejectedKind::TooLarge, outcome);
            }
            Err(error) if error.kind() == INTERRUPTED => {
                outcome.is_interrupted = true;
                outcome.first_fault = Some(error.to_string());
                return Ok(());
            }
            Err(error) => {
                let reason = format!(
                    "cannot be put on the disk to be read: {error}; is there room for temporary files?"
                );
                return self.reject(name.to_owned(), reason, RejectedKind::Object, outcome);
            }
        };
        outcome.n_bytes = file.metadata().map_or(1, |data| data.len());
        let (mut number, mut closed) = (0_u64, None);
        let read = parquet::rows(file, self.limits.max_file_bytes, &mut |line| {
            number += 1;
            let at = || format!("{name}, row {number}");
            let sent = match line {
                parquet::Line::Document(text) | parquet::Line::Flow(text)
                    if text.len() > self.limits.max_record_bytes =>
                {
                    self.reject(at(), self.too_large(), RejectedKind::TooLarge, outcome)
                }
                parquet::Line::Document(text) => self.document(&text, &at, outcome),
                parquet::Line::Flow(text) => self.flow_row(text, &at, outcome),
            };
            closed = sent.err();
            closed.is_none()
        });
        if let Some(closed) = closed {
            return Err(closed);
        }
        let (reason, kind) = match read {
            Ok(()) => return Ok(()),
            Err(parquet::Fault::Damaged(reason)) => {
                (format!("damaged Parquet: {reason}"), RejectedKind::Truncated)
            }
            Err(parquet::Fault::TooLarge(reason)) => (reason, RejectedKind::TooLarge),
        };
        let reason = format!("{reason}; the {} records before it were read", outcome.n_records);
        self.reject(name.to_owned(), reason, kind, outcome)
    }

    #[cfg(feature = "aws")]
    fn flow_row(&self, text: String, at: &dyn Fn() -> String, outcome: &mut Outcome) -> Result<(), Closed> {
        let (header, line) = text.split_once('\n').unwrap_or_default();
        if !vpcflow::is_event(header, line) {
            return Ok(());
        }
        if let Some(fault) = vpcflow::header_fault(header) {
            return self.reject(at(), fault, RejectedKind::Record, outcome);
        }
        match self.normalizer.read(Origin::VpcFlow, text) {
            Ok(record) => {
                outcome.n_records += 1;
                self.outlet.send(SourceItem::Record(record))
            }
            Err(error) => self.reject(at(), error.to_string(), RejectedKind::Record, outcome),
        }
    }

    pub(crate) fn reject(
        &self,
        at: String,
        reason: String,
        kind: RejectedKind,
        outcome: &mut Outcome,
    ) -> Result<(), Closed> {
        // What was wrong first is told first.
        self.settle(outcome);
        outcome.n_rejected += 1;
        outcome.first_fault.get_or_insert_with(|| format!("{at}: {reason}"));
        self.outlet.send(SourceItem::Rejected(Rejected {
            source: Arc::clone(&self.source),
            at,
            reason,
            kind,
        }))
    }
}

/// A copy without a name, which goes with its last reader; none where there is more than `max_bytes` of it.
#[cfg(feature = "aws")]
fn spool(reader: &mut impl Read, max_bytes: u64) -> io::Result<Option<std::fs::File>> {
    let mut file = tempfile::tempfile()?;
    let n_bytes = io::copy(&mut reader.take(max_bytes.saturating_add(1)), &mut file)?;
    io::Seek::rewind(&mut file)?;
    Ok((n_bytes <= max_bytes).then_some(file))
}

/// A reader that unpacks gzip, told by its first bytes, up to a cap.
pub struct Unpacked<R: Read> {
    inner: Inner<R>,
    left: u64,
    n_read: u64,
    is_packed: bool,
    is_over_limit: bool,
    is_interrupted: bool,
    /// Looked at, and still to be read.
    peeked: Vec<u8>,
    hash: Option<Sha256>,
    peek_error: Option<io::Error>,
}

/// Why a file was not even begun.
enum NotOpened<R> {
    Refused(String),
    /// Read from its end on, and so not as it comes.
    Parquet(BufReader<R>),
    Interrupted(String),
}

enum Inner<R: Read> {
    Plain(BufReader<R>),
    Gzip(Box<MultiGzDecoder<BufReader<R>>>),
}

impl<R: Read> Unpacked<R> {
    /// # Errors
    /// In words, when the first bytes are of a format that is not read, or cannot be had.
    fn open(reader: R, max_bytes: u64) -> Result<Self, NotOpened<R>> {
        let mut reader = BufReader::with_capacity(64 * 1024, reader);
        let head = loop {
            match reader.fill_buf() {
                Ok(head) => break head,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == INTERRUPTED => {
                    return Err(NotOpened::Interrupted(error.to_string()));
                }
                Err(error) => return Err(NotOpened::Refused(format!("cannot read: {error}"))),
            }
        };
        let is_packed = head.starts_with(&[0x1f, 0x8b]);
        if head.starts_with(b"PAR1") {
            return Err(NotOpened::Parquet(reader));
        }
        for (magic, format) in [(&[0x28, 0xb5, 0x2f, 0xfd][..], "zstd"), (b"BZh", "bzip2")] {
            if head.starts_with(magic) {
                return Err(NotOpened::Refused(format!(
                    "is {format}, which is not read; hand over JSON or text, plain or gzipped"
                )));
            }
        }
        let inner =
            if is_packed { Inner::Gzip(Box::new(MultiGzDecoder::new(reader))) } else { Inner::Plain(reader) };
        Ok(Self {
            inner,
            left: max_bytes,
            n_read: 0,
            is_packed,
            is_over_limit: false,
            is_interrupted: false,
            peeked: Vec::new(),
            hash: None,
            peek_error: None,
        })
    }

    /// Some of the first bytes, which are still there to be read; an error, too.
    fn peek(&mut self) -> &[u8] {
        let mut head = vec![0; 512];
        let read = loop {
            match self.read(&mut head) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        head.truncate(*read.as_ref().unwrap_or(&0));
        (self.peeked, self.peek_error) = (head, read.err());
        &self.peeked
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.peeked.is_empty() {
            let len = self.peeked.len().min(buffer.len());
            buffer[..len].copy_from_slice(&self.peeked[..len]);
            self.peeked.drain(..len);
            return Ok(len);
        }
        if let Some(error) = self.peek_error.take() {
            return Err(error);
        }
        let n_read = match &mut self.inner {
            Inner::Plain(reader) => reader.read(buffer),
            Inner::Gzip(reader) => reader.read(buffer),
        }
        .inspect_err(|error| self.is_interrupted |= error.kind() == INTERRUPTED)?;
        if n_read as u64 > self.left {
            self.is_over_limit = true;
            return Err(io::Error::other("too large"));
        }
        self.left -= n_read as u64;
        self.n_read += n_read as u64;
        if let Some(hash) = &mut self.hash {
            hash.update(&buffer[..n_read]);
        }
        Ok(n_read)
    }
}

/// A line, or the mark of one that was too long to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    Text { text: String, number: u64 },
    TooLarge { number: u64 },
}

/// Lines with a cap on their length. Bytes that are no UTF-8 are replaced, not refused: they are evidence.
pub struct Lines<R> {
    reader: R,
    max_len: usize,
    number: u64,
    /// Bytes taken so far, up to the last whole line.
    pub at: u64,
    held: Vec<u8>,
    is_skipping: bool,
    taken: u64,
}

impl<R: BufRead> Lines<R> {
    pub fn new(reader: R, max_len: usize) -> Self {
        Self { reader, max_len, number: 0, at: 0, held: Vec::new(), is_skipping: false, taken: 0 }
    }

    pub fn starting_at(mut self, at: u64) -> Self {
        self.at = at;
        self.taken = at;
        self
    }

    /// The next line; at the end of the input what is left without a line break, once.
    pub fn next_line(&mut self) -> io::Result<Option<Line>> {
        match self.next_whole()? {
            Some(line) => Ok(Some(line)),
            None if self.held.is_empty() && !self.is_skipping => Ok(None),
            None => Ok(Some(self.finish())),
        }
    }

    /// The next line that has its line break. None for now: the input may go on later.
    pub fn next_whole(&mut self) -> io::Result<Option<Line>> {
        loop {
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if buffer.is_empty() {
                return Ok(None);
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let len = end.map_or(buffer.len(), |end| end + 1);
            if !self.is_skipping {
                self.held.extend_from_slice(&buffer[..len]);
            }
            self.reader.consume(len);
            self.taken += len as u64;
            if self.held.len() > self.max_len.saturating_add(1) {
                self.is_skipping = true;
                self.held = Vec::new();
            }
            if end.is_some() {
                return Ok(Some(self.finish()));
            }
        }
    }

    fn finish(&mut self) -> Line {
        self.number += 1;
        self.at = self.taken;
        let number = self.number;
        if std::mem::take(&mut self.is_skipping) {
            return Line::TooLarge { number };
        }
        let text = String::from_utf8_lossy(&self.held).into_owned();
        self.held.clear();
        Line::Text { text, number }
    }
}

#[cfg(test)]
pub(crate) mod tests;
