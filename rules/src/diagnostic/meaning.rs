//! What each code means, in a sentence: the table of docs/diagnostics.md, and the rules of a SARIF report.

use super::Code;

impl Code {
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::UnexpectedCharacter => "a character that no part of the language starts with",
            Self::UnclosedText => "a quoted text without its closing quotes",
            Self::UnknownEscape => "a backslash before a character that it does not escape",
            Self::BadNumber => "a number that is none, or is too large",
            Self::Syntax => "something else was expected here",
            Self::TooDeep => "nested too deeply",
            Self::TooLong => "longer or larger than is read",
            Self::UnclosedComment => "a comment without its end",
            Self::UnknownField => "no such field is in the field table",
            Self::WrongType => "values of types that do not compare, such as an address and a text",
            Self::UnknownFunction => "no such function",
            Self::WrongArguments => "a function with arguments of the wrong number or type",
            Self::BadPattern => "a pattern that is wrong, or would cost too much",
            Self::BadAddress => "no address or network",
            Self::BadDate => "no date",
            Self::NotBoolean => "a condition that is neither true nor false",
            Self::NullValue => "null where a value is needed",
            Self::ObjectField => "an object where a field with a value is needed",
            Self::TooFewSteps => "a sequence of fewer than two events",
            Self::KeyCount => "steps of a sequence with keys of different lengths",
            Self::KeyType => "a join key whose parts are of types that do not compare",
            Self::NeedsMaxspan => "a missing event without \"maxspan\": nobody knows when it is missing",
            Self::BadSpan => "no length of time",
            Self::BadRuns => "\"with runs\" and no number that makes sense",
            Self::OnlyMissingSteps => "a sequence of nothing but missing events",
            Self::NoKey => "a join without a key",
            Self::Pipe => "pipes are not run: they need a query's end, and a stream has none",
            Self::Join => "\"join\" is not run",
            Self::ProcessTree => "\"child of\", \"descendant of\" and \"event of\" are not run",
            Self::FieldToField => "fields are not compared with fields, as in Elasticsearch",
            Self::LegacySyntax => "syntax that Elasticsearch has dropped",
            Self::NotInKql => "syntax of another language in KQL",
            Self::DateMath => "date mathematics inside a query are not run",
            Self::Conflict => "two parts that exclude each other",
            Self::MatchesAbsent => "a negation that also matches events without the field",
            Self::NeverTrue => "a condition that no event satisfies",
            Self::LiteralWildcard => "a wildcard where it is a plain character",
            Self::BadToml => "the file is no TOML",
            Self::UnknownKey => "a key that rule files do not have",
            Self::MissingKey => "a key that is needed is not there",
            Self::WrongKeyType => "a key with a value of the wrong type",
            Self::BadValue => "a value that the key does not take",
            Self::UnsupportedRule => "a kind of rule that is not run",
            Self::DuplicateRule => "two rules with one id",
            Self::StepsBack => "a shipped rule steps back for the public rule that it covers",
            Self::NoCases => "a rule without cases",
            Self::Unreadable => "a file that cannot be read",
            Self::IgnoredKey => "a key that is not followed here",
            Self::NoRule => "a file or folder that was named and holds no rule",
            Self::NotUuid => "a rule id that is no UUID",
            Self::UnsupportedCommand => "a command of ES|QL that is not run",
            Self::UnknownColumn => "no such column at this place of the pipeline",
            Self::MixedTypes => "a column of two types",
            Self::MisplacedAggregate => "an aggregate outside of STATS",
            Self::BadYaml => "the file is no YAML",
            Self::UnknownModifier => "a modifier that Sigma does not have",
            Self::WrongModifier => "a modifier on a value that it does not go with",
            Self::UnknownSelection => "a condition that names no selection",
            Self::BadCondition => "a condition that cannot be read",
            Self::NoSource => "a log source that nothing here delivers",
            Self::NoField => "a field that no event here has",
            Self::NoPlaceholder => "a placeholder without values",
            Self::UnknownRule => "a correlation over a rule that is not there",
            Self::NotReleased => "a rule that its authors have not released",
            Self::BadCorrelation => "a correlation that cannot be read",
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect_file;

    /// The list of codes as its file has it, so that none can be left out.
    fn codes() -> Vec<(String, String)> {
        let source = include_str!("code.rs");
        let arms = source.lines().filter_map(|line| line.trim().strip_prefix("Self::")?.split_once(" => \""));
        arms.map(|(name, code)| (name.to_owned(), code.trim_end_matches("\",").to_owned())).collect()
    }

    fn meanings() -> Vec<(String, String)> {
        let source = include_str!("meaning.rs").split("#[cfg(test)]").next().unwrap_or_default();
        let flat = source.replace("=> {\n", "=> ").replace('\n', " ");
        let arms = flat.split("Self::").skip(1).filter_map(|arm| arm.split_once(" => "));
        arms.map(|(name, text)| {
            let text = text.trim_start().trim_start_matches('"');
            let end = text.rfind('"').unwrap_or(text.len());
            (name.to_owned(), text[..end].replace("\\\"", "\""))
        })
        .collect()
    }

    #[test]
    fn the_book_has_every_code() {
        let meanings = meanings();
        let mut codes = codes();
        codes.sort_by(|left, right| left.1.cmp(&right.1));
        assert!(codes.windows(2).all(|pair| pair[0].1 != pair[1].1), "a code is given once");
        let mut book = String::from(
            "# Diagnostics\n\nEvery finding about a rule carries a code. A code keeps its meaning for good: retired ones are not used again.\n\
             `groundtrail check` shows findings at their place in the file; `--format json` and `--format sarif` name the code.\n\n\
             | code | what it says |\n|---|---|\n",
        );
        for (name, code) in codes {
            let meaning = meanings.iter().find(|(known, _)| *known == name).map(|(_, text)| text.as_str());
            let meaning = meaning.unwrap_or_else(|| panic!("{name} has a meaning")).replace('|', "\\|");
            book.push_str(&format!("| {code} | {meaning} |\n"));
        }
        expect_file!["../../../docs/diagnostics.md"].assert_eq(&book);
    }
}
