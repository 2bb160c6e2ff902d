//! Secrets that were put where every user of the host can read them: in arguments and in addresses.
//!
//! Nothing of them leaves the host. What is masked is decided by names alone; how many arguments there are, and where
//! each begins and ends, stays as it was. Masked text is masked again to itself, so that a recording and its replay
//! agree. In a shell's script a value that is itself a command (`$(...)`) stays: nobody may hide one behind a name.

mod programs;

use std::ops::Range;

use crate::process::base_name;

/// What stands in a secret's place.
const MASK: &str = "***";

/// Parts of a name that say its value opens something; in capitals, `-` as `_`.
const MARKS: [&str; 5] = ["SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "PRIVATE_KEY"];
/// The same, at a name's end.
const ENDS: [&str; 5] = ["TOKEN", "API_KEY", "APIKEY", "SIGNATURE", "MYSQL_PWD"];
/// The same, at its start.
const STARTS: [&str; 1] = ["AWS_BEARER_TOKEN"];
/// Ends of names that only say where a secret lies.
const POINTERS: [&str; 6] = ["_ID", "_ARN", "_FILE", "_NAME", "_PATH", "_STDIN"];

/// Headers whose value opens something, in any case.
const HEADERS: [&str; 7] = [
    "authorization:",
    "x-aws-ec2-metadata-token:",
    "x-amz-security-token:",
    "x-api-key:",
    "x-vault-token:",
    "private-token:",
    "cookie:",
];
/// Words before the value of an `Authorization` header.
const SCHEMES: [&str; 3] = ["bearer", "basic", "token"];

/// Options whose secret is the next argument. Exact: `--secret-id` and `--next-token` are none.
const OPTIONS: [&str; 21] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "client-secret",
    "secret-key",
    "secret-access-key",
    "secret-string",
    "session-token",
    "security-token",
    "access-token",
    "auth-token",
    "refresh-token",
    "id-token",
    "api-token",
    "api-key",
    "token",
    "master-user-password",
    "proxy-password",
    "http-password",
    "saml-assertion",
];
/// The settings of `aws configure set`.
const SETTINGS: [&str; 2] = ["aws_secret_access_key", "aws_session_token"];

/// Programs that take a script after `-e` or `-r`; after `-c` everyone is taken to.
const INTERPRETERS: [&str; 5] = ["perl", "ruby", "node", "php", "lua"];

/// Where ECS gives a task its credentials, for an id that follows.
const CREDENTIALS: &[u8] = b"/credentials/";
/// Shorter ones are no ids: they are 36 characters long.
const MIN_CREDENTIALS_ID: usize = 16;

/// Longest value that is looked for in a script: keeps the work linear whatever the script is.
const MAX_SCRIPT_VALUE: usize = 8 << 10;

/// Whether a variable of this name holds a secret.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase().replace('-', "_");
    MARKS.iter().any(|mark| name.contains(mark))
        || ENDS.iter().any(|end| name.ends_with(end))
        || STARTS.iter().any(|start| name.starts_with(start))
}

/// Masks the secrets of an argument list; true if there was one.
pub fn mask_args(args: &mut [String]) -> bool {
    let found = secrets(&args.iter().map(String::as_bytes).collect::<Vec<_>>());
    let is_any = found.iter().any(|spans| !spans.is_empty());
    for (arg, spans) in args.iter_mut().zip(found) {
        *arg = masked(arg, &spans);
    }
    is_any
}

/// `NAME=value` without what in its value opens something: user info of an address, secrets in its query.
pub fn mask_variable(variable: &str) -> String {
    masked(variable, &within(variable.as_bytes(), Reading::Whole))
}

/// Overwrites the secrets of a NUL-separated argument block and keeps its length, which other fields refer to.
pub fn blank(block: &mut [u8]) {
    let args: Vec<&[u8]> = block.split(|&byte| byte == 0).collect();
    let mut start = 0;
    let mut all = Vec::new();
    for (arg, spans) in args.iter().zip(secrets(&args)) {
        all.extend(spans.into_iter().map(|span| start + span.start..start + span.end));
        start += arg.len() + 1;
    }
    for span in all {
        block[span].fill(b'*');
    }
}

