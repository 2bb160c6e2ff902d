//! YAML as a tree that knows where each part stands. Rule files come from strangers: what aliases, depth and size may cost
//! is bounded here, and nothing is guessed: a key that occurs twice is a fault.

use std::borrow::Cow;
use std::ops::Range;

use rustc_hash::{FxHashMap, FxHashSet};
use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use crate::diagnostic::{Code, Diagnostic};

/// A rule is a page of text.
pub(super) const MAX_BYTES: usize = 1 << 20;
const MAX_DEPTH: usize = 32;
/// What an alias stands for counts each time,
const MAX_NODES: usize = 100_000;
/// and so does its text.
const MAX_TEXT: usize = 8 * MAX_BYTES;

/// A value and its bytes in the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) span: Range<usize>,
    pub(super) value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Map(Vec<(Key, Node)>),
    List(Vec<Node>),
    Scalar(Scalar),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) span: Range<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scalar {
    pub(super) text: String,
    /// Without quotes: may be a number, a truth value or null.
    pub(super) is_plain: bool,
}

/// What a plain scalar says under YAML 1.2's core schema.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Typed<'s> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'s str),
}

impl Scalar {
    pub(super) fn typed(&self) -> Typed<'_> {
        let text = self.text.as_str();
        if !self.is_plain {
            return Typed::Text(text);
        }
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Typed::Null,
            "true" | "True" | "TRUE" => return Typed::Bool(true),
            "false" | "False" | "FALSE" => return Typed::Bool(false),
            _ => {}
        }
        let based = |prefix, radix| i64::from_str_radix(text.strip_prefix(prefix)?, radix).ok();
        if let Some(int) = text.parse().ok().or_else(|| based("0x", 16)).or_else(|| based("0o", 8)) {
            return Typed::Int(int);
        }
        let is_number = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
        match text.parse::<f64>() {
            Ok(float) if is_number && float.is_finite() => Typed::Float(float),
            _ => Typed::Text(text),
        }
    }
}

impl Node {
    pub(super) fn scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    pub(super) fn map(&self) -> Option<&[(Key, Node)]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// A list's items; anything else is a list of itself.
    pub(super) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => std::slice::from_ref(self),
        }
    }

    pub(super) fn is_null(&self) -> bool {
        self.scalar().is_some_and(|scalar| scalar.typed() == Typed::Null)
    }
}

/// The documents of a file, as far as they can be read, and what is wrong with the rest.
pub(super) fn parse(text: &str) -> (Vec<Node>, Vec<Diagnostic>) {
    if text.len() > MAX_BYTES {
        let message = format!("the file has {} bytes, more than the {MAX_BYTES} of a rule file", text.len());
        let found = Diagnostic::error(Code::TooLong, 0..0, message).with_help("split it");
        return (Vec::new(), vec![found]);
    }
    let mut reader = Reader::new(text);
    let result = reader.documents();
    (reader.documents, result.err().into_iter().map(|found| *found).collect())
}

type Fault = Box<Diagnostic>;

/// Of what was read, aliases written out.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    nodes: usize,
    text: usize,
}

