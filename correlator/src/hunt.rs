//! A query over events that are all there: what belongs together, outside of any alert.

use std::collections::BTreeMap;
use std::sync::Arc;

use rules::event::{EventTime, Span};
use rules::expr::Expr;
use rules::program::Program;
use rules::rule::Rule;
use rules::schema::Schema;

use crate::detect::{self, Detect};
use crate::keyed::{Anchor, Change, JoinKey, Keyed, Limits, Match};
use crate::source::Record;

/// Nothing is let go of because of its age where the query itself sets no bound.
const FOREVER: Span = Span(i64::MAX / 8);

/// What a rule of several events finds among these, in the order in which the matches end.
pub fn matches<'r>(
    rule: Rule<Expr>,
    schema: &Schema,
    records: impl IntoIterator<Item = &'r Record>,
) -> Vec<Arc<Match>> {
    let program = Arc::new(Program::compile(vec![rule], schema));
    let limits = Limits { open_span: FOREVER, grace: Span(0), ..Limits::default().for_finals() };
    let shapes = program.rules().iter().map(|rule| detect::shape(rule, schema, &limits)).collect();
    let mut keyed = Keyed::new(shapes, limits);
    let mut detect = Detect::new(program);
    let mut records: Vec<&Record> = records.into_iter().collect();
    records.sort_by_key(|record| (record.event.time, record.event.sequence, record.event.id.clone()));
    let mut found: BTreeMap<(JoinKey, Anchor), Arc<Match>> = BTreeMap::new();
    let mut take = |changes: Vec<Change>| {
        for change in changes {
            match change {
                Change::Put { key, found: one } => {
                    found.insert((key.1.clone(), one.anchor.clone()), one);
                }
                Change::Gone { key, anchor } => {
                    found.remove(&(key.1.clone(), anchor));
                }
            }
        }
    };
    for record in records {
        for (rule, key, hit) in detect.detect(record).keyed {
            take(keyed.push(rule, key, hit));
        }
    }
    take(keyed.advance(EventTime(i64::MAX)));
    let mut found: Vec<(JoinKey, Arc<Match>)> =
        found.into_iter().map(|((key, _), found)| (key, found)).collect();
    found.sort_by(|(left_key, left), (right_key, right)| {
        let order = |found: &Match| (found.end, found.start);
        order(left).cmp(&order(right)).then_with(|| left_key.cmp(right_key))
    });
    found.into_iter().map(|(_, found)| found).collect()
}
