use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::source::normalize::tests::normalizer;
use crate::time::parse;

const INSTANCE: &str = "i-0123456789abcdef0";

fn at(minute: i64) -> EventTime {
    parse("2026-11-02T10:00:00Z").unwrap() + rules::event::Span::from_secs(60 * minute)
}

fn call(minute: i64, name: &str, parts: &serde_json::Value) -> Arc<Record> {
    let mut record = json!({"eventVersion": "1.11", "eventTime": crate::time::format(at(minute)), "eventName": name,
        "eventSource": "ssm.amazonaws.com", "awsRegion": "us-east-1", "recipientAccountId": "111122223333"});
    for (key, value) in parts.as_object().unwrap() {
        record[key] = value.clone();
    }
    Arc::new(normalizer().read(Origin::CloudTrail, record.to_string()).unwrap())
}

fn heartbeat(minute: i64, instance: &str, address: &str) -> Arc<Record> {
    call(
        minute,
        "UpdateInstanceInformation",
        &json!({"requestParameters": {"instanceId": instance, "iPAddress": address, "computerName": "web-1"},
            "sourceIPAddress": "198.51.100.9"}),
    )
}

fn sensor(minute: i64) -> Arc<Record> {
    let event = json!({"@timestamp": crate::time::format(at(minute)), "host": {"id": INSTANCE, "name": "web-1", "os": {"kernel": "6.1.0"}},
        "cloud": {"instance": {"id": INSTANCE}}, "data_stream": {"dataset": "endpoint.events.process"}});
    Arc::new(normalizer().read(Origin::Sensor, event.to_string()).unwrap())
}

fn learned(records: &[Arc<Record>]) -> Identities {
    let mut identities = Identities::new(&Schema::builtin(), 1_000);
    for record in records {
        identities.learn(record);
    }
    identities
}

#[test]
fn a_host_without_a_sensor_is_known_from_cloudtrail() {
    let records = [
        heartbeat(0, INSTANCE, "10.0.1.10"),
        call(
            1,
            "PutObject",
            &json!({"userIdentity": {"arn": format!("arn:aws:sts::111122223333:assumed-role/web/{INSTANCE}"),
                "principalId": format!("AROAEXAMPLE:{INSTANCE}"), "sessionContext": {"ec2RoleDelivery": "2.0"}, "accountId": "111122223333", "accessKeyId": "ASIAEXAMPLE000000001"},
                "userAgent": "aws-cli/2.17 os/linux#6.1.0-50"}),
        ),
    ];
    let identities = learned(&records);
    let card = identities.host(INSTANCE, at(2)).unwrap();
    assert_eq!(card.account.as_deref(), Some("111122223333"));
    assert_eq!(card.role.as_deref(), Some("web"));
    assert_eq!((card.name.as_deref(), card.kernel.as_deref()), (Some("web-1"), Some("6.1.0-50")));
    assert_eq!(
        (card.ip.as_slice(), card.egress_ip.as_deref()),
        (&["10.0.1.10".to_owned()][..], Some("198.51.100.9"))
    );
    assert!(!card.has_sensor);
    assert_eq!(
        identities.key("ASIAEXAMPLE000000001", at(2)).unwrap().role_session.unwrap(),
        format!("web/{INSTANCE}")
    );
}

#[test]
fn a_sensor_is_known_from_when_it_spoke() {
    let identities = learned(&[heartbeat(0, INSTANCE, "10.0.1.10"), sensor(5), sensor(9)]);
    assert!(!identities.host(INSTANCE, at(1)).unwrap().has_sensor);
    assert!(identities.host(INSTANCE, at(6)).unwrap().has_sensor);
    assert_eq!(identities.sensor_seen(INSTANCE), Some((at(5), at(9))));
    assert_eq!(identities.sensor_seen("i-01234567"), None);
}

#[test]
fn an_address_belongs_to_whoever_had_it_then() {
    let (one, two) = ("i-01234567", "i-89abcdef");
    let identities = learned(&[
        heartbeat(0, one, "10.0.1.10"),
        heartbeat(10, one, "10.0.1.10"),
        heartbeat(20, two, "10.0.1.10"),
    ]);
    let owner =
        |minute| identities.host_of_address(Some("111122223333"), "10.0.1.10".parse().unwrap(), at(minute));
    assert_eq!((owner(5), owner(15), owner(25)), (Some(one), Some(one), Some(two)));
    assert_eq!(identities.host_of_address(Some("444455556666"), "10.0.1.10".parse().unwrap(), at(5)), None);
    assert_eq!(identities.host_of_address(None, "10.0.1.10".parse().unwrap(), at(25)), Some(two));
}

