//! Whether one event can satisfy two predicates: the search for an example.
//!
//! Used to tell a rule's author that a line of the drop list takes events the rule is about. An example that is found
//! is checked by the real evaluation, so what is reported is so; the search gives up on what it cannot invert (functions,
//! regular expressions) and on far too many alternatives, so silence proves nothing.

use std::collections::BTreeMap;

use rules::eval;
use rules::event::{Event, EventTime, Value};
use rules::expr::{Expr, Test};
use rules::literal::Literal;
use rules::schema::{FieldId, Schema};

/// Alternatives kept at any time.
const MAX_BRANCHES: usize = 512;
const MAX_CANDIDATES: usize = 64;

/// A leaf and whether it has to hold.
type Demand<'e> = (&'e Expr, bool);

/// Finds an event that satisfies both, of a data set that `reads_index` lets in, and that `can_be`. Where neither asks for a
/// data set, any may be meant.
pub(super) fn example(
    one: &Expr,
    other: &Expr,
    schema: &Schema,
    reads_index: impl Fn(&str) -> bool,
    can_be: impl Fn(&Event) -> bool,
) -> Option<Event> {
    let search = Search { schema };
    let both = search.cross(vec![Vec::new()], [one, other].into_iter(), true);
    both.iter().filter_map(|branch| search.event(branch)).find(|event| {
        eval::matches(one, event)
            && eval::matches(other, event)
            && search.is_read(event, &reads_index)
            && can_be(event)
    })
}

struct Search<'s> {
    schema: &'s Schema,
}

impl<'s> Search<'s> {
    /// A document goes to one index, by its data set, which has two names and one value.
    fn is_read(&self, event: &Event, reads_index: &impl Fn(&str) -> bool) -> bool {
        let named = ["data_stream.dataset", "event.dataset"]
            .into_iter()
            .filter_map(|path| event.get(self.schema.id(path)?)?.scalars().first().cloned());
        let datasets: Vec<Value> = named.collect();
        datasets.windows(2).all(|pair| pair[0] == pair[1])
            && datasets.first().is_none_or(|dataset| match dataset {
                Value::Str(dataset) => reads_index(&format!("logs-{dataset}-default")),
                _ => false,
            })
    }

