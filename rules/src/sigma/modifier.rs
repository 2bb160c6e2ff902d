//! The modifiers that follow a field's name: `CommandLine|contains|all`.

use std::ops::Range;

use crate::diagnostic::{Code, Diagnostic};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Modifier {
    Contains,
    StartsWith,
    EndsWith,
    All,
    Cased,
    Exists,
    Neq,
    Windash,
    Re,
    Insensitive,
    MultiLine,
    SingleLine,
    Base64,
    Base64Offset,
    Utf16,
    Utf16Le,
    Utf16Be,
    Cidr,
    Expand,
    FieldRef,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Part(DatePart),
}

pub(super) use crate::expr::DatePart;

const NAMES: &[(&str, Modifier)] = &[
    ("contains", Modifier::Contains),
    ("startswith", Modifier::StartsWith),
    ("endswith", Modifier::EndsWith),
    ("all", Modifier::All),
    ("cased", Modifier::Cased),
    ("exists", Modifier::Exists),
    ("neq", Modifier::Neq),
    ("windash", Modifier::Windash),
    ("re", Modifier::Re),
    ("i", Modifier::Insensitive),
    ("ignorecase", Modifier::Insensitive),
    ("m", Modifier::MultiLine),
    ("multiline", Modifier::MultiLine),
    ("s", Modifier::SingleLine),
    ("dotall", Modifier::SingleLine),
    ("base64", Modifier::Base64),
    ("base64offset", Modifier::Base64Offset),
    ("utf16", Modifier::Utf16),
    ("utf16le", Modifier::Utf16Le),
    ("wide", Modifier::Utf16Le),
    ("utf16be", Modifier::Utf16Be),
    ("cidr", Modifier::Cidr),
    ("expand", Modifier::Expand),
    ("fieldref", Modifier::FieldRef),
    ("lt", Modifier::Less),
    ("lte", Modifier::LessOrEqual),
    ("gt", Modifier::Greater),
    ("gte", Modifier::GreaterOrEqual),
    ("minute", Modifier::Part(DatePart::Minute)),
    ("hour", Modifier::Part(DatePart::Hour)),
    ("day", Modifier::Part(DatePart::Day)),
    ("week", Modifier::Part(DatePart::Week)),
    ("month", Modifier::Part(DatePart::Month)),
    ("year", Modifier::Part(DatePart::Year)),
];

/// A field with its modifiers, in order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Target {
    /// Empty: any part of the event.
    pub(super) field: String,
    pub(super) field_span: Range<usize>,
    pub(super) modifiers: Vec<Modifier>,
}

impl Target {
    /// Reads a key of a selection. `start` is where its text begins in the file.
    pub(super) fn parse(key: &str, start: usize) -> Result<Self, Diagnostic> {
        let mut parts = key.split('|');
        let field = parts.next().unwrap_or_default().to_owned();
        let field_span = start..start + field.len();
        let mut at = field_span.end;
        let mut modifiers = Vec::new();
        for name in parts {
            let span = at + 1..at + 1 + name.len();
            at = span.end;
            modifiers.push(parse(name, span)?);
        }
        Ok(Self { field, field_span, modifiers })
    }

    pub(super) fn has(&self, modifier: Modifier) -> bool {
        self.modifiers.contains(&modifier)
    }
}

fn parse(name: &str, span: Range<usize>) -> Result<Modifier, Diagnostic> {
    if let Some((_, modifier)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(*modifier);
    }
    let found = Diagnostic::error(Code::UnknownModifier, span, format!("no modifier is called \"{name}\""));
    let folded = name.to_ascii_lowercase();
    let near = NAMES
        .iter()
        .map(|(known, _)| (strsim::osa_distance(known, &folded), *known))
        .filter(|(distance, known)| *distance <= 1 + known.len() / 4)
        .min();
    Err(match near {
        Some((_, known)) => found.with_help(format!("did you mean \"{known}\"?")),
        None => found.with_help("docs/rule-language.md lists them"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_split_into_field_and_modifiers() {
        let target = Target::parse("CommandLine|contains|all", 10).expect("a key");
        assert_eq!(target.field, "CommandLine");
        assert_eq!(target.modifiers, [Modifier::Contains, Modifier::All]);
        assert_eq!(Target::parse("|all", 0).map(|target| target.field), Ok(String::new()));
    }

    #[test]
    fn an_unknown_modifier_is_marked_and_the_likely_one_named() {
        for (key, help) in [
            ("Image|endswtih", Some("did you mean \"endswith\"?")),
            ("Image|Contains", Some("did you mean \"contains\"?")),
            ("Image|frobnicate", Some("docs/rule-language.md lists them")),
        ] {
            let found = Target::parse(key, 0).expect_err(key);
            assert_eq!((found.code, found.help.as_deref()), (Code::UnknownModifier, help), "{key}");
            assert_eq!(&key[found.span], key.split('|').nth(1).unwrap_or_default());
        }
    }
}
