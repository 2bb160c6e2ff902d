//! One YAML document: a detection, a correlation or a filter, with what it says about itself.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::Options;
use super::condition::{self, Condition};
use super::correlation::{self, Correlation};
use super::detection::{Compiler, Fields, is_fatal};
use super::mapping::{self, Named};
use super::yaml::{self, Key, Node};
use crate::diagnostic::{Code, Diagnostic, Severity as Level};
use crate::expr::Expr;
use crate::plan::Plan;
use crate::rule::{Case, Kind, Language, Rule, Severity, Technique, Threat, ThreatEntry};
use crate::schema::{FieldId, Schema};

#[derive(Debug)]
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// A value and its bytes in the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

#[derive(Debug)]
pub(super) struct Document {
    pub(super) file: Arc<File>,
    pub(super) title: At<String>,
    id: Option<String>,
    name: Option<String>,
    logsource: Option<At<Named>>,
    pub(super) body: Body,
    /// The part that says what it looks for.
    query: Range<usize>,
    description: String,
    severity: Severity,
    risk_score: u64,
    tags: Vec<String>,
    references: Vec<String>,
    false_positives: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Debug)]
pub(super) enum Body {
    Detection(Detection),
    Correlation(Correlation),
    Filter(Filter),
}

#[derive(Debug)]
pub(super) struct Detection {
    selections: Vec<(Key, Node)>,
    /// Any one of them.
    conditions: Vec<(Node, Condition)>,
}

#[derive(Debug)]
pub(super) struct Filter {
    /// Empty: any rule of the log source.
    pub(super) rules: Vec<At<String>>,
    logsource: Option<Named>,
    detection: Detection,
}

/// Keys of a map, asked for one by one.
pub(super) struct Map<'n> {
    pub(super) entries: &'n [(Key, Node)],
    pub(super) span: Range<usize>,
}

impl<'n> Map<'n> {
    pub(super) fn new(node: &'n Node, what: &str, found: &mut Vec<Diagnostic>) -> Option<Self> {
        let entries = node.map();
        if entries.is_none() {
            found.push(Diagnostic::error(Code::WrongKeyType, node.span.clone(), format!("{what} is a map")));
        }
        Some(Self { entries: entries?, span: node.span.clone() })
    }

    pub(super) fn get(&self, name: &str) -> Option<&'n Node> {
        self.entries
            .iter()
            .find(|(key, _)| key.text == name)
            .map(|(_, node)| node)
            .filter(|node| !node.is_null())
    }

    pub(super) fn needed(&self, name: &str, found: &mut Vec<Diagnostic>) -> Option<&'n Node> {
        let node = self.get(name);
        if node.is_none() {
            let span = self.span.start..self.span.start + 1;
            found.push(Diagnostic::error(Code::MissingKey, span, format!("\"{name}\" is missing here")));
        }
        node
    }

    pub(super) fn text(&self, name: &str, found: &mut Vec<Diagnostic>) -> Option<At<String>> {
        text(self.get(name)?, name, found)
    }

    pub(super) fn texts(&self, name: &str, found: &mut Vec<Diagnostic>) -> Vec<At<String>> {
        let nodes = self.get(name).map_or(&[][..], Node::items);
        nodes.iter().filter_map(|node| text(node, name, found)).collect()
    }

    /// Without complaint: for what is shown and decides nothing.
    fn shown(&self, name: &str) -> Vec<String> {
        self.texts(name, &mut Vec::new()).into_iter().map(|at| at.value).collect()
    }
}

fn text(node: &Node, name: &str, found: &mut Vec<Diagnostic>) -> Option<At<String>> {
    let Some(scalar) = node.scalar() else {
        found.push(Diagnostic::error(Code::WrongKeyType, node.span.clone(), format!("\"{name}\" is a text")));
        return None;
    };
    Some(At { value: scalar.text.clone(), span: node.span.clone() })
}

