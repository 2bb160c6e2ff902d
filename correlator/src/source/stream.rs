//! Host events as they flow: standard input, a file that may grow, a Unix socket that sensors write to.

use std::fs::{self, File, FileType};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use flate2::bufread::MultiGzDecoder;

use crate::merge::{Closed, Outlet};
use crate::source::feed::{Feed, Limits, Lines, Outcome};
use crate::source::folder::Positions;
use crate::source::normalize::Normalizer;
use crate::source::stop::Stop;
use crate::source::{Position, RejectedKind, SourceError, SourceItem};

/// One stream of lines.
#[derive(Debug, Clone)]
pub struct Stream {
    /// The name trouble is reported and positions are kept under.
    pub source: Arc<str>,
    pub limits: Limits,
}

/// So many sensors may be connected at once.
const MAX_CONNECTIONS: usize = 256;

/// How often a quiet socket looks whether to stop.
const BREATH: Duration = Duration::from_millis(200);

/// Between looks at something that cannot be followed.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long a quiet pipe is left alone.
const PIPE_BREATH: Duration = Duration::from_millis(50);

/// `O_NONBLOCK`, on every architecture that eBPF sensors run on. Opening a pipe without it waits for a writer, and
/// nothing but a signal to the thread ends that wait.
const O_NONBLOCK: i32 = 0o4000;

/// When a pipe has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PipeEnd {
    /// Never: more writers may come.
    Stop,
    LastWriter,
}

enum Opened {
    File { file: File, inode: u64, at: u64 },
    Pipe(File),
}

/// Refuses what can be opened and never holds lines, and what is read in another way.
///
/// # Errors
/// With the way out.
pub fn refuse(path: &Path, kind: FileType) -> Result<(), SourceError> {
    let (what, way_out) = if kind.is_dir() {
        (
            "a folder",
            "name the file with the sensor's events in it; folders of AWS's logs are given as cloudtrail, guardduty or \
             vpcflow",
        )
    } else if kind.is_socket() {
        ("a socket", "to listen there, remove it and write \"unix:\" before the path")
    } else if kind.is_block_device() {
        ("a disk", "name a file, a pipe or \"-\" for stdin")
    } else {
        return Ok(());
    };
    Err(SourceError::Kind { path: path.to_owned(), what, way_out })
}

