//! The comparisons of a STIX pattern. Every branch counts by itself: a pattern that needs several observations cannot be told
//! from one address, and one address is what is at hand.

/// `path = 'value'`; of `path IN ('a', 'b')` one for each value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Comparison {
    pub(super) path: String,
    /// As written; `NOT` before those that are negated.
    pub(super) operator: String,
    pub(super) value: String,
}

pub(super) fn comparisons(pattern: &str) -> Vec<Comparison> {
    let mut found = Vec::new();
    let (mut path, mut operator, mut word) = (String::new(), String::new(), String::new());
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            // What is quoted within a path is part of it: `file:hashes.'SHA-256'`.
            '\'' if word.contains(':') => {
                let quoted: String = chars.by_ref().take_while(|c| *c != '\'').collect();
                word.push_str(&quoted);
            }
            '\'' => {
                let mut value = String::new();
                while let Some(c) = chars.next() {
                    match c {
                        '\\' => value.extend(chars.next()),
                        '\'' => break,
                        c => value.push(c),
                    }
                }
                end(&mut word, &mut path, &mut operator);
                if !path.is_empty() {
                    found.push(Comparison { path: path.clone(), operator: operator.clone(), value });
                }
            }
            c if c.is_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '*' | '"') => word.push(c),
            '=' | '!' | '<' | '>' => {
                end(&mut word, &mut path, &mut operator);
                if operator.ends_with(char::is_alphabetic) {
                    operator.push(' ');
                }
                operator.push(c);
            }
            _ => end(&mut word, &mut path, &mut operator),
        }
    }
    found
}

/// A word is over: a path, or what compares.
fn end(word: &mut String, path: &mut String, operator: &mut String) {
    let word = std::mem::take(word);
    if word.contains(':') {
        *path = word;
        operator.clear();
    } else if matches!(word.as_str(), "NOT" | "IN" | "LIKE" | "MATCHES" | "ISSUBSET" | "ISSUPERSET") {
        if !operator.is_empty() {
            operator.push(' ');
        }
        operator.push_str(&word);
    }
}
