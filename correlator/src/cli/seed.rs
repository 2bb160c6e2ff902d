//! `seed`: what was seen before the first run, learned from recorded events, so that new-terms rules tell what is new and
//! not what they have not met yet.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use rules::event::EventTime;
use rules::plan::Plan;

use super::flags::{RecordedFlags, RuleFlags};
use super::inputs::{self, Input};
use super::load::{self, Configured};
use super::table::Table;
use super::terminal::Terminal;
use super::{CliError, Outcome};
use crate::history::shown;
use crate::pipeline::Seeder;
use crate::source::normalize::Normalizer;
use crate::store::Store;
use crate::time;

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Recorded events of any kind: a file, a folder, or "-"; may be repeated
    #[arg(long, value_name = "PATH", num_args = 1..)]
    events: Vec<PathBuf>,
    #[command(flatten)]
    recorded: RecordedFlags,
    /// The store of the run that shall know it [default: that of the configuration]
    #[arg(long, value_name = "PATH")]
    store: Option<PathBuf>,
    /// Learn only what happened before this time, as in 2026-11-02T10:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<EventTime>,
    #[command(flatten)]
    rules: RuleFlags,
}

fn moment(text: &str) -> Result<EventTime, String> {
    time::parse(text).ok_or_else(|| "write it as in 2026-11-02T10:00:00Z".to_owned())
}

pub(super) fn run(
    flags: Flags,
    mut configured: Configured,
    terminal: &Terminal,
) -> Result<Outcome, CliError> {
    flags.rules.apply(&mut configured.config);
    let mut inputs: Vec<Input> = flags.events.into_iter().map(Input::any).collect();
    inputs.extend(flags.recorded.inputs());
    if inputs.is_empty() {
        return Err(CliError::Usage("nothing to learn from: give --events PATH".to_owned()));
    }
    let Some(path) = flags.store.or(configured.config.store.clone()) else {
        let message =
            "there is no store to keep it in: give --store PATH, or [store] path in the configuration";
        return Err(CliError::Usage(message.to_owned()));
    };
    let mut set = load::rules(&configured);
    set.report(terminal);
    set.refuse_bad_exceptions()?;
    let (lists, remarks) = load::lists(&configured.config);
    load::say(&remarks, terminal);
    set.rules.retain(|rule| matches!(rule.plan, Plan::NewTerms(_)));
    if set.rules.is_empty() {
        terminal.note("note", "no loaded rule is of type new_terms: there is nothing to learn");
        return Ok(Outcome::Clean);
    }
    let (program, schema) = set.into_program();
    let normalizer = Normalizer::new(Arc::clone(&schema), Arc::new(lists));
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| CliError::Run {
        what: "cannot seed the store".to_owned(),
        source,
    };
    let mut store = Store::open_for_run(&path).map_err(|error| failed(error.into()))?;
    let mut seeder = Seeder::new(program, &schema, &store).map_err(|error| failed(error.into()))?;
    let mut n_events = 0_u64;
    let (rejected, empty) = inputs::read_each(&inputs, &normalizer, |_, record| {
        if flags.until.is_none_or(|until| record.event.time < until) {
            n_events += 1;
            seeder.learn(&record);
        }
    });
    inputs::say_rejected(&rejected, terminal);
    inputs::say_empty(&empty, terminal);
    let learned = seeder.finish(&mut store).map_err(|error| failed(error.into()))?;
    let mut table = Table::new(&["rule", "terms", "known since", "window"]);
    for rule in &learned {
        let since = rule.since.map_or_else(|| "nothing seen".to_owned(), time::format);
        table.row(vec![rule.name.clone(), rule.n_terms.to_string(), since, shown(rule.window)]);
    }
    terminal.data(&table.render(terminal.stdout.width))?;
    let n_rules = learned.len();
    terminal.data(&format!("\n{n_events} events learned by {n_rules} rules in {}\n", path.display()))?;
    Ok(if rejected.is_empty() { Outcome::Clean } else { Outcome::Faults })
}
