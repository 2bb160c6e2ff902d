use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::incident::{DEFAULT_WINDOW, incidents};
use crate::untrusted::corpus::hostile;
use crate::untrusted::is_active;

/// An alert with a text in every place that an event can fill.
fn alert(text: &str) -> Value {
    let call = json!({"@timestamp": "2026-11-02T10:00:00Z", "event": {"id": format!("c{text}"), "dataset": "aws.cloudtrail",
        "action": text, "provider": text, "outcome": text},
        "aws": {"cloudtrail": {"error_code": text, "request_parameters": text,
            "user_identity": {"arn": text, "access_key_id": text}}},
        "source": {"ip": text}, "user_agent": {"original": text}, "groundtrail": {"link": {"ssm_command_id": [text]}}});
    let process = json!({"@timestamp": "2026-11-02T10:00:01Z", "event": {"id": format!("p{text}"), "action": "exec", "category": ["process"]},
        "host": {"id": text, "name": text}, "user": {"name": text},
        "process": {"entity_id": "e1", "pid": 7, "name": text, "command_line": text, "exit_code": 1,
            "parent": {"entity_id": "e0", "name": text, "command_line": text}}});
    json!({"@timestamp": "2026-11-02T10:00:00Z", "message": text, "rule": {"name": text, "description": text},
        "threat": [{"tactic": {"name": text}, "technique": [{"id": text, "name": text}]}],
        "groundtrail": {"alert": {"id": text, "severity": text, "note": text, "could_not_see": [text], "join": {"x": text},
            "hosts": [{"id": text, "name": text}], "keys": [{"id": text, "creator": text, "role": text, "role_session": text}],
            "window": {"start": "2026-11-02T10:00:00Z", "end": "2026-11-02T10:00:00Z"},
            "evidence": [{"stage": text, "event": call}], "context": [{"name": text, "events": [process]}]}}})
}

fn told(alerts: &[Value]) -> String {
    let told = incidents(alerts, DEFAULT_WINDOW);
    page(&told[0], &alerts.iter().collect::<Vec<_>>())
}

/// Every tag of a page with the names of its attributes, without their values and without what stands between tags.
fn tags(page: &str) -> BTreeSet<String> {
    let mut tags = BTreeSet::new();
    let mut tag = String::new();
    let (mut in_tag, mut in_value) = (false, false);
    for c in page.chars() {
        match c {
            '<' if !in_value => in_tag = true,
            '"' if in_tag => in_value = !in_value,
            '>' if !in_value => {
                in_tag = false;
                tags.insert(std::mem::take(&mut tag));
            }
            _ => {}
        }
        if in_tag && !in_value {
            tag.push(c);
        }
    }
    tags
}

#[test]
fn no_string_of_an_event_becomes_markup_or_hides() {
    let markup = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onmouseover='alert(1)",
        "]]><!--",
        "</style></script>",
        "javascript:alert(1)",
        "&lt;b&gt;",
        "\u{202e}gnp.exe",
    ];
    let plain: BTreeSet<String> =
        ["x", "a:b/c"].into_iter().flat_map(|text| tags(&told(&[alert(text)]))).collect();
    for text in hostile().into_iter().chain(markup.map(String::from)).filter(|text| !text.is_empty()) {
        let page = told(&[alert(&text)]);
        assert!(!page.chars().any(|c| is_active(c) && c != '\n'), "{text:?}");
        let strange: Vec<_> = tags(&page).difference(&plain).cloned().collect();
        assert_eq!(page.matches("<script").count(), 1, "{text:?}");
        assert!(strange.is_empty(), "{text:?} becomes markup: {strange:?}");
    }
}

#[test]
fn the_page_fetches_nothing() {
    let page = told(&[alert("x")]);
    for fetched in ["src=", "url(", "@import", "http:", "https:"] {
        assert!(!page.contains(fetched), "{fetched}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn it_says_who_what_when_and_what_could_not_be_seen() {
    let mut one = alert("x");
    one["groundtrail"]["alert"]["severity"] = json!("high");
    one["groundtrail"]["alert"]["could_not_see"] = json!(["no sensor on i-1 since 09:00"]);
    let page = told(&[one]);
    for part in [
        "What happened",
        "Processes",
        "Credentials",
        "First questions",
        "no sensor on i-1 since 09:00",
        "severity high",
    ] {
        assert!(page.contains(part), "{part} is missing");
    }
}

#[test]
fn an_event_of_several_alerts_stands_once() {
    let (mut one, mut two) = (alert("x"), alert("x"));
    one["groundtrail"]["alert"]["id"] = json!("a1");
    two["groundtrail"]["alert"]["id"] = json!("a2");
    let alerts = [one, two];
    assert_eq!(events(&alerts.iter().collect::<Vec<_>>()).len(), 2);
}
