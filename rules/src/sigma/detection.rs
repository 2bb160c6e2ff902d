//! Selections and a condition to a predicate.

use std::ops::Range;

use rustc_hash::FxHashMap;

use super::Placeholders;
use super::condition::{Condition, Quantity};
use super::mapping::{self, LogSource, Slot};
use super::modifier::{Modifier, Target};
use super::value::{self, Place, Want};
use super::yaml::{Key, Node, Value};
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::expr::{Comparison, Expr, Function, Scalar, Test};
use crate::literal::{FloatBits, Literal, Number, parse_ip};
use crate::pattern::Case;
use crate::pattern::set::TextSet;
use crate::pattern::wildcard::{Piece, Wildcard};
use crate::schema::{FieldId, FieldType, Schema};

/// Values and selections of one rule, as often as its condition names them.
const MAX_PARTS: usize = 200_000;
/// Selections of which `3 of x*` may pick.
const MAX_PICK: usize = 16;

/// Where a rule's fields are looked up.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fields {
    Mapped(&'static LogSource),
    /// As they are: for events that speak Sigma's names themselves.
    Raw,
}

/// Compiles the parts of one rule for one kind of event.
pub(super) struct Compiler<'a> {
    pub(super) fields: Fields,
    pub(super) schema: &'a mut Schema,
    pub(super) known: &'a Placeholders,
    pub(super) found: &'a mut Vec<Diagnostic>,
    n_parts: usize,
}

/// Named selections, each compiled once, with its size. `None`: a fault in it is already noted.
pub(super) type Selections = Vec<(String, Option<(Expr, usize)>)>;

impl<'a> Compiler<'a> {
    pub(super) fn new(
        fields: Fields,
        schema: &'a mut Schema,
        known: &'a Placeholders,
        found: &'a mut Vec<Diagnostic>,
    ) -> Self {
        Self { fields, schema, known, found, n_parts: 0 }
    }

    pub(super) fn selections(&mut self, entries: &[(Key, Node)]) -> Selections {
        let compile = |(key, node): &(Key, Node)| {
            let before = self.n_parts;
            let expr = self.selection(node);
            (key.text.clone(), expr.map(|expr| (expr, self.n_parts - before)))
        };
        entries.iter().map(compile).collect()
    }

    fn selection(&mut self, node: &Node) -> Option<Expr> {
        match &node.value {
            Value::Map(entries) => {
                let parts: Vec<Option<Expr>> =
                    entries.iter().map(|(key, value)| self.item(key, value)).collect();
                parts.into_iter().collect::<Option<Vec<_>>>().map(Expr::and)
            }
            Value::List(items) => {
                let (words, maps): (Vec<&Node>, Vec<&Node>) =
                    items.iter().partition(|item| item.scalar().is_some());
                let nested = |item: &&Node| matches!(item.value, Value::List(_));
                if let Some(list) = maps.iter().copied().find(nested) {
                    return self.fault(Code::WrongKeyType, &list.span, "a list in a list says nothing here");
                }
                let mut parts: Vec<Option<Expr>> = maps.into_iter().map(|map| self.selection(map)).collect();
                if !words.is_empty() || items.is_empty() {
                    parts.push(self.values(&anywhere(node), &words, &node.span));
                }
                parts.into_iter().collect::<Option<Vec<_>>>().map(Expr::or)
            }
            Value::Scalar(_) => self.values(&anywhere(node), &[node], &node.span),
        }
    }

    fn item(&mut self, key: &Key, node: &Node) -> Option<Expr> {
        let quote = key.span.len().saturating_sub(key.text.len()) / 2;
        match Target::parse(&key.text, key.span.start + quote) {
            Ok(target) => {
                let values: Vec<&Node> = node.items().iter().collect();
                self.values(&target, &values, &node.span)
            }
            Err(found) => {
                self.found.push(found);
                None
            }
        }
    }

