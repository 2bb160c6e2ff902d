//! Pages that are made from the programs: `UPDATE_EXPECT=1 cargo test -p tests --test docs` writes them anew.

use std::fmt::Write as _;
use std::process::Command;

use expect_test::expect_file;
use harness::bins;
use serde_json::Value;

use crate::help::Help;

#[test]
fn the_page_of_commands_is_what_the_programs_say_of_themselves() {
    let mut page = String::from(COMMANDS);
    for help in [Help::of(bins::groundtrail(), "groundtrail"), Help::of(bins::sensor(), "groundtrail-sensor")]
    {
        chapter(&help, 2, &mut page);
    }
    expect_file!["../../docs/commands.md"].assert_eq(&page);
}

const COMMANDS: &str = "# Commands and exit codes

What each command takes, as `--help` prints it. This page is made from the programs; a test holds them together
(`UPDATE_EXPECT=1 cargo test -p tests --test docs` writes it anew). `groundtrail completion SHELL` and `groundtrail man FOLDER` make completions and manual
pages of the same, which packages bring along.

Every command ends with one of these, so that scripts can tell a fault from a finding. What a command means by them stands at the end of its help.

| code | `groundtrail` | `groundtrail-sensor` |
|---|---|---|
| 0 | done, and nothing wrong was found | the same |
| 1 | faults in what was looked at: failed rule tests, findings of a check, unreadable records, an id that nobody has | something went wrong on the way, or a running sensor loses events |
| 2 | the command line or the configuration is wrong; nothing was run | the same |
| 3 | the work itself failed: a file, a socket or the store, also one that is not there | this kernel does not let the sensor see, so there is no use in trying again; of `status` and `selftest`, that none runs |
| 4 | what was asked after is there and not well: a run that is degraded, a self-test that did not come back | |

Data goes to stdout and words to stderr. `NO_COLOR=1` and `--color never` switch colours off, which are for terminals alone.
";

fn chapter(help: &Help, level: usize, page: &mut String) {
    let _ = write!(page, "\n{} {}\n\n```text\n{}```\n", "#".repeat(level), help.name, help.text);
    for below in &help.below {
        // Two levels are enough to find a command by.
        chapter(below, 3, page);
    }
}

#[test]
fn the_page_of_settings_is_what_the_program_prints() {
    let ask = |args: &[&str]| {
        let output = Command::new(bins::groundtrail()).env_clear().args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let schema: Value = serde_json::from_str(&ask(&["config", "schema"])).unwrap();
    let sensor = std::fs::read_to_string(bins::workspace().join("packaging/sensor/sensor.toml")).unwrap();
    let mut page = String::from(CONFIGURATION);
    // Parts stand two empty lines apart; what precedes the first table is about the whole file.
    for part in ask(&["config", "default"]).split("\n\n\n").skip(1) {
        let tables = tables(part);
        let shown = |(name, is_list): &(&str, bool)| match is_list {
            true => format!("[[{name}]]"),
            false => format!("[{name}]"),
        };
        let title = tables.iter().map(shown).collect::<Vec<_>>().join(", ");
        let _ = write!(page, "\n### {title}\n\n```toml\n{}\n```\n", part.trim_matches('\n'));
        let variables = tables.iter().flat_map(|(name, _)| variables(&schema["properties"][*name], name));
        let variables: Vec<String> = variables.map(|name| format!("`{name}`")).collect();
        if !variables.is_empty() {
            let _ = write!(page, "\nVariables: {}.\n", variables.join(", "));
        }
    }
    let _ = write!(page, "{SENSOR}\n```toml\n{}```\n", sensor);
    expect_file!["../../docs/configuration.md"].assert_eq(&page);
}

/// Top-level tables in the order they are first named, and whether there may be several of each.
fn tables(part: &str) -> Vec<(&str, bool)> {
    let mut found: Vec<(&str, bool)> = Vec::new();
    for line in part.lines() {
        let Some(rest) = line.trim_start_matches('#').strip_prefix('[') else { continue };
        let is_list = rest.starts_with('[');
        let name = rest.trim_start_matches('[').split([']', '.']).next().unwrap_or_default();
        let is_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        if is_name && !found.iter().any(|(known, _)| *known == name) {
            found.push((name, is_list));
        }
    }
    found
}

/// The variables of a table's keys; of tables of which there may be several, none can be meant.
fn variables(schema: &Value, path: &str) -> Vec<String> {
    let Some(properties) = schema["properties"].as_object() else { return Vec::new() };
    let of_key = |(name, below): (&String, &Value)| {
        let path = format!("{path}_{name}");
        match below["type"] == "object" {
            true => variables(below, &path),
            false => vec![format!("GROUNDTRAIL_{}", path.to_uppercase())],
        }
    };
    properties.iter().flat_map(of_key).collect()
}

const CONFIGURATION: &str = "# Configuration

Every setting of both programs with its effect, default and bounds. This page is made from what they ship; a test holds it to that
(`UPDATE_EXPECT=1 cargo test -p tests --test docs` writes it anew), and others hold what they ship to what they read.

## The correlator

`/etc/groundtrail/groundtrail.toml`, or what `--config` or `GROUNDTRAIL_CONFIG` name. Of one key the last word counts: the default, the file, the files of
`conf.d` beside it in the order of their names, a variable, a flag. Lists of tables (`[[source]]`, `[[exceptions]]`) grow. Relative paths
start at the file's folder. A key that there is not is an error, with the one that was meant.

```sh
groundtrail config default         # what follows, as a file to begin with
groundtrail config show --origin   # what is in force, and which file and line or variable says so
groundtrail config schema          # a JSON schema, for editors
groundtrail check                  # reads it exactly as `run` does
```
";

const SENSOR: &str = "
## The sensor

`/etc/groundtrail/sensor.toml`, or what `--config` names. `groundtrail-sensor check` reads it exactly as `run` does, and loads the programs once.
";
