//! `correlation`: several rules' events, counted or put in order.

use super::document::{At, Map};
use super::yaml::Node;
use crate::diagnostic::{Code, Diagnostic};

#[derive(Debug)]
pub(super) struct Correlation {
    /// By id or name.
    pub(super) rules: Vec<At<String>>,
    /// The rules also tell by themselves.
    pub(super) generate: bool,
}

pub(super) fn read(node: &Node, found: &mut Vec<Diagnostic>) -> Option<Correlation> {
    Map::new(node, "\"correlation\"", found)?;
    let message = "correlations are not run here";
    found.push(Diagnostic::error(Code::UnsupportedRule, node.span.clone(), message));
    None
}
