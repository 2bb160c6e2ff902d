//! Each revision as a POST of its own, signed if there is a secret.

use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use super::SinkError;
use super::format::Format;
use super::http::{Client, Reply};
use super::login::{Login, bearer};
use super::secret::Secret;
use super::signature::sign;
use super::transport::{Answer, Item, Portion, Sending, Transport, Verdict};
use crate::config::sinks;
use crate::health::millis;
use crate::time::{Clock as _, SystemClock};

pub(super) struct Webhook {
    client: Client,
    secret: Option<Secret>,
    token: Option<Secret>,
    format: Format,
}

impl Webhook {
    /// # Errors
    /// A file of the settings cannot be used.
    pub(super) fn open(to: &sinks::Webhook, format: Format) -> Result<Self, SinkError> {
        for secret in to.secret.iter().chain(&to.token) {
            secret.read()?;
        }
        let logins = to.secret.iter().chain(&to.token).cloned().map(Login::Token).collect();
        let client = Client::new(&to.url, to.ca.as_deref(), logins)?;
        Ok(Self { client, secret: to.secret.clone(), token: to.token.clone(), format })
    }

    fn headers(&self, item: &Item, body: &[u8]) -> Result<HeaderMap, String> {
        let seconds = millis(SystemClock.now()) / 1_000;
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, value: &str| {
            headers.insert(HeaderName::from_static(name), header(value)?);
            Ok::<(), String>(())
        };
        // Two names for one thing: receivers that know the second do without our documentation.
        put("groundtrail-event-id", &item.id())?;
        put("idempotency-key", &item.id())?;
        put("groundtrail-timestamp", &seconds.to_string())?;
        if let Some(secret) = &self.secret {
            let secret = secret.read().map_err(|error| error.to_string())?;
            put("groundtrail-signature", &sign(&secret, seconds, body))?;
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(token) = &self.token {
            headers.insert(AUTHORIZATION, bearer("Bearer", token)?);
        }
        Ok(headers)
    }

    async fn post(&mut self, item: &Item) -> Answer {
        let body = item.line(self.format);
        let reply = match self.headers(item, body.as_bytes()) {
            Ok(headers) => self.client.post("", headers, Bytes::from(body)).await,
            Err(reason) => Err(reason),
        };
        match reply {
            Ok(reply) => Answer { retry_after: reply.retry_after, ..Answer::whole(1, verdict(&reply)) },
            Err(reason) => Answer::whole(1, Verdict::Later(reason)),
        }
    }
}

impl Transport for Webhook {
    fn portion(&self) -> Portion {
        Portion::ONE
    }

    fn send<'t>(&'t mut self, items: &'t [Item]) -> Sending<'t> {
        Box::pin(async move {
            match items {
                [item] => self.post(item).await,
                _ => Answer::whole(items.len(), Verdict::Later("one at a time".to_owned())),
            }
        })
    }
}

/// What a status says of one body. Only what is about the body itself is its end: a wrong token or path is ours to mend, and
/// what waits meanwhile is not to blame.
fn verdict(reply: &Reply) -> Verdict {
    match reply.status.as_u16() {
        200..300 => Verdict::Taken,
        400 | 413 | 415 | 422 => Verdict::Refused(reply.words()),
        _ => Verdict::Later(reply.words()),
    }
}

fn header(value: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(value)
        .map_err(|_invalid| format!("\"{}\" cannot be in a header", value.escape_debug()))
}
