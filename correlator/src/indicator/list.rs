//! Reads a list, whatever its format: plain text (an address, network or domain a line, `#` and `;` start comments; a file of
//! hosts), CSV and TSV with a column of these, STIX 2.1 bundles, MISP lists, events and attributes, and ThreatFox exports.
//!
//! What is of another kind is counted by what it is; what should have been an address or a domain and is none is rejected
//! with its line.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use rules::event::EventTime;

use super::table::Indicators;
use super::{BadEntry, Indicator, Key, Loaded};
use crate::source::json::{self, Arena, Json};
use crate::time;

/// So many entries that cannot be read are told one by one.
const MAX_BAD: usize = 100;
/// So many kinds of others are told apart.
const MAX_KINDS: usize = 40;

/// Everything about an entry but what it is about.
#[derive(Debug, Clone, Default)]
pub(super) struct About<'t> {
    pub(super) description: Option<&'t str>,
    pub(super) reference: Option<&'t str>,
    pub(super) labels: Vec<String>,
    pub(super) confidence: Option<u8>,
    pub(super) valid_from: Option<EventTime>,
    pub(super) valid_until: Option<EventTime>,
}

pub(super) struct Loader<'i> {
    into: &'i mut Indicators,
    provider: Arc<str>,
    confidence: Option<u8>,
    labels: &'i [String],
    loaded: Loaded,
}

/// What is known of a list beside what it holds.
#[derive(Debug, Clone, Copy)]
pub struct ListName<'n> {
    pub provider: &'n str,
    /// Of entries that say nothing of it.
    pub confidence: Option<u8>,
    /// Of all of them.
    pub labels: &'n [String],
}

impl Indicators {
    /// Reads one list of which only the name is known.
    pub fn load(&mut self, text: &str, provider: &str) -> Loaded {
        self.load_as(text, &ListName { provider, confidence: None, labels: &[] })
    }

    /// Reads one list. Never fails as a whole: what cannot be read is in the answer.
    pub fn load_as(&mut self, text: &str, name: &ListName<'_>) -> Loaded {
        let ListName { provider, confidence, labels } = *name;
        let mut loader =
            Loader { into: self, provider: provider.into(), confidence, labels, loaded: Loaded::default() };
        let text = text.trim_start_matches('\u{feff}');
        match text.trim_start().as_bytes().first() {
            Some(b'{' | b'[') => loader.json(text),
            _ => loader.lines(text),
        }
        let loaded = loader.loaded;
        self.settle();
        loaded
    }
}

