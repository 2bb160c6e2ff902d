//! Indicator lists: addresses and networks that somebody calls hostile, and who said so.
//!
//! Formats: plain text (one address or network a line, `#` and `;` start comments), CSV and TSV with a column of
//! addresses, STIX 2.1 bundles, MISP lists and events, and ThreatFox exports. What is no address is passed over where
//! the format allows other indicators, and rejected with its line where it does not.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rustc_hash::FxHashMap;

use crate::source::json::{self, Arena, Json};
use crate::source::{FieldSink, Scalar};

/// One entry of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indicator {
    pub net: IpNet,
    /// The list's name in the configuration.
    pub provider: Arc<str>,
    /// What the list says about it: a name, a malware family.
    pub description: Option<Arc<str>>,
    /// The list's own id of the entry.
    pub reference: Option<Arc<str>>,
}

/// An entry that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadEntry {
    /// From 1. In a JSON list the entry's number.
    pub line: usize,
    pub reason: String,
}

/// All lists together, by prefix.
#[derive(Debug, Clone, Default)]
pub struct Indicators {
    entries: Vec<Indicator>,
    /// Per prefix length in use, longest first: network → entries. A lookup is one probe per length that occurs.
    v4: BTreeMap<std::cmp::Reverse<u8>, FxHashMap<Ipv4Net, Vec<u32>>>,
    v6: BTreeMap<std::cmp::Reverse<u8>, FxHashMap<Ipv6Net, Vec<u32>>>,
}

/// What a list held.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    pub n_entries: usize,
    /// Indicators of other kinds: domains, hashes, URLs.
    pub n_other: usize,
    pub bad: Vec<BadEntry>,
}

impl Indicators {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Reads one list, whatever its format. Never fails as a whole: what cannot be read is in the answer.
    pub fn load(&mut self, text: &str, provider: &str) -> Loaded {
        let mut loader = Loader { into: self, provider: provider.into(), loaded: Loaded::default() };
        let text = text.trim_start_matches('\u{feff}');
        match text.trim_start().as_bytes().first() {
            Some(b'{' | b'[') => loader.json(text),
            _ => loader.lines(text),
        }
        loader.loaded
    }

    fn insert(&mut self, indicator: Indicator) {
        let at = self.entries.len() as u32;
        match indicator.net.trunc() {
            IpNet::V4(net) => {
                let held =
                    self.v4.entry(std::cmp::Reverse(net.prefix_len())).or_default().entry(net).or_default();
                held.push(at);
            }
            IpNet::V6(net) => {
                let held =
                    self.v6.entry(std::cmp::Reverse(net.prefix_len())).or_default().entry(net).or_default();
                held.push(at);
            }
        }
        self.entries.push(indicator);
    }

    /// Every entry that covers the address: the narrowest network first, and inside one in the order loaded.
    pub fn matches(&self, address: IpAddr) -> Vec<&Indicator> {
        let mut found: Vec<&u32> = Vec::new();
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                for (std::cmp::Reverse(len), nets) in &self.v4 {
                    let net = Ipv4Net::new(v4, *len).map(|net| net.trunc()).ok();
                    found.extend(net.and_then(|net| nets.get(&net)).into_iter().flatten());
                }
            }
            IpAddr::V6(v6) => {
                for (std::cmp::Reverse(len), nets) in &self.v6 {
                    let net = Ipv6Net::new(v6, *len).map(|net| net.trunc()).ok();
                    found.extend(net.and_then(|net| nets.get(&net)).into_iter().flatten());
                }
            }
        }
        found.into_iter().map(|at| &self.entries[*at as usize]).collect()
    }
}

/// An event's address that is on a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The field it stood in: `destination.ip`.
    pub field: &'static str,
    pub address: IpAddr,
    pub indicators: Vec<Indicator>,
}

/// Writes `threat.*`. The indicator proper is the first hit's narrowest; every match is an enrichment.
pub fn put_hits(hits: &[Hit], sink: &mut dyn FieldSink) {
    let mut providers: Vec<&str> = Vec::new();
    for (at, hit) in hits.iter().enumerate() {
        let address = hit.address.to_string();
        if at == 0 {
            let kind = if hit.address.is_ipv4() { "ipv4-addr" } else { "ipv6-addr" };
            sink.put("threat.indicator.type", Scalar::Str(kind));
            if let Some(text) = hit.indicators.first().and_then(|indicator| indicator.description.as_deref())
            {
                sink.put("threat.indicator.description", Scalar::Str(text));
            }
        }
        sink.put("threat.indicator.ip", Scalar::Str(&address));
        for indicator in &hit.indicators {
            if !providers.contains(&indicator.provider.as_ref()) {
                providers.push(&indicator.provider);
                sink.put("threat.indicator.provider", Scalar::Str(&indicator.provider));
            }
            sink.put("threat.enrichments.matched.field", Scalar::Str(hit.field));
            sink.put("threat.enrichments.matched.atomic", Scalar::Str(&address));
            sink.put("threat.enrichments.matched.type", Scalar::Str("indicator_match_rule"));
            if let Some(reference) = &indicator.reference {
                sink.put("threat.enrichments.matched.id", Scalar::Str(reference));
            }
        }
    }
}

