//! Reads a rule file: Elastic's TOML shapes, and ours beside them. Everything that is wrong is reported at once.

use std::path::{Path, PathBuf};

use super::query::{self, Query};
use super::table::{self, At, Findings, Table};
use super::{
    Case, Context, Exception, Kind, Language, Rule, Severity, SeverityMapping, Suppression, Technique,
    Threat, ThreatEntry, duration,
};
use crate::catalogue::report::Finding;
use crate::diagnostic::{Code, Diagnostic};
use crate::expr::Expr;
use crate::schema::{FieldId, Schema};
use sha2::{Digest, Sha256};

/// Keys of upstream's files that say nothing about when a rule fires.
const METADATA_KEYS: &[&str] = &[
    "bypass_bbr_timing",
    "creation_date",
    "deprecation_date",
    "integration",
    "maturity",
    "min_stack_comments",
    "min_stack_version",
    "promotion",
    "updated_date",
];
const PLAIN_KEYS: &[&str] = &[
    "author",
    "enabled",
    "interval",
    "investigation_fields",
    "license",
    "rule_name_override",
    "setup",
    "timeline_id",
    "timeline_title",
    "timestamp_override",
];
/// Keys that would change what upstream's rule does, and change nothing here.
const IGNORED_KEYS: &[(&str, &str)] = &[(
    "exceptions_list",
    "the lists it names are not in the file; write [[rule.exception]] for what they hold",
)];
/// Upstream's default look-back.
const DEFAULT_FROM: &str = "now-6m";

/// Reads one file. No rule: at least one of the findings is an error.
pub(crate) fn read(path: &Path, text: &str, schema: &mut Schema) -> (Option<Rule<Expr>>, Vec<Finding>) {
    let mut found = Findings::default();
    let Some(document) = table::parse(text, &mut found) else { return (None, found.0) };
    let mut file = Table::new("", document.get_ref(), 0..0);
    let rule = read_document(&mut file, path, text, schema, &mut found);
    file.ignore(&["transform"]);
    file.finish(&mut found);
    let has_error = found.0.iter().any(Finding::is_error);
    (rule.filter(|_| !has_error), found.0)
}

fn read_document(
    file: &mut Table<'_>,
    path: &Path,
    text: &str,
    schema: &mut Schema,
    found: &mut Findings,
) -> Option<Rule<Expr>> {
    if let Some(mut metadata) = file.table("metadata", found) {
        metadata.ignore(METADATA_KEYS);
        metadata.finish(found);
    }
    let cases = file
        .tables("tests", found)
        .into_iter()
        .filter_map(|case| read_case(case, path, text, found))
        .collect();
    let mut table = file.needed_table("rule", found)?;
    let rule = read_rule(&mut table, cases, schema, found);
    table.ignore(PLAIN_KEYS);
    for (key, why) in IGNORED_KEYS {
        if table.has(key) {
            let message = format!("\"{key}\" is not followed");
            found.add(Diagnostic::warning(Code::IgnoredKey, table.key_span(key), message).with_help(*why));
        }
        table.ignore(&[key]);
    }
    table.finish(found);
    let hash = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    rule.map(|rule| Rule { path: path.to_owned(), hash, ..rule })
}

