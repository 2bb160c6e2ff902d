//! `query`: a question to recorded events. ES|QL gives its table; EQL and KQL the events that match, those of a sequence
//! or sample together.

mod answer;
mod print;

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use rules::adhoc::{self, Language, Meaning, Query};
use rules::diagnostic::render::{self, Source};
use rules::diagnostic::{Code, Diagnostic};
use rules::schema::{Schema, UnknownField};

use super::inputs::{self, Input};
use super::listing::Form;
use super::load;
use super::terminal::Terminal;
use super::{CliError, Outcome};
use crate::source::Record;
use crate::source::folder::Content;
use crate::source::normalize::Normalizer;
use crate::untrusted::Untrusted;

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// File with the query
    #[arg(value_name = "FILE", conflicts_with = "expression")]
    file: Option<PathBuf>,
    /// The query itself
    #[arg(short = 'e', long = "expression", value_name = "QUERY")]
    expression: Option<String>,
    /// esql, eql or kuery [default: by the file's ending, else by how the query begins]
    #[arg(long, value_name = "LANGUAGE", value_enum, hide_possible_values = true)]
    language: Option<LanguageFlag>,
    /// Events of any kind: host events, CloudTrail, GuardDuty, flow logs; a file, a folder, or "-"; may be repeated
    #[arg(long, value_name = "PATH", num_args = 1..)]
    events: Vec<PathBuf>,
    /// Host events: a file of NDJSON, or "-" for stdin; may be repeated
    #[arg(long, value_name = "FILE", num_args = 1..)]
    host: Vec<PathBuf>,
    /// CloudTrail: a file or a folder; may be repeated
    #[arg(long, value_name = "PATH", num_args = 1..)]
    cloudtrail: Vec<PathBuf>,
    /// GuardDuty findings: a file or a folder; may be repeated
    #[arg(long, value_name = "PATH", num_args = 1..)]
    guardduty: Vec<PathBuf>,
    /// VPC flow logs: a file or a folder; may be repeated
    #[arg(long, value_name = "PATH", num_args = 1..)]
    vpcflow: Vec<PathBuf>,
    /// table, json, ndjson or csv
    #[arg(
        long,
        short,
        value_name = "FORM",
        value_enum,
        default_value = "table",
        hide_possible_values = true
    )]
    output: Form,
    /// Columns to print, in this order, where the query leaves them open
    #[arg(long, value_name = "FIELD", value_delimiter = ',')]
    columns: Vec<String>,
    /// Print at most so many rows
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LanguageFlag {
    Esql,
    Eql,
    #[value(alias = "kql")]
    Kuery,
}

impl From<LanguageFlag> for Language {
    fn from(flag: LanguageFlag) -> Self {
        match flag {
            LanguageFlag::Esql => Self::Esql,
            LanguageFlag::Eql => Self::Eql,
            LanguageFlag::Kuery => Self::Kuery,
        }
    }
}

pub(super) fn run(flags: Flags, terminal: &Terminal) -> Result<Outcome, CliError> {
    let (name, text) = flags.text()?;
    let inputs = flags.inputs();
    if inputs.is_empty() {
        return Err(CliError::Usage("no events to ask: give --events PATH".to_owned()));
    }
    let language = flags.language(&text);
    let mut schema = Schema::builtin();
    let query = compile(language, &name, &text, &mut schema, terminal)?;
    let unknown: Vec<(String, UnknownField)> = flags
        .columns
        .iter()
        .filter(|column| !answer::OF_EVERY_EVENT.contains(&column.as_str()))
        .filter_map(|column| Some((column.clone(), schema.resolve(column).err()?)))
        .collect();
    let has_own_columns = matches!(query.meaning, Meaning::Table { .. });
    refuse_columns(unknown.iter().filter(|_| !has_own_columns), terminal)?;
    let schema = Arc::new(schema);
    let normalizer = Normalizer::new(Arc::clone(&schema), Arc::default());
    let mut read = inputs::read_all(&inputs, &normalizer);
    inputs::say_rejected(&read.rejected, terminal);
    inputs::say_empty(&read.empty, terminal);
    let has_faults = !read.rejected.is_empty();
    read.records.sort_by(|(_, left), (_, right)| order(left).cmp(&order(right)));
    let mut records: Vec<Record> = read.records.into_iter().map(|(_, record)| record).collect();
    records.dedup_by(|next, held| next.event.id == held.event.id);
    let n_read = records.len();
    records.retain(|record| query.reads(&record.event.index));
    if records.is_empty() && n_read > 0 {
        let globs = query.index.join(", ");
        let text =
            format!("none of the {n_read} events is in an index that FROM names: {}", Untrusted(&globs));
        terminal.note("warning", &text);
    }
    let answer = answer::answer(query, &schema, &records, &flags.columns).map_err(|error| CliError::Run {
        what: "cannot finish the query".to_owned(),
        source: error.into(),
    })?;
    // A table may also have computed them.
    refuse_columns(unknown.iter().filter(|(column, _)| !answer.columns.contains(column)), terminal)?;
    let n_rows = answer.rows.len();
    let n_shown = flags.limit.unwrap_or(usize::MAX).min(n_rows);
    terminal.data(&print::print(&answer, flags.output, n_shown, terminal))?;
    if flags.output == Form::Table {
        if answer.n_hidden > 0 {
            let text =
                format!("{} more columns have values: name them with KEEP or --columns", answer.n_hidden);
            terminal.note("note", &text);
        }
        let rows = if n_rows == 1 { "row" } else { "rows" };
        let shown = if n_shown < n_rows { format!(", {n_shown} shown") } else { String::new() };
        terminal.note("answer", &format!("{n_rows} {rows}{shown} from {n_read} events"));
    }
    Ok(if has_faults { Outcome::Faults } else { Outcome::Clean })
}

