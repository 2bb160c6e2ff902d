//! Configuration file and flags into one `Config`; that into rules, sources and sinks. `run`, `replay`, `check` and
//! `test` all come through here, so that what one accepts the others do.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rules::bounds::Bounds;
use rules::catalogue::drops::DropLine;
use rules::catalogue::report::Report;
use rules::catalogue::{self, Loaded};
use rules::diagnostic::render::{self, Source, Style};
use rules::diagnostic::{Diagnostic, Severity};
use rules::expr::Expr;
use rules::program::Program;
use rules::rule::{self, Rule};
use rules::schema::Schema;
use rules::sigma;

use super::CliError;
use super::progress::Progress;
use super::terminal::Terminal;
use super::tune;
use crate::config::{Config, Exception, Geo, IndicatorFile, Layers, SYSTEM_PATH};
use crate::geo::Places;
use crate::indicator::ListName;
use crate::lists::Lists;
use crate::source::normalize::Normalizer;
use crate::untrusted::Untrusted;

/// A configuration and the file it came from.
pub(super) struct Configured {
    pub(super) config: Config,
    /// The texts it was read from.
    pub(super) layers: Layers,
    pub(super) path: Option<PathBuf>,
}

/// The named file, else the system's where there is one, else the defaults; then `conf.d` beside it and the environment.
pub(super) fn config(path: Option<&Path>) -> Result<Configured, CliError> {
    let system = Path::new(SYSTEM_PATH);
    let path = path.or_else(|| system.exists().then_some(system));
    let (config, layers) = Config::load(path)?;
    Ok(Configured { config, layers, path: path.map(Path::to_owned) })
}

/// Something to say about rules, exceptions or lists that stands in no rule file.
pub(super) struct Remark {
    pub(super) is_error: bool,
    /// One safe line, or a rendered excerpt.
    pub(super) text: String,
}

/// The rules that shall run, and everything there is to say about them.
pub(super) struct RuleSet {
    pub(super) rules: Vec<Rule<Expr>>,
    pub(super) drops: Vec<DropLine<Expr>>,
    pub(super) reports: Vec<Report>,
    /// Files of rule folders that are no rules.
    pub(super) n_passed_over: usize,
    pub(super) remarks: Vec<Remark>,
    pub(super) schema: Schema,
}

/// Loads the rules of the configuration, without the disabled ones and with its exceptions.
pub(super) fn rules(configured: &Configured) -> RuleSet {
    rules_onto(configured, Schema::builtin())
}

/// The same, in terms of a schema that is in use: what the rules need beyond it is added.
pub(super) fn rules_onto(configured: &Configured, mut schema: Schema) -> RuleSet {
    let config = &configured.config;
    // What is shipped is within the usual bounds.
    schema.set_bounds(Bounds::default());
    let mut builtin = catalogue::builtin(&mut schema);
    schema.set_bounds(config.rules.bounds);
    if !config.rules.has_builtin {
        builtin.rules.clear();
        builtin.reports.retain(|report| !report.path.starts_with("catalogue"));
    }
    if !config.drop.has_builtin {
        builtin.drops.clear();
        builtin.reports.retain(|report| !report.path.starts_with("drop"));
    }
    let paths = config.rules.paths.iter().chain(&config.drop.paths);
    let progress = Progress::of("reading rules");
    let sigma = sigma::Options { placeholders: config.placeholders.clone(), is_raw: false };
    let own = catalogue::load_with(paths, &sigma, &mut schema, &|n_done, n_all| progress.tell(n_done, n_all));
    let Loaded { rules, drops, reports, n_passed_over, .. } = builtin.join(own);
    let mut set = RuleSet { rules, drops, reports, n_passed_over, remarks: Vec::new(), schema };
    set.disable(&config.rules.disabled);
    if config.rules.tells_building_blocks {
        set.rules.iter_mut().for_each(|rule| rule.notifies = true);
    }
    for exception in config.all_exceptions() {
        set.except(&exception);
    }
    set
}

