//! A selection's values, with their modifiers worked in: what a field is to be compared with.

use std::ops::Bound;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Placeholders;
use super::modifier::{DatePart, Modifier, Target};
use super::yaml::{Node, Scalar, Typed};
use crate::bounds::Bounds;
use crate::diagnostic::{Code, Diagnostic};
use crate::expr::Range;
use crate::literal::{FloatBits, Literal, Number};
use crate::pattern::Case;
use crate::pattern::cidr::{CidrSet, parse_net};
use crate::pattern::regex::{PerlFlags, Regex};
use crate::pattern::wildcard::Piece;

/// Values that placeholders or dashes may multiply one into.
const MAX_VARIANTS: usize = 1_024;
/// All that Windows tools take for the dash of an option, as the specification lists them.
const DASHES: [char; 5] = ['-', '/', '\u{2013}', '\u{2014}', '\u{2015}'];

/// What a field's value must be.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Want {
    Text(Vec<Piece>, Case),
    Number(Number),
    Null,
    Exists(bool),
    Regex(Regex),
    Cidr(CidrSet),
    Range(Range),
    Part(DatePart, Range),
    /// Another field of the same event.
    Field {
        name: String,
        place: Place,
        case: Case,
    },
}

/// Where one text is to be found in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Whole,
    Start,
    End,
    Anywhere,
}

/// What one scalar asks for: one of several.
pub(super) fn wants(
    target: &Target,
    node: &Node,
    known: &Placeholders,
    bounds: &Bounds,
) -> Result<Vec<Want>, Diagnostic> {
    let Some(scalar) = node.scalar() else {
        let found =
            Diagnostic::error(Code::WrongKeyType, node.span.clone(), "a value is a text, a number or null");
        return Err(found);
    };
    if scalar.typed() == Typed::Null {
        return Ok(vec![Want::Null]);
    }
    if target.has(Modifier::Exists) {
        return match scalar.typed() {
            Typed::Bool(bool) => Ok(vec![Want::Exists(bool)]),
            _ => Err(wrong(node, "`exists` takes true or false")),
        };
    }
    if let Some(want) = compared(target, node, scalar)? {
        return Ok(vec![want]);
    }
    let texts = match target.has(Modifier::Expand) {
        true => expand(&scalar.text, node, known)?,
        false => vec![scalar.text.clone()],
    };
    if target.has(Modifier::Re) {
        return texts.iter().map(|text| regex(target, text, node, bounds)).collect();
    }
    if target.has(Modifier::Cidr) {
        return texts.iter().map(|text| cidr(text, node)).collect();
    }
    let case = if target.has(Modifier::Cased) { Case::Sensitive } else { Case::Folded };
    if target.has(Modifier::FieldRef) {
        let place = place(target);
        return Ok(texts.into_iter().map(|name| Want::Field { name, place, case }).collect());
    }
    if let (Typed::Int(_) | Typed::Float(_), false) = (scalar.typed(), is_textual(target)) {
        return Ok(Number::parse(&number_text(scalar)).map(Want::Number).into_iter().collect());
    }
    let mut all = Vec::new();
    for text in texts {
        for pieces in patterns(target, &text, node)? {
            let n_wildcards = pieces.iter().filter(|piece| !matches!(piece, Piece::Text(_))).count();
            if let Some(message) = bounds.too_wild(n_wildcards) {
                return Err(Diagnostic::error(Code::BadPattern, node.span.clone(), message));
            }
            all.push(Want::Text(pieces, case));
        }
    }
    Ok(all)
}

/// `0x1F` reads as 31.
fn number_text(scalar: &Scalar) -> String {
    match scalar.typed() {
        Typed::Int(int) => int.to_string(),
        _ => scalar.text.clone(),
    }
}

/// Words without a field are looked for inside texts, numbers too.
fn is_textual(target: &Target) -> bool {
    let works_on_text = |modifier: &Modifier| {
        !matches!(modifier, Modifier::All | Modifier::Neq | Modifier::Cased | Modifier::Expand)
    };
    target.field.is_empty() || target.modifiers.iter().any(works_on_text)
}

/// `lt` and its kind, and parts of a time, alone or compared.
fn compared(target: &Target, node: &Node, scalar: &Scalar) -> Result<Option<Want>, Diagnostic> {
    let comparison = target.modifiers.iter().find_map(|modifier| match modifier {
        Modifier::Less => Some((false, false)),
        Modifier::LessOrEqual => Some((false, true)),
        Modifier::Greater => Some((true, false)),
        Modifier::GreaterOrEqual => Some((true, true)),
        _ => None,
    });
    let part = target.modifiers.iter().find_map(|modifier| match modifier {
        Modifier::Part(part) => Some(*part),
        _ => None,
    });
    if comparison.is_none() && part.is_none() {
        return Ok(None);
    }
    let Some(number) = Number::parse(number_text(scalar).trim()) else {
        return Err(wrong(node, &format!("\"{}\" is no number to compare with", scalar.text)));
    };
    let literal = match number {
        Number::Int(int) => Literal::Int(int),
        Number::Float(float) => Literal::Float(FloatBits::new(float)),
    };
    let range = match comparison {
        None => Range { low: Bound::Included(literal.clone()), high: Bound::Included(literal) },
        Some((true, is_equal_enough)) => {
            Range { low: bound(literal, is_equal_enough), high: Bound::Unbounded }
        }
        Some((false, is_equal_enough)) => {
            Range { low: Bound::Unbounded, high: bound(literal, is_equal_enough) }
        }
    };
    Ok(Some(part.map_or_else(|| Want::Range(range.clone()), |part| Want::Part(part, range.clone()))))
}

