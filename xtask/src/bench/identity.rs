//! `bench identity`: what knowing who is who costs in memory, in the event path and on an alert.

use serde_json::Value;

use super::Report;
use super::measurements;
use super::report::{Table, grouped};
use crate::shell::Failure;

pub(super) fn measure() -> Result<Report, Failure> {
    let mut report = Report::begin();
    let found = measurements("correlator", "identity", &[])?;
    let named = |name: &str| found.iter().filter(|one| one["name"] == name).collect::<Vec<_>>();
    let number = |one: &Value, key: &str| one[key].as_f64().unwrap_or(f64::NAN);
    let mut memory =
        Table::new("Who is who, held in memory", &["instances", "access keys", "MiB", "wanted, MB"]);
    for one in named("memory") {
        memory.row([
            grouped(number(one, "instances")),
            grouped(number(one, "keys")),
            one["mib"].to_string(),
            "at most 500".to_owned(),
        ]);
    }
    memory.note("eleven facts of each instance, three of each key, with when each was seen first and last; what the process grew by");
    report.add(memory);
    let mut questions =
        Table::new("Questions to it, of anybody in no order", &["question", "ns", "wanted, ns"]);
    for one in named("lookup") {
        let wanted = if one["what"] == "all of a host, for an alert" { "-" } else { "at most 1000" };
        questions.row([
            one["what"].as_str().unwrap_or_default().to_owned(),
            grouped(number(one, "ns")),
            wanted.to_owned(),
        ]);
    }
    for one in named("learn") {
        let what = "what a call of a role says taken in".to_owned();
        questions.row([what, grouped(number(one, "ns")), "-".to_owned()]);
    }
    report.add(questions);
    let mut alerts = Table::new(
        "From the event that completes an alert to its whole document",
        &["instances known", "alerts", "median, ms", "p99, ms", "wanted, ms"],
    );
    for one in named("enrichment") {
        alerts.row([
            grouped(number(one, "hosts")),
            one["alerts"].to_string(),
            format!("{:.2}", number(one, "p50_ms")),
            format!("{:.2}", number(one, "p99_ms")),
            "at most 5".to_owned(),
        ]);
    }
    alerts.note("the whole catalogue's rules on one event, the host and the key it names, and what else those credentials did");
    report.add(alerts);
    Ok(report)
}
