//! A run that starts with the state an earlier version wrote goes on with it.

use std::fmt::Write as _;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::kinds::world_of_the_fixtures;
use super::tests::{Kept, connect, described, exec, run_once, sent};
use crate::store::{STEPS, Store};

/// What version 4 of the format held after [`first_half`], without the tables' definitions.
const FORMAT_4: &str = include_str!("older/format4.sql");

/// Every kind of rule has seen something, and nothing that is all it looks for.
fn first_half() -> Vec<String> {
    let calls = [described("Images", 10), described("Regions", 20), sent(900)];
    let execs = [exec("aws", 200), exec("sh", 310), exec("sh", 320), exec("sh", 330), exec("curl", 100)];
    calls.into_iter().chain(execs).collect()
}

fn second_half() -> Vec<String> {
    let calls = [described("Snapshots", 50), sent(1_100)];
    let execs = [exec("curl", 420), exec("sh", 340), exec("sh", 210), exec("aws", 215)];
    calls.into_iter().chain(execs).chain([connect(104), connect(350)]).collect()
}

/// What the second run says, as text, in a fixed order.
fn goes_on(path: &Path) -> Vec<String> {
    let mut kept = Kept::default();
    run_once(world_of_the_fixtures(), Store::open(path).unwrap(), &second_half(), &mut kept).unwrap();
    let mut told: Vec<String> = kept.told.iter().map(|change| but_history(&change.document)).collect();
    told.sort();
    told
}

/// The format of then did not hold since when a rule knows its terms, so what is said of that begins with the second run.
fn but_history(document: &serde_json::Value) -> String {
    let mut document = document.clone();
    if let Some(lines) = document["groundtrail"]["alert"]["could_not_see"].as_array_mut() {
        lines.retain(|line| {
            !line.as_str().is_some_and(|line| line.starts_with("whether this was seen before"))
        });
    }
    document.to_string()
}

fn names(documents: &[String]) -> Vec<String> {
    let name = |text: &String| {
        let document: serde_json::Value = serde_json::from_str(text).unwrap();
        let (rule, own) = (&document["rule"]["name"], &document["groundtrail"]["alert"]);
        format!("{rule} {} {}", own["state"], own["revision"])
    };
    documents.iter().map(name).collect()
}

fn first_run(path: &Path) {
    let world = world_of_the_fixtures();
    run_once(world, Store::open(path).unwrap(), &first_half(), &mut Kept::default()).unwrap();
}

#[test]
fn state_of_the_previous_format_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let (new, old) = (dir.path().join("new.db"), dir.path().join("old.db"));
    first_run(&new);
    let conn = Connection::open(&old).unwrap();
    STEPS[..4].iter().for_each(|step| conn.execute_batch(step).unwrap());
    conn.execute_batch(FORMAT_4).unwrap();
    conn.pragma_update(None, "user_version", 4).unwrap();
    drop(conn);
    let (told, expected) = (goes_on(&old), goes_on(&new));
    assert_eq!(names(&told), names(&expected));
    assert!(told.len() >= 7, "{} documents", told.len());
    // When a rule began to learn was not written then.
    let known = |documents: Vec<String>| -> Vec<serde_json::Value> {
        let mut documents: Vec<serde_json::Value> =
            documents.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        for document in &mut documents {
            let unseen = document["groundtrail"]["alert"]["could_not_see"].as_array_mut().unwrap();
            unseen.retain(|text| !text.as_str().unwrap().contains("of its 10 d of history"));
        }
        documents
    };
    assert_eq!(known(told), known(expected));
}

/// Makes the file anew. For the version after this one: an old version's file is made by that version.
#[test]
#[ignore = "writes src/pipeline/older/"]
fn write_what_this_format_holds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    first_run(&path);
    let conn = Connection::open(&path).unwrap();
    let mut tables =
        conn.prepare("select name from sqlite_master where type = 'table' order by name").unwrap();
    let tables: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let mut text = String::new();
    // A run's health names the machine it ran on, and nobody's state rests on it.
    for table in tables.iter().filter(|table| *table != "health") {
        let mut rows = conn.prepare(&format!("select * from {table}")).unwrap();
        let columns = rows.column_names().collect::<Vec<_>>().join(", ");
        let n = rows.column_count();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values: Vec<String> = (0..n).map(|at| literal(row.get_ref(at).unwrap())).collect();
            writeln!(text, "insert into {table} ({columns}) values ({});", values.join(", ")).unwrap();
        }
    }
    let out =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/pipeline/older/format{}.sql", STEPS.len()));
    std::fs::write(out, text).unwrap();
}

fn literal(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "null".to_owned(),
        ValueRef::Integer(int) => int.to_string(),
        ValueRef::Real(float) => float.to_string(),
        ValueRef::Text(text) => format!("'{}'", String::from_utf8_lossy(text).replace('\'', "''")),
        ValueRef::Blob(blob) => {
            let hex: String = blob.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("x'{hex}'")
        }
    }
}
