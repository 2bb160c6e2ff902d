//! User agents as AWS clients write them: product, version, and what modern SDKs tell about host, command and
//! credentials. All of it is the caller's own claim.

/// What a user agent says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserAgent<'a> {
    /// The text without the square brackets some services put around it.
    pub original: &'a str,
    pub name: Option<&'a str>,
    pub version: Option<&'a str>,
    pub os_name: Option<&'static str>,
    /// On Linux the kernel release, which the host knows as `uname -r`.
    pub os_version: Option<&'a str>,
    pub arch: Option<&'a str>,
    /// The language's name and version, as they stand: `python#3.11.8`, `Python/3.11.2`.
    pub language: Option<&'a str>,
    /// `service.operation` of the AWS CLI, version 2.2 and later.
    pub command: Option<&'a str>,
    /// The CLI's session: one per user, terminal and half hour of quiet.
    pub cli_session_id: Option<&'a str>,
    pub execution_env: Option<&'a str>,
    pub app_id: Option<&'a str>,
    /// Where the credentials came from, as far as the client's feature codes tell.
    pub credential_source: Option<&'static str>,
    /// Whether the client says that its endpoint was overridden.
    pub has_endpoint_override: bool,
}

/// Feature codes of botocore's `m/` list that name a source of credentials. The list's order is random, and a chain
/// carries several codes, so the most telling stand first.
const CREDENTIAL_CODES: &[(&str, &str)] = &[
    ("i", "assume_role"),
    ("k", "web_identity"),
    ("h", "web_identity"),
    ("r", "sso"),
    ("s", "sso"),
    ("AC", "login"),
    ("AD", "login"),
    ("v", "process"),
    ("w", "process"),
    ("z", "container"),
    ("0", "imds"),
    ("g", "environment"),
    ("o", "profile"),
    ("n", "profile"),
    ("e", "code"),
];

impl<'a> UserAgent<'a> {
    pub fn parse(text: &'a str) -> Self {
        let original = strip_brackets(text);
        let mut agent = Self { original, ..Self::default() };
        let mut codes = "";
        for (idx, word) in original.split_whitespace().enumerate() {
            if idx == 0 {
                agent.read_product(word);
            }
            // Parts are `key/value`; the value of a pair carries `#`.
            let Some((key, value)) = word.split_once('/').filter(|(_, value)| !value.is_empty()) else {
                continue;
            };
            match (key, value.split_once('#')) {
                ("os", Some((os, version))) => {
                    agent.os_name = os_name(os);
                    agent.os_version = non_empty(version);
                }
                ("lang", Some(_)) => agent.language = Some(value),
                ("Python" | "Java" | "Ruby" | "PHP" | "Node.js", None) => {
                    agent.language = agent.language.or(Some(word))
                }
                ("Linux", None) => agent.set_os("Linux", value),
                ("Darwin", None) => agent.set_os("macOS", value),
                ("Windows", None) => agent.set_os("Windows", value),
                ("md", Some(("arch", arch))) => agent.arch = non_empty(arch),
                ("md", Some(("command", command))) => agent.command = non_empty(command),
                ("command", None) => agent.command = Some(value),
                ("sid", None) => agent.cli_session_id = Some(value),
                ("exec-env", None) => agent.execution_env = Some(value),
                ("app", None) => agent.app_id = Some(value),
                ("m", None) => codes = value,
                _ => {}
            }
        }
        let has_code = |code: &str| codes.split(',').any(|held| held == code);
        agent.credential_source =
            CREDENTIAL_CODES.iter().find(|(code, _)| has_code(code)).map(|(_, name)| *name);
        agent.has_endpoint_override = has_code("N");
        if original.starts_with("Mozilla/") {
            agent.read_browser();
        }
        agent
    }

