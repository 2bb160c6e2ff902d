//! `who`: what is known of an instance, an address, a key, a principal, a command or a session, and since when.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use rules::event::EventTime;
use rules::schema::Schema;

use super::flags::RecordedFlags;
use super::inputs;
use super::listing::{Form, Listing};
use super::load::Configured;
use super::stored::must_exist;
use super::table::Table;
use super::terminal::Terminal;
use super::{CliError, Outcome};
use crate::identity::{Answer, Identities, Kind, Strength};
use crate::pipeline::MAX_IDENTITIES;
use crate::source::normalize::Normalizer;
use crate::store::Store;
use crate::time;
use crate::untrusted::Untrusted;

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// An instance id, address, access key id, ARN, role, host name, command id or session id
    #[arg(value_name = "NAME")]
    name: String,
    /// Only what had been seen by this time
    #[arg(long, value_name = "RFC3339", value_parser = instant)]
    at: Option<EventTime>,
    /// The store, if it is not the configuration's
    #[arg(long, value_name = "PATH")]
    store: Option<PathBuf>,
    #[command(flatten)]
    recorded: RecordedFlags,
    /// How to print
    #[arg(long, short, value_name = "FORM", value_enum, default_value = "table")]
    output: Form,
}

fn instant(text: &str) -> Result<EventTime, String> {
    time::parse(text).ok_or_else(|| "give a time like 2026-11-02T10:00:00Z".to_owned())
}

pub(super) fn run(flags: Flags, configured: Configured, terminal: &Terminal) -> Result<Outcome, CliError> {
    let schema = Arc::new(Schema::builtin());
    let mut identities = Identities::new(&schema, MAX_IDENTITIES);
    let recorded = flags.recorded.inputs();
    let path = flags.store.or_else(|| configured.config.store.clone().filter(|_| recorded.is_empty()));
    if path.is_none() && recorded.is_empty() {
        return Err(CliError::Usage(
            "nothing to ask: give --store PATH, or recorded events with --host, --cloudtrail, --guardduty or --vpcflow"
                .to_owned(),
        ));
    }
    if let Some(path) = path {
        must_exist(&path)?;
        let failed = |source| CliError::Run { what: "cannot ask the store".to_owned(), source };
        let store = Store::open_to_look(&path).map_err(|error| failed(error.into()))?;
        identities.restore(store.identities().map_err(|error| failed(error.into()))?);
    }
    let mut has_faults = false;
    if !recorded.is_empty() {
        let normalizer = Normalizer::new(schema, Arc::default());
        let read = inputs::read_all(&recorded, &normalizer);
        inputs::say_rejected(&read.rejected, terminal);
        inputs::say_empty(&read.empty, terminal);
        has_faults = !read.rejected.is_empty();
        for (_, record) in &read.records {
            identities.learn(record);
        }
    }
    let answers = identities.about(&flags.name, flags.at);
    match flags.output {
        Form::Table => answers.iter().try_for_each(|answer| terminal.data(&page(answer)))?,
        form => terminal.data(&listing(&answers).print(form, &answers, terminal))?,
    }
    if answers.is_empty() {
        let of_time = flags.at.map(|at| format!(" by {}", time::format(at))).unwrap_or_default();
        terminal.note("note", &format!("nothing is known of \"{}\"{of_time}", Untrusted(&flags.name)));
        has_faults = true;
    }
    Ok(if has_faults { Outcome::Faults } else { Outcome::Clean })
}

fn page(answer: &Answer) -> String {
    let mut table = Table::new(&["known", "value", "first seen", "last seen", "strength"]);
    for fact in &answer.known {
        let shown =
            |time: Option<EventTime>| time.map(|time| to_second(&time::format(time))).unwrap_or_default();
        table.row(vec![
            fact.what.to_owned(),
            fact.value.clone(),
            shown(fact.first),
            shown(fact.last),
            strength(fact.strength).to_owned(),
        ]);
    }
    format!("{} {}\n{}", kind(answer.kind), Untrusted(&answer.name), table.render(usize::MAX))
}

/// A row for each fact.
fn listing(answers: &[Answer]) -> Listing {
    let mut listing =
        Listing::new(&["kind", "name", "known", "value", "first seen", "last seen", "strength"]);
    for (answer, fact) in
        answers.iter().flat_map(|answer| answer.known.iter().map(move |fact| (answer, fact)))
    {
        let shown = |time: Option<EventTime>| time.map(time::format).unwrap_or_default();
        listing.row(vec![
            kind(answer.kind).to_owned(),
            answer.name.clone(),
            fact.what.to_owned(),
            fact.value.clone(),
            shown(fact.first),
            shown(fact.last),
            strength(fact.strength).to_owned(),
        ]);
    }
    listing
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Host => "host",
        Kind::AccessKey => "access key",
        Kind::Address => "address",
        Kind::Role => "role",
        Kind::RoleSession => "role session",
        Kind::Principal => "principal",
        Kind::Command => "Systems Manager command",
        Kind::Session => "Session Manager session",
    }
}

fn strength(strength: Strength) -> &'static str {
    match strength {
        Strength::Exact => "exact",
        Strength::Precise => "precise",
        Strength::Weak => "weak",
    }
}

/// `2026-11-02T10:00:00.123Z` without its fraction.
fn to_second(text: &str) -> String {
    text.split_once('.').map_or_else(|| text.to_owned(), |(whole, _)| format!("{whole}Z"))
}
