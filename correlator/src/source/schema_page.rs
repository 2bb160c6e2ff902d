//! docs/event-schema.md, made from the field table and from what the mappings do: records whose every value says where it
//! stands are read, and where a value turns up is where it comes from. So the page cannot say what the code does not do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use rules::schema::{FieldType, Origin as Owner, Schema};
use serde_json::Value;

use crate::source::Origin;
use crate::source::normalize::tests::normalizer;
use crate::time;

/// From whom, and from which place of theirs, a field gets its value.
type Sources = BTreeMap<String, BTreeMap<&'static str, BTreeSet<String>>>;

const CLOUDTRAIL: &str = "CloudTrail";
const GUARDDUTY: &str = "GuardDuty";
const VPCFLOW: &str = "flow log";
const SENSOR: &str = "sensor";

/// Every column of versions 2 to 8, with values of the right form, each of its own.
const FLOW: &str = include_str!("schema_page/samples/vpcflow.txt");
const CALLS: &str = include_str!("schema_page/samples/cloudtrail.json");
const FINDINGS: &str = include_str!("schema_page/samples/guardduty.json");

/// Fields of the public mappings that no record of AWS's fills here, and why.
const UNFILLED: &[(&str, &str)] = &[
    (
        "aws.guardduty.resource.details",
        "an object of any shape there; its parts go by names of their own here",
    ),
    ("aws.guardduty.service.action.details", "the same"),
];

/// `"*"` in a sample stands for a text that names its own place.
fn named(value: &mut Value, path: &str) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                named(value, &path);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| named(item, path)),
        Value::String(text) if text == "*" => *text = format!("@{path}@"),
        _ => {}
    }
}

fn leaves(value: &Value, path: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                leaves(value, &path, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| leaves(item, path, found)),
        Value::String(text) => found.push((path.to_owned(), text.clone())),
        other => found.push((path.to_owned(), other.to_string())),
    }
}

/// Where a value of the event stands in the record; none where the mapping made it. Of several places with the value, the
/// one that is called as the field is.
fn place(field: &str, value: &str, record: &[(String, String)]) -> Option<String> {
    let plain = |path: &str| {
        let last = path.rsplit('.').next().unwrap_or(path);
        last.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
    };
    if let Some((path, _)) = record.iter().find(|(path, text)| text == value && plain(path) == plain(field)) {
        return Some(path.clone());
    }
    // There are only two of these, and any two things may be so.
    if matches!(value, "true" | "false") {
        return None;
    }
    let whole = |(_, text): &&(String, String)| {
        text == value
            || (text.len() > 9 && time::parse(text).is_some() && time::parse(text) == time::parse(value))
    };
    if let Some((path, _)) = record.iter().find(whole) {
        return Some(path.clone());
    }
    let lower = value.to_ascii_lowercase();
    let is_part =
        |(_, text): &&(String, String)| value.len() > 3 && text.to_ascii_lowercase().contains(&lower);
    // `@path@` of a body printed as one text.
    let inside = record.iter().find(|(_, text)| text.starts_with('@') && value.contains(text.as_str()));
    if let Some((path, _)) = inside {
        return Some(path.split('.').next().unwrap_or(path).to_owned());
    }
    record.iter().find(is_part).map(|(path, _)| format!("in {path}"))
}

fn trace(origin: Origin, name: &'static str, raw: &str, record: &[(String, String)], sources: &mut Sources) {
    let read = normalizer().read(origin, raw).unwrap_or_else(|error| panic!("{error}: {raw}"));
    let mut fields = Vec::new();
    leaves(&read.document(), "", &mut fields);
    for (field, value) in fields {
        let from = place(&field, &value, record).unwrap_or_else(|| "–".to_owned());
        sources.entry(field).or_default().entry(name).or_default().insert(from);
    }
}

fn sources() -> Sources {
    let mut sources = Sources::new();
    for (origin, name, text) in
        [(Origin::CloudTrail, CLOUDTRAIL, CALLS), (Origin::GuardDuty, GUARDDUTY, FINDINGS)]
    {
        let mut records: Vec<Value> = serde_json::from_str(text).expect("a sample is JSON");
        for record in &mut records {
            named(record, "");
            let mut places = Vec::new();
            leaves(record, "", &mut places);
            trace(origin, name, &record.to_string(), &places, &mut sources);
        }
    }
    let (header, lines) = FLOW.split_once('\n').expect("a header and lines");
    for line in lines.lines() {
        let columns = header.split(' ').zip(line.split(' '));
        let places: Vec<_> = columns.map(|(column, value)| (column.to_owned(), value.to_owned())).collect();
        trace(Origin::VpcFlow, VPCFLOW, &format!("{header}\n{line}"), &places, &mut sources);
    }
    // What the sensor wrote goes through under its own names.
    let traces = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/traces");
    for entry in std::fs::read_dir(traces).expect("the recorded traces").flatten() {
        let text = std::fs::read_to_string(entry.path().join("host.ndjson")).unwrap_or_default();
        for line in text.lines() {
            let mut fields = Vec::new();
            leaves(&serde_json::from_str(line).expect("a recorded event"), "", &mut fields);
            for (field, _) in fields {
                sources.entry(field).or_default().entry(SENSOR).or_default().insert(String::new());
            }
        }
    }
    sources
}

