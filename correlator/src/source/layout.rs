//! What the name of an object says before it is read: AWS lays its logs down by service, account, region and time.

use rules::event::{EventTime, Span};

use crate::time;

/// Whose log an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    CloudTrail,
    /// Lists the log files of an hour. Holds no events.
    Digest,
    GuardDuty,
    VpcFlow,
    /// OCSF, as Security Lake writes it.
    SecurityLake,
    /// A service whose logs are not read here.
    Foreign,
    /// By no name that is known: its content tells.
    Unknown,
}

/// The names of the folders that services write below.
const SERVICES: &[(&str, Kind)] = &[
    ("CloudTrail", Kind::CloudTrail),
    ("CloudTrail-Insight", Kind::CloudTrail),
    ("CloudTrail-NetworkActivity", Kind::CloudTrail),
    ("CloudTrail-Digest", Kind::Digest),
    ("GuardDuty", Kind::GuardDuty),
    ("vpcflowlogs", Kind::VpcFlow),
    ("Config", Kind::Foreign),
    ("elasticloadbalancing", Kind::Foreign),
    ("WAFLogs", Kind::Foreign),
    ("vpcdnsquerylogs", Kind::Foreign),
    ("network-firewall", Kind::Foreign),
];

impl Kind {
    /// The service that a folder's name stands for.
    pub fn of_folder(name: &str) -> Option<Self> {
        let name = name.strip_prefix("aws-service=").unwrap_or(name);
        SERVICES.iter().find(|(service, _)| *service == name).map(|(_, kind)| *kind)
    }
}

/// An account's number, as a folder's name.
pub fn is_account(name: &str) -> bool {
    name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whose log the object at this key is, however many folders of the user's own stand before AWS's. Those may be called as a
/// service is, so the last one counts.
pub fn kind(key: &str) -> Kind {
    let (mut is_inside, mut found) = (false, Kind::Unknown);
    let folders = key.rsplit_once('/').map_or("", |(folders, _)| folders);
    for part in folders.split('/') {
        if is_inside && let Some(kind) = Kind::of_folder(part) {
            found = kind;
        }
        // `accountId=` and `eventDay=` are Security Lake's own words.
        if part.starts_with("eventDay=") && key.contains("accountId=") {
            return Kind::SecurityLake;
        }
        is_inside |= part == "AWSLogs" || is_account(part) || part.starts_with("aws-account-id=");
    }
    found
}

/// What the object covers began at this time, as far as its name tells.
pub fn time_of(key: &str) -> Option<EventTime> {
    span_of(key).map(|span| span.begin)
}

/// A time with a beginning and an end, which is not of it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Covered {
    pub begin: EventTime,
    pub end: EventTime,
}

impl Covered {
    fn is_an_hour(&self) -> bool {
        self.end.0 - self.begin.0 == 3_600_000_000_000
    }

    fn new(begin: EventTime, seconds: i64) -> Self {
        Self { begin, end: EventTime(begin.0.saturating_add(seconds * 1_000_000_000)) }
    }
}

/// A file of flow logs holds what ended within this after the time in its name,
const FLOW_FILE: i64 = 300;
/// and what was gathered for as long before, and came late.
const FLOW_LAG: i64 = 600;

/// What the object covers, as far as its name tells: the minute in the file's name, or else the hour or day of its folder.
pub fn span_of(key: &str) -> Option<Covered> {
    let file = key.rsplit_once('/').map_or(key, |(_, file)| file);
    let Some(stamp) = file.split(['_', '.']).find_map(stamp) else { return folder_span(key) };
    if kind(key) != Kind::VpcFlow {
        return Some(stamp);
    }
    let begin = EventTime(stamp.begin.0.saturating_sub(FLOW_LAG * 1_000_000_000));
    let own = Covered::new(begin, FLOW_LAG + FLOW_FILE);
    // Where there is a folder for each hour, a file in it may be the whole hour's.
    let hour = folder_span(key).filter(Covered::is_an_hour);
    Some(hour.map_or(own, |hour| Covered { begin: own.begin.min(hour.begin), end: own.end.max(hour.end) }))
}

