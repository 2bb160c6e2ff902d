//! The small AWS account the stand-ins agree on: its instances, their roles, and the people who may call.
//!
//! Every number is a documentation number (account 111122223333, RFC 5737 addresses); key ids are made so that they
//! decode to that account, as real ones do, and secrets are hashes that open nothing.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub const ACCOUNT: &str = "111122223333";
pub const REGION: &str = "us-east-1";
pub const ROLE: &str = "web-server-role";
pub const ROLE_ID: &str = "AROAQRSTUVWXYZ2EXAMPL";
pub const INSTANCE_ID: &str = "i-0a1b2c3d4e5f60718";
pub const AMI: &str = "ami-0123456789abcdef0";
pub const PRIVATE_IP: &str = "10.0.1.10";
pub const PUBLIC_IP: &str = "203.0.113.10";
pub const MAC: &str = "0e:49:61:0f:c3:11";
pub const HOST_NAME: &str = "ip-10-0-1-10.ec2.internal";

/// Someone who may sign a request.
#[derive(Clone, Debug)]
pub struct Principal {
    pub access_key: String,
    pub secret: String,
    pub session_token: Option<String>,
    /// The address AWS sees the call come from.
    pub source_ip: String,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    User {
        name: String,
    },
    /// A session of a role. `imds_version` is there where an instance's metadata service issued it.
    Session {
        role: String,
        role_id: String,
        name: String,
        imds_version: Option<u8>,
    },
}

/// An instance, as its own metadata service and AWS describe it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    pub id: String,
    pub private_ip: String,
    /// The address its calls come from.
    pub public_ip: String,
    pub mac: String,
    pub host_name: String,
    /// The role of its profile.
    pub role: String,
}

impl Instance {
    /// The one instance of the five systems' scenarios.
    pub fn web() -> Self {
        let [id, private_ip, public_ip, mac, host_name, role] =
            [INSTANCE_ID, PRIVATE_IP, PUBLIC_IP, MAC, HOST_NAME, ROLE].map(str::to_owned);
        Instance { id, private_ip, public_ip, mac, host_name, role }
    }

    /// Its role as the metadata service hands it out; v1 and v2 readers get different keys.
    pub fn credentials(&self, imds_version: u8) -> Principal {
        let seed = format!("{}/v{imds_version}", self.id);
        let session = (self.role.as_str(), self.id.as_str());
        Principal::session(session, &seed, &self.public_ip, Some(imds_version))
    }
}

/// Who calls in the scenarios, by the part they play.
pub fn users() -> Vec<Principal> {
    [
        ("jane.roe", "198.51.100.23"),
        ("inventory", "198.51.100.40"),
        ("ci-deploy", "198.51.100.57"),
        ("mallory", "198.51.100.66"),
    ]
    .into_iter()
    .map(|(name, source_ip)| Principal {
        access_key: access_key_id("AKIA", name),
        secret: secret(name),
        session_token: None,
        source_ip: source_ip.to_owned(),
        kind: Kind::User { name: name.to_owned() },
    })
    .collect()
}

/// A user by name.
///
/// # Panics
/// When no user has that name: the cast is fixed, so that is a slip in a scenario.
pub fn user(name: &str) -> Principal {
    users()
        .into_iter()
        .find(|principal| matches!(&principal.kind, Kind::User { name: own } if own == name))
        .unwrap_or_else(|| panic!("no user \"{name}\" in the cast of world.rs"))
}

/// The role of the one instance, as the metadata service hands it out.
pub fn instance_role(imds_version: u8) -> Principal {
    Instance::web().credentials(imds_version)
}

/// Whoever holds this key, or nobody.
pub fn by_access_key(key: &str) -> Option<Principal> {
    users()
        .into_iter()
        .chain([instance_role(1), instance_role(2)])
        .find(|principal| principal.access_key == key)
}

impl Principal {
    /// A session of a role, `(role, session name)`, with keys that follow from the seed.
    pub fn session(session: (&str, &str), seed: &str, source_ip: &str, imds_version: Option<u8>) -> Self {
        let (role, name) = session;
        let role_id = if role == ROLE { ROLE_ID.to_owned() } else { unique_id("AROA", role) };
        Principal {
            access_key: access_key_id("ASIA", seed),
            secret: secret(seed),
            session_token: Some(session_token(seed)),
            source_ip: source_ip.to_owned(),
            kind: Kind::Session { role: role.to_owned(), role_id, name: name.to_owned(), imds_version },
        }
    }

    /// A user with this key, which AWS made.
    pub fn of_user(name: &str, access_key: &str, source_ip: &str) -> Self {
        Principal {
            access_key: access_key.to_owned(),
            secret: String::new(),
            session_token: None,
            source_ip: source_ip.to_owned(),
            kind: Kind::User { name: name.to_owned() },
        }
    }