struct Reader<'t> {
    parser: Parser<'t, saphyr_parser::StrInput<'t>>,
    text: &'t str,
    /// By character: its byte. Empty where the text is ASCII.
    bytes: Vec<usize>,
    anchors: FxHashMap<usize, (Node, Size)>,
    size: Size,
    documents: Vec<Node>,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        let bytes = match text.is_ascii() {
            true => Vec::new(),
            false => text.char_indices().map(|(at, _)| at).chain([text.len()]).collect(),
        };
        let parser = Parser::new_from_str(text);
        Self {
            parser,
            text,
            bytes,
            anchors: FxHashMap::default(),
            size: Size::default(),
            documents: Vec::new(),
        }
    }

    fn documents(&mut self) -> Result<(), Fault> {
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                event => {
                    let document = self.node(event, span, 0)?;
                    self.documents.push(document);
                    self.anchors.clear();
                }
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<(Event<'t>, Range<usize>)>, Fault> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok((event, span))) => Ok(Some((event, self.bytes_of(span)))),
            Some(Err(error)) => {
                let at = self.byte(error.marker().index());
                let message = format!("this is no YAML: {}", error.info());
                Err(Diagnostic::error(Code::BadYaml, at..at, message).into())
            }
        }
    }

    fn node(&mut self, event: Event<'t>, span: Range<usize>, depth: usize) -> Result<Node, Fault> {
        let before = self.size;
        self.count(Size { nodes: 1, text: 0 }, &span)?;
        if depth > MAX_DEPTH {
            let message = format!("this is nested deeper than {MAX_DEPTH} levels");
            return Err(Diagnostic::error(Code::TooDeep, span, message).into());
        }
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let is_plain = style == ScalarStyle::Plain;
                self.count(Size { nodes: 0, text: text.len() }, &span)?;
                (Node { span, value: Value::Scalar(Scalar { text: text.into_owned(), is_plain }) }, anchor)
            }
            Event::SequenceStart(anchor, _) => (self.list(span, depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.mapping(span, depth)?, anchor),
            Event::Alias(anchor) => {
                let Some(size) = self.anchors.get(&anchor).map(|(_, size)| *size) else {
                    let message = "this alias stands inside what it names";
                    return Err(Diagnostic::error(Code::BadYaml, span, message).into());
                };
                self.size = before;
                self.count(size, &span)?;
                return Ok(self.anchors[&anchor].0.clone());
            }
            _ => return Err(Diagnostic::error(Code::BadYaml, span, "a value is missing here").into()),
        };
        if anchor > 0 {
            let Size { nodes, text } = self.size;
            let size = Size { nodes: nodes - before.nodes, text: text - before.text };
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok(node)
    }

    fn list(&mut self, start: Range<usize>, depth: usize) -> Result<Node, Fault> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.expect_next(&start)?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Node { span: start.start..span.end.max(start.end), value: Value::List(items) });
            }
            items.push(self.node(event, span, depth + 1)?);
        }
    }

    fn mapping(&mut self, start: Range<usize>, depth: usize) -> Result<Node, Fault> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut seen = FxHashSet::default();
        loop {
            let (event, span) = self.expect_next(&start)?;
            if matches!(event, Event::MappingEnd) {
                return Ok(Node { span: start.start..span.end.max(start.end), value: Value::Map(entries) });
            }
            let key = self.node(event, span, depth + 1)?;
            let Value::Scalar(Scalar { text, .. }) = key.value else {
                return Err(Diagnostic::error(Code::BadYaml, key.span, "a key is a text").into());
            };
            if !seen.insert(text.clone()) {
                let message = format!("the key \"{text}\" is here twice");
                let found = Diagnostic::error(Code::BadYaml, key.span, message);
                return Err(found
                    .with_help("give one of them another name, or make one list of both")
                    .into());
            }
            let (event, span) = self.expect_next(&start)?;
            let value = self.node(event, span, depth + 1)?;
            entries.push((Key { text, span: key.span }, value));
        }
    }

    fn expect_next(&mut self, start: &Range<usize>) -> Result<(Event<'t>, Range<usize>), Fault> {
        let missing = || Diagnostic::error(Code::BadYaml, start.clone(), "the file ends inside of this");
        self.next()?.ok_or_else(|| missing().into())
    }

    fn count(&mut self, size: Size, span: &Range<usize>) -> Result<(), Fault> {
        self.size.nodes += size.nodes;
        self.size.text += size.text;
        let message = match self.size {
            Size { nodes, .. } if nodes > MAX_NODES => {
                format!("the file holds more than {MAX_NODES} values, aliases written out")
            }
            Size { text, .. } if text > MAX_TEXT => {
                format!("the file's values hold more than {MAX_TEXT} bytes, aliases written out")
            }
            _ => return Ok(()),
        };
        Err(Diagnostic::error(Code::TooLong, span.clone(), message).with_help("split it").into())
    }

    fn bytes_of(&self, span: Span) -> Range<usize> {
        let start = self.byte(span.start.index());
        let end = self.byte(span.end.index()).max(start);
        // A block's span runs to the start of what follows it.
        let written = self.text.get(start..end).map_or(0, |text| text.trim_end().len());
        start..start + written
    }

    fn byte(&self, character: usize) -> usize {
        match self.bytes.is_empty() {
            true => character.min(self.text.len()),
            false => self.bytes.get(character).copied().unwrap_or(self.text.len()),
        }
    }
}

