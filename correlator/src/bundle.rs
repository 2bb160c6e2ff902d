//! What a support bundle says of a run, and what it may not say. Everything goes through an allow-list: a text is masked
//! unless its key is known to hold none of anybody's. Pure: it is handed texts and gives back texts.

mod log;

use serde_json::{Map, Value, json};

use crate::health::Health;

pub(crate) use log::lines as log_lines;

/// A text of somebody's, by its length.
pub(crate) fn masked(text: &str) -> String {
    format!("(masked, {} bytes)", text.len())
}

/// Keys of the configuration whose texts are words of ours, names of things on this machine, or places.
const SHOWN_KEYS: &[&str] = &[
    "address",
    "ca",
    "client",
    "dead_letters",
    "documents",
    "expires",
    "facility",
    "file",
    "files",
    "format",
    "listen",
    "min_severity",
    "path",
    "paths",
    "protocol",
    "region",
    "rule_id",
    "type",
    "unix",
    "until",
];

/// The configuration in force, as `config show` prints it, without what is anybody's own.
pub(crate) fn config(shown: &str) -> String {
    match shown.parse::<toml::Table>() {
        Ok(mut table) => {
            table.iter_mut().for_each(|(key, value)| mask_setting(key, value));
            table.to_string()
        }
        // It is what we wrote ourselves.
        Err(_) => "# it could not be read again\n".to_owned(),
    }
}

fn mask_setting(key: &str, value: &mut toml::Value) {
    match value {
        toml::Value::Table(table) => table.iter_mut().for_each(|(key, value)| mask_setting(key, value)),
        toml::Value::Array(items) => items.iter_mut().for_each(|item| mask_setting(key, item)),
        toml::Value::String(text) if is_measure(text) || is_shown(key) => {}
        toml::Value::String(text) => *text = place(text).unwrap_or_else(|| masked(text)),
        _ => {}
    }
}

fn is_shown(key: &str) -> bool {
    SHOWN_KEYS.contains(&key) || key.ends_with("_file") || key.ends_with("_env")
}

/// `30s`, `64MiB`.
fn is_measure(text: &str) -> bool {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &text[digits.len()..];
    !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && ["ms", "s", "m", "h", "d", "B", "KiB", "MiB", "GiB"].contains(&unit)
}

/// Of an address where it is: what stands behind that, or before an `@`, may open a door.
fn place(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let is_plain =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte));
    let host = rest.split(['/', '?', '#']).next()?.rsplit('@').next()?;
    (is_plain(scheme) && is_plain(host) && !host.is_empty())
        .then(|| format!("{scheme}://{host}{}", if rest.len() > host.len() { "/(masked)" } else { "" }))
}

/// How a run is, without the names of hosts and accounts, and without what receivers answered.
pub(crate) fn health(mut health: Health) -> Health {
    for (n, source) in health.sources.iter_mut().enumerate() {
        source.name = numbered(&source.name, n);
        for (n, partition) in source.partitions.iter_mut().enumerate() {
            partition.name = format!("clock {}", n + 1);
        }
    }
    for (n, wire) in health.wires.iter_mut().enumerate() {
        wire.source = numbered(&wire.source, n);
    }
    for sink in health.sinks.iter_mut().filter(|sink| !sink.reason.is_empty()) {
        sink.reason = masked(&sink.reason);
    }
    let drops = std::mem::take(&mut health.drops);
    health.drops =
        drops.into_values().enumerate().map(|(n, count)| (format!("line {}", n + 1), count)).collect();
    health
}

/// What kind of source it is, and which of them: where it lies is in the configuration.
fn numbered(name: &str, n: usize) -> String {
    let kind = name.split(' ').next().filter(|kind| kind.bytes().all(|byte| byte.is_ascii_lowercase()));
    format!("{} {}", kind.unwrap_or("source"), n + 1)
}

/// Keys of a run's health whose texts are ours.
const SHOWN_OF_HEALTH: &[&str] =
    &["id", "name", "reason", "rule_id", "rules_sha256", "severity", "source", "version"];

/// The same as a document. What a later version adds is masked until somebody has looked at it.
pub(crate) fn health_document(health: &Health) -> Value {
    let mut document = serde_json::to_value(health).expect("plain data serialises");
    mask_unless(&mut document, "", SHOWN_OF_HEALTH);
    document
}

fn mask_unless(value: &mut Value, key: &str, shown: &[&str]) {
    match value {
        Value::Object(fields) => fields.iter_mut().for_each(|(key, value)| mask_unless(value, key, shown)),
        Value::Array(items) => items.iter_mut().for_each(|item| mask_unless(item, key, shown)),
        Value::String(text) if !shown.contains(&key) => *text = masked(text),
        _ => {}
    }
}