    pub fn arn(&self) -> String {
        match &self.kind {
            Kind::User { name } => format!("arn:aws:iam::{ACCOUNT}:user/{name}"),
            Kind::Session { role, name, .. } => {
                format!("arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{name}")
            }
        }
    }

    pub fn user_id(&self) -> String {
        match &self.kind {
            Kind::User { name } => unique_id("AIDA", name),
            Kind::Session { role_id, name, .. } => format!("{role_id}:{name}"),
        }
    }

    /// CloudTrail's `userIdentity` block. `issued` is when the session began, for those that are sessions.
    pub fn identity(&self, issued: &str) -> Value {
        match &self.kind {
            Kind::User { name } => json!({
                "type": "IAMUser",
                "principalId": self.user_id(),
                "arn": self.arn(),
                "accountId": ACCOUNT,
                "accessKeyId": self.access_key,
                "userName": name,
            }),
            Kind::Session { role, role_id, imds_version, .. } => {
                let mut identity = json!({
                    "type": "AssumedRole",
                    "principalId": self.user_id(),
                    "arn": self.arn(),
                    "accountId": ACCOUNT,
                    "accessKeyId": self.access_key,
                    "sessionContext": {
                        "sessionIssuer": {
                            "type": "Role",
                            "principalId": role_id,
                            "arn": format!("arn:aws:iam::{ACCOUNT}:role/{role}"),
                            "accountId": ACCOUNT,
                            "userName": role,
                        },
                        "attributes": { "creationDate": issued, "mfaAuthenticated": "false" },
                    },
                });
                if let Some(version) = imds_version {
                    identity["sessionContext"]["ec2RoleDelivery"] = json!(format!("{version}.0"));
                }
                identity
            }
        }
    }

    /// What a client of this principal has in its environment.
    pub fn environment(&self) -> Vec<(String, String)> {
        let mut vars = vec![
            ("AWS_ACCESS_KEY_ID".to_owned(), self.access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY".to_owned(), self.secret.clone()),
        ];
        if let Some(token) = &self.session_token {
            vars.push(("AWS_SESSION_TOKEN".to_owned(), token.clone()));
        }
        vars
    }
}

/// A key id that decodes to [`ACCOUNT`]: base32 from the fifth character on, whose first 48 bits hold the account
/// number shifted left by seven, under a set top bit.
pub fn access_key_id(prefix: &str, seed: &str) -> String {
    let account: u64 = ACCOUNT.parse().expect("the account id is twelve digits");
    let hash = Sha256::digest(seed.as_bytes());
    let head = 1 << 47 | account << 7 | u64::from(hash[0] & 0x7f);
    let mut bytes = [0u8; 10];
    bytes[..6].copy_from_slice(&head.to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&hash[1..5]);
    format!("{prefix}{}", base32(&bytes))
}

/// An IAM unique id such as `AIDA…`, 21 characters.
pub fn unique_id(prefix: &str, seed: &str) -> String {
    let hash = Sha256::digest(seed.as_bytes());
    format!("{prefix}{}", &base32(&hash)[..17])
}

fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::new();
    let (mut held, mut bits) = (0u16, 0u8);
    for byte in bytes {
        held = held << 8 | u16::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(ALPHABET[usize::from(held >> bits & 31)]));
        }
        held &= (1 << bits) - 1;
    }
    text
}

fn secret(seed: &str) -> String {
    crate::digest::hex(&format!("not a secret: {seed}"))[..40].to_owned()
}

fn session_token(seed: &str) -> String {
    let half = crate::digest::hex(&format!("not a token: {seed}"));
    format!("IQoJb3JpZ2luX2VjE{}", half.repeat(4))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published way from key id to account, written independently of the encoder.
    fn account_of(key: &str) -> u64 {
        let mut bits: u128 = 0;
        for symbol in key[4..].bytes() {
            let value = match symbol {
                b'A'..=b'Z' => symbol - b'A',
                _ => symbol - b'2' + 26,
            };
            bits = bits << 5 | u128::from(value);
        }
        let head = u64::try_from(bits >> 32).expect("80 bits less 32");
        (head & 0x7fff_ffff_ff80) >> 7
    }

    #[test]
    fn key_ids_decode_to_the_account() {
        for principal in users().into_iter().chain([instance_role(1), instance_role(2)]) {
            assert_eq!(account_of(&principal.access_key), 111_122_223_333, "{}", principal.access_key);
            assert_eq!(principal.access_key.len(), 20);
        }
    }

    #[test]
    fn v1_and_v2_readers_get_different_keys() {
        assert_ne!(instance_role(1).access_key, instance_role(2).access_key);
    }
}