fn masked(text: &str, spans: &[Range<usize>]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for span in spans {
        // Spans begin and end beside ASCII characters, so at characters.
        out.push_str(&text[at..span.start]);
        out.push_str(MASK);
        at = span.end;
    }
    out.push_str(&text[at..]);
    out
}

/// How the text of an argument is to be understood.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// The program takes it as it is: a value runs to its end.
    Whole,
    /// Somebody parses it: a value is a word.
    Script,
}

/// Where in each argument a secret stands; in order, none empty, none overlapping.
fn secrets(args: &[&[u8]]) -> Vec<Vec<Range<usize>>> {
    let is_interpreter = args.first().is_some_and(|arg| {
        let program = String::from_utf8_lossy(arg);
        INTERPRETERS.iter().any(|name| base_name(&program).starts_with(name))
    });
    let mut found: Vec<Vec<Range<usize>>> = Vec::with_capacity(args.len());
    let mut previous: Option<&[u8]> = None;
    let known = programs::known(args);
    for (at, arg) in args.iter().enumerate() {
        let own = known.and_then(|known| known.secret(args, at));
        let spans = match previous {
            _ if own.is_some() => own.into_iter().collect(),
            Some(option)
                if takes_secret(option) && !arg.starts_with(b"--") && !arg.starts_with(b"file://") =>
            {
                std::iter::once(0..arg.len()).filter(|whole| !whole.is_empty()).collect()
            }
            Some(option) if takes_script(option, is_interpreter) => within(arg, Reading::Script),
            _ => within(arg, Reading::Whole),
        };
        // What is masked is a value and no option, or masking twice would read the next argument otherwise.
        previous = Some(*arg).filter(|_| spans.is_empty());
        found.push(spans);
    }
    found
}

fn takes_secret(option: &[u8]) -> bool {
    let Ok(option) = std::str::from_utf8(option) else { return false };
    let name = option.trim_start_matches('-');
    if name.len() == option.len() {
        return SETTINGS.contains(&name.rsplit('.').next().unwrap_or(name));
    }
    let name = name.to_ascii_lowercase().replace('_', "-");
    OPTIONS.contains(&name.strip_prefix("aws-").unwrap_or(&name))
}

/// `-c` and the likes of `-lc`.
fn takes_script(option: &[u8], is_interpreter: bool) -> bool {
    match option {
        [b'-', b'-', ..] => option == b"--eval",
        [b'-', .., last] => *last == b'c' || (is_interpreter && matches!(last, b'e' | b'r')),
        _ => false,
    }
}

fn within(text: &[u8], reading: Reading) -> Vec<Range<usize>> {
    let mut spans: Vec<Range<usize>> = Vec::new();
    for at in 0..text.len() {
        if !matches!(text[at], b'=' | b':' | b'/') || spans.last().is_some_and(|span| at < span.end) {
            continue;
        }
        let found = match text[at] {
            b'=' => assigned(text, at, reading),
            b'/' => credentials_id(text, at),
            _ if text[at..].starts_with(b"://") => user_info(text, at + 3),
            _ => header(text, at),
        };
        spans.extend(found.filter(|span| !span.is_empty()));
    }
    spans
}

/// The value after the `=` at `at`, if the name before it says that it is secret.
fn assigned(text: &[u8], at: usize, reading: Reading) -> Option<Range<usize>> {
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let start = text[..at].iter().rposition(|byte| !is_of_name(byte)).map_or(0, |before| before + 1);
    let name = std::str::from_utf8(&text[start..at]).ok()?.trim_start_matches('-');
    let upper = name.to_ascii_uppercase().replace('-', "_");
    if upper.ends_with("PROXY") {
        let value = at + 1..word_end(text, at + 1);
        let is_address = text[value.clone()].windows(3).any(|three| three == b"://");
        return if is_address { None } else { user_info(text, value.start) };
    }
    // A part of a path may not hide the rest of it.
    if text[..start].last() == Some(&b'/') {
        return None;
    }
    // `--secret-id` names a secret of Secrets Manager; Vault's `secret_id` is one.
    let is_vaults = upper == "SECRET_ID" && !text[start..].starts_with(b"--");
    if !is_secret_name(name) || (!is_vaults && POINTERS.iter().any(|end| upper.ends_with(end))) {
        return None;
    }
    if start == 0 && reading == Reading::Whole {
        return Some(at + 1..text.len());
    }
    let value = match text.get(at + 1)? {
        quote @ (b'"' | b'\'') => at + 2..quote_end(text, at + 2, *quote),
        _ => at + 1..word_end(text, at + 1),
    };
    (!is_command(&text[value.clone()])).then_some(value)
}

