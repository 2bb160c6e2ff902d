//! Dead letters once more: sent at once and past the queue, so that it can be done while a run goes on. What is taken leaves
//! the file; the rest stays, whole.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::backoff::{Backoff, within_reason};
use super::dead;
use super::transport::{Answer, Item, Transport, Verdict};
use super::{SinkError, open};
use crate::config::sinks::{Sink, duration};
use crate::health::millis;
use crate::time;

/// A portion is tried so often before the rest is left.
const MAX_TRIES: u32 = 5;
/// A receiver that wants to be left alone for longer is.
const PATIENCE: Duration = Duration::from_secs(60);

/// What became of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Resent {
    pub n_taken: u64,
    /// Refused again.
    pub n_refused: u64,
    /// Not asked of to the end, since the receiver takes nothing now.
    pub n_left: u64,
    /// Lines of the file that are no dead letter.
    pub n_unreadable: u64,
    /// What the receiver said last of one that it did not take.
    pub reason: Option<String>,
}

impl Resent {
    pub fn is_all_taken(&self) -> bool {
        self.n_refused + self.n_left + self.n_unreadable == 0
    }
}

/// Why nothing was sent, or the file could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum ResendError {
    #[error(transparent)]
    Sink(#[from] SinkError),
    #[error("cannot make a runtime: {0}")]
    Runtime(io::Error),
    #[error("cannot use the dead letters in \"{}\": {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

/// Where a sink's dead letters are. None: it needs a store, whose folder they lie in.
pub fn letters_of(sink: &Sink, store: Option<&Path>) -> Option<PathBuf> {
    let beside = || store.map(|store| dead::default_path(store, &sink.name));
    sink.dead_letters.clone().or_else(beside)
}

/// Sends what is in the file.
///
/// # Errors
/// The settings cannot be used, or the file cannot be read or written.
pub fn resend(sink: &Sink, path: &Path) -> Result<Resent, ResendError> {
    let transport = open(sink)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ResendError::Runtime)?;
    let mut sender = Sender { sink, transport, sent: Resent::default(), left: Vec::new() };
    let failed = |source| ResendError::File { path: path.to_owned(), source };
    let aside = aside(path);
    if let Ok(file) = File::open(&aside) {
        // An earlier one that was killed has left its letters there, or another is at them: then it is waited for.
        file.lock().map_err(failed)?;
        if dead::is_at(&file, &aside) {
            put_back(path, &lines_of(&file).map_err(failed)?).map_err(failed)?;
            fs::remove_file(&aside).map_err(failed)?;
        }
    }
    let Some(file) = set_aside(path, &aside).map_err(failed)? else { return Ok(sender.sent) };
    runtime.block_on(sender.send(lines_of(&file).map_err(failed)?));
    // Back to where they were, before they go from here: a crash in between doubles them, and loses none.
    put_back(path, &sender.left).map_err(failed)?;
    fs::remove_file(&aside).map_err(failed)?;
    runtime.shutdown_background();
    Ok(sender.sent)
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".resending");
    name.into()
}

/// The letters, locked; workers that go on append to a new file. None: there are none.
fn set_aside(path: &Path, aside: &Path) -> io::Result<Option<File>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    // Whoever is writing to it, or sending what is in it, comes to an end first.
    file.lock()?;
    if !dead::is_at(&file, path) {
        return Ok(None);
    }
    fs::rename(path, aside)?;
    Ok(Some(file))
}

/// A line that was cut inside of a character is one that cannot be read, as any that was cut.
fn lines_of(file: &File) -> io::Result<Vec<String>> {
    let lines = BufReader::new(file).split(b'\n');
    lines.map(|line| Ok(String::from_utf8_lossy(&line?).into_owned())).collect()
}

fn put_back(path: &Path, lines: &[String]) -> io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    dead::append(path, &text)
}

struct Sender<'s> {
    sink: &'s Sink,
    transport: Box<dyn Transport + Send>,
    sent: Resent,
    left: Vec<String>,
}

