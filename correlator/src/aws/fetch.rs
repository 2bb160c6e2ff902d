//! One object of a bucket as a reader: as much of it in memory as the network hands over at once, and read on from where it
//! was when the line is cut.

use std::io::{self, Read};
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use tokio::runtime::Handle;

use super::access::{Clients, Failure, failure};
use crate::causes::chain;
use crate::source::feed::INTERRUPTED;
use crate::source::notice::ObjectAt;
use crate::source::stop::Stop;

/// The line is taken for cut when nothing came for so long.
const PATIENCE: Duration = Duration::from_secs(30);
/// So often in a row without a byte in between.
const MAX_CUTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// An object that is being read.
pub(super) struct Fetch<'c> {
    clients: &'c Clients,
    handle: Handle,
    stop: Stop,
    bucket: String,
    key: String,
    region: Option<String>,
    /// Another content under the same key is not read on.
    e_tag: Option<String>,
    /// A digest's, which lies beside its content.
    signature: Option<String>,
    len: Option<u64>,
    at: u64,
    body: Option<ByteStream>,
    chunk: Vec<u8>,
    taken: usize,
    n_cuts: u32,
}

/// Begins to read an object, by whichever of its keys there is one, in whichever region it is.
pub(super) fn open<'c>(
    clients: &'c Clients,
    handle: &Handle,
    object: &ObjectAt,
    stop: &Stop,
) -> Result<Fetch<'c>, Failure> {
    let mut fetch = Fetch {
        clients,
        handle: handle.clone(),
        stop: stop.clone(),
        bucket: object.bucket.clone(),
        key: object.key.clone(),
        region: object.region.clone(),
        e_tag: None,
        signature: None,
        len: None,
        at: 0,
        body: None,
        chunk: Vec::new(),
        taken: 0,
        n_cuts: 0,
    };
    let first = fetch.request();
    match (first, &object.other_key) {
        (Err(Failure::Missing(reason)), Some(other)) => {
            fetch.key.clone_from(other);
            // The key as it should be is the one to speak of.
            fetch.request().map_err(|again| match again {
                Failure::Missing(_) => Failure::Missing(reason),
                other => other,
            })?;
        }
        (result, _) => result?,
    }
    Ok(fetch)
}