struct Loader<'i> {
    into: &'i mut Indicators,
    provider: Arc<str>,
    loaded: Loaded,
}

impl Loader<'_> {
    fn add(&mut self, net: IpNet, description: Option<&str>, reference: Option<&str>) {
        let description = description.filter(|text| !text.is_empty()).map(Into::into);
        let reference = reference.filter(|text| !text.is_empty()).map(Into::into);
        self.into.insert(Indicator { net, provider: Arc::clone(&self.provider), description, reference });
        self.loaded.n_entries += 1;
    }

    fn bad(&mut self, line: usize, reason: impl Into<String>) {
        self.loaded.bad.push(BadEntry { line, reason: reason.into() });
    }

    fn lines(&mut self, text: &str) {
        let mut table: Option<(char, usize)> = None;
        for (idx, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) || line.starts_with("//") {
                continue;
            }
            if table.is_none()
                && let Some(found) = table_header(line)
            {
                table = Some(found);
                continue;
            }
            let (cell, rest) = match table {
                Some((separator, column)) => {
                    let cells = split_cells(line, separator);
                    match cells.get(column) {
                        Some(cell) => (cell.clone(), None),
                        None => {
                            self.bad(idx + 1, format!("no column {} in this line", column + 1));
                            continue;
                        }
                    }
                }
                None => first_cell(line),
            };
            match parse_net(&cell) {
                Some(net) => self.add(net, rest.as_deref(), None),
                None => {
                    let shown: String = cell.chars().take(60).collect();
                    self.bad(idx + 1, format!("\"{shown}\" is no address or network"));
                }
            }
        }
    }

    fn json(&mut self, text: &str) {
        match Json::parse(text, &Arena::new()) {
            Ok(json) if json.get("objects").is_some() => self.stix(&json),
            Ok(json) if json.get("Event").is_some() => self.misp_event(&json),
            Ok(json) if json.get("list").is_some() => {
                self.list(json.get("list").map_or(&[][..], Json::items))
            }
            Ok(json @ Json::List(_)) => self.list(json.items()),
            Ok(json) => self.threatfox(&json),
            // One JSON document a line, perhaps.
            Err(error) => {
                let is_ndjson = text.lines().nth(1).is_some()
                    && text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('{'));
                if !is_ndjson {
                    self.bad(error.line(), format!("no JSON: {error}"));
                    return;
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

    /// A list of strings or of objects that hold one.
    fn list(&mut self, items: &[Json<'_>]) {
        for (idx, item) in items.iter().enumerate() {
            self.entry(idx + 1, item);
        }
    }

    fn entry(&mut self, line: usize, item: &Json<'_>) {
        let keys = ["ip", "address", "value", "ioc_value", "ioc", "indicator", "cidr", "ip_address"];
        let text = item.str().or_else(|| keys.iter().find_map(|key| item.str_at(&[key])));
        let description = ["malware_printable", "malware", "description", "comment"];
        let description = description.iter().find_map(|key| item.str_at(&[key]));
        match text.map(|text| (text, parse_net(text))) {
            Some((_, Some(net))) => self.add(net, description, item.str_at(&["id"])),
            // Other kinds are fine in a list that says which kind each entry is.
            Some(_) if item.is_object() => self.loaded.n_other += 1,
            Some((text, None)) => {
                let shown: String = text.chars().take(60).collect();
                self.bad(line, format!("\"{shown}\" is no address or network"));
            }
            None => self.bad(line, "an entry without an address"),
        }
    }

    /// ThreatFox: id → list of indicators. Its API wraps the list in `data`.
    fn threatfox(&mut self, json: &Json<'_>) {
        let mut line = 0;
        if let Some(data) = json.get("data") {
            return self.list(data.items());
        }
        for (id, entry) in json.entries() {
            let single = std::slice::from_ref(entry);
            let entries = if entry.items().is_empty() { single } else { entry.items() };
            for entry in entries {
                line += 1;
                let value = entry.str_at(&["ioc_value"]).or_else(|| entry.str_at(&["ioc"]));
                match value {
                    Some(value) => match parse_net(value) {
                        Some(net) => {
                            let malware =
                                entry.str_at(&["malware_printable"]).or_else(|| entry.str_at(&["malware"]));
                            self.add(net, malware, Some(id));
                        }
                        None => self.loaded.n_other += 1,
                    },
                    None => self.bad(
                        line,
                        format!("\"{}\" holds no indicator", id.chars().take(60).collect::<String>()),
                    ),
                }
            }
        }
    }

    fn misp_event(&mut self, json: &Json<'_>) {
        let Some(event) = json.get("Event") else { return };
        let objects = event.get("Object").map_or(&[][..], Json::items);
        let in_objects = objects.iter().filter_map(|object| object.get("Attribute"));
        let lists = event.get("Attribute").into_iter().chain(in_objects);
        for (idx, attribute) in lists.flat_map(Json::items).enumerate() {
            let kind = attribute.str_at(&["type"]).unwrap_or_default();
            // `ip-dst|port` holds both.
            let value = attribute.str_at(&["value"]).map(|value| value.split('|').next().unwrap_or(value));
            match value.and_then(parse_net) {
                Some(net) if kind.starts_with("ip-") => {
                    self.add(net, attribute.str_at(&["comment"]), attribute.str_at(&["uuid"]));
                }
                None if kind.starts_with("ip-") => self.bad(idx + 1, "an ip attribute without an address"),
                _ => self.loaded.n_other += 1,
            }
        }
    }

    fn stix(&mut self, json: &Json<'_>) {
        for (idx, object) in json.get("objects").map_or(&[][..], Json::items).iter().enumerate() {
            if object.str_at(&["type"]) != Some("indicator") {
                continue;
            }
            let Some(pattern) = object.str_at(&["pattern"]) else {
                self.bad(idx + 1, "an indicator without a pattern");
                continue;
            };
            let mut seen: Vec<IpNet> = Vec::new();
            for (path, value) in stix_comparisons(pattern) {
                let is_address = path.starts_with("ipv4-addr:value")
                    || path.starts_with("ipv6-addr:value")
                    || (path.starts_with("network-traffic:") && path.ends_with("_ref.value"));
                match parse_net(&value).filter(|_| is_address) {
                    Some(net) if seen.contains(&net) => {}
                    Some(net) => {
                        seen.push(net);
                        self.add(net, object.str_at(&["name"]), object.str_at(&["id"]));
                    }
                    None if is_address => {
                        let shown: String = value.chars().take(60).collect();
                        self.bad(idx + 1, format!("\"{shown}\" is no address or network"));
                    }
                    None => self.loaded.n_other += 1,
                }
            }
        }
    }
}

/// `path = 'value'`, `path IN ('a', 'b')` and `ISSUBSET` of a STIX pattern. Every branch counts by itself: a pattern
/// that needs several observations cannot be told from one address, and one address is what is at hand.
fn stix_comparisons(pattern: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut path = String::new();
    let mut word = String::new();
    let mut is_negated = false;
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                let mut value = String::new();
                while let Some(c) = chars.next() {
                    match c {
                        '\\' => value.extend(chars.next()),
                        '\'' => break,
                        c => value.push(c),
                    }
                }
                if !is_negated && !path.is_empty() {
                    found.push((path.clone(), value));
                }
            }
            c if c.is_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '*' | '"') => word.push(c),
            c => {
                if word.contains(':') {
                    path = std::mem::take(&mut word);
                    is_negated = false;
                }
                is_negated |= c == '!' || word == "NOT";
                word.clear();
            }
        }
    }
    found
}

