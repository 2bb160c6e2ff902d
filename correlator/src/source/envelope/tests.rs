use proptest::prelude::*;

use super::*;

const CALL: &str = r#"{"eventVersion":"1.11","eventTime":"2026-11-02T10:00:00Z","eventSource":"s3.amazonaws.com","eventName":"GetObject"}"#;
const FINDING: &str =
    r#"{"id":"f","updatedAt":"2026-11-02T10:00:00Z","type":"T","severity":5,"service":{"count":1}}"#;

fn check(text: &str, expect: &[(Origin, &str)]) {
    let arena = Arena::new();
    let found = unwrap(text, &arena).unwrap();
    let found: Vec<(Origin, &str)> =
        found.iter().map(|one| one.as_ref().map(|one| (one.origin, one.text)).unwrap()).collect();
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
