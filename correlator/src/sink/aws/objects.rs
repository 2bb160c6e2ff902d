//! Lines of JSON, gzipped, as objects of a bucket.

use std::io::Write as _;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use flate2::Compression;
use flate2::write::GzEncoder;
use rules::event::EventTime;
use sha2::{Digest as _, Sha256};

use super::judge;
use crate::aws::access;
use crate::config::sinks::{S3, duration};
use crate::hex::hex;
use crate::sink::format::Format;
use crate::sink::transport::{Answer, Item, Portion, Sending, Transport, Verdict};
use crate::time;

pub(in crate::sink) struct Objects {
    to: S3,
    format: Format,
    client: Option<Client>,
}

impl Objects {
    pub(in crate::sink) fn new(to: S3, format: Format) -> Self {
        Self { to, format, client: None }
    }

    /// By when its first alert was queued and what it holds: the same lines sent again are the same object.
    fn key(&self, items: &[Item], lines: &str) -> String {
        let first = items.first().map_or(0, |item| item.queued_ms);
        let at = time::format(EventTime(first.saturating_mul(1_000_000)));
        let hash = hex(&Sha256::digest(lines)[..8]);
        let (day, hour) = (at[..10].replace('-', "/"), &at[11..13]);
        let stamp: String = at[..19].chars().filter(char::is_ascii_alphanumeric).collect();
        format!("{}{day}/{hour}/groundtrail-{stamp}Z-{hash}.ndjson.gz", self.to.prefix)
    }

    async fn put(&mut self, items: &[Item]) -> Answer {
        let n = items.len();
        let lines: String = items.iter().map(|item| item.line(self.format) + "\n").collect();
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        let body = packed.write_all(lines.as_bytes()).and_then(|()| packed.finish());
        let body = match body {
            Ok(body) => body,
            Err(error) => {
                return Answer::whole(n, Verdict::Later(format!("cannot pack the alerts: {error}")));
            }
        };
        let client = match &self.client {
            Some(client) => client.clone(),
            None => access::s3(&self.to.access).await,
        };
        self.client = Some(client.clone());
        let sent = client
            .put_object()
            .bucket(&self.to.bucket)
            .key(self.key(items, &lines))
            .content_type("application/x-ndjson")
            .content_encoding("gzip")
            .body(ByteStream::from(body))
            .send();
        match sent.await {
            Ok(_) => Answer::whole(n, Verdict::Taken),
            Err(error) => judge(n, &error, &["EntityTooLarge"]),
        }
    }
}

impl Transport for Objects {
    fn portion(&self) -> Portion {
        Portion { items: 2_000, bytes: 8 << 20, wait: duration(self.to.batch_wait), is_one: true }
    }

    fn send<'t>(&'t mut self, items: &'t [Item]) -> Sending<'t> {
        Box::pin(self.put(items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_sent_again_as_it_was() {
        let to = S3 {
            bucket: "alerts".to_owned(),
            prefix: String::new(),
            batch_wait: rules::event::Span(0),
            access: crate::config::aws::Access::default(),
        };
        assert!(Objects::new(to, Format::Ecs).portion().is_one, "none of it is put by alone");
    }
}
