//! What a sink is made of, by its `type`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::super::reader::{Context, Table};
use super::super::show::{quote, quote_path, size};
use super::url::{self, Url};
use crate::sink::Secret;

#[derive(Debug, Clone, PartialEq)]
pub enum To {
    File(FileOutput),
    Webhook(Webhook),
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

#[derive(Clone, Copy)]
enum Type {
    File,
    Webhook,
}

const TYPES: [(&str, Type); 2] = [("file", Type::File), ("webhook", Type::Webhook)];

/// The keys of all types, for a sink whose type is missing.
const KEYS: [&str; 9] =
    ["path", "max_size", "keep", "url", "secret_file", "secret_env", "token_file", "token_env", "ca"];

const MIB: u64 = 1 << 20;

pub(super) fn read(table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Option<To> {
    if table.is_absent("type") {
        let words: Vec<String> = TYPES.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        ctx.fault(table.span(), "\"type\" is missing", format!("add type = one of {}", words.join(", ")));
    }
    match table.choice("type", &TYPES, ctx) {
        Some(Type::File) => file(table, ctx).map(To::File),
        Some(Type::Webhook) => webhook(table, ctx).map(To::Webhook),
        None => {
            KEYS.iter().for_each(|key| table.ask(key));
            None
        }
    }
}

fn file(table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Option<FileOutput> {
    let path = table.required_path("path", ctx);
    let max_bytes = table.size("max_size", ctx).unwrap_or(64 * MIB);
    let keep = table.integer("keep", 0..1001, ctx).unwrap_or(5);
    Some(FileOutput { path: path?, max_bytes, keep })
}

fn webhook(table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Option<Webhook> {
    let url = url::read(table, "url", ctx);
    let secret = secret(table, ["secret_file", "secret_env"], ctx);
    let token = secret_over_tls(table, ["token_file", "token_env"], url.as_ref(), ctx);
    let ca = ca(table, url.as_ref(), ctx);
    Some(Webhook { url: url?, secret, token, ca })
}

/// A secret that is sent itself goes over TLS, or stays on this machine.
fn secret_over_tls(
    table: &mut Table<'_, '_>,
    keys: [&'static str; 2],
    url: Option<&Url>,
    ctx: &mut Context<'_>,
) -> Option<Secret> {
    let secret = secret(table, keys, ctx)?;
    if let Some(url) = url.filter(|url| !url.is_tls && !url.is_loopback()) {
        let message = format!("\"{url}\" would get the secret unencrypted");
        ctx.fault(table.span(), message, "write https://, or have a receiver on this machine");
    }
    Some(secret)
}

fn secret(
    table: &mut Table<'_, '_>,
    [file, variable]: [&'static str; 2],
    ctx: &mut Context<'_>,
) -> Option<Secret> {
    let path = table.path(file, ctx);
    let name = table.str(variable, ctx);
    match (path, name) {
        (Some(_), Some(name)) => {
            ctx.fault(name.span, "a secret is in one place", format!("keep one of {file} and {variable}"));
            None
        }
        (None, Some(name)) if name.value.is_empty() || name.value.contains(['=', '\0']) => {
            let message = format!("\"{}\" is no variable's name", name.value);
            ctx.fault(name.span, message, format!("write {variable} = \"GROUNDTRAIL_HOOK\""));
            None
        }
        (Some(path), None) => Some(Secret::File(path)),
        (None, name) => name.map(|name| Secret::Variable(name.value)),
    }
}

fn ca(table: &mut Table<'_, '_>, url: Option<&Url>, ctx: &mut Context<'_>) -> Option<PathBuf> {
    let ca = table.path("ca", ctx)?;
    if url.is_some_and(|url| !url.is_tls) {
        ctx.fault(table.span(), "\"ca\" is for a receiver with TLS", "write https://, or leave ca out");
    }
    Some(ca)
}

pub(super) fn write(to: &To, out: &mut String) -> std::fmt::Result {
    match to {
        To::File(FileOutput { path, max_bytes, keep }) => {
            writeln!(out, "type = \"file\"\npath = {}", quote_path(path))?;
            writeln!(out, "max_size = \"{}\"\nkeep = {keep}", size(*max_bytes))
        }
        To::Webhook(Webhook { url, secret, token, ca }) => {
            writeln!(out, "type = \"webhook\"\nurl = {}", quote(url.as_written()))?;
            write_secret("secret", secret.as_ref(), out)?;
            write_secret("token", token.as_ref(), out)?;
            write_ca(ca.as_deref(), out)
        }
    }
}

fn write_secret(what: &str, secret: Option<&Secret>, out: &mut String) -> std::fmt::Result {
    match secret {
        Some(Secret::File(path)) => writeln!(out, "{what}_file = {}", quote_path(path)),
        Some(Secret::Variable(name)) => writeln!(out, "{what}_env = {}", quote(name)),
        None => Ok(()),
    }
}

fn write_ca(ca: Option<&Path>, out: &mut String) -> std::fmt::Result {
    ca.map_or(Ok(()), |ca| writeln!(out, "ca = {}", quote_path(ca)))
}

impl To {
    /// The word that the configuration has for it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Webhook(_) => "webhook",
        }
    }

    /// Where that is, for people. Nothing secret is in it.
    pub fn place(&self) -> String {
        match self {
            Self::File(file) => file.path.display().to_string(),
            Self::Webhook(webhook) => webhook.url.to_string(),
        }
    }
}
