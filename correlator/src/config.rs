//! The configuration file, read into a `Config` that cannot be wrong.
//!
//! What a deployment is goes into the file; how one run behaves goes into flags, which `cli` lays over it. Whether
//! paths exist and queries compile is for those who open them.

pub mod aws;
mod bounds;
mod keys;
mod layers;
mod limits;
mod overlay;
mod reader;
mod sensors;
mod show;
pub mod silences;
pub mod sinks;
#[cfg(test)]
mod tests;

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use jiff::civil::Date;
use rules::bounds::Bounds;
use rules::event::Span;
use rules::sigma::Placeholders;

use crate::keyed::Limits;
use crate::notify::Silence;
use crate::pipeline::DEFAULT_RETENTION;
use crate::time::Lateness;
use crate::wire::listen::Settings;

pub use keys::schema;
pub use layers::Layers;
pub use reader::Fault;
pub(crate) use reader::closest;
use reader::{Context, Table};

/// The commented default, as `config default` prints it. What packages install is short, and lies beside it.
pub const DEFAULT: &str = include_str!("../../packaging/config-default.toml");

/// Where packages put the file.
pub const SYSTEM_PATH: &str = "/etc/groundtrail/groundtrail.toml";

const MIB: u64 = 1 << 20;

#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The embedded store; none keeps everything in memory.
    pub store: Option<PathBuf>,
    /// How long closed alerts, and what is known of hosts and keys, stay in the store.
    pub retention: Span,
    /// The store's file is kept within this size, where it says one.
    pub max_store_bytes: Option<u64>,
    /// What open state may cost.
    pub limits: Limits,
    /// So many read events and ask the rules about them; with one, each source reads for itself.
    pub n_threads: u32,
    /// How late one side of a join of hosts and AWS may come after the other.
    pub join_lateness: Span,
    pub sources: Vec<Source>,
    pub rules: Rules,
    pub drop: Drop,
    /// Endpoints of `aws --endpoint-url` that are no news.
    pub known_endpoints: Vec<KnownEndpoint>,
    pub indicators: Vec<IndicatorFile>,
    pub geo: Geo,
    pub exceptions: Vec<Exception>,
    /// Principals (ARNs, `*` allowed) whose discovery bursts are expected.
    pub discovery_allowed: Vec<String>,
    /// What `%name%` stands for in Sigma rules.
    pub placeholders: Placeholders,
    pub output: Output,
    pub silences: Vec<Silence>,
    pub sinks: Vec<sinks::Sink>,
    pub metrics: Metrics,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            store: None,
            retention: DEFAULT_RETENTION,
            max_store_bytes: None,
            limits: Limits::default(),
            n_threads: 1,
            join_lateness: Limits::default().join_grace,
            sources: Vec::new(),
            rules: Rules::default(),
            drop: Drop { has_builtin: true, paths: Vec::new() },
            known_endpoints: Vec::new(),
            indicators: Vec::new(),
            geo: Geo::default(),
            exceptions: Vec::new(),
            discovery_allowed: Vec::new(),
            placeholders: Placeholders::default(),
            output: Output { format: Format::Auto },
            silences: Vec::new(),
            sinks: Vec::new(),
            metrics: Metrics::default(),
        }
    }
}

/// Where events come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    pub input: Input,
    /// How far behind the newest event of this source another may arrive and still be in time.
    pub lateness: Span,
    /// A longer line or record is refused and counted.
    pub max_record_bytes: u64,
    /// A compressed file may unpack to no more than this.
    pub max_file_bytes: u64,
}

impl Source {
    /// A source with the limits that fit its kind.
    pub fn new(input: Input) -> Self {
        let Lateness(lateness) = match &input {
            Input::Sensor(_) | Input::Sensors(_) => Lateness::SENSOR,
            Input::Folder { kind: Feed::CloudTrail, .. } => Lateness::CLOUDTRAIL,
            Input::Folder { kind: Feed::GuardDuty, .. } => Lateness::GUARDDUTY,
            Input::Folder { kind: Feed::VpcFlow, .. } => Lateness::VPCFLOW,
            Input::Queue(_) | Input::Bucket(_) => Lateness::CLOUDTRAIL,
        };
        Self { input, lateness, max_record_bytes: MIB, max_file_bytes: 512 * MIB }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    Sensor(SensorInput),
    /// Sensors that wait for acknowledgements, over TLS or a Unix socket.
    Sensors(Settings),
    Folder {
        kind: Feed,
        path: PathBuf,
        follow: bool,
    },
    Queue(aws::Queue),
    Bucket(aws::Bucket),
}

/// How sensor events arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SensorInput {
    Stdin,
    File {
        path: PathBuf,
        follow: bool,
    },
    /// A Unix socket the correlator listens on.
    Unix(PathBuf),
}

