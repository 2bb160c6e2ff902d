//! One event against one predicate: whether it passes, and if not, by what and how narrowly it fails.

use rules::eval::{matches, passes};
use rules::event::{Event, Value};
use rules::expr::{Expr, Test};
use rules::schema::FieldId;

use super::{Kind, Question, Reason};
use crate::describe;
use crate::source::Record;

/// How an event fails.
#[derive(Debug, Clone)]
pub(super) struct Miss {
    /// The smaller the nearer. An event that fits and is taken away is nearest of all.
    pub(super) distance: u32,
    pub(super) reasons: Vec<Reason>,
}

/// The predicate is another kind of event's.
const OTHER_INDEX: u32 = 10_000;
const MAX_SHOWN: usize = 200;

/// As the engine sees it: read, not dropped, satisfied, and not excepted.
pub(super) fn fits(question: &Question<'_>, predicate: &Expr, record: &Record) -> bool {
    miss(question, predicate, record).reasons.is_empty()
}

/// What stands in the way; no reason where nothing does.
pub(super) fn miss(question: &Question<'_>, predicate: &Expr, record: &Record) -> Miss {
    let event = &record.event;
    let rule = question.rule;
    if !rule.reads_index(&event.index) {
        let text = format!("the rule reads {}, and the event is in {}", rule.index.join(", "), event.index);
        return Miss { distance: OTHER_INDEX, reasons: vec![Reason::new(Kind::OtherIndex, text)] };
    }
    let reasons = faults(question, predicate, event);
    if !reasons.is_empty() {
        let distance = reasons.iter().map(weight).sum();
        return Miss { distance, reasons };
    }
    let taken = |reason| Miss { distance: 0, reasons: vec![reason] };
    if let Some(line) = question.drops.iter().find(|line| matches(&line.predicate, event)) {
        let text = format!("the line \"{}\" of the drop list takes it: {}", line.name, line.reason.trim());
        return taken(Reason::new(Kind::Dropped, text));
    }
    let in_force = |exception: &&rules::rule::Exception<Expr>| {
        exception.is_in_force(event.time) && matches(&exception.predicate, event)
    };
    if let Some(exception) = rule.exceptions.iter().find(in_force) {
        let until = exception.expires.map(|day| format!(", until {day}")).unwrap_or_default();
        let text =
            format!("the exception \"{}\" takes it: {}{until}", exception.name, exception.reason.trim());
        return taken(Reason::new(Kind::Exception, text));
    }
    if rule.residue.as_ref().is_some_and(|residue| !residue.keeps(event)) {
        let text = "what the query computes from the event is not kept by the rest of the query";
        return taken(Reason::new(Kind::Filtered, text));
    }
    Miss { distance: 0, reasons: Vec::new() }
}

/// Fields that say what kind of event it is weigh more: an event of the right kind is nearer than any other.
fn weight(reason: &Reason) -> u32 {
    match reason.field.as_deref() {
        Some(
            "event.category" | "event.dataset" | "data_stream.dataset" | "event.provider" | "event.kind",
        ) => 50,
        Some("event.type" | "event.action" | "host.os.type") => 20,
        _ if reason.kind == Kind::Absent => 5,
        _ => 4,
    }
}

fn faults(question: &Question<'_>, expr: &Expr, event: &Event) -> Vec<Reason> {
    if matches(expr, event) {
        return Vec::new();
    }
    match expr {
        Expr::And(parts) => parts.iter().flat_map(|part| faults(question, part, event)).collect(),
        Expr::Or(parts) => {
            let each = parts.iter().map(|part| faults(question, part, event));
            let nearest = each.min_by_key(|reasons| reasons.iter().map(weight).sum::<u32>());
            nearest.filter(|reasons| !reasons.is_empty()).unwrap_or_else(|| vec![never()])
        }
        Expr::Not(part) => held(question, part, event),
        Expr::Const(_) => vec![never()],
        Expr::Exists(field) => vec![absent(question, *field, "a value")],
        Expr::IsSingle(field) => vec![value(question, *field, event, "a single value".to_owned())],
        Expr::Any(field, test) => vec![value(question, *field, event, describe::test(test))],
        Expr::Item(field, at, test) => {
            vec![value(question, *field, event, format!("{} at place {at}", describe::test(test)))]
        }
        Expr::Holds(_) | Expr::IsNull(_) => computed(question, expr, event),
    }
}