impl Stream {
    fn feed<'n>(&self, normalizer: &'n Normalizer, outlet: &Outlet) -> Feed<'n> {
        Feed { source: Arc::clone(&self.source), normalizer, outlet: outlet.clone(), limits: self.limits }
    }

    /// Reads lines to the end of the input.
    ///
    /// # Errors
    /// When nobody takes the records any more.
    pub fn read_once(
        &self,
        name: &str,
        reader: impl Read,
        normalizer: &Normalizer,
        outlet: &Outlet,
    ) -> Result<(), Closed> {
        self.read_lines(name, reader, normalizer, outlet)?;
        outlet.send(SourceItem::End)
    }

    fn read_lines(
        &self,
        name: &str,
        reader: impl Read,
        normalizer: &Normalizer,
        outlet: &Outlet,
    ) -> Result<(), Closed> {
        let feed = self.feed(normalizer, outlet);
        let mut reader = BufReader::with_capacity(64 * 1024, reader);
        let is_packed = io::BufRead::fill_buf(&mut reader).is_ok_and(|head| head.starts_with(&[0x1f, 0x8b]));
        if is_packed {
            let unpacked = BufReader::new(MultiGzDecoder::new(reader));
            return drain(name, &feed, Lines::new(unpacked, self.limits.max_record_bytes));
        }
        drain(name, &feed, Lines::new(reader, self.limits.max_record_bytes))
    }

    /// Reads a reader that cannot be asked to stop, such as stdin: once it is time to stop, quiet is taken for its end.
    ///
    /// # Errors
    /// When nobody takes the records any more.
    pub fn read_until_stopped(
        &self,
        name: &str,
        reader: impl FnOnce() -> Box<dyn Read> + Send + 'static,
        normalizer: &Normalizer,
        outlet: &Outlet,
        stop: &Stop,
    ) -> Result<(), Closed> {
        self.read_once(name, Pumped::start(reader, stop.clone()), normalizer, outlet)
    }

    /// Reads a whole file of host events.
    ///
    /// # Errors
    /// `Ok(Err(_))` when nobody takes the records any more; `Err` when the file cannot be opened.
    pub fn read_file(
        &self,
        path: &Path,
        normalizer: &Normalizer,
        outlet: &Outlet,
    ) -> Result<Result<(), Closed>, SourceError> {
        let read = |source| SourceError::Read { path: path.to_owned(), source };
        let data = fs::metadata(path).map_err(read)?;
        refuse(path, data.file_type())?;
        let file = File::open(path).map_err(read)?;
        Ok(self.read_once(&path.display().to_string(), file, normalizer, outlet))
    }

    /// Follows a file as it grows, is cut, or is replaced by another of its name; waits for one that does not exist.
    ///
    /// # Errors
    /// When nobody takes the records any more.
    pub fn follow_file(
        &self,
        path: &Path,
        poll: Duration,
        normalizer: &Normalizer,
        outlet: &Outlet,
        positions: &dyn Positions,
        stop: &Stop,
    ) -> Result<(), Closed> {
        let feed = self.feed(normalizer, outlet);
        let key = path.display().to_string();
        let mut kept = positions.value(&self.source, &key).and_then(|value| parse_position(&value));
        let mut complaint = None;
        let mut pause = poll;
        loop {
            match open_at(path, kept.take()) {
                Ok(Opened::Pipe(pipe)) => {
                    outlet.send(SourceItem::Opened)?;
                    return self.drain_pipe(&key, pipe, PipeEnd::Stop, &feed, stop);
                }
                Ok(Opened::File { file, inode, at }) => {
                    complaint = None;
                    pause = poll;
                    outlet.send(SourceItem::Opened)?;
                    if self.follow_open(path, file, inode, at, poll, &feed, stop)? {
                        return outlet.send(SourceItem::End);
                    }
                }
                Err(error) => {
                    let text = error.to_string();
                    if complaint.as_ref() != Some(&text) {
                        let reason = format!("{text}; it is tried again");
                        feed.reject(key.clone(), reason, RejectedKind::Unreadable, &mut Outcome::default())?;
                        complaint = Some(text);
                    }
                    outlet.send(SourceItem::Idle)?;
                    if stop.wait(pause) {
                        return outlet.send(SourceItem::End);
                    }
                    // What is there as something else, a device or a folder, will not become a file soon; what is not
                    // there yet may come any moment.
                    if matches!(error, SourceError::Kind { .. }) {
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                }
            }
        }
    }

    /// Reads a named pipe that several writers may open one after another, until the first of them has left.
    ///
    /// # Errors
    /// As [`Self::read_file`].
    pub fn read_pipe(
        &self,
        path: &Path,
        normalizer: &Normalizer,
        outlet: &Outlet,
        stop: &Stop,
    ) -> Result<Result<(), Closed>, SourceError> {
        let feed = self.feed(normalizer, outlet);
        let read = |source| SourceError::Read { path: path.to_owned(), source };
        let pipe = open_pipe(path).map_err(read)?;
        Ok(self.drain_pipe(&path.display().to_string(), pipe, PipeEnd::LastWriter, &feed, stop))
    }

    fn drain_pipe(
        &self,
        name: &str,
        pipe: File,
        end: PipeEnd,
        feed: &Feed<'_>,
        stop: &Stop,
    ) -> Result<(), Closed> {
        let mut lines = Lines::new(BufReader::new(pipe), self.limits.max_record_bytes);
        let mut outcome = Outcome::default();
        let mut has_begun = false;
        loop {
            let is_quiet = match lines.next_line() {
                Ok(Some(line)) => {
                    has_begun = true;
                    feed.line(name, &line, &mut outcome)?;
                    false
                }
                // No writer, for now.
                Ok(None) if has_begun && end == PipeEnd::LastWriter => break,
                Ok(None) => true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
                Err(error) => {
                    let reason = format!("cannot read on: {error}; start again once it can be read");
                    feed.reject(name.to_owned(), reason, RejectedKind::Unreadable, &mut outcome)?;
                    break;
                }
            };
            if is_quiet {
                feed.outlet.send(SourceItem::Idle)?;
                if stop.wait(PIPE_BREATH) {
                    break;
                }
            }
        }
        feed.outlet.send(SourceItem::End)
    }

    /// Says whether it is time to stop; otherwise the file was replaced or cut.
    #[expect(clippy::too_many_arguments, reason = "one open file's state, handed on once")]
    fn follow_open(
        &self,
        path: &Path,
        file: File,
        inode: u64,
        at: u64,
        poll: Duration,
        feed: &Feed<'_>,
        stop: &Stop,
    ) -> Result<bool, Closed> {
        let name = path.display().to_string();
        let mut lines = Lines::new(BufReader::new(file), self.limits.max_record_bytes).starting_at(at);
        let mut outcome = Outcome::default();
        let mut said = at;
        loop {
            // A replacement is gone to only after the old file's last line.
            let is_replaced =
                fs::metadata(path).map_or(true, |data| data.ino() != inode || data.len() < lines.at);
            loop {
                match lines.next_whole() {
                    Ok(Some(line)) => feed.line(&name, &line, &mut outcome)?,
                    Ok(None) => break,
                    Err(error) => {
                        let reason = format!("cannot read on: {error}; it is tried again");
                        feed.reject(name.clone(), reason, RejectedKind::Unreadable, &mut outcome)?;
                        break;
                    }
                }
                if stop.is_set() {
                    break;
                }
            }
            if lines.at != said {
                said = lines.at;
                let value = format!("{inode}:{said}");
                let position = Position { source: Arc::clone(&self.source), key: name.clone(), value };
                feed.outlet.send(SourceItem::Position(position))?;
            }
            if is_replaced {
                return Ok(stop.is_set());
            }
            feed.outlet.send(SourceItem::Idle)?;
            if stop.wait(poll) {
                return Ok(true);
            }
        }
    }

    /// Listens on a Unix socket; each connection is a stream of lines.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn listen(&self, path: &Path) -> Result<Listener, SourceError> {
        let read = |source| SourceError::Listen { path: path.to_owned(), source };
        // A socket left behind by an earlier run answers nobody.
        let is_stale = fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket())
            && UnixStream::connect(path).is_err();
        if is_stale {
            fs::remove_file(path).map_err(read)?;
        }
        let listener = UnixListener::bind(path).map_err(read)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(read)?;
        listener.set_nonblocking(true).map_err(read)?;
        Ok(Listener { stream: self.clone(), listener, path: path.to_owned() })
    }
}

