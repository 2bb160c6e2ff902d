//! The process tree of an alert: every process its events name, with ancestors, connections and files under the process
//! that made them.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use serde_json::Value;

use super::line::{Line, Paint, wrap};
use crate::alert::view::{Carried, Role, Times, list, scalar, text, time};

/// Folders whose programs need no path to be recognised.
const USUAL_FOLDERS: [&str; 6] =
    ["/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/", "/usr/local/bin/", "/usr/local/sbin/"];

const MAX_ROWS: usize = 40;
const MAX_DEPTH: usize = 24;

/// A process as far as the alert's events tell.
#[derive(Default)]
struct Node<'d> {
    pid: Option<String>,
    name: &'d str,
    executable: &'d str,
    command_line: &'d str,
    first_argument: &'d str,
    user: Option<&'d str>,
    parent: Option<&'d str>,
    /// Its own first event, absent for a mere ancestor.
    first: Option<&'d Value>,
    /// Drawn for its own sake, not only for what is below it.
    is_news: bool,
    order: Option<Timestamp>,
    stage: Option<&'d str>,
    /// What it did besides running, and how often, in order.
    deeds: Vec<(Deed<'d>, usize)>,
    exit_code: Option<String>,
}

#[derive(PartialEq)]
struct Deed<'d> {
    text: String,
    event: &'d Value,
    outcome: Option<&'d str>,
    stage: Option<&'d str>,
}

/// The processes of one host.
struct Host<'d> {
    label: String,
    nodes: HashMap<&'d str, Node<'d>>,
}

/// The tree as lines of at most `width` columns; empty when no event names a process.
pub(super) fn lines(events: &[Carried<'_>], times: Times, accent: Paint, width: usize) -> Vec<Line> {
    let mut hosts = collect(events);
    hosts.values_mut().for_each(Host::prune);
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
            n_rows: 0,
            n_left_out: 0,
        }
        .draw_all();
    }
    lines
}

fn collect<'d>(events: &[Carried<'d>]) -> BTreeMap<&'d str, Host<'d>> {
    let mut hosts: BTreeMap<&str, Host<'_>> = BTreeMap::new();
    for carried in events {
        let event = carried.event;
        let Some(entity) = text(event, "process.entity_id") else { continue };
        let host = hosts
            .entry(text(event, "host.id").unwrap_or_default())
            .or_insert_with(|| Host { label: host_label(event), nodes: HashMap::new() });
        host.add(entity, carried);
    }
    hosts
}

fn host_label(event: &Value) -> String {
    let names = [text(event, "host.name"), text(event, "host.id")];
    let mut label: Vec<&str> = names.into_iter().flatten().collect();
    label.dedup();
    label.join(" · ")
}

impl<'d> Host<'d> {
    fn has_news(&self) -> bool {
        !self.nodes.is_empty()
    }

    /// Leaves only what is new and what it descends from.
    fn prune(&mut self) {
        let mut kept = HashSet::new();
        for (id, node) in &self.nodes {
            if node.is_news {
                let mut next = Some(*id);
                // Ends at a node that is kept already, and so in a ring as well.
                while let Some(id) = next.filter(|id| kept.insert(*id)) {
                    next = self.nodes.get(id).and_then(|node| node.parent);
                }
            }
        }
        self.nodes.retain(|id, _| kept.contains(id));
    }

    fn add(&mut self, entity: &'d str, carried: &Carried<'d>) {
        let event = carried.event;
        let stage = match carried.role {
            Role::Evidence(stage) => Some(stage),
            Role::Context | Role::Known => None,
        };
        let node = self.nodes.entry(entity).or_default();
        let action = text(event, "event.action").unwrap_or_default();
        let is_about_itself = text(event, "event.category") == Some("process");
        let is_first = node.order.is_none() || time(event) < node.order;
        if is_first || action == "exec" {
            node.fill(&event["process"]);
        }
        node.user = node.user.or(text(event, "user.name")).or(text(event, "user.id"));
        if is_first {
            node.order = time(event);
        }
        if carried.role == Role::Known {
            return self.add_ancestors(entity, event);
        }
        node.is_news = true;
        if is_first || node.first.is_none() {
            node.first = Some(event);
        }
        if is_about_itself {
            node.stage = stage.or(node.stage);
            if text(event, "event.type") == Some("end") {
                node.exit_code = scalar(event, "process.exit_code");
            }
        } else {
            node.add_deed(deed(event, stage));
        }
        self.add_ancestors(entity, event);
    }

