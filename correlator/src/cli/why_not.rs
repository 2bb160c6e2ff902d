//! `why-not`: what kept a rule from firing on recorded events, or on those a store still holds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use rules::event::{EventTime, Span};
use rules::expr::Expr;
use rules::plan::Plan;
use rules::program::RuleIdx;
use rules::rule::Rule;
use serde::Serialize;

use super::flags::{RecordedFlags, RuleFlags};
use super::inputs::{self, Input};
use super::listing::{self, Form, Listing};
use super::load::{self, Configured, RuleSet};
use super::stored::must_exist;
use super::terminal::Terminal;
use super::{CliError, Outcome};
use crate::keyed::{Eviction, Limits};
use crate::kinds;
use crate::pipeline::{self, Engine, Mode, Replayed};
use crate::source::Record;
use crate::source::folder::Content;
use crate::source::normalize::Normalizer;
use crate::store::{HeldRole, Store};
use crate::time;
use crate::untrusted::Untrusted;
use crate::why_not::{Answer, Kind, Question, Reason, Seen, in_words};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The rule: its id, how that begins, or its name
    #[arg(value_name = "RULE")]
    rule: String,
    /// Recorded events of any kind: a file, or a folder of such files; may be repeated
    #[arg(long, value_name = "PATH")]
    trace: Vec<PathBuf>,
    #[command(flatten)]
    recorded: RecordedFlags,
    /// Look at the events that this store holds; a run may be using it
    #[arg(long, value_name = "PATH")]
    store: Option<PathBuf>,
    /// Only as far as this event is concerned
    #[arg(long, value_name = "EVENT_ID")]
    event: Option<String>,
    #[command(flatten)]
    rules: RuleFlags,
    /// table (words), json, ndjson, or csv (what stood in the way)
    #[arg(
        long,
        short,
        value_name = "FORM",
        value_enum,
        default_value = "table",
        hide_possible_values = true
    )]
    output: Form,
}

/// All that is to be said.
#[derive(Debug, Serialize)]
struct Said {
    rule: SaidRule,
    n_events: usize,
    /// Ids of the alerts that the engine tells from these events.
    fired: Vec<Fired>,
    #[serde(flatten)]
    answer: Answer,
    /// By how much the event is too late for the run whose store was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    late: Option<Reason>,
    /// What becomes of a match that is no alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_alert: Option<String>,
}

#[derive(Debug, Serialize)]
struct SaidRule {
    id: String,
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    hash: String,
}

#[derive(Debug, Serialize)]
struct Fired {
    alert: String,
    time: String,
}

pub(super) fn run(
    flags: Flags,
    mut configured: Configured,
    terminal: &Terminal,
) -> Result<Outcome, CliError> {
    flags.rules.apply(&mut configured.config);
    let set = load::rules(&configured);
    set.refuse_bad_exceptions()?;
    let rule = find(&set, &flags.rule, &configured.config.rules.disabled)?.clone();
    let (lists, _) = load::lists(&configured.config);
    let normalizer = Normalizer::new(Arc::new(set.schema.clone()), Arc::new(lists));
    let Found { records, evicted, behind, has_faults } =
        records(&flags, &configured, &normalizer, &rule.id, terminal)?;
    if let Some(id) = &flags.event
        && !records.iter().any(|record| *record.event.id == **id)
    {
        return Err(CliError::Usage(format!("no event has the id \"{}\"", Untrusted(id))));
    }
    let limits = Limits { join_grace: configured.config.join_lateness, ..configured.config.limits };
    let event = flags.event.as_deref();
    let n_events = records.len();
    let drops = set.drops.clone();
    let schema = set.schema.clone();
    let engine = Told::of(set, &rule, records.clone(), event, limits);
    let grace = limits.of_join(engine.is_join).grace;
    let asked = records.iter().find(|record| event == Some(&*record.event.id));
    let late = asked.zip(behind).and_then(|(record, watermark)| late(&rule, record, watermark, grace));
    let mut records = records;
    records.extend(engine.signals);
    records.sort_by(|a, b| order(a).cmp(&order(b)));
    let question = Question { rule: &rule, drops: &drops, schema: &schema, records: &records, event, limits };
    let mut answer = question.answer();
    if engine.fired.is_empty() {
        answer.reasons.extend(engine.withheld);
        answer.reasons.extend(evicted);
    }
    let is_explained = answer.reasons.iter().any(|reason| reason.kind == Kind::Withheld);
    let fired = engine.fired;
    let no_alert = (fired.is_empty() && answer.is_met && !is_explained).then(|| no_alert(&rule));
    let kind = rule.kind.as_str();
    let rule = SaidRule { id: rule.id, name: rule.name, kind, hash: rule.hash };
    let said = Said { rule, n_events, fired, answer, late, no_alert };
    terminal.data(&match flags.output {
        Form::Table => page(&said),
        Form::Csv => reasons(&said).print(Form::Csv, &said.answer.reasons, terminal),
        form => listing::record(form, &said),
    })?;
    Ok(if has_faults { Outcome::Faults } else { Outcome::Clean })
}

