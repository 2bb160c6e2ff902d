//! Queues and buckets of AWS's: what `[[source]]` says of them.

use std::path::PathBuf;

use rules::event::{EventTime, Span};
use rules::pattern::Case;
use rules::pattern::wildcard::{Wildcard, pieces};

use super::reader::{At, Context, Table};
use super::sinks::Url;
use crate::time;

/// How AWS is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Access {
    /// Of the queue or bucket; none takes what the environment says.
    pub region: Option<String>,
    /// A profile of the shared configuration; none takes the default chain.
    pub profile: Option<String>,
    /// Taken up for all calls, with what the chain found.
    pub role: Option<Role>,
    /// Asked in place of AWS's own addresses.
    pub endpoint: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Role {
    pub arn: String,
    pub external_id: Option<String>,
}

/// A queue of notifications, or of events themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    pub url: String,
    pub access: Access,
    /// Messages that are worked on at once.
    pub workers: u32,
    /// How long the queue hides a message from others; extended at half of it while it is worked on.
    pub visibility: Span,
    /// A message that was tried so often in vain is set aside.
    pub max_receives: u32,
    pub dead_letters: Option<DeadLetters>,
    /// The buckets that messages may lead to, `*` for any text; none stands for all that we may read.
    pub buckets: Vec<String>,
    pub keys: Keys,
    /// What `aws cloudtrail list-public-keys` printed: digests are held to it.
    pub digest_keys: Option<PathBuf>,
}

impl Queue {
    /// Whether objects of this bucket are read. Who may send to the queue names it.
    pub fn may_read(&self, bucket: &str) -> bool {
        self.buckets.is_empty() || self.buckets.iter().any(|pattern| fits(pattern, bucket))
    }
}

fn fits(pattern: &str, text: &str) -> bool {
    Wildcard::new(pieces(pattern), Case::Sensitive).is_match(text)
}

/// Which objects are read, by their keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    /// With any of these, only objects that one of them fits. `*` stands for any text.
    pub keep: Vec<String>,
    pub drop: Vec<String>,
}

/// How the metric of what was dropped calls objects that `keep_keys` leaves out.
pub(crate) const NOT_KEPT: &str = "keys not kept";

impl Keys {
    /// The line by which an object is not read, or none.
    pub fn leaves_out(&self, key: &str) -> Option<String> {
        if let Some(pattern) = self.drop.iter().find(|pattern| fits(pattern, key)) {
            return Some(format!("key {pattern}"));
        }
        (!self.keep.is_empty() && !self.keep.iter().any(|pattern| fits(pattern, key)))
            .then(|| NOT_KEPT.to_owned())
    }
}

/// Where messages go that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadLetters {
    File(PathBuf),
    Queue {
        url: String,
        /// For what the queue does not take: what is longer than a message may be with a reason on top.
        otherwise: Option<PathBuf>,
    },
}

/// Objects of a bucket, listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    pub name: String,
    pub prefix: String,
    pub access: Access,
    /// Objects of before are left out, by the time in their names, else by when they were written.
    pub since: Option<EventTime>,
    pub until: Option<EventTime>,
    pub keys: Keys,
}

const DEFAULT_WORKERS: u32 = 4;
const DEFAULT_VISIBILITY: Span = Span::from_secs(300);
const DEFAULT_MAX_RECEIVES: u32 = 10;