fn never() -> Reason {
    Reason::new(Kind::Condition, "the condition is never true")
}

fn absent(question: &Question<'_>, field: FieldId, wanted: &str) -> Reason {
    let path = question.path(field);
    let text = format!("{path} is absent; the rule asks for {wanted}");
    Reason { field: Some(path), wanted: Some(wanted.to_owned()), ..Reason::new(Kind::Absent, text) }
}

fn value(question: &Question<'_>, field: FieldId, event: &Event, wanted: String) -> Reason {
    let Some(held) = event.get(field) else { return absent(question, field, &wanted) };
    let (path, actual) = (question.path(field), shown(held));
    let text = format!("{path} is {actual}; the rule asks for {wanted}");
    Reason { field: Some(path), actual: Some(actual), wanted: Some(wanted), ..Reason::new(Kind::Value, text) }
}

/// A condition over computed values: told by the fields it reads.
fn computed(question: &Question<'_>, expr: &Expr, event: &Event) -> Vec<Reason> {
    let mut fields = Vec::new();
    expr.each_field(&mut |field| fields.push(field));
    fields.sort();
    fields.dedup();
    let missing: Vec<Reason> = fields
        .iter()
        .filter(|field| event.get(**field).is_none())
        .map(|field| absent(question, *field, "a value to compute with"))
        .collect();
    if !missing.is_empty() && !matches!(expr, Expr::IsNull(_)) {
        return missing;
    }
    let held: Vec<String> = fields
        .iter()
        .filter_map(|field| Some(format!("{} is {}", question.path(*field), shown(event.get(*field)?))))
        .collect();
    let text = format!("a computed condition does not hold: {}", held.join(", "));
    let field = fields.first().map(|field| question.path(*field));
    vec![Reason { field, ..Reason::new(Kind::Condition, text) }]
}

/// Why something holds that must not.
fn held(question: &Question<'_>, expr: &Expr, event: &Event) -> Vec<Reason> {
    match expr {
        Expr::And(parts) => parts.iter().flat_map(|part| held(question, part, event)).collect(),
        Expr::Or(parts) => {
            let holding = parts.iter().find(|part| matches(part, event));
            holding.map_or_else(|| vec![never()], |part| held(question, part, event))
        }
        Expr::Any(field, test) | Expr::Item(field, _, test) => vec![excluded(question, *field, test, event)],
        Expr::Exists(field) | Expr::IsSingle(field) => {
            let (path, actual) = (question.path(*field), event.get(*field).map(shown).unwrap_or_default());
            let text = format!("{path} has a value ({actual}), and the rule leaves such events out");
            vec![Reason { field: Some(path), actual: Some(actual), ..Reason::new(Kind::Excluded, text) }]
        }
        Expr::Not(part) => faults(question, part, event),
        Expr::Const(_) | Expr::Holds(_) | Expr::IsNull(_) => {
            let mut reasons = computed(question, expr, event);
            for reason in &mut reasons {
                reason.kind = Kind::Excluded;
                reason.text = format!("{}, and the rule leaves such events out", reason.text)
                    .replace("does not hold", "holds");
            }
            reasons
        }
    }
}

fn excluded(question: &Question<'_>, field: FieldId, test: &Test, event: &Event) -> Reason {
    let values = event.get(field).map_or(&[][..], Value::scalars);
    let actual = values.iter().find(|value| passes(test, value)).map(shown).unwrap_or_default();
    let (path, wanted) = (question.path(field), describe::test(test));
    let text = format!("{path} is {actual}; the rule leaves out {wanted}");
    Reason {
        field: Some(path),
        actual: Some(actual),
        wanted: Some(format!("not {wanted}")),
        ..Reason::new(Kind::Excluded, text)
    }
}

/// A value as evidence: texts in quotes, cut where they grow long.
pub(super) fn shown(value: &Value) -> String {
    let text = value.to_string();
    let mut short: String = text.chars().take(MAX_SHOWN).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    match value {
        Value::Str(_) | Value::List(_) => format!("\"{short}\""),
        Value::Int(_) | Value::Float(_) | Value::Bool(_) => short,
    }
}
