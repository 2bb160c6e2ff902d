//! The configuration file and the flags that override it, checked whole: a [`Config`] that exists is right.

mod env;
mod place;
mod wire;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::process::table::Caps;
use crate::status;
use crate::watch::{FileWatch, FilesConfig, Patterns};

pub use env::{EnvAllow, EnvError};
pub use wire::{SpoolConfig, WireConfig};

/// What this deployment is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the running sensor answers who asks how it is. Of a run, not of a file.
    pub status_socket: PathBuf,
    pub host: HostConfig,
    pub output: OutputConfig,
    /// How a correlator is reached, for whoever names one on the command line.
    pub wire: WireConfig,
    pub environment: EnvAllow,
    pub files: FilesConfig,
    pub metadata: MetadataConfig,
    pub limits: Limits,
}

/// `[host]`: facts that cannot be read from the machine, or that are to win over what can.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct HostConfig {
    /// `host.id`. Default: the instance id on EC2, else the machine id. For hosts whose id must outlive a rebuild.
    pub id: Option<String>,
    /// `cloud.instance.id`. Default: from DMI. For tests and for hosts that hide their DMI.
    pub instance_id: Option<String>,
    /// `cloud.account.id`, twelve digits. Default: absent.
    pub account: Option<String>,
    /// `cloud.region`. Default: absent.
    pub region: Option<String>,
    /// Name of the instance's role, for joins with its API calls. Default: absent.
    pub role: Option<String>,
    /// `host.name`. Default: the node name.
    pub name: Option<String>,
}

/// `[output]`: where events go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum OutputConfig {
    #[default]
    Stdout,
    /// Appended to.
    File(PathBuf),
    /// A Unix stream socket that somebody else listens on; reconnected to as often as needed.
    Socket(PathBuf),
    /// A correlator that acknowledges what it has; a spool holds the rest.
    Correlator(SpoolConfig),
}

/// `[metadata]`: what of the word with the cloud's metadata services is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetadataConfig {
    /// Method and path of each request, and whether a token came along. Default true. False for hosts that cannot spare a
    /// look at the port of each packet.
    pub requests: bool,
    /// The id of the access key in an answer that hands out credentials, and nothing else of it. Default false: it is what
    /// joins a process to what its key did later, and the sensor looks into answers with secrets for it.
    pub access_key_ids: bool,
}

impl Default for MetadataConfig {
    fn default() -> Self {
        Self { requests: true, access_key_ids: false }
    }
}

/// `[limits]`: what the sensor may take from its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Ring buffer, a power of two from 64 KiB to 512 MiB. Default 8 MiB. Larger where bursts of processes are usual.
    pub ring_bytes: u32,
    /// Process table entries, 256 to 1,000,000. Default 65,536.
    pub max_processes: usize,
    /// What the process table may hold in memory, 1 MiB to 1 GiB. Default 16 MiB. When it is full the dead go first,
    /// then the arguments of the living are cut; larger where many thousand processes run with long command lines.
    pub table_bytes: usize,
    /// How often the ring is read when nothing urgent wakes the sensor, 1 to 1000 ms. Default 25 ms.
    pub poll: Duration,
}

impl Limits {
    pub fn table(&self) -> Caps {
        Caps { max_processes: self.max_processes, max_bytes: self.table_bytes }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ring_bytes: 8 << 20,
            max_processes: 65_536,
            table_bytes: 16 << 20,
            poll: Duration::from_millis(25),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read \"{}\": check the path and its permissions", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("not TOML: {0}")]
    Syntax(toml::de::Error),
    #[error("unknown key \"{key}\"{}", nearest.as_ref().map_or(String::new(), |near| format!(": did you mean \"{near}\"?")))]
    UnknownKey { key: String, nearest: Option<String> },
    #[error("\"{key}\" is wrong: {reason}")]
    Value { key: &'static str, reason: String },
    /// One of those above, with its place.
    #[error("{0}")]
    InFile(String),
}

/// Every key there is. A table of the file is known if some key starts with it.
const KEYS: [&str; 22] = [
    "host.id",
    "host.instance_id",
    "host.account",
    "host.region",
    "host.role",
    "host.name",
    "output.to",
    "output.path",
    "output.ca",
    "output.certificate",
    "output.key",
    "spool.path",
    "spool.max_bytes",
    "environment.allow",
    "files.watch",
    "files.read",
    "metadata.requests",
    "metadata.access_key_ids",
    "limits.ring_bytes",
    "limits.max_processes",
    "limits.table_bytes",
    "limits.poll_ms",
];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    host: HostConfig,
    output: FileOutput,
    spool: wire::FileSpool,
    environment: FileEnvironment,
    files: FileFiles,
    metadata: FileMetadata,
    limits: FileLimits,
}

