//! `bench engine`: what the whole catalogue costs on CloudTrail, and what state costs in memory, in the store and at a start.

use serde_json::Value;

use super::Report;
use super::measurements;
use super::report::{Table, grouped};
use crate::shell::Failure;

pub(super) fn measure() -> Result<Report, Failure> {
    let mut report = Report::begin();
    let found = measurements("correlator", "engine", &[])?;
    let named = |name: &str| found.iter().filter(|one| one["name"] == name).collect::<Vec<_>>();
    let number = |one: &Value, key: &str| one[key].as_f64().unwrap_or(f64::NAN);
    let mut calls = Table::new(
        "CloudTrail through the whole catalogue, one core",
        &[
            "bytes per event",
            "reading alone, events/s",
            "with all rules, events/s",
            "of reading alone",
            "alerts",
        ],
    );
    for one in named("calls") {
        let (alone, all) = (number(one, "parse_per_s"), number(one, "events_per_s"));
        calls.row([
            one["bytes_per_event"].to_string(),
            grouped(alone),
            grouped(all),
            format!("{:.0} %", 100.0 * all / alone),
            one["alerts"].to_string(),
        ]);
    }
    calls.note(
        "records of a seeded generator shaped after real ones; the best of three rounds; time the thread ran",
    );
    report.add(calls);
    let headings = [
        "keys held",
        "given up",
        "memory, MiB",
        "store, MiB",
        "events/s, read and written",
        "taken back in, s",
    ];
    let mut state = Table::new("A million half-seen sequences, each of a key of its own", &headings);
    for one in named("partials").into_iter().chain(named("cap")) {
        state.row([
            grouped(number(one, "keys")),
            grouped(number(one, "keys_given_up")),
            one["resident_mib"].to_string(),
            one["store_mib"].to_string(),
            grouped(number(one, "written_per_s")),
            format!("{:.1}", number(one, "resume_s")),
        ]);
    }
    state.note("exec events of 1.5 KB through a run with a store; the second row may hold 100,000 keys; memory is what the process gained");
    report.add(state);
    Ok(report)
}
