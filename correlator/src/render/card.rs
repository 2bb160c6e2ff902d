//! The facts around an alert: who, where, how the halves were joined, what could not be seen, which technique, which rule.

use serde_json::Value;

use super::line::{Line, Paint, wrap};
use crate::alert::view::{at, list, muted_by, one_or_many, scalar, show, text, texts};

const LABEL_WIDTH: usize = 9;
const MAX_ROWS: usize = 4;

/// The card as lines of at most `width` columns. Facts the alert does not have take no room.
pub(super) fn lines(alert: &Value, width: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut fact = |label: &str, paint: Paint, words: Vec<String>| {
        lines.extend(row(label, paint, &words.join(" · "), width));
    };
    fact("who", Paint::Plain, who(alert));
    fact("from", Paint::Plain, from(alert));
    fact("where", Paint::Plain, place(alert));
    fact("joined by", Paint::Plain, pairs(alert, "groundtrail.alert.join"));
    fact("found", Paint::Plain, pairs(alert, "groundtrail.alert.columns"));
    for name in context_left_out(alert) {
        fact("more", Paint::Dim, vec![name]);
    }
    for gap in texts(alert, "groundtrail.alert.could_not_see") {
        fact("unseen", Paint::Warning, vec![gap.to_owned()]);
    }
    for feed in list(alert, "groundtrail.alert.rests_on") {
        fact("rests on", Paint::Plain, vec![vouched(feed)]);
    }
    fact("muted", Paint::Warning, muted_by(alert).into_iter().collect());
    for technique in techniques(alert) {
        fact("att&ck", Paint::Plain, vec![technique]);
    }
    fact("rule", Paint::Dim, rule(alert));
    fact("alert", Paint::Dim, identity(alert));
    lines
}

fn row(label: &str, paint: Paint, words: &str, width: usize) -> Vec<Line> {
    let room = width.saturating_sub(LABEL_WIDTH + 1);
    wrap(words, room, MAX_ROWS)
        .into_iter()
        .enumerate()
        .map(|(idx, row)| {
            let label = if idx == 0 { label } else { "" };
            Line::default().own(Paint::Dim, label).pad(LABEL_WIDTH + 1).own(paint, row)
        })
        .collect()
}

fn who(alert: &Value) -> Vec<String> {
    let identity = "aws.cloudtrail.user_identity";
    let mut words: Vec<String> =
        [text(alert, &format!("{identity}.arn"))].into_iter().flatten().map(String::from).collect();
    words.extend(scalar(alert, &format!("{identity}.type")));
    words.extend(labelled("key", scalar(alert, &format!("{identity}.access_key_id"))));
    words.extend(labelled("invoked by", scalar(alert, &format!("{identity}.invoked_by"))));
    let user = [text(alert, "user.name"), text(alert, "user.id").filter(|id| id.parse::<u32>().is_ok())];
    if words.is_empty() {
        words.extend(labelled("user", user.into_iter().flatten().next().map(String::from)));
    }
    words
}

fn from(alert: &Value) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    words.extend(scalar(alert, "source.ip").or_else(|| scalar(alert, "source.address")));
    words.extend(scalar(alert, "user_agent.original"));
    words
}

fn place(alert: &Value) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    words.extend(labelled("account", scalar(alert, "cloud.account.id")));
    words.extend(scalar(alert, "cloud.region"));
    let instance = scalar(alert, "cloud.instance.id");
    words.extend(labelled("instance", instance.clone()));
    let host =
        [scalar(alert, "host.name"), scalar(alert, "host.id").filter(|id| Some(id) != instance.as_ref())];
    words.extend(labelled("host", host.into_iter().flatten().next()));
    words.extend(labelled(
        "role",
        scalar(alert, "aws.cloudtrail.user_identity.session_context.session_issuer.arn"),
    ));
    words.extend(labelled("container", scalar(alert, "container.id")));
    words
}

/// What an absence rests on: a feed that was heard on both sides of it.
fn vouched(feed: &Value) -> String {
    let [name, from, to] =
        ["feed", "heard_from", "heard_to"].map(|path| text(feed, path).unwrap_or_default());
    let of = labelled("of host", scalar(feed, "host")).or(labelled("of account", scalar(feed, "account")));
    let of = of.map(|of| format!(" {of}")).unwrap_or_default();
    format!("{name}{of}, heard at {from} and at {to}")
}

fn labelled(label: &str, value: Option<String>) -> Option<String> {
    value.map(|value| format!("{label} {value}"))
}

fn pairs(alert: &Value, path: &str) -> Vec<String> {
    let Some(Value::Object(map)) = at(alert, path) else { return Vec::new() };
    map.iter().filter_map(|(name, value)| Some(format!("{name} = {}", show(value)?))).collect()
}

fn context_left_out(alert: &Value) -> Vec<String> {
    list(alert, "groundtrail.alert.context")
        .iter()
        .filter_map(|context| {
            let more = context.get("more").and_then(Value::as_u64).filter(|more| *more > 0)?;
            Some(format!("{more} further events of \"{}\"", text(context, "name").unwrap_or_default()))
        })
        .collect()
}

/// `TA0006 Credential Access › T1552.005 Cloud Instance Metadata API`, one per technique.
fn techniques(alert: &Value) -> Vec<String> {
    let mut shown = Vec::new();
    for threat in many(alert.get("threat")) {
        let tactics = many(threat.get("tactic")).iter().map(named).collect::<Vec<_>>().join(", ");
        let mut any = false;
        for technique in many(threat.get("technique")) {
            let below = many(technique.get("subtechnique"));
            let finest: Vec<String> =
                if below.is_empty() { vec![named(technique)] } else { below.iter().map(named).collect() };
            for name in finest {
                any = true;
                shown.push(if tactics.is_empty() { name } else { format!("{tactics} › {name}") });
            }
        }
        if !any && !tactics.is_empty() {
            shown.push(tactics);
        }
    }
    shown.dedup();
    shown
}

fn named(item: &Value) -> String {
    let words: Vec<&str> = [text(item, "id"), text(item, "name")].into_iter().flatten().collect();
    words.join(" ")
}

fn many(value: Option<&Value>) -> &[Value] {
    value.map(one_or_many).unwrap_or_default()
}

fn rule(alert: &Value) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    words.extend(scalar(alert, "rule.id"));
    words.extend(labelled("version", scalar(alert, "rule.version")));
    words.extend(labelled("risk", scalar(alert, "groundtrail.alert.risk_score")));
    words
}

fn identity(alert: &Value) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    words.extend(scalar(alert, "groundtrail.alert.id"));
    words.extend(labelled("revision", scalar(alert, "groundtrail.alert.revision")));
    words.extend(scalar(alert, "groundtrail.alert.state"));
    words
}
