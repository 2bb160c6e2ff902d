//! `bench state`: what writing state down costs, how soon an alert is told, and what a second processor brings.

use serde_json::Value;

use super::Report;
use super::measurements;
use super::report::{Table, grouped};
use crate::shell::Failure;

pub(super) fn measure() -> Result<Report, Failure> {
    let mut report = Report::begin();
    let found = measurements("correlator", "state", &[])?;
    let named = |name: &str| found.iter().filter(|one| one["name"] == name).collect::<Vec<_>>();
    let number = |one: &Value, key: &str| one[key].as_f64().unwrap_or(f64::NAN);
    let mut store = Table::new(
        "A run with a store, the whole catalogue, calls and execs by turns",
        &[
            "without, events/s",
            "with, events/s",
            "of without",
            "processors' time",
            "wanted, at most",
            "store, MiB",
        ],
    );
    for one in named("store") {
        let (without, with) = (number(one, "without_per_s"), number(one, "with_per_s"));
        store.row([
            grouped(without),
            grouped(with),
            format!("{:.0} %", 100.0 * with / without),
            format!("{:.2} times", number(one, "processors")),
            "1.05 times".to_owned(),
            one["store_mib"].to_string(),
        ]);
    }
    store.note("the best of three rounds by the clock, reading included; everything of a second is written in one transaction");
    report.add(store);
    let mut latency = Table::new(
        "From a host event to its alert, with a store",
        &["events/s", "for, s", "alerts", "median, ms", "p99, ms", "p99 wanted, ms"],
    );
    for one in named("latency") {
        latency.row([
            grouped(number(one, "events_per_s")),
            one["seconds"].to_string(),
            one["alerts"].to_string(),
            one["p50_ms"].to_string(),
            one["p99_ms"].to_string(),
            "at most 1000".to_owned(),
        ]);
    }
    latency.note("from when the source has the event's bytes to when the sink has the alert, written before");
    report.add(latency);
    let mut threads = Table::new(
        "CloudTrail through the whole catalogue, by who reads it",
        &["who", "events/s of processors' time", "on two free cores, events/s", "times one thread"],
    );
    for one in named("threads") {
        let alone = number(one, "alone_per_s");
        threads.row(["one thread".to_owned(), grouped(alone), String::new(), String::new()]);
        let ways =
            [("source and engine, `threads = 1`", "by_source"), ("two workers, `threads = 2`", "by_two")];
        for (name, key) in ways {
            let on_two = number(&one[key], "on_two_per_s");
            threads.row([
                name.to_owned(),
                grouped(number(&one[key], "per_processor_s")),
                grouped(on_two),
                format!("{:.2}", on_two / alone),
            ]);
        }
    }
    threads.note(
        "on two free cores: the engine's thread, or half of what all threads took, whichever is more. `threads = 1`: each source \
         reads on a thread of its own and the engine asks the rules; `threads = 2`: workers do both, beside the source and the \
         engine",
    );
    report.add(threads);
    Ok(report)
}