impl Sender<'_> {
    async fn send(&mut self, lines: Vec<String>) {
        let portion = self.transport.portion();
        let mut lines = lines.into_iter().filter(|line| !line.trim().is_empty()).peekable();
        let mut is_over = false;
        while lines.peek().is_some() {
            let (mut items, mut texts, mut n_bytes) = (Vec::new(), Vec::new(), 0);
            while items.len() < portion.items
                && let Some(line) =
                    lines.next_if(|line| items.is_empty() || n_bytes + line.len() <= portion.bytes)
            {
                match letter(&line, items.len() as i64) {
                    Some(item) => {
                        n_bytes += line.len();
                        items.push(item);
                        texts.push(line);
                    }
                    None => {
                        self.sent.n_unreadable += 1;
                        self.left.push(line);
                    }
                }
            }
            if items.is_empty() {
                continue;
            }
            if is_over {
                self.sent.n_left += items.len() as u64;
                self.left.append(&mut texts);
                continue;
            }
            is_over = !self.portion(items, texts).await;
        }
    }

    /// Until each is taken, refused, or was asked of often enough. False: the receiver takes nothing now.
    async fn portion(&mut self, mut items: Vec<Item>, mut texts: Vec<String>) -> bool {
        let mut backoff = Backoff::new(duration(self.sink.retry_from), duration(self.sink.retry_to));
        let mut n_alone = 0;
        for _ in 0..MAX_TRIES {
            let mut wish = None;
            // Those at the front that go one by one are no further try.
            loop {
                let n = if n_alone > 0 { 1 } else { items.len() };
                let answer = self.ask(&items[..n]).await;
                let is_refused = |verdict: &Verdict| matches!(verdict, Verdict::Refused(_));
                if answer.is_whole && n > 1 && answer.verdicts.iter().all(is_refused) {
                    n_alone = n;
                    continue;
                }
                n_alone = n_alone.saturating_sub(1);
                wish = wish.max(answer.retry_after);
                let has_later = self.sort(answer, &mut items, &mut texts);
                if items.is_empty() {
                    return true;
                }
                if has_later {
                    break;
                }
            }
            let pause = backoff.next(wish);
            if within_reason(wish) > PATIENCE {
                break;
            }
            tokio::time::sleep(pause.min(PATIENCE)).await;
        }
        self.sent.n_left += items.len() as u64;
        self.left.append(&mut texts);
        false
    }

    async fn ask(&mut self, items: &[Item]) -> Answer {
        let wait = duration(self.sink.timeout);
        let late = || Verdict::Later(format!("no answer within {} ms", wait.as_millis()));
        let deadline = Instant::now() + wait;
        let answer = tokio::time::timeout_at(deadline, self.transport.send(items)).await;
        answer.unwrap_or_else(|_late| Answer::whole(items.len(), late()))
    }

    /// Leaves those in `items` that may be taken another time. Whether there are any.
    fn sort(&mut self, answer: Answer, items: &mut Vec<Item>, texts: &mut Vec<String>) -> bool {
        let n = answer.verdicts.len();
        let (rest, rest_texts) = (items.split_off(n), texts.split_off(n));
        let asked = std::mem::take(items).into_iter().zip(std::mem::take(texts));
        for ((item, text), verdict) in asked.zip(answer.verdicts) {
            match verdict {
                Verdict::Taken => self.sent.n_taken += 1,
                Verdict::Refused(reason) => {
                    self.sent.n_refused += 1;
                    self.sent.reason = Some(reason);
                    self.left.push(text);
                }
                Verdict::Later(reason) => {
                    self.sent.reason = Some(reason);
                    items.push(item);
                    texts.push(text);
                }
            }
        }
        let has_later = !items.is_empty();
        items.extend(rest);
        texts.extend(rest_texts);
        has_later
    }
}

/// As [`dead::DeadLetters::put`] wrote it.
fn letter(line: &str, seq: i64) -> Option<Item> {
    let mut letter: Value = serde_json::from_str(line).ok()?;
    let alert_id = letter["alert_id"].as_str()?.to_owned();
    let revision = u32::try_from(letter["revision"].as_u64()?).ok()?;
    let document = letter.get_mut("document").map(Value::take).filter(Value::is_object)?;
    // Its own time: where a receiver has a later revision, this is not to look newer.
    let queued_ms = millis(time::parse(letter["@timestamp"].as_str()?)?);
    Some(Item { seq, alert_id, revision, queued_ms, document: document.into() })
}
