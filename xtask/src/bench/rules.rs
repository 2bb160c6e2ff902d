//! `bench rules`: what a program of rules costs per event.

use std::path::Path;

use super::Report;
use super::measurements;
use super::report::{Table, grouped};
use crate::shell::Failure;

pub(super) fn measure(checkout: Option<&Path>) -> Result<Report, Failure> {
    let mut report = Report::begin();
    let checkout = checkout.map(|path| path.to_string_lossy().into_owned());
    let args: Vec<&str> = checkout.iter().flat_map(|path| ["--checkout", path]).collect();
    let found = measurements("correlator", "rules", &args)?;
    let mut table = Table::new(
        "Rules per event, one core, JSON parsing included",
        &["rules", "events/s", "of parsing alone", "evaluation alone, events/s", "load, ms", "KiB per rule"],
    );
    for one in &found {
        let number = |key: &str| one[key].as_f64().unwrap_or(f64::NAN);
        table.row([
            one["name"].as_str().unwrap_or_default().to_owned(),
            grouped(number("events_per_s")),
            format!("{:.0} %", 100.0 * number("events_per_s") / number("parse_per_s")),
            grouped(number("evaluate_per_s")),
            format!("{:.0}", number("load_ms")),
            format!("{:.1}", number("kib_per_rule")),
        ]);
    }
    table.note("2 KB exec events of a seeded generator, most of them of programs that rules name; the best of three rounds");
    report.add(table);
    Ok(report)
}
