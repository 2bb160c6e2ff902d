//! Where a sink's secrets are. Only that is in the configuration.

use std::fmt::Write;

use super::super::reader::{Context, Table};
use super::super::show::{quote, quote_path};
use super::url::Url;
use crate::sink::{Login, Secret};

/// A file or a variable.
pub(super) fn one(
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

/// A secret that is sent itself goes over TLS, or stays on this machine.
pub(super) fn over_tls(
    table: &mut Table<'_, '_>,
    keys: [&'static str; 2],
    url: Option<&Url>,
    ctx: &mut Context<'_>,
) -> Option<Secret> {
    let secret = one(table, keys, ctx)?;
    if let Some(url) = url.filter(|url| !url.is_tls && !url.is_loopback()) {
        let message = format!("\"{url}\" would get the secret unencrypted");
        ctx.fault(table.span(), message, "write https://, or have a receiver on this machine");
    }
    Some(secret)
}

/// A token, or a user with a password.
pub(super) fn login(table: &mut Table<'_, '_>, url: Option<&Url>, ctx: &mut Context<'_>) -> Option<Login> {
    let token = over_tls(table, ["token_file", "token_env"], url, ctx);
    let user = table.str("user", ctx);
    let password = over_tls(table, ["password_file", "password_env"], url, ctx);
    match (token, user, password) {
        (Some(token), None, None) => Some(Login::Token(token)),
        (None, Some(user), Some(password)) if !user.value.contains(':') => {
            Some(Login::Password { user: user.value, password })
        }
        (None, None, None) => None,
        _ => {
            let help = "give token_file or token_env (an API key), or user (without a colon) and password_file or password_env";
            ctx.fault(table.span(), "this is no login", help);
            None
        }
    }
}

pub(super) fn write(what: &str, secret: Option<&Secret>, out: &mut String) -> std::fmt::Result {
    match secret {
        Some(Secret::File(path)) => writeln!(out, "{what}_file = {}", quote_path(path)),
        Some(Secret::Variable(name)) => writeln!(out, "{what}_env = {}", quote(name)),
        None => Ok(()),
    }
}

pub(super) fn write_login(login: Option<&Login>, out: &mut String) -> std::fmt::Result {
    match login {
        Some(Login::Token(token)) => write("token", Some(token), out),
        Some(Login::Password { user, password }) => {
            writeln!(out, "user = {}", quote(user))?;
            write("password", Some(password), out)
        }
        None => Ok(()),
    }
}
