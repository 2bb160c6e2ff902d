//! The pages beside that of `report`: the list, and the few words for whoever is not let in or is lost.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::board::{Board, Line, Row};
use crate::report;

const STYLE: &str = concat!(include_str!("../report/page.css"), include_str!("list.css"));
const SCRIPT: &str = include_str!("list.js");

/// What a browser may do with a page of these.
pub(super) fn policy() -> String {
    report::policy_of(STYLE, SCRIPT) + "; connect-src 'self'"
}

/// `at` is where the list stands, for the stream of what comes later.
pub(super) fn list(board: &Board, store: &str, at: &str) -> String {
    let body = html! {
        a.skip href="#alerts" { "Skip to the alerts" }
        header {
            h1 { "groundtrail" }
            p.line { "Alerts and incidents of " code { (store) } ". " span #link data-at=(at) role="status" { "Not live" } }
        }
        main {
            section #reasons hidden[board.reasons().is_empty()] aria-label="What is wrong" {
                ul { @for reason in board.reasons() { li { (reason) } } }
            }
            section aria-labelledby="incidents-title" {
                h2 #incidents-title { "Incidents" }
                ol.entries #incidents { @for line in board.lines() { (incident(&line)) } }
                p.none { "None so far." }
            }
            section aria-labelledby="alerts-title" {
                h2 #alerts-title { "Alerts" }
                div.filters {
                    label for="words" { "Only with" }
                    input #words type="search" autocomplete="off" placeholder="rule, host, principal, account";
                    label for="least" { "at least" }
                    select #least {
                        @for severity in ["low", "medium", "high", "critical"] { option value=(severity) { (severity) } }
                    }
                    span.dim { kbd { "/" } " to search, " kbd { "j" } " and " kbd { "k" } " to move" }
                }
                ol.entries #alerts { @for row in board.rows() { (alert(row)) } }
                p.none { "None so far." }
                @if board.is_full() {
                    p.dim { "The newest " (board.max_alerts()) ". " code { "groundtrail incidents" } " tells of all." }
                }
                p.quiet #news role="status" {}
            }
        }
        footer { "groundtrail " (env!("CARGO_PKG_VERSION")) ". Times are UTC. Nothing can be changed from here." }
    };
    page("Alerts", &body, Some(SCRIPT))
}

/// The script makes the same of what comes later.
fn incident(line: &Line) -> Markup {
    html! {
        li data-id=(line.id) {
            a href={ "incident/" (line.id) } {
                time { (second(&line.time)) }
                span class={ "severity " (line.severity) } { (line.severity) }
                span.what { (line.summary) }
            }
        }
    }
}

fn alert(row: &Row) -> Markup {
    html! {
        li data-id=(row.id) data-severity=(row.severity) class=[row.is_withdrawn.then_some("withdrawn")] {
            a href={ "alert/" (row.id) } {
                time { (second(&row.time)) }
                span class={ "severity " (row.severity) } { (if row.is_withdrawn { "withdrawn" } else { row.severity }) }
                span.what {
                    strong { (row.rule) }
                    @for name in &row.cast { " · " (name) }
                }
            }
        }
    }
}

/// A few words on a page of their own.
pub(super) fn words(title: &str, text: &str) -> String {
    page(title, &html! { main { h1 { (title) } p { (text) } } }, None)
}

fn page(title: &str, body: &Markup, script: Option<&str>) -> String {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (title) " · groundtrail" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (body)
                @if let Some(script) = script { script { (PreEscaped(script)) } }
            }
        }
    };
    markup.into_string()
}

/// `2026-11-02T10:00:00.123Z` as `2026-11-02 10:00:00`.
fn second(time: &str) -> String {
    time.get(..19).unwrap_or(time).replace('T', " ")
}