    /// The ways in which the expression can have the truth asked for, each as demands on leaves.
    fn extend<'e>(
        &self,
        branches: Vec<Vec<Demand<'e>>>,
        expr: &'e Expr,
        wanted: bool,
    ) -> Vec<Vec<Demand<'e>>> {
        match (expr, wanted) {
            (Expr::Const(bool), _) if *bool == wanted => branches,
            (Expr::Const(_), _) => Vec::new(),
            (Expr::Not(part), _) => self.extend(branches, part, !wanted),
            (Expr::And(parts), true) | (Expr::Or(parts), false) => self.cross(branches, parts.iter(), wanted),
            (Expr::Or(parts), true) | (Expr::And(parts), false) => {
                let mut all = Vec::new();
                for part in parts {
                    all.extend(self.extend(branches.clone(), part, wanted));
                    all.truncate(MAX_BRANCHES);
                }
                all
            }
            (leaf, _) => branches
                .into_iter()
                .filter_map(|mut branch| {
                    branch.push((leaf, wanted));
                    self.event(&branch).is_some().then_some(branch)
                })
                .collect(),
        }
    }

    fn cross<'e>(
        &self,
        mut branches: Vec<Vec<Demand<'e>>>,
        parts: impl Iterator<Item = &'e Expr>,
        wanted: bool,
    ) -> Vec<Vec<Demand<'e>>> {
        for part in parts {
            branches = self.extend(branches, part, wanted);
        }
        branches
    }

    /// An event that meets every demand, if picking values from the demands themselves is enough.
    fn event(&self, branch: &[Demand<'_>]) -> Option<Event> {
        let mut by_field: BTreeMap<FieldId, Vec<Demand<'_>>> = BTreeMap::new();
        for demand in branch {
            if let (Expr::Exists(field) | Expr::Any(field, _), true) = demand {
                by_field.entry(*field).or_default();
            }
        }
        for demand in branch {
            if let Expr::Exists(field) | Expr::IsSingle(field) | Expr::Any(field, _) = demand.0
                && let Some(demands) = by_field.get_mut(field)
            {
                demands.push(*demand);
            }
        }
        let mut event = Event::new("example", EventTime(0), "");
        for (field, demands) in &by_field {
            event.push(*field, self.value(*field, demands)?);
        }
        branch.iter().all(|(leaf, wanted)| eval::matches(leaf, &event) == *wanted).then_some(event)
    }

    fn value(&self, field: FieldId, demands: &[Demand<'_>]) -> Option<Value> {
        let tests: Vec<&Test> = demands
            .iter()
            .filter_map(|demand| match demand {
                (Expr::Any(_, test), true) => Some(test),
                _ => None,
            })
            .collect();
        let mut found = candidates(&tests);
        if has_many_values(&self.schema.field(field).path) && tests.len() > 1 {
            // Each test may be met by a value of its own.
            let own: Option<Vec<Value>> =
                tests.iter().map(|test| candidates(&[test]).into_iter().next()).collect();
            found.extend(own.map(|values| Value::List(values.into())));
        }
        found.into_iter().find(|value| {
            let mut event = Event::new("example", EventTime(0), "");
            event.push(field, value.clone());
            demands.iter().all(|(leaf, wanted)| eval::matches(leaf, &event) == *wanted)
        })
    }
}

/// Values worth trying for tests that one value has to pass.
fn candidates(tests: &[&Test]) -> Vec<Value> {
    let mut texts: Vec<String> = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    for test in tests {
        match test {
            Test::Equals(literal) => values.push(literal_value(literal)),
            Test::In(set) => texts.extend(set.items().iter().map(|item| item.to_string())),
            Test::Wildcard(pattern) => {
                let literals: Vec<&str> = pattern.literals().collect();
                texts.extend(["", "x"].map(|filler| literals.join(filler)));
            }
            Test::Cidr(set) => texts.extend(set.nets().iter().map(|net| net.addr().to_string())),
            Test::Range(_) | Test::Regex(_) | Test::Part(..) => {}
        }
    }
    // `Describe*` and `*Instances` are both met by the two put together.
    let joined: Vec<String> = texts
        .iter()
        .take(8)
        .flat_map(|one| texts.iter().take(8).map(move |other| format!("{one}{other}")))
        .collect();
    values.extend(texts.into_iter().chain(joined).map(Value::str));
    values.push(Value::str("x"));
    values.truncate(MAX_CANDIDATES);
    values
}

fn literal_value(literal: &Literal) -> Value {
    match literal {
        Literal::Text(text) => Value::str(&**text),
        Literal::Int(int) => Value::Int(*int),
        Literal::Float(float) => Value::Float(float.get()),
        Literal::Bool(bool) => Value::Bool(*bool),
        Literal::Ip(ip) => Value::str(ip.to_string()),
        Literal::Date(time) => Value::str(crate::time::format(*time)),
    }
}

fn has_many_values(path: &str) -> bool {
    matches!(path, "process.args" | "process.env_vars" | "event.category" | "event.type" | "tags")
        || path.starts_with("related.")
        || path.starts_with("groundtrail.link.")
        || path.contains(".flattened.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rules::eql::{self, EqlRule};

    fn compile(query: &str, schema: &mut Schema) -> Expr {
        match eql::compile(&format!("any where {query}"), schema).expect("the test's query compiles").plan {
            EqlRule::Event(expr) => expr,
            _ => panic!("an event query was asked for"),
        }
    }

    #[track_caller]
    fn check(one: &str, other: &str, expect: bool) {
        let mut schema = Schema::builtin();
        let (one_expr, other_expr) = (compile(one, &mut schema), compile(other, &mut schema));
        let found = example(&one_expr, &other_expr, &schema, |_| true, |_| true);
        assert_eq!(found.is_some(), expect, "{one} | {other}: {found:?}");
    }

    #[test]
    fn an_event_of_a_data_set_that_is_not_read_is_no_example() {
        let mut schema = Schema::builtin();
        let exec = compile("event.action == \"A\"", &mut schema);
        let line = compile("data_stream.dataset == \"aws.cloudtrail\"", &mut schema);
        let is_found = |index: &str| example(&exec, &line, &schema, |read| read == index, |_| true).is_some();
        assert!(is_found("logs-aws.cloudtrail-default"));
        assert!(!is_found("logs-endpoint.events.process-default"));
        assert!(example(&exec, &line, &schema, |_| true, |_| false).is_none(), "nor is one that cannot be");
        let other = compile("event.dataset == \"endpoint.events.process\"", &mut schema);
        assert!(example(&other, &line, &schema, |_| true, |_| true).is_none(), "one document, one data set");
    }

    #[test]
    fn predicates_with_a_common_event_are_found() {
        check("event.action == \"A\"", "event.provider == \"p\"", true);
        check("event.action in (\"A\", \"B\")", "event.action == \"B\"", true);
        check("event.action : \"Describe*\"", "event.action : \"*Instances\"", true);
        check(
            "event.action : \"Describe*\" and not event.action == \"Describe\"",
            "event.provider == \"p\"",
            true,
        );
        check("process.args == \"a\"", "process.args == \"b\"", true);
    }

    #[test]
    fn predicates_without_one_are_not() {
        check("event.action == \"A\"", "event.action == \"B\"", false);
        check(
            "event.action == \"A\" and event.provider == \"p\"",
            "event.action : (\"A\", \"B\") and not event.provider == \"p\"",
            false,
        );
        check(
            "not user.name == \"x\" and event.action == \"A\"",
            "user.name == \"x\" and event.action == \"A\"",
            false,
        );
    }

    #[test]
    fn many_alternatives_end() {
        let alternatives: Vec<String> =
            (0..12).map(|n| format!("(user.name == \"a{n}\" or event.action == \"b{n}\")")).collect();
        check(&alternatives.join(" and "), "event.provider == \"p\"", false);
    }
}
