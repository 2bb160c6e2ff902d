//! Rules over alerts: which they are, and what the index is called that they read.

use super::RuleIdx;
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

/// The rules; for each, whether it is over alerts; and for each, whose alerts its matches are to rules over alerts.
///
/// An exception is about who is told, and nothing that other rules conclude may hang on it. So where there are rules over
/// alerts, a rule with exceptions does not feed them: a twin without exceptions does, which tells nobody.
pub(super) fn with_twins(
    mut rules: Vec<Rule<Expr>>,
    schema: &Schema,
) -> (Vec<Rule<Expr>>, Vec<bool>, Vec<Option<RuleIdx>>) {
    let mut over_alerts: Vec<bool> = rules.iter().map(|rule| rule.is_over_alerts(schema)).collect();
    let mut signals: Vec<Option<RuleIdx>> = (0..).map(RuleIdx).map(Some).take(rules.len()).collect();
    if !over_alerts.contains(&true) {
        return (rules, over_alerts, signals);
    }
    for place in 0..rules.len() {
        let rule = &rules[place];
        if over_alerts[place] || rule.exceptions.is_empty() {
            continue;
        }
        let twin = Rule {
            // State is kept by the id, and this one's is another.
            id: format!("{} without exceptions", rule.id),
            exceptions: Vec::new(),
            contexts: Vec::new(),
            suppression: None,
            notifies: false,
            ..rule.clone()
        };
        rules.push(twin);
        over_alerts.push(false);
        let of = signals[place].take();
        signals.push(of);
    }
    (rules, over_alerts, signals)
}

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
