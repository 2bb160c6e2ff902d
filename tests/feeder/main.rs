//! A sensor without a kernel: lines on standard input through the sensor's own spool and wire, for tests that kill it; and
//! many sensors at once, for the bench.
#![forbid(unsafe_code)]

mod fleet;

use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser};
use sensor::config::{OutputConfig, WireConfig};
use sensor::output::Output;
use sensor::wire::tls::TlsFiles;

type Failure = Box<dyn std::error::Error>;

#[derive(Parser)]
enum Cli {
    /// Deliver lines; say on standard output how many are in the spool, and at last how many were delivered.
    Deliver(Deliver),
    /// Be many sensors for a while, and say how it went.
    Fleet(fleet::Fleet),
}

#[derive(Args)]
struct Deliver {
    #[arg(long)]
    to: String,
    #[arg(long)]
    host: String,
    #[arg(long)]
    spool: PathBuf,
    /// Folder with ca.pem, HOST.pem and HOST.key.
    #[arg(long)]
    tls: Option<PathBuf>,
    #[arg(long, default_value_t = 256 << 20)]
    max_bytes: u64,
    /// How long to go on for what is not delivered at the end of the input.
    #[arg(long, default_value_t = 60)]
    patience: u64,
}

fn main() -> Result<(), Failure> {
    match Cli::parse() {
        Cli::Deliver(deliver) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let result = runtime.block_on(deliver.run());
            runtime.shutdown_background();
            result
        }
        Cli::Fleet(fleet) => fleet.run(),
    }
}

impl Deliver {
    async fn run(&self) -> Result<(), Failure> {
        let files = self.tls.as_ref().map(|folder| TlsFiles {
            ca: folder.join("ca.pem"),
            certificate: folder.join(format!("{}.pem", self.host)),
            key: folder.join(format!("{}.key", self.host)),
        });
        let wire = WireConfig { files, path: self.spool.clone(), max_bytes: self.max_bytes };
        let output = Output::open(&OutputConfig::Correlator(wire.to(&self.to)?), &self.host)?;
        let (tell, mut lines) = tokio::sync::mpsc::channel(64);
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if tell.blocking_send(line + "\n").is_err() {
                    return;
                }
            }
        });
        let (mut n_read, mut n_told) = (0, 0);
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        let mut is_open = true;
        let mut left = Duration::from_secs(self.patience);
        loop {
            tokio::select! {
                line = lines.recv(), if is_open => match line {
                    Some(line) => {
                        let place = output.reserve(line.len()).await.ok_or("the writer is gone")?;
                        place.send(line.into_bytes());
                        n_read += 1;
                    }
                    None => is_open = false,
                },
                _ = tick.tick() => {
                    let state = output.wire().ok_or("there is no wire")?;
                    if state.appended != n_told {
                        n_told = state.appended;
                        println!("spooled {n_told}");
                        std::io::stdout().flush()?;
                    }
                    if !is_open && state.appended + state.given_up.unwritten >= n_read {
                        left = left.saturating_sub(Duration::from_millis(20));
                        if state.held.batches == 0 || left.is_zero() {
                            println!("left {} given-up {} trouble {}", state.held.events, state.given_up.all(), state.trouble.unwrap_or_default());
                            break;
                        }
                    }
                }
            }
        }
        output.finish(Duration::from_secs(5)).await?;
        Ok(())
    }
}
