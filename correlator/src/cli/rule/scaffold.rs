//! A first rule of each type: it loads, its cases pass, and every line of it is there to be replaced.

use std::fs::File;
use std::io::{self, Read};

use rules::rule::Kind;

/// A random UUID (version 4).
pub(super) fn new_id() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = crate::hex::hex(&bytes);
    Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

pub(super) fn text(name: &str, id: &str, kind: Kind) -> String {
    let shape = Shape::of(kind);
    // A name is any text, so it is written as TOML writes texts.
    let name = toml::Value::from(name);
    format!(
        r#"[metadata]
maturity = "production"

[rule]
name = {name}
rule_id = "{id}"
description = "What happened, in a sentence, and why it matters."
type = "{kind}"
language = "{language}"
index = ["logs-endpoint.events.process-*"]
severity = "medium"       # low, medium, high, critical
risk_score = 47
tags = ["OS: Linux"]
{more}query = '''
{query}
'''
{tables}
# Events that must fire and events near them that must not, one JSON document a line.
[[tests]]
name = "fires"
expect = 1
events = '''
{fires}
'''

[[tests]]
name = "stays quiet"
expect = 0
events = '''
{quiet}
'''
"#,
        kind = kind.as_str(),
        language = shape.language,
        more = shape.more,
        query = shape.query,
        tables = shape.tables,
        fires = events(shape.fires),
        quiet = events(shape.quiet),
    )
}

struct Shape {
    language: &'static str,
    /// Further keys of the rule.
    more: &'static str,
    query: &'static str,
    /// Tables of the type.
    tables: &'static str,
    /// Programs that start one after the other, a second apart.
    fires: &'static [&'static str],
    quiet: &'static [&'static str],
}

impl Shape {
    const fn of(kind: Kind) -> Self {
        let one = Self {
            language: "kuery",
            more: "",
            query: "event.category:process and event.type:start and process.name:whoami",
            tables: "",
            fires: &["whoami"],
            quiet: &["ls"],
        };
        match kind {
            Kind::Eql => Self {
                language: "eql",
                query: "sequence by host.id with maxspan=1m\n  [process where event.type == \"start\" and process.name == \"whoami\"]\n  \
                        [process where event.type == \"start\" and process.name in (\"curl\", \"wget\")]",
                fires: &["whoami", "curl"],
                quiet: &["curl", "whoami"],
                ..one
            },
            Kind::Esql => Self {
                language: "esql",
                more: "from = \"now-9m\"\n",
                query: "from logs-endpoint.events.process-*\n| where process.name == \"whoami\"\n| stats n = count(*) by host.id\n| where n >= 3",
                fires: &["whoami", "whoami", "whoami"],
                quiet: &["whoami", "whoami", "ls"],
                ..one
            },
            Kind::Threshold => Self {
                more: "from = \"now-9m\"\n",
                tables: "\n[rule.threshold]\nfield = [\"host.id\"]\nvalue = 3\n",
                fires: &["whoami", "whoami", "whoami"],
                quiet: &["whoami", "whoami", "ls"],
                ..one
            },
            Kind::NewTerms => Self {
                tables: "\n[rule.new_terms]\nfield = \"new_terms_fields\"\nvalue = [\"host.id\", \"process.name\"]\n\n\
                         [[rule.new_terms.history_window_start]]\nfield = \"history_window_start\"\nvalue = \"now-7d\"\n",
                fires: &["whoami", "whoami"],
                ..one
            },
            _ => one,
        }
    }
}

fn events(programs: &[&str]) -> String {
    let lines: Vec<String> = programs
        .iter()
        .enumerate()
        .map(|(second, program)| {
            format!(
                r#"{{"@timestamp":"2026-11-02T10:00:{second:02}Z","event":{{"id":"e{second}","category":["process"],"type":["start"],"action":"exec"}},"data_stream":{{"type":"logs","dataset":"endpoint.events.process","namespace":"default"}},"host":{{"id":"h1","os":{{"type":"linux"}}}},"process":{{"name":"{program}","pid":{},"args":["{program}"]}}}}"#,
                100 + second
            )
        })
        .collect();
    lines.join("\n")
}