/// Reads every key before it gives up, so that all faults are seen.
fn read_rule(
    table: &mut Table<'_>,
    cases: Vec<Case>,
    schema: &mut Schema,
    found: &mut Findings,
) -> Option<Rule<Expr>> {
    let id = table.needed_text("rule_id", found).and_then(|at| checked_id(at, found));
    let name = table.needed_text("name", found);
    let kind = read_kind(table, found);
    let severity = table.needed_text("severity", found).and_then(|at| read_severity(&at, found));
    let risk_score = read_risk_score(table, found);
    let look_back = table
        .text("from", found)
        .map_or_else(|| duration::look_back(DEFAULT_FROM), |at| duration::checked_look_back(&at, found));
    let index = values(table.texts("index", found));
    let query = table.text("query", found);
    let mut plan = None;
    if let Some((kind, _)) = kind {
        let query = Query { kind, text: query.as_ref(), look_back };
        plan = query::compile(query, table, schema, found);
    } else {
        // What a type would have read is neither known nor unknown.
        table.ignore(&["threshold", "new_terms", "event_category_override", "filters"]);
    }
    let (severity_mapping, risk_score_field) = read_mappings(table, schema, found);
    let contexts = table
        .tables("context", found)
        .into_iter()
        .filter_map(|context| read_context(context, schema, found))
        .collect();
    let exceptions = table
        .tables("exception", found)
        .into_iter()
        .filter_map(|exception| read_exception(exception, schema, found))
        .collect();
    let suppression =
        table.table("alert_suppression", found).and_then(|table| read_suppression(table, schema, found));
    let threat =
        table.tables("threat", found).into_iter().filter_map(|threat| read_threat(threat, found)).collect();
    let description = table.text("description", found).map(|at| at.value.trim().to_owned());
    let version = table.count("version", found).map_or(1, |at| at.value);
    let texts = (values(table.texts("tags", found)), values(table.texts("references", found)));
    let false_positives = values(table.texts("false_positives", found));
    let upstream_id = table.text("upstream_id", found).map(|at| at.value);
    let note = table.text("note", found).map(|at| at.value).unwrap_or_default();
    let max_signals = table.count("max_signals", found).map(|at| at.value);
    let is_building_block = table.text("building_block_type", found).is_some();
    let (kind, language) = kind?;
    let plan = plan?;
    Some(Rule {
        id: id?.value,
        name: name?.value,
        description: description.unwrap_or_default(),
        version,
        severity: severity?,
        risk_score: risk_score?,
        tags: texts.0,
        references: texts.1,
        false_positives,
        upstream_id,
        threat,
        index: if index.is_empty() { plan.index } else { index },
        kind,
        language,
        query: query?.value,
        rests_on: Vec::new(),
        plan: plan.plan,
        residue: plan.residue,
        severity_mapping,
        risk_score_field,
        contexts,
        exceptions,
        suppression,
        max_signals,
        is_building_block,
        notifies: !is_building_block,
        note,
        cases,
        path: Path::new("").into(),
        hash: String::new(),
    })
}

/// Alerts, exceptions and states go by it.
fn checked_id(id: At<String>, found: &mut Findings) -> Option<At<String>> {
    const HELP: &str = "write a new UUID, as `groundtrail rule new` or `uuidgen` makes one";
    if id.value.trim().is_empty() {
        let message = "\"rule_id\" is empty: alerts, exceptions and `--only` name the rule by it";
        found.add(Diagnostic::error(Code::BadValue, id.span, message).with_help(HELP));
        return None;
    }
    if !is_uuid(&id.value) {
        let message = "\"rule_id\" is no UUID: rules of others may come to have the same";
        found.add(Diagnostic::warning(Code::NotUuid, id.span.clone(), message).with_help(HELP));
    }
    Some(id)
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_hex = |part: &&str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12]) && parts.iter().all(is_hex)
}

/// The type, and the language that goes with it.
fn read_kind(table: &mut Table<'_>, found: &mut Findings) -> Option<(Kind, Language)> {
    let kind = table.needed_text("type", found);
    let language = table.text("language", found);
    let kind = kind?;
    let (parsed, wanted) = match kind.value.as_str() {
        "query" => (Kind::Query, Language::Kuery),
        "threshold" => (Kind::Threshold, Language::Kuery),
        "new_terms" => (Kind::NewTerms, Language::Kuery),
        "eql" => (Kind::Eql, Language::Eql),
        "esql" => (Kind::Esql, Language::Esql),
        other => {
            let is_upstream = matches!(other, "machine_learning" | "threat_match" | "saved_query");
            let (code, message) = match is_upstream {
                true => (Code::UnsupportedRule, format!("rules of type \"{other}\" are not run here")),
                false => (Code::BadValue, format!("\"{other}\" is no type of rule")),
            };
            let help = "types that run: query, eql, esql, threshold, new_terms";
            found.add(Diagnostic::error(code, kind.span, message).with_help(help));
            table.ignore(&[
                "anomaly_threshold",
                "machine_learning_job_id",
                "threat_filters",
                "threat_index",
                "threat_indicator_path",
                "threat_language",
                "threat_mapping",
                "threat_query",
            ]);
            return None;
        }
    };
    if let Some(language) = language.filter(|language| language.value != wanted.as_str()) {
        let message = format!("a rule of type \"{}\" in \"{}\" is not run here", kind.value, language.value);
        let help = format!("write the query in \"{}\"", wanted.as_str());
        found.add(Diagnostic::error(Code::UnsupportedRule, language.span, message).with_help(help));
        return None;
    }
    Some((parsed, wanted))
}

