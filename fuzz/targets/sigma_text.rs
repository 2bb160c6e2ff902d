//! A YAML file of any text as Sigma rules, correlations and filters: they load or are reported, and what loaded can be run.

use crate::rule_text;

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    rule_text::load("input.yml", text);
}
