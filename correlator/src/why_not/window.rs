//! How full a window came to be: thresholds, aggregates, and terms that were no news.

use std::collections::{BTreeMap, BTreeSet};

use rules::esql;
use rules::event::{EventTime, Span};
use rules::expr::Expr;
use rules::plan::{Aggregate, NewTerms, Threshold, Window};
use rules::schema::FieldId;

use super::fit::{self, fits};
use super::{Answer, Kind, MAX_SEEN, Question, Reason, Seen, in_words};
use crate::detect;
use crate::keyed::JoinKey;
use crate::source::Record;
use crate::time;

/// The events of each group, in event order.
type Groups<'r> = BTreeMap<JoinKey, Vec<&'r Record>>;

/// Why there is no group to look at: nothing fits, or what fits has nothing to group by.
fn groups<'r>(question: &Question<'r>, predicate: &Expr, by: &[FieldId]) -> Result<Groups<'r>, Box<Answer>> {
    let fitting: Vec<&Record> =
        question.records.iter().filter(|record| fits(question, predicate, record)).collect();
    let mut groups = Groups::new();
    for record in &fitting {
        for key in detect::keys(&detect::required(by), &record.event) {
            groups.entry(key).or_default().push(record);
        }
    }
    if let Some(id) = question.event {
        if !fitting.iter().any(|record| *record.event.id == *id) {
            return Err(Box::new(question.miss(predicate, "the event does not count", question.asked())));
        }
        groups.retain(|_, records| records.iter().any(|record| *record.event.id == *id));
    }
    if !groups.is_empty() {
        return Ok(groups);
    }
    let keyless = fitting.into_iter().find(|record| question.event.is_none_or(|id| *record.event.id == *id));
    let Some(record) = keyless else {
        return Err(Box::new(question.miss(predicate, "no event", question.records.iter())));
    };
    let absent = by.iter().find(|field| record.event.get(**field).is_none());
    let reason = absent.map(|field| {
        let path = question.path(*field);
        let text = format!("it has no {path}, which the rule groups by");
        Reason { field: Some(path), ..Reason::new(Kind::KeyAbsent, text) }
    });
    let mut answer = question.nothing(reason.into_iter().collect());
    answer.nearest = Some(Seen::new("match", record));
    Err(Box::new(answer))
}

pub(super) fn threshold(question: &Question<'_>, threshold: &Threshold<Expr>) -> Answer {
    let groups = match groups(question, &threshold.predicate, &threshold.by) {
        Ok(groups) => groups,
        Err(answer) => return *answer,
    };
    let field = threshold.cardinality.map(|(field, _)| field);
    let least_distinct = threshold.cardinality.map_or(0, |(_, least)| least);
    // The fullest window of any group: by what it lacks, in parts of what it needs.
    let windows = groups.iter().flat_map(|(key, records)| {
        (0..records.len()).map(move |start| {
            let end = records
                .partition_point(|record| record.event.time - records[start].event.time <= threshold.window);
            let inside = &records[start..end];
            (inside.len() as u64, n_distinct(inside, field), key, inside)
        })
    });
    let share = |n: u64, of: u64| (n.min(of) * 1_000).checked_div(of).unwrap_or(1_000);
    let fullest = windows
        .max_by_key(|(n, distinct, _, _)| share(*n, threshold.count).min(share(*distinct, least_distinct)));
    let Some((n, distinct, key, inside)) = fullest else { return question.nothing(Vec::new()) };
    let mut reasons = Vec::new();
    if n < threshold.count {
        let all = &groups[key];
        let text = format!(
            "{n} of {} events came within {} for {}; {} in all",
            threshold.count,
            in_words(threshold.window),
            group(question, &threshold.by, key),
            all.len()
        );
        let mut reason = Reason::new(Kind::TooFew, text);
        (reason.actual, reason.wanted) = (Some(n.to_string()), Some(threshold.count.to_string()));
        if let Some(over) = shortest(all, threshold.count).map(|span| Span(span.0 - threshold.window.0)) {
            reason.text =
                format!("{}, and as many as are needed took {} too long", reason.text, in_words(over));
            reason = reason.off_by(over);
        }
        reasons.push(reason);
    }
    if let Some((field, least)) = threshold.cardinality.filter(|(_, least)| distinct < *least) {
        let path = question.path(field);
        let text = format!("{distinct} of {least} different values of {path} came within the window");
        reasons.push(Reason {
            field: Some(path),
            actual: Some(distinct.to_string()),
            wanted: Some(least.to_string()),
            ..Reason::new(Kind::TooFewDistinct, text)
        });
    }
    Answer {
        reached: format!("{n} of {} events", threshold.count),
        is_met: reasons.is_empty(),
        found: seen("window", inside),
        nearest: None,
        reasons,
    }
}

fn n_distinct(records: &[&Record], field: Option<FieldId>) -> u64 {
    let Some(field) = field else { return 0 };
    let values: BTreeSet<Box<str>> =
        records.iter().flat_map(|record| detect::texts(&record.event, field)).collect();
    values.len() as u64
}

/// The shortest time in which so many of the events came.
fn shortest(records: &[&Record], n: u64) -> Option<Span> {
    let n = usize::try_from(n).ok()?.max(1);
    records.windows(n).map(|window| window[n - 1].event.time - window[0].event.time).min()
}

