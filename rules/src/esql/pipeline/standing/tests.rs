use std::collections::VecDeque;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::super::compile;
use super::*;
use crate::event::Value;
use crate::schema::Schema;

/// What windows ask, in all the ways in which a sum can be read.
const QUERIES: &[&str] = &[
    "STATS n = COUNT(*), names = VALUES(process.name) BY user.id | WHERE n > 3",
    "STATS n = COUNT(process.args) BY user.id | WHERE n > 4 AND n != 7",
    "STATS n = COUNT_DISTINCT(process.name), m = MEDIAN(process.pid) BY user.id | WHERE n > 2",
    "STATS names = VALUES(process.name) BY user.id | WHERE MV_FIRST(names) == \"b\"",
    "STATS args = VALUES(process.args) | WHERE MV_CONCAT(args, \"\") LIKE \"*ca*\"",
    "STATS low = MIN(process.pid), high = MAX(process.pid) BY user.id | WHERE high - low > 4",
    "STATS ended = MIN(CASE(process.name == \"a\", @timestamp, null)), last = MAX(CASE(process.name == \"a\", null, @timestamp)) \
     BY user.id | WHERE ended IS NOT NULL AND last > ended + 3 seconds",
    "STATS s = SUM(process.pid) BY user.id | EVAL half = s / 2 | WHERE half > 6",
    "STATS f = FIRST(process.name), l = LAST(process.name) | WHERE f == l",
    "STATS n = COUNT(*) BY process.name, user.id | INLINE STATS all = SUM(n) BY user.id | WHERE n * 3 > all AND all > 4",
    "STATS n = COUNT(*) BY process.args | SORT n DESC | LIMIT 1 | WHERE n > 2 AND process.args != \"b\"",
    "STATS held = VALUES(CASE(process.pid > 4, process.args, null)), asked = VALUES(CASE(process.pid > 4, null, process.args)) \
     BY user.id | MV_EXPAND asked | WHERE held IS NOT NULL AND asked IS NOT NULL AND NOT MV_CONTAINS(held, asked)",
    "STATS n = COUNT(*) WHERE process.pid > 3 BY user.id | WHERE n == 2",
    "STATS args = VALUES(process.args), n = COUNT(*) BY process.name | MV_EXPAND args | STATS k = COUNT(*) BY args | WHERE k > 2",
    "STATS n = COUNT(*)",
];

fn pipeline(query: &str, schema: &mut Schema) -> Arc<Pipeline> {
    let compiled = compile(&format!("FROM logs-* | {query}"), schema);
    let found = compiled.unwrap_or_else(|found| panic!("{query}: {found:?}"));
    found.plan.pipeline.expect("it looks at many rows")
}

/// Names, a number, and letters that are the arguments.
fn rows(pipeline: &Pipeline, drawn: &[(u8, i64, Vec<u8>)], schema: &mut Schema) -> Vec<Row> {
    let field = |path: &str, schema: &mut Schema| schema.resolve(path).expect("a field");
    let letter = |n: u8| Value::str(char::from(b'a' + n).to_string());
    let mut made = Vec::new();
    for (at, (name, pid, args)) in drawn.iter().enumerate() {
        let time = EventTime(at as i64 * 700_000_000);
        let mut event = crate::event::Event::new(format!("e{at}"), time, "logs-test-default");
        event.push(field("user.id", schema), Value::str("u"));
        if *name < 3 {
            event.push(field("process.name", schema), letter(*name));
        }
        event.push(field("process.pid", schema), Value::Int(*pid));
        for arg in args {
            event.push(field("process.args", schema), letter(*arg));
        }
        made.extend(pipeline.rows(&event));
    }
    made
}

