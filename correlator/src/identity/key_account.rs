//! The account that an access key id carries in itself.

/// The characters after the four of the prefix are base32; the account stands in bits 7 to 46 of their first six bytes.
/// Only ids of the current form carry one; `None` for anything else.
pub fn account_of_key(id: &str) -> Option<String> {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    const MASK: u64 = 0x7fff_ffff_ff80;
    if !(id.starts_with("AKIA") || id.starts_with("ASIA")) || id.len() != 20 {
        return None;
    }
    let mut bits = 0_u64;
    // Ten characters are fifty bits, of which the first 48 are the six bytes.
    for byte in id.as_bytes().iter().skip(4).take(10) {
        let digit = ALPHABET.iter().position(|known| known == byte)?;
        bits = bits << 5 | digit as u64;
    }
    let account = (bits >> 2 & MASK) >> 7;
    // Ids older than the scheme decode to what no account is.
    (account < 1_000_000_000_000).then(|| format!("{account:012}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_carries_its_account() {
        assert_eq!(account_of_key("AKIARTX3GSDSYCSJO5Q3").as_deref(), Some("111122223333"));
        assert_eq!(account_of_key("ASIARTX3GSDSWPZ6EXQM").as_deref(), Some("111122223333"));
        // An example of the public literature on the scheme.
        assert_eq!(account_of_key("ASIAQNZGKIQY56JQ7WML").as_deref(), Some("029608264753"));
    }

    #[test]
    fn what_is_no_key_id_carries_none() {
        for text in [
            "",
            "AKIA",
            "AROARTX3GSDSYCSJO5Q3",
            "AKIA1111111111111111",
            "AKIARTX3GSDSYCSJO5Q",
            "AKIAé3GSDSYCSJO5Q3x",
        ] {
            assert_eq!(account_of_key(text), None, "{text}");
        }
    }
}
