//! The wire to the correlator: batches out of the spool over HTTP, to a TLS server whose name and certificate are checked,
//! or to a Unix socket of this host. `docs/wire.md` says what crosses it; the correlator has its own half.

pub mod answer;
pub mod backoff;
pub mod client;
pub mod names;
pub mod tls;

use std::fmt;
use std::path::PathBuf;

/// The versions this sensor speaks, the best last.
pub const PROTOCOLS: &[u32] = &[1];

pub const EVENTS_PATH: &str = "/v1/events";
pub const HELLO_PATH: &str = "/v1/hello";
pub const PROTOCOL: &str = "groundtrail-protocol";
pub const HOST: &str = "groundtrail-host";
pub const STREAM: &str = "groundtrail-stream";
pub const SEQUENCE: &str = "groundtrail-sequence";
pub const OLDEST: &str = "groundtrail-oldest";
pub const ACKNOWLEDGED: &str = "groundtrail-acknowledged";
pub const EXPECTED: &str = "groundtrail-expected";
pub const REFUSED: &str = "groundtrail-refused";

/// Where the correlator is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Https { host: String, port: u16 },
    Unix(PathBuf),
}

impl Place {
    /// The port where none is given.
    pub const PORT: u16 = 7443;

    /// `https://HOST[:PORT]` or `unix:PATH`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.starts_with('/') {
                true => Ok(Self::Unix(path.into())),
                false => {
                    Err(format!("\"{text}\" has no absolute path: write unix:/run/groundtrail/sensor.sock"))
                }
            };
        }
        let wrong = || format!("\"{text}\" is neither https://HOST[:PORT] nor unix:/PATH");
        let rest = text.strip_prefix("https://").ok_or_else(wrong)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.is_empty() || rest.contains(['/', '?', '#', '@', ' ']) {
            return Err(wrong());
        }
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or_else(wrong)?;
                (host, port.strip_prefix(':').or_else(|| port.is_empty().then_some("")).ok_or_else(wrong)?)
            }
            None => rest.split_once(':').unwrap_or((rest, "")),
        };
        let port = if port.is_empty() { Self::PORT } else { port.parse().map_err(|_number| wrong())? };
        if host.is_empty() || host.contains(':') != rest.starts_with('[') {
            return Err(wrong());
        }
        Ok(Self::Https { host: host.to_owned(), port })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Https { host, port } if host.contains(':') => write!(f, "https://[{host}]:{port}"),
            Self::Https { host, port } => write!(f, "https://{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written() {
        for text in [
            "https://correlator.example.net:7443",
            "https://192.0.2.1:443",
            "https://[2001:db8::1]:7443",
            "unix:/run/x",
        ] {
            assert_eq!(Place::parse(text).expect(text).to_string(), text);
        }
        let port = |text| Place::parse(text).map(|place| place.to_string());
        assert_eq!(port("https://a/"), Ok("https://a:7443".into()));
        assert_eq!(port("https://[::1]"), Ok("https://[::1]:7443".into()));
    }

    #[test]
    fn what_is_no_place_is_told() {
        for text in [
            "",
            "a:1",
            "http://a",
            "https://",
            "https://a:b",
            "https://a/b",
            "https://u@a",
            "https://::1",
            "https://[::1",
            "unix:x",
        ] {
            assert!(Place::parse(text).is_err(), "{text}");
        }
    }
}
