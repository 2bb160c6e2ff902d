//! SIGHUP: the configuration is read again, the rules and lists it names are loaded and checked, and the run takes them
//! over. Where anything is wrong it stays with what it has.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use rules::catalogue::report::Report;
use rules::schema::Schema;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::CliError;
use super::flags::{FormatFlag, RuleFlags, SourceFlags};
use super::load::{self, RuleSet};
use super::terminal::Terminal;
use crate::config::Config;
use crate::health::Board;
use crate::pipeline::{Reload, Staged};

/// What is needed to load as the start did.
pub(super) struct Reloader {
    pub(super) path: Option<PathBuf>,
    pub(super) flags: RuleFlags,
    pub(super) sources: SourceFlags,
    pub(super) format: FormatFlag,
    pub(super) terminal: Terminal,
    pub(super) running: Config,
    pub(super) schema: Arc<Schema>,
    /// Rule files that were wrong already. They keep nobody from loading the rest.
    pub(super) faulty: BTreeSet<PathBuf>,
    pub(super) board: Arc<Board>,
    pub(super) reload: Reload,
}

pub(super) fn faulty(set: &RuleSet) -> BTreeSet<PathBuf> {
    let wrong = set.reports.iter().filter(|report| Report::has_errors(report));
    wrong.map(|report| report.path.clone()).collect()
}

impl Reloader {
    /// Loads at every SIGHUP, on a thread of its own.
    ///
    /// # Errors
    /// When signals cannot be listened for.
    pub(super) fn listen(mut self) -> Result<(), CliError> {
        let failed = |source: std::io::Error| CliError::Run {
            what: "cannot listen for signals".to_owned(),
            source: source.into(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
        let mut hangup = {
            let _inside = runtime.enter();
            signal(SignalKind::hangup()).map_err(failed)?
        };
        std::thread::spawn(move || {
            while runtime.block_on(hangup.recv()).is_some() {
                if let Err(reason) = self.load() {
                    self.board.refuse_reload();
                    warn!(reason = reason.as_str(), "not reloaded: the run goes on with the rules it has");
                }
            }
        });
        Ok(())
    }

    fn load(&mut self) -> Result<(), String> {
        if self.running.store.is_none() {
            return Err("without a store, what is half-seen would be lost; give --store PATH, or start anew"
                .to_owned());
        }
        let mut configured = load::config(self.path.as_deref()).map_err(|error| match error {
            CliError::Config(faults) => faults.render(false),
            other => other.to_string(),
        })?;
        self.flags.apply(&mut configured.config);
        self.format.apply(&mut configured.config);
        let set = load::rules_onto(&configured, (*self.schema).clone());
        set.refuse_bad_exceptions().map_err(|error| {
            load::say(&set.remarks, &self.terminal);
            error.to_string()
        })?;
        let wrong = faulty(&set);
        let newly: Vec<String> =
            wrong.difference(&self.faulty).map(|path| path.display().to_string()).collect();
        if !newly.is_empty() {
            set.report(&self.terminal);
            return Err(format!("these rule files are wrong, see above: {}", newly.join(", ")));
        }
        let (indicators, remarks) = load::indicators(&configured.config);
        load::say(&remarks, &self.terminal);
        if remarks.iter().any(|remark| remark.is_error) {
            return Err("an indicator list cannot be read, see above".to_owned());
        }
        let n_rules = set.rules.len();
        let (program, schema) = set.into_program();
        self.board.set_faulty_rules(wrong.len());
        (self.schema, self.faulty) = (Arc::clone(&schema), wrong);
        self.reload.stage(Staged { program, schema, indicators: Arc::new(indicators) });
        info!(rules = n_rules, "loaded and checked");
        let needs_start =
            |config: &Config| (config.retention, config.output.clone(), config.store.clone(), config.metrics);
        let mut configured = configured.config;
        // Those of the command line stay, whatever the file says.
        self.sources.apply(&mut configured).map_err(|error| error.to_string())?;
        if configured.sources != self.running.sources {
            warn!(
                "[[source]] of the configuration has changed, too: sources are opened at the start, so it counts from the next one"
            );
        }
        let is_store_flag = configured.store.is_none();
        let of_file = Config {
            store: if is_store_flag { self.running.store.clone() } else { configured.store.clone() },
            ..configured
        };
        if needs_start(&of_file) != needs_start(&self.running) {
            warn!(
                "store, retention, output or metrics of the configuration have changed, too: they count from the next start"
            );
        }
        Ok(())
    }
}
