//! The process trees, one per host.

use std::collections::HashMap;

use maud::{Markup, html};

use super::shown;
use crate::alert::processes::{self, Host, Node};
use crate::alert::view::Carried;

/// Deeper than this a tree is drawn flat.
const MAX_DEPTH: usize = 32;
const MAX_DEEDS: usize = 40;

pub(super) fn markup(events: &[Carried<'_>]) -> Markup {
    let hosts = processes::by_host(events);
    html! {
        @for host in hosts.values().filter(|host| host.has_news()) {
            @let forest = host.forest();
            h3 { (shown(&host.label)) }
            ul.tree {
                @for root in &forest.roots { (branch(host, root, &forest.children, 0)) }
                @for id in &forest.loose { (branch(host, id, &HashMap::new(), 0)) }
            }
        }
    }
}

fn branch(host: &Host<'_>, id: &str, children: &HashMap<&str, Vec<&str>>, depth: usize) -> Markup {
    let below = children.get(id).filter(|_| depth < MAX_DEPTH);
    html! {
        @if let Some(node) = host.nodes.get(id) {
            li {
                (process(node))
                @if let Some(below) = below {
                    ul { @for child in below { (branch(host, child, children, depth + 1)) } }
                }
            }
        }
    }
}

fn process(node: &Node<'_>) -> Markup {
    html! {
        div class={ "process" @if node.stage.is_some() { " evidence" } @if !node.is_news { " ancestor" } } {
            strong { (shown(node.title())) }
            @if let Some(pid) = &node.pid { span.dim { " " (shown(pid)) } }
            @if let Some(user) = node.user { span.dim { " as " } (shown(user)) }
            @if let Some(code) = node.exit_code.as_ref().filter(|code| *code != "0") { span.bad { " exit " (shown(code)) } }
            @if !node.command().is_empty() { " " code { (shown(node.command())) } }
            @for (deed, count) in node.deeds.iter().take(MAX_DEEDS) {
                div class={ "deed" @if deed.stage.is_some() { " evidence" } } {
                    (shown(&deed.text))
                    @if let Some(outcome) = deed.outcome { " " span.dim { (shown(outcome)) } }
                    @if *count > 1 { span.dim { " ×" (count) } }
                }
            }
            @if node.deeds.len() > MAX_DEEDS { div.deed { "and " (node.deeds.len() - MAX_DEEDS) " more" } }
        }
    }
}