#[test]
fn launches_keys_and_ends_are_facts() {
    let amy = json!({"arn": "arn:aws:iam::111122223333:user/amy"});
    let identities = learned(&[
        call(
            0,
            "RunInstances",
            &json!({"userIdentity": amy, "responseElements": {"instancesSet": {"items": [
            {"instanceId": INSTANCE, "privateIpAddress": "10.0.1.10", "imageId": "ami-1", "vpcId": "vpc-1"}]}}}),
        ),
        call(
            1,
            "AssumeRole",
            &json!({"userIdentity": {"type": "AWSService", "invokedBy": "ec2.amazonaws.com"},
            "responseElements": {"credentials": {"accessKeyId": "ASIAEXAMPLE000000002"},
                "assumedRoleUser": {"arn": format!("arn:aws:sts::111122223333:assumed-role/web/{INSTANCE}")}}}),
        ),
        call(
            9,
            "TerminateInstances",
            &json!({"responseElements": {"instancesSet": {"items": [{"instanceId": INSTANCE}]}}}),
        ),
    ]);
    let card = identities.host(INSTANCE, at(5)).unwrap();
    assert_eq!((card.image.as_deref(), card.vpc.as_deref()), (Some("ami-1"), Some("vpc-1")));
    assert_eq!(card.creator.as_deref(), Some("arn:aws:iam::111122223333:user/amy"));
    assert_eq!(card.role.as_deref(), Some("web"));
    assert!(!card.is_terminated && identities.host(INSTANCE, at(9)).unwrap().is_terminated);
    assert_eq!(
        identities.key("ASIAEXAMPLE000000002", at(5)).unwrap().creator.as_deref(),
        Some("ec2.amazonaws.com")
    );
}

#[test]
fn memory_is_capped_and_what_is_gone_is_counted() {
    let mut identities = Identities::new(&Schema::builtin(), 32);
    for number in 0..200 {
        identities.learn(&heartbeat(number, &format!("i-{number:08x}"), "10.0.1.10"));
    }
    assert!(identities.len() <= 32, "{}", identities.len());
    assert_eq!(identities.n_evicted() as usize + identities.len(), 200);
    assert!(identities.host("i-000000c7", at(300)).is_some(), "the newest stays");
}

fn sensor_with(minute: i64, addresses: &[String]) -> Arc<Record> {
    let event = json!({"@timestamp": crate::time::format(at(minute)), "host": {"id": INSTANCE, "ip": addresses},
        "cloud": {"instance": {"id": INSTANCE}}, "data_stream": {"dataset": "endpoint.events.process"}});
    Arc::new(normalizer().read(Origin::Sensor, event.to_string()).unwrap())
}

#[test]
fn a_host_that_claims_addresses_without_end_keeps_few_here_and_in_the_store() {
    let mut identities = learned(&[]);
    identities.keep_unwritten();
    let mut kept = BTreeSet::new();
    for minute in 0..50 {
        let addresses: Vec<String> = (0..200).map(|n| format!("10.9.{minute}.{n}")).collect();
        identities.learn(&sensor_with(minute, &addresses));
        let Changes { rows, gone } = identities.take_unwritten();
        for row in rows {
            kept.insert((row.subject, row.attribute, row.value));
        }
        for value in gone {
            kept.remove(&value);
        }
    }
    assert_eq!(identities.by_address.len(), MAX_VALUES);
    assert_eq!(identities.host(INSTANCE, at(60)).unwrap().ip.len(), MAX_VALUES);
    assert_eq!(
        kept.iter().filter(|(_, attribute, _)| *attribute == Attribute::PrivateIp).count(),
        MAX_VALUES
    );
    let first = "10.9.0.1".parse().unwrap();
    assert_eq!(identities.host_of_address(None, first, at(60)), None, "what was pushed out is nobody's");
}