fn read_severity(at: &At<String>, found: &mut Findings) -> Option<Severity> {
    let severity = Severity::parse(&at.value);
    if severity.is_none() {
        let message = format!("\"{}\" is no severity", at.value);
        let help = "one of low, medium, high, critical";
        found.add(Diagnostic::error(Code::BadValue, at.span.clone(), message).with_help(help));
    }
    severity
}

fn read_risk_score(table: &mut Table<'_>, found: &mut Findings) -> Option<u64> {
    if !table.has("risk_score") {
        table.missing("risk_score", found);
    }
    let score = table.count("risk_score", found)?;
    if score.value > 100 {
        let message = format!("a risk score of {} is more than 100", score.value);
        found.add(Diagnostic::error(Code::BadValue, score.span, message).with_help("write 0 to 100"));
        return None;
    }
    Some(score.value)
}

fn read_mappings(
    table: &mut Table<'_>,
    schema: &mut Schema,
    found: &mut Findings,
) -> (Vec<SeverityMapping>, Option<FieldId>) {
    let severities = table.tables("severity_mapping", found);
    let severities = severities.into_iter().filter_map(|mut mapping| {
        let field = mapping.needed_text("field", found);
        let value = mapping.text("value", found);
        let severity = mapping.needed_text("severity", found);
        mapping.ignore(&["operator"]);
        mapping.finish(found);
        let severity = read_severity(&severity?, found)?;
        let field = mapped_field(&field?, schema, found)?;
        Some(SeverityMapping { field, value: value?.value, severity })
    });
    let severities = severities.collect();
    let mut score = None;
    for mut mapping in table.tables("risk_score_mapping", found) {
        let field = mapping.needed_text("field", found);
        mapping.ignore(&["operator", "value", "risk_score"]);
        mapping.finish(found);
        score = score.or_else(|| mapped_field(&field?, schema, found));
    }
    (severities, score)
}

/// A mapping may name what only upstream's stack computes; the rule itself does not depend on it.
fn mapped_field(at: &At<String>, schema: &mut Schema, found: &mut Findings) -> Option<FieldId> {
    let mut unknown = Findings::default();
    let field = resolve(at, schema, &mut unknown);
    found.0.extend(unknown.0.into_iter().map(Finding::into_warning));
    field
}

fn read_context(mut table: Table<'_>, schema: &mut Schema, found: &mut Findings) -> Option<Context<Expr>> {
    let name = table.needed_text("name", found);
    let links = table.texts("link", found);
    if !table.has("link") {
        table.missing("link", found);
    }
    let dataset = table.text("dataset", found);
    let predicate = query::side_query(&mut table, schema, found);
    let span = |key, table: &mut Table<'_>, found: &mut Findings| {
        let at = table.text(key, found)?;
        duration::checked(&at, found)
    };
    let before = span("before", &mut table, found);
    let after = span("after", &mut table, found);
    let raise = table.text("raise_severity", found).and_then(|at| read_severity(&at, found));
    let is_circumstantial = table.yes_no("circumstantial", found).unwrap_or(false);
    table.finish(found);
    let links: Vec<FieldId> = links.iter().filter_map(|at| resolve(at, schema, found)).collect();
    let dataset = dataset.map(|at| at.value);
    let in_dataset = dataset.as_ref().map(|dataset| query::is_dataset(dataset, schema));
    Some(Context {
        name: name?.value,
        links,
        dataset,
        predicate: Expr::and(in_dataset.into_iter().chain([predicate?])),
        before: before.unwrap_or_default(),
        after: after.unwrap_or_default(),
        raise_severity: raise,
        is_circumstantial,
    })
}

fn read_exception(
    mut table: Table<'_>,
    schema: &mut Schema,
    found: &mut Findings,
) -> Option<Exception<Expr>> {
    let name = table.needed_text("name", found);
    let reason = table.needed_text("reason", found);
    let predicate = query::side_query(&mut table, schema, found);
    let expires = table.day("expires", found);
    table.finish(found);
    Some(Exception { name: name?.value, reason: reason?.value, expires, predicate: predicate? })
}

