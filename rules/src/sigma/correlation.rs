//! `correlation`: several rules' events, counted or put in order.

use std::collections::BTreeMap;

use super::document::{self, At, Body, Document, Map};
use super::yaml::{Node as Yaml, Value};
use super::{Library, Options};
use crate::diagnostic::{Code, Diagnostic};
use crate::event::Span;
use crate::expr::{Comparison, Expr};
use crate::literal::{FloatBits, Number};
use crate::plan::MAX_COUNTED;
use crate::plan::correlation::{self as plan, Leaf, Measure, Member, Node};
use crate::rule::duration;
use crate::schema::{FieldId, Schema};

/// Correlations over correlations over correlations.
const MAX_DEPTH: usize = 8;
const MAX_LEAVES: usize = 64;
/// Windows keep their events.
const MAX_SPAN: Span = Span::from_secs(30 * 86_400);

#[derive(Debug)]
pub(super) struct Correlation {
    /// By id or name.
    pub(super) rules: Vec<At<String>>,
    /// The rules also tell by themselves.
    pub(super) generate: bool,
    measure: Measure,
    by: Vec<At<String>>,
    span: Span,
    bounds: Vec<(Comparison, FloatBits)>,
    value: Vec<At<String>>,
    /// By alias, by rule: the field.
    aliases: BTreeMap<String, BTreeMap<String, String>>,
}

pub(super) fn read(node: &Yaml, found: &mut Vec<Diagnostic>) -> Option<Correlation> {
    let map = Map::new(node, "\"correlation\"", found)?;
    let kind = map.needed("type", found).and_then(|_| map.text("type", found));
    map.needed("rules", found);
    let rules = map.texts("rules", found);
    let span = map.needed("timespan", found).and_then(|_| map.text("timespan", found));
    let span = span.and_then(|at| read_span(&at, found));
    let condition = map.get("condition").and_then(|node| Map::new(node, "\"condition\"", found));
    let n_before = found.len();
    let mut percentile = 50;
    let mut value = Vec::new();
    let mut bounds = Vec::new();
    for (key, node) in condition.iter().flat_map(|map| map.entries) {
        let number = node.scalar().and_then(|scalar| Number::parse(&scalar.text));
        match (key.text.as_str(), number) {
            ("field", _) => value = condition.iter().flat_map(|map| map.texts("field", found)).collect(),
            ("percentile", Some(Number::Int(number @ 0..=100))) => {
                percentile = u8::try_from(number).unwrap_or(50)
            }
            (name, Some(number)) if comparison(name).is_some() => {
                bounds
                    .extend(comparison(name).map(|comparison| (comparison, FloatBits::new(number.as_f64()))));
            }
            (name, _) if name == "percentile" || comparison(name).is_some() => {
                found.push(bad(&node.span, "this is no number to compare with"));
            }
            (name, _) => {
                let message = format!("\"{name}\" is no part of a condition");
                found.push(
                    bad(&key.span, &message).with_help("one of gt, gte, lt, lte, eq, neq, field, percentile"),
                );
            }
        }
    }
    let measure = kind.and_then(|at| {
        let measure = measure(&at.value, percentile);
        if measure.is_none() {
            let message = format!("\"{}\" is no type of correlation", at.value);
            let help = "one of event_count, value_count, temporal, temporal_ordered, value_sum, value_avg, value_percentile";
            found.push(bad(&at.span, &message).with_help(help));
        }
        measure
    })?;
    let is_temporal = matches!(measure, Measure::Temporal | Measure::TemporalOrdered);
    if bounds.is_empty() && is_temporal {
        bounds.push((Comparison::GreaterOrEqual, FloatBits::new(rules.len() as f64)));
    }
    if bounds.is_empty() && found.len() == n_before {
        found.push(
            bad(&node.span, "\"condition\" is missing: how many are an alert?")
                .with_help("as in `condition: {gte: 10}`"),
        );
    }
    if value.is_empty() && !is_temporal && measure != Measure::EventCount {
        found.push(bad(&node.span, "\"condition\" names no \"field\" to measure"));
    }
    let is_count = matches!(measure, Measure::EventCount | Measure::ValueCount);
    if is_count && bounds.iter().any(|(_, bound)| bound.get() > MAX_COUNTED as f64) {
        let message = format!("more than {MAX_COUNTED} in one window are not counted");
        let help = "shorten \"timespan\", or group by more";
        found.push(bad(&node.span, &message).with_help(help));
    }
    let generate = map.text("generate", found).is_some_and(|at| at.value == "true");
    let aliases = read_aliases(map.get("aliases"), found);
    Some(Correlation {
        rules,
        generate,
        measure,
        by: map.texts("group-by", found),
        span: span?,
        bounds,
        value,
        aliases,
    })
}

