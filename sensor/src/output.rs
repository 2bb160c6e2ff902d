//! Where lines go: stdout, a file, or a Unix socket. It knows bytes and lines, not what they mean.

mod gauge;
mod socket;
mod spooled;

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use crate::config::OutputConfig;
use crate::private;
use crate::privileges;
use crate::spool::{GivenUp, SpoolError};
use gauge::{Gauge, n_lines};
use spooled::Shown;
pub use spooled::{WireState, greet};

/// Bytes that may wait for the writer. A full channel makes the reader wait, and the ring then counts what it loses.
const MAX_WAITING_BYTES: usize = 8 << 20;

#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    #[error("cannot open \"{path}\" for events: check that its folder exists and is writable")]
    Open { path: String, source: io::Error },
    #[error("cannot write events, {n_lost} are lost: make room or choose another output")]
    Write { n_lost: u64, source: io::Error },
    #[error(transparent)]
    Spool(SpoolError),
    #[error("nobody took the last {n_lost} events, they are lost: check who reads them")]
    Untaken { n_lost: u64 },
}

/// The sending end. Lines are written in the order they were sent.
#[derive(Debug)]
pub struct Output {
    sender: UnboundedSender<Batch>,
    room: Arc<Semaphore>,
    gauge: Arc<Gauge>,
    /// Where there is a spool: how it is, and what of its losses an earlier run told.
    wire: Option<(Arc<Shown>, GivenUp)>,
    /// What became of the writer. A thread that is stuck in a write can be waited for no longer than one likes: nobody
    /// joins it.
    ended: oneshot::Receiver<io::Result<()>>,
}

/// Whole lines, and the room they take up while they wait.
#[derive(Debug)]
struct Batch {
    lines: Vec<u8>,
    told: Option<Telling>,
    _room: OwnedSemaphorePermit,
}

impl Batch {
    /// How much may stay of what was written: whole lines, and of those that tell of losses all or none.
    fn n_whole(&self, n_written: usize) -> usize {
        let n_whole =
            self.lines[..n_written].iter().rposition(|&byte| byte == b'\n').map_or(0, |idx| idx + 1);
        match &self.told {
            Some(told) if told.lines.contains(&n_whole) => told.lines.start,
            _ => n_whole,
        }
    }

    fn written(self, n_bytes: usize) {
        if let Some(told) = self.told.filter(|told| told.lines.end <= n_bytes) {
            told.written();
        }
    }
}

/// What some lines of a batch tell of losses. Dropped before they are written it has told nothing.
#[derive(Debug)]
pub struct Telling {
    /// Where these lines are.
    pub lines: Range<usize>,
    /// Up to where they tell of the spool's losses.
    pub spool: Option<GivenUp>,
    pub written: oneshot::Sender<()>,
}

impl Telling {
    fn written(self) {
        // Who does not wait for it any more has ended.
        _ = self.written.send(());
    }
}

/// Room for one batch.
#[derive(Debug)]
pub struct Place<'a> {
    output: &'a Output,
    room: OwnedSemaphorePermit,
}

impl Place<'_> {
    pub fn send(self, lines: Vec<u8>) {
        self.send_telling(lines, None);
    }

    /// Sends lines, among which are such as tell of losses.
    pub fn send_telling(self, lines: Vec<u8>, told: Option<Telling>) {
        self.output.gauge.taken(&lines);
        // If the writer is gone the gauge shows these lines as lost, like all others that it did not write.
        _ = self.output.sender.send(Batch { lines, told, _room: self.room });
    }
}

impl Output {
    /// Opens the output for the events of a host. Must be called inside the runtime.
    ///
    /// # Errors
    /// `Open` if a file cannot be, `Spool` if the spool cannot. A socket or a correlator that is not there yet is waited for
    /// instead.
    pub fn open(config: &OutputConfig, host: &str) -> Result<Self, OutputError> {
        let (sender, receiver) = unbounded_channel();
        let (end, ended) = oneshot::channel();
        let gauge = Arc::new(Gauge::default());
        let seen = Arc::clone(&gauge);
        let mut wire = None;
        match config {
            OutputConfig::Stdout => {
                write_from_a_thread(move || _ = end.send(write_all(receiver, io::stdout(), &seen)));
            }
            OutputConfig::File(path) => {
                let file = append_to(path)?;
                write_from_a_thread(move || _ = end.send(write_file(receiver, file, &seen)));
            }
            OutputConfig::Correlator(config) => {
                let shown = Arc::new(Shown::default());
                let told = spooled::start(config, host, receiver, seen, Arc::clone(&shown), end)?;
                wire = Some((shown, told));
            }
            OutputConfig::Socket(path) => {
                let path = path.clone();
                tokio::spawn(async move {
                    socket::run(path, receiver, &seen).await;
                    _ = end.send(Ok(()));
                });
            }
        }
        Ok(Self { sender, room: Arc::new(Semaphore::new(MAX_WAITING_BYTES)), gauge, wire, ended })
    }

