//! How near a correlation of Sigma's rules came: the window of one group that lacks least.

use std::sync::Arc;

use rules::event::Span;
use rules::expr::{Comparison, Expr};
use rules::plan::correlation::{Correlation, Measure, Node};

use super::{Answer, Kind, MAX_SEEN, Question, Reason, Seen, fit, in_words};
use crate::correlation::{CorrelationShape, LeafHit, column, nearest};
use crate::detect;
use crate::keyed::{EventRef, Hit};
use crate::source::Record;

pub(super) fn answer(question: &Question<'_>, correlation: &Correlation<Expr>) -> Answer {
    let Some(root) = correlation.nodes.last() else { return question.nothing(Vec::new()) };
    let (mut found, mut fitting) = (Vec::new(), Vec::new());
    let mut n_empty = 0;
    let mut first_empty = None;
    for (leaf, number) in correlation.leaves.iter().zip(0_u16..) {
        let fits = question.records.iter().filter(|record| fit::fits(question, &leaf.predicate, record));
        let fits: Vec<&Record> = fits.collect();
        if fits.is_empty() {
            n_empty += 1;
            first_empty.get_or_insert((leaf, number));
        }
        found.extend(
            fits.iter().take(MAX_SEEN).map(|record| Seen::new(format!("rule {}", number + 1), record)),
        );
        fitting.push(fits);
    }
    found.truncate(MAX_SEEN);
    // Where only numbers count, any one of the rules may bring them.
    let needs = n_empty > 0 && (correlation.needs_each() || n_empty == correlation.leaves.len());
    if let Some((leaf, number)) = first_empty.filter(|_| needs) {
        let reached = format!("no event of rule {}", number + 1);
        return Answer { found, ..question.miss(&leaf.predicate, &reached, question.asked()) };
    }
    let hits = hits(correlation, &fitting, question);
    let shape = CorrelationShape::new(correlation);
    let Some(best) = nearest(&shape, &hits, &question.limits) else {
        let names = root.by_names.join(", ");
        let text = format!("the events that count have nothing to group by: {names}");
        return Answer { found, ..question.nothing(vec![Reason::new(Kind::KeyAbsent, text)]) };
    };
    let records = |events: &[Arc<EventRef>]| -> Vec<Seen> {
        let of = |event: &Arc<EventRef>| question.records.iter().find(|record| record.event.id == event.id);
        events.iter().filter_map(of).take(MAX_SEEN).map(|record| Seen::new("window", record)).collect()
    };
    let what = column(root.measure);
    let actual = best.measured.map_or_else(|| "nothing to measure".to_owned(), |number| number.to_string());
    let wanted = wanted(root);
    if best.lacks == 0.0 {
        let reached = "all of it".to_owned();
        return Answer {
            reached,
            is_met: true,
            found: records(&best.events),
            nearest: None,
            reasons: Vec::new(),
        };
    }
    let group: Vec<String> = best.group.iter().map(|(name, value)| format!("{name} \"{value}\"")).collect();
    let group = if group.is_empty() { "all events together".to_owned() } else { group.join(", ") };
    let text = format!(
        "{what} is {actual} within {} for {group}; the rule asks for {wanted}",
        in_words(Span(root.span.0))
    );
    let kind = match root.measure {
        Measure::ValueCount => Kind::TooFewDistinct,
        Measure::EventCount | Measure::Temporal => Kind::TooFew,
        Measure::TemporalOrdered => Kind::WrongOrder,
        Measure::Sum | Measure::Average | Measure::Percentile(_) => Kind::Filtered,
    };
    let reason =
        Reason { actual: Some(actual.clone()), wanted: Some(wanted.clone()), ..Reason::new(kind, text) };
    Answer {
        reached: format!("{what} {actual} of {wanted}"),
        is_met: false,
        found: records(&best.events),
        nearest: None,
        reasons: vec![reason],
    }
}

/// The events as the engine would see them, in event order; those of the asked event's groups are found by themselves.
fn hits(correlation: &Correlation<Expr>, fitting: &[Vec<&Record>], question: &Question<'_>) -> Vec<Arc<Hit>> {
    let hit = |record: &Record| {
        let leaves: Vec<LeafHit> = correlation
            .leaves
            .iter()
            .zip(fitting)
            .zip(0_u16..)
            .filter(|((_, fits), _)| fits.iter().any(|held| held.event.id == record.event.id))
            .map(|((leaf, _), number)| LeafHit {
                leaf: number,
                values: leaf
                    .fields
                    .iter()
                    .map(|fields| detect::first_texts(&record.event, fields).into())
                    .collect(),
            })
            .collect();
        let event = Arc::new(EventRef::of(record));
        let (values, rows, leaves) = (Box::default(), Box::default(), leaves.into());
        Arc::new(Hit { event, steps: 0, is_until: false, values, rows, leaves })
    };
    let is_hit = |record: &&Record| {
        fitting.iter().any(|fits| fits.iter().any(|held| held.event.id == record.event.id))
    };
    question.records.iter().filter(is_hit).map(hit).collect()
}

fn wanted(node: &Node) -> String {
    let bound = |(comparison, bound): &(Comparison, rules::literal::FloatBits)| {
        let words = match comparison {
            Comparison::Equal => "exactly",
            Comparison::NotEqual => "other than",
            Comparison::Less => "less than",
            Comparison::LessOrEqual => "at most",
            Comparison::Greater => "more than",
            Comparison::GreaterOrEqual => "at least",
        };
        format!("{words} {}", bound.get())
    };
    node.bounds.iter().map(bound).collect::<Vec<_>>().join(" and ")
}