/// The rule that is meant, by id, beginning of an id, or name.
pub(super) fn find<'s>(
    set: &'s RuleSet,
    wanted: &str,
    disabled: &[String],
) -> Result<&'s Rule<Expr>, CliError> {
    if let Some(rule) =
        set.rules.iter().find(|rule| rule.id == wanted || rule.name.eq_ignore_ascii_case(wanted))
    {
        return Ok(rule);
    }
    let of_prefix: Vec<&Rule<Expr>> =
        set.rules.iter().filter(|rule| wanted.len() >= 4 && rule.id.starts_with(wanted)).collect();
    let shown = Untrusted(wanted);
    let message = match &of_prefix[..] {
        [only] => return Ok(only),
        [] if disabled.iter().any(|id| id == wanted) => {
            format!("rule \"{shown}\" is switched off by [rules] disabled of the configuration")
        }
        [] => {
            let likeness = |rule: &&Rule<Expr>| {
                (strsim::jaro_winkler(&rule.name.to_lowercase(), &wanted.to_lowercase()) * 1_000.0) as u32
            };
            let nearest = set.rules.iter().max_by_key(likeness).filter(|rule| likeness(rule) > 700);
            let hint = nearest.map_or_else(
                || "`groundtrail rules list` names them".to_owned(),
                |rule| format!("did you mean \"{}\"?", rule.name),
            );
            format!("no loaded rule has the id or the name \"{shown}\"; {hint}")
        }
        several => format!("{} rules have an id that begins with \"{shown}\"", several.len()),
    };
    Err(CliError::Usage(message))
}

/// What there is to look at.
struct Found {
    /// Each once and in event order.
    records: Vec<Record>,
    /// What the run of a store gave up of the rule.
    evicted: Option<Reason>,
    /// How far the run of a store had come, where it does not hold the event that is asked about.
    behind: Option<EventTime>,
    /// Some events could not be read.
    has_faults: bool,
}

fn records(
    flags: &Flags,
    configured: &Configured,
    normalizer: &Normalizer,
    rule_id: &str,
    terminal: &Terminal,
) -> Result<Found, CliError> {
    let mut recorded = flags.recorded.inputs();
    for path in &flags.trace {
        recorded.extend(of_trace(path)?);
    }
    let path =
        flags.store.clone().or_else(|| configured.config.store.clone().filter(|_| recorded.is_empty()));
    if path.is_none() && recorded.is_empty() {
        return Err(CliError::Usage(
            "nothing to look at: give --trace PATH, --host, --cloudtrail, --guardduty, --vpcflow or --store PATH"
                .to_owned(),
        ));
    }
    let mut records = Vec::new();
    let (mut evicted, mut behind) = (None, None);
    if let Some(path) = path {
        must_exist(&path)?;
        let failed = |source| CliError::Run { what: "cannot ask the store".to_owned(), source };
        let store = Store::open_to_look(&path).map_err(|error| failed(error.into()))?;
        let mut held = store.contexts().map_err(|error| failed(error.into()))?;
        for role in [HeldRole::Evidence, HeldRole::All] {
            held.extend(store.held(role).map_err(|error| failed(error.into()))?);
        }
        let read =
            held.into_iter().filter_map(|held| normalizer.read_kept(held.origin, held.raw, held.time).ok());
        records.extend(read);
        let all = store.evictions().map_err(|error| failed(error.into()))?;
        evicted = all.into_iter().find(|(id, _)| id == rule_id).map(|(_, eviction)| given_up(&eviction));
        let is_asked = |record: &Record| flags.event.as_deref() == Some(&*record.event.id);
        if !records.iter().any(is_asked) {
            behind = store.watermark().map_err(|error| failed(error.into()))?;
        }
    }
    let read = inputs::read_all(&recorded, normalizer);
    inputs::say_rejected(&read.rejected, terminal);
    inputs::say_empty(&read.empty, terminal);
    records.extend(read.records.into_iter().map(|(_, record)| record));
    records.sort_by(|a, b| order(a).cmp(&order(b)));
    records.dedup_by(|next, held| next.event.id == held.event.id);
    Ok(Found { records, evicted, behind, has_faults: !read.rejected.is_empty() })
}

