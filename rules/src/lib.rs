//! Meaning without time: the field schema, rule files, the rule languages, and the truth of a rule for one event.
//!
//! Reading order: [`event`] and [`schema`] (what is evaluated), [`plan`] (what rules compile to), [`rule`] (what a rule
//! file says), [`program`] (all rules together, ready to meet events).
//! No clock, no I/O beyond reading rule files, no state between events: those live in the correlator.
#![forbid(unsafe_code)]

pub mod adhoc;
pub mod bounds;
pub mod catalogue;
mod constant;
pub mod diagnostic;
pub mod eql;
pub mod esql;
pub mod eval;
pub mod event;
pub mod expr;
mod free_text;
pub mod kql;
pub mod literal;
pub mod pattern;
pub mod plan;
pub mod program;
pub mod rule;
pub mod schema;
pub mod sigma;
#[cfg(test)]
mod testing;