/// A first line that names columns instead of an address.
fn table_header(line: &str) -> Option<(char, usize)> {
    let separator = ['\t', ',', ';', '|'].into_iter().find(|separator| line.contains(*separator))?;
    let names = split_cells(line, separator);
    let is_address = |name: &String| {
        let name = name.trim().to_ascii_lowercase();
        matches!(
            name.as_str(),
            "ip" | "ip_address"
                | "ipaddress"
                | "ip address"
                | "address"
                | "addr"
                | "dst_ip"
                | "src_ip"
                | "cidr"
                | "network"
                | "ioc_value"
                | "ioc"
                | "indicator"
                | "value"
                | "ipv4"
                | "ipv6"
                | "dstip"
                | "host"
        )
    };
    if names.iter().any(|name| parse_net(name).is_some()) {
        return None;
    }
    Some((separator, names.iter().position(is_address)?))
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

/// The address at the start of a line without a table, and the comment behind it.
fn first_cell(line: &str) -> (String, Option<String>) {
    let end = line.find([' ', '\t', ',', ';', '#']).unwrap_or(line.len());
    let (cell, rest) = line.split_at(end);
    let rest = rest.trim_matches([' ', '\t', ',', ';', '#']).trim();
    (cell.trim_matches('"').to_owned(), (!rest.is_empty()).then(|| rest.to_owned()))
}

/// An address, a network, `address:port`, and the forms in which lists defuse them (`192[.]0[.]2[.]1`).
fn parse_net(text: &str) -> Option<IpNet> {
    let text = text.trim().trim_matches('"').replace("[.]", ".").replace("[:]", ":");
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
    address.parse::<IpAddr>().ok().map(IpNet::from)
}

#[cfg(test)]
mod tests;
