//! The command line of a program, as its own help has it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

/// A command with those below it.
pub(crate) struct Help {
    /// `groundtrail rule new`
    pub(crate) name: String,
    pub(crate) text: String,
    /// Long and short flags, and whether a value follows.
    flags: BTreeMap<String, bool>,
    pub(crate) below: Vec<Help>,
}

impl Help {
    pub(crate) fn of(binary: &Path, name: &str) -> Self {
        Self::read(binary, name, &[])
    }

    fn read(binary: &Path, name: &str, path: &[&str]) -> Self {
        // Without a terminal and its width, so that everybody sees the same.
        let output = Command::new(binary)
            .args(path)
            .arg("--help")
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|err| panic!("{}: {err}", binary.display()));
        assert!(output.status.success(), "{name} has no help: {}", String::from_utf8_lossy(&output.stderr));
        let text: String = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| format!("{}\n", line.trim_end()))
            .collect();
        let below = commands(&text)
            .into_iter()
            .map(|verb| Self::read(binary, &format!("{name} {verb}"), &[path, &[verb]].concat()))
            .collect();
        Self { name: name.to_owned(), flags: flags(&text), text: text.clone(), below }
    }

    fn verb(&self) -> &str {
        self.name.rsplit(' ').next().unwrap_or_default()
    }

    /// What is wrong with these words after the command's own, if anything.
    pub(crate) fn fault(&self, words: &[&str]) -> Option<String> {
        let (word, rest) = words.split_first()?;
        if let Some(flag) = word.strip_prefix('-') {
            let given = word.split('=').next().unwrap_or(word);
            if flag.is_empty() || flag == "-" {
                return self.fault(rest);
            }
            let Some(takes_value) = self.flags.get(given) else {
                return Some(format!("`{}` has no {given}", self.name));
            };
            let is_used_up = *takes_value && !word.contains('=') && !rest.is_empty();
            return self.fault(&rest[usize::from(is_used_up)..]);
        }
        if self.below.is_empty() {
            return self.fault(rest);
        }
        match self.below.iter().find(|help| help.verb() == *word) {
            Some(help) => help.fault(rest),
            // `groundtrail …`: any of them.
            None if !word.starts_with(|c: char| c.is_ascii_lowercase()) => None,
            None => Some(format!("`{}` has no command {word}", self.name)),
        }
    }

    /// Whether one of the commands right below this one has that name.
    pub(crate) fn has(&self, verb: &str) -> bool {
        self.below.iter().any(|help| help.verb() == verb)
    }
}

/// The lines of a part of the help, `Commands:` for one.
fn part<'t>(text: &'t str, title: &str) -> impl Iterator<Item = &'t str> {
    text.lines().skip_while(move |line| *line != title).skip(1).take_while(|line| !is_title(line))
}

/// `Options:` at the margin, which begins the next part.
fn is_title(line: &str) -> bool {
    !line.is_empty() && !line.starts_with(' ')
}

fn commands(text: &str) -> Vec<&str> {
    let names = part(text, "Commands:").filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect()
}

fn flags(text: &str) -> BTreeMap<String, bool> {
    let mut flags = BTreeMap::new();
    for line in part(text, "Options:") {
        let line = line.trim_start();
        if let Some((_, rest)) = line.split_once("[alias: ") {
            let names = rest.split(']').next().unwrap_or_default();
            flags.extend(names.split(", ").map(|name| (name.to_owned(), true)));
        }
        if !line.starts_with('-') || line.starts_with("- ") {
            continue;
        }
        // `-o, --output <FORM>  How to print`
        let declared = line.split("  ").next().unwrap_or(line);
        let takes_value = declared.contains(['<', '[']);
        let names = declared.split([' ', ',', '[']).filter(|word| word.starts_with('-'));
        flags.extend(names.map(|name| (name.trim_end_matches("...").to_owned(), takes_value)));
    }
    flags
}

#[test]
fn help_is_read_as_it_is_printed() {
    let text = "Do\n\nUsage: x [OPTIONS]\n\nCommands:\n  run   Follow\n        sources\n  help  Print\n\nOptions:\n  -o, --output <FORM>  How\n      \
                --all            Show   [alias: --every]\n          - json:  One\n  -h, --help  Print help\n";
    assert_eq!(commands(text), ["run"]);
    let found: Vec<_> = flags(text).into_iter().collect();
    let expect = [
        ("--all", false),
        ("--every", true),
        ("--help", false),
        ("--output", true),
        ("-h", false),
        ("-o", true),
    ];
    assert_eq!(found, expect.map(|(name, takes_value)| (name.to_owned(), takes_value)));
}
