//! A rule's query and the tables that go with its type, compiled to a plan.

use std::sync::Arc;

use super::file::resolve;
use super::table::{At, Findings, Table};
use super::{Kind, Language, duration};
use crate::diagnostic::{Code, Compiled, Diagnostic};
use crate::eql::{self, EqlRule, EqlStep};
use crate::esql::{self, Pipeline};
use crate::event::Span;
use crate::expr::Expr;
use crate::kql;
use crate::literal::Literal;
use crate::plan::{Aggregate, MAX_COUNTED, NewTerms, Plan, Sample, Sequence, Step, Threshold, Window};
use crate::schema::{FieldId, Schema};

/// What a rule says about its query.
pub(super) struct Query<'q> {
    pub(super) kind: Kind,
    pub(super) text: Option<&'q At<String>>,
    pub(super) look_back: Option<Span>,
}

/// A query compiled.
pub(super) struct Planned {
    pub(super) plan: Plan<Expr>,
    pub(super) residue: Option<Arc<Pipeline>>,
    /// What `FROM` names.
    pub(super) index: Vec<String>,
}

impl Planned {
    fn simple(plan: Plan<Expr>) -> Self {
        Self { plan, residue: None, index: Vec::new() }
    }
}

pub(super) fn compile(
    query: Query<'_>,
    table: &mut Table<'_>,
    schema: &mut Schema,
    found: &mut Findings,
) -> Option<Planned> {
    if query.text.is_none() {
        table.missing("query", found);
    }
    if table.has("filters") {
        let message = "\"filters\" hold Elasticsearch's own query objects, which are not run here";
        let diagnostic = Diagnostic::error(Code::UnsupportedRule, table.key_span("filters"), message);
        found.add(diagnostic.with_help("move their conditions into the query"));
        table.ignore(&["filters"]);
    }
    match query.kind {
        Kind::Query => {
            let predicate = kuery(query.text?, schema, found)?;
            Some(Planned::simple(Plan::Query(predicate)))
        }
        Kind::Threshold => {
            let by = read_threshold(table, schema, found);
            let predicate = kuery(query.text?, schema, found)?;
            let Thresholds { by, count, cardinality } = by?;
            let window = query.look_back?;
            Some(Planned::simple(Plan::Threshold(Threshold { predicate, by, count, cardinality, window })))
        }
        Kind::NewTerms => {
            let terms = read_new_terms(table, schema, found);
            let predicate = kuery(query.text?, schema, found)?;
            let (fields, window) = terms?;
            Some(Planned::simple(Plan::NewTerms(NewTerms { predicate, fields, window })))
        }
        Kind::Eql => {
            let category = table.text("event_category_override", found);
            eql(query.text?, category.as_ref(), query.look_back, schema, found).map(Planned::simple)
        }
        Kind::Esql => esql(query.text?, query.look_back, schema, found),
        Kind::Sigma | Kind::SigmaCorrelation => unreachable!("a TOML rule has no such type"),
    }
}

/// The `query` of a context, an exception or a drop line: KQL.
pub(crate) fn side_query(table: &mut Table<'_>, schema: &mut Schema, found: &mut Findings) -> Option<Expr> {
    let query = table.needed_text("query", found);
    if let Some(language) = table.text("language", found).filter(|at| at.value != Language::Kuery.as_str()) {
        let message = format!("\"{}\" is not read here", language.value);
        let help = "write the query in KQL, with language = \"kuery\"";
        found.add(Diagnostic::error(Code::UnsupportedRule, language.span, message).with_help(help));
        return None;
    }
    kuery(&query?, schema, found)
}

/// Events of the dataset, whichever of its two names a source fills.
pub(super) fn is_dataset(dataset: &str, schema: &Schema) -> Expr {
    let field = schema.id("data_stream.dataset").expect("a field of the table");
    Expr::equals(field, Literal::Text(dataset.into()))
}

fn kuery(query: &At<String>, schema: &mut Schema, found: &mut Findings) -> Option<Expr> {
    take(query, kql::compile(&query.value, schema), found)
}

fn take<T>(
    query: &At<String>,
    result: Result<Compiled<T>, Vec<Diagnostic>>,
    found: &mut Findings,
) -> Option<T> {
    match result {
        Ok(compiled) => {
            found.add_query(query, compiled.warnings);
            Some(compiled.plan)
        }
        Err(diagnostics) => {
            found.add_query(query, diagnostics);
            None
        }
    }
}