impl RuleSet {
    pub(super) fn has_errors(&self) -> bool {
        self.reports.iter().any(Report::has_errors) || self.remarks.iter().any(|remark| remark.is_error)
    }

    /// Everything there is to say, on stderr.
    pub(super) fn report(&self, terminal: &Terminal) {
        for report in self.reports.iter().filter(|report| !report.is_note()) {
            terminal.block(&report.render(style(terminal.is_stderr_coloured)));
        }
        let n_notes = self.reports.iter().filter(|report| report.is_note()).count();
        if n_notes > 0 {
            let text = format!(
                "{n_notes} rule files cannot fire here, in part or at all: `groundtrail check` says why"
            );
            terminal.note("note", &text);
        }
        say(&self.remarks, terminal);
    }

    /// # Errors
    /// When an exception of the configuration does not compile: running without it is not what was asked for.
    pub(super) fn refuse_bad_exceptions(&self) -> Result<(), CliError> {
        if self.remarks.iter().any(|remark| remark.is_error) {
            return Err(CliError::Usage("an exception of the configuration is wrong, see above".to_owned()));
        }
        Ok(())
    }

    pub(super) fn into_program(self) -> (Arc<Program>, Arc<Schema>) {
        let program = Program::with_drops(self.rules, self.drops, &self.schema);
        (Arc::new(program), Arc::new(self.schema))
    }

    fn disable(&mut self, ids: &[String]) {
        for id in ids {
            let n_before = self.rules.len();
            self.rules.retain(|rule| rule.id != *id);
            if self.rules.len() == n_before {
                self.remark(format!(
                    "[rules] disabled names \"{}\", and no loaded rule has that id",
                    Untrusted(id)
                ));
            }
        }
    }

    fn except(&mut self, exception: &Exception) {
        let predicate = match rules::kql::compile(&exception.query, &mut self.schema) {
            Ok(compiled) => {
                self.remark_on_query(exception, &compiled.warnings);
                compiled.plan
            }
            Err(diagnostics) => return self.remark_on_query(exception, &diagnostics),
        };
        self.remark_on_takes(exception, &predicate);
        let Some(rule) = self.rules.iter_mut().find(|rule| rule.id == exception.rule_id) else {
            // A setting of its own may well be about a rule that is not loaded.
            if !exception.query_at.is_empty() {
                let id = Untrusted(&exception.rule_id);
                self.remark(format!("an exception is for rule \"{id}\", and no loaded rule has that id"));
            }
            return;
        };
        rule.exceptions.push(rule::Exception {
            name: exception.reason.clone(),
            reason: exception.reason.clone(),
            expires: exception.expires,
            predicate,
        });
    }

    /// Where an exception no longer does what its author meant, somebody should know.
    fn remark_on_takes(&mut self, exception: &Exception, predicate: &Expr) {
        if exception.takes.is_empty() {
            return;
        }
        let normalizer = Normalizer::new(Arc::new(self.schema.clone()), Arc::default());
        for place in tune::not_taken(&exception.takes, predicate, &normalizer) {
            let (id, reason) = (Untrusted(&exception.rule_id), Untrusted(&exception.reason));
            self.remark(format!(
                "the exception \"{reason}\" of rule \"{id}\" does not take event {place} of its `takes`"
            ));
        }
    }

    fn remark(&mut self, text: String) {
        self.remarks.push(Remark { is_error: false, text });
    }

    fn remark_on_query(&mut self, exception: &Exception, diagnostics: &[Diagnostic]) {
        if diagnostics.is_empty() {
            return;
        }
        let path = exception.query_in.as_deref();
        let name = path.map_or_else(|| "exception".to_owned(), |path| path.display().to_string());
        let file = path.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        let source = match exception.query_at.is_empty() || file.is_empty() {
            true => Source::query(&name, &exception.query),
            false => Source::toml(&name, &file, exception.query_at.clone(), &exception.query),
        };
        let is_error = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
        self.remarks.push(Remark { is_error, text: render::render(source, diagnostics, Style::Plain) });
    }
}