fn read_span(at: &At<String>, found: &mut Vec<Diagnostic>) -> Option<Span> {
    match duration::parse(&at.value) {
        Some(span) if span <= MAX_SPAN => Some(span),
        Some(_) => {
            let message = format!("a window of {} is longer than the 30d that are kept", at.value);
            found.push(Diagnostic::error(Code::BadSpan, at.span.clone(), message));
            None
        }
        None => {
            let message = format!("\"{}\" is no length of time", at.value);
            let fault = Diagnostic::error(Code::BadSpan, at.span.clone(), message);
            found.push(fault.with_help("write a number with its unit: 30s, 10m, 1h, 7d"));
            None
        }
    }
}

fn read_aliases(
    node: Option<&Yaml>,
    found: &mut Vec<Diagnostic>,
) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut aliases = BTreeMap::new();
    for (alias, fields) in
        node.and_then(|node| Map::new(node, "\"aliases\"", found)).iter().flat_map(|map| map.entries)
    {
        let Value::Map(fields) = &fields.value else {
            found.push(bad(&fields.span, "an alias is a map from a rule to its field"));
            continue;
        };
        let by_rule = fields
            .iter()
            .filter_map(|(rule, field)| Some((rule.text.clone(), field.scalar()?.text.clone())))
            .collect();
        aliases.insert(alias.text.clone(), by_rule);
    }
    aliases
}

fn measure(name: &str, percentile: u8) -> Option<Measure> {
    Some(match name {
        "event_count" => Measure::EventCount,
        "value_count" => Measure::ValueCount,
        "temporal" => Measure::Temporal,
        "temporal_ordered" => Measure::TemporalOrdered,
        "value_sum" => Measure::Sum,
        "value_avg" => Measure::Average,
        "value_percentile" => Measure::Percentile(percentile),
        _ => return None,
    })
}

fn comparison(name: &str) -> Option<Comparison> {
    Some(match name {
        "gt" => Comparison::Greater,
        "gte" => Comparison::GreaterOrEqual,
        "lt" => Comparison::Less,
        "lte" => Comparison::LessOrEqual,
        "eq" => Comparison::Equal,
        "neq" => Comparison::NotEqual,
        _ => return None,
    })
}

fn bad(span: &std::ops::Range<usize>, message: &str) -> Diagnostic {
    Diagnostic::error(Code::BadCorrelation, span.clone(), message)
}

/// With what the documents below say. None: a fault is noted, or why it cannot fire here.
pub(super) fn compile(
    library: &Library,
    at: usize,
    options: &Options,
    schema: &mut Schema,
    found: &mut Vec<Diagnostic>,
) -> Option<(plan::Correlation<Expr>, Vec<String>)> {
    let mut builder = Builder {
        library,
        options,
        schema,
        found,
        leaves: Vec::new(),
        nodes: Vec::new(),
        owners: Vec::new(),
        rests_on: Vec::new(),
    };
    builder.node(at, &mut Vec::new())?;
    let Builder { mut leaves, mut nodes, rests_on, .. } = builder;
    for node in &mut nodes {
        node.by.resize(leaves.len(), Vec::new());
        node.value.resize(leaves.len(), Vec::new());
    }
    // State is kept apart by the outermost group where every group below it is finer; else by nothing.
    let root = nodes.last()?.by.clone();
    let is_finer = |node: &Node| {
        let mut sides = node.by.iter().zip(&node.value).zip(&root).enumerate();
        sides.all(|(leaf, ((by, _), root))| {
            !holds(&nodes, node, leaf) || root.iter().all(|at| by.contains(at))
        })
    };
    if nodes.iter().all(is_finer) {
        leaves.iter_mut().zip(root).for_each(|(leaf, key)| leaf.key = key);
    }
    Some((plan::Correlation { leaves, nodes }, rests_on))
}

/// Whether the leaf is below the node.
fn holds(nodes: &[Node], node: &Node, leaf: usize) -> bool {
    node.members.iter().any(|member| match member {
        Member::Leaf(held) => *held == leaf,
        Member::Node(below) => holds(nodes, &nodes[*below], leaf),
    })
}

struct Builder<'b> {
    library: &'b Library,
    options: &'b Options,
    schema: &'b mut Schema,
    found: &'b mut Vec<Diagnostic>,
    leaves: Vec<Leaf<Expr>>,
    nodes: Vec<Node>,
    /// By leaf: its document.
    owners: Vec<usize>,
    /// What the documents below say, filters included.
    rests_on: Vec<String>,
}

