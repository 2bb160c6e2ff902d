//! `run`: follows sources and tells alerts as they come, until it is told to stop.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use clap::Args;
use rules::event::Span;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::flags::{self, FormatFlag, RuleFlags, SourceFlags, ThreadsFlag};
use super::follow;
use super::load::{self, Configured, RuleSet};
use super::log;
use super::output;
use super::reach::{Reach, Sources};
use super::reload::{self, Reloader};
use super::selftest;
use super::terminal::Terminal;
use super::watch::Watched;
use super::{CliError, Outcome};
use crate::alert::AlertChange;
use crate::config::{Config, Format};
use crate::health::Board;
use crate::keyed::Limits;
use crate::merge::{Doubt, Merge, Pace};
use crate::metrics;
use crate::notify::Hush;
use crate::pipeline::{Delivery, Engine, Mode, Reload, RunError, Runner, StoredPositions};
use crate::sink::crew::{Crew, CrewError};
use crate::sink::{Printer, SecretError, SinkError};
use crate::source::Rejected;
use crate::source::folder::{NoPositions, Positions};
use crate::source::normalize::Normalizer;
use crate::source::stop::Stop;
use crate::sparing::Sparing;
use crate::store::Store;
use crate::time::{Clock as _, SystemClock};

/// Items between each source and the engine.
const CAPACITY: usize = 256;
/// A source that has said nothing for so long holds nobody up.
const IDLE_AFTER: Span = Span::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct Flags {
    #[command(flatten)]
    sources: SourceFlags,
    /// Keep alerts, open sequences and positions in this file, over restarts
    #[arg(long, value_name = "PATH")]
    store: Option<PathBuf>,
    /// When all sources have ended, leave half-seen sequences and alerts open for the next run, as a signal does
    #[arg(long)]
    keep_open: bool,
    #[command(flatten)]
    rules: RuleFlags,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    threads: ThreadsFlag,
}