/// What AWS lays down as files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    CloudTrail,
    GuardDuty,
    VpcFlow,
}

impl Feed {
    pub const ALL: [(&'static str, Self); 3] =
        [("cloudtrail", Self::CloudTrail), ("guardduty", Self::GuardDuty), ("vpcflow", Self::VpcFlow)];

    pub fn name(self) -> &'static str {
        match self {
            Self::CloudTrail => "cloudtrail",
            Self::GuardDuty => "guardduty",
            Self::VpcFlow => "vpcflow",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    pub has_builtin: bool,
    pub paths: Vec<PathBuf>,
    /// Rule ids.
    pub disabled: Vec<String>,
    /// Matches of building blocks are alerts to people too.
    pub tells_building_blocks: bool,
    pub bounds: Bounds,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            has_builtin: true,
            paths: Vec::new(),
            disabled: Vec::new(),
            tells_building_blocks: false,
            bounds: Bounds::default(),
        }
    }
}

/// Useless high-volume API events, left out at ingest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drop {
    pub has_builtin: bool,
    pub paths: Vec<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownEndpoint {
    /// A host name in lower case; `*.` at its front stands for any subdomain.
    Host(String),
    Net(IpNet),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndicatorFile {
    pub path: PathBuf,
    pub provider: String,
    /// Of entries that say nothing of it, from 0 to 100.
    pub confidence: Option<u8>,
    /// Of all its entries.
    pub labels: Vec<String>,
}

/// Files in MaxMind's format.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Geo {
    /// Whose networks addresses belong to.
    pub asn: Option<PathBuf>,
    /// Cities, or countries alone.
    pub city: Option<PathBuf>,
}

/// A rule stays quiet where the query matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    pub rule_id: String,
    /// KQL. Compiled with the rules; `query_at` is its place in the file `query_in`, quotes included.
    pub query: String,
    pub query_at: Range<usize>,
    pub query_in: Option<PathBuf>,
    pub reason: String,
    /// From the start of this day (UTC, event time) on the exception is void.
    pub expires: Option<Date>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Events that it must take, as JSON.
    pub takes: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Output {
    pub format: Format,
}

/// What stdout gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `Pretty` on a terminal, else `Ndjson`.
    Auto,
    Ndjson,
    Pretty,
    /// Nothing: alerts go to sinks alone.
    None,
}

impl Format {
    const ALL: [(&'static str, Self); 4] =
        [("auto", Self::Auto), ("ndjson", Self::Ndjson), ("pretty", Self::Pretty), ("none", Self::None)];

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(name, _)| *name == word).map(|(_, format)| *format)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Ndjson => "ndjson",
            Self::Pretty => "pretty",
            Self::None => "none",
        }
    }
}

/// Where a run may be asked how it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Metrics {
    pub listen: Option<SocketAddr>,
    /// Others than this machine may ask.
    pub allow_remote: bool,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read \"{path}\": {source}; {}", way_out(.source))]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} in \"{}\"", count(.faults.len()), .layers.names_of(.faults))]
    Faults { layers: Layers, faults: Vec<Fault> },
    #[error("the variable {name} sets no key; did you mean {near}?")]
    Variable { name: String, near: String },
}

fn way_out(error: &std::io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound => "check the path given with --config",
        ErrorKind::IsADirectory => "name the file itself: what lies in conf.d beside it is read as well",
        ErrorKind::InvalidData => "save it as UTF-8 text",
        _ => "check that this user may read it",
    }
}

fn count(n_faults: usize) -> String {
    if n_faults == 1 { "one fault".to_owned() } else { format!("{n_faults} faults") }
}

impl ConfigError {
    /// The error for people: each fault with its excerpt.
    pub fn render(&self, is_coloured: bool) -> String {
        match self {
            Self::Read { .. } | Self::Variable { .. } => self.to_string(),
            Self::Faults { layers, faults } => {
                let render = |fault: &Fault| {
                    let (layer, span) = layers.at(&fault.span)?;
                    Some(Fault { span, ..fault.clone() }.render(&layer.name, &layer.text, is_coloured))
                };
                faults.iter().filter_map(render).collect::<Vec<_>>().join("\n\n")
            }
        }
    }
}

