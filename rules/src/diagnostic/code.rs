//! The list of diagnostic codes. A code keeps its meaning for good: retired ones are not used again.
//!
//! Hundreds: 0 characters and syntax, 1 fields and types, 2 sequences, 3 what a language has and this engine refuses,
//! 4 warnings, 5 rule files, 6 ES|QL.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    UnexpectedCharacter,
    UnclosedText,
    UnknownEscape,
    BadNumber,
    Syntax,
    TooDeep,
    TooLong,
    UnclosedComment,

    UnknownField,
    WrongType,
    UnknownFunction,
    WrongArguments,
    BadPattern,
    BadAddress,
    BadDate,
    NotBoolean,
    NullValue,
    ObjectField,

    TooFewSteps,
    KeyCount,
    KeyType,
    NeedsMaxspan,
    BadSpan,
    BadRuns,
    OnlyMissingSteps,
    NoKey,

    Pipe,
    Join,
    ProcessTree,
    FieldToField,
    LegacySyntax,
    NotInKql,
    DateMath,
    Conflict,

    MatchesAbsent,
    NeverTrue,
    LiteralWildcard,

    BadToml,
    UnknownKey,
    MissingKey,
    WrongKeyType,
    BadValue,
    UnsupportedRule,
    DuplicateRule,
    StepsBack,
    NoCases,
    Unreadable,
    IgnoredKey,

    UnsupportedCommand,
    UnknownColumn,
    MixedTypes,
    MisplacedAggregate,
}

impl Code {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnexpectedCharacter => "GT001",
            Self::UnclosedText => "GT002",
            Self::UnknownEscape => "GT003",
            Self::BadNumber => "GT004",
            Self::Syntax => "GT005",
            Self::TooDeep => "GT006",
            Self::TooLong => "GT007",
            Self::UnclosedComment => "GT008",
            Self::UnknownField => "GT101",
            Self::WrongType => "GT102",
            Self::UnknownFunction => "GT103",
            Self::WrongArguments => "GT104",
            Self::BadPattern => "GT105",
            Self::BadAddress => "GT106",
            Self::BadDate => "GT107",
            Self::NotBoolean => "GT108",
            Self::NullValue => "GT109",
            Self::ObjectField => "GT110",
            Self::TooFewSteps => "GT201",
            Self::KeyCount => "GT202",
            Self::KeyType => "GT203",
            Self::NeedsMaxspan => "GT204",
            Self::BadSpan => "GT205",
            Self::BadRuns => "GT206",
            Self::OnlyMissingSteps => "GT207",
            Self::NoKey => "GT208",
            Self::Pipe => "GT301",
            Self::Join => "GT302",
            Self::ProcessTree => "GT303",
            Self::FieldToField => "GT304",
            Self::LegacySyntax => "GT305",
            Self::NotInKql => "GT306",
            Self::DateMath => "GT307",
            Self::Conflict => "GT308",
            Self::MatchesAbsent => "GT401",
            Self::NeverTrue => "GT402",
            Self::LiteralWildcard => "GT403",
            Self::BadToml => "GT501",
            Self::UnknownKey => "GT502",
            Self::MissingKey => "GT503",
            Self::WrongKeyType => "GT504",
            Self::BadValue => "GT505",
            Self::UnsupportedRule => "GT506",
            Self::DuplicateRule => "GT507",
            Self::StepsBack => "GT508",
            Self::NoCases => "GT509",
            Self::Unreadable => "GT510",
            Self::IgnoredKey => "GT511",
            Self::UnsupportedCommand => "GT601",
            Self::UnknownColumn => "GT602",
            Self::MixedTypes => "GT603",
            Self::MisplacedAggregate => "GT604",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