impl Loader<'_> {
    pub(super) fn add(&mut self, key: Key, about: &About<'_>) {
        if let Key::Net(net) = &key {
            let is_nobodys = net.addr().is_unspecified() && net.prefix_len() == net.max_prefix_len();
            if net.addr().is_loopback() || is_nobodys {
                return self.other("this machine's own address");
            }
        }
        let text =
            |text: Option<&str>| text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
        let is_new = self.into.insert(&Indicator {
            key,
            provider: Arc::clone(&self.provider),
            description: text(about.description),
            reference: text(about.reference),
            labels: self.labels.iter().chain(&about.labels).cloned().collect(),
            confidence: about.confidence.or(self.confidence),
            valid_from: about.valid_from,
            valid_until: about.valid_until,
        });
        match is_new {
            true => self.loaded.n_entries += 1,
            false => self.other("listed again and again"),
        }
    }

    pub(super) fn bad(&mut self, line: usize, reason: impl Into<String>) {
        self.loaded.n_bad += 1;
        if self.loaded.bad.len() < MAX_BAD {
            self.loaded.bad.push(BadEntry { line, reason: reason.into() });
        }
    }

    /// Counts an entry that is not looked for.
    pub(super) fn other(&mut self, what: &str) {
        let others = &mut self.loaded.others;
        let what: String = what.chars().filter(|c| !c.is_control()).take(60).collect();
        let what =
            if others.len() < MAX_KINDS || others.contains_key(&what) { what } else { "others".to_owned() };
        *others.entry(what).or_default() += 1;
    }

    fn lines(&mut self, text: &str) {
        let mut table: Option<Header> = None;
        for (idx, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';', '!']) || line.starts_with("//") {
                continue;
            }
            if table.is_none()
                && let Some(found) = Header::read(line)
            {
                table = Some(found);
                continue;
            }
            match &table {
                Some(header) => self.row(idx + 1, header, &split_cells(line, header.separator)),
                None => self.plain(idx + 1, line),
            }
        }
    }

    fn plain(&mut self, line: usize, text: &str) {
        let (cell, rest) = first_cell(text);
        // A file of hosts: names that are to lead nowhere.
        let leads_nowhere = cell.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified() || ip.is_loopback());
        let (cell, rest) = match rest.as_deref().map(first_cell) {
            Some((name, behind)) if leads_nowhere && parse_domain(&name).is_some() => (name, behind),
            _ => (cell, rest),
        };
        match parse(&cell) {
            Some(key) => self.add(key, &About { description: rest.as_deref(), ..About::default() }),
            None => self.bad(line, no_indicator(&cell)),
        }
    }

    fn row(&mut self, line: usize, header: &Header, cells: &[String]) {
        let Some(cell) = cells.get(header.value) else {
            return self.bad(line, format!("no column {} in this line", header.value + 1));
        };
        let of = |names: &[&str]| {
            let at = header.names.iter().position(|name| names.contains(&name.as_str()))?;
            cells.get(at).map(|cell| cell.trim()).filter(|cell| !cell.is_empty())
        };
        let about = About {
            description: of(&["description", "comment", "malware", "malware_printable", "threat", "name"]),
            reference: of(&["id", "uuid", "reference"]),
            labels: of(&["labels", "tags", "label"]).map(split_labels).unwrap_or_default(),
            confidence: of(&["confidence", "confidence_level"]).and_then(confidence),
            valid_from: of(&["valid_from"]).and_then(moment),
            valid_until: of(&["valid_until", "valid_to", "expires", "expiration"]).and_then(moment),
        };
        match (parse(cell), of(&["type", "ioc_type", "indicator_type"])) {
            (Some(key), _) => self.add(key, &about),
            (None, Some(kind)) if !is_of_ours(kind) => self.other(kind),
            (None, _) => self.bad(line, no_indicator(cell)),
        }
    }

    fn json(&mut self, text: &str) {
        match Json::parse(text, &Arena::new()) {
            Ok(json) => self.document(&json),
            // One JSON document a line, perhaps.
            Err(error) => {
                let is_ndjson = text.lines().nth(1).is_some()
                    && text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('{'));
                if !is_ndjson {
                    return self.bad(error.line(), format!("no JSON: {error}"));
                }
                for (idx, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
                    json::with_arena(|arena| match Json::parse(line, arena) {
                        Ok(json) => self.entry(idx + 1, &json),
                        Err(error) => self.bad(idx + 1, format!("no JSON: {error}")),
                    });
                }
            }
        }
    }

    fn document(&mut self, json: &Json<'_>) {
        if let Some(objects) = json.get("objects") {
            self.stix(objects.items());
        } else if json.str_at(&["type"]) == Some("indicator") && json.get("pattern").is_some() {
            self.stix(std::slice::from_ref(json));
        } else if !self.misp(json) {
            match (json, json.get("list")) {
                (_, Some(list)) => self.list(list.items()),
                (Json::List(_), None) => self.list(json.items()),
                _ => self.threatfox(json),
            }
        }
    }

    /// A list of strings or of objects that hold one.
    fn list(&mut self, items: &[Json<'_>]) {
        for (idx, item) in items.iter().enumerate() {
            self.entry(idx + 1, item);
        }
    }

    fn entry(&mut self, line: usize, item: &Json<'_>) {
        if item.str_at(&["type"]) == Some("indicator") && item.get("pattern").is_some() {
            return self.stix(std::slice::from_ref(item));
        }
        let keys = [
            "ip",
            "address",
            "domain",
            "value",
            "ioc_value",
            "ioc",
            "indicator",
            "cidr",
            "ip_address",
            "url",
        ];
        let text = item.str().or_else(|| keys.iter().find_map(|key| item.str_at(&[key])));
        let of = |keys: &[&str]| keys.iter().find_map(|key| item.str_at(&[key]));
        let labels = ["labels", "tags"].iter().find_map(|key| item.get(key)).map_or(&[][..], Json::items);
        let about = About {
            description: of(&["malware_printable", "malware", "description", "comment"]),
            reference: of(&["id", "uuid"]),
            labels: labels.iter().filter_map(|label| label.str().map(str::to_owned)).collect(),
            confidence: number(item, &["confidence", "confidence_level"]),
            valid_from: of(&["valid_from"]).and_then(moment),
            valid_until: of(&["valid_until", "expires"]).and_then(moment),
        };
        let kind = of(&["ioc_type", "type", "indicator_type"]);
        match text.map(|text| (text, parse(text))) {
            Some((_, Some(key))) => self.add(key, &about),
            // Other kinds are fine in a list that says which kind each entry is.
            Some(_) if item.is_object() && kind.is_none_or(|kind| !is_of_ours(kind)) => {
                self.other(kind.unwrap_or("of no kind that is known"));
            }
            Some((text, None)) => self.bad(line, no_indicator(text)),
            None => self.bad(line, "an entry without an address or domain"),
        }
    }

    /// ThreatFox: id → list of indicators. Its API wraps the list in `data`.
    fn threatfox(&mut self, json: &Json<'_>) {
        if let Some(data) = json.get("data") {
            return self.list(data.items());
        }
        let mut line = 0;
        for (id, entry) in json.entries() {
            let single = std::slice::from_ref(entry);
            let entries = if entry.items().is_empty() { single } else { entry.items() };
            for entry in entries {
                line += 1;
                let Some(value) = entry.str_at(&["ioc_value"]).or_else(|| entry.str_at(&["ioc"])) else {
                    let id: String = id.chars().take(60).collect();
                    self.bad(line, format!("\"{id}\" holds no indicator"));
                    continue;
                };
                let malware = entry.str_at(&["malware_printable"]).or_else(|| entry.str_at(&["malware"]));
                let about = About {
                    description: malware,
                    reference: Some(id),
                    labels: entry.str_at(&["tags"]).map(split_labels).unwrap_or_default(),
                    confidence: number(entry, &["confidence_level"]),
                    ..About::default()
                };
                let kind = entry.str_at(&["ioc_type"]).unwrap_or_default();
                match parse(value) {
                    // What a page says of a whole site is no word against it.
                    Some(key) if kind != "url" => self.add(key, &about),
                    None if is_of_ours(kind) && kind != "url" => self.bad(line, no_indicator(value)),
                    _ => self.other(kind),
                }
            }
        }
    }
}

