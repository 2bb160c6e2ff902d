//! `DISSECT`: a text taken apart at fixed delimiters.

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Dissect {
    /// Before the first key.
    head: String,
    keys: Vec<Key>,
    separator: String,
    names: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
struct Key {
    /// The place in `names`. `None`: the text is skipped.
    name: Option<usize>,
    /// Where the text goes among the parts of an appended name.
    order: usize,
    /// `->`: repetitions of the delimiter belong to it.
    is_padded: bool,
    /// What ends the text. Empty: the end.
    delimiter: String,
}

impl Dissect {
    /// # Errors
    /// What is wrong with the pattern, and its place in bytes.
    pub(super) fn new(pattern: &str, separator: &str) -> Result<Self, (String, usize)> {
        let start = pattern.find("%{").ok_or_else(|| ("the pattern has no %{key}".to_owned(), 0))?;
        let mut dissect = Self {
            head: pattern[..start].into(),
            keys: Vec::new(),
            separator: separator.into(),
            names: Vec::new(),
        };
        let mut at = start;
        while at < pattern.len() {
            let inside = at + 2;
            let close =
                pattern[inside..].find('}').ok_or_else(|| ("the key is not closed by }".to_owned(), at))?;
            let delimiter_start = inside + close + 1;
            let next =
                pattern[delimiter_start..].find("%{").map_or(pattern.len(), |next| delimiter_start + next);
            let delimiter = &pattern[delimiter_start..next];
            if delimiter.is_empty() && next < pattern.len() {
                return Err(("two keys need a delimiter between them".to_owned(), delimiter_start));
            }
            let key =
                dissect.key(&pattern[inside..inside + close], delimiter).map_err(|message| (message, at))?;
            dissect.keys.push(key);
            at = next;
        }
        Ok(dissect)
    }

    fn key(&mut self, written: &str, delimiter: &str) -> Result<Key, String> {
        let (name, is_padded) = match written.strip_suffix("->") {
            Some(name) => (name, true),
            None => (written, false),
        };
        let mut order = self.keys.len();
        let name = match name.as_bytes().first() {
            None | Some(b'?') => None,
            Some(b'*' | b'&') => {
                return Err("keys that are named by the text are not taken; name them".into());
            }
            Some(b'+') => {
                let (name, place) = name[1..].split_once('/').unwrap_or((&name[1..], ""));
                if !place.is_empty() {
                    order = place.parse().map_err(|err| format!("\"{place}\" is no place: {err}"))?;
                }
                Some(name)
            }
            Some(_) => Some(name),
        };
        let name = name.map(|name| match self.names.iter().position(|known| known == name) {
            Some(place) => place,
            None => {
                self.names.push(name.into());
                self.names.len() - 1
            }
        });
        Ok(Key { name, order, is_padded, delimiter: delimiter.into() })
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// The texts by name, or nothing where the pattern does not fit.
    pub(super) fn take_apart(&self, text: &str) -> Option<Vec<String>> {
        let mut rest = text.strip_prefix(self.head.as_str())?;
        let mut parts: Vec<Vec<(usize, &str)>> = vec![Vec::new(); self.names.len()];
        for key in &self.keys {
            let (part, after) = match key.delimiter.as_str() {
                "" => (rest, ""),
                delimiter => rest.split_once(delimiter)?,
            };
            rest = after;
            while key.is_padded && !key.delimiter.is_empty() && rest.starts_with(&key.delimiter) {
                rest = &rest[key.delimiter.len()..];
            }
            if let Some(name) = key.name {
                parts[name].push((key.order, part));
            }
        }
        for part in &mut parts {
            part.sort_by_key(|(order, _)| *order);
        }
        let join = |part: Vec<(usize, &str)>| {
            part.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(&self.separator)
        };
        Some(parts.into_iter().map(join).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_taken_apart() {
        fn check(pattern: &str, text: &str, expect: Option<&[(&str, &str)]>) {
            let dissect = Dissect::new(pattern, " ").expect("a pattern");
            let got = dissect.take_apart(text);
            let got: Option<Vec<(&str, String)>> =
                got.map(|texts| dissect.names().iter().map(String::as_str).zip(texts).collect());
            let expect: Option<Vec<(&str, String)>> =
                expect.map(|pairs| pairs.iter().map(|(name, text)| (*name, text.to_string())).collect());
            assert_eq!(got, expect, "{pattern} on {text}");
        }
        let arn = "%{}::%{owner}:%{type}/%{actor}";
        check(
            arn,
            "arn:aws:iam::111122223333:user/mallory",
            Some(&[("owner", "111122223333"), ("type", "user"), ("actor", "mallory")]),
        );
        check(
            arn,
            "arn:aws:sts::1:assumed-role/web/i-0",
            Some(&[("owner", "1"), ("type", "assumed-role"), ("actor", "web/i-0")]),
        );
        check(arn, "arn:aws:iam::111122223333:root", None);
        check("[%{a}] %{?skip} %{b}", "[x] y z w", Some(&[("a", "x"), ("b", "z w")]));
        check("[%{a}]", "x]", None);
        check("%{a->} %{b}", "x    y", Some(&[("a", "x"), ("b", "y")]));
        check("%{+n/2},%{+n/1},%{x}", "a,b,c", Some(&[("n", "b a"), ("x", "c")]));
        check("%{a}é%{b}", "1é2", Some(&[("a", "1"), ("b", "2")]));
    }

    #[test]
    fn bad_patterns_say_where() {
        let fault = |pattern| Dissect::new(pattern, "").map(|_| ()).map_err(|(_, at)| at);
        assert_eq!(fault("no key"), Err(0));
        assert_eq!(fault("a %{b"), Err(2));
        assert_eq!(fault("%{a}%{b}"), Err(4));
        assert_eq!(fault("%{*a} %{&a}"), Err(0));
    }
}