pub(super) fn new_terms(question: &Question<'_>, terms: &NewTerms<Expr>) -> Answer {
    let groups = match groups(question, &terms.predicate, &terms.fields) {
        Ok(groups) => groups,
        Err(answer) => return *answer,
    };
    let is_asked = |record: &Record| question.event.is_none_or(|id| *record.event.id == *id);
    let mut known = None;
    for (key, records) in &groups {
        for (idx, record) in records.iter().enumerate().filter(|(_, record)| is_asked(record)) {
            let before = idx.checked_sub(1).map(|before| records[before]);
            match before.filter(|before| record.event.time - before.event.time <= terms.window) {
                None => {
                    return Answer {
                        reached: "all of it".to_owned(),
                        is_met: true,
                        found: vec![Seen::new("first seen", record)],
                        nearest: None,
                        reasons: Vec::new(),
                    };
                }
                Some(before) => known = Some((key, before, *record)),
            }
        }
    }
    let Some((key, before, record)) = known else { return question.nothing(Vec::new()) };
    let text = format!(
        "{} is known: event {} had it at {}, {} before, and it counts as known for {}",
        group(question, &terms.fields, key),
        before.event.id,
        time::format(before.event.time),
        in_words(record.event.time - before.event.time),
        in_words(terms.window)
    );
    Answer {
        reached: "the terms are not new".to_owned(),
        is_met: false,
        found: vec![Seen::new("seen before", before)],
        nearest: Some(Seen::new("match", record)),
        reasons: vec![Reason::new(Kind::Known, text)],
    }
}

pub(super) fn aggregate(question: &Question<'_>, aggregate: &Aggregate<Expr>) -> Answer {
    let fitting: Vec<&Record> =
        question.records.iter().filter(|record| fits(question, &aggregate.predicate, record)).collect();
    let asked = |record: &&&Record| question.event.is_none_or(|id| *record.event.id == *id);
    if !fitting.iter().any(|record| asked(&record)) {
        return question.miss(&aggregate.predicate, "no event", question.asked());
    }
    let mut groups: BTreeMap<JoinKey, Vec<(&Record, esql::Row)>> = BTreeMap::new();
    for record in fitting {
        for row in aggregate.pipeline.rows(&record.event) {
            groups.entry(detect::row_key(&row)).or_default().push((record, row));
        }
    }
    if let Some(id) = question.event {
        groups.retain(|_, rows| rows.iter().any(|(record, _)| *record.event.id == *id));
    }
    let (span, is_tumbling) = match aggregate.window {
        Window::Tumbling(span) => (span, true),
        Window::Sliding(span) => (span, false),
    };
    let mut fullest: Option<(&JoinKey, &[(&Record, esql::Row)])> = None;
    for (key, rows) in &groups {
        for start in 0..rows.len() {
            let end = match is_tumbling {
                true => rows.len(),
                false => {
                    rows.partition_point(|(record, _)| record.event.time - rows[start].0.event.time <= span)
                }
            };
            let inside = &rows[start..end];
            let refs: Vec<&esql::Row> = inside.iter().map(|(_, row)| row).collect();
            if aggregate.pipeline.finish(&refs[0].key, &refs).is_some() {
                let records: Vec<&Record> = inside.iter().map(|(record, _)| *record).collect();
                return Answer {
                    reached: "all of it".to_owned(),
                    is_met: true,
                    found: seen("window", &records),
                    nearest: None,
                    reasons: Vec::new(),
                };
            }
            if fullest.is_none_or(|(_, held)| inside.len() > held.len()) {
                fullest = Some((key, inside));
            }
            if is_tumbling {
                break;
            }
        }
    }
    let Some((key, rows)) = fullest else {
        let reason = Reason::new(Kind::KeyAbsent, "the events that count bring nothing to group by");
        return question.nothing(vec![reason]);
    };
    let records: Vec<&Record> = rows.iter().map(|(record, _)| *record).collect();
    let names: Vec<&str> = key.0.iter().map(|value| value.as_deref().unwrap_or("no value")).collect();
    let (from, to) = (ends(&records).0, ends(&records).1);
    let refs: Vec<&esql::Row> = rows.iter().map(|(_, row)| row).collect();
    let sums: Vec<String> = refs.first().map_or_else(Vec::new, |first| {
        let sums = aggregate.pipeline.sums(&first.key, &refs).into_iter();
        sums.map(|(name, value)| format!("{name} is {}", fit::shown(&value))).collect()
    });
    let sums = if sums.is_empty() { String::new() } else { format!(": {}", sums.join(", ")) };
    let text = format!(
        "the fullest group, ({}), has {} rows between {} and {}, and the filters after STATS keep none of what they add up to{sums}",
        names.join(", "),
        rows.len(),
        time::format(from),
        time::format(to)
    );
    Answer {
        reached: format!("{} rows in one group", rows.len()),
        is_met: false,
        found: seen("window", &records),
        nearest: None,
        reasons: vec![Reason::new(Kind::Filtered, text)],
    }
}

fn ends(records: &[&Record]) -> (EventTime, EventTime) {
    let times = || records.iter().map(|record| record.event.time);
    (times().min().unwrap_or_default(), times().max().unwrap_or_default())
}

fn seen(stage: &str, records: &[&Record]) -> Vec<Seen> {
    records.iter().take(MAX_SEEN).map(|record| Seen::new(stage, record)).collect()
}

/// `user.name "alice"`.
fn group(question: &Question<'_>, by: &[FieldId], key: &JoinKey) -> String {
    if by.is_empty() {
        return "all events together".to_owned();
    }
    let part = |(field, value): (&FieldId, &Option<Box<str>>)| {
        format!("{} \"{}\"", question.path(*field), value.as_deref().unwrap_or_default())
    };
    by.iter().zip(&key.0).map(part).collect::<Vec<_>>().join(", ")
}