/// Whether a list means an address or a domain by this.
fn is_of_ours(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    let kind = kind.as_str();
    kind.starts_with("ip") || ["domain", "hostname", "cidr", "network", "fqdn", "domain-name"].contains(&kind)
}

fn no_indicator(text: &str) -> String {
    let shown: String = text.chars().take(60).collect();
    match text.is_ascii() {
        true => format!("\"{shown}\" is no address, network or domain"),
        false => {
            format!("\"{shown}\" is no address, network or domain; write names of other scripts as \"xn--…\"")
        }
    }
}

fn number(item: &Json<'_>, keys: &[&str]) -> Option<u8> {
    let found = keys.iter().find_map(|key| item.get(key))?;
    let number = found.int().or_else(|| found.str()?.trim().parse().ok())?;
    u8::try_from(number).ok().filter(|number| *number <= 100)
}

/// A number from 0 to 100, or a word.
pub(super) fn confidence(text: &str) -> Option<u8> {
    match text.trim().trim_end_matches('%').to_ascii_lowercase().as_str() {
        "none" => Some(0),
        "low" => Some(15),
        "medium" => Some(50),
        "high" => Some(85),
        number => number.parse().ok().filter(|number| *number <= 100),
    }
}

fn split_labels(text: &str) -> Vec<String> {
    text.split([',', ';', '|']).map(str::trim).filter(|label| !label.is_empty()).map(str::to_owned).collect()
}

/// A time, or a day.
pub(super) fn moment(text: &str) -> Option<EventTime> {
    let text = text.trim();
    match text.len() {
        10 if !text.bytes().all(|byte| byte.is_ascii_digit()) => time::parse(&format!("{text}T00:00:00Z")),
        _ => time::parse(text).or_else(|| time::from_epoch(text.parse().ok()?)),
    }
}

/// The columns of a table.
struct Header {
    separator: char,
    /// In lower case.
    names: Vec<String>,
    /// The column of what entries are about.
    value: usize,
}

