//! STIX 2.1 bundles: indicators whose patterns compare addresses, domains and hosts of URLs.

use super::Key;
use super::list::{About, Loader, host_of_url, moment, parse_domain, parse_net};
use super::pattern::{Comparison, comparisons};
use crate::source::json::Json;

/// What a comparison of a pattern is about.
enum Subject {
    Net,
    Domain,
    Url,
}

impl Loader<'_> {
    pub(super) fn stix(&mut self, objects: &[Json<'_>]) {
        for (idx, object) in objects.iter().enumerate() {
            if object.str_at(&["type"]) == Some("indicator") {
                self.indicator(idx + 1, object);
            }
        }
    }

    fn indicator(&mut self, line: usize, object: &Json<'_>) {
        if object.get("revoked").and_then(Json::bool) == Some(true) {
            return self.other("revoked");
        }
        if let Some(other) = object.str_at(&["pattern_type"]).filter(|kind| *kind != "stix") {
            return self.other(&format!("patterns of type {other}"));
        }
        let Some(pattern) = object.str_at(&["pattern"]) else {
            return self.bad(line, "an indicator without a pattern");
        };
        let texts = |key: &str| {
            let items = object.get(key).map_or(&[][..], Json::items);
            items.iter().filter_map(|item| item.str().map(str::to_owned)).collect::<Vec<_>>()
        };
        let mut labels = texts("labels");
        labels.extend(texts("indicator_types"));
        let confidence = object.get("confidence").and_then(Json::int);
        let about = About {
            description: object.str_at(&["name"]).or_else(|| object.str_at(&["description"])),
            reference: object.str_at(&["id"]),
            labels,
            confidence: confidence
                .and_then(|number| u8::try_from(number).ok())
                .filter(|number| *number <= 100),
            valid_from: object.str_at(&["valid_from"]).and_then(moment),
            valid_until: object.str_at(&["valid_until"]).and_then(moment),
        };
        let mut seen: Vec<Key> = Vec::new();
        for comparison in comparisons(pattern) {
            let Comparison { path, value, .. } = &comparison;
            let Some(subject) = subject(&comparison) else {
                self.other(&format!("{path} {}", comparison.operator));
                continue;
            };
            let key = match subject {
                Subject::Net => parse_net(value).map(Key::Net),
                Subject::Domain => parse_domain(value).map(Key::Domain),
                Subject::Url => match host_of_url(value) {
                    Ok(None) => {
                        self.other("a page of a site (url:value)");
                        continue;
                    }
                    found => found.ok().flatten(),
                },
            };
            match key {
                Some(key) if seen.contains(&key) => {}
                Some(key) => {
                    self.add(key.clone(), &about);
                    seen.push(key);
                }
                None => {
                    let shown: String = value.chars().take(60).collect();
                    self.bad(line, format!("\"{shown}\" is no value of {path}"));
                }
            }
        }
    }
}

/// None for what is not looked for.
fn subject(Comparison { path, operator, .. }: &Comparison) -> Option<Subject> {
    let is_equal = matches!(operator.as_str(), "=" | "==" | "IN");
    match path.as_str() {
        "ipv4-addr:value" | "ipv6-addr:value" if is_equal || operator == "ISSUBSET" => Some(Subject::Net),
        "domain-name:value" if is_equal => Some(Subject::Domain),
        "url:value" if is_equal => Some(Subject::Url),
        // Those that it refers to are of either kind.
        path if path.starts_with("network-traffic:") && path.ends_with("_ref.value") && is_equal => {
            Some(Subject::Net)
        }
        _ => None,
    }
}