    fn values(&mut self, target: &Target, nodes: &[&Node], span: &Range<usize>) -> Option<Expr> {
        if nodes.is_empty() {
            return self.fault(
                Code::WrongKeyType,
                span,
                "an empty list matches nothing: is a value missing?",
            );
        }
        let slots = self.slots(target);
        let mut parts = Vec::with_capacity(nodes.len());
        for node in nodes {
            let wants = match value::wants(target, node, self.known, self.schema.bounds()) {
                Ok(wants) => wants,
                Err(found) => {
                    self.found.push(found);
                    parts.push(None);
                    continue;
                }
            };
            self.n_parts += wants.len() * slots.len().max(1);
            if self.n_parts > MAX_PARTS {
                let message = format!("the rule has more than {MAX_PARTS} values");
                return self.fault(Code::TooLong, &node.span, &message);
            }
            parts.push(Some(Expr::or(
                wants.iter().map(|want| self.want(target, want, &slots)).collect::<Vec<_>>(),
            )));
        }
        let parts = parts.into_iter().collect::<Option<Vec<_>>>()?;
        let joined = match target.has(Modifier::All) {
            true => Expr::and(parts),
            false => Expr::or(merge(parts)),
        };
        Some(if target.has(Modifier::Neq) { Expr::negate(joined) } else { joined })
    }

    fn slots(&mut self, target: &Target) -> Vec<Slot> {
        let name = &target.field;
        match self.fields {
            Fields::Mapped(source) if name.is_empty() => source.words(self.schema),
            Fields::Mapped(source) => {
                let slots = source.slots(name, self.schema);
                if slots.is_empty() && source.values(name).is_none() {
                    let message = format!("no event of this log source has a field \"{name}\" here");
                    let found = Diagnostic::note(Code::NoField, target.field_span.clone(), message);
                    self.found.push(match source.suggest(name) {
                        Some(known) => found.with_help(format!("did you mean \"{known}\"?")),
                        None => found.with_help("what asks for a value of it never holds"),
                    });
                }
                slots
            }
            Fields::Raw if name.is_empty() => Vec::new(),
            Fields::Raw => vec![Slot::Field(self.schema.open(name))],
        }
    }

    fn want(&mut self, target: &Target, want: &Want, slots: &[Slot]) -> Expr {
        if let Fields::Mapped(source) = self.fields
            && let Some(values) = source.values(&target.field)
        {
            let named = match want {
                Want::Text(pieces, _) => meant(values, pieces, self.schema),
                Want::Number(number) => meant(values, &[Piece::Text(number_text(*number))], self.schema),
                _ => None,
            };
            if let Some(expr) = named {
                return expr;
            }
        }
        if slots.is_empty() {
            // A field that is never there.
            return Expr::Const(matches!(want, Want::Null | Want::Exists(false)));
        }
        let each: Vec<Expr> = slots.iter().map(|slot| self.in_slot(target, want, *slot)).collect();
        match want {
            Want::Null | Want::Exists(false) => Expr::and(each),
            _ => Expr::or(each),
        }
    }

    fn in_slot(&mut self, target: &Target, want: &Want, slot: Slot) -> Expr {
        let kind = self.kind(slot);
        let test = match want {
            Want::Null | Want::Exists(false) => return Expr::negate(exists(slot)),
            Want::Exists(true) => return exists(slot),
            Want::Field { name, place, case } => return self.field_of(target, name, *place, *case, slot),
            Want::Text(pieces, case) if target.field.is_empty() => {
                let inside = [&[Piece::Many], &pieces[..], &[Piece::Many]].concat();
                Test::wildcard(Wildcard::new(inside, *case))
            }
            Want::Text(pieces, case) => text_test(pieces, *case, kind),
            Want::Number(number) => match kind {
                FieldType::Long | FieldType::Double => Test::Equals(number.literal()),
                _ => Test::text(&number_text(*number), Case::Folded),
            },
            Want::Regex(regex) => Test::Regex(regex.clone()),
            Want::Cidr(nets) => Test::Cidr(nets.clone()),
            Want::Range(range) => Test::Range(range.clone()),
            Want::Part(part, range) => Test::Part(*part, range.clone()),
        };
        match slot {
            Slot::Field(field) => Expr::Any(field, test),
            Slot::Item(field, at) => Expr::Item(field, at, test),
        }
    }

    fn field_of(&mut self, target: &Target, name: &str, place: Place, case: Case, slot: Slot) -> Expr {
        let other = Target { field: name.to_owned(), ..target.clone() };
        let others = self.slots(&other);
        let Slot::Field(left) = slot else { return Expr::Const(false) };
        let pairs = others.into_iter().filter_map(|other| match other {
            Slot::Field(right) => Some(self.compare(left, right, place, case)),
            Slot::Item(..) => None,
        });
        Expr::or(pairs.collect::<Vec<_>>())
    }

