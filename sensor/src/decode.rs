//! Bytes of the ring to [`abi`] records. Total: any bytes give a record or a reason, never a panic.
//!
//! [`abi`]: sensor_ebpf::abi

use std::mem::size_of;

use sensor_ebpf::abi::connect::Connect;
use sensor_ebpf::abi::exchange::Exchange;
use sensor_ebpf::abi::exec::{Brief, CHUNK_BYTES, Exec};
use sensor_ebpf::abi::exit::Exit;
use sensor_ebpf::abi::file::File;
use sensor_ebpf::abi::fork::Fork;
use sensor_ebpf::abi::header::{Header, flag, kind};
use sensor_ebpf::abi::text::Walk;

/// One record, borrowed from the ring where it is long.
pub enum Record<'a> {
    Exec(Box<Exec>, Capture<'a>),
    /// An exec of which the ring had room for the header alone.
    Brief(Brief),
    Fork(Fork),
    Exit(Exit),
    Connect(Connect),
    Result(Connect),
    Accept(Connect),
    File(Box<File>),
    Exchange(Box<Exchange>),
}

impl Record<'_> {
    pub fn header(&self) -> &Header {
        match self {
            Self::Exec(exec, _) => &exec.header,
            Self::Brief(brief) => &brief.header,
            Self::Fork(fork) => &fork.header,
            Self::Exit(exit) => &exit.header,
            Self::Connect(connect) | Self::Result(connect) | Self::Accept(connect) => &connect.header,
            Self::File(file) => &file.header,
            Self::Exchange(exchange) => &exchange.header,
        }
    }

    pub fn header_mut(&mut self) -> &mut Header {
        match self {
            Self::Exec(exec, _) => &mut exec.header,
            Self::Brief(brief) => &mut brief.header,
            Self::Fork(fork) => &mut fork.header,
            Self::Exit(exit) => &mut exit.header,
            Self::Connect(connect) | Self::Result(connect) | Self::Accept(connect) => &mut connect.header,
            Self::File(file) => &mut file.header,
            Self::Exchange(exchange) => &mut exchange.header,
        }
    }
}

/// The argument and environment blocks of an exec, as the kernel copied them.
pub struct Capture<'a> {
    bytes: &'a [u8],
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    #[error(
        "record of {got} bytes is shorter than its {want}: the object and this binary are of different builds"
    )]
    Truncated { got: usize, want: usize },
    #[error("record kind {0} is unknown: the object and this binary are of different builds")]
    UnknownKind(u32),
}

/// # Errors
/// `Truncated` if the bytes end inside the fixed part, `UnknownKind` for a kind this build does not know.
pub fn decode(bytes: &[u8]) -> Result<Record<'_>, DecodeError> {
    let header: Header = read(bytes)?;
    match header.kind {
        kind::EXEC if header.flags & flag::HEADER_ONLY != 0 => read(bytes).map(Record::Brief),
        kind::EXEC => {
            let exec: Exec = read(bytes)?;
            Ok(Record::Exec(Box::new(exec), Capture { bytes: &bytes[size_of::<Exec>()..] }))
        }
        kind::FORK => read(bytes).map(Record::Fork),
        kind::EXIT => read(bytes).map(Record::Exit),
        kind::CONNECT => read(bytes).map(Record::Connect),
        kind::RESULT => read(bytes).map(Record::Result),
        kind::ACCEPT => read(bytes).map(Record::Accept),
        kind::FILE => Ok(Record::File(Box::new(read(bytes)?))),
        kind::EXCHANGE => Ok(Record::Exchange(Box::new(read(bytes)?))),
        other => Err(DecodeError::UnknownKind(other)),
    }
}

/// Types of the ABI: integers and arrays of them, so that any bytes are a value.
trait Plain: Copy {}
impl Plain for Header {}
impl Plain for Exec {}
impl Plain for Brief {}
impl Plain for Fork {}
impl Plain for Exit {}
impl Plain for Connect {}
impl Plain for File {}
impl Plain for Exchange {}

