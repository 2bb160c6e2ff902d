//! The process tree of an alert: every process its events name, with ancestors, connections and files under the process
//! that made them.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::line::{Line, Paint, wrap};
use crate::alert::processes::{self, Deed, Host, Node};
use crate::alert::view::{Carried, Times};

/// Rows of a tree that is part of an alert.
pub(super) const MAX_ROWS: usize = 40;
const MAX_DEPTH: usize = 24;

/// The tree as lines of at most `width` columns; empty when no event names a process.
pub(super) fn lines(
    events: &[Carried<'_>],
    times: Times,
    accent: Paint,
    width: usize,
    max_rows: usize,
) -> Vec<Line> {
    let hosts = processes::by_host(events);
    let mut lines = Vec::new();
    for host in hosts.values().filter(|host| host.has_news()) {
        let heading = Line::default().own(Paint::Heading, "PROCESSES").own(Paint::Plain, "  ");
        lines.push(heading.foreign(Paint::Dim, &host.label, width.saturating_sub(11)));
        Drawing {
            host,
            times,
            accent,
            width,
            lines: &mut lines,
            drawn: HashSet::new(),
            max_rows,
            n_rows: 0,
            n_left_out: 0,
        }
        .draw_all();
    }
    lines
}

/// Draws one host's tree.
struct Drawing<'a, 'd> {
    host: &'a Host<'d>,
    times: Times,
    accent: Paint,
    width: usize,
    lines: &'a mut Vec<Line>,
    drawn: HashSet<&'d str>,
    max_rows: usize,
    n_rows: usize,
    n_left_out: usize,
}

impl<'d> Drawing<'_, 'd> {
    fn draw_all(mut self) {
        let forest = self.host.forest();
        for root in &forest.roots {
            self.draw(root, &forest.children, "", "", 0);
        }
        for id in forest.loose {
            self.draw(id, &HashMap::new(), "", "", 0);
        }
        if self.n_left_out > 0 {
            self.lines.push(Line::default().own(Paint::Dim, format!("… {} more processes", self.n_left_out)));
        }
    }

    /// `stem` is drawn before the node itself, `trunk` before everything below it.
    fn draw(
        &mut self,
        id: &'d str,
        children: &HashMap<&str, Vec<&'d str>>,
        stem: &str,
        trunk: &str,
        depth: usize,
    ) {
        if !self.drawn.insert(id) {
            return;
        }
        let node = &self.host.nodes[id];
        let below: &[&str] = children.get(id).map_or(&[], Vec::as_slice);
        if self.n_rows >= self.max_rows {
            self.n_left_out += 1;
        } else {
            let rail = if below.is_empty() { "  " } else { "│ " };
            self.draw_process(node, stem, &format!("{trunk}{rail}"));
        }
        for (idx, child) in below.iter().enumerate() {
            let is_last = idx + 1 == below.len();
            let (fork, rail) = if is_last { ("└─", "  ") } else { ("├─", "│ ") };
            let indent = if depth < MAX_DEPTH { trunk } else { "" };
            self.draw(child, children, &format!("{indent}{fork}"), &format!("{indent}{rail}"), depth + 1);
        }
    }

    fn draw_process(&mut self, node: &Node<'d>, stem: &str, below: &str) {
        let mark = if node.stage.is_some() {
            "● "
        } else if stem.is_empty() {
            ""
        } else {
            " "
        };
        let mut head = self.margin(node.first).own(Paint::Dim, stem);
        head = head.own(self.accent, mark);
        let room = self.width.saturating_sub(head.width());
        let paint = if node.stage.is_some() { Paint::Strong } else { Paint::Plain };
        head = head.foreign(paint, node.title(), room.min(32));
        if let Some(pid) = &node.pid {
            head = head.own(Paint::Dim, "(").foreign(Paint::Dim, pid, 10).own(Paint::Dim, ")");
        }
        if let Some(user) = self.new_user(node) {
            head = head.own(Paint::Dim, " as ").foreign(Paint::Plain, user, 24);
        }
        if let Some(code) = node.exit_code.as_ref().filter(|code| *code != "0") {
            head = head.own(Paint::Bad, " exit ").foreign(Paint::Bad, code, 5);
        }
        if let Some(stage) = node.stage.filter(|stage| !stage.is_empty()) {
            head = head.own(Paint::Dim, " ‹").foreign(Paint::Dim, stage, 16).own(Paint::Dim, "›");
        }
        self.draw_command(node, head, below);
        for (deed, count) in &node.deeds {
            self.draw_deed(deed, *count, below);
        }
    }

    /// The command follows the head if it fits there, else it goes below, on as many rows as it is worth.
    fn draw_command(&mut self, node: &Node<'d>, head: Line, below: &str) {
        let command = node.command();
        let room = self.width.saturating_sub(head.width() + 2);
        let is_short =
            wrap(command, room.max(8), 1).first().is_some_and(|row| !row.ends_with('…')) && room >= 8;
        if command.is_empty() {
            self.push(head);
        } else if is_short || node.first.is_none() && room >= 16 {
            self.push(head.own(Paint::Plain, "  ").foreign(Paint::Plain, command, room));
        } else {
            self.push(head);
            let max_rows = if node.stage.is_some() {
                6
            } else if node.first.is_some() {
                3
            } else {
                1
            };
            let margin = self.margin(None).own(Paint::Dim, below).own(Paint::Plain, "  ");
            let room = self.width.saturating_sub(margin.width());
            for row in wrap(command, room, max_rows) {
                self.push(margin.clone().own(Paint::Plain, row));
            }
        }
    }

    fn draw_deed(&mut self, deed: &Deed<'d>, count: usize, below: &str) {
        let mut line = self.margin(Some(deed.event)).own(Paint::Dim, below);
        line = line.own(self.accent, if deed.stage.is_some() { "● " } else { "  " });
        let room = self.width.saturating_sub(line.width() + 8);
        let paint = if deed.stage.is_some() { Paint::Strong } else { Paint::Plain };
        line = line.foreign(paint, &deed.text, room);
        if let Some(outcome) = deed.outcome {
            let paint = if outcome == "success" { Paint::Good } else { Paint::Bad };
            line = line.own(Paint::Plain, " ").foreign(paint, outcome, 7);
        }
        if count > 1 {
            line = line.own(Paint::Dim, format!(" ×{count}"));
        }
        if let Some(stage) = deed.stage.filter(|stage| !stage.is_empty())
            && line.width() + 19 <= self.width
        {
            line = line.own(Paint::Dim, " ‹").foreign(Paint::Dim, stage, 16).own(Paint::Dim, "›");
        }
        self.push(line);
    }

    fn margin(&self, event: Option<&Value>) -> Line {
        let shown = event.map_or_else(|| " ".repeat(self.times.width()), |event| self.times.show(event));
        Line::default().own(Paint::Dim, shown).own(Paint::Plain, " ")
    }

    /// The process's user where it is not its parent's.
    fn new_user(&self, node: &Node<'d>) -> Option<&'d str> {
        let parent = node.parent.and_then(|id| self.host.nodes.get(id)).and_then(|parent| parent.user);
        node.user.filter(|user| parent != Some(*user))
    }

    fn push(&mut self, line: Line) {
        self.lines.push(line.clip(self.width));
        self.n_rows += 1;
    }
}
