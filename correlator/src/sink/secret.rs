//! Keys and tokens: named in the configuration, read from a file or a variable, and never shown.

use std::fmt;
use std::path::PathBuf;

/// Where a secret is. The configuration may show this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    File(PathBuf),
    Variable(String),
}

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("cannot read the secret in \"{}\": {source}; check the path and that this user may read it", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the file \"{}\" holds no secret: it is empty", .0.display())]
    Empty(PathBuf),
    #[error("the variable {0} is not set, or no text: set it for the run, or name a file")]
    Variable(String),
    #[error("what is in {0} cannot be a token: it holds a line break or another control character")]
    Control(Secret),
}

/// The secret itself. It has no form to print.
#[derive(Clone, PartialEq, Eq)]
pub struct Text(String);

impl Text {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "\"{}\"", path.display()),
            Self::Variable(name) => write!(f, "the variable {name}"),
        }
    }
}

impl Secret {
    /// Reads it, without the newline that editors leave. It is read for each use, so that a new one counts at once.
    ///
    /// # Errors
    /// It is not there, or nothing that a header may hold.
    pub fn read(&self) -> Result<Text, SecretError> {
        let text = match self {
            Self::File(path) => {
                let failed = |source| SecretError::Read { path: path.clone(), source };
                let text = std::fs::read_to_string(path).map_err(failed)?;
                let text = text.trim_end_matches(['\n', '\r']).to_owned();
                if text.is_empty() {
                    return Err(SecretError::Empty(path.clone()));
                }
                text
            }
            Self::Variable(name) => {
                let text = std::env::var(name).ok().filter(|text| !text.is_empty());
                text.ok_or_else(|| SecretError::Variable(name.clone()))?
            }
        };
        if text.chars().any(char::is_control) {
            return Err(SecretError::Control(self.clone()));
        }
        Ok(Text(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_from_its_file_and_shown_nowhere() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let secret = Secret::File(file.path().to_owned());
        assert!(matches!(secret.read(), Err(SecretError::Empty(_))));
        std::fs::write(file.path(), "canary-0451\n").unwrap();
        let text = secret.read().unwrap();
        assert_eq!(text.expose(), "canary-0451");
        assert!(!format!("{text:?} {secret:?} {secret}").contains("canary"));
        std::fs::write(file.path(), "canary\r\nX-Injected: 1").unwrap();
        let error = secret.read().unwrap_err();
        assert!(matches!(error, SecretError::Control(_)));
        assert!(!format!("{error:?} {error}").contains("canary"));
        assert!(Secret::Variable("GROUNDTRAIL_TEST_UNSET".to_owned()).read().is_err());
    }
}