/// # Errors
/// There is a column that is neither a field nor made by the query; which was said.
fn refuse_columns<'u>(
    unknown: impl Iterator<Item = &'u (String, UnknownField)>,
    terminal: &Terminal,
) -> Result<(), CliError> {
    let mut is_refused = false;
    for (column, error) in unknown {
        let message = format!("no field is called \"{column}\"");
        let mut diagnostic = Diagnostic::error(Code::UnknownField, 0..column.len(), message);
        if let Some(suggestion) = &error.suggestion {
            diagnostic = diagnostic.with_help(format!("did you mean \"{suggestion}\"?"));
        }
        let style = load::style(terminal.is_stderr_coloured);
        terminal.block(&render::render(Source::query("--columns", column), &[diagnostic], style));
        is_refused = true;
    }
    if is_refused { Err(CliError::Told) } else { Ok(()) }
}

fn compile(
    language: Language,
    name: &str,
    text: &str,
    schema: &mut Schema,
    terminal: &Terminal,
) -> Result<Query, CliError> {
    let style = load::style(terminal.is_stderr_coloured);
    let show = |found: &[Diagnostic]| {
        if !found.is_empty() {
            terminal.block(&render::render(Source::query(name, text), found, style));
        }
    };
    match adhoc::compile(language, text, schema) {
        Ok(compiled) => {
            show(&compiled.warnings);
            Ok(compiled.plan)
        }
        Err(found) => {
            show(&found);
            Err(CliError::Told)
        }
    }
}

impl Flags {
    fn inputs(&self) -> Vec<Input> {
        let feeds = [
            (Content::CloudTrail, &self.cloudtrail),
            (Content::GuardDuty, &self.guardduty),
            (Content::VpcFlow, &self.vpcflow),
        ];
        let feeds = feeds
            .into_iter()
            .flat_map(|(content, paths)| paths.iter().map(move |path| Input::Feed(content, path.clone())));
        let any = self.events.iter().cloned().map(Input::any);
        any.chain(self.host.iter().cloned().map(Input::Host)).chain(feeds).collect()
    }

    /// The query and what to call it in messages.
    fn text(&self) -> Result<(String, String), CliError> {
        match (&self.file, &self.expression) {
            (Some(path), _) => {
                let name = path.display().to_string();
                let text = std::fs::read_to_string(path)
                    .map_err(|error| CliError::Usage(format!("cannot read the query \"{name}\": {error}")))?;
                Ok((name, text))
            }
            (None, Some(expression)) => Ok(("query".to_owned(), expression.clone())),
            (None, None) => {
                Err(CliError::Usage("no query: give -e QUERY, or the FILE that it is in".to_owned()))
            }
        }
    }

    fn language(&self, text: &str) -> Language {
        let ending = self.file.as_ref().and_then(|path| path.extension()?.to_str());
        match (self.language, ending) {
            (Some(flag), _) => flag.into(),
            (None, Some("esql")) => Language::Esql,
            (None, Some("eql")) => Language::Eql,
            (None, Some("kql" | "kuery")) => Language::Kuery,
            (None, _) => adhoc::guess_language(text),
        }
    }
}

fn order(record: &Record) -> (rules::event::EventTime, u64, &str) {
    (record.event.time, record.event.sequence, &record.event.id)
}
