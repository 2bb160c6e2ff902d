//! Commands that pages name: each is one of the programs', with flags that it takes.

use std::fs;
use std::path::PathBuf;

use harness::bins;
use pulldown_cmark::{CodeBlockKind, CowStr, Event, Options, Parser, Tag, TagEnd};

use crate::help::Help;

/// A piece of code on a page.
pub(crate) struct Code {
    /// `docs/install.md:17`
    pub(crate) place: String,
    /// What stands behind the fence; nothing for code inside a sentence.
    pub(crate) kind: Option<String>,
    pub(crate) text: String,
}

/// README and everything in docs that is written by hand.
pub(crate) fn pages() -> Vec<(String, String)> {
    let root = bins::workspace();
    let mut files = vec![root.join("README.md")];
    let mut folders = vec![root.join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|suffix| suffix == "md") => files.push(path),
                false => {}
            }
        }
    }
    files.sort();
    let name = |file: &PathBuf| file.strip_prefix(root).unwrap().display().to_string();
    files.iter().map(|file| (name(file), fs::read_to_string(file).unwrap())).collect()
}

/// All code of a page.
pub(crate) fn code(page: &str, text: &str) -> Vec<Code> {
    let mut found: Vec<Code> = Vec::new();
    let mut is_open = false;
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        let place = || format!("{page}:{}", text[..range.start].matches('\n').count() + 1);
        match event {
            Event::Start(Tag::CodeBlock(kind)) => {
                let kind = match kind {
                    CodeBlockKind::Fenced(kind) => kind,
                    CodeBlockKind::Indented => CowStr::Borrowed(""),
                };
                found.push(Code { place: place(), kind: Some(kind.into_string()), text: String::new() });
                is_open = true;
            }
            Event::End(TagEnd::CodeBlock) => is_open = false,
            Event::Text(part) if is_open => found.last_mut().unwrap().text.push_str(&part),
            Event::Code(part) => found.push(Code { place: place(), kind: None, text: part.into_string() }),
            _ => {}
        }
    }
    found
}

/// The programs that pages may name.
struct Programs {
    correlator: Help,
    sensor: Help,
    xtask: Help,
}

impl Programs {
    /// What is wrong with a line of a shell, where it calls one of ours.
    fn faults(&self, line: &str) -> Vec<String> {
        // Inside of quotes nothing is cut: queries hold pipes.
        let line = unquoted(line.split(" #").next().unwrap_or(line).trim_start_matches("$ "));
        let calls = line.split(['|', ';', '(', ')', '`', '>', '<']).flat_map(|part| part.split("&&"));
        calls.filter_map(|call| self.fault(&call.split_whitespace().collect::<Vec<_>>())).collect()
    }

    fn fault(&self, words: &[&str]) -> Option<String> {
        let (first, rest) = words.split_first()?;
        match *first {
            "sudo" => match rest.split_first() {
                Some((&"-u", rest)) => self.fault(rest.get(1..)?),
                _ => self.fault(rest),
            },
            "cargo" if rest.first() == Some(&"xtask") => self.xtask.fault(&rest[1..]),
            word if is_assignment(word) => self.fault(rest),
            word => match word.rsplit('/').next() {
                Some("groundtrail") => self.correlator.fault(rest),
                Some("groundtrail-sensor") => self.sensor.fault(rest),
                // `ca issue --host … --csr HOST.csr`, where a sentence has named the program.
                _ => self.fault_of_short(words),
            },
        }
    }

    fn fault_of_short(&self, words: &[&str]) -> Option<String> {
        let programs = [&self.correlator, &self.sensor, &self.xtask];
        let theirs: Vec<&&Help> = programs.iter().filter(|help| help.has(words[0])).collect();
        let has_flag = words.iter().any(|word| word.starts_with("--"));
        if theirs.is_empty() || !has_flag {
            return None;
        }
        let faults: Vec<String> = theirs.iter().filter_map(|help| help.fault(words)).collect();
        (faults.len() == theirs.len()).then(|| faults.join("; "))
    }
}

/// The line with what is quoted reduced to one word.
fn unquoted(line: &str) -> String {
    let mut out = String::new();
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (None, '\'' | '"') => {
                quote = Some(c);
                out.push('Q');
            }
            (None, c) => out.push(c),
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
        }
    }
    out
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    })
}

#[test]
fn every_command_that_a_page_names_is_there_with_its_flags() {
    let programs = Programs {
        correlator: Help::of(bins::groundtrail(), "groundtrail"),
        sensor: Help::of(bins::sensor(), "groundtrail-sensor"),
        xtask: Help::of(bins::xtask(), "cargo xtask"),
    };
    let mut faults = Vec::new();
    let mut n_looked_at = 0;
    for (page, text) in pages() {
        for code in code(&page, &text) {
            if !matches!(code.kind.as_deref().map(first_word), None | Some("sh" | "bash" | "console")) {
                continue;
            }
            // What goes on in the next line is one command.
            for line in code.text.replace("\\\n", " ").lines() {
                n_looked_at += u32::from(line.contains("groundtrail") || line.contains("xtask"));
                faults.extend(
                    programs.faults(line).into_iter().map(|fault| format!("{}: {fault}: {line}", code.place)),
                );
            }
        }
    }
    assert!(n_looked_at > 100, "{n_looked_at} commands are too few to be all");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

pub(crate) fn first_word(kind: &str) -> &str {
    kind.split([' ', ',']).next().unwrap_or_default()
}

#[test]
fn a_command_that_is_not_there_is_found() {
    let programs = Programs {
        correlator: Help::of(bins::groundtrail(), "groundtrail"),
        sensor: Help::of(bins::sensor(), "groundtrail-sensor"),
        xtask: Help::of(bins::xtask(), "cargo xtask"),
    };
    let check = |line: &str, expect: &[&str]| assert_eq!(programs.faults(line), expect, "{line}");
    check("groundtrail check my-rules/   # every mistake at its place --nonsense", &[]);
    check("sudo -u groundtrail-sensor groundtrail-sensor doctor | grep -E 'certificates|correlator'", &[]);
    check("dpkg -i groundtrail_0.1.0.deb && systemctl restart groundtrail --now", &[]);
    check("groundtrail query -e 'FROM x | WHERE y --z' --events trail/", &[]);
    check("groundtrail --config x.toml chek", &["`groundtrail` has no command chek"]);
    check("groundtrail config show --orgin", &["`groundtrail config show` has no --orgin"]);
    check(
        "A=1 /usr/bin/groundtrail-sensor run --stdout | groundtrail run --sensr -",
        &["`groundtrail run` has no --sensr"],
    );
    check("cargo xtask dist --tried", &["`cargo xtask dist` has no --tried"]);
    check("ca issue --host … --cert HOST.csr", &["`groundtrail ca issue` has no --cert"]);
}
