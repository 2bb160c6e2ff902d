//! Real data that nobody here wrote, where it is at hand: `GROUNDTRAIL_DATA` names its folder. None of it is in the tree.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use correlator::indicator::Indicators;
use correlator::lists::Lists;
use correlator::merge::{Merge, Merged, Pace};
use correlator::source::feed::Limits;
use correlator::source::folder::{Content, Folder};
use correlator::source::normalize::Normalizer;
use correlator::source::{Origin, Record, Rejected};
use correlator::time::{Lateness, VirtualClock};
use rules::schema::Schema;

/// Where `cargo xtask` shows what was skipped: the runner holds back what a test that passes prints.
#[path = "../../tests/harness/skip.rs"]
#[expect(unreachable_pub, reason = "the harness offers it to other crates")]
mod skip;

/// The folder of a set, or none, which is said.
fn set(name: &str) -> Option<PathBuf> {
    let Some(data) = std::env::var_os("GROUNDTRAIL_DATA") else {
        skip::say("GROUNDTRAIL_DATA names no folder of public data");
        return None;
    };
    let path = Path::new(&data).join(name);
    if path.is_dir() {
        return Some(path);
    }
    skip::say(&format!("{} is not there", path.display()));
    None
}

fn normalizer() -> Normalizer {
    Normalizer::new(Arc::new(Schema::builtin()), Arc::default())
}

fn read(path: &Path, content: Content) -> (Vec<Record>, Vec<Rejected>) {
    let mut merge = Merge::new(64, Pace::Replay, Arc::new(VirtualClock::default()));
    let outlet = merge.add("data", Lateness::CLOUDTRAIL);
    let folder = Folder { source: "data".into(), path: path.to_owned(), content, limits: Limits::default() };
    let reader = std::thread::spawn(move || folder.read_once(&normalizer(), &outlet));
    let (mut records, mut rejected) = (Vec::new(), Vec::new());
    loop {
        match merge.next(Duration::from_secs(60)).expect("the folder ends") {
            Merged::Record(_, record) => records.push(record),
            Merged::Rejected(line) => rejected.push(line),
            Merged::Position(_)
            | Merged::Receipt(_)
            | Merged::LeftOut(_)
            | Merged::Watermark(_)
            | Merged::Doubt(_) => {}
            Merged::End => break,
        }
    }
    reader.join().expect("the reader does not panic").expect("its records are taken");
    (records, rejected)
}

fn text_at(record: &Record, pointer: &str) -> Option<String> {
    record.document().pointer(pointer).and_then(|value| value.as_str()).map(str::to_owned)
}

/// Reads a set of CloudTrail records and looks at what every one of them must have.
fn check_calls(name: &str, n_expected: usize, n_rejected: std::ops::RangeInclusive<usize>) -> Vec<Record> {
    let Some(path) = set(name) else { return Vec::new() };
    let (records, rejected) = read(&path, Content::CloudTrail);
    let calls: Vec<Record> =
        records.into_iter().filter(|record| record.origin == Origin::CloudTrail).collect();
    assert_eq!(calls.len(), n_expected, "{name}: {rejected:?}");
    assert!(n_rejected.contains(&rejected.len()), "{name}: {} {rejected:?}", rejected.len());
    for call in &calls {
        for pointer in ["/event/action", "/event/provider", "/event/outcome", "/cloud/region", "/event/id"] {
            assert!(text_at(call, pointer).is_some(), "{pointer} of {}", call.raw);
        }
    }
    calls
}

#[test]
fn a_file_that_is_broken_upstream_keeps_all_its_records() {
    let calls = check_calls("cloudtrail/opensearch_malformed", 840, 1..=4);
    let failed = calls.iter().filter(|call| text_at(call, "/event/outcome").as_deref() == Some("failure"));
    assert_eq!(failed.count(), if calls.is_empty() { 0 } else { 307 });
}

