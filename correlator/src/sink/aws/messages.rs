//! A message for each revision, to a queue (SQS) or a topic (SNS). Both take ten at once, and 256 KiB together.

use std::collections::VecDeque;
use std::ops::Range;

use aws_sdk_sns::types::{MessageAttributeValue as TopicAttribute, PublishBatchRequestEntry};
use aws_sdk_sqs::types::{MessageAttributeValue as QueueAttribute, SendMessageBatchRequestEntry};
use serde_json::Value;

use super::{each, judge};
use crate::aws::access;
use crate::config::sinks::Messages;
use crate::sink::format::Format;
use crate::sink::transport::{Answer, Item, Portion, Sending, Transport, Verdict};

const MAX_ITEMS: usize = 10;
/// Of messages with their attributes; the limit of both is 256 KiB.
const MAX_BYTES: usize = 240 << 10;
/// What a message's attributes and envelope may take.
const MARGIN: usize = 1 << 10;
/// Codes by which they say that a message itself is at fault.
const BLAMES: [&str; 6] = [
    "BatchRequestTooLong",
    "InvalidMessageContents",
    "InvalidParameterValue",
    "InvalidParameter",
    "InvalidParameterException",
    "MessageTooLong",
];

/// What goes along, to be filtered by.
const ATTRIBUTES: [(&str, &str); 4] = [
    ("severity", "/groundtrail/alert/severity"),
    ("state", "/groundtrail/alert/state"),
    ("rule_id", "/rule/id"),
    ("account", "/cloud/account/id"),
];

pub(in crate::sink) struct Queue {
    to: Messages,
    format: Format,
    client: Option<aws_sdk_sqs::Client>,
}

pub(in crate::sink) struct Topic {
    to: Messages,
    format: Format,
    client: Option<aws_sdk_sns::Client>,
}

/// Whether order is kept, and repetition noticed, by names that we give.
fn is_fifo(to: &Messages) -> bool {
    to.target.ends_with(".fifo")
}

/// What does not fit into a message is sent in short.
fn bodies(items: &[Item], format: Format) -> Vec<Option<String>> {
    let body = |item: &Item| {
        let whole = item.line(format);
        match whole.len() + MARGIN {
            0..=MAX_BYTES => Some(whole),
            _ => format.short(&item.document, MAX_BYTES - MARGIN),
        }
    };
    items.iter().map(body).collect()
}

/// Stretches that fit into one request each.
fn stretches(bodies: &[Option<String>]) -> Vec<Range<usize>> {
    let (mut stretches, mut start, mut n_bytes) = (Vec::new(), 0, 0);
    for (at, body) in bodies.iter().enumerate() {
        let size = body.as_ref().map_or(0, String::len) + MARGIN;
        if at > start && (at - start == MAX_ITEMS || n_bytes + size > MAX_BYTES) {
            stretches.push(start..at);
            (start, n_bytes) = (at, 0);
        }
        n_bytes += size;
    }
    stretches.push(start..bodies.len());
    stretches
}

fn attributes(item: &Item) -> Vec<(&'static str, String)> {
    let text = |pointer: &str| item.document.pointer(pointer).and_then(Value::as_str).map(plain);
    let mut attributes = vec![("alert_id", plain(&item.alert_id)), ("revision", item.revision.to_string())];
    attributes.extend(ATTRIBUTES.iter().filter_map(|(name, pointer)| Some((*name, text(pointer)?))));
    attributes.retain(|(_, value)| !value.is_empty());
    attributes
}

/// An attribute may hold no controls, and not be long.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(128).collect()
}

fn place(id: &str) -> Option<usize> {
    id.parse().ok()
}

fn verdict(is_our_fault: bool, code: &str, message: Option<&str>) -> Verdict {
    let reason =
        format!("AWS refused this message: {code}{}", message.map(|m| format!(": {m}")).unwrap_or_default());
    let is_blamed = BLAMES.iter().any(|blame| code.ends_with(blame));
    if is_our_fault && is_blamed { Verdict::Refused(reason) } else { Verdict::Later(reason) }
}

/// One message of a request.
struct Message {
    /// Its place among the items.
    at: usize,
    body: String,
    attributes: Vec<(&'static str, String)>,
    /// Of a target that keeps order: what belongs together, and what is the same when it comes again.
    fifo: Option<(String, String)>,
}

/// What a service said of each message, by its place.
type Said = Vec<(Option<usize>, Verdict)>;

/// One of the two services.
trait Service {
    fn format(&self) -> Format;

    fn to(&self) -> &Messages;