#[test]
fn what_is_kept_comes_back() {
    let identities = learned(&[heartbeat(0, INSTANCE, "10.0.1.10"), sensor(5)]);
    let rows: Vec<Row> = identities.rows().collect();
    let text = serde_json::to_string(&rows).unwrap();
    let mut again = learned(&[]);
    again.restore(serde_json::from_str::<Vec<Row>>(&text).unwrap());
    assert_eq!(again.rows().collect::<Vec<_>>(), rows);
    let address = "10.0.1.10".parse().unwrap();
    assert_eq!(again.host_of_address(Some("111122223333"), address, at(1)), Some(INSTANCE));
}

proptest! {
    #[test]
    fn what_is_known_does_not_depend_on_the_order(order in Just((0..8_usize).collect::<Vec<_>>()).prop_shuffle()) {
        let records = [
            heartbeat(0, "i-01234567", "10.0.1.10"), heartbeat(9, "i-01234567", "10.0.1.11"),
            heartbeat(4, "i-89abcdef", "10.0.1.10"), heartbeat(2, INSTANCE, "10.0.1.12"),
            sensor(1), sensor(7), sensor(7),
            call(3, "TerminateInstances", &json!({"responseElements": {"instancesSet": {"items": [{"instanceId": "i-01234567"}]}}})),
        ];
        let shuffled: Vec<_> = order.iter().map(|at| Arc::clone(&records[*at])).collect();
        let (one, two) = (learned(&records), learned(&shuffled));
        prop_assert!(one.rows().eq(two.rows()));
        for minute in 0..12 {
            let address = "10.0.1.10".parse().unwrap();
            prop_assert_eq!(one.host_of_address(None, address, at(minute)), two.host_of_address(None, address, at(minute)));
            prop_assert_eq!(one.host("i-01234567", at(minute)), two.host("i-01234567", at(minute)));
        }
    }
}

const KEY: &str = "ASIARTX3GSDSWPZ6EXQM";
const COMMAND: &str = "11111111-2222-4333-8444-555555555555";

/// What an answer says under one heading.
fn said<'a>(answer: &'a Answer, what: &str) -> Vec<&'a str> {
    answer.known.iter().filter(|known| known.what == what).map(|known| known.value.as_str()).collect()
}

fn only(identities: &Identities, name: &str) -> Answer {
    let answers = identities.about(name, None);
    assert_eq!(answers.len(), 1, "{name}: {answers:?}");
    answers.into_iter().next().unwrap()
}

fn assumed(minute: i64, by: (&str, &str), key: &str, session: &str) -> Arc<Record> {
    call(
        minute,
        "AssumeRole",
        &json!({"eventSource": "sts.amazonaws.com", "eventID": format!("assume-{key}"),
            "userIdentity": {"arn": by.0, "accessKeyId": by.1},
            "responseElements": {"credentials": {"accessKeyId": key},
                "assumedRoleUser": {"arn": format!("arn:aws:sts::111122223333:assumed-role/{session}")}}}),
    )
}

#[test]
fn a_chain_of_roles_leads_back_to_the_instance() {
    let instance = format!("arn:aws:sts::111122223333:assumed-role/web/{INSTANCE}");
    let second = "arn:aws:sts::111122223333:assumed-role/deploy/x";
    let identities = learned(&[
        call(
            0,
            "GetCallerIdentity",
            &json!({"eventSource": "sts.amazonaws.com",
            "userIdentity": {"arn": instance, "accessKeyId": KEY, "principalId": format!("AROAEXAMPLE:{INSTANCE}"),
                "sessionContext": {"ec2RoleDelivery": "2.0"}}}),
        ),
        assumed(1, (&instance, KEY), "ASIARTX3GSDSYAAAAAAA", "deploy/x"),
        assumed(2, (second, "ASIARTX3GSDSYAAAAAAA"), "ASIARTX3GSDSYBBBBBBB", "admin/y"),
    ]);

    let last = only(&identities, "ASIARTX3GSDSYBBBBBBB");
    assert_eq!(
        said(&last, "asked for with"),
        ["ASIARTX3GSDSYAAAAAAA of deploy/x", &format!("{KEY} of web/{INSTANCE}")]
    );
    assert_eq!(said(&last, "account, from the id itself"), ["111122223333"]);
    let first = only(&identities, KEY);
    assert_eq!(said(&first, "instance"), [INSTANCE]);
    assert_eq!(said(&first, "asked for"), ["ASIARTX3GSDSYAAAAAAA"]);
}

