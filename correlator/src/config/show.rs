//! A configuration as TOML that reads back as the same one.

use std::fmt::Write;
use std::path::Path;

use rules::event::Span;

use crate::wire::listen::{Place, Settings};
use crate::wire::tls::TlsFiles;

use super::aws::{Access, Bucket, DeadLetters, Keys, Queue};
use super::{Config, Feed, Input, KnownEndpoint, SensorInput, Source, limits};

impl Config {
    /// Every setting in force, defaults included.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        self.write(&mut out).expect("writing to a string cannot fail");
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "[store]")?;
        match &self.store {
            Some(path) => writeln!(out, "path = {}", quote_path(path))?,
            None => writeln!(out, "# no path: memory only")?,
        }
        writeln!(out, "retention = \"{}\"", duration(self.retention))?;
        match self.max_store_bytes {
            Some(bytes) => writeln!(out, "max_size = \"{}\"", size(bytes))?,
            None => writeln!(out, "# no max_size: as large as it gets")?,
        }
        limits::write(self.limits, self.n_threads, out)?;
        writeln!(out, "\n[time]\njoin_lateness = \"{}\"", duration(self.join_lateness))?;
        writeln!(out, "skew = \"{}\"", duration(self.limits.skew))?;
        for source in &self.sources {
            write_source(source, out)?;
        }
        writeln!(out, "\n[rules]\nbuiltin = {}", self.rules.has_builtin)?;
        writeln!(out, "paths = {}", list(self.rules.paths.iter().map(|path| quote_path(path))))?;
        writeln!(out, "disabled = {}", list(self.rules.disabled.iter().map(|id| quote(id))))?;
        writeln!(out, "building_blocks = {}", self.rules.tells_building_blocks)?;
        out.push_str(&super::bounds::write(self.rules.bounds));
        writeln!(out, "\n[drop]\nbuiltin = {}", self.drop.has_builtin)?;
        writeln!(out, "paths = {}", list(self.drop.paths.iter().map(|path| quote_path(path))))?;
        let known = self.known_endpoints.iter().map(|endpoint| match endpoint {
            KnownEndpoint::Host(host) => quote(host),
            KnownEndpoint::Net(net) => quote(&net.to_string()),
        });
        writeln!(out, "\n[endpoints]\nknown = {}", list(known))?;
        for (name, values) in &self.placeholders {
            let values = list(values.iter().map(|value| quote(value)));
            writeln!(out, "\n[[placeholder]]\nname = {}\nvalues = {values}", quote(name))?;
        }
        for file in &self.indicators {
            let (path, provider) = (quote_path(&file.path), quote(&file.provider));
            writeln!(out, "\n[[indicators]]\npath = {path}\nprovider = {provider}")?;
            if let Some(confidence) = file.confidence {
                writeln!(out, "confidence = {confidence}")?;
            }
            if !file.labels.is_empty() {
                writeln!(out, "labels = {}", list(file.labels.iter().map(|label| quote(label))))?;
            }
        }
        writeln!(out, "\n[geo]")?;
        for (key, path) in [("asn", &self.geo.asn), ("city", &self.geo.city)] {
            match path {
                Some(path) => writeln!(out, "{key} = {}", quote_path(path))?,
                None => writeln!(out, "# no {key}")?,
            }
        }
        for exception in &self.exceptions {
            writeln!(out, "\n[[exceptions]]\nrule_id = {}", quote(&exception.rule_id))?;
            writeln!(out, "query = {}\nreason = {}", quote(&exception.query), quote(&exception.reason))?;
            if let Some(expires) = exception.expires {
                writeln!(out, "expires = \"{expires}\"")?;
            }
            if let Some(owner) = &exception.owner {
                writeln!(out, "owner = {}", quote(owner))?;
            }
            if !exception.takes.is_empty() {
                writeln!(out, "takes = {}", list(exception.takes.iter().map(|event| quote(event))))?;
            }
        }
        writeln!(
            out,
            "\n[discovery]\nallowed = {}",
            list(self.discovery_allowed.iter().map(|arn| quote(arn)))
        )?;
        writeln!(out, "\n[output]\nformat = \"{}\"", self.output.format.name())?;
        super::silences::write(&self.silences, out)?;
        super::sinks::write(&self.sinks, out)?;
        writeln!(out, "\n[metrics]")?;
        match &self.metrics.listen {
            Some(listen) => writeln!(out, "listen = \"{listen}\"")?,
            None => writeln!(out, "# no listen: off")?,
        }
        writeln!(out, "allow_remote = {}", self.metrics.allow_remote)
    }
}