    /// A place for a batch of so many bytes; waits while the writer is behind. Nothing once there is no writer any more.
    pub async fn reserve(&self, n_bytes: usize) -> Option<Place<'_>> {
        // A batch beyond all room goes when everything before it is gone.
        let n_permits = u32::try_from(n_bytes.min(MAX_WAITING_BYTES)).expect("the room is counted in u32");
        tokio::select! {
            biased;
            () = self.sender.closed() => None,
            room = Arc::clone(&self.room).acquire_many_owned(n_permits) => {
                Some(Place { output: self, room: room.ok()? })
            }
        }
    }

    /// Counts lines as lost for which no place was to be had.
    pub fn give_up(&self, lines: &[u8]) {
        self.gauge.taken(lines);
    }

    /// Events that were taken and then dropped, because nobody listened for too long or there was no room for them; those that
    /// can be told of, and how many more there are.
    pub fn n_lost(&self) -> (u64, u64) {
        let tellable = self.gauge.n_tellable();
        (tellable, self.gauge.n_dropped().saturating_sub(tellable))
    }

    /// How the wire to the correlator is, where there is one.
    pub fn wire(&self) -> Option<WireState> {
        self.wire.as_ref().map(|(shown, _)| shown.get())
    }

    /// What of the spool's losses an earlier run told already.
    pub fn told_before(&self) -> GivenUp {
        self.wire.as_ref().map_or_else(GivenUp::default, |(_, told)| *told)
    }

    /// Bytes that wait for the writer.
    pub fn n_waiting(&self) -> u64 {
        MAX_WAITING_BYTES.saturating_sub(self.room.available_permits()) as u64
    }

    /// Writes what is under way and closes, if that is done in time.
    ///
    /// # Errors
    /// What stopped the writer, or how much it did not get rid of. A reader that went away is no error: `… | head` is a
    /// usual thing to say.
    pub async fn finish(self, patience: Duration) -> Result<(), OutputError> {
        let Self { sender, gauge, ended, .. } = self;
        drop(sender);
        let ended = timeout(patience, ended).await;
        let n_lost = gauge.n_unwritten();
        match ended {
            Ok(Ok(Err(err))) if err.kind() == ErrorKind::BrokenPipe => {
                tracing::warn!(n_lost, "the reader of the events went away");
                Ok(())
            }
            Ok(Ok(Err(source))) => Err(OutputError::Write { n_lost, source }),
            _ if n_lost > 0 => Err(OutputError::Untaken { n_lost }),
            _ => Ok(()),
        }
    }
}

/// A write can take for ever, and needs no power: what it writes to is open.
fn write_from_a_thread(write: impl FnOnce() + Send + 'static) {
    std::thread::spawn(move || {
        privileges::drop_all();
        write();
    });
}

/// Event files hold command lines: the owner alone may read them.
fn append_to(path: &Path) -> Result<File, OutputError> {
    private::append_to(path).map_err(|source| OutputError::Open { path: path.display().to_string(), source })
}

/// As [`write_all`], but for a full disk: that costs what comes meanwhile and not the sensor. The error is told at the end.
fn write_file(receiver: UnboundedReceiver<Batch>, mut file: File, gauge: &Gauge) -> io::Result<()> {
    // What cannot be cut, such as a pipe, does not fill up either.
    let cut = |file: &mut File, n_bytes: u64| {
        file.metadata().and_then(|data| file.set_len(data.len().saturating_sub(n_bytes)))
    };
    write_with_room(receiver, &mut file, cut, gauge)
}

