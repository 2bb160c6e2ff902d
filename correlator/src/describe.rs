//! Conditions of a rule in words.

use std::ops::Bound;

use rules::expr::{Comparison, Expr, Function, Range, Scalar, Test};
use rules::literal::Literal;
use rules::schema::{FieldId, Schema};

/// Members of a list that are shown.
const MAX_ITEMS: usize = 8;

/// What a test asks of a value.
pub(crate) fn test(test: &Test) -> String {
    match test {
        Test::Equals(it) => literal(it),
        Test::In(set) => one_of(set.items().iter().map(|item| format!("\"{item}\""))),
        Test::Wildcard(pattern) => format!("like \"{pattern}\""),
        Test::Regex(regex) => format!("matching /{}/", regex.source()),
        Test::Range(it) => range(it),
        Test::Part(part, it) => format!("{} {}", format!("{part:?}").to_lowercase(), range(it)),
        Test::Cidr(nets) => one_of(nets.nets().iter().map(ToString::to_string)),
    }
}

fn one_of(items: impl Iterator<Item = String>) -> String {
    let mut items: Vec<String> = items.collect();
    items.sort();
    let n_more = items.len().saturating_sub(MAX_ITEMS);
    items.truncate(MAX_ITEMS);
    if let ([only], 0) = (&items[..], n_more) {
        return only.clone();
    }
    let more = if n_more > 0 { format!(" or {n_more} more") } else { String::new() };
    format!("one of {}{more}", items.join(", "))
}

fn literal(literal: &Literal) -> String {
    match literal {
        Literal::Text(text) => format!("\"{text}\""),
        Literal::Int(int) => int.to_string(),
        Literal::Float(float) => float.get().to_string(),
        Literal::Bool(bool) => bool.to_string(),
        Literal::Ip(ip) => ip.to_string(),
        Literal::Date(time) => crate::time::format(*time),
    }
}

fn range(range: &Range) -> String {
    let low = match &range.low {
        Bound::Unbounded => None,
        Bound::Included(it) => Some(format!("at least {}", literal(it))),
        Bound::Excluded(it) => Some(format!("more than {}", literal(it))),
    };
    let high = match &range.high {
        Bound::Unbounded => None,
        Bound::Included(it) => Some(format!("at most {}", literal(it))),
        Bound::Excluded(it) => Some(format!("less than {}", literal(it))),
    };
    low.into_iter().chain(high).collect::<Vec<_>>().join(" and ")
}

/// A condition without parts, or its opposite, as a sentence about the fields it reads.
pub(crate) fn atom(schema: &Schema, atom: &Expr, is_negated: bool) -> String {
    let path = |field: &FieldId| &schema.field(*field).path;
    let not = if is_negated { "not " } else { "" };
    match atom {
        Expr::Exists(field) if is_negated => format!("{} is absent", path(field)),
        Expr::Exists(field) => format!("{} has a value", path(field)),
        Expr::IsSingle(field) => format!("{} is {not}a single value", path(field)),
        Expr::Any(field, it) => format!("{} is {not}{}", path(field), test(it)),
        Expr::Item(field, at, it) => format!("{}[{at}] is {not}{}", path(field), test(it)),
        Expr::Holds(scalar) => format!("{not}{}", computed(schema, scalar)),
        Expr::IsNull(scalar) => format!("{} is {not}null", computed(schema, scalar)),
        whole => format!("{not}({})", expr(schema, whole)),
    }
}

fn expr(schema: &Schema, it: &Expr) -> String {
    let all = |parts: &[Expr], word: &str| {
        parts.iter().map(|part| expr(schema, part)).collect::<Vec<_>>().join(word)
    };
    match it {
        Expr::Const(bool) => bool.to_string(),
        Expr::And(parts) => all(parts, " and "),
        Expr::Or(parts) => format!("({})", all(parts, " or ")),
        Expr::Not(part) => match &**part {
            part @ Expr::Or(_) => format!("not {}", expr(schema, part)),
            part @ (Expr::And(_) | Expr::Not(_) | Expr::Const(_)) => {
                format!("not ({})", expr(schema, part))
            }
            part => atom(schema, part, true),
        },
        it => atom(schema, it, false),
    }
}

/// A computed value, as a rule would write it.
fn computed(schema: &Schema, scalar: &Scalar) -> String {
    let of = |scalar: &Scalar| computed(schema, scalar);
    match scalar {
        Scalar::Null => "null".to_owned(),
        Scalar::Literal(it) => literal(it),
        Scalar::Field(field) => schema.field(*field).path.to_string(),
        Scalar::Call(function, args) => call(*function, &args.iter().map(of).collect::<Vec<_>>()),
        Scalar::Compare(comparison, sides) => {
            let sign = match comparison {
                Comparison::Equal => "==",
                Comparison::NotEqual => "!=",
                Comparison::Less => "<",
                Comparison::LessOrEqual => "<=",
                Comparison::Greater => ">",
                Comparison::GreaterOrEqual => ">=",
            };
            format!("{} {sign} {}", of(&sides.0), of(&sides.1))
        }
        Scalar::Test(scalar, it) => format!("{} is {}", of(scalar), test(it)),
        Scalar::Is(it) => expr(schema, it),
    }
}

fn call(function: Function, args: &[String]) -> String {
    let sign = match function {
        Function::Add => "+",
        Function::Subtract => "-",
        Function::Multiply => "*",
        Function::Divide => "/",
        Function::Modulo => "%",
        Function::Negate => return format!("-{}", args.join("")),
        Function::Between(_) => return named("between", args),
        Function::Concat => return named("concat", args),
        Function::Contains(_) => return named("contains", args),
        Function::EndsWith(_) => return named("ends_with", args),
        Function::IndexOf(_) => return named("index_of", args),
        Function::Length => return named("length", args),
        Function::StartsWith(_) => return named("starts_with", args),
        Function::Substring => return named("substring", args),
        Function::ToLower => return named("to_lower", args),
        Function::ToNumber => return named("number", args),
        Function::ToText => return named("string", args),
        Function::ToUpper => return named("to_upper", args),
    };
    format!("({})", args.join(&format!(" {sign} ")))
}

fn named(name: &str, args: &[String]) -> String {
    format!("{name}({})", args.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rules::eql::{self, EqlRule};

    #[track_caller]
    fn check(query: &str, expect: &str) {
        let mut schema = Schema::builtin();
        let EqlRule::Event(compiled) =
            eql::compile(query, &mut schema).expect("the test's query compiles").plan
        else {
            panic!("an event query was asked for");
        };
        assert_eq!(expr(&schema, &compiled), expect, "{query}");
    }

    #[test]
    fn conditions_are_said_in_words() {
        check("any where process.name == \"curl\"", "process.name is \"curl\"");
        check(
            "any where not process.name : (\"a*\", \"b\")",
            "not (process.name is \"b\" or process.name is like \"a*\")",
        );
        check(
            "any where process.pid > 5 and process.name != null",
            "process.pid is more than 5 and process.name has a value",
        );
        check("any where length(process.name) >= 3", "length(process.name) >= 3");
    }
}