/// How far what objects cover reaches over the dates of the folders that they lie in, either way.
pub fn reach(key: &str) -> Span {
    if kind(key) == Kind::VpcFlow { Span::from_secs(FLOW_LAG) } else { Span(0) }
}

/// The hour or day of an object's folder.
pub fn folder_span(key: &str) -> Option<Covered> {
    day_of(key.rsplit_once('/')?.0)
}

/// `20261102T1005Z`.
fn stamp(word: &str) -> Option<Covered> {
    let (day, minute) = word.strip_suffix('Z')?.split_once('T')?;
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !(day.len() == 8 && matches!(minute.len(), 4 | 6) && is_number(day) && is_number(minute)) {
        return None;
    }
    let second = minute.get(4..6);
    let (year, month, day) = (&day[..4], &day[4..6], &day[6..]);
    let text = format!("{year}-{month}-{day}T{}:{}:{}Z", &minute[..2], &minute[2..4], second.unwrap_or("00"));
    Some(Covered::new(time::parse(&text)?, if second.is_some() { 1 } else { 60 }))
}

/// `2026/11/02`, `2026/11/02/10`, the same as `year=2026/…`, and `eventDay=20261102`.
fn day_of(folders: &str) -> Option<Covered> {
    const HOUR: i64 = 3_600;
    let parts: Vec<&str> = folders.split('/').collect();
    let at = |text: String, seconds| Some(Covered::new(time::parse(&text)?, seconds));
    if let Some(day) = parts.iter().find_map(|part| part.strip_prefix("eventDay=")) {
        let (year, month, day) = (day.get(..4)?, day.get(4..6)?, day.get(6..8)?);
        return at(format!("{year}-{month}-{day}T00:00:00Z"), 24 * HOUR);
    }
    let number = |part: &str, name: &str, len: usize| {
        let text = part.strip_prefix(name).unwrap_or(part);
        (text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.to_owned())
    };
    parts.windows(3).enumerate().find_map(|(idx, day)| {
        let (year, month) = (number(day[0], "year=", 4)?, number(day[1], "month=", 2)?);
        let day = number(day[2], "day=", 2)?;
        let hour = parts.get(idx + 3).and_then(|part| number(part, "hour=", 2));
        let seconds = if hour.is_some() { HOUR } else { 24 * HOUR };
        at(format!("{year}-{month}-{day}T{}:00:00Z", hour.as_deref().unwrap_or("00")), seconds)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key: &str, expect: Kind, begins: Option<&str>) {
        assert_eq!(kind(key), expect, "{key}");
        assert_eq!(time_of(key).map(time::format), begins.map(str::to_owned), "{key}");
    }

    #[test]
    fn keys_as_aws_writes_them() {
        let minute = Some("2026-11-02T10:05:00.000Z");
        let day = Some("2026-11-02T00:00:00.000Z");
        check(
            "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/11/02/111122223333_CloudTrail_eu-west-1_20261102T1005Z_kZ1bR4xXw2v0Q1aB.json.gz",
            Kind::CloudTrail,
            minute,
        );
        check(
            "logs/team a/AWSLogs/o-abc123/111122223333/CloudTrail-Insight/eu-west-1/2026/11/02/111122223333_CloudTrail-Insight_eu-west-1_20261102T1005Z_x.json.gz",
            Kind::CloudTrail,
            minute,
        );
        check(
            "AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/2026/11/02/111122223333_CloudTrail-Digest_eu-west-1_main_eu-west-1_20261102T100500Z.json.gz",
            Kind::Digest,
            minute,
        );
        check(
            "AWSLogs/111122223333/GuardDuty/eu-west-1/2026/11/02/1a2b3c4d-0000-4000-8000-000000000000.jsonl.gz",
            Kind::GuardDuty,
            day,
        );
        check(
            "AWSLogs/111122223333/vpcflowlogs/eu-west-1/2026/11/02/111122223333_vpcflowlogs_eu-west-1_fl-0a1b_20261102T1005Z_9f8e.log.gz",
            Kind::VpcFlow,
            Some("2026-11-02T09:55:00.000Z"),
        );
        check(
            "AWSLogs/aws-account-id=111122223333/aws-service=vpcflowlogs/aws-region=eu-west-1/year=2026/month=11/day=02/hour=10/x.log.parquet",
            Kind::VpcFlow,
            Some("2026-11-02T10:00:00.000Z"),
        );
        check(
            "aws/CLOUD_TRAIL_MGMT/2.0/region=eu-west-1/accountId=111122223333/eventDay=20261102/1a2b.gz.parquet",
            Kind::SecurityLake,
            day,
        );
        check("AWSLogs/111122223333/Config/eu-west-1/2026/11/2/ConfigHistory/x.json.gz", Kind::Foreign, None);
        check("AWSLogs/111122223333/elasticloadbalancing/eu-west-1/2026/11/02/x.log.gz", Kind::Foreign, day);
        // A prefix of the user's own, called as a service is.
        check(
            "111122223333/Config/AWSLogs/111122223333/CloudTrail/eu-west-1/2026/11/02/Config",
            Kind::CloudTrail,
            day,
        );
    }

    #[test]
    fn a_file_of_flow_logs_covers_minutes_on_either_side_or_the_hour_of_its_folder() {
        let span =
            |key: &str| span_of(key).map(|span| (time::format(span.begin), time::format(span.end))).unwrap();
        let file = "111122223333_vpcflowlogs_eu-west-1_fl-0a1b_20261102T1005Z_9f8e.log.gz";
        let pair = |begin: &str, end: &str| (begin.to_owned(), end.to_owned());
        let folder = "AWSLogs/111122223333/vpcflowlogs/eu-west-1/2026/11/02";
        assert_eq!(
            span(&format!("{folder}/{file}")),
            pair("2026-11-02T09:55:00.000Z", "2026-11-02T10:10:00.000Z")
        );
        let hourly = pair("2026-11-02T09:55:00.000Z", "2026-11-02T11:00:00.000Z");
        assert_eq!(span(&format!("{folder}/10/{file}")), hourly);
        let hive = "AWSLogs/aws-account-id=111122223333/aws-service=vpcflowlogs/aws-region=eu-west-1/year=2026/month=11/day=02/hour=10";
        assert_eq!(span(&format!("{hive}/{file}")), hourly);
    }

    #[test]
    fn a_name_covers_a_minute_an_hour_or_a_day() {
        let folder = "AWSLogs/111122223333/GuardDuty/eu-west-1/2026/11/02";
        for (key, begin, end) in [
            (format!("{folder}/x.jsonl.gz"), "2026-11-02T00:00:00.000Z", "2026-11-03T00:00:00.000Z"),
            (format!("{folder}/23/x.gz"), "2026-11-02T23:00:00.000Z", "2026-11-03T00:00:00.000Z"),
            (
                format!("{folder}/a_20261102T1005Z_b.gz"),
                "2026-11-02T10:05:00.000Z",
                "2026-11-02T10:06:00.000Z",
            ),
            (
                format!("{folder}/a_20261102T100507Z.gz"),
                "2026-11-02T10:05:07.000Z",
                "2026-11-02T10:05:08.000Z",
            ),
        ] {
            let span = span_of(&key).unwrap();
            assert_eq!(
                (time::format(span.begin).as_str(), time::format(span.end).as_str()),
                (begin, end),
                "{key}"
            );
        }
    }

    #[test]
    fn other_names_say_nothing() {
        // A bucket may hold a folder of that name that is not AWS's.
        check("CloudTrail/notes.json", Kind::Unknown, None);
        check("export/findings.json", Kind::Unknown, None);
        check("AWSLogs/111122223333/Novel/2026/13/45/x_20269999T9999Z_y.json", Kind::Unknown, None);
        check("", Kind::Unknown, None);
        check("é/2026/11/0é/x", Kind::Unknown, None);
    }
}
