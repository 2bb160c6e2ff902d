//! Rules over alerts: which they are, and what the index is called that they read.

use super::glob::IndexGlobs;
use crate::eval;
use crate::event::{Event, EventTime, Value};
use crate::expr::{Expr, Scalar};
use crate::rule::Rule;
use crate::schema::Schema;

/// The index of alerts that are fed back as events.
pub const ALERTS_INDEX: &str = ".alerts-security.alerts-default";

/// Under these names rules ask for it.
pub(super) const ALERTS_NAMES: [&str; 3] =
    [ALERTS_INDEX, ".internal.alerts-security.alerts-default-000001", ".siem-signals-default-000001"];

impl Rule<Expr> {
    /// Whether alerts of other rules are events to it: its index names them, or it names no index and asks for what alerts
    /// alone have.
    pub fn is_over_alerts(&self, schema: &Schema) -> bool {
        match self.index.is_empty() {
            true => self.plan.predicates().into_iter().any(|predicate| asks_for_alerts(predicate, schema)),
            false => IndexGlobs::new(&self.index).admit(ALERTS_INDEX),
        }
    }
}

/// Whether the predicate can hold for alerts alone.
fn asks_for_alerts(expr: &Expr, schema: &Schema) -> bool {
    match expr {
        Expr::Const(_) | Expr::Not(_) | Expr::IsNull(_) => false,
        Expr::And(parts) => parts.iter().any(|part| asks_for_alerts(part, schema)),
        Expr::Or(parts) => !parts.is_empty() && parts.iter().all(|part| asks_for_alerts(part, schema)),
        Expr::Holds(Scalar::Is(part)) => asks_for_alerts(part, schema),
        leaf => {
            let (mut is_of_alerts, mut is_of_kind) = (false, true);
            leaf.each_field(&mut |field| {
                let path: &str = &schema.field(field).path;
                is_of_alerts |= path.starts_with("kibana.alert.");
                is_of_kind &= path == "event.kind";
            });
            let holds = |kind: &str| {
                let mut event = Event::new("", EventTime(0), "");
                schema.id("event.kind").into_iter().for_each(|field| event.push(field, Value::str(kind)));
                eval::matches(leaf, &event)
            };
            is_of_alerts || (is_of_kind && holds("signal") && !holds("event") && !holds("alert"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eql::{self, EqlRule};
    use crate::plan::Plan;
    use crate::rule::{Kind, Language};

    #[track_caller]
    fn check(index: &[&str], query: &str, expect: bool) {
        let mut schema = Schema::builtin();
        let EqlRule::Event(expr) = eql::compile(query, &mut schema).expect("the test's query compiles").plan
        else {
            panic!("an event query was asked for");
        };
        let mut rule = Rule::bare("r", Kind::Eql, Language::Eql, query, Plan::Query(expr));
        rule.index = index.iter().map(|glob| glob.to_string()).collect();
        assert_eq!(rule.is_over_alerts(&schema), expect, "{index:?} {query}");
    }

    #[test]
    fn the_index_says_whether_a_rule_reads_alerts() {
        let any = "any where host.id != null";
        check(&[".alerts-security.*"], any, true);
        check(&["*:.alerts-*"], any, true);
        check(&[".internal.alerts-security.alerts-default-*"], any, true);
        check(&["logs-*", ".alerts-security.*"], any, true);
        check(&["*"], any, false);
        check(&["logs-*"], "any where kibana.alert.severity == \"high\"", false);
        check(&[".alerts-*", "-.alerts-security.*"], any, false);
    }

    #[test]
    fn without_an_index_what_alerts_alone_have_says_it() {
        check(&[], "any where event.kind == \"signal\" and host.id != null", true);
        check(&[], "any where kibana.alert.rule.name : \"x*\"", true);
        check(&[], "any where event.kind != \"event\"", false);
        check(&[], "any where event.kind == \"signal\" or host.id == \"x\"", false);
        check(&[], "process where process.name == \"x\"", false);
    }
}