/// Reads a document. None without a finding: it is none of Sigma's.
pub(super) fn read(file: &Arc<File>, node: Node, found: &mut Vec<Diagnostic>) -> Option<Document> {
    let entries = node.map()?;
    let map = Map { entries, span: node.span.clone() };
    let kind = ["detection", "correlation", "filter"].into_iter().find_map(|key| Some((key, map.get(key)?)));
    let Some((key, body)) = kind else {
        if map.get("logsource").is_some() {
            map.needed("detection", found);
        }
        return None;
    };
    let status = map.text("status", found);
    if let Some(status) = status.filter(|at| matches!(at.value.as_str(), "deprecated" | "unsupported")) {
        let message = format!("a rule whose status is \"{}\" does not run", status.value);
        let note = Diagnostic::note(Code::NotReleased, status.span, message);
        found.push(note.with_help("change its status to run it all the same"));
        return None;
    }
    let n_before = found.len();
    let title = map.needed("title", found).and_then(|node| text(node, "title", found));
    let logsource = map.get("logsource").and_then(|node| read_logsource(node, found));
    let query = body.span.clone();
    let body = match key {
        "detection" => {
            map.needed("logsource", found);
            read_detection(&file.text, body, &["condition", "timeframe"], found).map(Body::Detection)
        }
        "correlation" => correlation::read(body, found).map(Body::Correlation),
        _ => read_filter(&file.text, body, logsource.as_ref(), found).map(Body::Filter),
    };
    let level = map.text("level", found);
    let (severity, risk_score) = read_level(level.as_ref(), found);
    let cases = map.get("tests").map_or(&[][..], Node::items);
    let cases = cases.iter().filter_map(|case| read_case(file, case, found)).collect();
    if found[n_before..].iter().any(|found| found.severity == Level::Error) {
        return None;
    }
    Some(Document {
        file: Arc::clone(file),
        title: title?,
        id: map.text("id", found).map(|at| at.value),
        name: map.text("name", found).map(|at| at.value),
        logsource,
        body: body?,
        query,
        description: map.text("description", found).map_or_else(String::new, |at| at.value.trim().to_owned()),
        severity,
        risk_score,
        tags: map.shown("tags"),
        references: map.shown("references"),
        false_positives: map.shown("falsepositives"),
        cases,
    })
}

fn read_logsource(node: &Node, found: &mut Vec<Diagnostic>) -> Option<At<Named>> {
    let map = Map::new(node, "\"logsource\"", found)?;
    let mut part = |name| map.text(name, found).map(|at| at.value.to_ascii_lowercase());
    let named = Named { product: part("product"), category: part("category"), service: part("service") };
    if named == Named::default() {
        let message = "\"logsource\" names neither a product nor a category nor a service";
        found.push(Diagnostic::error(Code::MissingKey, node.span.clone(), message));
        return None;
    }
    Some(At { value: named, span: node.span.clone() })
}

fn read_detection(file: &str, node: &Node, keys: &[&str], found: &mut Vec<Diagnostic>) -> Option<Detection> {
    let map = Map::new(node, "\"detection\"", found)?;
    let selections: Vec<(Key, Node)> =
        map.entries.iter().filter(|(key, _)| !keys.contains(&key.text.as_str())).cloned().collect();
    let conditions = map.needed("condition", found)?.items().iter().filter_map(|node| {
        let at = text(node, "condition", found)?;
        match condition::parse(&at.value) {
            Ok(condition) => Some((node.clone(), condition)),
            Err(fault) => {
                let span = yaml::part_of(file, node, fault.span.clone());
                found.push(Diagnostic { span, ..fault });
                None
            }
        }
    });
    Some(Detection { conditions: conditions.collect(), selections })
}

fn read_filter(
    file: &str,
    node: &Node,
    logsource: Option<&At<Named>>,
    found: &mut Vec<Diagnostic>,
) -> Option<Filter> {
    let map = Map::new(node, "\"filter\"", found)?;
    let mut rules = map.texts("rules", found);
    if rules.iter().any(|at| at.value == "any") {
        rules.clear();
    } else if rules.is_empty() {
        map.needed("rules", found)?;
    }
    let detection = read_detection(file, node, &["condition", "rules"], found)?;
    Some(Filter { rules, logsource: logsource.map(|at| at.value.clone()), detection })
}

