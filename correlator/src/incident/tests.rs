use serde_json::json;

use super::*;

const HOUR: i64 = 3_600;

/// An alert with one event of evidence by a principal, and hosts it was joined to.
fn alert(id: &str, minute: i64, severity: &str, arn: &str, hosts: &[&str]) -> Value {
    let at = time::format(time::parse("2026-11-02T10:00:00Z").unwrap() + Span::from_secs(60 * minute));
    let event =
        json!({"event": {"id": format!("e-{id}")}, "aws": {"cloudtrail": {"user_identity": {"arn": arn}}}});
    let hosts: Vec<Value> = hosts.iter().map(|id| json!({"id": id, "name": format!("name-{id}")})).collect();
    json!({
        "@timestamp": at, "message": format!("rule {id}: it happened"), "rule": {"name": format!("rule {id}")},
        "threat": [{"tactic": {"name": if minute < 30 { "Execution" } else { "Discovery" }}}],
        "groundtrail": {"alert": {"id": id, "severity": severity, "state": "open", "revision": 1, "hosts": hosts,
            "note": "Who is it?", "window": {"start": at, "end": at},
            "evidence": [{"stage": "match", "event": event}],
            "could_not_see": ["no sensor on i-1"]}}
    })
}

fn user(name: &str) -> String {
    format!("arn:aws:iam::111122223333:user/{name}")
}

fn shapes(alerts: &[Value], hours: i64) -> Vec<Vec<String>> {
    let told = incidents(alerts, Span::from_secs(hours * HOUR));
    told.iter().map(|incident| incident.story.iter().map(|scene| scene.alert.clone()).collect()).collect()
}

#[test]
fn alerts_of_one_principal_and_of_the_host_it_reached_are_one_story() {
    let alerts = [
        alert("c", 40, "medium", "", &["i-1"]),
        alert("a", 0, "low", &user("mallory"), &[]),
        alert("b", 10, "high", &user("mallory"), &["i-1"]),
        alert("z", 20, "low", &user("alice"), &["i-2"]),
    ];
    let told = incidents(&alerts, DEFAULT_WINDOW);
    assert_eq!(told.len(), 2);
    let first = &told[0];
    assert_eq!(first.story.iter().map(|scene| scene.alert.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(
        (first.severity.as_str(), first.tactics.clone()),
        ("high", vec!["Execution".into(), "Discovery".into()])
    );
    assert_eq!(first.summary, "3 alerts in 40 min: user/mallory on name-i-1; Execution → Discovery");
    assert_eq!(first.story[0].what, "it happened", "the rule's name is said once");
    assert_eq!(first.could_not_see, ["no sensor on i-1"]);
}

#[test]
fn time_apart_is_another_story() {
    let alerts = [alert("a", 0, "low", &user("m"), &[]), alert("b", 90, "low", &user("m"), &[])];
    assert_eq!(shapes(&alerts, 1), [["a"], ["b"]]);
    assert_eq!(shapes(&alerts, 2), [["a", "b"]]);
}

#[test]
fn a_long_alert_reaches_as_far_as_its_end() {
    let mut long = alert("a", 0, "low", &user("m"), &[]);
    long["groundtrail"]["alert"]["window"]["end"] = json!("2026-11-02T13:00:00Z");
    let alerts = [long, alert("b", 30, "low", &user("m"), &[]), alert("c", 200, "low", &user("m"), &[])];
    assert_eq!(shapes(&alerts, 1), [["a", "b", "c"]]);
}

#[test]
fn order_and_repetition_change_nothing_and_withdrawn_alerts_are_left_out() {
    let mut newer = alert("b", 10, "critical", &user("m"), &[]);
    newer["groundtrail"]["alert"]["revision"] = json!(2);
    let mut gone = alert("d", 12, "low", &user("m"), &[]);
    gone["groundtrail"]["alert"]["state"] = json!("withdrawn");
    let alerts =
        vec![alert("a", 0, "low", &user("m"), &[]), alert("b", 10, "low", &user("m"), &[]), newer, gone];
    let expected = serde_json::to_string(&incidents(&latest(alerts.clone()), DEFAULT_WINDOW)).unwrap();
    let mut turned: Vec<Value> = alerts.iter().chain(&alerts).cloned().collect();
    turned.reverse();
    assert_eq!(serde_json::to_string(&incidents(&latest(turned), DEFAULT_WINDOW)).unwrap(), expected);
    assert!(expected.contains("critical") && !expected.contains("\"d\""), "{expected}");
}

#[test]
fn an_incident_keeps_its_name_as_it_grows() {
    let one = [alert("a", 0, "low", &user("m"), &[])];
    let two = [alert("a", 0, "low", &user("m"), &[]), alert("b", 10, "low", &user("m"), &[])];
    assert_eq!(incidents(&one, DEFAULT_WINDOW)[0].id, incidents(&two, DEFAULT_WINDOW)[0].id);
}

#[test]
fn alerts_that_share_nothing_stay_apart_and_one_without_any_entity_is_told() {
    let alerts = [alert("a", 0, "low", "", &[]), alert("b", 0, "low", "", &[])];
    assert_eq!(shapes(&alerts, 6).len(), 2);
}

#[test]
fn containment_holds_only_names_of_a_known_form() {
    let evil = "arn:aws:sts::111122223333:assumed-role/web$(reboot)/x";
    let role = "arn:aws:sts::111122223333:assumed-role/web/i-0123456789abcdef0";
    let commands = |arn: &str, host: &str| -> Vec<String> {
        let told = incidents(&[alert("a", 0, "low", arn, &[host])], DEFAULT_WINDOW);
        let steps = told[0].next.iter().filter_map(|step| match step {
            Step::Contain { command, .. } => Some(command.clone()),
            Step::Ask { .. } => None,
        });
        steps.collect()
    };
    assert_eq!(commands(evil, "i-1; reboot"), Vec::<String>::new());
    let told = commands(role, "i-0123456789abcdef0");
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("--role-name web ") && told[1].contains("i-0123456789abcdef0"), "{told:?}");
}

#[test]
fn a_host_is_itself_whatever_it_is_called() {
    let named = |id: &str, minute: i64, name: &str| {
        let mut alert = alert(id, minute, "low", "", &["i-1"]);
        alert["groundtrail"]["alert"]["hosts"][0]["name"] = name.into();
        alert
    };
    let alerts = [named("a", 0, "web-1"), named("b", 5, "ip-10-0-0-1.ec2.internal"), named("c", 6, "i-1")];
    let told = incidents(&alerts, DEFAULT_WINDOW);
    assert_eq!(told.len(), 1);
    let names: Vec<&str> = told[0].entities.iter().map(|entity| entity.name.as_str()).collect();
    assert_eq!(names, ["ip-10-0-0-1.ec2.internal"], "the last name that says more than the id");
}