impl Fetch<'_> {
    /// The key that there is an object at.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn signature(&self) -> Option<&str> {
        self.signature.as_deref()
    }

    fn request(&mut self) -> Result<(), Failure> {
        match self.request_once() {
            Err(Failure::Elsewhere(region)) if self.region.as_deref() != Some(&region) => {
                self.region = Some(region);
                self.request_once()
            }
            result => result,
        }
    }

    fn request_once(&mut self) -> Result<(), Failure> {
        let client = self.clients.s3(self.region.as_deref());
        let mut request = client.get_object().bucket(&self.bucket).key(&self.key);
        if self.at > 0 {
            request = request.range(format!("bytes={}-", self.at)).set_if_match(self.e_tag.clone());
        }
        let answer = self.handle.block_on(super::unless_stopped(&self.stop, request.send()));
        let Some(answer) = answer else { return Err(Failure::Unreachable("stopped".to_owned())) };
        let object = answer.map_err(|error| failure(&error))?;
        if self.at > 0 {
            // Whoever knows no ranges answers with the whole, and a proxy with what it has.
            if let Err(reason) = goes_on(object.content_range(), self.at, self.len) {
                return Err(Failure::Refused(reason));
            }
        } else {
            self.e_tag = object.e_tag().map(str::to_owned);
            self.signature = object.metadata().and_then(|held| held.get("signature")).cloned();
            self.len = object.content_length().and_then(|len| u64::try_from(len).ok());
        }
        self.body = Some(object.body);
        Ok(())
    }

    /// The next bytes; none at the end.
    fn next_chunk(&mut self) -> io::Result<bool> {
        loop {
            let Some(body) = &mut self.body else { return Ok(false) };
            let next = async { tokio::time::timeout(PATIENCE, body.next()).await };
            let came = self.handle.block_on(super::unless_stopped(&self.stop, next));
            let cut = match came {
                None => return Err(interrupted("the run is ending")),
                Some(Ok(Some(Ok(bytes)))) if bytes.is_empty() => continue,
                Some(Ok(Some(Ok(bytes)))) => {
                    self.at += bytes.len() as u64;
                    (self.chunk, self.taken, self.n_cuts) = (bytes.to_vec(), 0, 0);
                    return Ok(true);
                }
                Some(Ok(None)) if self.len.is_none_or(|len| self.at >= len) => {
                    self.body = None;
                    return Ok(false);
                }
                Some(Ok(None)) => "it ended too early".to_owned(),
                Some(Ok(Some(Err(error)))) => chain(&error),
                Some(Err(_elapsed)) => format!("nothing came for {} s", PATIENCE.as_secs()),
            };
            self.read_on(&cut)?;
        }
    }

    /// Asks for the rest.
    fn read_on(&mut self, cut: &str) -> io::Result<()> {
        loop {
            self.n_cuts += 1;
            if self.n_cuts > MAX_CUTS {
                return Err(interrupted(&format!("cut off at byte {}: {cut}", self.at)));
            }
            if self.stop.wait(FIRST_PAUSE * 2_u32.pow(self.n_cuts - 1)) {
                return Err(interrupted("the run is ending"));
            }
            match self.request() {
                Ok(()) => return Ok(()),
                Err(Failure::Unreachable(_)) => {}
                // Replaced or removed meanwhile: from the start, another time.
                Err(other) => return Err(interrupted(other.reason())),
            }
        }
    }
}

/// Whether an answer is the part that was asked for: only those of status 206 say which part they are.
fn goes_on(range: Option<&str>, at: u64, len: Option<u64>) -> Result<(), String> {
    let Some(range) = range else {
        return Err(format!("it was asked for from byte {at} on, and the answer is not a part"));
    };
    let numbers = || {
        let (part, whole) = range.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = part.split_once('-')?;
        Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?, whole.parse::<u64>().ok()))
    };
    let is_rest = numbers().is_some_and(|(first, last, whole)| {
        let ends = len.or(whole);
        first == at
            && ends.is_none_or(|ends| {
                last.checked_add(1) == Some(ends) && whole.is_none_or(|whole| whole == ends)
            })
    });
    if is_rest {
        Ok(())
    } else {
        Err(format!("it was asked for from byte {at} on, and the answer is \"{range}\""))
    }
}

fn interrupted(reason: &str) -> io::Error {
    io::Error::new(INTERRUPTED, reason.to_owned())
}

impl Read for Fetch<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.chunk.len() && !self.next_chunk()? {
            return Ok(0);
        }
        let len = buffer.len().min(self.chunk.len() - self.taken);
        buffer[..len].copy_from_slice(&self.chunk[self.taken..self.taken + len]);
        self.taken += len;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_must_be_the_rest() {
        for (range, is_rest) in [
            (Some("bytes 900-1999/2000"), true),
            (Some("bytes 900-1999/*"), true),
            (None, false),
            (Some("bytes 0-1999/2000"), false),
            (Some("bytes 900-1000/2000"), false),
            (Some("bytes 900-2999/3000"), false),
            (Some("bytes 901-1999/2000"), false),
            (Some("bytes */2000"), false),
            (Some("bytes 900-18446744073709551615/2000"), false),
            (Some("900-1999/2000"), false),
        ] {
            assert_eq!(goes_on(range, 900, Some(2_000)).is_ok(), is_rest, "{range:?}");
        }
        assert!(goes_on(Some("bytes 900-1999/2000"), 900, None).is_ok());
        assert!(goes_on(Some("bytes 900-1000/2000"), 900, None).is_err());
    }
}