fn read<T: Plain>(bytes: &[u8]) -> Result<T, DecodeError> {
    let want = size_of::<T>();
    if bytes.len() < want {
        return Err(DecodeError::Truncated { got: bytes.len(), want });
    }
    // SAFETY: `bytes` holds at least `size_of::<T>()` readable bytes (checked above); `read_unaligned` asks for no
    // alignment; `T: Plain` is valid for every bit pattern.
    Ok(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// Strings out of a block of NUL-terminated ones.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Strings {
    pub strings: Vec<String>,
    /// Something was not UTF-8 or not readable and is U+FFFD now.
    pub is_lossy: bool,
}

/// Splits at NULs and keeps empty strings, the last one too. A block cut in the middle gives a cut last string.
pub fn split_strings(block: &[u8]) -> Strings {
    if block.is_empty() {
        return Strings::default();
    }
    let block = block.strip_suffix(&[0]).unwrap_or(block);
    let mut is_lossy = false;
    let strings = block.split(|&byte| byte == 0).map(|bytes| lossy(bytes, &mut is_lossy)).collect();
    Strings { strings, is_lossy }
}

fn lossy(bytes: &[u8], is_lossy: &mut bool) -> String {
    match String::from_utf8_lossy(bytes) {
        std::borrow::Cow::Borrowed(text) => text.to_owned(),
        std::borrow::Cow::Owned(text) => {
            *is_lossy = true;
            text
        }
    }
}

/// Text of the kernel that is nearly always UTF-8: names, paths.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The path of a walk, from the root down. `is_whole` is false if the walk stopped before it met the root.
pub fn path<const N: usize>(walk: &Walk<N>, is_whole: bool) -> String {
    // The root of a file system that is mounted nowhere near has a name: the slash itself.
    let names: Vec<&[u8]> = walk.components().filter(|name| *name != b"/").collect();
    let mut path = if is_whole { String::new() } else { "…".to_owned() };
    for name in names.iter().rev() {
        path.push('/');
        path.push_str(&String::from_utf8_lossy(name));
    }
    if path.is_empty() { "/".to_owned() } else { path }
}

impl Capture<'_> {
    pub fn args(&self, exec: &Exec) -> Strings {
        let (args, _) = exec.split(self.bytes);
        if exec.gaps == 0 {
            return split_strings(args);
        }
        let mut strings = split_strings(&fill_gaps(args, exec.gaps));
        strings.is_lossy = true;
        strings
    }

    /// The environment block, unfiltered. Variables with a gap in them come out cut, never joined; one that the end of
    /// the capture cuts is left out: half a value misleads, and half an address may show the password in it.
    pub fn env(&self, exec: &Exec) -> &[u8] {
        let env = exec.split(self.bytes).1;
        if exec.header.flags & flag::ENV_TRUNCATED == 0 {
            return env;
        }
        &env[..env.iter().rposition(|&byte| byte == 0).map_or(0, |last| last + 1)]
    }
}

/// Puts one U+FFFD where a chunk could not be read. Its zeros would look like a thousand empty arguments.
fn fill_gaps(args: &[u8], gaps: u64) -> Vec<u8> {
    let mut filled = Vec::with_capacity(args.len());
    for (idx, chunk) in args.chunks(CHUNK_BYTES).enumerate() {
        if idx < 64 && gaps & (1 << idx) != 0 {
            filled.extend_from_slice("\u{fffd}".as_bytes());
        } else {
            filled.extend_from_slice(chunk);
        }
    }
    filled
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The bytes of a record, as the ring would hold them.
    pub(crate) fn bytes_of<T: Copy>(value: &T) -> Vec<u8> {
        let start = std::ptr::from_ref(value).cast::<u8>();
        // SAFETY: `value` is a live reference to `size_of::<T>()` bytes; ABI records have explicit padding only.
        unsafe { std::slice::from_raw_parts(start, size_of::<T>()) }.to_vec()
    }

    /// A record out of such bytes.
    pub(crate) fn read_back<T: Copy>(bytes: &[u8]) -> T {
        assert_eq!(bytes.len(), size_of::<T>());
        // SAFETY: long enough, and ABI records are valid for every bit pattern.
        unsafe { bytes.as_ptr().cast::<T>().read_unaligned() }
    }

    #[test]
    fn empty_arguments_survive_the_last_one_too() {
        let check = |block: &[u8], expect: &[&str]| assert_eq!(split_strings(block).strings, expect);
        check(b"", &[]);
        check(b"\0", &[""]);
        check(b"ls\0", &["ls"]);
        check(b"ls\0\0-l\0", &["ls", "", "-l"]);
        check(b"ls\0\0", &["ls", ""]);
        check(b"ls\0-", &["ls", "-"]);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced_and_flagged() {
        let split = split_strings(b"a\xffb\0ok\0");
        assert_eq!(split.strings, ["a\u{fffd}b", "ok"]);
        assert!(split.is_lossy);
        assert!(!split_strings("\u{fffd}\0".as_bytes()).is_lossy);
    }

    #[test]
    fn an_unreadable_chunk_is_one_mark() {
        let mut args = vec![b'x'; 3 * CHUNK_BYTES];
        args[CHUNK_BYTES..2 * CHUNK_BYTES].fill(0);
        let filled = fill_gaps(&args, 0b10);
        assert_eq!(split_strings(&filled).strings.len(), 1);
        assert_eq!(filled.len(), 2 * CHUNK_BYTES + 3);
    }

    #[test]
    fn paths_run_from_the_root() {
        let mut walk = Walk::<32> { len: 9, depth: 2, bytes: [0; 32] };
        walk.bytes[..9].copy_from_slice(b"true\0bin\0");
        assert_eq!(path(&walk, true), "/bin/true");
        assert_eq!(path(&walk, false), "…/bin/true");
        walk.len = 0;
        assert_eq!(path(&walk, true), "/");
    }

    #[test]
    fn unknown_and_short_records_are_reasons() {
        assert_eq!(decode(&[]).err(), Some(DecodeError::Truncated { got: 0, want: size_of::<Header>() }));
        assert_eq!(decode(&[9; 4096]).err(), Some(DecodeError::UnknownKind(0x0909_0909)));
    }

    proptest! {
        #[test]
        fn junk_never_panics(kind in 0_u32..10, mut bytes in proptest::collection::vec(any::<u8>(), 0..9000)) {
            if let Some(head) = bytes.get_mut(..4) {
                head.copy_from_slice(&kind.to_le_bytes());
            }
            if let Ok(Record::Exec(exec, capture)) = decode(&bytes) {
                let _ = capture.args(&exec);
                let _ = capture.env(&exec);
                let _ = (path(&exec.exe, true), path(&exec.cwd, false), text(exec.filename.as_bytes()));
            }
        }
    }
}