    /// At most ten, that fit together.
    ///
    /// # Errors
    /// The answer for all of them, where there is none for each.
    async fn request(&mut self, messages: Vec<Message>) -> Result<Said, Answer>;
}

/// Those without a body are left out.
async fn send(service: &mut impl Service, items: &[Item], bodies: &[Option<String>]) -> Answer {
    let n = items.len();
    let is_fifo = is_fifo(service.to());
    let message = |(at, (item, body)): (usize, (&Item, &Option<String>))| {
        let fifo = is_fifo.then(|| (plain(&item.alert_id), plain(&item.id())));
        Some(Message { at, body: body.clone()?, attributes: attributes(item), fifo })
    };
    let messages: Vec<Message> = items.iter().zip(bodies).enumerate().filter_map(message).collect();
    let said = match messages.is_empty() {
        true => Vec::new(),
        false => match service.request(messages).await {
            Ok(said) => said,
            Err(Answer { verdicts, .. }) => {
                return Answer::whole(n, verdicts.into_iter().next().unwrap_or(Verdict::Taken));
            }
        },
    };
    each(n, said.into_iter().filter_map(|(at, verdict)| Some((at?, verdict))).chain(bodiless(bodies)))
}

/// One request after the other, as far as everything is taken or refused: what is waited for is not passed by.
async fn deliver(service: &mut impl Service, items: &[Item]) -> Answer {
    let bodies = bodies(items, service.format());
    let mut left: VecDeque<Range<usize>> = stretches(&bodies).into();
    let mut verdicts = Vec::new();
    while let Some(stretch) = left.pop_front() {
        let n = stretch.len();
        let answer = send(service, &items[stretch.clone()], &bodies[stretch.clone()]).await;
        if n == items.len() {
            return answer;
        }
        let is_refused = |verdict: &Verdict| matches!(verdict, Verdict::Refused(_));
        if answer.is_whole && n > 1 && answer.verdicts.iter().all(is_refused) {
            // One of them is to blame, and not the others.
            stretch.rev().for_each(|at| left.push_front(at..at + 1));
            continue;
        }
        let waits = answer.verdicts.iter().any(|verdict| matches!(verdict, Verdict::Later(_)));
        verdicts.extend(answer.verdicts);
        if waits {
            let behind = Verdict::Later("those before it are waited for".to_owned());
            verdicts.resize(items.len(), behind);
            return Answer { retry_after: answer.retry_after, ..Answer::each(verdicts) };
        }
    }
    Answer::each(verdicts)
}

/// Those that no message can hold.
fn bodiless(bodies: &[Option<String>]) -> impl Iterator<Item = (usize, Verdict)> {
    let missing = bodies.iter().enumerate().filter(|(_, body)| body.is_none());
    missing.map(|(at, _)| (at, Verdict::Refused("not even its short form fits into a message".to_owned())))
}

impl Queue {
    pub(in crate::sink) fn new(to: Messages, format: Format) -> Self {
        Self { to, format, client: None }
    }
}

impl Service for Queue {
    fn format(&self) -> Format {
        self.format
    }

    fn to(&self) -> &Messages {
        &self.to
    }

    async fn request(&mut self, messages: Vec<Message>) -> Result<Said, Answer> {
        let client = match &self.client {
            Some(client) => client.clone(),
            None => aws_sdk_sqs::Client::new(&access::load(&self.to.access).await),
        };
        self.client = Some(client.clone());
        let n = messages.len();
        let entry = |message: Message| {
            let attribute = |(name, value): (&str, String)| {
                let value = QueueAttribute::builder().data_type("String").string_value(value).build().ok()?;
                Some((name.to_owned(), value))
            };
            let (group, sameness) = message.fifo.unzip();
            SendMessageBatchRequestEntry::builder()
                .id(message.at.to_string())
                .message_body(message.body)
                .set_message_attributes(Some(message.attributes.into_iter().filter_map(attribute).collect()))
                .set_message_group_id(group)
                .set_message_deduplication_id(sameness)
                .build()
                .ok()
        };
        let entries = messages.into_iter().filter_map(entry).collect();
        let sent =
            client.send_message_batch().queue_url(&self.to.target).set_entries(Some(entries)).send().await;
        let said = sent.map_err(|error| judge(n, &error, &BLAMES))?;
        let taken = said.successful().iter().map(|entry| (place(entry.id()), Verdict::Taken));
        let failed = said
            .failed()
            .iter()
            .map(|entry| (place(entry.id()), verdict(entry.sender_fault(), entry.code(), entry.message())));
        Ok(taken.chain(failed).collect())
    }
}

impl Topic {
    pub(in crate::sink) fn new(to: Messages, format: Format) -> Self {
        Self { to, format, client: None }
    }
}

impl Service for Topic {
    fn format(&self) -> Format {
        self.format
    }

    fn to(&self) -> &Messages {
        &self.to
    }