/// The value after the `:` at `at`, if a secret header's name ends there.
fn header(text: &[u8], at: usize) -> Option<Range<usize>> {
    let name = HEADERS.iter().find(|name| {
        (at + 1)
            .checked_sub(name.len())
            .is_some_and(|start| text[start..=at].eq_ignore_ascii_case(name.as_bytes()))
    })?;
    let mut begin = at + 1 - name.len();
    // `Proxy-Authorization:` and `Set-Cookie:` are the same.
    while begin > 0 && (text[begin - 1].is_ascii_alphanumeric() || text[begin - 1] == b'-') {
        begin -= 1;
    }
    let blanks = text[at + 1..].iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\\')).count();
    let start = at + 1 + blanks;
    let value = match text[..begin].last() {
        None => start..text.len(),
        Some(b'=') if text[0] == b'-' && !text[..begin].iter().any(u8::is_ascii_whitespace) => {
            start..text.len()
        }
        Some(quote @ (b'"' | b'\'')) => start..quote_end(text, start, *quote),
        Some(before) if before.is_ascii_whitespace() || *before == b'\\' => {
            let end = word_end(text, start);
            let is_scheme =
                SCHEMES.iter().any(|scheme| text[start..end].eq_ignore_ascii_case(scheme.as_bytes()));
            start..if is_scheme { word_end(text, (end + 1).min(text.len())) } else { end }
        }
        // Part of something longer, such as a path that would like to be hidden.
        Some(_) => return None,
    };
    (!is_command(&text[value.clone()])).then_some(value)
}

/// The id of a task in the path that begins at `at`: it opens the task's credentials to everybody on the host. Digits and
/// dashes only, so that it hides nothing else.
fn credentials_id(text: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = text[at..].strip_prefix(CREDENTIALS)?;
    let len = rest.iter().take_while(|byte| byte.is_ascii_hexdigit() || **byte == b'-').count();
    let start = at + CREDENTIALS.len();
    (len >= MIN_CREDENTIALS_ID).then_some(start..start + len)
}

/// What stands before the `@` of the authority that begins at `start`.
fn user_info(text: &[u8], start: usize) -> Option<Range<usize>> {
    let is_end = |byte: &u8| matches!(byte, b'/' | b'?' | b'#' | b'"' | b'\'') || byte.is_ascii_whitespace();
    let len = text[start..].iter().position(is_end).unwrap_or(text.len() - start);
    let at = text[start..start + len].iter().rposition(|&byte| byte == b'@')?;
    (!is_command(&text[start..start + at])).then_some(start..start + at)
}

/// A value that names or runs something else and is no secret itself.
fn is_command(value: &[u8]) -> bool {
    value.first() == Some(&b'$') || value.contains(&b'`') || value.windows(2).any(|two| two == b"$(")
}

fn word_end(text: &[u8], start: usize) -> usize {
    let is_end = |byte: &u8| {
        byte.is_ascii_whitespace()
            || matches!(byte, b';' | b'&' | b'|' | b'(' | b')' | b'<' | b'>' | b'"' | b'\'')
    };
    // `$(` and backticks belong to the word, so that it is seen to run something.
    let rest = &text[start..text.len().min(start + MAX_SCRIPT_VALUE)];
    let end = rest.iter().position(is_end).unwrap_or(rest.len());
    let opens = rest.get(end) == Some(&b'(') && end > 0 && rest[end - 1] == b'$';
    start + end + usize::from(opens)
}

