//! The two signals that ask for an orderly end, and what they do to a process that cannot come to one.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::privileges;

/// How long an orderly end may take: less than the ninety seconds of systemd, more than it takes to empty a large ring and
/// to give up on a reader. A write to a pipe that nobody reads takes for ever.
const LAST_RESORT: Duration = Duration::from_secs(60);
/// Exit code of an end that was not orderly.
const FAILED: i32 = 1;

/// Asked to stop, once and for all.
///
/// The signals are listened to by a thread of their own: the sensor's own thread may be stuck in a write. The first
/// asks; a second one, or an end that takes too long, ends the process there and then.
pub struct Stop {
    asked: watch::Receiver<bool>,
}

impl Stop {
    /// # Errors
    /// If the signals cannot be registered.
    pub fn listen() -> io::Result<Self> {
        let (ask, asked) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let signals = {
            let _context = runtime.enter();
            Signals {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            }
        };
        let attend = move || {
            privileges::drop_all();
            runtime.block_on(attend(signals, &ask));
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(attend)?;
        Ok(Self { asked })
    }

    /// The future's value, or nothing if a signal came first.
    pub async fn or<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            _ = self.asked.wait_for(|is_asked| *is_asked) => None,
            value = work => Some(value),
        }
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Returns once there is nobody left to ask; else the process ends here.
async fn attend(mut signals: Signals, ask: &watch::Sender<bool>) {
    tokio::select! {
        () = ask.closed() => return,
        () = signals.next() => {}
    }
    ask.send_replace(true);
    tokio::select! {
        () = ask.closed() => {}
        _ = timeout(LAST_RESORT, signals.next()) => std::process::exit(FAILED),
    }
}
