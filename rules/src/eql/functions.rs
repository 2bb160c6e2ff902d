//! The functions of EQL: names, parameters, results.

use crate::constant::Type;
use crate::expr::Function;
use crate::pattern::Case;

pub(super) struct Signature {
    /// As Elasticsearch documents it. Rules write it in any case.
    pub(super) name: &'static str,
    pub(super) meaning: Meaning,
    pub(super) params: &'static [Param],
    /// How many of the parameters a call must give.
    pub(super) n_required: usize,
    /// The last parameter repeats.
    pub(super) is_variadic: bool,
    pub(super) result: Type,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Meaning {
    Scalar(Function),
    /// Takes `~`.
    Text(fn(Case) -> Function),
    CidrMatch,
    /// Patterns with `*` and `?`. Takes `~`.
    Wildcard,
    /// Lucene regular expressions. Takes `~`.
    Match,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Param {
    Any,
    Text,
    Number,
    Boolean,
    /// An address, or a text that may hold one.
    Address,
}

impl Signature {
    pub(super) fn takes_tilde(&self) -> bool {
        matches!(self.meaning, Meaning::Text(_) | Meaning::Wildcard | Meaning::Match)
    }
}

pub(super) fn find(name: &str) -> Option<&'static Signature> {
    FUNCTIONS.iter().find(|signature| signature.name.eq_ignore_ascii_case(name))
}

/// The known function whose name is nearest, if one is near.
pub(super) fn suggest(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    FUNCTIONS
        .iter()
        .map(|signature| {
            (strsim::damerau_levenshtein(&name, &signature.name.to_ascii_lowercase()), signature.name)
        })
        .min()
        .filter(|(distance, _)| *distance <= 3)
        .map(|(_, name)| name)
}

/// What to write for a function that only Elastic Endgame and Elastic Endpoint know.
pub(super) fn replacement(name: &str) -> Option<&'static str> {
    Some(match name.to_ascii_lowercase().as_str() {
        "arraycontains" => "compare the field itself: a test of a list holds if it holds for any element",
        "arraysearch" | "arraycount" => {
            "test the field itself: a test of a list holds if it holds for any element"
        }
        "matchlite" => "use `regex` or `match`",
        "safe" => "leave it out: a function over an absent field is false",
        _ => return None,
    })
}

const fn fixed(
    name: &'static str,
    meaning: Meaning,
    params: &'static [Param],
    n_required: usize,
    result: Type,
) -> Signature {
    Signature { name, meaning, params, n_required, is_variadic: false, result }
}

const fn variadic(
    name: &'static str,
    meaning: Meaning,
    params: &'static [Param],
    n_required: usize,
    result: Type,
) -> Signature {
    Signature { name, meaning, params, n_required, is_variadic: true, result }
}

const NUMBERS: &[Param] = &[Param::Number, Param::Number];
const TEXTS: &[Param] = &[Param::Text, Param::Text];

const FUNCTIONS: [Signature; 18] = [
    fixed("add", Meaning::Scalar(Function::Add), NUMBERS, 2, Type::Number),
    fixed(
        "between",
        Meaning::Text(Function::Between),
        &[Param::Text, Param::Text, Param::Text, Param::Boolean],
        3,
        Type::Text,
    ),
    variadic("cidrMatch", Meaning::CidrMatch, &[Param::Address, Param::Text], 2, Type::Boolean),
    variadic("concat", Meaning::Scalar(Function::Concat), &[Param::Any], 1, Type::Text),
    fixed("divide", Meaning::Scalar(Function::Divide), NUMBERS, 2, Type::Number),
    fixed("endsWith", Meaning::Text(Function::EndsWith), TEXTS, 2, Type::Boolean),
    fixed(
        "indexOf",
        Meaning::Text(Function::IndexOf),
        &[Param::Text, Param::Text, Param::Number],
        2,
        Type::Number,
    ),
    fixed("length", Meaning::Scalar(Function::Length), &[Param::Text], 1, Type::Number),
    variadic("match", Meaning::Match, TEXTS, 2, Type::Boolean),
    fixed("modulo", Meaning::Scalar(Function::Modulo), NUMBERS, 2, Type::Number),
    fixed("multiply", Meaning::Scalar(Function::Multiply), NUMBERS, 2, Type::Number),
    fixed("number", Meaning::Scalar(Function::ToNumber), &[Param::Text, Param::Number], 1, Type::Number),
    fixed("startsWith", Meaning::Text(Function::StartsWith), TEXTS, 2, Type::Boolean),
    fixed("string", Meaning::Scalar(Function::ToText), &[Param::Any], 1, Type::Text),
    fixed("stringContains", Meaning::Text(Function::Contains), TEXTS, 2, Type::Boolean),
    fixed(
        "substring",
        Meaning::Scalar(Function::Substring),
        &[Param::Text, Param::Number, Param::Number],
        2,
        Type::Text,
    ),
    fixed("subtract", Meaning::Scalar(Function::Subtract), NUMBERS, 2, Type::Number),
    variadic("wildcard", Meaning::Wildcard, TEXTS, 2, Type::Boolean),
];