pub(super) fn run(
    flags: Flags,
    mut configured: Configured,
    terminal: &Terminal,
) -> Result<Outcome, CliError> {
    log::init("info");
    let config = &mut configured.config;
    flags.sources.apply(config)?;
    flags.rules.apply(config);
    flags.format.apply(config);
    if flags.store.is_some() {
        config.store = flags.store;
    }
    if config.sources.is_empty() {
        let message = "nothing to watch: give --sensor, --cloudtrail, --guardduty or --vpcflow, or [[source]] in the configuration";
        return Err(CliError::Usage(message.to_owned()));
    }
    if config.store.is_none() && flags.keep_open {
        let message = "--keep-open leaves what is open to the next run, and there is no store to keep it in: set [store] path, or give --store";
        return Err(CliError::Usage(message.to_owned()));
    }
    if config.store.is_none()
        && let Some(sink) = config.sinks.first()
    {
        let message = format!(
            "the sink \"{}\" keeps in the store what it has not delivered, and there is none: set [store] path, or give --store",
            sink.name
        );
        return Err(CliError::Usage(message));
    }
    let mut set = load::rules(&configured);
    set.report(terminal);
    set.refuse_bad_exceptions()?;
    let config = &configured.config;
    tell_reach(&set, config);
    let files = load::ListFiles::of(config);
    let watched = Watched::new(files.clone());
    let (lists, remarks) = files.load();
    load::say(&remarks, terminal);
    let n_rules = set.rules.len();
    selftest::add_rule(&mut set);
    let faults = reload::faults(&set);
    let n_faulty = reload::n_files(&faults);
    let board = Arc::new(Board::default());
    let (program, schema) = set.into_program();
    let normalizer = Arc::new(Normalizer::new(Arc::clone(&schema), Arc::new(lists)));

    let mut store =
        config.store.as_deref().map(Store::open_for_run).transpose().map_err(fault("cannot start"))?;
    let positions: Arc<dyn Positions> = match &store {
        Some(store) => Arc::new(StoredPositions::load(store).map_err(fault("cannot start"))?),
        None => Arc::new(NoPositions),
    };
    let hush = Arc::new(Hush::new(config.silences.clone()));
    tell_silences(config);
    board.set_hush(Arc::clone(&hush));
    if let Some(store) = &mut store {
        store.hush(Arc::clone(&hush));
    }
    let crew = match (&mut store, &config.store) {
        (Some(store), Some(path)) => {
            Some(Crew::start(&config.sinks, store, path, &board).map_err(not_started)?)
        }
        _ => None,
    };
    let is_printing = config.output.format != Format::None;
    let mut delivery = Told {
        printer: is_printing.then(|| output::open(&config.output, terminal)),
        sparing: Sparing::new(MAX_FAULTS),
    };
    let stop = Stop::default();
    let stage = flags::stage(config, &normalizer, &program);
    let mut merge = Merge::new(CAPACITY, Pace::Live { idle_after: IDLE_AFTER }, Arc::new(SystemClock))
        .by_clock(&schema)
        .with_stage(stage.clone());
    let store_path = config.store.as_deref();
    let threads =
        follow::start(&config.sources, &mut merge, &normalizer, &positions, &stop, store_path, &board)?;
    stop_on_signals(&stop)?;
    let kept_in =
        config.store.as_ref().map_or_else(|| "memory".to_owned(), |path| path.display().to_string());
    info!(rules = n_rules, sources = threads.len(), store = kept_in.as_str(), "watching");

    let reload = Reload::default();
    watched.start(Arc::clone(&normalizer), Arc::clone(&board));
    let reloader = Reloader {
        path: configured.path.clone(),
        flags: flags.rules,
        sources: flags.sources,
        format: flags.format,
        terminal: *terminal,
        running: config.clone(),
        schema: Arc::clone(&schema),
        faults,
        board: Arc::clone(&board),
        hush,
        reload: reload.clone(),
        watched,
    };
    reloader.listen()?;
    board.set_faulty_rules(n_faulty);
    if let Some(listen) = config.metrics.listen {
        let at = metrics::serve(listen, Arc::clone(&board)).map_err(fault("cannot start"))?;
        info!(listen = %at, "metrics");
    }
    let limits = Limits { join_grace: config.join_lateness, ..config.limits };
    let engine = Engine::new(program, &schema, limits, Mode::Revisions);
    let runner = Runner::new(engine, Mode::Revisions, store, &normalizer).map_err(fault("cannot start"))?;
    let runner = runner
        .with_retention(config.retention)
        .with_max_store_bytes(config.max_store_bytes)
        .with_board(Arc::clone(&board))
        .with_stage(stage)
        .with_open_end(flags.keep_open);
    let mut runner = runner.with_reload(reload, (*normalizer).clone());
    let ended = runner.run(&mut merge, &stop, &mut delivery);
    stop.stop();
    // What ended the run is told first, whatever else fails on the way out.
    let settled = crew.map_or(Ok(()), |crew| {
        crew.finish();
        runner.settle_sinks()
    });
    drop(merge);
    threads.into_iter().for_each(join);
    if let (Err(_), Err(error)) = (&ended, &settled) {
        warn!(%error, "what sinks took could not be noted: they are given it again");
    }
    let stats = ended.map_err(|error| match error {
        RunError::Deliver(error) => CliError::Output(error),
        error => fault("stopped")(error),
    })?;
    terminal.note("ended", &stats.to_string());
    stats.by_source_lines().iter().for_each(|line| terminal.note("source", line));
    let health = board.look().unwrap_or_default();
    health.sources.iter().for_each(|source| terminal.note("health", &source.line()));
    health.sinks.iter().for_each(|sink| terminal.note("sink", &sink.line(health.at_ms)));
    settled.map_err(fault("what sinks took could not be noted, and they are given it again"))?;
    Ok(Outcome::Clean)
}

