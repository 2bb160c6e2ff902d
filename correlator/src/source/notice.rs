//! What a message of a queue says: which objects were written, or the records themselves. Pure: text in, meaning out.
//!
//! Shapes that are told apart, each straight or as the text inside SNS's envelope:
//! S3's own event, CloudTrail's own notice, EventBridge's "Object Created", Security Lake's, EventBridge events that carry a
//! record, and the messages that services write to see whether they may.

use crate::source::json::{Arena, Json};

/// An object to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectAt {
    pub bucket: String,
    pub key: String,
    /// Asked for where there is none at `key`: senders do not agree on whether keys are encoded.
    pub other_key: Option<String>,
    /// Where the bucket is, if the message says so.
    pub region: Option<String>,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Some of these may be of no interest; in a message about none, the list is empty.
    Objects(Vec<ObjectAt>),
    /// Records in whatever envelope, to be read as a file of them would.
    Records(String),
    /// Nothing is to be done, and this is why.
    Nothing(&'static str),
}

/// Envelopes inside envelopes end somewhere.
const MAX_DEPTH: usize = 4;

/// Reads the body of a message.
///
/// # Errors
/// In words, when it is none of the shapes.
pub fn parse(body: &str) -> Result<Notice, String> {
    parse_at(body, 0)
}

fn parse_at(body: &str, depth: usize) -> Result<Notice, String> {
    let text = body.trim_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
    // CloudTrail checks that it may publish with plain text.
    if text.trim_matches('"').eq_ignore_ascii_case("CloudTrail validation message.") {
        return Ok(Notice::Nothing("CloudTrail checked that it may publish"));
    }
    if !text.starts_with(['{', '[']) {
        return Err("it is no JSON: neither a notification nor a record".to_owned());
    }
    let arena = Arena::new();
    let json = Json::parse(text, &arena).map_err(|error| format!("broken JSON: {error}"))?;
    if depth > MAX_DEPTH {
        return Err("envelopes nested too deep".to_owned());
    }
    if let Some(notice) = of_sns(&json, depth) {
        return notice;
    }
    if json.str_at(&["Event"]) == Some("s3:TestEvent") {
        return Ok(Notice::Nothing("S3 checked that it may notify"));
    }
    let notice = of_s3(&json).or_else(|| of_cloudtrail(&json)).or_else(|| of_event_bridge(&json));
    notice.unwrap_or_else(|| Ok(Notice::Records(text.to_owned())))
}

/// SNS's envelope: the notification is a string in it.
fn of_sns(json: &Json<'_>, depth: usize) -> Option<Result<Notice, String>> {
    json.str_at(&["TopicArn"])?;
    match json.str_at(&["Type"])? {
        "Notification" => Some(match json.str_at(&["Message"]) {
            Some(message) => parse_at(message, depth + 1),
            None => Err("an SNS notification without a message".to_owned()),
        }),
        "SubscriptionConfirmation" => Some(Err(
            "an SNS subscription waits to be confirmed: open the message's \"SubscribeURL\", or subscribe the queue from \
             its own account, which needs no confirmation"
                .to_owned(),
        )),
        "UnsubscribeConfirmation" => Some(Err(
            "the queue was unsubscribed from its SNS topic: subscribe it again if it shall go on being told".to_owned(),
        )),
        _ => None,
    }
}

/// S3's event: each record names one object, its key encoded as in a form. One that names none makes the message a broken
/// one: what it was about would be lost unsaid.
fn of_s3(json: &Json<'_>) -> Option<Result<Notice, String>> {
    let records = json.get("Records")?.items();
    if records.is_empty() || !records.iter().all(|record| record.get("s3").is_some_and(Json::is_object)) {
        return None;
    }
    let objects = records.iter().filter(|record| {
        // Removals, tags and the like have no new content.
        let name = record.str_at(&["eventName"]).unwrap_or("ObjectCreated:");
        name.strip_prefix("s3:").unwrap_or(name).starts_with("ObjectCreated:")
    });
    let object = |record: &Json<'_>| {
        let bucket = record.str_at(&["s3", "bucket", "name"]);
        let written = record.str_at(&["s3", "object", "key"]);
        let (Some(bucket), Some(written)) = (bucket, written) else {
            return Err("a record of S3's event names no bucket or no key".to_owned());
        };
        at(bucket, decode(written, Plus::Space), Some(written), record.str_at(&["awsRegion"]))
    };
    Some(files(objects.map(object)))
}