fn read_level(level: Option<&At<String>>, found: &mut Vec<Diagnostic>) -> (Severity, u64) {
    let Some(level) = level else { return (Severity::Medium, 47) };
    match level.value.to_ascii_lowercase().as_str() {
        "informational" => (Severity::Low, 1),
        "low" => (Severity::Low, 21),
        "medium" => (Severity::Medium, 47),
        "high" => (Severity::High, 73),
        "critical" => (Severity::Critical, 99),
        other => {
            let message = format!("\"{other}\" is no level");
            let fault = Diagnostic::error(Code::BadValue, level.span.clone(), message);
            found.push(fault.with_help("one of informational, low, medium, high, critical"));
            (Severity::Medium, 47)
        }
    }
}

/// Our own key `tests`, shaped as the `[[tests]]` of our rule files.
fn read_case(file: &File, node: &Node, found: &mut Vec<Diagnostic>) -> Option<Case> {
    let map = Map::new(node, "a test", found)?;
    let name = map.needed("name", found).and_then(|node| text(node, "name", found));
    let expect = map.needed("expect", found).and_then(|node| text(node, "expect", found));
    let expect = expect.and_then(|at| {
        let number = at.value.parse().ok();
        if number.is_none() {
            let message = "\"expect\" is the number of alerts";
            found.push(Diagnostic::error(Code::WrongKeyType, at.span, message));
        }
        number
    });
    let traces = map.texts("trace", found);
    let events = match traces.is_empty() {
        true => map.needed("events", found).and_then(|node| text(node, "events", found)),
        false => map.text("events", found).or(Some(At { value: String::new(), span: 0..0 })),
    };
    let traces: Option<Vec<PathBuf>> = traces.iter().map(|at| beside(at, &file.path, found)).collect();
    let contains = map.texts("contains", found).into_iter().map(|at| at.value).collect();
    let line = file.text[..node.span.start].matches('\n').count() + 1;
    Some(Case { name: name?.value, expect: expect?, events: events?.value, traces: traces?, contains, line })
}

fn beside(at: &At<String>, file: &Path, found: &mut Vec<Diagnostic>) -> Option<PathBuf> {
    let path = crate::rule::file::trace(&at.value, file);
    if path.is_none() {
        found.push(crate::rule::file::no_trace(&at.value, at.span.clone()));
    }
    path
}

impl Filter {
    /// Every part of a log source that the filter names is the rule's as well.
    pub(super) fn is_for(&self, rule: &Document) -> bool {
        let holds = |wanted: &Option<String>, held: &Option<String>| wanted.is_none() || wanted == held;
        let is_source = match (&self.logsource, &rule.logsource) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(At { value: held, .. })) => {
                holds(&own.product, &held.product)
                    && holds(&own.category, &held.category)
                    && holds(&own.service, &held.service)
            }
        };
        is_source && (self.rules.is_empty() || self.rules.iter().any(|at| rule.is_called(&at.value)))
    }
}

impl Detection {
    fn compile(&self, file: &str, compiler: &mut Compiler<'_>) -> Option<Expr> {
        let selections = compiler.selections(&self.selections);
        let conditions: Vec<Option<Expr>> = self
            .conditions
            .iter()
            .map(|(node, condition)| {
                compiler.condition(condition, &selections, &|span| yaml::part_of(file, node, span))
            })
            .collect();
        let conditions = conditions.into_iter().collect::<Option<Vec<_>>>()?;
        let is_whole = selections.iter().all(|(_, held)| held.is_some());
        is_whole.then(|| Expr::or(conditions))
    }
}

