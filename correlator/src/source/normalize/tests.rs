use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::indicator::Indicators;

pub(crate) fn normalizer() -> Normalizer {
    Normalizer::new(Arc::new(Schema::builtin()), Arc::default())
}

pub(crate) fn document(origin: Origin, raw: &str) -> Document {
    normalizer().read(origin, raw).unwrap().document()
}

const EXEC: &str = r#"{"@timestamp":"2026-11-02T10:00:00.123456789Z","event":{"action":"exec","type":["start"],"category":["process"],"sequence":7},"data_stream":{"type":"logs","dataset":"endpoint.events.process","namespace":"default"},"host":{"id":"i-0123456789abcdef0"},"process":{"name":"aws","pid":"4009","args":["aws","s3","ls","--endpoint-url","http://10.0.0.9:9000"],"env_vars":["AWS_ACCESS_KEY_ID=AKIAEXAMPLE000000001"]},"user":{"id":0},"unknown":{"thing":[1]}}"#;

fn values(record: &Record, path: &str) -> Vec<Value> {
    let schema = Schema::builtin();
    let id = schema.id(path).unwrap_or_else(|| panic!("{path} is not in the schema"));
    record.event.get(id).map_or_else(Vec::new, |value| value.scalars().to_vec())
}

#[test]
fn a_host_event_keeps_its_fields_in_the_schemas_types() {
    let record = normalizer().read(Origin::Sensor, EXEC).unwrap();
    assert_eq!(&*record.event.index, "logs-endpoint.events.process-default");
    assert_eq!(record.event.sequence, 7);
    assert_eq!(record.event.time, time::parse("2026-11-02T10:00:00.123456789Z").unwrap());
    assert_eq!(values(&record, "process.pid"), [Value::Int(4009)]);
    assert_eq!(values(&record, "user.id"), [Value::str("0")]);
    assert_eq!(values(&record, "process.args").len(), 5);
    assert_eq!(values(&record, "event.dataset"), [Value::str("endpoint.events.process")]);
}

#[test]
fn an_aws_command_gains_its_endpoint_and_links() {
    let record = normalizer().read(Origin::Sensor, EXEC).unwrap();
    assert_eq!(values(&record, "groundtrail.endpoint.kind"), [Value::str("private")]);
    assert_eq!(values(&record, "groundtrail.endpoint.port"), [Value::Int(9000)]);
    assert_eq!(values(&record, "groundtrail.link.access_key_id"), [Value::str("AKIAEXAMPLE000000001")]);
    assert_eq!(values(&record, "groundtrail.link.instance_id"), [Value::str("i-0123456789abcdef0")]);
    let document = record.document();
    assert_eq!(document["groundtrail"]["endpoint"]["domain"], json!("10.0.0.9"));
    assert_eq!(document["groundtrail"]["link"]["instance_id"], json!(["i-0123456789abcdef0"]));
    assert_eq!(document["unknown"], json!({"thing": [1]}));
}

