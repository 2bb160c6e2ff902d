//! `bench rules`: what a program of rules costs per event, how that grows, and what the Python engine takes for the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::Report;
use super::report::{Table, grouped};
use super::{measurements, rsigma};
use crate::needs;
use crate::shell::{self, Failure};

/// The set that Python runs too, as the bench calls it.
const EQL_SET: &str = "generated, 100 of EQL";

pub(super) fn measure(checkout: Option<&Path>, sigma: Option<&Path>) -> Result<Report, Failure> {
    let mut report = Report::begin();
    let checkout = checkout.map(|path| path.to_string_lossy().into_owned());
    let args: Vec<&str> = checkout.iter().flat_map(|path| ["--checkout", path]).collect();
    let found = measurements("correlator", "rules", &args)?;
    report.add(costs(&found));
    let folder = shell::target().join("bench-rules");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    measurements("correlator", "rules", &["--write", &folder.to_string_lossy()])?;
    report.add(beside_python(&found, &folder)?);
    report.add(beside_rsigma(&folder, sigma)?);
    Ok(report)
}

fn number(one: &Value, key: &str) -> f64 {
    one[key].as_f64().unwrap_or(f64::NAN)
}

fn costs(found: &[Value]) -> Table {
    let headings = [
        "rules",
        "events/s",
        "of parsing alone",
        "evaluation alone, events/s",
        "µs per event",
        "hits per event",
        "load, ms",
        "KiB per rule",
    ];
    let mut table = Table::new("Rules per event, one core, JSON parsing included", &headings);
    for one in found {
        table.row([
            one["name"].as_str().unwrap_or_default().to_owned(),
            grouped(number(one, "events_per_s")),
            format!("{:.0} %", 100.0 * number(one, "events_per_s") / number(one, "parse_per_s")),
            grouped(number(one, "evaluate_per_s")),
            format!("{:.1}", 1e6 / number(one, "evaluate_per_s")),
            format!("{:.2}", number(one, "hits_per_event")),
            format!("{:.0}", number(one, "load_ms")),
            format!("{:.1}", number(one, "kib_per_rule")),
        ]);
    }
    table.note("2 KB exec events of a seeded generator, most of them of programs that rules name; the best of three rounds, in processor time of one thread");
    let of = |name: &str| {
        found.iter().find(|one| one["name"] == name).map(|one| 1.0 / number(one, "events_per_s"))
    };
    if let (Some(few), Some(many)) = (of("generated, 950"), of("generated, 9,500")) {
        table.note(format!("ten times the rules (950 to 9,500) take {:.2} times as long", many / few));
    }
    table
}

/// The same rules and events through the `eql` package of Python, processor time on both sides.
fn beside_python(found: &[Value], folder: &Path) -> Result<Table, Failure> {
    let python = needs::python_with("eql", "1.0.1", "is what EQL is compared with")?;
    shell::say("running the Python engine on the same rules and events");
    let script: PathBuf = shell::root().join("xtask/src/bench/python_eql.py");
    let said = shell::output(
        Command::new(python).arg(script).arg(folder.join("rules")).arg(folder.join("events.ndjson")),
    )?;
    let python: Value = serde_json::from_str(&said)
        .map_err(|err| Failure(format!("the Python engine said \"{said}\": {err}")))?;
    let ours = found.iter().find(|one| one["name"] == EQL_SET).cloned().unwrap_or_default();
    let mut table =
        Table::new("The same 100 EQL rules and events", &["engine", "events/s", "hits per event"]);
    for (name, one) in [("groundtrail", &ours), ("Python eql 1.0.1", &python)] {
        table.row([
            name.to_owned(),
            grouped(number(one, "events_per_s")),
            format!("{:.2}", number(one, "hits_per_event")),
        ]);
    }
    table.note(format!(
        "{:.0} times as fast",
        number(&ours, "events_per_s") / number(&python, "events_per_s")
    ));
    table.note("Python is given the last argument instead of the list, which it cannot evaluate, and compares without case: its hits differ");
    Ok(table)
}

/// The same Sigma rules, under Sigma's own field names, and the same events through rsigma.
fn beside_rsigma(folder: &Path, checkout: Option<&Path>) -> Result<Table, Failure> {
    let events = folder.join("flat.ndjson");
    let mut sets = vec![
        ("generated, Linux", folder.join("sigma-210")),
        ("generated, Windows for the most part", folder.join("sigma-3000")),
    ];
    if let Some(checkout) = checkout {
        sets.push(("public, Linux", checkout.join("rules/linux")));
        sets.push(("public, all", checkout.join("rules")));
    }
    let mut table = rsigma::table("Sigma rules over flat process events, JSON parsing included, one core");
    for (name, rules) in sets {
        shell::say(format!("running rsigma on \"{}\"", rules.display()));
        let theirs = rsigma::measure(&rules, &events)?;
        let (rules, events) = (rules.to_string_lossy(), events.to_string_lossy());
        let args = ["--raw", "--only", &rules, "--events", &events, "--name", name];
        let ours = measurements("correlator", "rules", &args)?;
        rsigma::row(&mut table, name, ours.first().unwrap_or(&Value::Null), &theirs);
    }
    table.note("Sysmon's fields, 20,000 events of a seeded generator; both with the same allocator, parsing included, neither sorting rules by log source");
    if checkout.is_none() {
        table.note("`--sigma DIR` adds the public rules of a checkout");
    }
    Ok(table)
}