#[derive(Debug, Default, Deserialize)]
struct FileOutput {
    to: Option<String>,
    path: Option<PathBuf>,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
struct FileEnvironment {
    allow: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
struct FileFiles {
    watch: Option<Vec<String>>,
    read: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
struct FileMetadata {
    requests: Option<bool>,
    access_key_ids: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
struct FileLimits {
    ring_bytes: Option<u64>,
    max_processes: Option<u64>,
    table_bytes: Option<u64>,
    poll_ms: Option<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            status_socket: status::default_path(),
            host: HostConfig::default(),
            output: OutputConfig::default(),
            wire: WireConfig::default(),
            environment: EnvAllow::default(),
            files: FilesConfig::default(),
            metadata: MetadataConfig::default(),
            limits: Limits::default(),
        }
    }
}

impl Config {
    /// # Errors
    /// The first thing wrong with the file, with its key and the way out.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|err| ConfigError::InFile(place::point(path, &text, &err)))
    }

    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let table: BTreeMap<String, toml::Value> = toml::from_str(text).map_err(ConfigError::Syntax)?;
        refuse_unknown_keys(&table)?;
        let file: File = toml::from_str(text).map_err(ConfigError::Syntax)?;
        let environment = match file.environment.allow {
            None => EnvAllow::default(),
            Some(allow) => EnvAllow::new(allow)
                .map_err(|err| ConfigError::Value { key: "environment.allow", reason: err.to_string() })?,
        };
        let wire = wire::read(&file.output, file.spool)?;
        Ok(Self {
            status_socket: status::default_path(),
            host: checked_host(file.host)?,
            output: output(file.output, &wire)?,
            wire,
            environment,
            files: files(file.files)?,
            metadata: metadata(&file.metadata)?,
            limits: limits(&file.limits)?,
        })
    }
}

fn refuse_unknown_keys(table: &BTreeMap<String, toml::Value>) -> Result<(), ConfigError> {
    for (section, value) in table {
        let keys: Vec<String> = match value {
            toml::Value::Table(inner) if !inner.is_empty() => {
                inner.keys().map(|key| format!("{section}.{key}")).collect()
            }
            _ => vec![section.clone()],
        };
        for key in keys {
            let is_section = KEYS.iter().any(|known| known.split('.').next() == Some(&key));
            let is_known = KEYS.contains(&key.as_str()) || (is_section && value.is_table());
            if !is_known {
                return Err(ConfigError::UnknownKey { nearest: nearest(&key), key });
            }
        }
    }
    Ok(())
}

fn nearest(key: &str) -> Option<String> {
    let scored = KEYS.iter().map(|known| (strsim::jaro_winkler(key, known), known));
    let (score, best) = scored.max_by(|(left, _), (right, _)| left.total_cmp(right))?;
    (score > 0.7).then(|| (*best).to_owned())
}

fn checked_host(host: HostConfig) -> Result<HostConfig, ConfigError> {
    let wrong = |key, reason: &str| Err(ConfigError::Value { key, reason: reason.to_owned() });
    for (key, value) in [
        ("host.id", &host.id),
        ("host.name", &host.name),
        ("host.region", &host.region),
        ("host.role", &host.role),
    ] {
        if value.as_ref().is_some_and(|value| value.trim().is_empty()) {
            return wrong(key, "it is empty: leave the key out instead");
        }
    }
    if host.account.as_ref().is_some_and(|id| id.len() != 12 || !id.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return wrong("host.account", "an account id has twelve digits, in quotes");
    }
    if host.instance_id.as_ref().is_some_and(|id| !crate::host::instance::is_instance_id(id)) {
        return wrong("host.instance_id", "an instance id is \"i-\" and 8 or 17 hex digits");
    }
    Ok(host)
}