fn write_with_room<W: Write>(
    mut receiver: UnboundedReceiver<Batch>,
    to: &mut W,
    cut: impl Fn(&mut W, u64) -> io::Result<()>,
    gauge: &Gauge,
) -> io::Result<()> {
    let (mut first, mut is_full) = (Ok(()), false);
    while let Some(batch) = receiver.blocking_recv() {
        let (n_bytes, result) = write(&batch.lines, &mut *to);
        let n_whole = if result.is_ok() { n_bytes } else { batch.n_whole(n_bytes) };
        gauge.written(&batch.lines[..n_whole]);
        match result {
            Ok(()) => {
                is_full = false;
                gauge.works();
                batch.written(n_whole);
            }
            Err(err) if matches!(err.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                gauge.dropped(n_lines(&batch.lines[n_whole..]));
                let n_cut = n_bytes - n_whole;
                batch.written(n_whole);
                if n_cut > 0 && cut(to, n_cut as u64).is_err() {
                    // Then the half line at least stays one of its own.
                    _ = to.write_all(b"\n");
                }
                if !is_full {
                    tracing::error!(%err, "events are lost until there is room again");
                }
                is_full = true;
                if first.is_ok() {
                    first = Err(err);
                }
            }
            Err(err) => return Err(err),
        }
    }
    first
}

fn write_all(mut receiver: UnboundedReceiver<Batch>, mut to: impl Write, gauge: &Gauge) -> io::Result<()> {
    while let Some(batch) = receiver.blocking_recv() {
        let (n_bytes, result) = write(&batch.lines, &mut to);
        gauge.written(&batch.lines[..n_bytes]);
        result?;
        batch.written(n_bytes);
    }
    Ok(())
}

