//! Lists that change while a run goes on: their files are looked at every few seconds, and read once they have changed and
//! nobody is writing them any more. Where one cannot be read, all stay as they are.

use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::{info, warn};

use super::load::ListFiles;
use crate::health::Board;
use crate::source::normalize::Normalizer;

const LOOK: Duration = Duration::from_secs(2);

/// The files of the configuration that is in force.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    files: Arc<Mutex<ListFiles>>,
    /// A reload has put lists in place that it may have read before we did.
    is_replaced: Arc<AtomicBool>,
    read: Vec<Mark>,
}

impl Watched {
    /// To be called before they are read: what is written from then on is a change.
    pub(super) fn new(files: ListFiles) -> Self {
        Self { read: marks(&files), files: Arc::new(Mutex::new(files)), is_replaced: Arc::default() }
    }

    pub(super) fn set(&self, files: ListFiles) {
        *self.files.lock().unwrap_or_else(PoisonError::into_inner) = files;
        self.is_replaced.store(true, Ordering::Release);
    }

    fn get(&self) -> ListFiles {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks from here on, on a thread of its own that ends with the process.
    pub(super) fn start(&self, normalizer: Arc<Normalizer>, board: Arc<Board>) {
        let watched = self.clone();
        let mut look = Look::new(watched.read.clone());
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(LOOK);
                let files = watched.get();
                if watched.is_replaced.swap(false, Ordering::AcqRel) {
                    look.read.clear();
                }
                if look.has_changed(marks(&files)) {
                    take_over(&files, &normalizer, &board);
                }
            }
        });
    }
}

fn take_over(files: &ListFiles, normalizer: &Normalizer, board: &Board) {
    let (lists, remarks) = files.load();
    for remark in &remarks {
        warn!(reason = remark.text.as_str(), "a list has changed");
    }
    if remarks.iter().any(|remark| remark.is_error) {
        board.refuse_reload();
        warn!("the lists are not taken over: the run goes on with those it has");
        return;
    }
    let indicators = lists.indicators.len();
    normalizer.replace_lists(Arc::new(lists));
    info!(indicators, "lists have changed and were read again");
}

/// What tells a file from what it was: when it was written or who may read it was changed, how long it is, and which file it is. None: it is not there.
type Mark = Option<(i64, i64, u64, u64)>;

fn marks(files: &ListFiles) -> Vec<Mark> {
    let mark = |path: &std::path::Path| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.ctime(), found.ctime_nsec(), found.len(), found.ino()))
    };
    files.paths().map(mark).collect()
}

/// What was read last, and what was seen last.
struct Look {
    read: Vec<Mark>,
    seen: Vec<Mark>,
}

impl Look {
    fn new(marks: Vec<Mark>) -> Self {
        Self { read: marks.clone(), seen: marks }
    }

    /// Whether the files are to be read: they are not what was read, and the same as at the last look.
    fn has_changed(&mut self, now: Vec<Mark>) -> bool {
        let is_settled = now == self.seen;
        self.seen = now;
        if !is_settled || self.seen == self.read {
            return false;
        }
        self.read.clone_from(&self.seen);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Geo, IndicatorFile};
    use crate::source::Origin;

    #[test]
    fn a_file_is_read_once_nobody_writes_it_any_more() {
        let mark = |n| vec![Some((n, 0, 1, 1))];
        let mut look = Look::new(mark(0));
        assert!(!look.has_changed(mark(0)));
        assert!(!look.has_changed(mark(1)), "it may be written still");
        assert!(!look.has_changed(mark(2)));
        assert!(look.has_changed(mark(2)));
        assert!(!look.has_changed(mark(2)), "once");
        assert!(!look.has_changed(vec![None]));
        assert!(look.has_changed(vec![None]), "one that is gone is a change, too");
    }

    #[test]
    fn lists_are_taken_over_and_stay_where_one_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.txt");
        let list = IndicatorFile {
            path: path.clone(),
            provider: "list".to_owned(),
            confidence: None,
            labels: Vec::new(),
        };
        let geo = Geo { asn: Some(folder.path().join("asn.mmdb")), city: None };
        let mut files = ListFiles { indicators: vec![list], geo: Geo::default() };
        let normalizer = Normalizer::new(Arc::new(rules::schema::Schema::builtin()), Arc::default());
        let board = Board::default();
        let is_listed = |ip: &str| {
            let text = format!(r#"{{"@timestamp":"2026-11-02T10:00:00Z","destination":{{"ip":"{ip}"}}}}"#);
            normalizer.read(Origin::Sensor, text).unwrap().document().get("threat").is_some()
        };
        std::fs::write(&path, "192.0.2.66\n").unwrap();
        take_over(&files, &normalizer, &board);
        assert!(is_listed("192.0.2.66"));
        std::fs::write(&path, "192.0.2.67\n").unwrap();
        files.geo = geo;
        take_over(&files, &normalizer, &board);
        assert!(is_listed("192.0.2.66") && !is_listed("192.0.2.67"), "the file of networks is not there");
        files.geo = Geo::default();
        take_over(&files, &normalizer, &board);
        assert!(!is_listed("192.0.2.66") && is_listed("192.0.2.67"));
    }
}