/// The events that a detection is about. None: there are none here, or a fault is noted.
pub(super) fn compile(
    document: &Document,
    detection: &Detection,
    filters: &[&Document],
    options: &Options,
    schema: &mut Schema,
    found: &mut Vec<Diagnostic>,
) -> Option<Expr> {
    let logsource = document.logsource.as_ref()?;
    let sources: Vec<Fields> = match options.is_raw {
        true => vec![Fields::Raw],
        false => document.sources().into_iter().map(Fields::Mapped).collect(),
    };
    if sources.is_empty() {
        let message = format!("no events of {} come here", logsource.value);
        let note = Diagnostic::note(Code::NoSource, logsource.span.clone(), message);
        found.push(note.with_help("the log sources that do are in docs/rule-language.md"));
        return None;
    }
    let mut kinds = Vec::new();
    let mut noted: Option<Vec<Diagnostic>> = None;
    for fields in sources {
        let mut own = Vec::new();
        let mut compiler = Compiler::new(fields, schema, &options.placeholders, &mut own);
        let expr = detection.compile(&document.file.text, &mut compiler);
        let allowed = filters.iter().filter_map(|filter| {
            let Body::Filter(body) = &filter.body else { return None };
            // [`check_filter`] tells of these.
            let mut of_filter = Vec::new();
            let mut compiler = Compiler::new(fields, schema, &options.placeholders, &mut of_filter);
            let expr = body.detection.compile(&filter.file.text, &mut compiler)?;
            // A mistyped field must not take the rule away.
            (expr != Expr::Const(false) || of_filter.is_empty()).then_some(expr)
        });
        let allowed: Vec<Expr> = allowed.collect();
        let is_source = match fields {
            Fields::Raw => Expr::Const(true),
            Fields::Mapped(source) => {
                if let Some(why) = &source.absent {
                    let message = format!("no events of {} come here: {why}", logsource.value);
                    own.push(Diagnostic::note(Code::NoSource, logsource.span.clone(), message));
                }
                source.predicate(schema)
            }
        };
        // What one kind of event lacks, another may have.
        let is_worse = noted.as_ref().is_none_or(|noted| own.len() < noted.len());
        if is_worse {
            noted = Some(own);
        }
        kinds.push(expr.map(|expr| Expr::and([is_source, expr].into_iter().chain(allowed))));
    }
    found.extend(noted.unwrap_or_default());
    if found.iter().any(is_fatal) {
        return None;
    }
    let expr = Expr::or(kinds.into_iter().collect::<Option<Vec<_>>>()?);
    if expr == Expr::Const(false) {
        let message = "nothing that comes here can make this rule fire";
        found.push(Diagnostic::note(Code::NoField, document.title.span.clone(), message));
        return None;
    }
    Some(expr)
}