/// What is said of one field, fields below it included where it takes any.
fn of_field<'s>(
    path: &str,
    kind: FieldType,
    sources: &'s Sources,
) -> BTreeMap<&'static str, BTreeSet<&'s str>> {
    let mut all: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
    let below = format!("{path}.");
    for (field, by_name) in sources {
        let is_it = field == path || (kind == FieldType::Flattened && field.starts_with(&below));
        if is_it {
            for (name, places) in by_name {
                let shortened = places.iter().map(|place| match kind {
                    // The object that everything below is taken from.
                    FieldType::Flattened if field != path => {
                        let n_below = field[below.len()..].split('.').count();
                        place.rsplitn(n_below + 1, '.').last().unwrap_or(place)
                    }
                    _ => place.as_str(),
                });
                all.entry(*name).or_default().extend(shortened);
            }
        }
    }
    all
}

fn kind_name(kind: FieldType) -> &'static str {
    match kind {
        FieldType::Keyword => "keyword",
        FieldType::Long => "long",
        FieldType::Double => "double",
        FieldType::Boolean => "boolean",
        FieldType::Date => "date",
        FieldType::Ip => "ip",
        FieldType::Flattened => "any below",
    }
}

fn page() -> String {
    let (schema, sources) = (Schema::builtin(), sources());
    let mut out = PREFACE.to_owned();
    let mut fields: Vec<_> = schema.iter().map(|(_, field)| field).collect();
    fields.sort_by(|a, b| a.path.cmp(&b.path));
    let mut unfilled = String::new();
    for field in fields {
        let by_name = of_field(&field.path, field.kind, &sources);
        if by_name.is_empty() {
            let _ = writeln!(unfilled, "`{}` {}  ", field.path, kind_name(field.kind));
            continue;
        }
        let cell = |name: &str| match by_name.get(name) {
            None => String::new(),
            Some(places) => {
                let made = places.contains("–");
                let mut said: Vec<String> =
                    places.iter().filter(|place| **place != "–").map(|place| format!("`{place}`")).collect();
                if made && said.is_empty() {
                    said.push("set".to_owned());
                }
                said.join(", ").replace("`in ", "in `").replace('|', "\\|")
            }
        };
        let sensor = if by_name.contains_key(SENSOR) { "yes" } else { "" };
        let (path, kind) = (&field.path, kind_name(field.kind));
        let _ = writeln!(
            out,
            "| `{path}` | {kind} | {} | {} | {} | {sensor} |",
            cell(CLOUDTRAIL),
            cell(GUARDDUTY),
            cell(VPCFLOW)
        );
    }
    out + UNNAMED + &unfilled
}

const PREFACE: &str = "# Event schema

Every field that rules can name, with its type and where its value comes from. This page is made from `rules/schema` and from what the mappings
do with records whose values say where they stand; a test holds them together (`UPDATE_EXPECT=1 cargo test -p correlator --lib schema_page`
writes it anew).

- *CloudTrail*, *GuardDuty*, *flow log*: the place in AWS's record, in its own spelling (findings in PascalCase read the same); \"in\" before it: a
  part of that text; \"set\": the same for all such events, or derived from several places.
- *sensor*: host events carry the field under this very name; only what the recorded traces hold is marked.
- Fields without any source stand behind the table.
- *any below*: an object of AWS's whose keys are open; each leaf below is a keyword of its own.
- The whole record stays with the event: `event.original` is not a field, but alerts carry the documents they rest on.

| field | type | CloudTrail | GuardDuty | flow log | sensor |
|---|---|---|---|---|---|
";

const UNNAMED: &str = "
## Fields without a source

Public rules name them, and no event here has them: `groundtrail check` says which rules that stops.

";

#[test]
fn the_page_is_what_the_mappings_do() {
    expect_test::expect_file!["../../../docs/event-schema.md"].assert_eq(&page());
}

#[test]
fn every_field_of_aws_is_filled_by_some_record() {
    let (schema, sources) = (Schema::builtin(), sources());
    let is_aws = |owner| matches!(owner, Owner::CloudTrail | Owner::GuardDuty | Owner::VpcFlow);
    let unfilled: BTreeSet<&str> = schema
        .iter()
        .map(|(_, field)| field)
        .filter(|field| is_aws(field.origin) && of_field(&field.path, field.kind, &sources).is_empty())
        .map(|field| &*field.path)
        .collect();
    let expected: BTreeSet<&str> = UNFILLED.iter().map(|(path, _)| *path).collect();
    assert_eq!(unfilled, expected);
}
