//! Where in its file a fault of the configuration stands, with the line and a mark below it.

use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::ConfigError;

/// What is wrong, the place as `path:line:column`, and the line.
pub(super) fn point(path: &Path, text: &str, err: &ConfigError) -> String {
    let message = match err {
        // Its own text tells the place once more.
        ConfigError::Syntax(err) => err.message().to_owned(),
        other => other.to_string(),
    };
    let path = path.display();
    let Some(span) = span(text, err) else { return format!("{message}\n --> {path}") };
    let start = span.start.min(text.len());
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let number = text[..start].matches('\n').count() + 1;
    let column = text[line_start..start].chars().count();
    let width = text[start..span.end.clamp(start, line_end)].chars().count().max(1);
    let line = text[line_start..line_end].replace(|c: char| c.is_control(), " ");
    let margin = " ".repeat(number.to_string().len());
    let (gap, mark) = (" ".repeat(column), "^".repeat(width));
    let column = column + 1;
    format!(
        "{message}\n{margin}--> {path}:{number}:{column}\n{margin} |\n{number} | {line}\n{margin} | {gap}{mark}"
    )
}

fn span(text: &str, err: &ConfigError) -> Option<Range<usize>> {
    match err {
        ConfigError::Syntax(err) => err.span(),
        ConfigError::UnknownKey { key, .. } => {
            let section = key.split('.').next().unwrap_or(key);
            let is_known = super::KEYS.iter().any(|known| known.split('.').next() == Some(section));
            find(text, if is_known { key } else { section }, false)
        }
        ConfigError::Value { key, .. } => find(text, key, true),
        ConfigError::Read { .. } | ConfigError::InFile(_) => None,
    }
}

/// The key, or its value; where it is not in the file, the section that it would stand in.
fn find(text: &str, key: &str, is_value: bool) -> Option<Range<usize>> {
    let (section, name) = key.split_once('.').map_or((key, None), |(section, name)| (section, Some(name)));
    let document = DeTable::parse(text).ok()?;
    let (section, inner) = document.get_ref().iter().find(|(held, _)| held.get_ref() == section)?;
    let found = match (inner.get_ref(), name) {
        (DeValue::Table(table), Some(name)) => table.iter().find(|(held, _)| held.get_ref() == name),
        _ => None,
    };
    Some(match found {
        Some((_, value)) if is_value => value.span(),
        Some((key, _)) => key.span(),
        None => section.span(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn shown(text: &str) -> String {
        let err = Config::parse(text).expect_err(text);
        point(Path::new("sensor.toml"), text, &err)
    }

    #[test]
    fn each_kind_of_fault_is_shown_where_it_stands() {
        assert_eq!(
            shown("[host]\nname = \"x\"\n\n[output]\npaht = \"x\"\n"),
            "unknown key \"output.paht\": did you mean \"output.path\"?\n --> sensor.toml:5:1\n  |\n5 | paht = \"x\"\n  | ^^^^"
        );
        assert_eq!(
            shown("[outptu]\nto = \"file\"\n").lines().skip(1).collect::<Vec<_>>(),
            [" --> sensor.toml:1:2", "  |", "1 | [outptu]", "  |  ^^^^^^"],
        );
        assert_eq!(
            shown("[limits]\npoll_ms = 0\n").lines().skip(1).collect::<Vec<_>>(),
            [" --> sensor.toml:2:11", "  |", "2 | poll_ms = 0", "  |           ^"],
        );
        assert_eq!(
            shown("[limits]\nring_bytes = \"many\"\n").lines().skip(1).collect::<Vec<_>>(),
            [" --> sensor.toml:2:14", "  |", "2 | ring_bytes = \"many\"", "  |              ^^^^^^"],
        );
        assert!(shown("[host\n").contains("--> sensor.toml:1:"), "{}", shown("[host\n"));
        // What is missing is told of the section that lacks it.
        assert!(shown("[output]\nto = \"file\"\n").contains("--> sensor.toml:1:2"));
    }

    #[test]
    fn a_file_names_itself() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s.toml");
        std::fs::write(&path, "[zebra]\n").expect("written");
        let said = Config::load(&path).expect_err("wrong").to_string();
        assert!(said.contains("unknown key \"zebra\"") && said.contains("s.toml:1:2"), "{said}");
    }
}