    async fn request(&mut self, messages: Vec<Message>) -> Result<Said, Answer> {
        let client = match &self.client {
            Some(client) => client.clone(),
            None => aws_sdk_sns::Client::new(&access::load(&self.to.access).await),
        };
        self.client = Some(client.clone());
        let n = messages.len();
        let entry = |message: Message| {
            let attribute = |(name, value): (&str, String)| {
                let value = TopicAttribute::builder().data_type("String").string_value(value).build().ok()?;
                Some((name.to_owned(), value))
            };
            let (group, sameness) = message.fifo.unzip();
            PublishBatchRequestEntry::builder()
                .id(message.at.to_string())
                .message(message.body)
                .set_message_attributes(Some(message.attributes.into_iter().filter_map(attribute).collect()))
                .set_message_group_id(group)
                .set_message_deduplication_id(sameness)
                .build()
                .ok()
        };
        let entries = messages.into_iter().filter_map(entry).collect();
        let request = client.publish_batch().topic_arn(&self.to.target);
        let sent = request.set_publish_batch_request_entries(Some(entries)).send().await;
        let said = sent.map_err(|error| judge(n, &error, &BLAMES))?;
        let taken = said.successful().iter().map(|entry| (entry.id().and_then(place), Verdict::Taken));
        let failed = said
            .failed()
            .iter()
            .map(|entry| (place(entry.id()), verdict(entry.sender_fault(), entry.code(), entry.message())));
        Ok(taken.chain(failed).collect())
    }
}

impl Transport for Queue {
    fn portion(&self) -> Portion {
        Portion::of(MAX_ITEMS, 1 << 20)
    }

    fn send<'t>(&'t mut self, items: &'t [Item]) -> Sending<'t> {
        Box::pin(deliver(self, items))
    }
}

impl Transport for Topic {
    fn portion(&self) -> Portion {
        Portion::of(MAX_ITEMS, 1 << 20)
    }

    fn send<'t>(&'t mut self, items: &'t [Item]) -> Sending<'t> {
        Box::pin(deliver(self, items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_holds_ten_messages_and_no_more_than_a_service_takes() {
        let of = |sizes: &[usize]| -> Vec<Option<String>> {
            sizes.iter().map(|size| Some("x".repeat(*size))).collect()
        };
        assert_eq!(stretches(&of(&[1; 23])), [0..10, 10..20, 20..23]);
        assert_eq!(stretches(&of(&[200 << 10, 100 << 10, 10, 230 << 10])), [0..1, 1..3, 3..4]);
        assert_eq!(stretches(&of(&[5])).len(), 1);
    }

    #[test]
    fn attributes_hold_nothing_that_a_service_would_refuse() {
        let item = crate::sink::transport::item(
            "a\nb",
            1,
            serde_json::json!({"rule": {"id": "\u{0}".to_owned() + &"r".repeat(1_000)}, "cloud": {"account": {"id": ""}}}),
        );
        let attributes = attributes(&item);
        assert_eq!(attributes[0], ("alert_id", "ab".to_owned()));
        assert_eq!(attributes.len(), 3, "{attributes:?}");
        assert!(attributes.iter().all(|(_, value)| (1..=128).contains(&value.len())));
    }

    /// Refuses a request as a whole for one bad message in it, and has no time for those that are busy.
    struct Choosy {
        to: Messages,
        requests: Vec<usize>,
    }

    impl Service for Choosy {
        fn format(&self) -> Format {
            Format::Ecs
        }

        fn to(&self) -> &Messages {
            &self.to
        }

        async fn request(&mut self, messages: Vec<Message>) -> Result<Said, Answer> {
            self.requests.push(messages.len());
            let is = |message: &Message, what: &str| message.attributes[0].1.starts_with(what);
            if messages.iter().any(|message| is(message, "bad")) {
                return Err(Answer::whole(messages.len(), Verdict::Refused("bad".to_owned())));
            }
            let busy = |message: &Message| match is(message, "busy") {
                true => (Some(message.at), Verdict::Later("busy".to_owned())),
                false => (Some(message.at), Verdict::Taken),
            };
            Ok(messages.iter().map(busy).collect())
        }
    }

    fn delivered(ids: &[&str]) -> (Vec<Verdict>, Vec<usize>) {
        let large = "x".repeat(100 << 10);
        let items: Vec<Item> = ids
            .iter()
            .map(|id| crate::sink::transport::item(id, 1, serde_json::json!({ "message": large })))
            .collect();
        let to = Messages { target: "topic".to_owned(), access: crate::config::aws::Access::default() };
        let mut service = Choosy { to, requests: Vec::new() };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answer = runtime.block_on(deliver(&mut service, &items));
        (answer.verdicts, service.requests)
    }

    #[test]
    fn one_bad_message_takes_no_other_with_it() {
        let (verdicts, requests) = delivered(&["a", "bad", "c", "d", "e"]);
        let is_taken: Vec<bool> = verdicts.iter().map(|verdict| *verdict == Verdict::Taken).collect();
        assert_eq!(is_taken, [true, false, true, true, true]);
        assert_eq!(requests, [2, 1, 1, 2, 1]);
    }

    #[test]
    fn nothing_passes_what_waits() {
        let (verdicts, requests) = delivered(&["a", "busy", "c", "d"]);
        assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Taken).count(), 1);
        assert_eq!((verdicts.len(), requests), (4, vec![2]));
    }
}
