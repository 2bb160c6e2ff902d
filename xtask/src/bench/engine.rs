//! `bench engine`: what the whole catalogue costs on CloudTrail, and what state costs in memory, in the store and at a start.

use std::path::Path;

use serde_json::Value;

use super::Report;
use super::report::{Table, grouped};
use super::{measurements, rsigma};
use crate::shell::{self, Failure};

pub(super) fn measure(sigma: Option<&Path>) -> Result<Report, Failure> {
    let mut report = Report::begin();
    let found = measurements("correlator", "engine", &[])?;
    let named = |name: &str| found.iter().filter(|one| one["name"] == name).collect::<Vec<_>>();
    let number = |one: &Value, key: &str| one[key].as_f64().unwrap_or(f64::NAN);
    let headings = [
        "rules",
        "bytes per event",
        "JSON alone, events/s",
        "read and normalised, events/s",
        "with all rules, events/s",
        "of reading",
        "wanted, at least",
        "alerts",
        "on two cores, events/s",
    ];
    let mut calls = Table::new("CloudTrail through the whole catalogue, one core", &headings);
    for one in named("calls") {
        let (read, all) = (number(one, "parse_per_s"), number(one, "events_per_s"));
        calls.row([
            one["rules"].to_string(),
            one["bytes_per_event"].to_string(),
            grouped(number(one, "json_per_s")),
            grouped(read),
            grouped(all),
            format!("{:.0} %", 100.0 * all / read),
            "60 %".to_owned(),
            one["alerts"].to_string(),
            grouped(number(one, "on_two_per_s")),
        ]);
    }
    calls.note(
        "records of a seeded generator shaped after real ones; the best of three rounds; time the thread ran; on two cores, of the busier of two threads, a source's and the engine's",
    );
    report.add(calls);
    if let Some(checkout) = sigma {
        report.add(beside_rsigma(checkout)?);
    }
    let headings = [
        "keys held",
        "given up",
        "memory, MiB",
        "wanted, at most",
        "store, MiB",
        "events/s, read and written",
        "taken back in, s",
        "wanted, at most",
    ];
    let mut state = Table::new("A million half-seen sequences, each of a key of its own", &headings);
    for one in named("partials").into_iter().chain(named("cap")) {
        state.row([
            grouped(number(one, "keys")),
            grouped(number(one, "keys_given_up")),
            one["resident_mib"].to_string(),
            "1024".to_owned(),
            one["store_mib"].to_string(),
            grouped(number(one, "written_per_s")),
            format!("{:.1}", number(one, "resume_s")),
            "10".to_owned(),
        ]);
    }
    state.note("exec events of 1.5 KB through a run with a store; the second row may hold 100,000 keys; memory is what the process gained");
    report.add(state);
    Ok(report)
}

/// The public Sigma rules for CloudTrail over the same records: ours mapped to ECS, through the whole engine; rsigma's as
/// they are, each record by itself.
fn beside_rsigma(checkout: &Path) -> Result<Table, Failure> {
    let rules = checkout.join(rsigma::OF_CLOUDTRAIL);
    let file = shell::target().join("bench-calls.ndjson");
    measurements("correlator", "engine", &["--write", &file.to_string_lossy()])?;
    let ours = measurements("correlator", "engine", &["--rules", &rules.to_string_lossy()])?;
    let theirs = rsigma::measure(&rules, &file)?;
    let mut table = rsigma::table("The public Sigma rules for AWS over the same CloudTrail, one core");
    rsigma::row(&mut table, "public, AWS", ours.first().unwrap_or(&Value::Null), &theirs);
    table.note("wanted: at least 5 times as fast");
    table.note("groundtrail's figure includes normalising to ECS, deduplication, identities and alerts with their documents; rsigma's parsing and matching");
    Ok(table)
}
