//! Many sensors in one process, each with its certificate and its connection, each sending what it has once a second.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use correlator::ca::{Authority, Subject};
use correlator::time::{Clock as _, SystemClock};
use sensor::spool::Chunk;
use sensor::wire::Place;
use sensor::wire::answer::{self, Next};
use sensor::wire::backoff::Backoff;
use sensor::wire::client::{Client, Transport as _};
use sensor::wire::tls::TlsFiles;

use super::Failure;

#[derive(Args)]
pub(super) struct Fleet {
    #[arg(long)]
    to: String,
    /// Folder with ca.pem and, for each host-N, its certificate and key.
    #[arg(long)]
    tls: PathBuf,
    /// An authority that issues what is not there yet.
    #[arg(long)]
    ca: Option<PathBuf>,
    #[arg(long, default_value_t = 2000)]
    sensors: usize,
    /// Events a second of each.
    #[arg(long, default_value_t = 50)]
    rate: u64,
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

#[derive(Default)]
struct Tally {
    made: AtomicU64,
    acknowledged: AtomicU64,
    failures: AtomicU64,
    worst_ms: AtomicU64,
}

impl Fleet {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let place = Place::parse(&self.to)?;
        self.issue()?;
        let tally = Arc::new(Tally::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let start = Instant::now();
        runtime.block_on(async {
            let local = tokio::task::LocalSet::new();
            for n in 0..self.sensors {
                let host = format!("host-{n}");
                let files = TlsFiles {
                    ca: self.tls.join("ca.pem"),
                    certificate: self.tls.join(format!("{host}.pem")),
                    key: self.tls.join(format!("{host}.key")),
                };
                let client = Client::new(place.clone(), host.clone(), Some(files));
                // Not all in the same instant, as it is with machines.
                let phase = Duration::from_millis(n as u64 * 1000 / self.sensors as u64);
                local.spawn_local(one(client, host, self.rate, self.seconds, phase, Arc::clone(&tally)));
            }
            local.await;
        });
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{{\"name\":\"fleet\",\"sensors\":{},\"made\":{},\"acknowledged\":{},\"failures\":{},\"worst_ms\":{},\"seconds\":{seconds:.1}}}",
            self.sensors,
            get(&tally.made),
            get(&tally.acknowledged),
            get(&tally.failures),
            get(&tally.worst_ms),
        );
        Ok(())
    }
}

impl Fleet {
    fn issue(&self) -> Result<(), Failure> {
        let Some(ca) = &self.ca else { return Ok(()) };
        let mut authority = Authority::open(ca)?;
        for n in 0..self.sensors {
            let host = format!("host-{n}");
            let path = |end: &str| self.tls.join(format!("{host}.{end}"));
            if path("pem").exists() {
                continue;
            }
            let subject = Subject::Sensor { host: host.clone(), instance: None };
            let issued = authority.issue(&subject, 1, None, SystemClock.now())?;
            std::fs::write(path("key"), issued.key_pem.unwrap_or_default())?;
            std::fs::write(path("pem"), issued.certificate_pem)?;
        }
        Ok(())
    }
}

/// One sensor. Its spool is what it has not sent yet: nothing is dropped, and at the end it goes on until all is delivered.
async fn one(mut client: Client, host: String, rate: u64, seconds: u64, phase: Duration, tally: Arc<Tally>) {
    tokio::time::sleep(phase).await;
    let stream = format!("{:032x}", u128::from(std::process::id()));
    let mut backoff = Backoff::new(host.bytes().fold(7, |seed, byte| seed * 31 + u64::from(byte)));
    let mut rows: std::collections::VecDeque<(u64, Vec<u8>, u64, Instant)> =
        std::collections::VecDeque::new();
    let start = Instant::now();
    let mut n_made = 0;
    loop {
        while n_made < seconds && start.elapsed() >= Duration::from_secs(n_made) {
            let text = lines(&host, n_made, rate);
            rows.push_back((
                n_made + 1,
                zstd::bulk::compress(text.as_bytes(), 1).unwrap_or_default(),
                rate,
                Instant::now(),
            ));
            tally.made.fetch_add(rate, Ordering::Relaxed);
            n_made += 1;
        }
        let Some((first, ..)) = rows.front() else {
            if n_made == seconds {
                return;
            }
            tokio::time::sleep(Duration::from_secs(n_made).saturating_sub(start.elapsed())).await;
            continue;
        };
        let body: Vec<u8> = rows.iter().take(16).flat_map(|(_, body, ..)| body.iter().copied()).collect();
        let chunk = Chunk { first: *first, n_rows: rows.len().min(16) as u64, body };
        let next = match client.send(&stream, &chunk).await {
            Ok(answer) => answer::next(&answer, chunk.first, chunk.n_rows),
            Err(err) => Next::Again { after: None, why: err.to_string() },
        };
        match next {
            Next::Forget { through } => {
                backoff.reset();
                while rows.front().is_some_and(|(seq, ..)| *seq <= through) {
                    if let Some((_, _, n_events, made)) = rows.pop_front() {
                        tally.acknowledged.fetch_add(n_events, Ordering::Relaxed);
                        tally.worst_ms.fetch_max(made.elapsed().as_millis() as u64, Ordering::Relaxed);
                    }
                }
            }
            Next::Again { after, why } => {
                if tally.failures.fetch_add(1, Ordering::Relaxed) < 5 {
                    eprintln!("{host}: {why}");
                }
                tokio::time::sleep(backoff.next(after)).await;
            }
            // What is made here is right: a correlator that refuses it for good has lost it.
            other => {
                eprintln!("{host}: {other:?}");
                return;
            }
        }
    }
}

/// Events as a sensor makes them, of the size that they have.
fn lines(host: &str, second: u64, rate: u64) -> String {
    use std::fmt::Write as _;
    let now = jiff::Timestamp::now();
    let mut text = String::new();
    for n in 0..rate {
        let pid = 1000 + (second * rate + n) % 30_000;
        writeln!(
            text,
            r#"{{"@timestamp":"{now:.9}","agent":{{"id":"{host}","type":"groundtrail-sensor","version":"0.1.0"}},"data_stream":{{"dataset":"endpoint.events.process","namespace":"default","type":"logs"}},"ecs":{{"version":"8.17.0"}},"event":{{"action":"exec","category":["process"],"dataset":"endpoint.events.process","id":"{host}.{second}.{n}","kind":"event","module":"endpoint","sequence":{},"type":["start"]}},"host":{{"architecture":"x86_64","hostname":"{host}","id":"{host}","name":"{host}","os":{{"kernel":"6.12.1","type":"linux"}}}},"process":{{"args":["/usr/bin/python3","/srv/app/worker.py","--shard","{n}"],"args_count":4,"command_line":"/usr/bin/python3 /srv/app/worker.py --shard {n}","entity_id":"{host}{pid}","executable":"/usr/bin/python3.11","name":"worker.py","parent":{{"args":["/usr/bin/supervisord"],"entity_id":"{host}1","executable":"/usr/bin/supervisord","name":"supervisord","pid":612}},"pid":{pid},"working_directory":"/srv/app"}},"user":{{"id":"1000","name":"app"}}}}"#,
            second * rate + n + 1
        )
        .unwrap_or_default();
    }
    text
}