fn quote_end(text: &[u8], start: usize, quote: u8) -> usize {
    let rest = &text[start..text.len().min(start + MAX_SCRIPT_VALUE)];
    start + rest.iter().position(|&byte| byte == quote).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(args: &[&str], expect: &[&str]) {
        let mut masked: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        assert_eq!(
            (mask_args(&mut masked), &masked[..]),
            (args != expect, &expect.map_owned()[..]),
            "{args:?}"
        );
    }

    trait MapOwned {
        fn map_owned(&self) -> Vec<String>;
    }

    impl MapOwned for &[&str] {
        fn map_owned(&self) -> Vec<String> {
            self.iter().map(|arg| (*arg).to_owned()).collect()
        }
    }

    fn unchanged(args: &[&str]) {
        check(args, args);
    }

    #[test]
    fn assignments_by_name() {
        check(
            &["env", "AWS_SECRET_ACCESS_KEY=a b", "AWS_SESSION_TOKEN=x", "AWS_ACCESS_KEY_ID=AKIA", "aws", ""],
            &[
                "env",
                "AWS_SECRET_ACCESS_KEY=***",
                "AWS_SESSION_TOKEN=***",
                "AWS_ACCESS_KEY_ID=AKIA",
                "aws",
                "",
            ],
        );
        check(&["x", "--db-password=é", "PGPASSWORD=1"], &["x", "--db-password=***", "PGPASSWORD=***"]);
        check(&["vault", "write", "x", "secret_id=1"], &["vault", "write", "x", "secret_id=***"]);
        check(&["docker", "run", "-e", "TOKEN=$x; y"], &["docker", "run", "-e", "TOKEN=***"]);
        unchanged(&[
            "aws",
            "--secret-id=prod/db",
            "AWS_WEB_IDENTITY_TOKEN_FILE=/x",
            "--http-tokens=required",
            "TOKEN=",
        ]);
    }

    #[test]
    fn a_script_keeps_its_commands() {
        let sh = |script: &str, expect: &str| check(&["sh", "-c", script], &["sh", "-c", expect]);
        sh("AWS_SECRET_ACCESS_KEY=abc aws s3 ls", "AWS_SECRET_ACCESS_KEY=*** aws s3 ls");
        sh("export DB_PASSWORD='a b';id", "export DB_PASSWORD='***';id");
        sh("TOKEN=1;curl -u x http://h/?token=a&id", "TOKEN=***;curl -u x http://h/?token=***&id");
        sh(
            "TOKEN=$(curl -X PUT http://169.254.169.254/latest/api/token); id",
            "TOKEN=$(curl -X PUT http://169.254.169.254/latest/api/token); id",
        );
        sh(
            "TOKEN=\"`id`\" PASSWORD=\"x$(id)\" SECRET=x$(id)",
            "TOKEN=\"`id`\" PASSWORD=\"x$(id)\" SECRET=x$(id)",
        );
        sh(
            "curl -H \"X-aws-ec2-metadata-token: $TOKEN\" http://h",
            "curl -H \"X-aws-ec2-metadata-token: $TOKEN\" http://h",
        );
        sh("curl -H 'authorization: Bearer abc' http://h", "curl -H 'authorization: ***' http://h");
        sh("curl -H Authorization:abc http://h", "curl -H Authorization:*** http://h");
        sh("printf 'x: y\nAuthorization: Basic abc\n'", "printf 'x: y\nAuthorization: ***\n'");
        check(&["ruby", "-e", "TOKEN=1;system('id')"], &["ruby", "-e", "TOKEN=***;system('id')"]);
    }

    #[test]
    fn headers_by_name() {
        check(
            &[
                "curl",
                "-H",
                "X-aws-ec2-metadata-token: AQAE",
                "-HAuthorization: AWS4 a b",
                "http://169.254.169.254/x",
            ],
            &[
                "curl",
                "-H",
                "X-aws-ec2-metadata-token: ***",
                "-HAuthorization: ***",
                "http://169.254.169.254/x",
            ],
        );
        check(&["curl", "--header=x-amz-security-token:abc"], &["curl", "--header=x-amz-security-token:***"]);
        unchanged(&["curl", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 60", "Accept: x"]);
    }

    #[test]
    fn addresses_and_their_queries() {
        check(
            &["git", "clone", "https://bob:p@w@h/x@y", "HTTPS_PROXY=bob:pw@proxy:3128"],
            &["git", "clone", "https://***@h/x@y", "HTTPS_PROXY=***@proxy:3128"],
        );
        check(
            &["curl", "https://b/k?X-Amz-Credential=A&X-Amz-Security-Token=t&X-Amz-Signature=s&x=1"],
            &["curl", "https://b/k?X-Amz-Credential=A&X-Amz-Security-Token=***&X-Amz-Signature=***&x=1"],
        );
        unchanged(&["curl", "http://h/authorization:/../meta-data", "http://h/token=/../meta-data"]);
        unchanged(&["curl", "http://h/?q=a@b", "bob@host:x", "http_proxy=proxy:3128"]);
    }

    #[test]
    fn the_id_that_opens_a_tasks_credentials() {
        let id = "8d1c5b2e-91f4-4f4e-a6d2-0f4c2d6f3a11";
        check(
            &["curl", &format!("169.254.170.2/v2/credentials/{id}"), "-o", "x"],
            &["curl", "169.254.170.2/v2/credentials/***", "-o", "x"],
        );
        check(
            &["sh", "-c", &format!("curl http://169.254.170.2/v2/credentials/{id}; id")],
            &["sh", "-c", "curl http://169.254.170.2/v2/credentials/***; id"],
        );
        assert_eq!(
            mask_variable(&format!("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2/credentials/{id}")),
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2/credentials/***"
        );
        unchanged(&["cat", "/root/.aws/credentials/../config", "/credentials/deadbeef"]);
    }

    #[test]
    fn options_whose_value_follows() {
        check(
            &[
                "x",
                "--password",
                "p w",
                "--token",
                "",
                "aws",
                "configure",
                "set",
                "aws_secret_access_key",
                "k",
            ],
            &[
                "x",
                "--password",
                "***",
                "--token",
                "",
                "aws",
                "configure",
                "set",
                "aws_secret_access_key",
                "***",
            ],
        );
        check(
            &["aws", "configure", "set", "profile.x.aws_session_token", "k"],
            &["aws", "configure", "set", "profile.x.aws_session_token", "***"],
        );
        unchanged(&[
            "aws",
            "--secret-id",
            "prod",
            "--password",
            "--user",
            "--next-token",
            "x",
            "--password-stdin",
            "y",
            "password",
            "z",
        ]);
    }

    #[test]
    fn variables_lose_what_opens_something_inside_them() {
        let check = |variable: &str, expect: &str| assert_eq!(mask_variable(variable), expect);
        check("HTTPS_PROXY=bob:pw@proxy:3128", "HTTPS_PROXY=***@proxy:3128");
        check("https_proxy=http://bob:pw@proxy:3128/x@y", "https_proxy=http://***@proxy:3128/x@y");
        check("AWS_ENDPOINT_URL=http://h/?password=x&b=1", "AWS_ENDPOINT_URL=http://h/?password=***&b=1");
        check("AWS_ENDPOINT_URL=http://h/?q=a@b", "AWS_ENDPOINT_URL=http://h/?q=a@b");
    }

    #[test]
    fn a_block_keeps_its_length() {
        let mut block = b"env\0AWS_SECRET_ACCESS_KEY=abcd\0\0--token\0ab\0".to_vec();
        blank(&mut block);
        assert_eq!(block, b"env\0AWS_SECRET_ACCESS_KEY=****\0\0--token\0**\0");
    }

    proptest! {
        #[test]
        fn any_arguments_keep_their_count_and_masking_twice_is_masking_once(
            args in proptest::collection::vec("(-c|--token|(TOKEN|a|é)?[=:'\"$(@ ;&`]{0,2}(://)?[a@é]?|authorization: [b$]?){0,4}", 0..5)
        ) {
            let mut once = args.clone();
            let is_any = mask_args(&mut once);
            prop_assert_eq!(once.len(), args.len());
            let mut twice = once.clone();
            prop_assert_eq!(mask_args(&mut twice), is_any);
            prop_assert_eq!(&twice, &once);
            let mut block = args.join("\0").into_bytes();
            let len = block.len();
            blank(&mut block);
            prop_assert_eq!(block.len(), len);
            let mut blanked: Vec<String> = String::from_utf8(block).expect("ASCII for whole characters").split('\0').map(str::to_owned).collect();
            mask_args(&mut blanked);
            if !args.is_empty() {
                prop_assert_eq!(blanked, once);
            }
        }
    }
}
