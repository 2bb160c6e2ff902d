//! `rule`: help for authors. A first file to fill in, one layout for all files, what a file means in plain words, and the
//! form of rule files for editors.

mod explain;
mod fmt;
mod scaffold;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use rules::catalogue;
use rules::rule::Kind;
use rules::schema::Schema;

use super::terminal::Terminal;
use super::{CliError, Outcome, load};

/// The form of a rule file, as a JSON schema.
const SCHEMA: &str = include_str!("rule/schema.json");

#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// Write a first rule of a type, with cases that pass
    New(New),
    /// Lay rule files out in one way: order of tables and keys, lists, queries; comments stay
    Fmt(fmt::Fmt),
    /// Say in plain words what a rule file means: what it needs, when it fires, what it costs
    Explain(Explain),
    /// Print the JSON schema of rule files, for editors
    Schema,
}

#[derive(Debug, Args)]
pub(super) struct New {
    /// The rule's name
    name: String,
    /// query, eql, esql, threshold or new_terms
    #[arg(long, value_name = "TYPE", default_value = "query", value_parser = kind)]
    r#type: Kind,
    /// Write to this file instead of stdout; one that is there is left alone
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The rule file, or a folder of them
    #[arg(value_name = "FILE")]
    path: PathBuf,
}

pub(super) fn run(what: What, terminal: &Terminal) -> Result<Outcome, CliError> {
    match what {
        What::Schema => terminal.data(SCHEMA)?,
        What::New(flags) => {
            let id = scaffold::new_id().map_err(|source| CliError::Run {
                what: "no random numbers for a new rule's id".to_owned(),
                source: source.into(),
            })?;
            let text = scaffold::text(&flags.name, &id, flags.r#type);
            match &flags.output {
                None => terminal.data(&text)?,
                Some(path) => write_new(path, &text)?,
            }
        }
        What::Fmt(flags) => return fmt::run(&flags, terminal),
        What::Explain(flags) => return explain_file(&flags.path, terminal),
    }
    Ok(Outcome::Clean)
}

fn kind(word: &str) -> Result<Kind, String> {
    let kinds = [Kind::Query, Kind::Eql, Kind::Esql, Kind::Threshold, Kind::NewTerms];
    kinds
        .into_iter()
        .find(|kind| kind.as_str() == word)
        .ok_or_else(|| format!("possible: {}", kinds.map(Kind::as_str).join(", ")))
}

fn write_new(path: &Path, text: &str) -> Result<(), CliError> {
    let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    let written = folder
        .and_then(|()| std::fs::File::create_new(path))
        .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
    written.map_err(|source| CliError::Run {
        what: format!("cannot write \"{}\"", path.display()),
        source: match source.kind() {
            std::io::ErrorKind::AlreadyExists => {
                "it is there already, and is left alone: name another file, or move that one away".into()
            }
            _ => source.into(),
        },
    })
}

fn explain_file(path: &Path, terminal: &Terminal) -> Result<Outcome, CliError> {
    let mut schema = Schema::builtin();
    let loaded = catalogue::load([path], &mut schema);
    for report in &loaded.reports {
        terminal.block(&report.render(load::style(terminal.is_stderr_coloured)));
    }
    for rule in &loaded.rules {
        terminal.data(&explain::text(rule, &schema))?;
    }
    Ok(if loaded.has_errors() || loaded.rules.is_empty() { Outcome::Faults } else { Outcome::Clean })
}

#[cfg(test)]
mod tests;