/// As `write_all`, but says how far it came.
fn write(lines: &[u8], to: &mut impl Write) -> (usize, io::Result<()>) {
    let mut n_bytes = 0;
    while n_bytes < lines.len() {
        match to.write(&lines[n_bytes..]) {
            Ok(0) => return (n_bytes, Err(ErrorKind::WriteZero.into())),
            Ok(n) => n_bytes += n,
            Err(err) if err.kind() == ErrorKind::Interrupted => {}
            Err(err) => return (n_bytes, Err(err)),
        }
    }
    (n_bytes, to.flush())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsRawFd;

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    /// An output into a pipe, opened by its path as a FIFO would be.
    fn into_pipe(writer: &io::PipeWriter) -> Output {
        let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
        Output::open(&OutputConfig::File(path.into()), "web-1").expect("opened")
    }

    #[tokio::test]
    async fn a_file_is_appended_to_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("events.ndjson");
        for line in ["one\n", "two\n"] {
            let output = Output::open(&OutputConfig::File(path.clone()), "web-1").expect("opened");
            output.reserve(line.len()).await.expect("a writer").send(line.into());
            output.finish(LONG).await.expect("written");
        }
        assert_eq!(std::fs::read_to_string(&path).expect("readable"), "one\ntwo\n");
        let mode = std::fs::metadata(&path).expect("exists").permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_is_named() {
        let err =
            Output::open(&OutputConfig::File("/nowhere/events".into()), "web-1").expect_err("no such folder");
        assert_eq!(
            err.to_string(),
            "cannot open \"/nowhere/events\" for events: check that its folder exists and is writable"
        );
    }

    #[test]
    fn a_reader_that_is_stuck_holds_up_neither_the_end_nor_the_runtime() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let (told, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let result = runtime.block_on(async {
                let output = into_pipe(&writer);
                let lines = b"0123456\n".repeat(1 << 17);
                output.reserve(lines.len()).await.expect("a writer").send(lines);
                output.reserve(2).await.expect("a writer").send(b"x\n".to_vec());
                output.finish(Duration::from_millis(100)).await
            });
            drop(runtime);
            told.send(result).expect("waited for");
        });
        let result = ended.recv_timeout(LONG).expect("the end comes although nobody reads");
        let Err(OutputError::Untaken { n_lost }) = result else { panic!("{result:?}") };
        // Neither batch was written to its end: none is known to have arrived.
        assert_eq!(n_lost, (1 << 17) + 1);
        reader.read_exact(&mut [0; 8]).expect("the writer lives on until the process ends");
    }

    #[tokio::test]
    async fn a_full_disk_says_how_many_lines_it_cost() {
        let output = Output::open(&OutputConfig::File("/dev/full".into()), "web-1").expect("opened");
        for lines in ["1\n2\n", "3\n"] {
            output.reserve(lines.len()).await.expect("the writer goes on").send(lines.into());
        }
        let err = output.finish(LONG).await.expect_err("nothing was written");
        assert_eq!(err.to_string(), "cannot write events, 3 are lost: make room or choose another output");
    }

    /// A disk with room for so many bytes, and for all after it was full three times.
    struct Disk {
        bytes: Vec<u8>,
        room: usize,
        n_full: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n = bytes.len().min(self.room);
            if n == 0 {
                self.n_full += 1;
                self.room = if self.n_full == 3 { usize::MAX } else { 0 };
                return Err(ErrorKind::StorageFull.into());
            }
            self.room -= n;
            self.bytes.extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_disk_with_room_again_is_written_to_again_and_holds_whole_lines() {
        let (sender, receiver) = unbounded_channel();
        let room = Arc::new(Semaphore::new(1 << 10));
        for lines in ["one\ntwo\nthree\n", "four\n", "five\n", "six\nseven\n"] {
            let room = Arc::clone(&room).try_acquire_many_owned(1).expect("room");
            sender.send(Batch { lines: lines.into(), told: None, _room: room }).expect("taken");
        }
        drop(sender);
        let gauge = Gauge::default();
        let mut disk = Disk { bytes: Vec::new(), room: 6, n_full: 0 };
        let cut = |disk: &mut Disk, n: u64| {
            disk.bytes.truncate(disk.bytes.len() - n as usize);
            Ok(())
        };
        let told = write_with_room(receiver, &mut disk, cut, &gauge);
        assert_eq!(told.expect_err("it was full").kind(), ErrorKind::StorageFull);
        assert_eq!(String::from_utf8_lossy(&disk.bytes), "one\nsix\nseven\n");
        assert_eq!(gauge.n_dropped(), 4);
    }

    #[test]
    fn lines_of_loss_that_do_not_all_fit_are_cut_and_have_told_nothing() {
        let (sender, receiver) = unbounded_channel();
        let send = |lines: &str, told: Range<usize>| {
            let room = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("room");
            let (written, fate) = oneshot::channel();
            let told = Some(Telling { lines: told, spool: None, written });
            sender.send(Batch { lines: lines.into(), told, _room: room }).expect("taken");
            fate
        };
        // The first disk's edge is behind the loss of the first batch and within that of the second.
        let mut fates =
            [send("lost 1\none\n", 0..7), send("two\nlost 2\nlost 3\n", 4..18), send("lost 4\n", 0..7)];
        drop(sender);
        let (gauge, mut disk) = (Gauge::default(), Disk { bytes: Vec::new(), room: 24, n_full: 1 });
        let cut = |disk: &mut Disk, n: u64| {
            disk.bytes.truncate(disk.bytes.len() - n as usize);
            Ok(())
        };
        _ = write_with_room(receiver, &mut disk, cut, &gauge).expect_err("it was full");
        assert_eq!(String::from_utf8_lossy(&disk.bytes), "lost 1\none\ntwo\n");
        assert_eq!(gauge.n_dropped(), 3);
        assert_eq!(fates.each_mut().map(|fate| fate.try_recv().is_ok()), [true, false, false]);
    }

    #[tokio::test]
    async fn what_waits_is_bounded_in_bytes() {
        let (_reader, writer) = io::pipe().expect("a pipe");
        let output = into_pipe(&writer);
        let batch = vec![b'x'; 1 << 20];
        let mut n_taken = 0;
        while let Ok(place) = timeout(Duration::from_millis(200), output.reserve(batch.len())).await {
            place.expect("a writer").send(batch.to_vec());
            n_taken += 1;
        }
        assert_eq!(n_taken, MAX_WAITING_BYTES >> 20);
    }

    #[tokio::test]
    async fn a_reader_that_went_away_is_no_failure() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let output = into_pipe(&writer);
        drop(reader);
        output.reserve(2).await.expect("a writer").send(b"x\n".to_vec());
        output.finish(LONG).await.expect("as head does");
    }

    #[tokio::test]
    async fn a_listener_that_is_stuck_costs_the_exit_code() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("sock");
        let _listener = tokio::net::UnixListener::bind(&path).expect("bound");
        let output = Output::open(&OutputConfig::Socket(path), "web-1").expect("opened");
        let lines = b"0123456\n".repeat(1 << 17);
        output.reserve(lines.len()).await.expect("a writer").send(lines);
        let err = output.finish(Duration::from_millis(200)).await.expect_err("nobody reads");
        assert!(matches!(err, OutputError::Untaken { n_lost } if n_lost == 1 << 17), "{err}");
    }
}
