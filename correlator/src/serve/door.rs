//! Who may come in. A port on this host is open to every user of it and, through a browser, to every page that guesses it:
//! so whoever asks shows a token, and a browser must mean us by our own name.

use std::fs::File;
use std::io::{self, Read as _};

use hyper::header::{COOKIE, HOST, HeaderMap};
use sha2::{Digest as _, Sha256};

/// What is asked of a request before it is answered.
#[derive(Debug)]
pub struct Door {
    token: String,
    /// Cookies know no port: two of us on one host would take each other's. It tells nothing of the token.
    cookie_name: String,
    /// Of the listening socket, where only this host's own names are good.
    port: Option<u16>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pass {
    In,
    /// The token is in the address: it goes into a cookie, and out of sight.
    Welcome {
        cookie: String,
    },
    /// Without a token.
    Stranger,
    /// Under a name that is not ours: another site's page asks through somebody's browser.
    WrongName,
}

/// 128 bits that nobody guesses.
///
/// # Errors
/// The system has none to give.
pub fn token() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(crate::hex::hex(&bytes))
}

impl Door {
    /// For a socket that only this host reaches.
    pub fn local(token: String, port: u16) -> Self {
        Self { cookie_name: format!("groundtrail-{port}-{}", mark(&token)), token, port: Some(port) }
    }

    /// For one that others reach, under names that are not known here.
    pub fn remote(token: String) -> Self {
        Self { cookie_name: format!("groundtrail-{}", mark(&token)), token, port: None }
    }

    pub(super) fn pass(&self, headers: &HeaderMap, query: Option<&str>) -> Pass {
        if self.port.is_some_and(|port| !is_ours(headers, port)) {
            return Pass::WrongName;
        }
        let given = query.into_iter().flat_map(|query| query.split('&'));
        if given.filter_map(|pair| pair.strip_prefix("token=")).any(|given| self.is_it(given)) {
            // Lax: a link in a chat shall lead here. Nothing can be changed here, so no request does harm.
            let cookie = format!("{}={}; Path=/; HttpOnly; SameSite=Lax", self.cookie_name, self.token);
            return Pass::Welcome { cookie };
        }
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut cookies =
            cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        match cookies.any(|(name, value)| name == self.cookie_name && self.is_it(value)) {
            true => Pass::In,
            false => Pass::Stranger,
        }
    }

    /// In a time that does not tell how much of it was right.
    fn is_it(&self, given: &str) -> bool {
        let (given, token) = (given.as_bytes(), self.token.as_bytes());
        given.len() == token.len() && given.iter().zip(token).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
    }
}

/// Of 128 bits, 32 that come of all of them.
fn mark(token: &str) -> String {
    crate::hex::hex(&Sha256::digest(token)[..4])
}

fn is_ours(headers: &HeaderMap, port: u16) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let names = ["127.0.0.1", "localhost", "[::1]"];
    names.iter().any(|name| host.as_bytes() == format!("{name}:{port}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[track_caller]
    fn check(pairs: &[(&'static str, &str)], query: Option<&str>, expect: &Pass) {
        assert_eq!(&Door::local("secret".to_owned(), 9110).pass(&headers(pairs), query), expect);
    }

    const OURS: (&str, &str) = ("host", "127.0.0.1:9110");
    const OURS_IN: &str = "groundtrail-9110-2bb80d53=secret";

    #[test]
    fn a_token_opens_and_nothing_else_does() {
        let welcome = Pass::Welcome { cookie: format!("{OURS_IN}; Path=/; HttpOnly; SameSite=Lax") };
        check(&[OURS], Some("token=secret"), &welcome);
        check(&[OURS], Some("a=b&token=secret"), &welcome);
        check(&[OURS, ("cookie", &format!("other=1; {OURS_IN}"))], None, &Pass::In);
        check(&[OURS], None, &Pass::Stranger);
        for wrong in ["token=", "token=secre", "token=secret2", "token=Secret", "xtoken=secret"] {
            check(&[OURS], Some(wrong), &Pass::Stranger);
        }
        check(&[OURS, ("cookie", "groundtrail-9110-2bb80d53=")], None, &Pass::Stranger);
        // Of another one of us on this host, to which the browser sends it all the same.
        check(&[OURS, ("cookie", "groundtrail-9111-2bb80d53=secret")], None, &Pass::Stranger);
        check(&[OURS, ("cookie", &format!("x{OURS_IN}"))], None, &Pass::Stranger);
    }

    #[test]
    fn a_browser_that_was_sent_here_under_another_name_stays_out() {
        for host in ["evil.example:9110", "127.0.0.1", "127.0.0.1:80", "127.0.0.1.evil.example:9110"] {
            check(&[("host", host), ("cookie", OURS_IN)], None, &Pass::WrongName);
        }
        check(&[("cookie", OURS_IN)], None, &Pass::WrongName);
        check(&[OURS, OURS, ("cookie", OURS_IN)], None, &Pass::WrongName);
        for host in ["localhost:9110", "[::1]:9110"] {
            check(&[("host", host), ("cookie", OURS_IN)], None, &Pass::In);
        }
        let remote = Door::remote("secret".to_owned());
        let from_afar = headers(&[("host", "soc.example.net"), ("cookie", "groundtrail-2bb80d53=secret")]);
        assert_eq!(remote.pass(&from_afar, None), Pass::In);
    }

    #[test]
    fn tokens_differ() {
        let (one, other) = (token().unwrap(), token().unwrap());
        assert_eq!(one.len(), 32);
        assert_ne!(one, other);
    }
}