    fn compare(&self, left: FieldId, right: FieldId, place: Place, case: Case) -> Expr {
        let is_text =
            |field| matches!(self.kind(Slot::Field(field)), FieldType::Keyword | FieldType::Flattened);
        let call = |function| Scalar::Call(function, Box::new([Scalar::Field(left), Scalar::Field(right)]));
        Expr::Holds(match place {
            Place::Start => call(Function::StartsWith(case)),
            Place::End => call(Function::EndsWith(case)),
            Place::Anywhere => call(Function::Contains(case)),
            Place::Whole => {
                let side = |field| match case == Case::Folded && is_text(left) && is_text(right) {
                    true => Scalar::Call(Function::ToLower, Box::new([Scalar::Field(field)])),
                    false => Scalar::Field(field),
                };
                Scalar::Compare(Comparison::Equal, Box::new((side(left), side(right))))
            }
        })
    }

    fn kind(&self, slot: Slot) -> FieldType {
        let (Slot::Field(field) | Slot::Item(field, _)) = slot;
        self.schema.field(field).kind
    }

    /// `place` says where in the file a span of the condition's text is.
    pub(super) fn condition(
        &mut self,
        condition: &Condition,
        selections: &Selections,
        place: &impl Fn(Range<usize>) -> Range<usize>,
    ) -> Option<Expr> {
        match condition {
            Condition::Name(name, span) => match selections.iter().find(|(known, _)| known == name) {
                Some((_, held)) => self.take(held, &place(span.clone())),
                None => {
                    let message = format!("no selection is called \"{name}\"");
                    let near = selections
                        .iter()
                        .map(|(known, _)| (strsim::osa_distance(known, name), known))
                        .filter(|(distance, known)| *distance <= 1 + known.len() / 4)
                        .min();
                    let found = Diagnostic::error(Code::UnknownSelection, place(span.clone()), message);
                    self.found.push(match near {
                        Some((_, known)) => found.with_help(format!("did you mean \"{known}\"?")),
                        None => found,
                    });
                    None
                }
            },
            Condition::Of { quantity, pattern, span } => {
                let span = place(span.clone());
                let pattern = pattern
                    .as_ref()
                    .map(|pattern| Wildcard::new(crate::pattern::wildcard::pieces(pattern), Case::Sensitive));
                let is_meant = |name: &str| match &pattern {
                    Some(pattern) => pattern.is_match(name),
                    None => !name.starts_with('_'),
                };
                let meant: Vec<_> = selections.iter().filter(|(name, _)| is_meant(name)).collect();
                if meant.is_empty() {
                    return self.fault(Code::UnknownSelection, &span, "no selection has such a name");
                }
                let parts: Vec<Option<Expr>> = meant.iter().map(|(_, held)| self.take(held, &span)).collect();
                let parts = parts.into_iter().collect::<Option<Vec<_>>>()?;
                match quantity {
                    Quantity::All => Some(Expr::and(parts)),
                    Quantity::AtLeast(1) => Some(Expr::or(parts)),
                    Quantity::AtLeast(_) if parts.len() > MAX_PICK => {
                        let message = format!("picking of more than {MAX_PICK} selections is too much");
                        self.fault(Code::TooLong, &span, &message)
                    }
                    Quantity::AtLeast(least) => {
                        let sizes: Vec<usize> = meant
                            .iter()
                            .filter_map(|(_, held)| held.as_ref().map(|(_, size)| *size))
                            .collect();
                        self.charge(written_out(*least, &sizes), &span)?;
                        Some(at_least(*least, &parts))
                    }
                }
            }
            Condition::Not(part) => self.condition(part, selections, place).map(Expr::negate),
            Condition::And(parts) => self.conditions(parts, selections, place).map(Expr::and),
            Condition::Or(parts) => self.conditions(parts, selections, place).map(Expr::or),
        }
    }

    fn conditions(
        &mut self,
        parts: &[Condition],
        selections: &Selections,
        place: &impl Fn(Range<usize>) -> Range<usize>,
    ) -> Option<Vec<Expr>> {
        let parts: Vec<Option<Expr>> =
            parts.iter().map(|part| self.condition(part, selections, place)).collect();
        parts.into_iter().collect()
    }

    fn take(&mut self, held: &Option<(Expr, usize)>, span: &Range<usize>) -> Option<Expr> {
        let (expr, size) = held.as_ref()?;
        self.charge(*size, span)?;
        Some(expr.clone())
    }

    /// Before they are made.
    fn charge(&mut self, n_parts: usize, span: &Range<usize>) -> Option<()> {
        self.n_parts = self.n_parts.saturating_add(n_parts);
        if self.n_parts > MAX_PARTS {
            let message = format!("the condition makes more than {MAX_PARTS} values of the selections");
            return self.fault(Code::TooLong, span, &message);
        }
        Some(())
    }

