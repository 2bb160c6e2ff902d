//! What goes out as a secret and may come back in a receiver's words.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::login::Login;

/// What a receiver may say back to us, and no log or status must show: the secrets that it was sent, as they are now.
#[derive(Debug, Clone)]
pub(super) struct Masks {
    pub(super) logins: Arc<[Login]>,
    /// Of the receiver's address, where some services have the secret.
    pub(super) path: Arc<str>,
}

const MASK: &str = "(secret)";
/// A shorter path is no secret, and a part of many words.
const SHORTEST_PATH: usize = 8;
/// The same of a part of it.
const SHORTEST_TOKEN: usize = 12;

impl Masks {
    pub(super) fn cover(&self, text: &str) -> String {
        let mut words: Vec<String> = Vec::new();
        for login in &*self.logins {
            let Ok(secret) = login.secret().read() else { continue };
            let secret = secret.expose();
            if let Login::Password { user, .. } = login {
                words.push(STANDARD.encode(format!("{user}:{secret}")));
            }
            let quoted = serde_json::Value::from(secret).to_string();
            words.push(quoted[1..quoted.len() - 1].to_owned());
            words.push(secret.to_owned());
        }
        if self.path.len() >= SHORTEST_PATH {
            words.push(self.path.to_string());
        }
        words.extend(self.path.split(['/', '?', '&', '=']).filter(|part| is_token(part)).map(str::to_owned));
        // A longer one may hold a shorter.
        words.sort_by_key(|word| std::cmp::Reverse(word.len()));
        words.iter().fold(text.to_owned(), |text, word| text.replace(word, MASK))
    }
}

/// Names of services are words in lower case.
fn is_token(part: &str) -> bool {
    part.len() >= SHORTEST_TOKEN
        && part.bytes().any(|byte| !byte.is_ascii_lowercase() && byte != b'-' && byte != b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Secret;

    #[test]
    fn what_a_receiver_says_back_is_shown_without_secrets() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "canary\"0451\n").unwrap();
        let password = Secret::File(file.path().to_owned());
        let logins = vec![Login::Password { user: "u".to_owned(), password }];
        let masks = Masks { logins: logins.into(), path: "/hook/T0/canary-path".into() };
        let said =
            r#"{"token":"canary\"0451","at":"/hook/T0/canary-path?x"} canary"0451 dTpjYW5hcnkiMDQ1MQ=="#;
        let shown = masks.cover(said);
        assert!(!shown.contains("0451") && !shown.contains("canary") && !shown.contains("dTp"), "{shown}");
        assert_eq!(shown.matches(MASK).count(), 4, "{shown}");
        let hook = Masks {
            logins: Vec::new().into(),
            path: "/services/T0/B0/0451Canary0451?key=canary-0451-key".into(),
        };
        assert_eq!(
            hook.cover("no services for 0451Canary0451 or canary-0451-key"),
            "no services for (secret) or (secret)"
        );
        let none = Masks { logins: Vec::new().into(), path: "/".into() };
        assert_eq!(none.cover("a/b"), "a/b");
    }
}