#[test]
fn keys_that_name_each_other_do_not_hang() {
    let one = ("arn:aws:iam::111122223333:user/a", "ASIARTX3GSDSYAAAAAAA");
    let other = ("arn:aws:iam::111122223333:user/a", "ASIARTX3GSDSYBBBBBBB");
    let identities = learned(&[assumed(0, one, other.1, "r/s"), assumed(1, other, one.1, "r/t")]);
    assert_eq!(said(&only(&identities, one.1), "asked for with").len(), 1);
}

#[test]
fn an_address_is_everybodys_who_had_it() {
    let other = "i-0fedcba9876543210";
    let identities = learned(&[heartbeat(0, INSTANCE, "10.0.1.10"), heartbeat(5, other, "10.0.1.10")]);
    let answer = only(&identities, "10.0.1.10");
    assert_eq!(said(&answer, "instance").len(), 2, "{answer:?}");
    let by_then = identities.about("10.0.1.10", Some(at(2)));
    assert_eq!(said(&by_then[0], "instance"), [format!("{INSTANCE} in 111122223333")]);
    assert!(identities.about("10.0.1.10", Some(at(-1))).is_empty());
}

#[test]
fn a_command_knows_its_sender_and_where_it_ran() {
    let worker = json!({"@timestamp": crate::time::format(at(1)), "host": {"id": INSTANCE},
        "cloud": {"instance": {"id": INSTANCE}}, "data_stream": {"dataset": "endpoint.events.process"},
        "process": {"name": "ssm-document-worker", "entity_id": "w1",
            "args": ["/usr/bin/ssm-document-worker", COMMAND]}});
    let child = json!({"@timestamp": crate::time::format(at(1)), "host": {"id": INSTANCE},
        "cloud": {"instance": {"id": INSTANCE}}, "data_stream": {"dataset": "endpoint.events.process"},
        "process": {"name": "id", "entity_id": "c1", "args": ["id"], "env_vars": [format!("SSM_COMMAND_ID={COMMAND}")]}});
    let host =
        |event: serde_json::Value| Arc::new(normalizer().read(Origin::Sensor, event.to_string()).unwrap());
    let identities = learned(&[
        call(
            0,
            "SendCommand",
            &json!({"userIdentity": {"arn": "arn:aws:iam::111122223333:user/alice"},
            "responseElements": {"command": {"commandId": COMMAND, "instanceIds": [INSTANCE]}}}),
        ),
        host(worker),
        host(child),
    ]);
    let answer = only(&identities, COMMAND);
    assert_eq!((answer.kind, said(&answer, "instance")), (Kind::Command, vec![INSTANCE]));
    assert_eq!(said(&answer, "asked for by"), ["arn:aws:iam::111122223333:user/alice"]);
    assert_eq!(said(&answer, "worker process"), ["w1"], "what the worker started is not the worker");
    let of_principal = only(&identities, "arn:aws:iam::111122223333:user/alice");
    assert_eq!(said(&of_principal, "asked for"), [format!("command {COMMAND}")]);
    assert!(identities.about("nobody", None).is_empty());
}

#[test]
fn a_session_that_somebody_named_after_an_instance_is_not_its() {
    let named = format!("deploy/{INSTANCE}");
    let identities = learned(&[
        heartbeat(0, INSTANCE, "10.0.1.10"),
        assumed(1, ("arn:aws:iam::111122223333:user/eve", "AKIARTX3GSDSYAAAAAAA"), KEY, &named),
        call(
            2,
            "ListBuckets",
            &json!({"userIdentity": {"arn": format!("arn:aws:sts::111122223333:assumed-role/{named}"), "accessKeyId": KEY,
                "principalId": format!("AROAEXAMPLE:{INSTANCE}")}, "userAgent": "aws-cli/2.17 os/linux#5.15.0-evil"}),
        ),
    ]);
    let card = identities.host(INSTANCE, at(3)).unwrap();
    assert_eq!((card.role, card.kernel), (None, None));
    assert!(said(&only(&identities, KEY), "instance").is_empty());
    assert!(said(&only(&identities, INSTANCE), "key").is_empty());
}
