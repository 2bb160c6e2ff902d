//! Which environment variables may leave the host, and in what shape.

use crate::redact;

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
            if redact::is_secret_name(name) {
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
        block.split(|&byte| byte == 0).filter_map(|variable| Some(self.ranked(variable)?.1)).collect()
    }

    /// The same, at most [`MAX_VARIABLES`]: what is listed by its whole name before what a wildcard lets in, so that
    /// nobody pushes one variable out with many others. True if some had to stay behind.
    pub fn pick(&self, block: &[u8]) -> (Vec<String>, bool) {
        let variables = block.split(|&byte| byte == 0);
        let mut all: Vec<(Rank, String)> = variables.filter_map(|variable| self.ranked(variable)).collect();
        let is_cut = all.len() > MAX_VARIABLES;
        if is_cut {
            all.sort_by_key(|(rank, _)| *rank);
            all.truncate(MAX_VARIABLES);
        }
        (all.into_iter().map(|(_, variable)| variable).collect(), is_cut)
    }

    fn ranked(&self, variable: &[u8]) -> Option<(Rank, String)> {
        let at = variable.iter().position(|&byte| byte == b'=')?;
        let name = std::str::from_utf8(&variable[..at]).ok()?;
        let rank = self.rank(name)?;
        let variable = redact::mask_variable(&String::from_utf8_lossy(variable));
        let end = variable.floor_char_boundary(name.len() + 1 + MAX_VALUE_BYTES);
        Some((rank, variable[..end].to_owned()))
    }

    /// Asked for every variable whatever the list says, so that a wildcard cannot let a secret out.
    fn rank(&self, name: &str) -> Option<Rank> {
        if redact::is_secret_name(name) {
            return None;
        }
        let ranks = self.patterns.iter().filter_map(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) if name == prefix => Some(Rank::Exact),
            Some(prefix) => name.starts_with(prefix).then_some(Rank::Wildcard),
            None => (name == pattern).then_some(Rank::Exact),
        });
        ranks.min()
    }
}

/// How a variable came onto the list; the first is kept first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// By its name, or by that of a wildcard without its star.
    Exact,
    Wildcard,
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
    fn many_variables_do_not_push_out_the_one_that_is_named() {
        let allow = EnvAllow::default();
        let padding: String = (0..70).map(|n| format!("AWS_ENDPOINT_URL_A{n}=http://x\0")).collect();
        let (kept, is_cut) = allow.pick(format!("{padding}AWS_ENDPOINT_URL=http://evil\0").as_bytes());
        assert_eq!((kept.len(), is_cut), (MAX_VARIABLES, true));
        assert_eq!(kept[0], "AWS_ENDPOINT_URL=http://evil");
        let (kept, is_cut) = allow.pick(b"AWS_ENDPOINT_URL_S3=b\0AWS_PROFILE=a\0");
        assert_eq!(
            (kept, is_cut),
            (vec!["AWS_ENDPOINT_URL_S3=b".to_owned(), "AWS_PROFILE=a".to_owned()], false)
        );
    }

    #[test]
    fn a_password_is_gone_before_the_value_is_cut() {
        let long = format!("HTTPS_PROXY=http://bob:{}@proxy", "p".repeat(MAX_VALUE_BYTES));
        check(&EnvAllow::default(), &long, Some("HTTPS_PROXY=http://***@proxy"));
    }

    #[test]
    fn values_are_cut_at_a_character() {
        let long = format!("AWS_PROFILE={}", "é".repeat(MAX_VALUE_BYTES));
        let kept = EnvAllow::default().filter(long.as_bytes());
        assert!(kept[0].len() <= "AWS_PROFILE=".len() + MAX_VALUE_BYTES);
    }
}