/// CloudTrail's own notice: a bucket and a list of keys, as they are.
fn of_cloudtrail(json: &Json<'_>) -> Option<Result<Notice, String>> {
    let bucket = json.str_at(&["s3Bucket"])?;
    let keys = json.get("s3ObjectKey")?;
    let keys = if keys.str().is_some() { std::slice::from_ref(keys) } else { keys.items() };
    if keys.is_empty() {
        return Some(Err("a notice of CloudTrail's names no key".to_owned()));
    }
    Some(files(keys.iter().map(|key| match key.str() {
        Some(key) => at(bucket, key.to_owned(), None, None),
        None => Err("a notice of CloudTrail's names a key that is no text".to_owned()),
    })))
}

/// EventBridge on a new object, and Security Lake, which leaves out the kind of detail: the key as it is, or encoded.
fn of_event_bridge(json: &Json<'_>) -> Option<Result<Notice, String>> {
    let detail = json.get("detail")?;
    let bucket = detail.str_at(&["bucket", "name"])?;
    let key = detail.str_at(&["object", "key"])?;
    if json.str_at(&["detail-type"]).is_some_and(|kind| kind != "Object Created") {
        return Some(Ok(Notice::Nothing("no new object")));
    }
    let decoded = decode(key, Plus::Plus);
    let object = at(bucket, key.to_owned(), Some(&decoded), json.str_at(&["region"]));
    Some(files([object].into_iter()))
}

/// An object, where its names can be those of one: whoever may send to the queue chooses them, and they become addresses.
fn at(bucket: &str, key: String, other: Option<&str>, region: Option<&str>) -> Result<ObjectAt, String> {
    if !is_bucket(bucket) {
        let shown: String = bucket.chars().take(80).collect();
        return Err(format!("\"{shown}\" is not a bucket's name"));
    }
    if let Some(region) = region.filter(|region| !is_region(region)) {
        let shown: String = region.chars().take(80).collect();
        return Err(format!("\"{shown}\" is not a region's name"));
    }
    let other_key = other.filter(|other| *other != key).map(str::to_owned);
    Ok(ObjectAt { bucket: bucket.to_owned(), key, other_key, region: region.map(str::to_owned) })
}

/// As S3 names them, the older ones of the first region included. No ARN: that may stand for anybody's access point.
pub(crate) fn is_bucket(name: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (3..=255).contains(&name.len()) && name.bytes().all(is_fit) && !name.contains("..")
}

/// `eu-west-1`, `us-gov-west-1`.
pub(crate) fn is_region(name: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let number = name.rsplit_once('-').map_or("", |(_, number)| number);
    (5..=32).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(is_fit)
        && matches!(number.len(), 1 | 2)
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

fn files(objects: impl Iterator<Item = Result<ObjectAt, String>>) -> Result<Notice, String> {
    let is_file = |object: &Result<ObjectAt, String>| object.as_ref().map_or(true, is_file);
    objects.filter(is_file).collect::<Result<_, _>>().map(Notice::Objects)
}

/// A key that ends in a slash is what consoles write for a folder.
fn is_file(object: &ObjectAt) -> bool {
    !object.key.ends_with('/')
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Plus {
    Space,
    Plus,
}

/// Undoes percent encoding. What is no encoding stays as it is.
fn decode(text: &str, plus: Plus) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let code = tail.get(..2).filter(|code| byte == b'%' && code.iter().all(u8::is_ascii_hexdigit));
        let code = code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        match code {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &tail[2..];
            }
            None => {
                bytes.push(if byte == b'+' && plus == Plus::Space { b' ' } else { byte });
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_not_utf8| text.to_owned())
}

#[cfg(test)]
mod tests;
