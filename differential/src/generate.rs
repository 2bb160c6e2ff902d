//! Events near a rule: each of its fields is absent, has one of the rule's own values, or one that just misses.

use rsigma_parser::{Detection, Modifier, SigmaRule, SigmaValue};
use serde_json::{Map, Value as Json};

pub struct Generator {
    /// By field: values worth trying.
    fields: Vec<(String, Vec<Json>)>,
    random: u64,
}

impl Generator {
    /// None: the rule asks for words without a field.
    pub fn new(rule: &SigmaRule) -> Option<Self> {
        let mut fields: Vec<(String, Vec<Json>)> = Vec::new();
        let mut names: Vec<&String> = rule.detection.named.keys().collect();
        names.sort();
        for name in names {
            collect(&rule.detection.named[name], &mut fields)?;
        }
        for (_, values) in &mut fields {
            values.push(Json::String("other".to_owned()));
            values.push(Json::String(String::new()));
        }
        let seed = rule.title.bytes().fold(7_u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
        Some(Self { fields, random: seed })
    }

    fn below(&mut self, n: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) as usize % n.max(1)
    }

    pub fn event(&mut self) -> Json {
        // Of many fields, one absent in each event would leave no match to see.
        let rarely = 2 * self.fields.len() + 2;
        let mut event = Map::new();
        for place in 0..self.fields.len() {
            if self.below(rarely) == 0 {
                continue;
            }
            let n_values = self.fields[place].1.len();
            // The last two are near to nothing.
            let all = self.below(4) == 0;
            let chosen = self.below(if all { n_values } else { n_values - 2 });
            let (name, values) = &self.fields[place];
            let value = values[chosen].clone();
            event.insert(name.clone(), value);
        }
        Json::Object(event)
    }
}

fn collect(detection: &Detection, fields: &mut Vec<(String, Vec<Json>)>) -> Option<()> {
    match detection {
        Detection::AllOf(items) => {
            for item in items {
                let name = item.field.name.clone()?;
                let place = fields.iter().position(|(held, _)| *held == name).unwrap_or_else(|| {
                    fields.push((name, Vec::new()));
                    fields.len() - 1
                });
                let has_all = item.field.has_modifier(Modifier::All);
                let texts: Vec<String> = item.values.iter().filter_map(|value| text(value, &item.field.modifiers)).collect();
                let values = &mut fields[place].1;
                if has_all {
                    values.push(Json::String(texts.join(" - ")));
                }
                for one in &texts {
                    values.extend(around(one).into_iter().map(Json::String));
                }
                for value in &item.values {
                    match value {
                        SigmaValue::Integer(int) => values.extend([*int, int.saturating_add(1)].map(Json::from)),
                        SigmaValue::Bool(bool) => values.extend([*bool, !*bool].map(Json::from)),
                        _ => {}
                    }
                }
            }
            Some(())
        }
        Detection::AnyOf(parts) => parts.iter().try_for_each(|part| collect(part, fields)),
        _ => None,
    }
}

/// Whether `endswith` or `startswith` is asked of a value with a wildcard in it.
pub fn has_inner_wildcard(rule: &SigmaRule) -> bool {
    fn holds(detection: &Detection) -> bool {
        match detection {
            Detection::AllOf(items) => items.iter().any(|item| {
                let is_at_end = [Modifier::EndsWith, Modifier::StartsWith].into_iter().any(|end| item.field.has_modifier(end));
                let is_wild = |value: &SigmaValue| {
                    matches!(value, SigmaValue::String(text) if text.original.trim_matches('*').contains(['*', '?']))
                };
                is_at_end && item.values.iter().any(is_wild)
            }),
            Detection::AnyOf(parts) => parts.iter().any(holds),
            _ => false,
        }
    }
    rule.detection.named.values().any(holds)
}

/// A text that the value most likely fits.
fn text(value: &SigmaValue, modifiers: &[Modifier]) -> Option<String> {
    let SigmaValue::String(text) = value else { return None };
    if modifiers.contains(&Modifier::Re) {
        // Without its syntax an expression is close to what it fits.
        return Some(text.original.chars().filter(|c| !"\\^$()[]{}|?*+".contains(*c)).collect());
    }
    if modifiers.contains(&Modifier::Cidr) {
        return text.original.split('/').next().map(str::to_owned);
    }
    let mut out = String::new();
    let mut chars = text.original.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.peek() {
                Some('*' | '?' | '\\') => out.extend(chars.next()),
                _ => out.push('\\'),
            },
            '*' => out.push_str("xy"),
            '?' => out.push('z'),
            c => out.push(c),
        }
    }
    Some(out)
}

fn around(text: &str) -> Vec<String> {
    let mut short = text.to_owned();
    short.pop();
    vec![
        text.to_owned(),
        format!("a {text}"),
        format!("{text} b"),
        format!("a {text} b"),
        text.to_uppercase(),
        short,
        text.replace('/', "\\"),
    ]
}
