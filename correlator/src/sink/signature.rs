//! How a webhook's receiver knows that a body is ours and fresh: HMAC-SHA256 over time and body.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::secret::Text;

/// `v1=` and the hexadecimal HMAC-SHA256, keyed with the secret's bytes, of the seconds since 1970 in decimal, a dot, and the
/// body as it was sent.
pub(super) fn sign(secret: &Text, seconds: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("a key of any length");
    mac.update(seconds.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    format!("v1={}", crate::hex::hex(&mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Secret;

    #[test]
    fn a_signature_is_what_openssl_makes_of_time_and_body() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s3cret\n").unwrap();
        let secret = Secret::File(file.path().to_owned()).read().unwrap();
        // printf '%s' '1790000000.{"n":1}' | openssl dgst -sha256 -hmac s3cret
        let expected = "v1=662e733b744c316e42f8fb8fe098a90288d98bbdbf99fc9a30aa154fb6f7f05b";
        assert_eq!(sign(&secret, 1_790_000_000, br#"{"n":1}"#), expected);
        assert_ne!(sign(&secret, 1_790_000_001, br#"{"n":1}"#), expected);
    }
}
