//! What a sink is made of, by its `type`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::super::reader::{Context, Table};
use super::super::show::{quote, quote_path, size};
use super::cloud::{self, Hub, Messages, S3};
use super::peer::{self, Facility, Peer};
use super::secrets;
use super::url::{self, Url};
use crate::sink::{Login, Secret};

#[derive(Debug, Clone, PartialEq)]
pub enum To {
    File(FileOutput),
    Webhook(Webhook),
    Elastic(Elastic),
    Splunk(Splunk),
    Syslog(Syslog),
    /// The socket of systemd's journal.
    Journald(PathBuf),
    S3(S3),
    Sqs(Messages),
    Sns(Messages),
    SecurityHub(Hub),
}

/// A file that is set aside once it is full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOutput {
    pub path: PathBuf,
    /// Rotated before it would grow past this.
    pub max_bytes: u64,
    /// How many full files stay beside the current one.
    pub keep: u32,
}

/// A POST for each revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    pub url: Url,
    /// Signs each request.
    pub secret: Option<Secret>,
    /// Goes with each request.
    pub token: Option<Secret>,
    /// Who signed the receiver's certificate, in place of the system's authorities.
    pub ca: Option<PathBuf>,
}

/// The bulk API of Elasticsearch and OpenSearch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elastic {
    pub url: Url,
    pub index: String,
    pub documents: Documents,
    pub login: Option<Login>,
    pub ca: Option<PathBuf>,
}

/// What there is a document of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Documents {
    /// Each alert: its last revision.
    #[default]
    Alert,
    /// Each revision. A data stream takes no others.
    Revision,
}

/// Splunk's HTTP Event Collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splunk {
    pub url: Url,
    pub token: Secret,
    pub index: Option<String>,
    pub source: String,
    pub sourcetype: String,
    pub ca: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Syslog {
    pub peer: Peer,
    pub facility: Facility,
    pub app_name: String,
    /// A longer message is sent in short.
    pub max_message: usize,
    pub ca: Option<PathBuf>,
}

#[derive(Clone, Copy)]
enum Type {
    File,
    Webhook,
    Elastic,
    Splunk,
    Syslog,
    Journald,
    S3,
    Sqs,
    Sns,
    SecurityHub,
}

const TYPES: [(&str, Type); 11] = [
    ("file", Type::File),
    ("webhook", Type::Webhook),
    ("elasticsearch", Type::Elastic),
    ("opensearch", Type::Elastic),
    ("splunk", Type::Splunk),
    ("syslog", Type::Syslog),
    ("journald", Type::Journald),
    ("s3", Type::S3),
    ("sqs", Type::Sqs),
    ("sns", Type::Sns),
    ("securityhub", Type::SecurityHub),
];

const DOCUMENTS: [(&str, Documents); 2] = [("alert", Documents::Alert), ("revision", Documents::Revision)];

/// The keys of all types, for a sink whose type is missing.
const KEYS: &[&str] = &[
    "path",
    "max_size",
    "keep",
    "url",
    "secret_file",
    "secret_env",
    "token_file",
    "token_env",
    "ca",
    "index",
    "documents",
    "user",
    "password_file",
    "password_env",
    "source",
    "sourcetype",
    "address",
    "facility",
    "app_name",
    "max_message",
    "socket",
];

const MIB: u64 = 1 << 20;
const KIB: u64 = 1 << 10;
const MAX_FILE: u64 = 1 << 40;
const JOURNAL: &str = "/run/systemd/journal/socket";

