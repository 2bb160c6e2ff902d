//! How a request says who sends it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;

use super::secret::{Secret, SecretError};

/// What proves to a receiver that it is us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    Token(Secret),
    Password { user: String, password: Secret },
}

impl Login {
    pub(super) fn secret(&self) -> &Secret {
        let (Self::Token(secret) | Self::Password { password: secret, .. }) = self;
        secret
    }

    /// # Errors
    /// The secret is not there.
    pub fn check(&self) -> Result<(), SecretError> {
        self.secret().read().map(|_| ())
    }

    /// The value of `Authorization`; `scheme` goes with tokens.
    ///
    /// # Errors
    /// In words that hold no secret.
    pub(super) fn header(&self, scheme: &str) -> Result<HeaderValue, String> {
        match self {
            Self::Token(token) => bearer(scheme, token),
            Self::Password { user, password } => {
                let password = password.read().map_err(|error| error.to_string())?;
                let pair = STANDARD.encode(format!("{user}:{}", password.expose()));
                sensitive(&format!("Basic {pair}"))
            }
        }
    }
}

/// # Errors
/// In words that hold no secret.
pub(super) fn bearer(scheme: &str, token: &Secret) -> Result<HeaderValue, String> {
    let token = token.read().map_err(|error| error.to_string())?;
    sensitive(&format!("{scheme} {}", token.expose()))
}

/// A header that is kept out of logs and tables.
fn sensitive(text: &str) -> Result<HeaderValue, String> {
    let value = HeaderValue::from_str(text);
    let mut value = value.map_err(|_invalid| "the secret cannot be in a header".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}