fn order(record: &Record) -> (EventTime, u64, &str) {
    (record.event.time, record.event.sequence, &record.event.id)
}

/// A trace is a file, or a folder with one for each half. What else lies there is told by its name.
fn of_trace(path: &Path) -> Result<Vec<Input>, CliError> {
    let input = |path: PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        let bare = name.strip_suffix(".gz").unwrap_or(&name);
        let is_of = |ending: &str| bare.ends_with(ending);
        if name.starts_with("alerts.") {
            None
        } else if is_of(".ndjson") || is_of(".jsonl") {
            Some(Input::Host(path))
        } else if is_of(".json") {
            Some(Input::Feed(Content::CloudTrail, path))
        } else if is_of(".log") {
            Some(Input::Feed(Content::VpcFlow, path))
        } else {
            None
        }
    };
    if !path.is_dir() {
        return Ok(vec![input(path.to_owned()).unwrap_or_else(|| Input::Host(path.to_owned()))]);
    }
    let failed = |source: std::io::Error| CliError::Run {
        what: format!("cannot read the folder \"{}\"", path.display()),
        source: source.into(),
    };
    let entries = std::fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(failed)?;
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    let inputs: Vec<Input> = paths.into_iter().filter_map(input).collect();
    if inputs.is_empty() {
        return Err(CliError::Usage(format!(
            "\"{}\" holds no .ndjson, .jsonl, .json or .log file",
            path.display()
        )));
    }
    Ok(inputs)
}

/// A rule of single events takes them however late they are; what others had half seen is forgotten in time.
fn late(rule: &Rule<Expr>, record: &Record, watermark: EventTime, grace: Span) -> Option<Reason> {
    let (behind, over) = (watermark - record.event.time, watermark - grace - record.event.time);
    let is_late = over > Span(0) && watermark < EventTime(i64::MAX) && !matches!(rule.plan, Plan::Query(_));
    let text = || {
        format!(
            "the run of this store has come to {}, so the event would be {} behind it: what this rule has half seen waits {} \
             for late events, and it came {} too late; `lateness` of its source and [time] join_lateness make it wait longer",
            time::format(watermark),
            in_words(behind),
            in_words(grace),
            in_words(over)
        )
    };
    is_late.then(|| Reason::new(Kind::TooLate, text()).off_by(over))
}

fn given_up(eviction: &Eviction) -> Reason {
    let text = format!(
        "the run gave up {} half-seen patterns and {} events of this rule for want of room, the newest from {}: see [limits] of the configuration",
        eviction.n_keys,
        eviction.n_hits,
        time::format(eviction.newest)
    );
    Reason::new(Kind::Evicted, text)
}

/// What the engine says of the same events.
struct Told {
    fired: Vec<Fired>,
    /// Why matches of the rule were not told.
    withheld: Vec<Reason>,
    /// The alerts of other rules, where they are events to this one.
    signals: Vec<Record>,
    /// The rule waits for the later half of hosts and AWS.
    is_join: bool,
}

impl Told {
    fn of(
        set: RuleSet,
        rule: &Rule<Expr>,
        records: Vec<Record>,
        event: Option<&str>,
        limits: Limits,
    ) -> Self {
        let is_over_alerts = rule.is_over_alerts(&set.schema);
        let (program, schema) = set.into_program();
        let idx = (0..).map(RuleIdx).zip(program.rules()).find(|(_, held)| held.id == rule.id);
        let is_join = idx.is_some_and(|(idx, _)| kinds::is_join(&schema, &program, idx));
        let source: Arc<str> = "trace".into();
        let mut engine = Engine::new(program, &schema, limits, Mode::Finals);
        if is_over_alerts {
            engine.keep_signals();
        }
        for record in records {
            engine.push(&source, record);
        }
        let (replayed, signals) = pipeline::finish_with_signals(engine);
        let of_rule = replayed.stats.withheld.iter().filter(|((id, _, _), _)| *id == rule.id);
        let reason = |((_, _, why), n): (&(String, String, String), &u64)| {
            let text = format!("{n} matches were withheld, since nothing vouches for what is missing: {why}");
            Reason::new(Kind::Withheld, text)
        };
        let withheld = of_rule.map(reason).collect();
        Self { withheld, fired: fired(&replayed, &rule.id, event), signals, is_join }
    }
}