/// What the sensor on this machine says of itself: numbers, and texts of an allow-list.
pub(crate) fn sensor(report: &str) -> Value {
    const SHOWN: &[&str] = &[
        "state", "version", "kernel", "arch", "tier", "kind", "feature", "status", "program", "hook", "group",
    ];
    let mut document: Value =
        serde_json::from_str(report).unwrap_or_else(|_| json!({"unreadable": report.len()}));
    mask_unless(&mut document, "", SHOWN);
    document
}

/// The machine, without its name.
pub(crate) fn system(read: impl Fn(&str) -> Option<String>) -> Value {
    let line = |path: &str| read(path).map(|text| text.trim().to_owned());
    let of_release = |key: &str| {
        let text = read("/etc/os-release")?;
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(value.trim_matches('"').to_owned())
    };
    let memory = |key: &str| {
        let text = read("/proc/meminfo")?;
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        Some(value.trim().to_owned())
    };
    let mut document = Map::new();
    let mut put = |key: &str, value: Option<String>| {
        document.insert(key.to_owned(), value.map_or(Value::Null, Value::String));
    };
    put("kernel", line("/proc/sys/kernel/osrelease"));
    put("kernel_version", line("/proc/sys/kernel/version"));
    put("distribution", of_release("ID"));
    put("distribution_version", of_release("VERSION_ID"));
    put("lsm", line("/sys/kernel/security/lsm"));
    put("lockdown", line("/sys/kernel/security/lockdown"));
    put("memory", memory("MemTotal"));
    put("memory_available", memory("MemAvailable"));
    put("load", line("/proc/loadavg"));
    put("has_btf", std::path::Path::new("/sys/kernel/btf/vmlinux").exists().then(|| "yes".to_owned()));
    document.insert("arch".to_owned(), std::env::consts::ARCH.into());
    document
        .insert("processors".to_owned(), std::thread::available_parallelism().map_or(0, usize::from).into());
    Value::Object(document)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{PartitionHealth, SinkHealth, SourceHealth};

    const CANARY: &str = "CANARYsecret";

    #[test]
    fn a_setting_is_shown_only_where_its_key_is_known() {
        let shown = config(&format!(
            "[store]\npath = \"/var/lib/gt.db\"\nretention = \"30d\"\n[limits]\nkeys = 5\n\
             [[sink]]\nname = \"{CANARY}\"\ntype = \"webhook\"\nurl = \"https://u:{CANARY}@hooks.example.net:8443/{CANARY}?t={CANARY}\"\n\
             token_env = \"TOKEN\"\nsome_later_key = \"{CANARY}\"\nheaders = [\"a: {CANARY}\"]\n\
             [[exceptions]]\nquery = 'process.args:\"{CANARY}\"'\ntakes = ['{{\"a\":\"{CANARY}\"}}']\nreason = \"{CANARY}\"\n"
        ));
        assert!(!shown.contains(CANARY), "{shown}");
        for part in [
            "/var/lib/gt.db",
            "30d",
            "keys = 5",
            "webhook",
            "https://hooks.example.net:8443/(masked)",
            "TOKEN",
        ] {
            assert!(shown.contains(part), "{part} is missing: {shown}");
        }
    }

    #[test]
    fn addresses_keep_their_place_and_nothing_else() {
        assert_eq!(place("https://a.example"), Some("https://a.example".to_owned()));
        assert_eq!(place("https://a.example:1/x"), Some("https://a.example:1/(masked)".to_owned()));
        assert_eq!(place("https://user:pw@a.example/"), Some("https://a.example/(masked)".to_owned()));
        assert_eq!(place("https://pa ss"), None);
        assert_eq!(place("pw://"), None);
        assert_eq!(place("secret"), None);
    }

    #[test]
    fn health_keeps_its_numbers_and_none_of_the_names() {
        let whole = Health {
            sources: vec![SourceHealth {
                name: format!("cloudtrail /data/{CANARY}"),
                partitions: vec![PartitionHealth {
                    name: CANARY.to_owned(),
                    n_events: 7,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            sinks: vec![SinkHealth {
                name: "hook".to_owned(),
                reason: CANARY.to_owned(),
                ..Default::default()
            }],
            drops: [(CANARY.to_owned(), 3)].into(),
            n_keys: 42,
            ..Health::default()
        };
        let health = health(whole);
        let text = health_document(&health).to_string() + &crate::metrics::text(&health);
        assert!(!text.contains(CANARY), "{text}");
        for part in ["cloudtrail 1", "\"n_events\":7", "\"n_keys\":42", "\"hook\"", "(masked, 12 bytes)"] {
            assert!(text.contains(part), "{part} is missing: {text}");
        }
    }

    #[test]
    fn what_a_later_version_says_is_masked() {
        let mut document = json!({"version": "1", "new": [{"deep": CANARY}]});
        mask_unless(&mut document, "", SHOWN_OF_HEALTH);
        assert_eq!(document, json!({"version": "1", "new": [{"deep": "(masked, 12 bytes)"}]}));
    }
}