/// Names of that column; those that say more come first.
const VALUES: &[&str] = &[
    "ioc_value",
    "indicator",
    "ioc",
    "value",
    "ip",
    "ip_address",
    "ipaddress",
    "ip address",
    "cidr",
    "network",
    "dst_ip",
    "src_ip",
    "dstip",
    "ipv4",
    "ipv6",
    "address",
    "addr",
    "domain",
    "domain_name",
    "fqdn",
    "hostname",
    "host",
];

impl Header {
    /// A first line that names columns instead of an indicator.
    fn read(line: &str) -> Option<Self> {
        let separator = ['\t', ',', ';', '|'].into_iter().find(|separator| line.contains(*separator))?;
        let cells = split_cells(line, separator);
        if cells.iter().any(|cell| parse(cell).is_some()) {
            return None;
        }
        let names: Vec<String> =
            cells.iter().map(|name| name.trim().trim_start_matches('#').to_ascii_lowercase()).collect();
        let value = VALUES.iter().find_map(|wanted| names.iter().position(|name| name == wanted))?;
        Some(Self { separator, names, value })
    }
}

/// Cells of one line; a quoted cell may hold the separator, and `""` is a quote.
fn split_cells(line: &str, separator: char) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut is_quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let cell = cells.last_mut().expect("there is always a cell");
        match c {
            '"' if is_quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' => is_quoted = !is_quoted,
            c if c == separator && !is_quoted => cells.push(String::new()),
            c => cell.push(c),
        }
    }
    cells
}

/// What stands at the start of a line without a table, and the comment behind it.
fn first_cell(line: &str) -> (String, Option<String>) {
    let end = line.find([' ', '\t', ',', ';', '#']).unwrap_or(line.len());
    let (cell, rest) = line.split_at(end);
    let rest = rest.trim_matches([' ', '\t', ',', ';', '#']).trim();
    (cell.trim_matches('"').to_owned(), (!rest.is_empty()).then(|| rest.to_owned()))
}

/// An address, a network or a domain, and the forms in which lists defuse them (`192[.]0[.]2[.]1`).
pub(super) fn parse(text: &str) -> Option<Key> {
    parse_net(text).map(Key::Net).or_else(|| parse_domain(text).map(Key::Domain))
}

fn refang(text: &str) -> String {
    text.trim().trim_matches('"').replace("[.]", ".").replace("(.)", ".").replace("[:]", ":")
}

/// `address:port`, too.
pub(super) fn parse_net(text: &str) -> Option<IpNet> {
    let text = refang(text);
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(IpNet::from(address.to_canonical()));
    }
    if let Ok(net) = text.parse::<IpNet>() {
        // A whole family is a mistake in the list, and would match everything.
        return (net.prefix_len() > 0).then(|| net.trunc());
    }
    let (address, port) = text.rsplit_once(':')?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    port.parse::<u16>().ok()?;
    address.parse::<IpAddr>().ok().map(|address| IpNet::from(address.to_canonical()))
}

/// A name of two labels or more; `*.` and `.` before it say what holds of each anyway.
pub(super) fn parse_domain(text: &str) -> Option<String> {
    let text = refang(text).to_ascii_lowercase();
    let name = text.trim_start_matches("*.").trim_start_matches('.').trim_end_matches('.');
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // No top-level domain is a number, and what ends in one is an address gone wrong.
    let is_name = name.len() <= 253
        && name.split('.').count() >= 2
        && name.split('.').all(is_label)
        && name.rsplit('.').next().is_some_and(|top| top.bytes().any(|byte| byte.is_ascii_alphabetic()));
    is_name.then(|| name.to_owned())
}

/// The host of an address of the web; `Ok(None)`: what a page says of a whole site is no word against it.
pub(super) fn host_of_url(text: &str) -> Result<Option<Key>, NoUrl> {
    let text = refang(text).to_ascii_lowercase();
    let (_, rest) = text.split_once("://").filter(|(scheme, _)| scheme.len() <= 6).ok_or(NoUrl)?;
    let (authority, page) = rest.find(['/', '?', '#']).map_or((rest, ""), |at| rest.split_at(at));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if let Some(net) = parse_net(host.rsplit_once(':').map_or(host, |(ip, _)| ip)).or_else(|| parse_net(host))
    {
        return Ok(Some(Key::Net(net)));
    }
    let domain = parse_domain(host.split(':').next().unwrap_or(host)).ok_or(NoUrl)?;
    Ok(matches!(page, "" | "/").then_some(Key::Domain(domain)))
}

/// It is no address of the web.
pub(super) struct NoUrl;
