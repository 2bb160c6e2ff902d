//! How much of a sample came together: one event for each step under one key, in any order.

use std::collections::BTreeMap;

use rules::event::Span;
use rules::expr::Expr;
use rules::plan::Sample;

use super::fit::{self, fits};
use super::{Answer, Kind, Question, Reason, Seen, in_words};
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
    let mut its_key = None;
    for (key, events) in &by_key {
        for (start, (first, _)) in events.iter().enumerate() {
            let mut found = vec![None; sample.steps.len()];
            let inside = |(record, _): &&(&Record, usize)| {
                sample.window.is_none_or(|window| record.event.time - first.event.time <= window)
            };
            for (record, step) in events[start..].iter().take_while(inside) {
                found[*step].get_or_insert(*record);
            }
            if n_found(&found) > n_found(&fullest) {
                (fullest, its_key) = (found, Some(key));
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
    let name = format!("step {}", missing + 1);
    let reached = format!("{} of {n_steps} steps under one key; {name} did not come with them", found.len());
    let fitting: Vec<&Record> = question
        .records
        .iter()
        .filter(|record| fits(question, &sample.steps[missing].predicate, record))
        .collect();
    if !fitting.is_empty() {
        let (record, reason) = apart(question, sample, missing, &fitting, &fullest, its_key);
        let nearest = Some(Seen::new(format!("nearest to {name}"), record));
        return Answer { reached, is_met: false, found, nearest, reasons: vec![reason] };
    }
    let others = question
        .records
        .iter()
        .filter(|record| fullest.iter().flatten().all(|held| held.event.id != record.event.id));
    let nearest = others
        .map(|record| (fit::miss(question, &sample.steps[missing].predicate, record), record))
        .min_by_key(|(miss, record)| (miss.distance, super::order(record)));
    Answer {
        reached,
        is_met: false,
        found,
        nearest: nearest.as_ref().map(|(_, record)| Seen::new(format!("nearest to {name}"), record)),
        reasons: nearest.map(|(miss, _)| miss.reasons).unwrap_or_default(),
    }
}

/// Events fit the step that is missing: why the nearest of them does not belong to the others.
fn apart<'r>(
    question: &Question<'_>,
    sample: &Sample<Expr>,
    missing: usize,
    fitting: &[&'r Record],
    fullest: &[Option<&Record>],
    its_key: Option<&JoinKey>,
) -> (&'r Record, Reason) {
    let by = &sample.steps[missing].by;
    let times = || fullest.iter().flatten().map(|record| record.event.time);
    let (first, last) = (times().min().unwrap_or_default(), times().max().unwrap_or_default());
    let away =
        |record: &Record| Span((record.event.time - first).0.abs().max((last - record.event.time).0.abs()));
    let of_key = |record: &&&Record| its_key.is_none_or(|key| detect::keys(by, &record.event).contains(key));
    if let Some(record) = fitting.iter().filter(of_key).min_by_key(|record| away(record)) {
        let window = sample.window.unwrap_or_default();
        let over = Span((away(record).0 - window.0).max(0));
        let text =
            format!("it came {} too far from the others: maxspan is {}", in_words(over), in_words(window));
        return (*record, Reason::new(Kind::TooLate, text).off_by(over));
    }
    let record = fitting.iter().min_by_key(|record| away(record)).copied().unwrap_or(fitting[0]);
    let keys = detect::keys(by, &record.event);
    let absent = by.iter().find(|part| !part.is_optional && record.event.get(part.field).is_none());
    if let Some(part) = absent {
        let path = question.path(part.field);
        let text = format!("it has no {path}, which step {} joins on", missing + 1);
        return (record, Reason { field: Some(path), ..Reason::new(Kind::KeyAbsent, text) });
    }
    let word = |key: &JoinKey, at: usize| {
        key.0
            .get(at)
            .and_then(Option::as_deref)
            .map_or_else(|| "no value".to_owned(), |value| format!("\"{value}\""))
    };
    let differs = keys.first().zip(its_key).and_then(|(own, other)| {
        let at = (0..by.len()).find(|at| own.0.get(*at) != other.0.get(*at))?;
        Some((question.path(by[at].field), word(own, at), word(other, at)))
    });
    let Some((path, actual, wanted)) = differs else {
        return (record, Reason::new(Kind::OtherKey, "it joins with other events than these"));
    };
    let text = format!("{path} of event {} is {actual}, and the others have {wanted}", record.event.id);
    let reason = Reason::new(Kind::OtherKey, text);
    (record, Reason { field: Some(path), actual: Some(actual), wanted: Some(wanted), ..reason })
}

fn n_found(found: &[Option<&Record>]) -> usize {
    found.iter().flatten().count()
}