fn fired(replayed: &Replayed, rule_id: &str, event: Option<&str>) -> Vec<Fired> {
    let is_about = |document: &serde_json::Value| {
        let evidence = document.pointer("/groundtrail/alert/evidence").and_then(|found| found.as_array());
        event.is_none_or(|id| {
            let is_it =
                |item: &serde_json::Value| item.pointer("/event/event/id").is_some_and(|found| found == id);
            evidence.is_some_and(|items| items.iter().any(is_it))
        })
    };
    let of_rule = replayed.alerts.iter().filter(|alert| *alert.rule_id == *rule_id);
    let told = of_rule.filter(|alert| is_about(&alert.document));
    told.map(|alert| Fired { alert: alert.id.to_string(), time: time::format(alert.time) }).collect()
}

/// All conditions are met, and there is no alert.
fn no_alert(rule: &Rule<Expr>) -> String {
    if !rule.notifies {
        "it is a building block: its matches feed other rules and are no alerts by themselves; --building-blocks tells them".to_owned()
    } else if rule.suppression.is_some() {
        "it is folded into another alert by the rule's alert_suppression".to_owned()
    } else {
        "the engine tells no alert for what this second look takes for a match; please report it with the events"
            .to_owned()
    }
}

fn events(n: usize) -> String {
    if n == 1 { "1 event".to_owned() } else { format!("{n} events") }
}

fn reasons(said: &Said) -> Listing {
    let mut listing = Listing::new(&["kind", "reason", "field", "actual", "wanted", "off by ms"]);
    for reason in said.answer.reasons.iter().chain(&said.late) {
        let kind = serde_json::to_value(reason.kind).ok();
        let optional = |text: &Option<String>| text.clone().unwrap_or_default();
        listing.row(vec![
            kind.as_ref().and_then(|kind| kind.as_str()).unwrap_or_default().to_owned(),
            reason.text.clone(),
            optional(&reason.field),
            optional(&reason.actual),
            optional(&reason.wanted),
            reason.off_by_ms.map(|ms| ms.to_string()).unwrap_or_default(),
        ]);
    }
    listing
}

fn page(said: &Said) -> String {
    let safe = |text: &str| Untrusted(text).to_string();
    let mut lines = vec![format!("{} ({})", safe(&said.rule.name), safe(&said.rule.id))];
    let mut put = |line: String| lines.push(line);
    let late = said.late.iter().map(|reason| format!("late: {}", safe(&reason.text)));
    if said.fired.is_empty() {
        put(format!("did not fire on {}. It reached: {}", events(said.n_events), safe(&said.answer.reached)));
    } else {
        put(format!("fired on {}:", events(said.n_events)));
        said.fired.iter().for_each(|fired| put(format!("  alert {} at {}", fired.alert, fired.time)));
        late.for_each(put);
        return lines.join("\n") + "\n";
    }
    let seen = |seen: &Seen| {
        let (stage, id, what) = (safe(&seen.stage), safe(&seen.id), safe(&seen.what));
        format!("  {stage}: {what} (event {id} at {} in {})", seen.time, safe(&seen.index))
    };
    if !said.answer.found.is_empty() {
        put("found:".to_owned());
        said.answer.found.iter().for_each(|found| put(seen(found)));
    }
    if let Some(nearest) = &said.answer.nearest {
        // Of what was looked for by name, the name says already what it is.
        let line = seen(nearest);
        if nearest.stage.starts_with("nearest") {
            put(line.trim_start().to_owned());
        } else {
            put("nearest:".to_owned());
            put(line);
        }
    }
    if !said.answer.reasons.is_empty() {
        put("what stood in the way:".to_owned());
        said.answer.reasons.iter().for_each(|reason| put(format!("  {}", safe(&reason.text))));
    }
    late.for_each(&mut put);
    if let Some(no_alert) = &said.no_alert {
        put(format!("no alert: {no_alert}"));
    }
    lines.join("\n") + "\n"
}