    /// The release of a Linux kernel, which the host knows as `uname -r`.
    pub fn kernel(&self) -> Option<&'a str> {
        self.os_version.filter(|_| self.os_name == Some("Linux"))
    }

    fn read_product(&mut self, word: &'a str) {
        match word.split_once('/') {
            Some((name, version)) if !name.is_empty() => {
                self.name = Some(name);
                self.version = non_empty(version);
            }
            Some(_) => {}
            // A service's own name is not a client.
            None if word.ends_with(".amazonaws.com") || word == "AWS" => {}
            None => self.name = non_empty(word),
        }
    }

    fn set_os(&mut self, name: &'static str, version: &'a str) {
        self.os_name.get_or_insert(name);
        self.os_version.get_or_insert(version);
    }

    fn read_browser(&mut self) {
        self.name = None;
        self.version = None;
        // The order decides: Edge and Opera call themselves Chrome, Chrome calls itself Safari.
        for (token, name) in [
            ("Edg/", "Edge"),
            ("OPR/", "Opera"),
            ("Firefox/", "Firefox"),
            ("Chrome/", "Chrome"),
            ("Version/", "Safari"),
        ] {
            if let Some((_, rest)) = self.original.split_once(token) {
                self.name = Some(name);
                self.version = rest.split_whitespace().next();
                break;
            }
        }
        let systems =
            [("Windows NT", "Windows"), ("Mac OS X", "Mac OS X"), ("Android", "Android"), ("Linux", "Linux")];
        self.os_name = systems.iter().find(|(token, _)| self.original.contains(token)).map(|(_, name)| *name);
    }
}

fn strip_brackets(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text).trim()
}

fn non_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn os_name(os: &str) -> Option<&'static str> {
    Some(match os.to_ascii_lowercase().as_str() {
        "linux" => "Linux",
        "macos" | "darwin" => "macOS",
        "windows" => "Windows",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recent_cli_tells_host_command_and_session() {
        let agent = UserAgent::parse(
            "aws-cli/2.17.20 md/awscrt#0.20.11 ua/2.0 os/linux#6.1.0-50-cloud-amd64 md/arch#x86_64 \
             lang/python#3.11.8 md/pyimpl#CPython m/N,0,E cfg/retry-mode#standard md/command#ec2.describe-instances \
             sid/0123456789ab exec-env/CloudShell app/fleet-7",
        );
        assert_eq!((agent.name, agent.version), (Some("aws-cli"), Some("2.17.20")));
        assert_eq!((agent.os_name, agent.os_version), (Some("Linux"), Some("6.1.0-50-cloud-amd64")));
        assert_eq!((agent.arch, agent.language), (Some("x86_64"), Some("python#3.11.8")));
        assert_eq!(agent.kernel(), Some("6.1.0-50-cloud-amd64"));
        assert_eq!(agent.command, Some("ec2.describe-instances"));
        assert_eq!(agent.cli_session_id, Some("0123456789ab"));
        assert_eq!((agent.execution_env, agent.app_id), (Some("CloudShell"), Some("fleet-7")));
        assert_eq!(agent.credential_source, Some("imds"));
        assert!(agent.has_endpoint_override);
    }

    #[test]
    fn an_older_cli_writes_its_command_apart() {
        let agent = UserAgent::parse(
            "[aws-cli/2.9.19 Python/3.11.2 Linux/6.1.0-50 source/x86_64.debian.12 prompt/off command/sts.get-caller-identity]",
        );
        assert_eq!((agent.name, agent.version), (Some("aws-cli"), Some("2.9.19")));
        assert_eq!(agent.os_version, Some("6.1.0-50"));
        assert_eq!(agent.command, Some("sts.get-caller-identity"));
        assert!(!agent.original.contains('['));
    }

    #[test]
    fn names_of_other_clients() {
        for (text, name, version) in [
            ("Boto3/1.34.1 md/Botocore#1.34.1", Some("Boto3"), Some("1.34.1")),
            (
                "aws-sdk-go/1.41.4 (go1.18.3; linux; amd64) amazon-ssm-agent/",
                Some("aws-sdk-go"),
                Some("1.41.4"),
            ),
            ("ec2.amazonaws.com", None, None),
            ("AWS Internal", None, None),
            ("console", Some("console"), None),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/127.0.0.0 Safari/537.36",
                Some("Chrome"),
                Some("127.0.0.0"),
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0) Chrome/127.0 Safari/537.36 Edg/127.0.1",
                Some("Edge"),
                Some("127.0.1"),
            ),
            ("", None, None),
            ("[]", None, None),
            ("/", None, None),
        ] {
            let agent = UserAgent::parse(text);
            assert_eq!((agent.name, agent.version), (name, version), "{text}");
        }
    }
}