fn bound(literal: Literal, is_equal_enough: bool) -> Bound<Literal> {
    if is_equal_enough { Bound::Included(literal) } else { Bound::Excluded(literal) }
}

fn place(target: &Target) -> Place {
    match target {
        target if target.has(Modifier::Contains) => Place::Anywhere,
        target if target.has(Modifier::StartsWith) => Place::Start,
        target if target.has(Modifier::EndsWith) => Place::End,
        _ => Place::Whole,
    }
}

fn regex(target: &Target, text: &str, node: &Node, bounds: &Bounds) -> Result<Want, Diagnostic> {
    let case = if target.has(Modifier::Insensitive) { Case::Folded } else { Case::Sensitive };
    let flags = PerlFlags {
        is_multi_line: target.has(Modifier::MultiLine),
        dot_matches_line_break: target.has(Modifier::SingleLine),
    };
    Regex::perl(text, case, flags, bounds).map(Want::Regex).map_err(|err| {
        let found = Diagnostic::error(Code::BadPattern, node.span.clone(), err.to_string());
        found.with_help("look-around and back-references are not run: they cost unbounded time")
    })
}

fn cidr(text: &str, node: &Node) -> Result<Want, Diagnostic> {
    let net = parse_net(text).ok_or_else(|| {
        let message = format!("\"{text}\" is no network");
        Diagnostic::error(Code::BadAddress, node.span.clone(), message)
            .with_help("as in 10.0.0.0/8 or fe80::/10")
    })?;
    Ok(Want::Cidr(CidrSet::new(vec![net])))
}

/// The value with its placeholders filled in, in all combinations.
fn expand(text: &str, node: &Node, known: &Placeholders) -> Result<Vec<String>, Diagnostic> {
    let mut all = vec![String::new()];
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        let (before, after) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('\\') {
            all.iter_mut().for_each(|text| text.extend([before, "%"]));
            rest = &after[1..];
            continue;
        }
        let Some((name, tail)) = after[1..].split_once('%') else { break };
        let Some(values) = known.get(name) else {
            let message = format!("nothing says what the placeholder %{name}% stands for here");
            let found = Diagnostic::note(Code::NoPlaceholder, node.span.clone(), message);
            return Err(found.with_help(format!(
                "set it in the configuration: [[placeholder]], name = \"{name}\", values = [\"...\"]"
            )));
        };
        let with =
            |text: &String| values.iter().map(|value| format!("{text}{before}{value}")).collect::<Vec<_>>();
        all = all.iter().flat_map(with).take(MAX_VARIANTS + 1).collect();
        if all.len() > MAX_VARIANTS {
            return Err(wrong(
                node,
                &format!("the placeholders make more than {MAX_VARIANTS} values of this"),
            ));
        }
        rest = tail;
    }
    all.iter_mut().for_each(|text| text.push_str(rest));
    Ok(all)
}

/// A text on its way through the modifiers.
enum Encoded {
    Pieces(Vec<Piece>),
    Bytes(Vec<u8>),
}

fn patterns(target: &Target, text: &str, node: &Node) -> Result<Vec<Vec<Piece>>, Diagnostic> {
    let mut all = vec![Encoded::Pieces(pieces(text))];
    for modifier in &target.modifiers {
        let mut next = Vec::with_capacity(all.len());
        for encoded in all {
            next.extend(modify(*modifier, encoded, node)?);
        }
        all = next;
    }
    Ok(all.into_iter().map(Encoded::into_pieces).collect())
}

fn modify(modifier: Modifier, encoded: Encoded, node: &Node) -> Result<Vec<Encoded>, Diagnostic> {
    let one = |pieces| Ok(vec![Encoded::Pieces(pieces)]);
    match modifier {
        Modifier::Contains => one([vec![Piece::Many], encoded.into_pieces(), vec![Piece::Many]].concat()),
        Modifier::StartsWith => one([encoded.into_pieces(), vec![Piece::Many]].concat()),
        Modifier::EndsWith => one([vec![Piece::Many], encoded.into_pieces()].concat()),
        Modifier::Windash => windash(&encoded.into_pieces(), node),
        Modifier::Base64 => one(vec![Piece::Text(STANDARD.encode(encoded.into_bytes(node)?))]),
        Modifier::Base64Offset => Ok(offsets(&encoded.into_bytes(node)?)),
        Modifier::Utf16Le => Ok(vec![Encoded::Bytes(utf16(&encoded, node, u16::to_le_bytes)?)]),
        Modifier::Utf16Be => Ok(vec![Encoded::Bytes(utf16(&encoded, node, u16::to_be_bytes)?)]),
        Modifier::Utf16 => {
            let mut bytes = vec![0xff, 0xfe];
            bytes.extend(utf16(&encoded, node, u16::to_le_bytes)?);
            Ok(vec![Encoded::Bytes(bytes)])
        }
        // The others are about the comparison, not about the text.
        _ => Ok(vec![encoded]),
    }
}

