//! What a rule means, in plain words.

use std::collections::BTreeSet;

use rules::event::Span;
use rules::expr::{Comparison, Expr};
use rules::literal::FloatBits;
use rules::plan::correlation::{Correlation, Measure};
use rules::plan::{Plan, Sequence, Step, Window};
use rules::program::Program;
use rules::rule::Rule;
use rules::schema::{FieldId, Schema};

use crate::cli::reach::Sources;
use crate::untrusted::Untrusted;

pub(super) fn text(rule: &Rule<Expr>, schema: &Schema) -> String {
    let mut out = format!("{}\n", Untrusted(&rule.name));
    let mut line = |what: &str, text: String| out.push_str(&format!("  {what:<14}{text}\n"));
    line("type", format!("{}, severity {}, risk {}", rule.kind.as_str(), rule.severity, rule.risk_score));
    line("fires", when(rule, schema));
    line("events", needs(rule, schema));
    line("fields", names(fields(rule), schema));
    if !rule.index.is_empty() {
        line(
            "index",
            rule.index.iter().map(|glob| Untrusted(glob).to_string()).collect::<Vec<_>>().join(", "),
        );
    }
    for context in &rule.contexts {
        line(
            "attaches",
            format!(
                "\"{}\" by {}, {} before to {} after; it does not decide",
                Untrusted(&context.name),
                names(context.links.clone(), schema),
                span(context.before),
                span(context.after)
            ),
        );
    }
    if let Some(suppression) = &rule.suppression {
        let during = suppression
            .duration
            .map_or_else(|| "in one run".to_owned(), |during| format!("for {}", span(during)));
        line(
            "suppresses",
            format!("further alerts of the same {} {during}", names(suppression.by.clone(), schema)),
        );
    }
    if !rule.exceptions.is_empty() {
        line("excepts", format!("{} kinds of events", rule.exceptions.len()));
    }
    if rule.is_building_block {
        line("feeds", "other rules: its matches are told with --building-blocks alone".to_owned());
    }
    line("cost", cost(rule, schema));
    line(
        "cases",
        match rule.cases.len() {
            0 => "none: nobody knows whether it works".to_owned(),
            n => format!("{n}"),
        },
    );
    out
}

fn when(rule: &Rule<Expr>, schema: &Schema) -> String {
    match &rule.plan {
        Plan::Query(_) => "on each event that matches the query".to_owned(),
        Plan::Sequence(sequence) => of_sequence(sequence, schema),
        Plan::Sample(_) => {
            "when events of every kind it names are there for one key, in any order".to_owned()
        }
        Plan::Threshold(threshold) => {
            let distinct = threshold.cardinality.map_or_else(String::new, |(field, count)| {
                format!(", with {count} or more different {}", schema.field(field).path)
            });
            format!(
                "when {} or more events match within {}{}{distinct}",
                threshold.count,
                span(threshold.window),
                each(&threshold.by, schema)
            )
        }
        Plan::NewTerms(terms) => format!(
            "when a matching event has a combination of {} that was not seen for {}",
            names(terms.fields.clone(), schema),
            span(terms.window)
        ),
        Plan::Aggregate(aggregate) => match aggregate.window {
            Window::Tumbling(bucket) => format!("on each row that is left, per bucket of {}", span(bucket)),
            Window::Sliding(window) => format!("on each row that is left, over the last {}", span(window)),
        },
        Plan::Correlation(correlation) => of_correlation(correlation),
    }
}

fn of_sequence(sequence: &Sequence<Expr>, schema: &Schema) -> String {
    let step = |(number, step): (usize, &Step<Expr>)| {
        let times = if step.runs.get() > 1 { format!(" {} times", step.runs) } else { String::new() };
        let absent = if step.is_missing { " does not happen" } else { "" };
        format!("event {}{absent}{times}", number + 1)
    };
    let steps: Vec<String> = sequence.steps.iter().enumerate().map(step).collect();
    let within = sequence.maxspan.map_or_else(String::new, |most| format!(" within {}", span(most)));
    let keys: Vec<FieldId> = sequence
        .steps
        .first()
        .map(|step| step.by.iter().map(|part| part.field).collect())
        .unwrap_or_default();
    let until = if sequence.until.is_some() { ", unless what it is cut off by comes first" } else { "" };
    format!("on {}, in this order{within}{}{until}", steps.join(", then "), each(&keys, schema))
}

