//! MISP: events with their attributes and objects, alone, in lists, or as its searches answer.

use super::Key;
use super::list::{About, Loader, host_of_url, moment, parse, parse_domain, parse_net};
use crate::source::json::Json;

/// MISP's own tags of how sure somebody is.
const CONFIDENCE: &[(&str, u8)] = &[
    ("completely-confident", 100),
    ("usually-confident", 75),
    ("fairly-confident", 50),
    ("rarely-confident", 25),
    ("unconfident", 0),
];

impl Loader<'_> {
    /// Whether it is MISP's at all. A list of values is read elsewhere.
    pub(super) fn misp(&mut self, json: &Json<'_>) -> bool {
        let response = json.get("response");
        let events = match response.unwrap_or(json) {
            list @ Json::List(_) => list.items(),
            one => std::slice::from_ref(one),
        };
        let is_event = |one: &Json<'_>| one.get("Event").is_some() || one.get("Attribute").is_some();
        if events.is_empty() || !events.iter().all(is_event) {
            return false;
        }
        let mut line = 0;
        for event in events {
            let about = event.get("Event").unwrap_or(event);
            let labels = labels(about);
            let objects = about.get("Object").map_or(&[][..], Json::items);
            let in_objects = objects.iter().filter_map(|object| object.get("Attribute"));
            let lists = about.get("Attribute").into_iter().chain(in_objects);
            for attribute in lists.flat_map(Json::items) {
                line += 1;
                self.attribute(line, attribute, &labels);
            }
        }
        true
    }

    fn attribute(&mut self, line: usize, attribute: &Json<'_>, of_event: &[String]) {
        let kind = attribute.str_at(&["type"]).unwrap_or("without a type");
        let Some(value) = attribute.str_at(&["value"]) else {
            return self.bad(line, "an attribute without a value");
        };
        // `ip-dst|port` and `domain|ip` hold both.
        let first = value.split('|').next().unwrap_or(value);
        let key = match kind {
            "ip-src" | "ip-dst" | "ip-src|port" | "ip-dst|port" => parse_net(first).map(Key::Net),
            "domain" | "hostname" | "domain|ip" | "hostname|port" => parse_domain(first).map(Key::Domain),
            "url" => match host_of_url(value) {
                Ok(None) => return self.other("a page of a site (url)"),
                found => found.ok().flatten(),
            },
            _ => return self.other(kind),
        };
        if attribute.get("to_ids").and_then(Json::bool) == Some(false) {
            return self.other("not meant for detection (to_ids)");
        }
        if attribute.get("deleted").and_then(Json::bool) == Some(true) {
            return self.other("deleted");
        }
        let Some(key) = key else {
            let shown: String = value.chars().take(60).collect();
            return self.bad(line, format!("\"{shown}\" is no {kind}"));
        };
        let mut labels: Vec<String> = of_event.to_vec();
        labels.extend(self::labels(attribute));
        let sure = |label: &String| {
            let word = label.strip_prefix("misp:confidence-level=")?.trim_matches('"');
            CONFIDENCE.iter().find(|(name, _)| *name == word).map(|(_, confidence)| *confidence)
        };
        let about = About {
            description: attribute.str_at(&["comment"]),
            reference: attribute.str_at(&["uuid"]),
            confidence: labels.iter().rev().find_map(sure),
            valid_until: attribute.str_at(&["valid_until"]).and_then(moment),
            valid_from: None,
            labels,
        };
        self.add(key, &about);
        if let ("domain|ip", Some((_, second))) = (kind, value.split_once('|'))
            && let Some(key) = parse(second)
        {
            self.add(key, &about);
        }
    }
}

fn labels(of: &Json<'_>) -> Vec<String> {
    let tags = of.get("Tag").map_or(&[][..], Json::items);
    tags.iter().filter_map(|tag| tag.str_at(&["name"]).map(str::to_owned)).collect()
}
