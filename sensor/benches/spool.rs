//! The spool on the way to the correlator: events packed and put on the disk itself, one JSON line a measurement.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on ends where it stands")]

use std::time::Instant;

use sensor::spool::{Owner, Spool};

/// Events of one batch, as a busy host makes them in a fifth of a second.
const BATCHES: [usize; 2] = [10, 250];
const N_EVENTS: usize = 200_000;

fn main() {
    let recorded = include_str!("../../tests/traces/system2/host.ndjson");
    let lines: Vec<&str> = recorded.lines().filter(|line| line.contains("\"exec\"")).collect();
    for per_batch in BATCHES {
        let dir =
            tempfile::tempdir_in(std::env::var_os("SPOOL_BENCH_DIR").unwrap_or_else(|| ".".into())).unwrap();
        let mut spool =
            Spool::open(&dir.path().join("spool.db"), Owner { host: "bench", boot: "b-1" }, 64 << 30)
                .unwrap();
        let mut packer = zstd::bulk::Compressor::new(1).unwrap();
        let n_events = if per_batch < 100 { N_EVENTS / 20 } else { N_EVENTS };
        let (mut n_bytes, mut n_packed) = (0, 0);
        let start = Instant::now();
        for batch in 0..n_events / per_batch {
            let mut text = String::new();
            for n in 0..per_batch {
                text.push_str(lines[(batch * per_batch + n) % lines.len()]);
                text.push('\n');
            }
            let body = packer.compress(text.as_bytes()).unwrap();
            (n_bytes, n_packed) = (n_bytes + text.len(), n_packed + body.len());
            spool.append(&body, per_batch as u64, None).unwrap();
        }
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{{\"name\":\"spool\",\"per_batch\":{per_batch},\"events_per_s\":{:.0},\"bytes_per_event\":{},\"packed_bytes_per_event\":{}}}",
            n_events as f64 / seconds,
            n_bytes / n_events,
            n_packed / n_events
        );
    }
}