pub(super) fn read(table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Option<To> {
    if table.is_absent("type") {
        let words: Vec<String> = TYPES.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        ctx.fault(table.span(), "\"type\" is missing", format!("add type = one of {}", words.join(", ")));
    }
    match table.choice("type", &TYPES, ctx) {
        Some(Type::File) => file(table, ctx).map(To::File),
        Some(Type::Webhook) => webhook(table, ctx).map(To::Webhook),
        Some(Type::Elastic) => elastic(table, ctx).map(To::Elastic),
        Some(Type::Splunk) => splunk(table, ctx).map(To::Splunk),
        Some(Type::Syslog) => syslog(table, ctx).map(To::Syslog),
        Some(Type::Journald) => {
            Some(To::Journald(table.path("socket", ctx).unwrap_or_else(|| JOURNAL.into())))
        }
        Some(Type::S3) => cloud::s3(table, ctx).map(To::S3),
        Some(Type::Sqs) => cloud::sqs(table, ctx).map(To::Sqs),
        Some(Type::Sns) => cloud::sns(table, ctx).map(To::Sns),
        Some(Type::SecurityHub) => cloud::hub(table, ctx).map(To::SecurityHub),
        None => {
            KEYS.iter().chain(cloud::KEYS).for_each(|key| table.ask(key));
            None
        }
    }
}

fn file(table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Option<FileOutput> {
    let path = table.required_path("path", ctx);
    let size = table.size_at("max_size", ctx);
    let max_bytes = size.as_ref().map_or(64 * MIB, |at| at.value);
    if let Some(at) = size.filter(|at| !(KIB..=MAX_FILE).contains(&at.value)) {
        ctx.fault(at.span, "\"max_size\" is out of bounds", "write a size from \"1KiB\" to \"1024GiB\"");
    }
    let keep = table.integer("keep", 0..1001, ctx).unwrap_or(5);
    Some(FileOutput { path: path?, max_bytes, keep })
}

fn webhook(table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Option<Webhook> {
    let url = url::read(table, ctx);
    let secret = secrets::one(table, ["secret_file", "secret_env"], ctx);
    let token = secrets::over_tls(table, ["token_file", "token_env"], url.as_ref(), ctx);
    let ca = ca(table, url.as_ref().is_some_and(|url| !url.is_tls), ctx);
    Some(Webhook { url: url?, secret, token, ca })
}

fn elastic(table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Option<Elastic> {
    let url = url::read(table, ctx);
    let index = table.required("index", ctx);
    let documents = table.choice("documents", &DOCUMENTS, ctx).unwrap_or_default();
    let login = secrets::login(table, url.as_ref(), ctx);
    let ca = ca(table, url.as_ref().is_some_and(|url| !url.is_tls), ctx);
    let index = index?;
    if !is_index(&index.value) {
        let message = format!("\"{}\" is no name for an index", index.value);
        ctx.fault(
            index.span,
            message,
            "write lower case, digits, - . and _, and none of the last three first",
        );
        return None;
    }
    Some(Elastic { url: url?, index: index.value, documents, login, ca })
}

/// As Elasticsearch and OpenSearch take it. It is the configuration's alone: nothing of an alert ever is in it.
fn is_index(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
    (1..=255).contains(&name.len())
        && name.bytes().all(is_plain)
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
}

fn splunk(table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Option<Splunk> {
    let url = url::read(table, ctx);
    let token = secrets::over_tls(table, ["token_file", "token_env"], url.as_ref(), ctx);
    if token.is_none() {
        ctx.fault(table.span(), "a collector wants a token", "add token_file = \"…\" or token_env = \"…\"");
    }
    let index = table.str("index", ctx).map(|at| at.value);
    let source = table.str("source", ctx).map_or_else(|| "groundtrail".to_owned(), |at| at.value);
    let sourcetype =
        table.str("sourcetype", ctx).map_or_else(|| "groundtrail:alert".to_owned(), |at| at.value);
    let ca = ca(table, url.as_ref().is_some_and(|url| !url.is_tls), ctx);
    Some(Splunk { url: url?, token: token?, index, source, sourcetype, ca })
}

fn syslog(table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Option<Syslog> {
    let peer = peer::read(table, ctx);
    let facility = table.choice("facility", &Facility::ALL, ctx).unwrap_or_default();
    let app_name = table.str("app_name", ctx).map_or_else(|| "groundtrail".to_owned(), |at| at.value);
    let max_message = table.size_at("max_message", ctx);
    let ca = ca(table, peer.as_ref().is_some_and(|peer| !matches!(peer, Peer::Tls { .. })), ctx);
    let bytes = max_message.as_ref().map_or(8 * KIB, |at| at.value);
    if let Some(at) = max_message.filter(|at| !(KIB..=16 * MIB).contains(&at.value)) {
        ctx.fault(at.span, "\"max_message\" is out of bounds", "write a size from \"1KiB\" to \"16MiB\"");
    }
    let max_message = usize::try_from(bytes).unwrap_or(usize::MAX);
    Some(Syslog { peer: peer?, facility, app_name, max_message, ca })
}

fn ca(table: &mut Table<'_, '_>, is_plain: bool, ctx: &mut Context<'_>) -> Option<PathBuf> {
    let ca = table.path("ca", ctx)?;
    if is_plain {
        let help = "write https:// or tls://, or leave ca out";
        ctx.fault(table.span(), "\"ca\" is for a receiver with TLS", help);
    }
    Some(ca)
}

pub(super) fn write(to: &To, out: &mut String) -> std::fmt::Result {
    writeln!(out, "type = \"{}\"", to.kind())?;
    match to {
        To::File(FileOutput { path, max_bytes, keep }) => {
            writeln!(out, "path = {}", quote_path(path))?;
            writeln!(out, "max_size = \"{}\"\nkeep = {keep}", size(*max_bytes))
        }
        To::Webhook(Webhook { url, secret, token, ca }) => {
            writeln!(out, "url = {}", quote(url.as_written()))?;
            secrets::write("secret", secret.as_ref(), out)?;
            secrets::write("token", token.as_ref(), out)?;
            write_ca(ca.as_deref(), out)
        }
        To::Elastic(Elastic { url, index, documents, login, ca }) => {
            writeln!(out, "url = {}\nindex = {}", quote(url.as_written()), quote(index))?;
            let word = DOCUMENTS.iter().find(|(_, of)| of == documents).map_or("alert", |(word, _)| word);
            writeln!(out, "documents = \"{word}\"")?;
            secrets::write_login(login.as_ref(), out)?;
            write_ca(ca.as_deref(), out)
        }
        To::Splunk(Splunk { url, token, index, source, sourcetype, ca }) => {
            writeln!(out, "url = {}", quote(url.as_written()))?;
            secrets::write("token", Some(token), out)?;
            if let Some(index) = index {
                writeln!(out, "index = {}", quote(index))?;
            }
            writeln!(out, "source = {}\nsourcetype = {}", quote(source), quote(sourcetype))?;
            write_ca(ca.as_deref(), out)
        }
        To::Syslog(Syslog { peer, facility, app_name, max_message, ca }) => {
            writeln!(out, "address = {}\nfacility = \"{}\"", quote(&peer.to_string()), facility.name())?;
            writeln!(out, "app_name = {}", quote(app_name))?;
            writeln!(out, "max_message = \"{}\"", size(*max_message as u64))?;
            write_ca(ca.as_deref(), out)
        }
        To::Journald(path) => writeln!(out, "socket = {}", quote_path(path)),
        To::S3(s3) => cloud::write_s3(s3, out),
        To::Sqs(queue) => cloud::write_messages("queue", queue, out),
        To::Sns(topic) => cloud::write_messages("topic", topic, out),
        To::SecurityHub(hub) => cloud::write_hub(hub, out),
    }
}

fn write_ca(ca: Option<&Path>, out: &mut String) -> std::fmt::Result {
    ca.map_or(Ok(()), |ca| writeln!(out, "ca = {}", quote_path(ca)))
}

impl FileOutput {
    /// Whether this file is the current one or becomes one of those set aside.
    pub fn writes(&self, path: &Path) -> bool {
        let is_own = path == self.path;
        let number = || {
            let name = path.file_name()?.to_str()?.strip_prefix(self.path.file_name()?.to_str()?)?;
            name.strip_prefix('.')?.parse::<u32>().ok()
        };
        let is_beside = || path.parent() == self.path.parent();
        is_own || (is_beside() && number().is_some_and(|number| (1..=self.keep).contains(&number)))
    }
}

impl To {
    /// The word that the configuration has for it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Webhook(_) => "webhook",
            Self::Elastic(_) => "elasticsearch",
            Self::Splunk(_) => "splunk",
            Self::Syslog(_) => "syslog",
            Self::Journald(_) => "journald",
            Self::S3(_) => "s3",
            Self::Sqs(_) => "sqs",
            Self::Sns(_) => "sns",
            Self::SecurityHub(_) => "securityhub",
        }
    }

    /// Where that is, for people. Nothing secret is in it.
    pub fn place(&self) -> String {
        match self {
            Self::File(file) => file.path.display().to_string(),
            Self::Webhook(webhook) => webhook.url.to_string(),
            Self::Elastic(elastic) => format!("{}, {}", elastic.url, elastic.index),
            Self::Splunk(splunk) => splunk.url.to_string(),
            Self::Syslog(syslog) => syslog.peer.to_string(),
            Self::Journald(path) => path.display().to_string(),
            Self::S3(s3) => format!("s3://{}/{}", s3.bucket, s3.prefix),
            Self::Sqs(to) | Self::Sns(to) => to.target.clone(),
            Self::SecurityHub(hub) => format!("account {} in {}", hub.account, hub.region),
        }
    }
}