#[test]
fn an_aws_command_says_what_it_calls_when_it_starts_and_when_it_ends() {
    for action in ["exec", "end"] {
        let record =
            normalizer().read(Origin::Sensor, EXEC.replace(r#""exec""#, &format!("\"{action}\""))).unwrap();
        assert_eq!(values(&record, "groundtrail.aws_cli.command"), [Value::str("s3.ls")], "{action}");
        assert_eq!(values(&record, "groundtrail.aws_cli.operation"), [Value::str("ls")], "{action}");
    }
    let record = normalizer().read(Origin::Sensor, EXEC.replace(r#""exec""#, r#""fork""#)).unwrap();
    assert_eq!(values(&record, "groundtrail.aws_cli.command"), []);
}

#[test]
fn a_document_read_again_says_the_same_once() {
    let first = document(Origin::Sensor, EXEC);
    let second = document(Origin::Sensor, &first.to_string());
    assert_eq!(first, second);
}

#[test]
fn an_event_without_an_id_gets_one_from_its_bytes() {
    let one = normalizer().read(Origin::Sensor, EXEC).unwrap();
    let two = normalizer().read(Origin::Sensor, EXEC).unwrap();
    assert_eq!(one.event.id, two.event.id);
    assert_eq!(one.event.id.len(), 32);
    assert_eq!(one.document()["event"]["id"], json!(one.event.id));
    let other = normalizer().read(Origin::Sensor, EXEC.replace("4009", "4010")).unwrap();
    assert_ne!(one.event.id, other.event.id);
}

#[test]
fn dotted_keys_are_the_same_as_nested_ones() {
    let text = r#"{"@timestamp":"2026-11-02T10:00:00Z","event.action":"exec","data_stream.dataset":"endpoint.events.process","process":{"parent.name":"sh"}}"#;
    let record = normalizer().read(Origin::Sensor, text).unwrap();
    assert_eq!(values(&record, "event.action"), [Value::str("exec")]);
    assert_eq!(values(&record, "process.parent.name"), [Value::str("sh")]);
    assert_eq!(&*record.event.index, "logs-endpoint.events.process-default");
}

#[test]
fn a_host_cannot_pass_its_events_off_as_alerts() {
    let text = r#"{"@timestamp":"2026-11-02T10:00:00Z","data_stream":{"type":".alerts","dataset":"security.alerts","namespace":"default"}}"#;
    let record = normalizer().read(Origin::Sensor, text).unwrap();
    assert_eq!(&*record.event.index, "logs-security.alerts-default");
}

#[test]
fn flows_and_connections_meet_the_indicator_lists() {
    let mut indicators = Indicators::default();
    indicators.load("192.0.2.66 # bad\n", "example-list");
    let lists = Lists { indicators, ..Lists::default() };
    let normalizer = Normalizer::new(Arc::new(Schema::builtin()), Arc::new(lists));
    let flow = "srcaddr dstaddr start end\n10.0.0.1 192.0.2.66 1795219200 1795219260";
    let record = normalizer.read(Origin::VpcFlow, flow).unwrap();
    assert_eq!(values(&record, "threat.indicator.ip"), [Value::str("192.0.2.66")]);
    assert_eq!(record.document()["threat"]["indicator"]["provider"], json!("example-list"));
    assert_eq!(record.document()["threat"]["enrichments"]["matched"]["field"], json!("destination.ip"));
    let connect = r#"{"@timestamp":"2026-11-02T10:00:00Z","event":{"action":"connection_attempted"},"destination":{"ip":"192.0.2.66"}}"#;
    let record = normalizer.read(Origin::Sensor, connect).unwrap();
    assert_eq!(values(&record, "threat.indicator.type"), [Value::str("ipv4-addr")]);
    let marked = record.document().to_string();
    let again = normalizer.read(Origin::Sensor, marked).unwrap();
    assert_eq!(values(&again, "threat.indicator.ip").len(), 1);
    let call = r#"{"eventVersion":"1.11","eventID":"e","eventTime":"2026-11-02T10:00:00Z","eventSource":"s3.amazonaws.com","eventName":"ListBuckets","sourceIPAddress":"192.0.2.66"}"#;
    let record = normalizer.read(Origin::CloudTrail, call).unwrap();
    assert_eq!(values(&record, "threat.enrichments.matched.field"), [Value::str("source.ip")]);
    let clean = normalizer.read(Origin::Sensor, connect.replace(".66", ".67")).unwrap();
    assert_eq!(clean.document().get("threat"), None);
}

#[test]
fn a_long_list_is_read_in_linear_time() {
    let args = vec![r#""x""#; 200_000].join(",");
    let text = format!(r#"{{"@timestamp":"2026-11-02T10:00:00Z","process":{{"args":[{args}]}}}}"#);
    let record = normalizer().read(Origin::Sensor, text).unwrap();
    assert_eq!(values(&record, "process.args").len(), 200_000);
}

#[test]
fn a_leaf_beside_an_object_of_its_name_loses_nothing() {
    let mut sink = DocumentSink { root: Map::new() };
    sink.put("a.b", Scalar::Int(1));
    sink.put("a.b.c", Scalar::Int(2));
    sink.put("a.b", Scalar::Int(3));
    assert_eq!(Document::Object(sink.root), json!({"a": {"b": [1, 3], "b.c": 2}}));
}

proptest! {
    #[test]
    fn no_text_panics_whatever_its_origin(text in "\\PC{0,200}") {
        for origin in [Origin::Sensor, Origin::CloudTrail, Origin::GuardDuty, Origin::VpcFlow] {
            if let Ok(record) = normalizer().read(origin, text.as_str()) {
                record.document();
            }
        }
    }

    #[test]
    fn any_json_in_place_of_any_field_is_survived(
        key in prop::sample::select(vec!["userIdentity", "requestParameters", "responseElements", "resources",
            "eventTime", "userAgent", "sourceIPAddress", "tlsDetails", "process", "event", "service", "severity"]),
        value in prop::sample::select(vec!["null", "1", "-1.5e300", "\"\"", "\"x\"", "[]", "[[{}]]", "{}", "{\"a\":{\"a\":[1,\"\"]}}", "true"]),
    ) {
        let text = format!(
            r#"{{"@timestamp":"2026-11-02T10:00:00Z","eventTime":"2026-11-02T10:00:00Z","eventSource":"ssm.amazonaws.com","eventName":"SendCommand","id":"f","updatedAt":"2026-11-02T10:00:00Z","type":"T","{key}":{value}}}"#
        );
        for origin in [Origin::Sensor, Origin::CloudTrail, Origin::GuardDuty] {
            let first = normalizer().read(origin, text.as_str());
            let second = normalizer().read(origin, text.as_str());
            prop_assert_eq!(first.map(|record| (record.event.clone(), record.document())).ok(),
                second.map(|record| (record.event.clone(), record.document())).ok());
        }
    }
}

#[test]
fn a_time_that_is_none_is_shown_as_it_was_written() {
    for (text, shown) in [
        (r#"{"@timestamp":"0001-01-01T00:00:00Z"}"#, r#""@timestamp": "0001-01-01T00:00:00Z";"#),
        (r#"{"@timestamp":{"a":1}}"#, r#""@timestamp": {"a":1};"#),
        (
            r#"{"eventVersion":"1","eventSource":"s3.amazonaws.com","eventName":"A","eventTime":7}"#,
            r#""eventTime": 7;"#,
        ),
        (
            r#"{"eventVersion":"1","eventSource":"s3.amazonaws.com","eventName":"A"}"#,
            r#""eventTime": it is missing;"#,
        ),
    ] {
        let read = normalizer().read_any(text).remove(0);
        let error = read.unwrap_err().to_string();
        assert!(error.contains(shown), "{error}");
    }
}

#[test]
fn a_value_that_no_reader_takes_costs_that_value() {
    let line = r#"{"@timestamp":"2026-11-02T10:00:00Z","event":{"id":"e1","sequence":7},"process":{"pid":1e999,"name":"a\ud800b"}}"#;
    let read = normalizer().read_any(line);
    let record = read[0].as_ref().unwrap();
    assert_eq!((&*record.event.id, record.event.sequence), ("e1", 7));
    let document = record.document();
    assert_eq!(document["process"]["name"], "a\u{fffd}b");
    assert!(document["process"]["pid"].is_null());
    let broken = r#"{"@timestamp":"2026-11-02T10:00:00Z","process":{"pid":1e999,"#;
    assert!(normalizer().read_any(broken)[0].is_err(), "what is broken stays broken");
    let call = r#"{"eventID":"c1","eventTime":"2026-11-02T10:00:00Z","eventName":"RunInstances","eventSource":"ec2.amazonaws.com","requestParameters":{"n":1e999,"m":2}}"#;
    let read = normalizer().read_any(call);
    assert_eq!(&*read[0].as_ref().unwrap().event.id, "c1");
}

#[test]
fn depth_and_size_are_bounded_and_said() {
    let deep =
        format!(r#"{{"@timestamp":"2026-11-02T10:00:00Z","x":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
    let read = normalizer().read_any(&deep);
    let error = read[0].as_ref().unwrap_err().to_string();
    assert!(error.contains("recursion limit"), "{error}");
    let key = format!(
        r#"{{"@timestamp":"2026-11-02T10:00:00Z","{}":1,"event":{{"id":"k"}}}}"#,
        "k".repeat(1 << 20)
    );
    assert_eq!(&*normalizer().read_any(&key)[0].as_ref().unwrap().event.id, "k");
}

fn with_lists(lists: Lists) -> Normalizer {
    Normalizer::new(Arc::new(Schema::builtin()), Arc::new(lists))
}

#[test]
fn names_and_what_lies_below_them_meet_the_indicator_lists() {
    let mut indicators = Indicators::default();
    indicators.load("domain,confidence,tags,id\nrogue.example.net,80,\"c2;apt\",7\n", "example-list");
    let normalizer = with_lists(Lists { indicators, ..Lists::default() });
    for (field, name) in [
        ("dns.question.name", "rogue.example.net"),
        ("url.domain", "A.Rogue.Example.NET."),
        ("destination.domain", "x.y.rogue.example.net"),
        ("tls.client.server_name", "rogue.example.net"),
    ] {
        let text = format!(r#"{{"@timestamp":"2026-11-02T10:00:00Z","{field}":"{name}"}}"#);
        let record = normalizer.read(Origin::Sensor, text).unwrap();
        let document = record.document();
        let at = |pointer: &str| document.pointer(pointer).cloned().unwrap_or_default();
        assert_eq!(at("/threat/indicator/type"), json!("domain-name"), "{field}");
        assert_eq!(at("/threat/indicator/url/domain"), json!(name));
        assert_eq!(at("/threat/indicator/confidence"), json!("High"));
        assert_eq!(at("/threat/enrichments/matched/field"), json!(field));
        assert_eq!(at("/threat/enrichments/matched/id"), json!("7"));
        assert_eq!(at("/groundtrail/indicator/labels"), json!(["c2", "apt"]));
        assert_eq!(values(&record, "threat.indicator.type"), [Value::str("domain-name")]);
        assert_eq!(values(&record, "groundtrail.indicator.labels").len(), 2);
    }
    for name in ["example.net", "notrogue.example.net", "rogue.example.net.evil.org", ""] {
        let text =
            format!(r#"{{"@timestamp":"2026-11-02T10:00:00Z","dns":{{"question":{{"name":"{name}"}}}}}}"#);
        assert_eq!(normalizer.read(Origin::Sensor, text).unwrap().document().get("threat"), None, "{name}");
    }
}

#[test]
fn public_ends_of_calls_connections_and_flows_are_placed() {
    let folder = tempfile::tempdir().unwrap();
    let (networks, cities) = (folder.path().join("asn.mmdb"), folder.path().join("city.mmdb"));
    std::fs::write(&networks, geo::testing::networks()).unwrap();
    std::fs::write(&cities, geo::testing::cities()).unwrap();
    let places = geo::Places::open(Some(&networks), Some(&cities)).unwrap();
    let normalizer = with_lists(Lists { places, ..Lists::default() });
    let flow = "srcaddr dstaddr start end\n10.0.0.1 1.128.0.7 1795219200 1795219260";
    let call = r#"{"eventVersion":"1.11","eventID":"e","eventTime":"2026-11-02T10:00:00Z","eventSource":"s3.amazonaws.com","eventName":"ListBuckets","sourceIPAddress":"1.128.0.7"}"#;
    let connect = r#"{"@timestamp":"2026-11-02T10:00:00Z","source":{"ip":"10.0.0.1"},"destination":{"ip":"1.128.0.7"}}"#;
    for (origin, text, side, other) in [
        (Origin::VpcFlow, flow, "destination", "source"),
        (Origin::CloudTrail, call, "source", "destination"),
        (Origin::Sensor, connect, "destination", "source"),
    ] {
        let record = normalizer.read(origin, text).unwrap();
        assert_eq!(values(&record, &format!("{side}.as.number")), [Value::Int(1_221)], "{origin:?}");
        assert_eq!(values(&record, &format!("{side}.geo.country_iso_code")), [Value::str("AU")]);
        let document = record.document();
        assert_eq!(document[side]["geo"]["city_name"], json!("Melbourne"));
        assert_eq!(
            document[side]["as"],
            json!({"number": 1_221, "organization": {"name": "Telstra Pty Ltd"}})
        );
        assert!(document[other].get("geo").is_none() && document[other].get("as").is_none());
        // What was placed is not placed again.
        let again = normalizer.read(Origin::Sensor, document.to_string()).unwrap();
        assert_eq!(values(&again, &format!("{side}.as.number")).len(), 1);
    }
}