/// The outermost one: those that it rests on have texts of their own.
fn of_correlation(correlation: &Correlation<Expr>) -> String {
    let Some(node) = correlation.nodes.last() else { return "never".to_owned() };
    let what = match node.measure {
        Measure::EventCount => "the number of events".to_owned(),
        Measure::ValueCount => "the number of different values".to_owned(),
        Measure::Temporal => "the number of its rules that have an event".to_owned(),
        Measure::TemporalOrdered => "the number of its rules that have an event, in their order,".to_owned(),
        Measure::Sum => "the sum of the values".to_owned(),
        Measure::Average => "the average of the values".to_owned(),
        Measure::Percentile(percentile) => format!("the percentile {percentile} of the values"),
    };
    let bound = |(comparison, bound): &(Comparison, FloatBits)| {
        let sign = match comparison {
            Comparison::Equal => "=",
            Comparison::NotEqual => "!=",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        };
        format!("{sign} {}", bound.get())
    };
    let bounds: Vec<String> = node.bounds.iter().map(bound).collect();
    let each = match node.by_names.is_empty() {
        true => String::new(),
        false => format!(", for each {}", node.by_names.join(", ")),
    };
    let told = if node.is_eager() { "" } else { ", told when that time is over" };
    format!("when {what} is {} within {}{each}{told}", bounds.join(" and "), span(node.span))
}

fn each(fields: &[FieldId], schema: &Schema) -> String {
    if fields.is_empty() { String::new() } else { format!(", for each {}", names(fields.to_vec(), schema)) }
}

/// Per predicate, the data sets one of which must be read.
fn needs(rule: &Rule<Expr>, schema: &Schema) -> String {
    let sources = Sources::every(schema);
    let needs: BTreeSet<String> = rule
        .plan
        .predicates()
        .into_iter()
        .map(|predicate| {
            let able = sources.able(predicate, |index| rule.reads_index(index));
            match able.is_empty() {
                true => "of a system that no source here reads".to_owned(),
                false => able.into_iter().collect::<Vec<_>>().join(" or "),
            }
        })
        .collect();
    needs.into_iter().collect::<Vec<_>>().join("; and ")
}

fn fields(rule: &Rule<Expr>) -> Vec<FieldId> {
    let mut fields = Vec::new();
    rule.plan
        .predicates()
        .into_iter()
        .for_each(|predicate| predicate.each_field(&mut |field| fields.push(field)));
    fields.sort_unstable();
    fields.dedup();
    fields
}

/// How the rule is found among thousands, for each of its predicates.
fn cost(rule: &Rule<Expr>, schema: &Schema) -> String {
    let program = Program::compile(vec![rule.clone()], schema);
    let costs: BTreeSet<String> = program.rules()[0]
        .plan
        .predicates()
        .into_iter()
        .map(|predicate| match program.looked_up_by(*predicate, schema) {
            fields if fields.is_empty() => {
                "high: looked at on every event of its index; name a value that must be there".to_owned()
            }
            fields => format!("low: looked at only where {} has a value of the query", names(fields, schema)),
        })
        .collect();
    costs.into_iter().collect::<Vec<_>>().join("; ")
}

fn names(fields: Vec<FieldId>, schema: &Schema) -> String {
    let names: Vec<&str> = fields.iter().map(|field| &*schema.field(*field).path).collect();
    names.join(", ")
}

fn span(span: Span) -> String {
    const UNITS: [(i64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let unit = UNITS.iter().find(|(secs, _)| span.0 != 0 && span.0 % Span::from_secs(*secs).0 == 0);
    unit.map_or_else(
        || format!("{} ms", span.0 / 1_000_000),
        |(secs, name)| format!("{} {name}", span.0 / Span::from_secs(*secs).0),
    )
}
