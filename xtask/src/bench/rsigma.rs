//! rsigma over rules and events that groundtrail was measured with: built in a workspace of its own, so that nothing else
//! ever builds it.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::report::{Table, grouped};
use crate::shell::{self, Failure};

/// Where in a checkout of the public Sigma rules those for CloudTrail are.
pub(super) const OF_CLOUDTRAIL: &str = "rules/cloud/aws";

/// What it takes for a folder of rules and a file of events, a line each.
pub(super) fn measure(rules: &Path, events: &Path) -> Result<Value, Failure> {
    let target = shell::target().join("bench-rsigma");
    let manifest = shell::root().join("correlator/benches/rsigma/Cargo.toml");
    let mut build = shell::cargo(&["build", "--quiet", "--locked", "--release", "--manifest-path"]);
    shell::succeed(build.arg(manifest).env("CARGO_TARGET_DIR", &target))?;
    let said = shell::output(Command::new(target.join("release/bench-rsigma")).arg(rules).arg(events))?;
    serde_json::from_str(&said).map_err(|err| Failure(format!("rsigma's bench said \"{said}\": {err}")))
}

pub(super) fn table(title: &str) -> Table {
    let headings =
        ["rules", "groundtrail, events/s", "rsigma 0.23, events/s", "times as fast", "hits per event"];
    Table::new(title, &headings)
}

/// One row of both.
pub(super) fn row(table: &mut Table, name: &str, ours: &Value, theirs: &Value) {
    let number = |one: &Value, key: &str| one[key].as_f64().unwrap_or(f64::NAN);
    let (our_speed, their_speed) = (number(ours, "events_per_s"), number(theirs, "events_per_s"));
    table.row([
        format!("{name}: {} and {} read", ours["rules"], theirs["rules"]),
        grouped(our_speed),
        grouped(their_speed),
        format!("{:.1}", our_speed / their_speed),
        format!("{:.2} and {:.2}", number(ours, "hits_per_event"), number(theirs, "hits_per_event")),
    ]);
}
