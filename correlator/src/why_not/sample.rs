//! How much of a sample came together: one event for each step under one key, in any order.

use std::collections::BTreeMap;

use rules::expr::Expr;
use rules::plan::Sample;

use super::fit::{self, fits};
use super::{Answer, Question, Seen};
use crate::detect;
use crate::keyed::JoinKey;
use crate::source::Record;

pub(super) fn answer(question: &Question<'_>, sample: &Sample<Expr>) -> Answer {
    let mut by_key: BTreeMap<JoinKey, Vec<(&Record, usize)>> = BTreeMap::new();
    for record in question.records {
        for (step, said) in sample.steps.iter().enumerate() {
            if fits(question, &said.predicate, record) {
                let keys = detect::keys(&said.by, &record.event);
                keys.into_iter().for_each(|key| by_key.entry(key).or_default().push((record, step)));
            }
        }
    }
    if let Some(id) = question.event {
        by_key.retain(|_, events| events.iter().any(|(record, _)| *record.event.id == *id));
    }
    let mut fullest: Vec<Option<&Record>> = vec![None; sample.steps.len()];
    for events in by_key.values() {
        for (start, (first, _)) in events.iter().enumerate() {
            let mut found = vec![None; sample.steps.len()];
            let inside = |(record, _): &&(&Record, usize)| {
                sample.window.is_none_or(|window| record.event.time - first.event.time <= window)
            };
            for (record, step) in events[start..].iter().take_while(inside) {
                found[*step].get_or_insert(*record);
            }
            if n_found(&found) > n_found(&fullest) {
                fullest = found;
            }
        }
    }
    let seen = fullest
        .iter()
        .enumerate()
        .filter_map(|(step, record)| record.map(|record| Seen::new(format!("step {}", step + 1), record)));
    let found: Vec<Seen> = seen.collect();
    let n_steps = sample.steps.len();
    let Some(missing) = fullest.iter().position(Option::is_none) else {
        return Answer {
            reached: "all of it".to_owned(),
            is_met: true,
            found,
            nearest: None,
            reasons: Vec::new(),
        };
    };
    let others = question.records.iter().filter(|record| {
        fullest.iter().flatten().all(|held| held.event.id != record.event.id)
            && !fits(question, &sample.steps[missing].predicate, record)
    });
    let nearest = others
        .map(|record| (fit::miss(question, &sample.steps[missing].predicate, record), record))
        .min_by_key(|(miss, record)| (miss.distance, super::order(record)));
    let name = format!("step {}", missing + 1);
    Answer {
        reached: format!("{} of {n_steps} steps under one key; {name} did not come with them", found.len()),
        is_met: false,
        found,
        nearest: nearest.as_ref().map(|(_, record)| Seen::new(format!("nearest to {name}"), record)),
        reasons: nearest.map(|(miss, _)| miss.reasons).unwrap_or_default(),
    }
}

fn n_found(found: &[Option<&Record>]) -> usize {
    found.iter().flatten().count()
}
