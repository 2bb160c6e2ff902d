//! The documents that are handed out, and what whoever asked is to make of one.

use serde::Serialize;
use serde_json::Value;

use crate::clock::Utc;
use crate::event::report::SensorDoc;
use crate::output::WireState;

/// `groundtrail-sensor status --json`.
#[derive(Debug, Serialize)]
pub struct StatusDoc<'a> {
    pub pid: u32,
    pub version: &'static str,
    pub host: &'a str,
    pub kernel: &'a str,
    pub since: Utc,
    pub at: Utc,
    /// When the kernel saw the last event that was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_event: Option<Utc>,
    /// When an event was last lost, as far as the kernel dates it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_loss: Option<Utc>,
    /// Lost within the last minute.
    pub lost_lately: u64,
    /// Where events go to a correlator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wire: Option<WireDoc>,
    pub sensor: SensorDoc,
}

/// The way to the correlator.
#[derive(Debug, Serialize)]
pub struct WireDoc {
    pub spooled_bytes: u64,
    pub spooled_events: u64,
    /// The number up to which the correlator has everything.
    pub acknowledged: u64,
    /// Events that were given up, since the spool was made.
    pub given_up: u64,
    /// Why nothing is delivered. Nothing while all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

impl From<WireState> for WireDoc {
    fn from(state: WireState) -> Self {
        Self {
            spooled_bytes: state.held.bytes,
            spooled_events: state.held.events,
            acknowledged: state.acknowledged,
            given_up: state.given_up.all(),
            trouble: state.trouble,
        }
    }
}

/// `groundtrail-sensor selftest`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CanaryDoc {
    /// An exec that the sensor made itself came back in its own stream.
    pub exec_seen: bool,
    pub connection_seen: bool,
    pub took_ms: u128,
}

/// How a sensor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Good,
    /// It runs and sees less than it could, or loses events.
    Limited,
}

/// The report for people, and the verdict.
pub fn judge(report: &Value) -> (String, Health) {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut lines = Vec::new();
    let mut say = |name: &str, value: String| lines.push(format!("{name:<14} {value}"));
    let sensor = &report["sensor"];
    for (name, value) in [
        ("state", text(&sensor["state"])),
        ("tier", text(&sensor["tier"])),
        ("host", text(&report["host"])),
        ("kernel", text(&report["kernel"])),
        ("process", format!("{} since {}", report["pid"], text(&report["since"]))),
    ] {
        say(name, value);
    }
    let last = report.get("last_event").map_or_else(|| "none yet".to_owned(), text);
    say("last event", last);
    let resources = &sensor["resources"];
    say("memory", format!("{} KiB resident", resources["resident_bytes"].as_u64().unwrap_or(0) / 1024));
    say("queue", format!("{} bytes wait for the output", resources["queued_bytes"]));
    let wire = &report["wire"];
    if wire.is_object() {
        let (events, bytes) = (&wire["spooled_events"], &wire["spooled_bytes"]);
        say("spool", format!("{events} events in {bytes} bytes wait for the correlator"));
        if let Some(trouble) = wire["trouble"].as_str() {
            say("correlator", format!("TAKES NOTHING: {trouble}"));
        }
    }
    for counter in sensor["counters"].as_array().into_iter().flatten() {
        let number = |name: &str| counter[name].as_u64().unwrap_or(0);
        let mut line = format!("{} seen, {} told", number("seen"), number("delivered"));
        for name in ["lost", "not_called", "suppressed", "degraded", "header_only", "truncated"] {
            if number(name) > 0 {
                line += &format!(", {} {}", number(name), name.replace('_', " "));
            }
        }
        say(&text(&counter["kind"]), line);
    }
    let mut is_limited = report["lost_lately"].as_u64().unwrap_or(0) > 0;
    let is_cut_off = wire["trouble"].is_string();
    if is_limited {
        say("LOSING", format!("{} events in the last minute", report["lost_lately"]));
    }
    for line in sensor["coverage"].as_array().into_iter().flatten() {
        let state = text(&line["state"]);
        if state == "covered" {
            continue;
        }
        // What this build never covers, and what could not be compared here, is no fault of this host's.
        is_limited |= state == "off";
        let reason = line.get("reason").map_or_else(String::new, |reason| format!(": {}", text(reason)));
        say(&state.replace('_', " "), format!("{}{reason}", text(&line["feature"])));
    }
    (lines.join("\n"), if is_limited || is_cut_off { Health::Limited } else { Health::Good })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(lost: u64, state: &str) -> Health {
        let report = serde_json::json!({
            "pid": 1, "lost_lately": lost,
            "sensor": {"state": "running", "coverage": [{"feature": "fields: cgroup", "state": state, "reason": "x"}]},
        });
        judge(&report).1
    }

    #[test]
    fn losing_events_and_fields_that_are_off_are_not_good() {
        assert_eq!(verdict(0, "covered"), Health::Good);
        assert_eq!(verdict(0, "untested"), Health::Good);
        assert_eq!(verdict(0, "not_covered"), Health::Good);
        assert_eq!(verdict(1, "covered"), Health::Limited);
        assert_eq!(verdict(0, "off"), Health::Limited);
    }

    #[test]
    fn a_correlator_that_takes_nothing_is_not_good() {
        let report = serde_json::json!({
            "lost_lately": 0, "sensor": {"state": "running"},
            "wire": {"spooled_events": 7, "spooled_bytes": 900, "trouble": "no connection"},
        });
        let (text, health) = judge(&report);
        assert_eq!(health, Health::Limited);
        assert!(text.contains("7 events in 900 bytes wait"), "{text}");
        assert!(text.contains("TAKES NOTHING: no connection"), "{text}");
    }

    #[test]
    fn what_is_missing_is_told_with_its_reason() {
        let report = serde_json::json!({
            "pid": 7, "last_event": "2026-01-01T00:00:00Z", "lost_lately": 0,
            "sensor": {
                "state": "running",
                "counters": [{"kind": "exec", "seen": 5, "delivered": 3, "lost": 2}],
                "coverage": [{"feature": "accept", "state": "not_covered", "reason": "no hook"}],
            },
        });
        let text = judge(&report).0;
        assert!(text.contains("exec           5 seen, 3 told, 2 lost"), "{text}");
        assert!(text.contains("not covered    accept: no hook"), "{text}");
    }
}
