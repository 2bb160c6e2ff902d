//! `[[silence]]`: alerts that are told to nobody for a while.

use std::fmt::Write;

use super::reader::{Context, Table};
use super::show::{list, quote};
use crate::alert::wanted::Wanted;
use crate::notify::Silence;
use crate::time;

/// The lists of a silence: what they are called, and what they are of.
const KEYS: [&str; 4] = ["rules", "hosts", "principals", "accounts"];

pub(super) fn read(root: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Vec<Silence> {
    let mut silences: Vec<Silence> = Vec::new();
    for table in root.tables("silence", ctx) {
        let at = table.span();
        let Some(silence) = silence(table, ctx) else { continue };
        if silences.iter().any(|other| other.name == silence.name) {
            let message = format!("two silences are called \"{}\"", silence.name);
            ctx.fault(at, message, "give each a name of its own: alerts say by which they were muted");
        }
        silences.push(silence);
    }
    silences
}

fn silence(mut table: Table<'_, '_>, ctx: &mut Context<'_>) -> Option<Silence> {
    let at = table.span();
    let name = table.required("name", ctx);
    let [rules, hosts, principals, accounts] = KEYS.map(|key| {
        table.strings(key, ctx).into_iter().map(|at| at.value).filter(|text| !text.is_empty()).collect()
    });
    let wanted = Wanted { least: None, rules, hosts, principals, accounts };
    let until = table.required("until", ctx);
    let owner = table.required("owner", ctx);
    let reason = table.required("reason", ctx);
    table.finish(ctx);
    if wanted.is_everything() {
        ctx.fault(
            at,
            "this silence is of every alert",
            "say which with rules, hosts, principals or accounts; a sink that shall get none is taken out",
        );
    }
    let until = until.and_then(|text| {
        let until = time::parse(&text.value);
        if until.is_none() {
            let message = format!("\"{}\" is no time", text.value);
            ctx.fault(text.span, message, "write \"2026-12-31T06:00:00Z\"");
        }
        until
    });
    let name = name.and_then(|name| {
        let is_name = is_name(&name.value);
        if !is_name {
            let message = format!("\"{}\" is no name for a silence", name.value);
            ctx.fault(name.span, message, "write up to 64 of a to z, 0 to 9, - and _");
        }
        is_name.then_some(name.value)
    });
    Some(Silence { name: name?, wanted, until: until?, owner: owner?.value, reason: reason?.value })
}

/// It becomes a file's name, and a word on the command line.
pub fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(is_plain)
}

/// As a file has it.
pub fn text(silence: &Silence) -> String {
    let mut out = String::new();
    write(std::slice::from_ref(silence), &mut out).expect("writing to a string cannot fail");
    out.trim_start().to_owned()
}

pub(super) fn write(silences: &[Silence], out: &mut String) -> std::fmt::Result {
    for silence in silences {
        writeln!(out, "\n[[silence]]\nname = {}", quote(&silence.name))?;
        let Wanted { rules, hosts, principals, accounts, .. } = &silence.wanted;
        for (key, texts) in KEYS.iter().zip([rules, hosts, principals, accounts]) {
            if !texts.is_empty() {
                writeln!(out, "{key} = {}", list(texts.iter().map(|text| quote(text))))?;
            }
        }
        let until = time::format(silence.until);
        writeln!(out, "until = \"{until}\"\nowner = {}", quote(&silence.owner))?;
        writeln!(out, "reason = {}", quote(&silence.reason))?;
    }
    Ok(())
}