    /// Links the process to its parent and that to its own, as far as the event knows them.
    fn add_ancestors(&mut self, entity: &'d str, event: &'d Value) {
        let parent = &event["process"]["parent"];
        let ancestors = list(event, "groundtrail.process.ancestors");
        let parent_id = text(parent, "entity_id");
        let has_parent = ancestors.first().and_then(|first| text(first, "entity_id")) == parent_id;
        let chain = (parent_id.is_some() && !has_parent).then_some(parent).into_iter().chain(ancestors);
        let mut child = entity;
        for ancestor in chain {
            let Some(id) = text(ancestor, "entity_id") else { break };
            if let Some(node) = self.nodes.get_mut(child) {
                node.parent = node.parent.or(Some(id).filter(|id| *id != child));
            }
            let node = self.nodes.entry(id).or_default();
            if node.first.is_none() && node.name.is_empty() {
                node.fill(ancestor);
            }
            child = id;
        }
        // `process.parent` has the fuller command line.
        if let Some(node) = parent_id.and_then(|id| self.nodes.get_mut(id))
            && node.first.is_none()
        {
            node.fill(parent);
        }
    }
}

impl<'d> Node<'d> {
    fn fill(&mut self, process: &'d Value) {
        let keep = |new: Option<&'d str>, old: &'d str| new.unwrap_or(old);
        self.pid = scalar(process, "pid").or(self.pid.take());
        self.name = keep(text(process, "name"), self.name);
        self.executable = keep(text(process, "executable"), self.executable);
        self.command_line = keep(text(process, "command_line"), self.command_line);
        self.first_argument = keep(text(process, "args"), self.first_argument);
    }

    fn add_deed(&mut self, deed: Deed<'d>) {
        let same = |held: &Deed<'d>| {
            held.text == deed.text && held.outcome == deed.outcome && held.stage == deed.stage
        };
        match self.deeds.iter_mut().find(|(held, _)| same(held)) {
            Some((_, count)) => *count += 1,
            None => self.deeds.push((deed, 1)),
        }
    }

    /// The name by which one would call the process.
    fn title(&self) -> &'d str {
        if !self.name.is_empty() {
            return self.name;
        }
        self.executable.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("?")
    }

    /// The command line, without its first word when the title says as much.
    fn command(&self) -> &'d str {
        let first = if self.first_argument.is_empty() {
            self.command_line.split(' ').next().unwrap_or_default()
        } else {
            self.first_argument
        };
        let is_usual = USUAL_FOLDERS.iter().any(|folder| first.strip_prefix(folder) == Some(self.title()));
        if first == self.title() || is_usual {
            self.command_line.strip_prefix(first).unwrap_or(self.command_line).trim_start()
        } else {
            self.command_line
        }
    }
}

fn deed<'d>(event: &'d Value, stage: Option<&'d str>) -> Deed<'d> {
    let outcome = text(event, "event.outcome").filter(|outcome| *outcome != "unknown");
    let text = if text(event, "event.category") == Some("network") {
        let host = text(event, "destination.domain").or(text(event, "destination.ip")).unwrap_or("?");
        let shown = match scalar(event, "destination.port") {
            Some(port) if host.contains(':') => format!("[{host}]:{port}"),
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        match text(event, "network.transport") {
            Some(transport) => format!("→ {shown} {transport}"),
            None => format!("→ {shown}"),
        }
    } else {
        let what = text(event, "event.action").unwrap_or("event");
        match text(event, "file.path") {
            Some(path) => format!("{what} {path}"),
            None => what.to_owned(),
        }
    };
    Deed { text, event, outcome, stage }
}

/// Draws one host's tree.
struct Drawing<'a, 'd> {
    host: &'a Host<'d>,
    times: Times,
    accent: Paint,
    width: usize,
    lines: &'a mut Vec<Line>,
    drawn: HashSet<&'d str>,
    n_rows: usize,
    n_left_out: usize,
}

impl<'d> Drawing<'_, 'd> {
    fn draw_all(mut self) {
        let mut children: HashMap<&str, Vec<&'d str>> = HashMap::new();
        let mut roots = Vec::new();
        for (id, node) in &self.host.nodes {
            match node.parent {
                Some(parent) => children.entry(parent).or_default().push(id),
                None => roots.push(*id),
            }
        }
        for siblings in children.values_mut() {
            self.sort(siblings);
        }
        self.sort(&mut roots);
        for root in roots {
            self.draw(root, &children, "", "", 0);
        }
        // A ring of parents, which only a forged event can make, has no root: its members are drawn flat.
        let mut rest: Vec<&str> =
            self.host.nodes.keys().filter(|id| !self.drawn.contains(*id)).copied().collect();
        self.sort(&mut rest);
        for id in rest {
            self.draw(id, &HashMap::new(), "", "", 0);
        }
        if self.n_left_out > 0 {
            self.lines.push(Line::default().own(Paint::Dim, format!("… {} more processes", self.n_left_out)));
        }
    }

    fn sort(&self, ids: &mut [&'d str]) {
        let key = |id: &str| {
            let node = &self.host.nodes[id];
            (node.order, node.pid.as_ref().and_then(|pid| pid.parse::<u64>().ok()), id.to_owned())
        };
        ids.sort_by_cached_key(|id| key(id));
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
        if self.n_rows >= MAX_ROWS {
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
