//! `[output] to` a correlator, and the `[spool]` in between.

use std::path::PathBuf;

use serde::Deserialize;

use super::{ConfigError, FileOutput};
use crate::wire::Place;
use crate::wire::tls::TlsFiles;

/// Where it is without systemd, which names its folder in a variable.
const DEFAULT_FOLDER: &str = "/var/lib/groundtrail-sensor";
const FILE: &str = "spool.db";
/// About a day of a host that does 25 things a second.
const DEFAULT_BYTES: u64 = 256 << 20;

/// What a sensor needs to reach a correlator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireConfig {
    /// Who the correlator has to be, and who we are. Needed for https.
    pub files: Option<TlsFiles>,
    /// The spool. Default: spool.db in $STATE_DIRECTORY or /var/lib/groundtrail-sensor.
    pub path: PathBuf,
    /// What it may hold, packed, 1 MiB to 64 GiB. Default 256 MiB. When it is full the oldest events are given up.
    pub max_bytes: u64,
}

/// One correlator, and the spool on the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolConfig {
    pub to: Place,
    pub files: Option<TlsFiles>,
    pub path: PathBuf,
    pub max_bytes: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FileSpool {
    path: Option<PathBuf>,
    max_bytes: Option<u64>,
}

impl Default for WireConfig {
    fn default() -> Self {
        let folder = std::env::var_os("STATE_DIRECTORY").map_or_else(|| DEFAULT_FOLDER.into(), PathBuf::from);
        Self { files: None, path: folder.join(FILE), max_bytes: DEFAULT_BYTES }
    }
}

impl WireConfig {
    /// # Errors
    /// It is no place, or one behind TLS and there are no certificates.
    pub fn to(&self, text: &str) -> Result<SpoolConfig, ConfigError> {
        let to = Place::parse(text).map_err(|reason| ConfigError::Value { key: "output.to", reason })?;
        if matches!(to, Place::Https { .. }) && self.files.is_none() {
            let reason =
                "https needs output.ca, output.certificate and output.key; `groundtrail ca issue` makes them";
            return Err(ConfigError::Value { key: "output.to", reason: reason.into() });
        }
        let Self { files, path, max_bytes } = self.clone();
        Ok(SpoolConfig { to, files, path, max_bytes })
    }
}

pub(super) fn read(output: &FileOutput, spool: FileSpool) -> Result<WireConfig, ConfigError> {
    let default = WireConfig::default();
    let files = match (&output.ca, &output.certificate, &output.key) {
        (None, None, None) => None,
        (Some(ca), Some(certificate), Some(key)) => {
            Some(TlsFiles { ca: ca.clone(), certificate: certificate.clone(), key: key.clone() })
        }
        _ => {
            let reason = "ca, certificate and key go together: give all three or none".to_owned();
            return Err(ConfigError::Value { key: "output.certificate", reason });
        }
    };
    let max_bytes = spool.max_bytes.unwrap_or(default.max_bytes);
    if !(1 << 20..=64 << 30).contains(&max_bytes) {
        let reason = format!("{max_bytes} is not within {} to {}", 1 << 20, 64_u64 << 30);
        return Err(ConfigError::Value { key: "spool.max_bytes", reason });
    }
    Ok(WireConfig { files, path: spool.path.unwrap_or(default.path), max_bytes })
}

#[cfg(test)]
mod tests {
    use super::super::{Config, OutputConfig};
    use super::*;

    fn refuses(text: &str, with: &str) {
        let err = Config::parse(text).expect_err(text).to_string();
        assert!(err.contains(with), "{err}");
    }

    #[test]
    fn a_correlator_is_named_by_its_place() {
        let config = Config::parse(
            r#"
            output = { to = "https://c.example", ca = "/ca.pem", certificate = "/c.pem", key = "/c.key" }
            spool = { path = "/s.db", max_bytes = 1048576 }
            "#,
        )
        .expect("valid");
        let files = TlsFiles { ca: "/ca.pem".into(), certificate: "/c.pem".into(), key: "/c.key".into() };
        let to = Place::Https { host: "c.example".into(), port: Place::PORT };
        let expect = SpoolConfig { to, files: Some(files), path: "/s.db".into(), max_bytes: 1 << 20 };
        assert_eq!(config.output, OutputConfig::Correlator(expect));
        let local = Config::parse("[output]\nto = \"unix:/run/s.sock\"").expect("valid");
        assert!(matches!(local.output, OutputConfig::Correlator(SpoolConfig { files: None, .. })));
    }

    #[test]
    fn what_is_missing_is_named() {
        refuses("[output]\nto = \"https://c\"", "https needs output.ca");
        refuses("[output]\nto = \"https://c\"\nca = \"/x\"", "go together");
        refuses("[output]\nto = \"unix:x\"", "absolute path");
        refuses("[output]\nto = \"unix:/x\"\npath = \"/y\"", "leave the path out");
        refuses("[spool]\nmax_bytes = 5", "not within");
    }
}