fn output(file: FileOutput, wire: &WireConfig) -> Result<OutputConfig, ConfigError> {
    let wrong = |key, reason: String| Err(ConfigError::Value { key, reason });
    match (file.to.as_deref(), file.path) {
        (None | Some("stdout"), None) => Ok(OutputConfig::Stdout),
        (None | Some("stdout"), Some(_)) => {
            wrong("output.path", "stdout has none: set output.to to \"file\" or \"socket\"".into())
        }
        (Some("file"), Some(path)) => Ok(OutputConfig::File(path)),
        (Some("socket"), Some(path)) => Ok(OutputConfig::Socket(path)),
        (Some(to @ ("file" | "socket")), None) => wrong("output.path", format!("a {to} needs one: add it")),
        (Some(to), path) if to.contains(':') => match path {
            Some(_) => {
                wrong("output.path", "a correlator is named by output.to alone: leave the path out".into())
            }
            None => wire.to(to).map(OutputConfig::Correlator),
        },
        (Some(to), _) => wrong(
            "output.to",
            format!(
                "\"{to}\" is not one of \"stdout\", \"file\", \"socket\", https://HOST[:PORT], unix:/PATH"
            ),
        ),
    }
}

/// Paths where creation, renaming, deletion and writing are told, and paths where reading is. `*` is anything within a
/// name, `**` any directories; a list replaces the one that is built in.
fn files(file: FileFiles) -> Result<FilesConfig, ConfigError> {
    let default = Patterns::default();
    let patterns = Patterns {
        changes: file.watch.unwrap_or(default.changes),
        reads: file.read.unwrap_or(default.reads),
    };
    let watch = FileWatch::new(&patterns)
        .map_err(|err| ConfigError::Value { key: "files", reason: err.to_string() })?;
    Ok(FilesConfig { patterns, watch })
}

fn metadata(file: &FileMetadata) -> Result<MetadataConfig, ConfigError> {
    let default = MetadataConfig::default();
    let requests = file.requests.unwrap_or(default.requests);
    let access_key_ids = file.access_key_ids.unwrap_or(default.access_key_ids);
    if access_key_ids && !requests {
        let reason = "an answer is looked for behind its request: set metadata.requests to true".to_owned();
        return Err(ConfigError::Value { key: "metadata.access_key_ids", reason });
    }
    Ok(MetadataConfig { requests, access_key_ids })
}

