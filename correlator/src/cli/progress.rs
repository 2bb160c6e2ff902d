//! How far a long look has come, on a terminal and nowhere else.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What is done sooner needs no bar.
const PATIENCE: Duration = Duration::from_millis(300);
const INTERVAL: Duration = Duration::from_millis(50);
const WIDTH: usize = 30;

/// A bar on standard error that is gone when this is dropped.
pub(super) struct Progress {
    what: &'static str,
    is_terminal: bool,
    drawn: Mutex<Drawn>,
}

struct Drawn {
    next: Instant,
    is_shown: bool,
}

impl Progress {
    pub(super) fn of(what: &'static str) -> Self {
        let drawn = Drawn { next: Instant::now() + PATIENCE, is_shown: false };
        Self { what, is_terminal: io::stderr().is_terminal(), drawn: Mutex::new(drawn) }
    }

    /// May be called from any thread and as often as one likes.
    pub(super) fn tell(&self, n_done: usize, n_all: usize) {
        if !self.is_terminal {
            return;
        }
        // Whoever finds it taken leaves drawing to the one that draws.
        let Ok(mut drawn) = self.drawn.try_lock() else { return };
        let now = Instant::now();
        if now < drawn.next {
            return;
        }
        *drawn = Drawn { next: now + INTERVAL, is_shown: true };
        // Nobody to show it to is no reason to stop.
        let _ = write!(io::stderr(), "\r{}", line(self.what, n_done, n_all));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn.get_mut().is_ok_and(|drawn| drawn.is_shown) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(what: &str, n_done: usize, n_all: usize) -> String {
    let n_full = (WIDTH * n_done).checked_div(n_all).unwrap_or(WIDTH).min(WIDTH);
    format!("{what} [{}{}] {n_done}/{n_all}", "#".repeat(n_full), ".".repeat(WIDTH - n_full))
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_bar_is_as_full_as_the_work_is_done() {
        assert_eq!(line("rules", 50, 100), format!("rules [{}{}] 50/100", "#".repeat(15), ".".repeat(15)));
        assert_eq!(line("rules", 0, 0), format!("rules [{}] 0/0", "#".repeat(30)));
    }
}