/// The place of a part of a scalar, where the scalar is written as it reads; else the whole of it.
pub(super) fn part_of(file: &str, node: &Node, part: Range<usize>) -> Range<usize> {
    let Some(scalar) = node.scalar() else { return node.span.clone() };
    let written: Cow<'_, str> = file.get(node.span.clone()).unwrap_or_default().into();
    match written.find(&scalar.text) {
        Some(at) if part.end <= scalar.text.len() => {
            node.span.start + at + part.start..node.span.start + at + part.end
        }
        _ => node.span.clone(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(text: &str) -> Node {
        let (mut documents, found) = parse(text);
        assert_eq!(found, Vec::new(), "{text}");
        documents.remove(0)
    }

    #[test]
    fn spans_are_bytes_of_the_file() {
        let text = "título: é\nlist:\n  - one\n  - 'two'\nend: >-\n  a\n  b\n";
        let node = one(text);
        let entries = node.map().expect("a map");
        let shown = |node: &Node| &text[node.span.clone()];
        assert_eq!(&text[entries[0].0.span.clone()], "título");
        assert_eq!(shown(&entries[0].1), "é");
        assert_eq!(entries[1].1.items().iter().map(shown).collect::<Vec<_>>(), ["one", "'two'"]);
        assert_eq!(
            part_of(text, &entries[1].1.items()[1], 1..3),
            text.find("wo'").map(|at| at..at + 2).unwrap_or_default()
        );
        assert_eq!(entries[2].1.scalar().map(|scalar| scalar.text.as_str()), Some("a b"));
    }

    #[test]
    fn plain_scalars_are_typed_and_quoted_ones_are_text() {
        let typed = |text: &str| {
            let scalar = Scalar { text: text.to_owned(), is_plain: true };
            format!("{:?}", scalar.typed())
        };
        for (text, expect) in [
            ("", "Null"),
            ("~", "Null"),
            ("null", "Null"),
            ("true", "Bool(true)"),
            ("yes", "Text(\"yes\")"),
            ("-12", "Int(-12)"),
            ("0x1F", "Int(31)"),
            ("0o17", "Int(15)"),
            ("010", "Int(10)"),
            ("1.5", "Float(1.5)"),
            (".inf", "Text(\".inf\")"),
            ("nan", "Text(\"nan\")"),
            ("1a", "Text(\"1a\")"),
        ] {
            assert_eq!(typed(text), expect, "{text}");
        }
        let quoted = Scalar { text: "12".to_owned(), is_plain: false };
        assert_eq!(quoted.typed(), Typed::Text("12"));
    }

    #[test]
    fn what_costs_too_much_or_says_too_little_is_refused() {
        let bomb: String = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned()
            + &(1..12)
                .map(|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(",")))
                .collect::<String>();
        let long = format!("x: &a \"{}\"\ny: [{}]\n", "A".repeat(600_000), "*a,".repeat(90_000));
        for (text, code) in [
            (bomb.as_str(), Code::TooLong),
            (long.as_str(), Code::TooLong),
            (&"[".repeat(100), Code::TooDeep),
            (&"[".repeat(10_000), Code::BadYaml),
            (&"- ".repeat(10_000), Code::TooDeep),
            (&"a: 1\n".repeat(2), Code::BadYaml),
            ("a: &a [*a]", Code::BadYaml),
            ("a: [1", Code::BadYaml),
            ("? [a]\n: b", Code::BadYaml),
            ("a: *nobody", Code::BadYaml),
            (&" ".repeat(MAX_BYTES + 1), Code::TooLong),
        ] {
            let (_, found) = parse(text);
            let excerpt: String = text.chars().take(40).collect();
            assert_eq!(found.first().map(|found| found.code), Some(code), "{excerpt}: {found:?}");
        }
    }

    #[test]
    fn documents_before_a_fault_are_kept() {
        let (documents, found) = parse("a: 1\n---\nb: 2\n---\nc: [\n");
        assert_eq!((documents.len(), found.len()), (2, 1));
    }

    proptest! {
        #[test]
        fn any_text_is_a_tree_or_says_why(text in "[-:a \\[\\]{}&*\"'|>#\n\té?]{0,60}") {
            let (documents, found) = parse(&text);
            for node in &documents {
                prop_assert!(text.get(node.span.clone()).is_some());
            }
            for diagnostic in found {
                prop_assert!(text.get(diagnostic.span.clone()).is_some());
            }
        }
    }
}