/// Remarks, on stderr.
pub(super) fn say(remarks: &[Remark], terminal: &Terminal) {
    for remark in remarks {
        match (remark.text.contains('\n'), remark.is_error) {
            (true, _) => terminal.block(&remark.text),
            (false, true) => terminal.note("error", &remark.text),
            (false, false) => terminal.note("warning", &remark.text),
        }
    }
}

pub(super) fn style(is_coloured: bool) -> Style {
    if is_coloured { Style::Coloured } else { Style::Plain }
}

/// What the files of a configuration hold that events are held against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListFiles {
    pub(super) indicators: Vec<IndicatorFile>,
    pub(super) geo: Geo,
}

impl ListFiles {
    pub(super) fn of(config: &Config) -> Self {
        Self { indicators: config.indicators.clone(), geo: config.geo.clone() }
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        let geo = [&self.geo.asn, &self.geo.city];
        let own = self.indicators.iter().map(|file| file.path.as_path());
        own.chain(geo.into_iter().filter_map(|path| path.as_deref()))
    }

    /// Reads them; what cannot be read is said and left out.
    pub(super) fn load(&self) -> (Lists, Vec<Remark>) {
        let mut lists = Lists::default();
        let mut remarks = Vec::new();
        for file in &self.indicators {
            indicators(file, &mut lists, &mut remarks);
        }
        match Places::open(self.geo.asn.as_deref(), self.geo.city.as_deref()) {
            Ok(places) => lists.places = places,
            Err(error) => remarks.push(Remark { is_error: true, text: error.to_string() }),
        }
        (lists, remarks)
    }
}

/// What a configuration's lists hold; see [`ListFiles::load`].
pub(super) fn lists(config: &Config) -> (Lists, Vec<Remark>) {
    ListFiles::of(config).load()
}

fn indicators(file: &IndicatorFile, lists: &mut Lists, remarks: &mut Vec<Remark>) {
    let path = file.path.display().to_string();
    let shown = Untrusted(&path);
    let text = match std::fs::read_to_string(&file.path) {
        Ok(text) => text,
        Err(error) => {
            let way_out = match error.kind() {
                std::io::ErrorKind::InvalidData => {
                    "it is no text: save it as UTF-8, an address, network or domain a line"
                }
                _ => "check the path and its permissions",
            };
            let text = format!("cannot read indicators \"{shown}\": {error}; {way_out}");
            return remarks.push(Remark { is_error: true, text });
        }
    };
    let name = ListName { provider: &file.provider, confidence: file.confidence, labels: &file.labels };
    let loaded = lists.indicators.load_as(&text, &name);
    let mut warn = |text| remarks.push(Remark { is_error: false, text });
    for bad in loaded.bad.iter().take(5) {
        warn(format!("indicators \"{shown}\", line {}: {}", bad.line, Untrusted(&bad.reason)));
    }
    if loaded.n_bad > 5 {
        warn(format!("indicators \"{shown}\": {} more lines could not be read", loaded.n_bad - 5));
    }
    if loaded.n_entries == 0 {
        let others = loaded.others_in_words();
        let others = if others.is_empty() { "it is empty" } else { others.as_str() };
        warn(format!("indicators \"{shown}\" hold nothing that is looked for: {}", Untrusted(others)));
    }
    tracing::info!(
        list = %shown,
        provider = file.provider.as_str(),
        entries = loaded.n_entries,
        unreadable = loaded.n_bad,
        left_out = %Untrusted(&loaded.others_in_words()),
        "indicators read"
    );
}

/// Documents, one per line.
pub(super) fn json_lines(documents: &[serde_json::Value]) -> String {
    documents.iter().map(|document| format!("{}\n", crate::sink::to_line(document))).collect()
}