fn limits(file: &FileLimits) -> Result<Limits, ConfigError> {
    let default = Limits::default();
    let bounded = |key, value: Option<u64>, default: u64, min: u64, max: u64| match value {
        None => Ok(default),
        Some(value) if (min..=max).contains(&value) => Ok(value),
        Some(value) => {
            Err(ConfigError::Value { key, reason: format!("{value} is not within {min} to {max}") })
        }
    };
    let ring = bounded("limits.ring_bytes", file.ring_bytes, default.ring_bytes.into(), 64 << 10, 512 << 20)?;
    if !ring.is_power_of_two() {
        let reason = format!("{ring} is not a power of two: {} is the next", ring.next_power_of_two());
        return Err(ConfigError::Value { key: "limits.ring_bytes", reason });
    }
    let processes =
        bounded("limits.max_processes", file.max_processes, default.max_processes as u64, 256, 1_000_000)?;
    let table =
        bounded("limits.table_bytes", file.table_bytes, default.table_bytes as u64, 1 << 20, 1 << 30)?;
    let poll = bounded("limits.poll_ms", file.poll_ms, default.poll.as_millis() as u64, 1, 1000)?;
    Ok(Limits {
        ring_bytes: ring as u32,
        max_processes: processes as usize,
        table_bytes: table as usize,
        poll: Duration::from_millis(poll),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuses(text: &str, expect: &str) {
        let err = Config::parse(text).expect_err(text);
        assert_eq!(err.to_string(), expect);
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(Config::parse("").expect("valid"), Config::default());
        assert_eq!(Config::parse("[host]\n").expect("valid"), Config::default());
    }

    #[test]
    fn every_key_arrives() {
        let config = Config::parse(
            r#"
            host = { id = "web-1", instance_id = "i-0123456789abcdef0", account = "111122223333", region = "eu-west-1", role = "web", name = "web" }
            output = { to = "socket", path = "/run/groundtrail/events.sock" }
            environment = { allow = ["AWS_PROFILE"] }
            metadata = { requests = true, access_key_ids = true }
            limits = { ring_bytes = 65536, max_processes = 1000, table_bytes = 2000000, poll_ms = 50 }
            "#,
        )
        .expect("valid");
        assert_eq!(config.host.role.as_deref(), Some("web"));
        assert_eq!(config.output, OutputConfig::Socket("/run/groundtrail/events.sock".into()));
        assert_eq!(config.environment, EnvAllow::new(vec!["AWS_PROFILE".into()]).expect("valid"));
        assert!(config.metadata.requests && config.metadata.access_key_ids);
        assert_eq!(config.limits.poll, Duration::from_millis(50));
        assert_eq!(config.limits.table(), Caps { max_processes: 1000, max_bytes: 2_000_000 });
    }

    #[test]
    fn the_packaged_file_is_valid_and_shows_every_key() {
        let packaged = include_str!("../../packaging/sensor/sensor.toml");
        assert!(matches!(Config::parse(packaged).expect("valid").output, OutputConfig::Correlator(_)));
        // Its examples are as good as its settings.
        let example =
            |line: &str| line.strip_prefix('#').is_some_and(|rest| rest.starts_with(char::is_lowercase));
        let all: String = packaged
            .lines()
            .map(|line| format!("{}\n", if example(line) { &line[1..] } else { line }))
            .collect();
        // But one: a path is for outputs that have none in their name.
        let fitting: String = all
            .lines()
            .filter(|line| !line.starts_with("path = \"/var/log"))
            .map(|line| format!("{line}\n"))
            .collect();
        Config::parse(&fitting).expect("valid");
        let table: toml::Table = toml::from_str(&all).expect("TOML");
        let shown =
            |key: &str| key.split_once('.').is_some_and(|(section, key)| table[section].get(key).is_some());
        assert_eq!(KEYS.iter().find(|key| !shown(key)), None);
    }

    #[test]
    fn unknown_keys_name_the_nearest_known_one() {
        refuses(
            "[host]\ninstance = \"x\"",
            "unknown key \"host.instance\": did you mean \"host.instance_id\"?",
        );
        refuses("[output]\npaht = \"x\"", "unknown key \"output.paht\": did you mean \"output.path\"?");
        refuses("[zebra]\n", "unknown key \"zebra\"");
        refuses("host = 1", "unknown key \"host\": did you mean \"host.id\"?");
    }

    #[test]
    fn wrong_values_say_what_is_right() {
        refuses("[output]\nto = \"file\"", "\"output.path\" is wrong: a file needs one: add it");
        refuses(
            "[output]\nto = \"tcp\"",
            "\"output.to\" is wrong: \"tcp\" is not one of \"stdout\", \"file\", \"socket\", https://HOST[:PORT], unix:/PATH",
        );
        refuses(
            "[limits]\nring_bytes = 100000",
            "\"limits.ring_bytes\" is wrong: 100000 is not a power of two: 131072 is the next",
        );
        refuses(
            "[limits]\ntable_bytes = 1000",
            "\"limits.table_bytes\" is wrong: 1000 is not within 1048576 to 1073741824",
        );
        refuses(
            "[metadata]\nrequests = false\naccess_key_ids = true",
            "\"metadata.access_key_ids\" is wrong: an answer is looked for behind its request: set metadata.requests to true",
        );
        refuses("[limits]\npoll_ms = 0", "\"limits.poll_ms\" is wrong: 0 is not within 1 to 1000");
        refuses(
            "[host]\ninstance_id = \"web\"",
            "\"host.instance_id\" is wrong: an instance id is \"i-\" and 8 or 17 hex digits",
        );
        refuses(
            "[environment]\nallow = [\"AWS_SESSION_TOKEN\"]",
            "\"environment.allow\" is wrong: \"AWS_SESSION_TOKEN\" holds a secret and never leaves the host: remove it",
        );
    }
}