impl Encoded {
    fn into_pieces(self) -> Vec<Piece> {
        match self {
            Self::Pieces(pieces) => pieces,
            // A byte is a character, which is how such texts are logged.
            Self::Bytes(bytes) => vec![Piece::Text(bytes.into_iter().map(char::from).collect())],
        }
    }

    fn into_bytes(self, node: &Node) -> Result<Vec<u8>, Diagnostic> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Pieces(pieces) => plain(&pieces, node).map(String::into_bytes),
        }
    }
}

fn plain(pieces: &[Piece], node: &Node) -> Result<String, Diagnostic> {
    let text = pieces.iter().map(|piece| match piece {
        Piece::Text(text) => Some(text.as_str()),
        Piece::One | Piece::Many => None,
    });
    let text: Option<String> = text.collect();
    text.ok_or_else(|| {
        let found = wrong(node, "a text with wildcards cannot be encoded");
        found.with_help("write `\\*` for a star; put `contains` after the encoding")
    })
}

fn utf16(encoded: &Encoded, node: &Node, bytes: fn(u16) -> [u8; 2]) -> Result<Vec<u8>, Diagnostic> {
    match encoded {
        Encoded::Pieces(pieces) => Ok(plain(pieces, node)?.encode_utf16().flat_map(bytes).collect()),
        Encoded::Bytes(_) => Err(wrong(node, "this is encoded already; UTF-16 comes first")),
    }
}

/// What stays the same of a text's Base64 form wherever in a longer text it stands: one form for each place modulo 3.
fn offsets(bytes: &[u8]) -> Vec<Encoded> {
    let form = |shift: usize| {
        let mut shifted = vec![b' '; shift];
        shifted.extend(bytes);
        let encoded = STANDARD.encode(&shifted);
        // The first characters hold bits of what stands before, the last ones of what follows.
        let start = [0, 2, 3][shift];
        let end = encoded.len() - [0, 3, 2][shifted.len() % 3];
        Encoded::Pieces(vec![Piece::Text(encoded.get(start..end).unwrap_or_default().to_owned())])
    };
    (0..3).map(form).collect()
}

/// Each dash that starts an option, as any of the characters that may.
fn windash(pieces: &[Piece], node: &Node) -> Result<Vec<Encoded>, Diagnostic> {
    let mut all: Vec<Vec<Piece>> = vec![Vec::new()];
    for piece in pieces {
        let Piece::Text(text) = piece else {
            all.iter_mut().for_each(|pieces| pieces.push(piece.clone()));
            continue;
        };
        let mut texts = vec![String::new()];
        let chars: Vec<char> = text.chars().collect();
        for (at, c) in chars.iter().enumerate() {
            let is_word = |c: Option<&char>| c.is_some_and(|c| c.is_alphanumeric() || *c == '_');
            let starts_option = DASHES.contains(c)
                && !is_word(at.checked_sub(1).and_then(|before| chars.get(before)))
                && is_word(chars.get(at + 1));
            let forms: &[char] = if starts_option { &DASHES } else { std::slice::from_ref(c) };
            texts = texts
                .iter()
                .flat_map(|text| forms.iter().map(move |form| format!("{text}{form}")))
                .take(MAX_VARIANTS + 1)
                .collect();
        }
        all = all
            .iter()
            .flat_map(|pieces| {
                texts.iter().map(move |text| [&pieces[..], &[Piece::Text(text.clone())]].concat())
            })
            .take(MAX_VARIANTS + 1)
            .collect();
        if all.len() > MAX_VARIANTS {
            return Err(
                wrong(node, "`windash` makes too many values of so many dashes").with_help("split the value")
            );
        }
    }
    Ok(all.into_iter().map(Encoded::Pieces).collect())
}

/// `*` and `?` are wildcards unless a backslash stands before them. Before anything else but a backslash, a backslash is
/// itself.
pub(super) fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut held = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => held.push(chars.next_if(|next| matches!(next, '*' | '?' | '\\')).unwrap_or('\\')),
            '*' | '?' => {
                if !held.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut held)));
                }
                pieces.push(if c == '*' { Piece::Many } else { Piece::One });
            }
            c => held.push(c),
        }
    }
    if !held.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(held));
    }
    pieces
}

fn wrong(node: &Node, message: &str) -> Diagnostic {
    Diagnostic::error(Code::WrongModifier, node.span.clone(), message)
}

#[cfg(test)]
mod tests;
