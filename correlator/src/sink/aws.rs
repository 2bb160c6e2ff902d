//! Sinks of AWS's: objects of a bucket, messages of a queue or topic, findings of Security Hub. Requests are the official SDK's.

mod hub;
mod messages;
mod objects;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

pub(super) use hub::Hub;
pub(super) use messages::{Queue, Topic};
pub(super) use objects::Objects;

use super::transport::{Answer, Verdict};
use crate::aws::access::failure;

/// What a call that failed says of all that were in it. Only what the service blames on them is their end; the rest, rights and
/// names among it, is ours to mend.
fn judge<E>(n: usize, error: &SdkError<E>, blames: &[&str]) -> Answer
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let reason = failure(error).reason().to_owned();
    let is_blamed = error.code().is_some_and(|code| blames.iter().any(|blame| code.ends_with(blame)));
    Answer::whole(n, if is_blamed { Verdict::Refused(reason) } else { Verdict::Later(reason) })
}

/// Of those that a service reports on one by one, by their place; what it is silent about is sent again.
fn each(n: usize, said: impl Iterator<Item = (usize, Verdict)>) -> Answer {
    let mut verdicts = vec![Verdict::Later("AWS said nothing of it".to_owned()); n];
    for (at, verdict) in said {
        if let Some(place) = verdicts.get_mut(at) {
            *place = verdict;
        }
    }
    Answer::each(verdicts)
}
