//! What AWS saw, in order of time: API calls, findings, flows.

use serde_json::Value;

use super::line::{Line, Paint};
use crate::alert::view::{Carried, Role, Times, scalar, text, time};
use crate::untrusted::Untrusted;

const MAX_CALLS: usize = 30;

/// One row, or several alike.
struct Call<'d> {
    event: &'d Value,
    title: String,
    outcome: Option<String>,
    stage: Option<&'d str>,
    is_evidence: bool,
    /// Who, from where, with what.
    caller: Vec<&'d str>,
    count: usize,
}

/// The calls as lines of at most `width` columns; empty when AWS saw nothing.
pub(super) fn lines(events: &[Carried<'_>], times: Times, accent: Paint, width: usize) -> Vec<Line> {
    let calls = collect(events);
    if calls.is_empty() {
        return Vec::new();
    }
    let is_api = |call: &Call<'_>| text(call.event, "event.dataset") == Some("aws.cloudtrail");
    let heading = if calls.iter().all(is_api) { "API CALLS" } else { "WHAT AWS SAW" };
    let mut lines = vec![Line::default().own(Paint::Heading, heading)];
    let mut last_caller: Option<&[&str]> = None;
    for call in calls.iter().take(MAX_CALLS) {
        // A caller is written once above the run of its calls.
        if last_caller != Some(&call.caller) && !call.caller.is_empty() {
            lines.extend(caller_lines(&call.caller, width));
        }
        last_caller = Some(&call.caller);
        lines.push(call_line(call, times, accent, width));
    }
    if calls.len() > MAX_CALLS {
        lines.push(Line::default().own(Paint::Dim, format!("… {} more calls", calls.len() - MAX_CALLS)));
    }
    lines
}

fn collect<'d>(events: &[Carried<'d>]) -> Vec<Call<'d>> {
    let mut cloud: Vec<&Carried<'d>> =
        events.iter().filter(|carried| carried.role != Role::Known && is_cloud(carried.event)).collect();
    cloud.sort_by_key(|carried| (time(carried.event), carried.id()));
    let mut calls: Vec<Call<'d>> = Vec::new();
    for carried in cloud {
        let call = call(carried);
        match calls.last_mut() {
            Some(last) if is_alike(last, &call) => last.count += 1,
            _ => calls.push(call),
        }
    }
    calls
}

pub(crate) fn is_cloud(event: &Value) -> bool {
    text(event, "event.dataset").is_some_and(|dataset| dataset.starts_with("aws."))
}

fn is_alike(a: &Call<'_>, b: &Call<'_>) -> bool {
    a.title == b.title && a.outcome == b.outcome && a.stage == b.stage && a.caller == b.caller
}

fn call<'d>(carried: &Carried<'d>) -> Call<'d> {
    let event = carried.event;
    let dataset = text(event, "event.dataset").unwrap_or_default();
    let stage = match carried.role {
        Role::Evidence(stage) => Some(stage).filter(|stage| !stage.is_empty()),
        Role::Context | Role::Known => None,
    };
    let caller =
        if matches!(dataset, "aws.guardduty" | "aws.vpcflow") { Vec::new() } else { api_caller(event) };
    let title = title(event);
    let outcome = match text(event, "aws.cloudtrail.error_code") {
        Some(code) => Some(code.to_owned()),
        None => text(event, "event.outcome").map(str::to_owned),
    };
    Call { event, title, outcome, stage, is_evidence: carried.is_evidence(), caller, count: 1 }
}

/// What happened, in a few words: the call, the finding, the flow.
pub(crate) fn title(event: &Value) -> String {
    match text(event, "event.dataset").unwrap_or_default() {
        "aws.guardduty" => finding_title(event),
        "aws.vpcflow" => flow_title(event),
        _ => api_title(event),
    }
}

fn api_title(event: &Value) -> String {
    let provider = text(event, "event.provider").unwrap_or("?");
    let action = text(event, "event.action").unwrap_or("?");
    format!("{}:{action}", provider.strip_suffix(".amazonaws.com").unwrap_or(provider))
}

fn api_caller(event: &Value) -> Vec<&str> {
    let principal = text(event, "aws.cloudtrail.user_identity.arn")
        .map(short_arn)
        .or(text(event, "aws.cloudtrail.user_identity.invoked_by"))
        .or(text(event, "user.name"));
    let address = text(event, "source.ip").or(text(event, "source.address"));
    let agent = text(event, "user_agent.original").map(short_agent);
    [principal, address, agent].into_iter().flatten().collect()
}

fn finding_title(event: &Value) -> String {
    let title = text(event, "rule.name")
        .or(text(event, "aws.guardduty.title"))
        .or(text(event, "aws.guardduty.type"))
        .or(text(event, "message"));
    format!("guardduty {}", title.unwrap_or("finding"))
}

fn flow_title(event: &Value) -> String {
    let end = |side: &str| {
        let ip =
            text(event, &format!("{side}.ip")).or(text(event, &format!("{side}.address"))).unwrap_or("?");
        match scalar(event, &format!("{side}.port")) {
            Some(port) => format!("{ip}:{port}"),
            None => ip.to_owned(),
        }
    };
    let bytes = scalar(event, "network.bytes").or(scalar(event, "source.bytes"));
    let bytes = bytes.map(|bytes| format!(" {bytes} B")).unwrap_or_default();
    format!("flow {} → {}{bytes}", end("source"), end("destination"))
}

/// The part of an ARN that names someone: `assumed-role/deploy/i-0abc`.
fn short_arn(arn: &str) -> &str {
    let name = arn.splitn(6, ':').nth(5).unwrap_or(arn);
    if name.is_empty() { arn } else { name }
}

/// The first product of a user agent, without the brackets some services put round it.
fn short_agent(agent: &str) -> &str {
    let agent = agent.trim_start_matches('[').trim_end_matches(']');
    agent.split(' ').next().filter(|first| !first.is_empty()).unwrap_or(agent)
}

fn caller_lines(caller: &[&str], width: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut line = Line::default();
    for part in caller {
        let part = Untrusted(part).fit(width);
        let part_width = crate::untrusted::width(&part);
        if line.width() > 0 && line.width() + 3 + part_width > width {
            lines.push(std::mem::take(&mut line));
        }
        if line.width() > 0 {
            line = line.own(Paint::Dim, " · ");
        }
        line = line.own(Paint::Dim, part);
    }
    lines.push(line);
    lines
}

fn call_line(call: &Call<'_>, times: Times, accent: Paint, width: usize) -> Line {
    let paint = if call.is_evidence { Paint::Strong } else { Paint::Plain };
    let line = Line::default().own(Paint::Dim, times.show(call.event));
    let line = line.own(accent, if call.is_evidence { " ● " } else { "   " });
    let outcome = call.outcome.as_deref().filter(|outcome| *outcome != "unknown");
    let count = if call.count > 1 { format!(" ×{}", call.count) } else { String::new() };
    let tail = count.len() + outcome.map_or(0, |outcome| outcome.chars().count().min(24) + 1);
    let room = width.saturating_sub(line.width() + tail).max(8);
    let mut line = line.foreign(paint, &call.title, room);
    if let Some(outcome) = outcome {
        let paint = if outcome == "success" { Paint::Good } else { Paint::Bad };
        line = line.own(Paint::Plain, " ").foreign(paint, outcome, 24);
    }
    line = line.own(Paint::Dim, count);
    match call.stage {
        Some(stage) if line.width() + 13 <= width => {
            line.own(Paint::Dim, " ‹").foreign(Paint::Dim, stage, 10).own(Paint::Dim, "›")
        }
        _ => line,
    }
}