/// A sink's settings are the configuration's fault, and stay so however often the unit tries. A secret's file may come a
/// moment later.
fn not_started(error: CrewError) -> CliError {
    match error {
        CrewError::Sink { source: SinkError::Secret(SecretError::Read { .. }), .. } => {
            fault("cannot start")(error)
        }
        CrewError::Sink { .. } => CliError::Usage(error.to_string()),
        error => fault("cannot start")(error),
    }
}

fn fault<E: std::error::Error + Send + Sync + 'static>(what: &str) -> impl Fn(E) -> CliError {
    move |source| CliError::Run { what: what.to_owned(), source: source.into() }
}

/// A source's thread has nothing to say in the end; one that panicked has been loud already.
fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        warn!("a source ended in a panic");
    }
}

/// Which silences there are: nobody shall wonder later why nobody was told.
pub(super) fn tell_silences(config: &Config) {
    let now = SystemClock.now();
    for silence in &config.silences {
        let (name, owner) = (silence.name.as_str(), silence.owner.as_str());
        let until = crate::time::format(silence.until);
        match silence.is_over(now) {
            true => warn!(silence = name, ?owner, until, "a silence has ended: take it out"),
            false => info!(silence = name, ?owner, until, "a silence is in force"),
        }
    }
}

fn tell_reach(set: &RuleSet, config: &Config) {
    let sources = Sources::of(config, &set.schema).with_alerts_of(&set.rules);
    let n_blind = set.rules.iter().filter(|rule| matches!(sources.reach(rule), Reach::Never { .. })).count();
    if n_blind > 0 {
        let n_rules = set.rules.len();
        warn!(
            blind = n_blind,
            rules = n_rules,
            "some rules cannot fire with these sources; `groundtrail check` names them"
        );
    }
}

/// Ends the run in good order on SIGINT and SIGTERM, and at once on a second one.
fn stop_on_signals(stop: &Stop) -> Result<(), CliError> {
    let failed = |source: io::Error| CliError::Run {
        what: "cannot listen for signals".to_owned(),
        source: source.into(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt()).map_err(failed)?, signal(SignalKind::terminate()).map_err(failed)?)
    };
    let stop = stop.clone();
    std::thread::spawn(move || {
        runtime.block_on(async {
            for n_signals in 0.. {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if n_signals > 0 {
                    std::process::exit(3);
                }
                stop.stop();
            }
        });
    });
    Ok(())
}

/// Prints alerts, and hands trouble to the log. Sinks have queues of their own.
struct Told {
    printer: Option<Box<dyn Printer>>,
    /// By source and what was wrong.
    sparing: Sparing<(Arc<str>, String)>,
}

impl Told {
    fn print(&mut self, document: &serde_json::Value) -> io::Result<()> {
        self.printer.as_mut().map_or(Ok(()), |printer| printer.write(document))
    }
}

/// Different things that can be wrong and are told apart within a minute. Whoever sends to a source makes them up.
const MAX_FAULTS: usize = 100;

impl Delivery for Told {
    fn alert(&mut self, change: &AlertChange) -> io::Result<()> {
        self.print(&change.document)
    }

    fn again(&mut self, document: &str) -> io::Result<()> {
        self.print(&serde_json::from_str(document)?)
    }

    fn rejected(&mut self, rejected: &Rejected) {
        let Rejected { source, at, reason, .. } = rejected;
        let key = (Arc::clone(source), reason.clone());
        let others = |(source, _)| (source, String::new());
        let (source, at, reason) = (&**source, at.as_str(), reason.as_str());
        match self.sparing.due(key, others, 1, Instant::now()) {
            Some((_, 1)) => warn!(source, at, reason, "could not be read"),
            Some((_, n)) => {
                warn!(source, at, reason, n, "could not be read: this and others within a minute")
            }
            None => {}
        }
    }

    fn doubt(&mut self, doubt: &Doubt) {
        warn!(source = &*doubt.source, "{doubt}");
    }
}
