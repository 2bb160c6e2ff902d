//! SIGHUP: the configuration is read again, the rules and lists it names are loaded and checked, and the run takes them
//! over. Where anything is wrong it stays with what it has.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use rules::catalogue::report::{Finding, Report};
use rules::diagnostic::Severity;
use rules::schema::Schema;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::CliError;
use super::flags::{FormatFlag, RuleFlags, SourceFlags};
use super::load::{self, ListFiles, RuleSet};
use super::run::tell_silences;
use super::selftest;
use super::terminal::Terminal;
use super::watch::Watched;
use crate::config::Config;
use crate::health::Board;
use crate::notify::Hush;
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
    /// What was wrong with rule files already. It keeps nobody from loading the rest.
    pub(super) faults: BTreeSet<Fault>,
    pub(super) board: Arc<Board>,
    pub(super) hush: Arc<Hush>,
    pub(super) reload: Reload,
    pub(super) watched: Watched,
}

/// A mistake in a rule file. A file of several documents may hold one and go on with the rest, so the path alone does not
/// say what is new.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fault {
    path: PathBuf,
    code: &'static str,
    message: String,
}

pub(super) fn faults(set: &RuleSet) -> BTreeSet<Fault> {
    let of_report = |report: &Report| {
        let errors = report.findings.iter().filter(|finding| finding.diagnostic.severity == Severity::Error);
        let fault = |finding: &Finding| Fault {
            path: report.path.clone(),
            code: finding.diagnostic.code.as_str(),
            message: finding.diagnostic.message.clone(),
        };
        errors.map(fault).collect::<Vec<_>>()
    };
    set.reports.iter().flat_map(of_report).collect()
}

pub(super) fn n_files(faults: &BTreeSet<Fault>) -> usize {
    faults.iter().map(|fault| &fault.path).collect::<BTreeSet<_>>().len()
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
        let mut set = load::rules_onto(&configured, (*self.schema).clone());
        set.refuse_bad_exceptions().map_err(|error| {
            load::say(&set.remarks, &self.terminal);
            error.to_string()
        })?;
        let faults = faults(&set);
        let newly: BTreeSet<String> =
            faults.difference(&self.faults).map(|fault| fault.path.display().to_string()).collect();
        if !newly.is_empty() {
            set.report(&self.terminal);
            let newly: Vec<String> = newly.into_iter().collect();
            return Err(format!("these rule files are wrong, see above: {}", newly.join(", ")));
        }
        let n_faulty = n_files(&faults);
        let files = ListFiles::of(&configured.config);
        let (lists, remarks) = files.load();
        load::say(&remarks, &self.terminal);
        if remarks.iter().any(|remark| remark.is_error) {
            return Err("a list cannot be read, see above".to_owned());
        }
        let n_rules = set.rules.len();
        selftest::add_rule(&mut set);
        let (program, schema) = set.into_program();
        self.board.set_faulty_rules(n_faulty);
        (self.schema, self.faults) = (Arc::clone(&schema), faults);
        self.reload.stage(Staged { program, schema, lists: Arc::new(lists) });
        self.watched.set(files);
        info!(rules = n_rules, "loaded and checked");
        self.hush.set(configured.config.silences.clone());
        tell_silences(&configured.config);
        let needs_start = |config: &Config| {
            (
                config.retention,
                config.join_lateness,
                config.limits,
                config.output,
                config.sinks.clone(),
                config.store.clone(),
                config.metrics,
            )
        };
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
                "store, retention, limits, [time], output, sinks or metrics of the configuration have changed, too: they count from the next start"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::load::Configured;

    #[test]
    fn a_second_mistake_in_a_file_that_had_one_is_new() {
        let folder = tempfile::tempdir().expect("a folder");
        let document = |name: &str, field: &str| {
            format!(
                "title: {name}\nlogsource: {{product: linux, category: process_creation}}\ndetection: {{s: {{{field}: x}}, condition: s}}\n---\n"
            )
        };
        let load = |second: &str| {
            let text = document("first", "Image|containz") + &document("second", second);
            std::fs::write(folder.path().join("two.yml"), text).expect("rules are written");
            let mut config = Config::default();
            config.rules.has_builtin = false;
            config.rules.paths.push(folder.path().to_owned());
            faults(&load::rules(&Configured { config, layers: crate::config::Layers::default(), path: None }))
        };
        let (before, same, worse) = (load("Image"), load("Image|endswith"), load("Image|endz"));
        assert_eq!((n_files(&before), before.len()), (1, 1));
        assert_eq!(before, same);
        assert_eq!(worse.difference(&before).count(), 1);
        assert_eq!(n_files(&worse), 1);
    }
}