#[test]
fn what_only_all_rows_say_is_not_followed() {
    let mut schema = Schema::builtin();
    for query in [
        "STATS m = MEDIAN(process.pid) BY user.id | WHERE m > 3",
        "STATS f = FIRST(process.name, process.pid) BY user.id | WHERE f == \"a\"",
        "STATS n = COUNT(CASE(@timestamp > NOW() - 1 minute, 1, null)) BY user.id | EVAL late = NOW() | INLINE STATS m = AVG(n) | WHERE n > 1",
        "INLINE STATS n = COUNT(*) BY user.id | WHERE n > 3",
    ] {
        let pipeline = pipeline(query, &mut schema);
        let is_followed = pipeline.standing().is_some();
        // What looks at the time of the last event does so in front of the first STATS here, where each event is its own last.
        assert_eq!(is_followed, query.contains("NOW()"), "{query}");
    }
}

#[test]
fn sums_that_depend_on_their_order_are_given_up() {
    let mut schema = Schema::builtin();
    let pipeline = pipeline("STATS s = SUM(process.pid) BY user.id | WHERE s > 3", &mut schema);
    let rows = rows(&pipeline, &[(0, 2, vec![]), (0, i64::MAX, vec![]), (0, 2, vec![])], &mut schema);
    let mut standing = pipeline.standing().expect("it is followed");
    standing.add(&pipeline, &rows[0]);
    assert_eq!(standing.is_left(&pipeline), Some(false));
    standing.add(&pipeline, &rows[1]);
    assert_eq!(standing.is_left(&pipeline), None);
    standing.drop_first(&pipeline, &rows[0]);
    assert_eq!(standing.is_left(&pipeline), None);
}

#[test]
fn rows_out_of_their_order_are_not_followed() {
    let mut schema = Schema::builtin();
    let pipeline = pipeline("STATS n = COUNT(*) BY user.id | WHERE n > 1", &mut schema);
    let rows = rows(&pipeline, &[(0, 2, vec![]), (0, 2, vec![])], &mut schema);
    let mut standing = pipeline.standing().expect("it is followed");
    standing.add(&pipeline, &rows[1]);
    standing.add(&pipeline, &rows[0]);
    assert_eq!(standing.is_left(&pipeline), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// As rows come and go, it says what going through all of them would.
    #[test]
    fn it_says_what_all_rows_would(
        query in prop::sample::select(QUERIES),
        drawn in prop::collection::vec((0_u8..4, 0_i64..9, prop::collection::vec(0_u8..4, 0..3)), 1..40),
        goes in prop::collection::vec(0_usize..3, 40),
    ) {
        let mut schema = Schema::builtin();
        let pipeline = pipeline(query, &mut schema);
        let mut standing = pipeline.standing().expect("it is followed");
        let mut held: VecDeque<Row> = VecDeque::new();
        let key = |held: &VecDeque<Row>| held.front().map(|row| row.key.clone()).unwrap_or_default();
        for (row, n_go) in rows(&pipeline, &drawn, &mut schema).into_iter().zip(goes.into_iter().cycle()) {
            // One key, as the rows of a window are.
            if !held.is_empty() && key(&held) != row.key {
                continue;
            }
            standing.add(&pipeline, &row);
            held.push_back(row);
            let all: Vec<&Row> = held.iter().collect();
            let is_left = pipeline.finish(&key(&held), &all).is_some();
            prop_assert_eq!(standing.is_left(&pipeline), Some(is_left), "{} over {:?}", query, all);
            for _ in 0..n_go.min(held.len()) {
                if let Some(row) = held.pop_front() {
                    standing.drop_first(&pipeline, &row);
                }
                let all: Vec<&Row> = held.iter().collect();
                let is_left = pipeline.finish(&key(&held), &all).is_some();
                // Time is that of the last row, so what is asked about an empty window is nothing.
                if !held.is_empty() {
                    prop_assert_eq!(standing.is_left(&pipeline), Some(is_left), "{} over {:?}", query, all);
                }
            }
            if held.is_empty() {
                prop_assert_eq!(standing.n_groups(), 0);
            }
        }
    }
}
