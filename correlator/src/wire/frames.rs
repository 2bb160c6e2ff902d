//! A request's body: zstd frames one after another, one for each sequence number. How far one may unpack is bounded
//! before, and while, it is unpacked.

use std::io::Read as _;

use zstd::stream::read::Decoder;
use zstd::zstd_safe;

/// What a body may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) max_frames: usize,
    /// Unpacked.
    pub(crate) max_frame_bytes: usize,
    /// Unpacked, all frames together.
    pub(crate) max_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { max_frames: 4096, max_frame_bytes: 8 << 20, max_bytes: 16 << 20 }
    }
}

/// A frame's window, as a power of two: what the decoder has to hold at most.
const MAX_WINDOW_LOG: u32 = 23;

/// What is wrong with a body, and at which of its frames, counted from nought.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the body is empty: send at least one zstd frame")]
    Empty,
    #[error("frame {nth} of the body is no whole zstd frame: {reason}")]
    Damaged { nth: usize, reason: String },
    #[error("frame {nth} of the body unpacks to more than {max} bytes")]
    TooLarge { nth: usize, max: usize },
    #[error("the body has more than {0} frames: send fewer at a time")]
    TooMany(usize),
}

impl FrameError {
    /// The frame that cannot be taken. None: the body as a whole is at fault.
    pub(crate) fn nth(&self) -> Option<usize> {
        match self {
            Self::Damaged { nth, .. } | Self::TooLarge { nth, .. } => Some(*nth),
            Self::Empty | Self::TooMany(_) => None,
        }
    }
}

/// The frames, packed as they are.
pub(crate) fn split(mut body: &[u8], bounds: &Bounds) -> Result<Vec<Box<[u8]>>, FrameError> {
    let mut frames = Vec::new();
    while !body.is_empty() {
        let nth = frames.len();
        if nth == bounds.max_frames {
            return Err(FrameError::TooMany(bounds.max_frames));
        }
        let len = zstd_safe::find_frame_compressed_size(body).map_err(|code| FrameError::Damaged {
            nth,
            reason: zstd_safe::get_error_name(code).to_owned(),
        })?;
        let (frame, rest) = body.split_at_checked(len).unwrap_or((body, &[]));
        frames.push(frame.into());
        body = rest;
    }
    if frames.is_empty() { Err(FrameError::Empty) } else { Ok(frames) }
}

/// The text of the frames from `skip` on.
pub(crate) fn unpack(frames: &[Box<[u8]>], skip: usize, bounds: &Bounds) -> Result<Vec<Vec<u8>>, FrameError> {
    let mut left = bounds.max_bytes;
    let mut texts = Vec::with_capacity(frames.len().saturating_sub(skip));
    for (nth, frame) in frames.iter().enumerate().skip(skip) {
        let max = bounds.max_frame_bytes;
        let text = unpack_one(frame, nth, max.min(left)).map_err(|error| match error {
            // What would do by itself is no bomb: the body is too long.
            FrameError::TooLarge { nth, .. } if left < max && nth > skip => FrameError::TooMany(nth - skip),
            error => error,
        })?;
        left -= text.len();
        texts.push(text);
    }
    Ok(texts)
}

fn unpack_one(frame: &[u8], nth: usize, max: usize) -> Result<Vec<u8>, FrameError> {
    let damaged = |reason: String| FrameError::Damaged { nth, reason };
    if let Ok(Some(declared)) = zstd_safe::get_frame_content_size(frame)
        && declared > max as u64
    {
        return Err(FrameError::TooLarge { nth, max });
    }
    let mut decoder = Decoder::with_buffer(frame).map_err(|error| damaged(error.to_string()))?.single_frame();
    decoder.window_log_max(MAX_WINDOW_LOG).map_err(|error| damaged(error.to_string()))?;
    let mut text = Vec::new();
    decoder.take(max as u64 + 1).read_to_end(&mut text).map_err(|error| damaged(error.to_string()))?;
    if text.len() > max { Err(FrameError::TooLarge { nth, max }) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const SMALL: Bounds = Bounds { max_frames: 3, max_frame_bytes: 1_000, max_bytes: 1_500 };

    fn packed(text: &[u8]) -> Vec<u8> {
        zstd::bulk::compress(text, 1).unwrap()
    }

    /// Without its size in its head, as a stream is packed.
    fn streamed(text: &[u8]) -> Vec<u8> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.include_checksum(true).unwrap();
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn read(body: &[u8], skip: usize) -> Result<Vec<Vec<u8>>, FrameError> {
        unpack(&split(body, &SMALL)?, skip, &SMALL)
    }

    #[test]
    fn frames_come_out_as_they_went_in() {
        let body = [packed(b"one\n"), streamed(b"two\n"), packed(b"three\n")].concat();
        assert_eq!(read(&body, 0).unwrap(), [&b"one\n"[..], b"two\n", b"three\n"]);
        assert_eq!(read(&body, 2).unwrap(), [b"three\n"]);
        assert_eq!(read(&body, 3).unwrap(), [b""; 0]);
    }

    #[test]
    fn bombs_go_off_nowhere() {
        let bomb = vec![0; 1 << 20];
        for packed in [packed(&bomb), streamed(&bomb)] {
            assert!(packed.len() < 1_000, "a bomb is small");
            let body = [streamed(b"fine\n"), packed].concat();
            assert_eq!(read(&body, 0), Err(FrameError::TooLarge { nth: 1, max: 1_000 }));
        }
    }

    #[test]
    fn a_window_that_is_too_large_is_not_made_room_for() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.long_distance_matching(true).unwrap();
        encoder.write_all(&vec![7; 2 << 20]).unwrap();
        let body = encoder.finish().unwrap();
        let bounds = Bounds::default();
        let unpacked = unpack(&split(&body, &bounds).unwrap(), 0, &bounds);
        assert!(matches!(unpacked, Err(FrameError::Damaged { nth: 0, .. })), "{unpacked:?}");
    }

    #[test]
    fn what_is_cut_or_no_zstd_is_named() {
        assert_eq!(read(b"", 0), Err(FrameError::Empty));
        assert!(matches!(read(b"{\"a\":1}\n", 0), Err(FrameError::Damaged { nth: 0, .. })));
        let mut body = [packed(b"one\n"), packed(b"two\n")].concat();
        body.pop();
        assert!(matches!(read(&body, 0), Err(FrameError::Damaged { nth: 1, .. })));
        // Whole in shape, damaged within.
        let mut body = streamed(&b"some text that is long enough to be packed, packed, packed\n".repeat(8));
        let middle = body.len() / 2;
        body[middle] ^= 0xff;
        assert!(matches!(read(&body, 0), Err(FrameError::Damaged { nth: 0, .. })));
    }

    #[test]
    fn many_and_long_bodies_are_to_be_sent_in_parts() {
        let body = packed(b"x\n").repeat(4);
        assert_eq!(read(&body, 0), Err(FrameError::TooMany(3)));
        let body = packed(&[b'x'; 900]).repeat(2);
        assert_eq!(read(&body, 0), Err(FrameError::TooMany(1)));
        assert_eq!(read(&body, 1).map(|texts| texts.len()), Ok(1));
    }
}