/// A bound socket.
#[derive(Debug)]
pub struct Listener {
    stream: Stream,
    listener: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Serves until told to stop; then the socket's file is removed.
    ///
    /// # Errors
    /// When nobody takes the records any more.
    pub fn run(self, normalizer: &Normalizer, outlet: &Outlet, stop: &Stop) -> Result<(), Closed> {
        let n_open = AtomicUsize::new(0);
        let n_open = &n_open;
        let result = std::thread::scope(|scope| {
            loop {
                match self.listener.accept() {
                    Ok((connection, _)) if n_open.load(Ordering::Relaxed) < MAX_CONNECTIONS => {
                        n_open.fetch_add(1, Ordering::Relaxed);
                        let stream = &self.stream;
                        let path = &self.path;
                        scope.spawn(move || {
                            // Closed is seen by the loop, too.
                            let name = path.display().to_string();
                            let _ = stream.serve(&name, Vec::new(), connection, normalizer, outlet, stop);
                            n_open.fetch_sub(1, Ordering::Relaxed);
                        });
                    }
                    Ok((refused, _)) => drop(refused),
                    Err(_) => {
                        if n_open.load(Ordering::Relaxed) == 0 {
                            outlet.send(SourceItem::Idle)?;
                        }
                        if stop.wait(BREATH) {
                            return Ok(());
                        }
                    }
                }
            }
        });
        // The socket may have been taken away by somebody else.
        let _ = fs::remove_file(&self.path);
        result.and_then(|()| outlet.send(SourceItem::End))
    }
}