fn read_suppression(mut table: Table<'_>, schema: &mut Schema, found: &mut Findings) -> Option<Suppression> {
    let by = table.texts("group_by", found);
    let missing = table.text("missing_fields_strategy", found);
    let duration = table.table("duration", found).and_then(|mut duration| {
        let value = duration.count("value", found);
        let unit = duration.needed_text("unit", found);
        duration.finish(found);
        let text = format!("{}{}", value?.value, unit.as_ref()?.value);
        duration::checked(&At { value: text, span: unit?.span }, found)
    });
    table.finish(found);
    // ES|QL groups by columns of the query, which are no fields of the event: such an alert is its own group.
    let by = by.iter().filter_map(|at| mapped_field(at, schema, found)).collect();
    Some(Suppression { by, duration, folds_missing: missing.is_none_or(|at| at.value == "suppress") })
}

fn read_threat(mut table: Table<'_>, found: &mut Findings) -> Option<Threat> {
    let framework = table.text("framework", found);
    let tactic = table.needed_table("tactic", found).and_then(|mut tactic| {
        let entry = read_entry(&mut tactic, found);
        tactic.finish(found);
        entry
    });
    let techniques = table.tables("technique", found).into_iter().filter_map(|mut technique| {
        let entry = read_entry(&mut technique, found);
        let subtechniques = technique.tables("subtechnique", found).into_iter().filter_map(|mut sub| {
            let entry = read_entry(&mut sub, found);
            sub.finish(found);
            entry
        });
        let subtechniques = subtechniques.collect();
        technique.finish(found);
        Some(Technique { entry: entry?, subtechniques })
    });
    let techniques = techniques.collect();
    table.finish(found);
    let framework = framework.map_or_else(|| "MITRE ATT&CK".to_owned(), |at| at.value);
    Some(Threat { framework, tactic: tactic?, techniques })
}

fn read_entry(table: &mut Table<'_>, found: &mut Findings) -> Option<ThreatEntry> {
    let id = table.needed_text("id", found);
    let name = table.needed_text("name", found);
    let reference = table.text("reference", found).map(|at| at.value).unwrap_or_default();
    Some(ThreatEntry { id: id?.value, name: name?.value, reference })
}

fn read_case(mut table: Table<'_>, path: &Path, text: &str, found: &mut Findings) -> Option<Case> {
    let name = table.needed_text("name", found);
    if !table.has("expect") {
        table.missing("expect", found);
    }
    let expect = table.count("expect", found);
    let traces = table.texts("trace", found);
    let events = match table.has("trace") {
        true => table.text("events", found),
        false => table.needed_text("events", found),
    };
    let contains = values(table.texts("contains", found));
    let start = events.as_ref().map_or(table.span().start, |events| events.span.start);
    table.finish(found);
    let traces = traces.iter().map(|at| {
        let trace = trace(&at.value, path);
        if trace.is_none() {
            found.add(no_trace(&at.value, at.span.clone()));
        }
        trace
    });
    let traces: Option<Vec<PathBuf>> = traces.collect();
    let before = &text[..start.min(text.len())];
    Some(Case {
        name: name?.value,
        expect: expect?.value,
        line: before.matches('\n').count() + 1,
        traces: traces?,
        events: events.map(|at| at.value).unwrap_or_default(),
        contains,
    })
}

/// A path that starts at the folder of the rule's file, so that both can move together.
pub(crate) fn trace(text: &str, file: &Path) -> Option<PathBuf> {
    let is_beside = !text.is_empty() && !Path::new(text).is_absolute();
    is_beside.then(|| file.parent().unwrap_or(Path::new("")).join(text))
}

pub(crate) fn no_trace(text: &str, span: std::ops::Range<usize>) -> Diagnostic {
    let message = format!("\"{text}\" is no path beside the rule");
    let help = "write it as it is from the folder of this file: traces/one.ndjson";
    Diagnostic::error(Code::BadValue, span, message).with_help(help)
}

/// The field of a key that holds a field's path.
pub(super) fn resolve(at: &At<String>, schema: &mut Schema, found: &mut Findings) -> Option<FieldId> {
    match schema.resolve(&at.value) {
        Ok(field) => Some(field),
        Err(unknown) => {
            let message = format!("no field is called \"{}\"", unknown.path);
            let mut diagnostic = Diagnostic::error(Code::UnknownField, at.span.clone(), message);
            if let Some(path) = unknown.suggestion {
                diagnostic = diagnostic.with_help(format!("did you mean \"{path}\"?"));
            }
            found.add(diagnostic);
            None
        }
    }
}

fn values(texts: Vec<At<String>>) -> Vec<String> {
    texts.into_iter().map(|at| at.value).collect()
}

#[cfg(test)]
mod tests;
