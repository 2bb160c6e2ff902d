//! `serve`: a store's alerts and incidents in a browser.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use super::incidents::WindowFlag;
use super::load::Configured;
use super::stored::{self, failed};
use super::terminal::Terminal;
use super::{CliError, Outcome};
use crate::serve::{self, Board, Door, ServeError, Server};
use crate::store::{Follower, Store, StoreError, StoredAlert};
use crate::time::{Clock as _, SystemClock};

const INTERVAL: Duration = Duration::from_millis(500);
/// How a run is changes more slowly than what it finds.
const HEALTH_INTERVAL: Duration = Duration::from_secs(5);

const AFTER: &str = "The address that is printed holds a token, which the browser keeps as a cookie: every user of this host reaches \
the port, and not everybody may read the store. It is made anew at each start, or is GROUNDTRAIL_SERVE_TOKEN.";

#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(super) struct Flags {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9110")]
    listen: SocketAddr,
    /// Listen where others than this host can reach it. There is no TLS: put a proxy that has it in front
    #[arg(long)]
    allow_remote: bool,
    /// Show so many of the newest alerts
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// The store, if it is not the configuration's
    #[arg(long, value_name = "PATH")]
    store: Option<PathBuf>,
    #[command(flatten)]
    window: WindowFlag,
}

pub(super) fn run(flags: Flags, configured: Configured, terminal: &Terminal) -> Result<Outcome, CliError> {
    let Some(path) = flags.store.or(configured.config.store) else {
        return Err(CliError::Usage("no store is configured: give --store PATH".to_owned()));
    };
    if !flags.listen.ip().is_loopback() && !flags.allow_remote {
        return Err(CliError::Usage(format!(
            "{} can be reached from other hosts, and what is served names commands, keys and people: listen on 127.0.0.1, \
             or say --allow-remote",
            flags.listen
        )));
    }
    stored::open(&path)?;
    let token = token()?;
    let listen = flags.listen;
    let listener = TcpListener::bind(listen).map_err(|source| ServeError::Listen { listen, source });
    let listener = listener.map_err(|error| fail(error.into()))?;
    let at = listener.local_addr()?;
    let limit = flags.limit as usize;
    let mut board = Board::new(limit, flags.window.span());
    let mut follower = Follower::open(&path).map_err(failed)?;
    let newest = follower.newest(limit, |_| true).map_err(failed)?;
    board.take(newest.iter().filter_map(document).collect());
    let door = match at.ip().is_loopback() {
        true => Door::local(token.clone(), at.port()),
        false => Door::remote(token.clone()),
    };
    let start = serve::token().map_err(|error| fail(error.into()))?;
    let server =
        Server::start(listener, door, board, path.clone(), start).map_err(|error| fail(error.into()))?;
    terminal.data(&format!("http://{at}/?token={token}\n"))?;
    follow(&server, follower, &path)
}

/// From the environment, where a proxy or a bookmark shall go on working; it is on nobody's list of processes there.
fn token() -> Result<String, CliError> {
    const NAME: &str = "GROUNDTRAIL_SERVE_TOKEN";
    const MIN_LENGTH: usize = 16;
    let Some(given) = std::env::var_os(NAME) else {
        return serve::token().map_err(|error| fail(error.into()));
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match given.into_string() {
        Ok(given) if given.len() >= MIN_LENGTH && given.chars().all(is_plain) => Ok(given),
        _ => Err(CliError::Usage(format!(
            "{NAME} is no token: give at least {MIN_LENGTH} letters, digits, '-', '_' or '.'"
        ))),
    }
}

fn fail(source: Box<dyn std::error::Error + Send + Sync>) -> CliError {
    CliError::Run { what: "cannot serve".to_owned(), source }
}

fn follow(server: &Server, mut follower: Follower, path: &Path) -> ! {
    let mut next_health = Instant::now();
    loop {
        let mut alerts = Vec::new();
        let polled = follower.poll(Instant::now(), |alert| alerts.extend(document(&alert)));
        server.update(|board| board.take(alerts));
        if polled.is_err() || Instant::now() >= next_health {
            let reasons = polled.and_then(|()| health(path)).unwrap_or_else(|error| vec![error.to_string()]);
            server.update(|board| board.note(reasons));
            next_health = Instant::now() + HEALTH_INTERVAL;
        }
        thread::sleep(INTERVAL);
    }
}

/// What the run says against itself.
fn health(path: &Path) -> Result<Vec<String>, StoreError> {
    let health = Store::open_to_look(path)?.health()?;
    Ok(health.map(|health| health.reasons_of_store(SystemClock.now())).unwrap_or_default())
}

/// None: it is of a version that writes something else, and the rest shall be seen all the same.
fn document(alert: &StoredAlert) -> Option<Value> {
    serde_json::from_str(&alert.document).ok()
}