impl Stream {
    /// Reads lines of one connection, of which `head` was read before.
    ///
    /// # Errors
    /// When nobody takes the records any more.
    pub(crate) fn serve(
        &self,
        name: &str,
        head: Vec<u8>,
        connection: UnixStream,
        normalizer: &Normalizer,
        outlet: &Outlet,
        stop: &Stop,
    ) -> Result<(), Closed> {
        let feed = self.feed(normalizer, outlet);
        let mut outcome = Outcome::default();
        if connection.set_nonblocking(false).and_then(|()| connection.set_read_timeout(Some(BREATH))).is_err()
        {
            return Ok(());
        }
        let reader = BufReader::new(io::Cursor::new(head).chain(connection));
        let mut lines = Lines::new(reader, self.limits.max_record_bytes);
        loop {
            match lines.next_line() {
                Ok(Some(line)) => feed.host_line(name, &line, &mut outcome)?,
                Ok(None) => return Ok(()),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    if stop.is_set() {
                        return Ok(());
                    }
                }
                Err(_) => return Ok(()),
            }
        }
    }
}

/// A reader behind a thread of its own. That thread may wait in a read for ever; whoever reads from here does not.
struct Pumped {
    rx: Receiver<io::Result<Vec<u8>>>,
    held: io::Cursor<Vec<u8>>,
    stop: Stop,
}

impl Pumped {
    fn start(reader: impl FnOnce() -> Box<dyn Read> + Send + 'static, stop: Stop) -> Self {
        let (tx, rx) = sync_channel(4);
        std::thread::spawn(move || {
            let mut reader = reader();
            loop {
                let mut chunk = vec![0; 64 * 1024];
                let read = match reader.read(&mut chunk) {
                    Ok(0) => return,
                    Ok(n_read) => {
                        chunk.truncate(n_read);
                        Ok(chunk)
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => Err(error),
                };
                let is_over = read.is_err();
                if tx.send(read).is_err() || is_over {
                    return;
                }
            }
        });
        Self { rx, held: io::Cursor::default(), stop }
    }
}

impl Read for Pumped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let n_read = self.held.read(buffer)?;
            if n_read > 0 {
                return Ok(n_read);
            }
            match self.rx.recv_timeout(BREATH) {
                Ok(chunk) => self.held = io::Cursor::new(chunk?),
                Err(RecvTimeoutError::Timeout) if !self.stop.is_set() => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(0),
            }
        }
    }
}

fn drain<R: io::BufRead>(name: &str, feed: &Feed<'_>, mut lines: Lines<R>) -> Result<(), Closed> {
    let mut outcome = Outcome::default();
    loop {
        match lines.next_line() {
            Ok(Some(line)) => feed.line(name, &line, &mut outcome)?,
            Ok(None) => return Ok(()),
            Err(error) => {
                feed.settle(&mut outcome);
                let at = format!("{name}, byte {}", lines.at);
                let reason = format!(
                    "truncated or damaged: {error}; the {} records before it were read, the rest is lost",
                    outcome.n_records
                );
                return feed.reject(at, reason, RejectedKind::Truncated, &mut outcome);
            }
        }
    }
}

/// `inode:offset`, as kept.
fn parse_position(value: &str) -> Option<(u64, u64)> {
    let (inode, at) = value.split_once(':')?;
    Some((inode.parse().ok()?, at.parse().ok()?))
}

/// Opens the file where it was left, if it is still the same one.
fn open_at(path: &Path, kept: Option<(u64, u64)>) -> Result<Opened, SourceError> {
    let read = |source| SourceError::Read { path: path.to_owned(), source };
    // Looked at before it is opened: opening a pipe waits, and opening a device may do anything.
    let kind = fs::metadata(path).map_err(read)?.file_type();
    refuse(path, kind)?;
    if kind.is_char_device() {
        let way_out = "its lines cannot be followed; write \"-\" to read them from stdin";
        return Err(SourceError::Kind { path: path.to_owned(), what: "a device", way_out });
    }
    if kind.is_fifo() {
        return open_pipe(path).map(Opened::Pipe).map_err(read);
    }
    let mut file = File::open(path).map_err(read)?;
    let data = file.metadata().map_err(read)?;
    let at = kept.filter(|(inode, at)| *inode == data.ino() && *at <= data.len()).map_or(0, |(_, at)| at);
    file.seek(SeekFrom::Start(at)).map_err(read)?;
    Ok(Opened::File { file, inode: data.ino(), at })
}

fn open_pipe(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(O_NONBLOCK).open(path)
}

#[cfg(test)]
mod tests;