impl<'b> Builder<'b> {
    /// The node's place, and the leaves below it with the member that each belongs to.
    fn node(&mut self, at: usize, above: &mut Vec<usize>) -> Option<(usize, Vec<(usize, usize)>)> {
        let library = self.library;
        let Body::Correlation(correlation) = &library.documents[at].body else { return None };
        above.push(at);
        let mut members = Vec::new();
        let mut below: Vec<(usize, usize)> = Vec::new();
        let mut owners = Vec::new();
        for name in &correlation.rules {
            let Some(idx) = library.find(&name.value) else {
                let message = format!("no loaded rule has the id or name \"{}\"", name.value);
                self.found.push(Diagnostic::error(Code::UnknownRule, self.here(above, name), message));
                continue;
            };
            if above.contains(&idx) || above.len() > MAX_DEPTH || self.leaves.len() >= MAX_LEAVES {
                let message =
                    format!("\"{}\" makes a circle of correlations, or too many of them", name.value);
                self.found.push(bad(&self.here(above, name), &message));
                return None;
            }
            let document = &library.documents[idx];
            self.rests_on.push(document.query().to_owned());
            let member = match &document.body {
                Body::Detection(_) => {
                    let leaf = self.leaf(idx, document, &self.here(above, name))?;
                    below.push((leaf, owners.len()));
                    Member::Leaf(leaf)
                }
                Body::Correlation(_) => {
                    let (node, leaves) = self.node(idx, above)?;
                    if !self.nodes[node].is_eager() {
                        let message = format!(
                            "\"{}\" is judged when its window is over, too late for another correlation",
                            name.value
                        );
                        let fault = Diagnostic::error(Code::UnsupportedRule, self.here(above, name), message);
                        self.found.push(
                            fault.with_help(
                                "below another correlation, `gt` and `gte` of a count or a sum work",
                            ),
                        );
                        return None;
                    }
                    below.extend(leaves.into_iter().map(|(leaf, _)| (leaf, owners.len())));
                    Member::Node(node)
                }
                Body::Filter(_) => {
                    self.found.push(bad(&self.here(above, name), "a filter is no rule to correlate"));
                    continue;
                }
            };
            members.push(member);
            owners.push(idx);
        }
        let is_whole = members.len() == correlation.rules.len() && !members.is_empty();
        let by = self.places(correlation, &correlation.by, &below, &owners, above);
        let value = self.places(correlation, &correlation.value, &below, &owners, above);
        above.pop();
        let (by, value) = (by?, value?);
        if !is_whole {
            return None;
        }
        self.nodes.push(Node {
            measure: correlation.measure,
            members,
            by_names: correlation.by.iter().map(|at| at.value.clone()).collect(),
            by,
            value,
            span: correlation.span,
            bounds: correlation.bounds.clone(),
        });
        Some((self.nodes.len() - 1, below))
    }

    fn leaf(&mut self, idx: usize, document: &'b Document, span: &std::ops::Range<usize>) -> Option<usize> {
        let Body::Detection(detection) = &document.body else { return None };
        let filters = self.library.filters_of(document);
        self.rests_on.extend(filters.iter().map(|filter| filter.query().to_owned()));
        // Faults are told of the rule itself.
        let mut own = Vec::new();
        let expr = document::compile(document, detection, &filters, self.options, self.schema, &mut own);
        let Some(predicate) = expr else {
            let message = format!("the rule \"{}\" does not run here", document.title.value);
            self.found.push(Diagnostic::note(Code::NoSource, span.clone(), message));
            return None;
        };
        self.leaves.push(Leaf { predicate, fields: Vec::new(), key: Vec::new() });
        self.owners.push(idx);
        Some(self.leaves.len() - 1)
    }

    /// Where each leaf has the named fields.
    fn places(
        &mut self,
        correlation: &Correlation,
        names: &[At<String>],
        below: &[(usize, usize)],
        owners: &[usize],
        above: &[usize],
    ) -> Option<Vec<Vec<usize>>> {
        let mut places = vec![Vec::new(); self.leaves.len()];
        let mut is_whole = true;
        for name in names {
            for (leaf, member) in below {
                let document = &self.library.documents[self.owners[*leaf]];
                let owner = &self.library.documents[owners[*member]];
                let alias = correlation.aliases.get(&name.value);
                let alias = alias.and_then(|by_rule| {
                    let is_meant =
                        |(rule, _): &(&String, &String)| owner.is_called(rule) || document.is_called(rule);
                    by_rule.iter().find(is_meant).map(|(_, field)| field.as_str())
                });
                let field = alias.unwrap_or(&name.value);
                let fields = document.fields(field, self.options, self.schema);
                if fields.is_empty() {
                    let message =
                        format!("events of \"{}\" have no field \"{field}\" here", document.title.value);
                    self.found.push(Diagnostic::note(Code::NoField, self.here(above, name), message));
                    is_whole = false;
                } else {
                    places[*leaf].push(place(&mut self.leaves[*leaf].fields, fields));
                }
            }
        }
        is_whole.then_some(places)
    }

    /// The place of a name in the file that the findings are of: of a correlation below, the place of its own name there.
    fn here(&self, above: &[usize], name: &At<String>) -> std::ops::Range<usize> {
        match above {
            [_] => name.span.clone(),
            [root, ..] => self.library.documents[*root].title.span.clone(),
            [] => 0..0,
        }
    }
}

fn place(fields: &mut Vec<Box<[FieldId]>>, wanted: Box<[FieldId]>) -> usize {
    fields.iter().position(|held| *held == wanted).unwrap_or_else(|| {
        fields.push(wanted);
        fields.len() - 1
    })
}