#[test]
fn records_in_every_wrapping_are_read() {
    check_calls("cloudtrail/stratus", 123, 0..=0);
    check_calls("cloudtrail/otrf_ec2_proxy_s3_exfiltration", 103, 0..=0);
    check_calls("cloudtrail/cloud_custodian_eventbridge", 10, 0..=0);
    // The answer key beside the records is no event, and is refused by name.
    check_calls("cloudtrail/traildiscover", 132, 141..=141);
}

#[test]
fn one_record_of_each_of_many_kinds() {
    let calls = check_calls("cloudtrail/splunk_data_sources", 48, 0..=0);
    let failed = calls.iter().filter(|call| text_at(call, "/event/outcome").as_deref() == Some("failure"));
    assert_eq!(failed.count(), if calls.is_empty() { 0 } else { 6 });
}

#[test]
fn findings_in_both_spellings() {
    for (name, n_expected) in [("guardduty/guardduty_soar", 15), ("guardduty/cloud_custodian", 2)] {
        let Some(path) = set(name) else { continue };
        let (records, rejected) = read(&path, Content::GuardDuty);
        assert_eq!((records.len(), rejected.len()), (n_expected, 0), "{rejected:?}");
        let mut ids: Vec<&str> = records.iter().map(|record| &*record.event.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), n_expected);
        for record in &records {
            assert_eq!(record.origin, Origin::GuardDuty);
            let label = text_at(record, "/groundtrail/guardduty/severity").unwrap();
            let number =
                record.document().pointer("/event/severity").and_then(serde_json::Value::as_f64).unwrap();
            assert_eq!(
                label,
                if number >= 7.0 {
                    "high"
                } else if number >= 4.0 {
                    "medium"
                } else {
                    "low"
                }
            );
            for pointer in ["/aws/guardduty/type", "/cloud/account/id"] {
                assert!(text_at(record, pointer).is_some(), "{pointer} of {}", record.raw);
            }
        }
    }
}

#[test]
fn flow_lines_with_and_without_a_header() {
    if let Some(path) = set("vpcflow/panther_compromised_root_creds") {
        let (records, rejected) = read(&path, Content::VpcFlow);
        assert_eq!((records.len(), rejected.len()), (6, 0), "{rejected:?}");
    }
    if let Some(path) = set("vpcflow/otrf_zeek_day1") {
        let (records, rejected) = read(&path.join("derived"), Content::VpcFlow);
        assert_eq!((records.len(), rejected.len()), (1_174, 0), "{rejected:?}");
    }
}

#[test]
fn indicator_lists_as_published() {
    for (file, n_entries, n_other, n_bad) in [
        ("ioc/ipsum/5.txt", 1_413, 0, 0),
        ("ioc/misp_amazon_aws/list.json", 3_847, 0, 0),
        // It calls "domain autuo.xicp.net" a name.
        ("ioc/stix_poisonivy/poisonivy.json", 64, 2, 1),
        ("ioc/threatfox/custom_schema_1.json", 195, 117, 0),
    ] {
        let (folder, name) = file.rsplit_once('/').unwrap();
        let Some(path) = set(folder) else { continue };
        let mut indicators = Indicators::default();
        let loaded = indicators.load(&fs::read_to_string(path.join(name)).unwrap(), "list");
        assert_eq!(
            (loaded.n_entries, loaded.n_other(), loaded.n_bad),
            (n_entries, n_other, n_bad),
            "{file}: {loaded:?}"
        );
    }
}

#[test]
fn flows_meet_a_list() {
    let Some(path) = set("vpcflow/otrf_zeek_day1") else { return };
    let mut indicators = Indicators::default();
    indicators.load("192.168.0.4\n192.168.0.5\n", "list");
    let lists = Lists { indicators, ..Lists::default() };
    let normalizer = Normalizer::new(Arc::new(Schema::builtin()), Arc::new(lists));
    let (records, _) = read(&path.join("derived"), Content::VpcFlow);
    let marked = records.iter().filter(|record| {
        let again = normalizer.read(record.origin, Arc::clone(&record.raw)).unwrap();
        again.document().pointer("/threat/indicator/ip").is_some()
    });
    assert_eq!(marked.count(), 790);
}