fn write_source(source: &Source, out: &mut String) -> std::fmt::Result {
    writeln!(out, "\n[[source]]")?;
    match &source.input {
        Input::Sensor(SensorInput::Stdin) => writeln!(out, "type = \"sensor\"\nstdin = true")?,
        Input::Sensor(SensorInput::File { path, follow }) => {
            writeln!(out, "type = \"sensor\"\nfile = {}\nfollow = {follow}", quote_path(path))?;
        }
        Input::Sensor(SensorInput::Unix(path)) => {
            writeln!(out, "type = \"sensor\"\nunix = {}", quote_path(path))?
        }
        Input::Sensors(settings) => write_sensors(settings, out)?,
        Input::Folder { kind, path, follow } => {
            let kind = Feed::name(*kind);
            writeln!(out, "type = \"{kind}\"\npath = {}\nfollow = {follow}", quote_path(path))?;
        }
        Input::Queue(queue) => write_queue(queue, out)?,
        Input::Bucket(bucket) => write_bucket(bucket, out)?,
    }
    writeln!(out, "lateness = \"{}\"", duration(source.lateness))?;
    let (record, file) = (size(source.max_record_bytes), size(source.max_file_bytes));
    writeln!(out, "max_record = \"{record}\"\nmax_file = \"{file}\"")
}

fn write_queue(queue: &Queue, out: &mut String) -> std::fmt::Result {
    writeln!(out, "type = \"sqs\"\nqueue = {}", quote(&queue.url))?;
    write_access(&queue.access, out)?;
    if !queue.buckets.is_empty() {
        writeln!(out, "buckets = {}", list(queue.buckets.iter().map(|bucket| quote(bucket))))?;
    }
    write_keys(&queue.keys, out)?;
    writeln!(out, "workers = {}\nvisibility = \"{}\"", queue.workers, duration(queue.visibility))?;
    writeln!(out, "max_receives = {}", queue.max_receives)?;
    match &queue.dead_letters {
        Some(DeadLetters::File(path)) => writeln!(out, "dead_letters = {}", quote_path(path))?,
        Some(DeadLetters::Queue { url, .. }) => writeln!(out, "dead_letter_queue = {}", quote(url))?,
        None => {}
    }
    match &queue.digest_keys {
        Some(path) => writeln!(out, "digest_keys = {}", quote_path(path)),
        None => Ok(()),
    }
}

fn write_bucket(bucket: &Bucket, out: &mut String) -> std::fmt::Result {
    writeln!(out, "type = \"s3\"\nbucket = {}\nprefix = {}", quote(&bucket.name), quote(&bucket.prefix))?;
    write_access(&bucket.access, out)?;
    write_keys(&bucket.keys, out)?;
    for (key, time) in [("since", bucket.since), ("until", bucket.until)] {
        if let Some(time) = time {
            writeln!(out, "{key} = \"{}\"", crate::time::format(time))?;
        }
    }
    Ok(())
}

fn write_keys(keys: &Keys, out: &mut String) -> std::fmt::Result {
    for (key, patterns) in [("keep_keys", &keys.keep), ("drop_keys", &keys.drop)] {
        writeln!(out, "{key} = {}", list(patterns.iter().map(|pattern| quote(pattern))))?;
    }
    Ok(())
}

pub(super) fn write_access(access: &Access, out: &mut String) -> std::fmt::Result {
    let Access { region, profile, role, endpoint } = access;
    let arn = role.as_ref().map(|role| &role.arn);
    let external_id = role.as_ref().and_then(|role| role.external_id.as_ref());
    for (key, value) in [
        ("region", region.as_ref()),
        ("profile", profile.as_ref()),
        ("role", arn),
        ("external_id", external_id),
        ("endpoint", endpoint.as_ref()),
    ] {
        if let Some(value) = value {
            writeln!(out, "{key} = {}", quote(value))?;
        }
    }
    Ok(())
}

fn write_sensors(settings: &Settings, out: &mut String) -> std::fmt::Result {
    writeln!(out, "type = \"sensors\"")?;
    match &settings.place {
        Place::Tls { listen, files } => {
            writeln!(out, "listen = \"{listen}\"")?;
            let TlsFiles { certificate, key, ca, crl } = files;
            for (name, path) in [("certificate", certificate), ("key", key), ("ca", ca)] {
                writeln!(out, "{name} = {}", quote_path(path))?;
            }
            if let Some(crl) = crl {
                writeln!(out, "crl = {}", quote_path(crl))?;
            }
        }
        Place::Unix { path, users } => {
            let users = list(users.iter().map(|user| quote(user)));
            writeln!(out, "unix = {}\nusers = {users}", quote_path(path))?;
        }
    }
    writeln!(out, "events_per_second = {}", settings.rates.events)?;
    writeln!(out, "bytes_per_second = \"{}\"", size(settings.rates.bytes))?;
    writeln!(out, "max_batch = \"{}\"", size(settings.max_batch_bytes))?;
    writeln!(out, "max_connections = {}", settings.max_connections)
}

pub(super) fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

pub(super) fn quote_path(path: &Path) -> String {
    quote(&path.display().to_string())
}

pub(super) fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

pub(super) fn duration(Span(nanos): Span) -> String {
    let units =
        [("d", 86_400_000_000_000), ("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000)];
    let whole = units.into_iter().find(|(_, unit)| nanos > 0 && nanos % unit == 0);
    whole.map_or_else(|| format!("{}ms", nanos / 1_000_000), |(name, unit)| format!("{}{name}", nanos / unit))
}

pub(super) fn size(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let whole = units.into_iter().find(|(_, unit)| bytes.is_multiple_of(*unit));
    whole.map_or_else(|| format!("{bytes}B"), |(name, unit)| format!("{}{name}", bytes / unit))
}