/// What is wrong with a filter: by itself, and on the events of the rules that it is for. Whatever makes it leave nothing
/// out is a warning, since the rule then tells what it should not.
pub(super) fn check_filter(
    document: &Document,
    filter: &Filter,
    sources: &[&'static mapping::LogSource],
    options: &Options,
    schema: &Schema,
) -> Vec<Diagnostic> {
    let on = |fields| {
        // A look at the raw fields opens them all.
        let mut scratch = schema.clone();
        let mut found = Vec::new();
        let mut compiler = Compiler::new(fields, &mut scratch, &options.placeholders, &mut found);
        filter.detection.compile(&document.file.text, &mut compiler);
        found
    };
    let mut found = on(Fields::Raw);
    if !options.is_raw && found.is_empty() {
        // What one kind of event lacks, another may have.
        let each = sources.iter().map(|source| on(Fields::Mapped(source)));
        found = each.min_by_key(Vec::len).unwrap_or_default();
    }
    for found in found.iter_mut().filter(|found| found.severity == Level::Note) {
        found.severity = Level::Warning;
    }
    found
}

impl Document {
    /// The kinds of events that its log source names.
    pub(super) fn sources(&self) -> Vec<&'static mapping::LogSource> {
        self.logsource.as_ref().map_or_else(Vec::new, |at| mapping::find(&at.value))
    }

    pub(super) fn is_called(&self, reference: &str) -> bool {
        self.id.as_deref() == Some(reference) || self.name.as_deref() == Some(reference)
    }

    pub(super) fn rule(&self, plan: Plan<Expr>) -> Rule<Expr> {
        let hash = hex(&Sha256::digest(self.file.text.as_bytes()));
        Rule {
            id: self.id.clone().unwrap_or_else(|| self.made_id()),
            name: self.title.value.clone(),
            description: self.description.clone(),
            version: 1,
            severity: self.severity,
            risk_score: self.risk_score,
            tags: self.tags.clone(),
            references: self.references.clone(),
            false_positives: self.false_positives.clone(),
            upstream_id: None,
            threat: threat(&self.tags),
            index: self.index(),
            kind: match self.body {
                Body::Correlation(_) => Kind::SigmaCorrelation,
                _ => Kind::Sigma,
            },
            language: Language::Sigma,
            query: self.query().to_owned(),
            rests_on: Vec::new(),
            plan,
            residue: None,
            severity_mapping: Vec::new(),
            risk_score_field: None,
            contexts: Vec::new(),
            exceptions: Vec::new(),
            suppression: None,
            max_signals: None,
            is_building_block: false,
            notifies: true,
            note: String::new(),
            cases: self.cases.clone(),
            path: self.file.path.clone(),
            hash,
        }
    }

    /// The fields of its events that a name may stand for. Empty: none has it.
    pub(super) fn fields(&self, name: &str, options: &Options, schema: &mut Schema) -> Box<[FieldId]> {
        if options.is_raw {
            return Box::new([schema.open(name)]);
        }
        let sources = self.sources();
        let mut fields = Vec::new();
        for slot in sources.iter().flat_map(|source| source.slots(name, schema)) {
            match slot {
                mapping::Slot::Field(field) if !fields.contains(&field) => fields.push(field),
                mapping::Slot::Field(_) | mapping::Slot::Item(..) => {}
            }
        }
        fields.into()
    }

    /// The text that says what it looks for.
    pub(super) fn query(&self) -> &str {
        self.file.text.get(self.query.clone()).unwrap_or_default()
    }

    /// Where its events would be.
    fn index(&self) -> Vec<String> {
        let sources = self.sources();
        let mut globs: Vec<String> = sources.iter().flat_map(|source| source.index.clone()).collect();
        globs.sort();
        globs.dedup();
        globs
    }

    /// A rule without an id keeps the one that its title and query make, wherever the file lies.
    fn made_id(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.title.value.as_bytes());
        hash.update([0]);
        hash.update(self.query().as_bytes());
        let hex = hex(&hash.finalize());
        format!("{}-{}-8{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const TACTICS: &[(&str, &str, &str)] = &[
    ("reconnaissance", "TA0043", "Reconnaissance"),
    ("resource-development", "TA0042", "Resource Development"),
    ("initial-access", "TA0001", "Initial Access"),
    ("execution", "TA0002", "Execution"),
    ("persistence", "TA0003", "Persistence"),
    ("privilege-escalation", "TA0004", "Privilege Escalation"),
    ("defense-evasion", "TA0005", "Defense Evasion"),
    ("credential-access", "TA0006", "Credential Access"),
    ("discovery", "TA0007", "Discovery"),
    ("lateral-movement", "TA0008", "Lateral Movement"),
    ("collection", "TA0009", "Collection"),
    ("exfiltration", "TA0010", "Exfiltration"),
    ("command-and-control", "TA0011", "Command and Control"),
    ("impact", "TA0040", "Impact"),
];

/// Tags name tactics and techniques side by side: which technique serves which tactic is not said, so each tactic has all.
fn threat(tags: &[String]) -> Vec<Threat> {
    let tags: Vec<String> = tags
        .iter()
        .filter_map(|tag| Some(tag.to_ascii_lowercase().strip_prefix("attack.")?.replace('_', "-")))
        .collect();
    let mut techniques: Vec<Technique> = Vec::new();
    for tag in &tags {
        let Some(digits) =
            tag.strip_prefix('t').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        else {
            continue;
        };
        let (main, sub) = digits.split_once('.').map_or((digits, None), |(main, sub)| (main, Some(sub)));
        let id = format!("T{main}");
        let at = techniques.iter().position(|technique| technique.entry.id == id).unwrap_or_else(|| {
            techniques.push(Technique { entry: technique(&id), subtechniques: Vec::new() });
            techniques.len() - 1
        });
        if let Some(sub) = sub {
            techniques[at].subtechniques.push(technique(&format!("{id}.{sub}")));
        }
    }
    let tactics = TACTICS.iter().filter(|(tag, ..)| tags.iter().any(|held| held == tag));
    tactics
        .map(|(_, id, name)| Threat {
            framework: "MITRE ATT&CK".to_owned(),
            tactic: ThreatEntry {
                id: (*id).to_owned(),
                name: (*name).to_owned(),
                reference: format!("https://attack.mitre.org/tactics/{id}/"),
            },
            techniques: techniques.clone(),
        })
        .collect()
}

fn technique(id: &str) -> ThreatEntry {
    let reference = format!("https://attack.mitre.org/techniques/{}/", id.replace('.', "/"));
    ThreatEntry { id: id.to_owned(), name: id.to_owned(), reference }
}