impl Config {
    /// What the file at `path`, those of `conf.d` beside it, and the environment say together.
    ///
    /// # Errors
    /// When a file cannot be read, or anything in them is wrong: all of it at once.
    pub fn load(path: Option<&Path>) -> Result<(Self, Layers), ConfigError> {
        // A variable that is no text names no key.
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let layers = Layers::gather(path, variables)?;
        Ok((Self::of(&layers)?, layers))
    }

    /// Reads the text of the file at `path`; relative paths in it start at the file's folder.
    ///
    /// # Errors
    /// Every fault of the text.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        Self::of(&Layers::one(text, path))
    }

    pub(crate) fn of(layers: &Layers) -> Result<Self, ConfigError> {
        let mut ctx = Context { faults: Vec::new(), base: &layers.base };
        let document = layers.document(&mut ctx.faults);
        let mut config = read(Table::root(&document), &mut ctx);
        if !ctx.faults.is_empty() {
            ctx.faults.sort_by_key(|fault| fault.span.start);
            return Err(ConfigError::Faults { layers: layers.clone(), faults: ctx.faults });
        }
        for exception in config.exceptions.iter_mut().filter(|exception| !exception.query_at.is_empty()) {
            if let Some((layer, span)) = layers.at(&exception.query_at) {
                (exception.query_at, exception.query_in) = (span, layer.file());
            }
        }
        Ok(config)
    }
}

fn read(mut root: Table<'_, '_>, ctx: &mut Context<'_>) -> Config {
    let mut store = root.table("store", ctx);
    let mut time = root.table("time", ctx);
    let mut rules = root.table("rules", ctx);
    let mut drop = root.table("drop", ctx);
    let mut endpoints = root.table("endpoints", ctx);
    let mut discovery = root.table("discovery", ctx);
    let mut geo = root.table("geo", ctx);
    let mut limits = root.table("limits", ctx);
    let config = Config {
        store: store.path("path", ctx),
        retention: retention(&mut store, ctx),
        max_store_bytes: limits::max_store(&mut store, ctx),
        n_threads: limits::threads(&mut limits, ctx),
        limits: Limits { skew: skew(&mut time, ctx), ..limits::read(&mut limits, ctx) },
        join_lateness: join_lateness(&mut time, ctx),
        sources: root.tables("source", ctx).into_iter().filter_map(|table| source(table, ctx)).collect(),
        rules: Rules {
            has_builtin: rules.bool("builtin", ctx).unwrap_or(true),
            paths: rules.paths("paths", ctx),
            disabled: rules.strings("disabled", ctx).into_iter().map(|id| id.value).collect(),
            tells_building_blocks: rules.bool("building_blocks", ctx).unwrap_or(false),
            bounds: bounds::read(&mut rules, ctx),
        },
        drop: Drop {
            has_builtin: drop.bool("builtin", ctx).unwrap_or(true),
            paths: drop.paths("paths", ctx),
        },
        known_endpoints: known_endpoints(&mut endpoints, ctx),
        placeholders: placeholders(&mut root, ctx),
        indicators: root
            .tables("indicators", ctx)
            .into_iter()
            .filter_map(|table| indicator(table, ctx))
            .collect(),
        geo: Geo { asn: geo.path("asn", ctx), city: geo.path("city", ctx) },
        exceptions: root
            .tables("exceptions", ctx)
            .into_iter()
            .filter_map(|table| exception(table, ctx))
            .collect(),
        discovery_allowed: principals(&mut discovery, ctx),
        output: output(root.table("output", ctx), ctx),
        silences: silences::read(&mut root, ctx),
        sinks: sinks::read(&mut root, ctx),
        metrics: metrics(root.table("metrics", ctx), ctx),
    };
    if config.sources.iter().filter(|source| is_stdin(source)).nth(1).is_some() {
        ctx.fault(root.span(), "two sources read stdin", "let one of them read a file or a socket");
    }
    for table in [store, limits, time, rules, drop, endpoints, discovery, geo, root] {
        table.finish(ctx);
    }
    config
}

/// What repeats within a day is known again by what is stored, and cloud events may be as late as that.
const MIN_RETENTION: Span = Span::from_secs(24 * 3_600);
const MAX_RETENTION: Span = Span::from_secs(3_650 * 24 * 3_600);