    fn fault<T>(&mut self, code: Code, span: &Range<usize>, message: &str) -> Option<T> {
        self.found.push(Diagnostic::error(code, span.clone(), message));
        None
    }
}

/// Whether a finding keeps the rule from being compiled at all.
pub(super) fn is_fatal(found: &Diagnostic) -> bool {
    found.severity == Severity::Error || found.code == Code::NoPlaceholder
}

fn anywhere(node: &Node) -> Target {
    Target { field: String::new(), field_span: node.span.start..node.span.start, modifiers: Vec::new() }
}

fn exists(slot: Slot) -> Expr {
    match slot {
        Slot::Field(field) => Expr::Exists(field),
        Slot::Item(field, at) => {
            Expr::Item(field, at, Test::Wildcard(Wildcard::new(vec![Piece::Many], Case::Sensitive)))
        }
    }
}

fn text_test(pieces: &[Piece], case: Case, kind: FieldType) -> Test {
    if let ([Piece::Text(text)], FieldType::Ip) = (pieces, kind)
        && let Some(ip) = parse_ip(text)
    {
        return Test::Equals(Literal::Ip(ip));
    }
    Test::wildcard(Wildcard::new(pieces.to_vec(), case))
}

fn number_text(number: Number) -> String {
    match number.literal() {
        Literal::Int(int) => int.to_string(),
        Literal::Float(float) => FloatBits::get(float).to_string(),
        _ => String::new(),
    }
}

/// The kinds of event that values of the field mean.
fn meant(
    values: &std::collections::BTreeMap<String, String>,
    pieces: &[Piece],
    schema: &mut Schema,
) -> Option<Expr> {
    let pattern = Wildcard::new(pieces.to_vec(), Case::Folded);
    let meant: Vec<Expr> = values
        .iter()
        .filter(|(value, _)| pattern.is_match(value))
        .map(|(_, text)| mapping::condition(text, schema))
        .collect();
    (!meant.is_empty()).then(|| Expr::or(meant))
}

/// Exact texts of one field become one set.
fn merge(parts: Vec<Expr>) -> Vec<Expr> {
    let mut sets: FxHashMap<(FieldId, Option<u32>, Case), Vec<Box<str>>> = FxHashMap::default();
    let mut order = Vec::new();
    let mut rest = Vec::new();
    for part in parts {
        let (key, texts): (_, Vec<Box<str>>) = match &part {
            Expr::Any(field, Test::In(set)) => ((*field, None, set.case()), set.items().to_vec()),
            Expr::Item(field, at, Test::In(set)) => ((*field, Some(*at), set.case()), set.items().to_vec()),
            Expr::Any(field, Test::Equals(Literal::Text(text))) => {
                ((*field, None, Case::Sensitive), vec![text.clone()])
            }
            _ => {
                rest.push(part);
                continue;
            }
        };
        let held = sets.entry(key).or_default();
        if held.is_empty() {
            order.push(key);
        }
        held.extend(texts);
    }
    let set = |key: (FieldId, Option<u32>, Case)| {
        let texts = &sets[&key];
        let test = match texts.as_slice() {
            [text] => Test::text(text, key.2),
            texts => Test::In(TextSet::new(texts, key.2)),
        };
        match key.1 {
            None => Expr::Any(key.0, test),
            Some(at) => Expr::Item(key.0, at, test),
        }
    };
    order.into_iter().map(set).chain(rest).collect()
}

/// How much [`at_least`] makes of parts of these sizes.
fn written_out(least: usize, sizes: &[usize]) -> usize {
    if least > sizes.len() {
        return 0;
    }
    // By how many are still to be found; from the last part to the first.
    let mut of = vec![0_usize; least + 1];
    for (n_after, size) in sizes.iter().rev().enumerate() {
        for n in (1..=least.min(n_after + 1)).rev() {
            of[n] = of[n].saturating_add(of[n - 1]).saturating_add(*size);
        }
    }
    of[least]
}

/// So many of the parts hold.
fn at_least(least: usize, parts: &[Expr]) -> Expr {
    match (least, parts) {
        (0, _) => Expr::Const(true),
        (least, parts) if parts.len() < least => Expr::Const(false),
        (least, [first, rest @ ..]) => {
            Expr::or([Expr::and([first.clone(), at_least(least - 1, rest)]), at_least(least, rest)])
        }
        (_, []) => Expr::Const(false),
    }
}