fn eql(
    query: &At<String>,
    category: Option<&At<String>>,
    look_back: Option<Span>,
    schema: &mut Schema,
    found: &mut Findings,
) -> Option<Plan<Expr>> {
    let options =
        category.map_or_else(eql::Options::default, |at| eql::Options { category_field: &at.value });
    take(query, eql::compile_with(&query.value, schema, &options), found).map(|rule| plan_of(rule, look_back))
}

/// `look_back`: how far apart the events of a sample may be.
pub(crate) fn plan_of(rule: EqlRule, look_back: Option<Span>) -> Plan<Expr> {
    match rule {
        EqlRule::Event(expr) => Plan::Query(expr),
        EqlRule::Sequence { steps, maxspan, until } => Plan::Sequence(Sequence {
            steps: steps.into_iter().map(step).collect(),
            maxspan,
            until: until.map(step),
        }),
        EqlRule::Sample { steps } => {
            Plan::Sample(Sample { steps: steps.into_iter().map(step).collect(), window: look_back })
        }
    }
}

fn step(step: EqlStep) -> Step<Expr> {
    Step { predicate: step.expr, by: step.by, runs: step.runs, is_missing: step.is_missing }
}

fn esql(
    query: &At<String>,
    look_back: Option<Span>,
    schema: &mut Schema,
    found: &mut Findings,
) -> Option<Planned> {
    let esql::Esql { index, predicate, pipeline, is_aggregate } =
        take(query, esql::compile(&query.value, schema), found)?;
    if !is_aggregate {
        return Some(Planned { plan: Plan::Query(predicate), residue: pipeline, index });
    }
    let pipeline = pipeline?;
    let window = match pipeline.bucket() {
        Some(span) => Window::Tumbling(span),
        None => Window::Sliding(look_back?),
    };
    Some(Planned { plan: Plan::Aggregate(Aggregate { predicate, window, pipeline }), residue: None, index })
}

struct Thresholds {
    by: Vec<FieldId>,
    count: u64,
    cardinality: Option<(FieldId, u64)>,
}

fn read_threshold(table: &mut Table<'_>, schema: &mut Schema, found: &mut Findings) -> Option<Thresholds> {
    let mut threshold = table.needed_table("threshold", found)?;
    let fields = threshold.texts("field", found);
    if !threshold.has("value") {
        threshold.missing("value", found);
    }
    let count = counted(&mut threshold, found);
    let mut cardinality = Vec::new();
    for mut entry in threshold.tables("cardinality", found) {
        let field = entry.needed_text("field", found);
        let value = counted(&mut entry, found);
        entry.finish(found);
        cardinality.push((field.and_then(|at| resolve(&at, schema, found))?, value?.value));
    }
    threshold.finish(found);
    let by = fields.iter().filter(|at| !at.value.is_empty()).map(|at| resolve(at, schema, found));
    let by: Option<Vec<FieldId>> = by.collect();
    Some(Thresholds { by: by?, count: count?.value, cardinality: cardinality.first().copied() })
}

fn counted(table: &mut Table<'_>, found: &mut Findings) -> Option<At<u64>> {
    let count = table.count("value", found)?;
    if count.value > MAX_COUNTED {
        let message = format!("more than {MAX_COUNTED} in one window are not counted");
        let help = "shorten the look-back in \"from\", or group by more fields";
        found.add(Diagnostic::error(Code::BadValue, count.span, message).with_help(help));
        return None;
    }
    Some(count)
}

fn read_new_terms(
    table: &mut Table<'_>,
    schema: &mut Schema,
    found: &mut Findings,
) -> Option<(Vec<FieldId>, Span)> {
    let mut terms = table.needed_table("new_terms", found)?;
    let fields = terms.texts("value", found);
    if fields.is_empty() || fields.len() > 3 {
        let message = format!("a new-terms rule has one to three fields, not {}", fields.len());
        let help = "value = [\"host.id\", \"process.executable\"]";
        found.add(Diagnostic::error(Code::BadValue, terms.span(), message).with_help(help));
    }
    let mut window = None;
    if !terms.has("history_window_start") {
        terms.missing("history_window_start", found);
    }
    for mut start in terms.tables("history_window_start", found) {
        window = start.needed_text("value", found).and_then(|at| duration::checked_look_back(&at, found));
        start.ignore(&["field"]);
        start.finish(found);
    }
    terms.ignore(&["field"]);
    terms.finish(found);
    let n_fields = fields.len();
    let fields: Vec<FieldId> = fields.iter().filter_map(|at| resolve(at, schema, found)).collect();
    let is_whole = fields.len() == n_fields && (1..=3).contains(&n_fields);
    Some((fields, window?)).filter(|_| is_whole)
}