fn retention(store: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Span {
    let Some(span) = store.duration_at("retention", ctx) else { return DEFAULT_RETENTION };
    if span.value < MIN_RETENTION || span.value > MAX_RETENTION {
        ctx.fault(span.span, "\"retention\" is out of bounds", "write a span from \"1d\" to \"3650d\"");
    }
    span.value
}

/// Less than what any late event is given would be no lateness at all; a week of half-seen joins is a lot to hold.
const MAX_JOIN_LATENESS: Span = Span::from_secs(7 * 24 * 3_600);

fn join_lateness(time: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Span {
    let limits = Limits::default();
    let Some(span) = time.duration_at("join_lateness", ctx) else { return limits.join_grace };
    if span.value < limits.grace || span.value > MAX_JOIN_LATENESS {
        ctx.fault(span.span, "\"join_lateness\" is out of bounds", "write a span from \"15m\" to \"7d\"");
    }
    span.value
}

/// More than a minute is no skew but a clock that is wrong, and what comes before what would say nothing any more.
const MAX_SKEW: Span = Span::from_secs(60);

fn skew(time: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Span {
    let Some(span) = time.duration_at("skew", ctx) else { return Limits::default().skew };
    if span.value > MAX_SKEW {
        ctx.fault(span.span, "\"skew\" is out of bounds", "write a span from \"0s\" to \"60s\"");
    }
    span.value
}

fn metrics(mut table: Table<'_, '_>, ctx: &mut Context<'_>) -> Metrics {
    let text = table.str("listen", ctx);
    let allow_remote = table.bool("allow_remote", ctx).unwrap_or(false);
    let listen = text.and_then(|text| match text.value.parse::<SocketAddr>() {
        Ok(listen) if listen.ip().is_loopback() || allow_remote => Some(listen),
        Ok(listen) => {
            let way_out = "listen on 127.0.0.1 and put a proxy with TLS and a password before it, or add allow_remote = true";
            ctx.fault(text.span, format!("\"{listen}\" lets other machines ask, without password or TLS"), way_out);
            None
        }
        Err(_) => {
            let message = format!("\"{}\" is not an address with a port", text.value);
            ctx.fault(text.span, message, "write \"127.0.0.1:9109\" or \"[::1]:9109\"");
            None
        }
    });
    table.finish(ctx);
    Metrics { listen, allow_remote }
}

fn is_stdin(source: &Source) -> bool {
    source.input == Input::Sensor(SensorInput::Stdin)
}

fn source(mut table: Table<'_, '_>, ctx: &mut Context<'_>) -> Option<Source> {
    #[derive(Clone, Copy)]
    enum Type {
        Sensor,
        Sensors,
        Feed(Feed),
        Queue,
        Bucket,
    }
    let types: Vec<(&str, Type)> =
        [("sensor", Type::Sensor), ("sensors", Type::Sensors), ("sqs", Type::Queue), ("s3", Type::Bucket)]
            .into_iter()
            .chain(Feed::ALL.iter().map(|(name, feed)| (*name, Type::Feed(*feed))))
            .collect();
    if table.is_absent("type") {
        ctx.fault(
            table.span(),
            "\"type\" is missing",
            "add type = \"sensors\", \"sensor\", \"sqs\", \"s3\", \"cloudtrail\", \"guardduty\" or \"vpcflow\"",
        );
    }
    let chosen = table.choice("type", &types, ctx);
    let input = match chosen {
        Some(Type::Sensor) => sensor_input(&mut table, ctx).map(Input::Sensor),
        Some(Type::Sensors) => sensors::read(&mut table, ctx).map(Input::Sensors),
        Some(Type::Feed(kind)) => {
            let path = table.required_path("path", ctx);
            let follow = table.bool("follow", ctx).unwrap_or(true);
            path.map(|path| Input::Folder { kind, path, follow })
        }
        Some(Type::Queue) => aws::queue(&mut table, ctx).map(Input::Queue),
        Some(Type::Bucket) => aws::bucket(&mut table, ctx).map(Input::Bucket),
        None => {
            // Without a type every key of any type is as good as known.
            for key in ["path", "file", "stdin", "follow"].iter().chain(&sensors::KEYS).chain(aws::KEYS) {
                table.ask(key);
            }
            None
        }
    };
    let lateness = table.duration("lateness", ctx);
    let max_record_bytes = table.size("max_record", ctx);
    let max_file_bytes = table.size("max_file", ctx);
    table.finish(ctx);
    let defaults = Source::new(input?);
    Some(Source {
        lateness: lateness.unwrap_or(defaults.lateness),
        max_record_bytes: max_record_bytes.unwrap_or(defaults.max_record_bytes),
        max_file_bytes: max_file_bytes.unwrap_or(defaults.max_file_bytes),
        ..defaults
    })
}

fn sensor_input(table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Option<SensorInput> {
    let stdin = table.bool("stdin", ctx).unwrap_or(false);
    let file = table.path("file", ctx);
    let unix = table.path("unix", ctx);
    let follow = table.bool("follow", ctx).unwrap_or(true);
    match (stdin, file, unix) {
        (true, None, None) => Some(SensorInput::Stdin),
        (false, Some(path), None) => Some(SensorInput::File { path, follow }),
        (false, None, Some(path)) => Some(SensorInput::Unix(path)),
        _ => {
            ctx.fault(
                table.span(),
                "a sensor source needs one place to read",
                "give one of unix, file, stdin = true",
            );
            None
        }
    }
}

fn placeholders(root: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Placeholders {
    let mut placeholders = Placeholders::new();
    for mut table in root.tables("placeholder", ctx) {
        let name = table.required("name", ctx);
        let values = table.strings("values", ctx).into_iter().map(|at| at.value).collect();
        table.finish(ctx);
        let Some(name) = name else { continue };
        if placeholders.insert(name.value.clone(), values).is_some() {
            ctx.fault(
                name.span,
                format!("the placeholder \"{}\" is here twice", name.value),
                "list all of its values in one place",
            );
        }
    }
    placeholders
}

fn known_endpoints(table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Vec<KnownEndpoint> {
    let mut known = Vec::new();
    for item in table.strings("known", ctx) {
        match parse_endpoint(&item.value) {
            Some(endpoint) => known.push(endpoint),
            None => ctx.fault(
                item.span,
                format!("\"{}\" is neither a host name nor an address range", item.value),
                "write \"minio.example.net\", \"*.example.net\", \"10.0.0.0/8\" or \"10.1.2.3\"; no scheme, port or path",
            ),
        }
    }
    known
}

fn parse_endpoint(text: &str) -> Option<KnownEndpoint> {
    if let Ok(net) = text.parse::<IpNet>() {
        return Some(KnownEndpoint::Net(net.trunc()));
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(KnownEndpoint::Net(IpNet::from(ip)));
    }
    let host = text.strip_prefix("*.").unwrap_or(text);
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let is_host = !host.is_empty() && host.len() <= 253 && host.split('.').all(is_label);
    is_host.then(|| KnownEndpoint::Host(text.to_ascii_lowercase()))
}

fn principals(table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Vec<String> {
    let is_arn = |text: &str| {
        text.starts_with("arn:")
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "_+=,.@-:/*".contains(c))
    };
    let mut allowed = Vec::new();
    for item in table.strings("allowed", ctx) {
        if is_arn(&item.value) {
            allowed.push(item.value);
        } else {
            let message = format!("\"{}\" is not an ARN", item.value);
            ctx.fault(
                item.span,
                message,
                "write \"arn:aws:iam::123456789012:user/inventory\"; * stands for any text",
            );
        }
    }
    allowed
}

fn indicator(mut table: Table<'_, '_>, ctx: &mut Context<'_>) -> Option<IndicatorFile> {
    let path = table.required_path("path", ctx);
    let provider = table.required("provider", ctx);
    let confidence = table.integer("confidence", 0..101, ctx).and_then(|number| u8::try_from(number).ok());
    let labels = table.strings("labels", ctx).into_iter().map(|at| at.value).collect();
    table.finish(ctx);
    Some(IndicatorFile { path: path?, provider: provider?.value, confidence, labels })
}

fn exception(mut table: Table<'_, '_>, ctx: &mut Context<'_>) -> Option<Exception> {
    let rule_id = table.required("rule_id", ctx);
    let query = table.required("query", ctx);
    let reason = table.required("reason", ctx);
    let expires = table.str("expires", ctx);
    let owner = table.str("owner", ctx);
    let takes = table.strings("takes", ctx);
    table.finish(ctx);
    let expires = match expires {
        None => None,
        Some(text) => {
            let date = text.value.parse().ok();
            if date.is_none() {
                ctx.fault(text.span, format!("\"{}\" is not a day", text.value), "write \"2026-12-31\"");
            }
            date
        }
    };
    let query = query?;
    Some(Exception {
        rule_id: rule_id?.value,
        query: query.value,
        query_at: query.span,
        query_in: None,
        reason: reason?.value,
        expires,
        owner: owner.map(|owner| owner.value),
        takes: takes.into_iter().map(|event| event.value).collect(),
    })
}

fn output(mut table: Table<'_, '_>, ctx: &mut Context<'_>) -> Output {
    let format = table.choice("format", &Format::ALL, ctx).unwrap_or(Format::Auto);
    table.finish(ctx);
    Output { format }
}
