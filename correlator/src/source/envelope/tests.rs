use proptest::prelude::*;

use super::*;

const CALL: &str = r#"{"eventVersion":"1.11","eventTime":"2026-11-02T10:00:00Z","eventSource":"s3.amazonaws.com","eventName":"GetObject"}"#;
const FINDING: &str =
    r#"{"id":"f","updatedAt":"2026-11-02T10:00:00Z","type":"T","severity":5,"service":{"count":1}}"#;

fn check(text: &str, expect: &[(Origin, &str)]) {
    let arena = Arena::new();
    let found = unwrap(text, &arena).unwrap();
    let under = |one: &Unwrapped<'_>| one.header.map_or(String::new(), |header| format!("{header}\n"));
    let found: Vec<(Origin, String)> =
        found.iter().flatten().map(|one| (one.origin, under(one) + one.text)).collect();
    let expect: Vec<_> = expect.iter().map(|(origin, text)| (*origin, (*text).to_owned())).collect();
    assert_eq!(found, expect, "{text}");
}

#[test]
fn every_envelope_holds_the_record() {
    let one = &[(Origin::CloudTrail, CALL)][..];
    let quoted = serde_json::to_string(CALL).unwrap();
    check(CALL, one);
    check(&format!("[{CALL}]"), one);
    check(&format!(r#"{{"Records":[{CALL}]}}"#), one);
    check(
        &format!(
            r#"{{"version":"0","id":"x","detail-type":"AWS API Call via CloudTrail","detail":{CALL},"debug":""}}"#
        ),
        one,
    );
    check(&format!(r#"{{"aws":{{"cloudtrail":{CALL}}}}}"#), one);
    check(
        &format!(
            r#"{{"messageType":"DATA_MESSAGE","logEvents":[{{"id":"1","timestamp":1,"message":{quoted}}}]}}"#
        ),
        one,
    );
    check(&format!(r#"{{"Events":[{{"EventId":"1","CloudTrailEvent":{quoted}}}]}}"#), one);
    check(&format!(r#"{{"Type":"Notification","Message":{quoted}}}"#), one);
}

#[test]
fn one_that_nobody_knows_costs_itself_alone() {
    let quoted = serde_json::to_string(CALL).unwrap();
    let arena = Arena::new();
    let text = format!(
        r#"{{"logEvents":[{{"message":{quoted}}},{{"message":"START RequestId"}},{{"message":{quoted}}}]}}"#
    );
    let found = unwrap(&text, &arena).unwrap();
    assert_eq!(found.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    let odd = CALL.replace("\"1.11\"", "\"1.11\",\"n\":1e999");
    let text = format!(r#"[{CALL},{{"message":{}}}]"#, serde_json::to_string(&odd).unwrap());
    let found = unwrap(&text, &arena).unwrap();
    assert_eq!(
        found.iter().map(Result::is_ok).collect::<Vec<_>>(),
        [true, true],
        "mended inside a text, too"
    );
}

#[test]
fn findings_are_told_from_calls() {
    check(
        &format!(r#"{{"detail-type":"GuardDuty Finding","detail":{FINDING}}}"#),
        &[(Origin::GuardDuty, FINDING)],
    );
    check(&format!(r#"{{"Findings":[{FINDING}]}}"#), &[(Origin::GuardDuty, FINDING)]);
    let pascal =
        r#"{"Id":"f","UpdatedAt":"2026-11-02T10:00:00Z","Type":"T","Severity":5,"Service":{"Count":1}}"#;
    check(pascal, &[(Origin::GuardDuty, pascal)]);
}

#[test]
fn documents_of_rule_cases() {
    let ecs = r#"{"@timestamp":"2026-11-02T10:00:00Z","event":{"dataset":"endpoint.events.process"}}"#;
    check(ecs, &[(Origin::Sensor, ecs)]);
    check(
        r#"{"vpcflow":"srcaddr end log-status\n192.0.2.1 1795219200 OK\n- 1795219200 NODATA\n"}"#,
        &[(Origin::VpcFlow, "srcaddr end log-status\n192.0.2.1 1795219200 OK")],
    );
}

#[test]
fn lines_of_a_flow_log_share_their_header() {
    let header = format!("srcaddr end {}", "x".repeat(2_000));
    let lines = "192.0.2.1 1795219200 1\n".repeat(10_000);
    let text = serde_json::json!({ "vpcflow": format!("{header}\n{lines}") }).to_string();
    let arena = Arena::new();
    let mut found = unwrap(&text, &arena).unwrap();
    assert_eq!(found.len(), MAX_FLOW_LINES);
    assert!(found.pop().unwrap().unwrap_err().to_string().contains("more than 2000 lines"));
    assert!(found.iter().flatten().all(|one| one.header.is_some_and(|held| held.len() == header.len())));
    assert!(arena.allocated_bytes() < 8 * text.len(), "{}", arena.allocated_bytes());
}

#[test]
fn a_header_of_any_size_is_not_taken() {
    let lines = "1 1 1\n".repeat(1_000);
    let wide = "a ".repeat(101);
    for header in [format!("srcaddr {}", "x".repeat(5_000)), format!("srcaddr {wide}")] {
        let flow = format!("{header}\n{lines}srcaddr end\n192.0.2.1 1795219200\n");
        let text = serde_json::json!({ "vpcflow": flow }).to_string();
        let arena = Arena::new();
        let found = unwrap(&text, &arena).unwrap();
        assert_eq!(found.len(), 2, "the fault, and the line under the next header");
        let fault = found[0].as_ref().unwrap_err().to_string();
        assert!(fault.contains("left out"), "{fault}");
    }
}

#[test]
fn documents_about_themselves_hold_nothing() {
    for text in [
        r#"{"Records":[]}"#,
        r#"{"awsAccountId":"111122223333","digestStartTime":"2026-11-02T10:00:00Z","logFiles":[]}"#,
        r#"{"Service":"Amazon S3","Event":"s3:TestEvent"}"#,
        r#"{"messageType":"CONTROL_MESSAGE","logEvents":[]}"#,
    ] {
        check(text, &[]);
    }
}

#[test]
fn what_is_unknown_is_said_with_its_keys() {
    let error = unwrap(r#"{"foo":1,"bar":2}"#, &Arena::new()).unwrap_err().to_string();
    assert!(error.contains("\"foo\", \"bar\""), "{error}");
    assert!(unwrap("{", &Arena::new()).is_err());
    assert!(unwrap("{}", &Arena::new()).unwrap_err().to_string().contains("it holds no keys"));
    assert!(unwrap("[]", &Arena::new()).unwrap_err().to_string().contains("an empty list"));
    let nested = (0..20).fold(CALL.to_owned(), |inner, _| {
        format!(r#"{{"Message":{}}}"#, serde_json::to_string(&inner).unwrap())
    });
    assert!(unwrap(&nested, &Arena::new()).is_err());
}

proptest! {
    #[test]
    fn no_document_panics(text in r#"[\[\]{}:,"a-e\\ 0-9]{0,80}"#) {
        let _ = unwrap(&text, &Arena::new());
    }
}
