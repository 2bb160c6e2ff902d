//! The processes that an alert's events name: who started whom, and what each did besides running.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use serde_json::Value;

use super::view::{Carried, Role, list, scalar, text, time};

/// Folders whose programs need no path to be recognised.
const USUAL_FOLDERS: [&str; 6] =
    ["/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/", "/usr/local/bin/", "/usr/local/sbin/"];

/// A process as far as the alert's events tell.
#[derive(Default)]
pub(crate) struct Node<'d> {
    pub(crate) pid: Option<String>,
    pub(crate) name: &'d str,
    pub(crate) executable: &'d str,
    pub(crate) command_line: &'d str,
    pub(crate) first_argument: &'d str,
    pub(crate) user: Option<&'d str>,
    pub(crate) parent: Option<&'d str>,
    /// Its own first event, absent for a mere ancestor.
    pub(crate) first: Option<&'d Value>,
    /// Drawn for its own sake, not only for what is below it.
    pub(crate) is_news: bool,
    pub(crate) order: Option<Timestamp>,
    pub(crate) stage: Option<&'d str>,
    /// What it did besides running, and how often, in order.
    pub(crate) deeds: Vec<(Deed<'d>, usize)>,
    pub(crate) exit_code: Option<String>,
}

#[derive(PartialEq)]
pub(crate) struct Deed<'d> {
    pub(crate) text: String,
    pub(crate) event: &'d Value,
    pub(crate) outcome: Option<&'d str>,
    pub(crate) stage: Option<&'d str>,
}

/// The processes of one host.
pub(crate) struct Host<'d> {
    pub(crate) label: String,
    pub(crate) nodes: HashMap<&'d str, Node<'d>>,
}

/// Who stands under whom, siblings in order of time.
pub(crate) struct Forest<'d> {
    pub(crate) roots: Vec<&'d str>,
    pub(crate) children: HashMap<&'d str, Vec<&'d str>>,
    /// Members of a ring of parents, which only a forged event can make: it has no root.
    pub(crate) loose: Vec<&'d str>,
}

/// The processes that events name, with what they descend from, by host.
pub(crate) fn by_host<'d>(events: &[Carried<'d>]) -> BTreeMap<&'d str, Host<'d>> {
    let mut hosts: BTreeMap<&str, Host<'_>> = BTreeMap::new();
    for carried in events {
        let event = carried.event;
        let Some(entity) = text(event, "process.entity_id") else { continue };
        let host = hosts
            .entry(text(event, "host.id").unwrap_or_default())
            .or_insert_with(|| Host { label: host_label(event), nodes: HashMap::new() });
        host.add(entity, carried);
    }
    hosts.values_mut().for_each(Host::prune);
    hosts
}

fn host_label(event: &Value) -> String {
    let names = [text(event, "host.name"), text(event, "host.id")];
    let mut label: Vec<&str> = names.into_iter().flatten().collect();
    label.dedup();
    label.join(" · ")
}

impl<'d> Host<'d> {
    pub(crate) fn has_news(&self) -> bool {
        !self.nodes.is_empty()
    }

    pub(crate) fn forest(&self) -> Forest<'d> {
        let mut forest = Forest { roots: Vec::new(), children: HashMap::new(), loose: Vec::new() };
        for (id, node) in &self.nodes {
            match node.parent {
                Some(parent) => forest.children.entry(parent).or_default().push(id),
                None => forest.roots.push(*id),
            }
        }
        let mut reached: HashSet<&str> = HashSet::new();
        let mut next: Vec<&str> = forest.roots.clone();
        while let Some(id) = next.pop() {
            reached.insert(id);
            next.extend(forest.children.get(id).into_iter().flatten());
        }
        forest.loose = self.nodes.keys().filter(|id| !reached.contains(*id)).copied().collect();
        forest.children.values_mut().for_each(|siblings| self.sort(siblings));
        self.sort(&mut forest.roots);
        self.sort(&mut forest.loose);
        forest
    }

    fn sort(&self, ids: &mut [&'d str]) {
        let key = |id: &str| {
            let node = &self.nodes[id];
            (node.order, node.pid.as_ref().and_then(|pid| pid.parse::<u64>().ok()), id.to_owned())
        };
        ids.sort_by_cached_key(|id| key(id));
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
    pub(crate) fn title(&self) -> &'d str {
        if !self.name.is_empty() {
            return self.name;
        }
        self.executable.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("?")
    }

    /// The command line, without its first word when the title says as much.
    pub(crate) fn command(&self) -> &'d str {
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
