//! Which environment variables may leave the host, and in what shape.

/// Names that join a process to the cloud. Key *ids* are among them, secrets never.
const DEFAULT: [&str; 17] = [
    "SSM_COMMAND_ID",
    "AWS_SSM_*",
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_ENDPOINT_URL*",
    "AWS_CONTAINER_CREDENTIALS_*",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_*",
    "AWS_EXECUTION_ENV",
    "AWS_SDK_UA_APP_ID",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CA_BUNDLE",
    "HTTPS_PROXY",
    "https_proxy",
    "SSH_CONNECTION",
    "SUDO_USER",
];

/// Parts of a name that say its value opens something.
const SECRET_MARKS: [&str; 4] = ["SECRET", "PASSWORD", "PASSWD", "PRIVATE_KEY"];

/// Longest value that is sent; what is longer is cut at a character.
const MAX_VALUE_BYTES: usize = 2048;
/// Most variables of one process that are sent.
const MAX_VARIABLES: usize = 64;

/// A list of names, each exact or ending in `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvAllow {
    patterns: Vec<String>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EnvError {
    #[error("\"{0}\" holds a secret and never leaves the host: remove it")]
    Secret(String),
    #[error("\"{0}\" is no variable name: use letters, digits and \"_\", with \"*\" at the end alone")]
    Name(String),
}

impl Default for EnvAllow {
    fn default() -> Self {
        Self { patterns: DEFAULT.map(str::to_owned).to_vec() }
    }
}

impl EnvAllow {
    /// # Errors
    /// `Secret` for a name that is refused whatever the list says, `Name` for what cannot be one.
    pub fn new(patterns: Vec<String>) -> Result<Self, EnvError> {
        for pattern in &patterns {
            let name = pattern.strip_suffix('*').unwrap_or(pattern);
            let is_name =
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if !is_name {
                return Err(EnvError::Name(pattern.clone()));
            }
            if is_secret(name) {
                return Err(EnvError::Secret(pattern.clone()));
            }
        }
        Ok(Self { patterns })
    }

    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }

    /// The allowed variables of a NUL-separated block, as `KEY=value`.
    pub fn filter(&self, block: &[u8]) -> Vec<String> {
        let variables = block.split(|&byte| byte == 0).filter_map(|variable| {
            let at = variable.iter().position(|&byte| byte == b'=')?;
            let name = std::str::from_utf8(&variable[..at]).ok()?;
            if !self.allows(name) {
                return None;
            }
            let value = String::from_utf8_lossy(&variable[at + 1..]);
            Some(format!("{name}={}", without_userinfo(cut(&value))))
        });
        variables.take(MAX_VARIABLES).collect()
    }

    fn allows(&self, name: &str) -> bool {
        let listed = self.patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == pattern,
        });
        listed && !is_secret(name)
    }
}

/// Asked again for every variable, so that a wildcard cannot let one out.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SECRET_MARKS.iter().any(|mark| name.contains(mark))
        || name.ends_with("TOKEN")
        || name.starts_with("AWS_BEARER_TOKEN")
}

fn cut(value: &str) -> &str {
    &value[..value.floor_char_boundary(MAX_VALUE_BYTES)]
}

/// `https://user:password@proxy:3128` without what stands before the `@`.
fn without_userinfo(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    match authority.rfind('@') {
        Some(at) => format!("{scheme}://***{}", &rest[at..]),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(allow: &EnvAllow, variable: &str, expect: Option<&str>) {
        let expect: Vec<&str> = expect.into_iter().collect();
        assert_eq!(allow.filter(variable.as_bytes()), expect, "{variable}");
    }

    #[test]
    fn the_default_list_lets_key_ids_out_and_no_secret() {
        let allow = EnvAllow::default();
        for kept in
            ["AWS_ACCESS_KEY_ID=AKIA", "SSM_COMMAND_ID=1", "AWS_ENDPOINT_URL_S3=http://x", "AWS_ROLE_ARN=a"]
        {
            check(&allow, kept, Some(kept));
        }
        for dropped in [
            "AWS_SECRET_ACCESS_KEY=s",
            "AWS_SESSION_TOKEN=t",
            "AWS_SECURITY_TOKEN=t",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN=t",
            "PATH=/bin",
            "XAWS_PROFILE=x",
            "no equals sign",
        ] {
            check(&allow, dropped, None);
        }
    }

    #[test]
    fn a_secret_is_refused_when_listed_and_when_a_wildcard_covers_it() {
        for name in ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECRET_*", "DB_PASSWORD"] {
            assert_eq!(EnvAllow::new(vec![name.into()]), Err(EnvError::Secret(name.into())));
        }
        let wide = EnvAllow::new(vec!["AWS_*".into()]).expect("allowed");
        check(&wide, "AWS_REGION=eu-west-1", Some("AWS_REGION=eu-west-1"));
        check(&wide, "AWS_SECRET_ACCESS_KEY=s", None);
        check(&wide, "AWS_SESSION_TOKEN=s", None);
        check(&wide, "AWS_BEARER_TOKEN_BEDROCK=s", None);
        assert_eq!(EnvAllow::new(vec!["*".into()]), Err(EnvError::Name("*".into())));
    }

    #[test]
    fn passwords_inside_urls_are_cut_out() {
        let allow = EnvAllow::default();
        check(
            &allow,
            "HTTPS_PROXY=http://bob:pw@proxy:3128/x@y",
            Some("HTTPS_PROXY=http://***@proxy:3128/x@y"),
        );
        check(&allow, "AWS_ENDPOINT_URL=http://h/?q=a@b", Some("AWS_ENDPOINT_URL=http://h/?q=a@b"));
    }

    #[test]
    fn values_are_cut_at_a_character() {
        let long = format!("AWS_PROFILE={}", "é".repeat(MAX_VALUE_BYTES));
        let kept = EnvAllow::default().filter(long.as_bytes());
        assert!(kept[0].len() <= "AWS_PROFILE=".len() + MAX_VALUE_BYTES);
    }
}