pub(super) fn queue(table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Option<Queue> {
    let url = table.required("queue", ctx);
    let mut access = access(table, ctx);
    let workers = table.integer("workers", 1..65, ctx).unwrap_or(DEFAULT_WORKERS);
    let visibility = table.duration_at("visibility", ctx);
    let max_receives = table.integer("max_receives", 1..1001, ctx).unwrap_or(DEFAULT_MAX_RECEIVES);
    let file = table.path("dead_letters", ctx);
    let other = table.str("dead_letter_queue", ctx);
    let digest_keys = table.path("digest_keys", ctx);
    let keys = keys(table, ctx);
    let buckets = table.strings("buckets", ctx);
    for bucket in &buckets {
        if bucket.value.is_empty() || bucket.value.contains(['/', ':']) {
            let message = format!("\"{}\" is not a bucket's name", bucket.value);
            ctx.fault(
                bucket.span.clone(),
                message,
                "write buckets = [\"my-trail\"], and keep_keys for what is in it",
            );
        }
    }
    let buckets = buckets.into_iter().map(|at| at.value).collect();
    let url = url?;
    if !is_url(&url.value) {
        let message = format!("\"{}\" is not a queue's address", url.value);
        let example = "write it as the console shows it, such as \"https://sqs.eu-west-1.amazonaws.com/111122223333/trail\"";
        ctx.fault(url.span, message, example);
        return None;
    }
    if let Some(visibility) = &visibility
        && !(Span::from_secs(10)..=Span::from_secs(12 * 3_600)).contains(&visibility.value)
    {
        ctx.fault(
            visibility.span.clone(),
            "\"visibility\" is out of bounds",
            "write a span from \"10s\" to \"12h\"",
        );
    }
    let dead_letters = match (file, other) {
        (Some(_), Some(other)) => {
            let help = "keep one of dead_letters (a file) and dead_letter_queue";
            ctx.fault(other.span, "dead letters can go to one place only", help);
            None
        }
        (None, Some(other)) if !is_url(&other.value) || other.value == url.value => {
            let message = format!("\"{}\" is not the address of another queue", other.value);
            ctx.fault(other.span, message, "write the address of a queue that nobody reads by itself");
            None
        }
        (file, other) => file
            .map(DeadLetters::File)
            .or(other.map(|other| DeadLetters::Queue { url: other.value, otherwise: None })),
    };
    access.region = access.region.or_else(|| region_of(&url.value));
    let visibility = visibility.map_or(DEFAULT_VISIBILITY, |at| at.value);
    Some(Queue {
        url: url.value,
        access,
        workers,
        visibility,
        max_receives,
        dead_letters,
        buckets,
        keys,
        digest_keys,
    })
}

pub(super) fn bucket(table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Option<Bucket> {
    let name = table.required("bucket", ctx);
    let prefix = table.str("prefix", ctx).map(|at| at.value).unwrap_or_default();
    let access = access(table, ctx);
    let since = moment(table, "since", ctx);
    let until = moment(table, "until", ctx);
    let keys = keys(table, ctx);
    if let (Some(since), Some(until)) = (&since, &until)
        && since.value >= until.value
    {
        ctx.fault(until.span.clone(), "\"until\" is not after \"since\"", "nothing lies between them");
    }
    let name = name?;
    if name.value.contains(['/', ':']) || name.value.is_empty() {
        let message = format!("\"{}\" is not a bucket's name", name.value);
        ctx.fault(name.span, message, "write bucket = \"my-trail\" and prefix = \"AWSLogs/\" apart");
        return None;
    }
    let (since, until) = (since.map(|at| at.value), until.map(|at| at.value));
    Some(Bucket { name: name.value, prefix, access, since, until, keys })
}

fn keys(table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Keys {
    let mut list = |key| table.strings(key, ctx).into_iter().map(|at| at.value).collect();
    Keys { keep: list("keep_keys"), drop: list("drop_keys") }
}

pub(super) fn access(table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Access {
    let region = table.str("region", ctx).map(|at| at.value);
    let profile = table.str("profile", ctx).map(|at| at.value);
    let arn = table.str("role", ctx);
    let external_id = table.str("external_id", ctx);
    let endpoint = table.str("endpoint", ctx);
    if let (None, Some(external_id)) = (&arn, &external_id) {
        ctx.fault(
            external_id.span.clone(),
            "\"external_id\" goes with a role",
            "add role = \"arn:…\", or leave it out",
        );
    }
    let role = arn.and_then(|arn| {
        let is_role = arn.value.starts_with("arn:") && arn.value.contains(":role/");
        if !is_role {
            let message = format!("\"{}\" is not a role's ARN", arn.value);
            ctx.fault(arn.span, message, "write \"arn:aws:iam::111122223333:role/groundtrail\"");
        }
        is_role.then_some(Role { arn: arn.value, external_id: external_id.map(|at| at.value) })
    });
    let endpoint = endpoint.and_then(|endpoint| {
        if !is_url(&endpoint.value) {
            let message = format!("\"{}\" is not an endpoint", endpoint.value);
            ctx.fault(endpoint.span, message, "write \"https://…\" or \"http://127.0.0.1:5000\"");
            return None;
        }
        if let Err((reason, help)) = fit_endpoint(&endpoint.value) {
            ctx.fault(
                endpoint.span,
                format!("\"{}\" is asked with credentials, {reason}", endpoint.value),
                help,
            );
            return None;
        }
        Some(endpoint.value)
    });
    Access { region, profile, role, endpoint }
}

/// Requests are signed, and answers are trusted: what is asked is known by TLS or is this machine, and is no metadata service.
fn fit_endpoint(url: &str) -> Result<(), (&'static str, &'static str)> {
    const EXAMPLE: &str = "write \"https://…\", or \"http://127.0.0.1:5000\" for a stand-in on this machine";
    let url = Url::parse(url).map_err(|reason| (reason, EXAMPLE))?;
    if url.is_metadata() {
        let help = "leave endpoint out: credentials of the instance or task are found without it";
        return Err(("and that is a metadata service", help));
    }
    if !url.is_tls && !url.is_loopback() {
        return Err(("and that would be without TLS", EXAMPLE));
    }
    Ok(())
}

/// Keys of both, counted as known where the type is missing.
pub(super) const KEYS: &[&str] = &[
    "queue",
    "region",
    "profile",
    "role",
    "external_id",
    "endpoint",
    "workers",
    "visibility",
    "max_receives",
    "dead_letters",
    "dead_letter_queue",
    "digest_keys",
    "keep_keys",
    "drop_keys",
    "buckets",
    "bucket",
    "prefix",
    "since",
    "until",
];

fn moment(table: &mut Table<'_, '_>, key: &'static str, ctx: &mut Context<'_>) -> Option<At<EventTime>> {
    let text = table.str(key, ctx)?;
    let parsed = match text.value.len() {
        10 => time::parse(&format!("{}T00:00:00Z", text.value)),
        _ => time::parse(&text.value),
    };
    let Some(value) = parsed else {
        let message = format!("\"{}\" is not a time", text.value);
        ctx.fault(text.span, message, "write \"2026-11-02\" or \"2026-11-02T10:00:00Z\"");
        return None;
    };
    Some(At { value, span: text.span })
}

pub(super) fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && !rest.contains(char::is_whitespace))
}

/// `https://sqs.eu-west-1.amazonaws.com/…`, in any of AWS's partitions.
pub(super) fn region_of(url: &str) -> Option<String> {
    let host = url.split_once("://")?.1.split('/').next()?;
    let mut parts = host.split('.');
    let region = match (parts.next()?, parts.next()?) {
        ("sqs" | "sqs-fips", region) => region,
        (region, "queue" | "sqs-fips") => region,
        _ => return None,
    };
    (host.contains(".amazonaws.com") && region.contains('-')).then(|| region.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept_or_dropped_by_pattern() {
        let keys = |keep: &[&str], drop: &[&str]| {
            let list = |patterns: &[&str]| patterns.iter().map(|text| (*text).to_owned()).collect();
            Keys { keep: list(keep), drop: list(drop) }
        };
        let key = "AWSLogs/o-1/111122223333/CloudTrail/eu-west-1/2026/11/02/x.json.gz";
        for (keys, line) in [
            (keys(&[], &[]), None),
            (keys(&["AWSLogs/*/111122223333/*"], &[]), None),
            (keys(&["AWSLogs/*/444455556666/*", "*/eu-west-1/*"], &[]), None),
            (keys(&["AWSLogs/*/444455556666/*"], &[]), Some("keys not kept")),
            (keys(&["*"], &["*/CloudTrail/eu-*"]), Some("key */CloudTrail/eu-*")),
            (keys(&[], &["AWSLogs/"]), None),
        ] {
            assert_eq!(keys.leaves_out(key).as_deref(), line, "{keys:?}");
        }
    }

    #[test]
    fn an_endpoint_is_known_by_tls_or_is_this_machine() {
        for fit in
            ["https://s3.example.net", "http://127.0.0.1:5000", "http://localhost:4566/", "http://[::1]:1"]
        {
            assert_eq!(fit_endpoint(fit), Ok(()), "{fit}");
        }
        for (unfit, why) in [
            ("http://minio.example.net:9000", "and that would be without TLS"),
            ("http://10.0.0.1", "and that would be without TLS"),
            ("http://127.0.0.1.example.net", "and that would be without TLS"),
            ("http://169.254.169.254/latest", "and that is a metadata service"),
            ("https://169.254.170.2", "and that is a metadata service"),
            ("http://[fd00:ec2::254]", "and that is a metadata service"),
            ("http://[::ffff:169.254.169.254]", "and that is a metadata service"),
            ("https://user:secret@example.net", "it holds a user or a password, which belong into a file"),
        ] {
            assert_eq!(fit_endpoint(unfit).unwrap_err().0, why, "{unfit}");
        }
    }

    #[test]
    fn a_queues_address_says_its_region() {
        for (url, region) in [
            ("https://sqs.eu-west-1.amazonaws.com/111122223333/q", Some("eu-west-1")),
            ("https://sqs.cn-north-1.amazonaws.com.cn/111122223333/q", Some("cn-north-1")),
            ("https://us-gov-west-1.queue.amazonaws.com/111122223333/q", Some("us-gov-west-1")),
            ("https://queue.amazonaws.com/111122223333/q", None),
            ("http://127.0.0.1:5000/111122223333/q", None),
            ("http://sqs.eu-west-1.localhost/q", None),
        ] {
            assert_eq!(region_of(url).as_deref(), region, "{url}");
        }
    }
}
