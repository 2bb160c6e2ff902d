//! The file of raw records: a magic, then frames of a tag, a length and their bytes.

use std::io::{self, BufWriter, Write};

use serde::{Serialize, de::DeserializeOwned};

use super::{Answer, Preamble};
use crate::process::procfs::Snapshot;

const MAGIC: &[u8; 8] = b"gtring\x01\n";

const PREAMBLE: u8 = b'H';
const RECORD: u8 = b'R';
const ANSWER: u8 = b'A';
const PROCESS: u8 = b'P';

/// One frame. Everything but the records is JSON, to be looked at with `strings`.
pub(super) enum Frame<'a> {
    Preamble(Box<Preamble>),
    Record(&'a [u8]),
    Answer(Answer),
    Process(Box<Snapshot>),
}

#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("this is no recording of raw records: make one with `groundtrail-sensor record -o DIR`")]
    NotOurs,
    #[error("the recording ends in the middle of a frame, at byte {at}")]
    Cut { at: usize },
    #[error("frame \"{tag}\" at byte {at} is unknown: the recording is newer than this build")]
    UnknownTag { tag: char, at: usize },
    #[error("the frame at byte {at} does not read")]
    Json { at: usize, source: serde_json::Error },
}

pub(super) struct Writer<W: Write>(BufWriter<W>);

impl<W: Write> Writer<W> {
    pub(super) fn new(to: W, preamble: &Preamble) -> io::Result<Self> {
        let mut writer = Self(BufWriter::new(to));
        writer.0.write_all(MAGIC)?;
        writer.json(PREAMBLE, preamble)?;
        Ok(writer)
    }

    pub(super) fn record(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.frame(RECORD, bytes)
    }

    pub(super) fn answer(&mut self, answer: &Answer) -> io::Result<()> {
        self.json(ANSWER, answer)
    }

    pub(super) fn process(&mut self, found: &Snapshot) -> io::Result<()> {
        self.json(PROCESS, found)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }

    fn json(&mut self, tag: u8, value: &impl Serialize) -> io::Result<()> {
        self.frame(tag, &serde_json::to_vec(value)?)
    }

    fn frame(&mut self, tag: u8, bytes: &[u8]) -> io::Result<()> {
        let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.0.write_all(&[tag])?;
        self.0.write_all(&len.to_le_bytes())?;
        self.0.write_all(bytes)
    }
}

/// Frames in their order. Ends at the first that is wrong.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, FrameError> {
        if !bytes.starts_with(MAGIC) {
            return Err(FrameError::NotOurs);
        }
        Ok(Self { bytes, at: MAGIC.len() })
    }

    fn take(&mut self, n_bytes: usize) -> Result<&'a [u8], FrameError> {
        let at = self.at;
        let end =
            at.checked_add(n_bytes).filter(|&end| end <= self.bytes.len()).ok_or(FrameError::Cut { at })?;
        self.at = end;
        Ok(&self.bytes[at..end])
    }

    fn frame(&mut self) -> Result<Frame<'a>, FrameError> {
        let at = self.at;
        let tag = self.take(1)?[0];
        let len = self.take(4)?.try_into().expect("four bytes were taken");
        let body = self.take(u32::from_le_bytes(len) as usize)?;
        match tag {
            PREAMBLE => json(body, at).map(|preamble| Frame::Preamble(Box::new(preamble))),
            RECORD => Ok(Frame::Record(body)),
            ANSWER => json(body, at).map(Frame::Answer),
            PROCESS => json(body, at).map(|found| Frame::Process(Box::new(found))),
            tag => Err(FrameError::UnknownTag { tag: tag.into(), at }),
        }
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Frame<'a>, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let frame = self.frame();
        if frame.is_err() {
            self.at = self.bytes.len();
        }
        Some(frame)
    }
}

fn json<T: DeserializeOwned>(body: &[u8], at: usize) -> Result<T, FrameError> {
    serde_json::from_slice(body).map_err(|source| FrameError::Json { at, source })
}
