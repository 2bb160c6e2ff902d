//! Rule files read and compiled on every processor. A schema gives out numbers as fields are first named, so a file that
//! names a new one is left to be compiled again in its turn, where the numbers are the same in every run.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::report::Finding;
use super::{is_drop_list, walk};
use crate::expr::Expr;
use crate::rule::{Rule, file};
use crate::schema::Schema;

/// A text of a page is compiled in a fraction of a millisecond: threads for a handful are not worth their start.
const MIN_PER_THREAD: usize = 32;
const MAX_THREADS: usize = 16;

/// One file: its text, and what was made of it where that needs no new field.
pub(super) struct ReadFile {
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) compiled: Option<(Option<Rule<Expr>>, Vec<Finding>)>,
}

pub(super) type Outcome = Result<ReadFile, walk::Unreadable>;

/// Reads the files; the outcomes are in their order. `watch` hears how many are done.
pub(super) fn all(
    files: Vec<Result<PathBuf, walk::Unreadable>>,
    schema: &Schema,
    watch: &(dyn Fn(usize, usize) + Sync),
) -> Vec<Outcome> {
    let n_files = files.len();
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let n_threads = processors.min(MAX_THREADS).min(n_files.div_ceil(MIN_PER_THREAD)).max(1);
    let queue = Mutex::new(files.into_iter().enumerate());
    let n_done = AtomicUsize::new(0);
    let work = || {
        let mut reader = Reader { base: schema, schema: schema.clone() };
        let mut outcomes = Vec::new();
        loop {
            let next = queue.lock().expect("a reader panicked").next();
            let Some((number, found)) = next else { return outcomes };
            outcomes.push((number, found.and_then(|path| reader.read(path))));
            watch(n_done.fetch_add(1, Ordering::Relaxed) + 1, n_files);
        }
    };
    let mut outcomes: Vec<(usize, Outcome)> = thread::scope(|scope| {
        let threads: Vec<_> = (1..n_threads).map(|_| scope.spawn(work)).collect();
        let mut outcomes = work();
        for thread in threads {
            outcomes.extend(thread.join().expect("a reader panicked"));
        }
        outcomes
    });
    outcomes.sort_by_key(|(number, _)| *number);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

struct Reader<'s> {
    base: &'s Schema,
    schema: Schema,
}

impl Reader<'_> {
    fn read(&mut self, path: PathBuf) -> Outcome {
        let text = walk::read(&path, self.schema.bounds().max_file)?;
        let compiled = is_rule(&path, &text).then(|| file::read(&path, &text, &mut self.schema));
        let has_grown = self.schema.len() != self.base.len();
        if has_grown {
            self.schema.clone_from(self.base);
        }
        Ok(ReadFile { path, text, compiled: compiled.filter(|_| !has_grown) })
    }
}

fn is_rule(path: &Path, text: &str) -> bool {
    path.extension().is_some_and(|extension| extension == "toml") && !is_drop_list(text)
}
