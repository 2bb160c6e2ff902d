//! Clients as the configuration wants them: whose credentials, which region, which address.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{
    ResponseChecksumValidation, SharedCredentialsProvider, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;

use crate::causes::chain;
use crate::config::aws::Access;
use crate::source::notice::is_region;

/// How long an answer may take to begin. Queues are asked to hold theirs back for up to 20 s.
const READ_TIMEOUT: Duration = Duration::from_secs(40);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// More than AWS has.
const MAX_REGIONS: usize = 64;

/// Clients of one source.
#[derive(Debug)]
pub(super) struct Clients {
    shared: SdkConfig,
    has_endpoint: bool,
    pub(super) sqs: aws_sdk_sqs::Client,
    /// By region: a queue may tell of buckets anywhere.
    s3: Mutex<HashMap<Option<String>, aws_sdk_s3::Client>>,
}

impl Clients {
    /// Asks nobody yet, except for the credentials of a role.
    pub(super) async fn new(access: &Access) -> Self {
        let shared = load(access).await;
        let sqs = aws_sdk_sqs::Client::new(&shared);
        Self { shared, has_endpoint: access.endpoint.is_some(), sqs, s3: Mutex::default() }
    }

    pub(super) fn s3(&self, region: Option<&str>) -> aws_sdk_s3::Client {
        // Behind an endpoint of one's own there are no regions.
        let region = region.filter(|_| !self.has_endpoint);
        let mut held = self.s3.lock().unwrap_or_else(PoisonError::into_inner);
        // Messages say where a bucket is, and whoever writes them may make regions up.
        if held.len() >= MAX_REGIONS && !held.contains_key(&region.map(str::to_owned)) {
            held.clear();
        }
        let client = held.entry(region.map(str::to_owned)).or_insert_with(|| {
            let mut config = aws_sdk_s3::config::Builder::from(&self.shared)
                // An endpoint of one's own has no name for each bucket.
                .force_path_style(self.has_endpoint)
                // An object that is read on after a cut comes in parts, of which no checksum is known; gzip has its own.
                .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
            if let Some(region) = region {
                config = config.region(Region::new(region.to_owned()));
            }
            aws_sdk_s3::Client::from_conf(config.build())
        });
        client.clone()
    }
}

/// A client of a bucket that is written to.
pub(crate) async fn s3(access: &Access) -> aws_sdk_s3::Client {
    let shared = load(access).await;
    // An endpoint of one's own has no name for each bucket.
    let config = aws_sdk_s3::config::Builder::from(&shared).force_path_style(access.endpoint.is_some());
    aws_sdk_s3::Client::from_conf(config.build())
}

/// What the clients of a source or a sink share.
pub(crate) async fn load(access: &Access) -> SdkConfig {
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let timeouts =
        TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT).build();
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http)
        .timeout_config(timeouts)
        // What is read slowly is read by us, and a stalled sender is noticed where the bytes are waited for.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(region) = &access.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &access.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(endpoint) = &access.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    let shared = loader.load().await;
    let Some(role) = &access.role else { return shared };
    let mut provider = AssumeRoleProvider::builder(&role.arn).session_name("groundtrail").configure(&shared);
    if let Some(external_id) = &role.external_id {
        provider = provider.external_id(external_id);
    }
    let provider = SharedCredentialsProvider::new(provider.build().await);
    shared.into_builder().credentials_provider(provider).build()
}

/// Why a call came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// What was asked for is not there.
    Missing(String),
    /// It is there, and never to be had this way.
    Never(String),
    /// We may not.
    Denied(String),
    /// What was asked for is there, and is refused for what it is: encrypted with a key that is disabled or not ours.
    Refused(String),
    /// The bucket is in this region.
    Elsewhere(String),
    /// Nothing can be said of what was asked for.
    Unreachable(String),
}

impl Failure {
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Missing(reason)
            | Self::Never(reason)
            | Self::Denied(reason)
            | Self::Refused(reason)
            | Self::Elsewhere(reason)
            | Self::Unreachable(reason) => reason,
        }
    }
}

/// What an error of the SDK comes to, in words without keys or signatures.
pub(crate) fn failure<E>(error: &SdkError<E>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let Some(response) = error.raw_response() else {
        // Never sent: asked again, it would be the same.
        if matches!(error, SdkError::ConstructionFailure(_)) {
            return Failure::Never(format!("cannot be asked for: {}", chain(error)));
        }
        return Failure::Unreachable(format!(
            "{}; check the network, the endpoint and the credentials",
            chain(error)
        ));
    };
    let status = response.status().as_u16();
    let code = error.code().unwrap_or("no code");
    let message = error.message().map(|message| format!(": {message}")).unwrap_or_default();
    let text = format!("AWS answered {status} {code}{message}");
    if let Some(region) = response.headers().get("x-amz-bucket-region")
        && (matches!(status, 301 | 307) || code == "AuthorizationHeaderMalformed")
    {
        if !is_region(region) {
            return Failure::Refused(format!(
                "{text}; it says that the bucket is in no region that there is"
            ));
        }
        return Failure::Elsewhere(region.to_owned());
    }
    of_answer(status, code, text)
}

/// What an answer that is no success comes to.
fn of_answer(status: u16, code: &str, text: String) -> Failure {
    match (code, status) {
        ("InvalidObjectState", _) => {
            Failure::Never(format!("{text}; restore the object from its archive first"))
        }
        ("NoSuchKey" | "NoSuchBucket" | "NoSuchVersion" | "QueueDoesNotExist", _) | (_, 404) => {
            Failure::Missing(text)
        }
        ("AWS.SimpleQueueService.NonExistentQueue", _) => Failure::Missing(text),
        // What passes: too much at once, credentials about to be renewed, a clock being set, and S3's word for a slow line.
        (
            "ExpiredToken"
            | "ExpiredTokenException"
            | "TokenRefreshRequired"
            | "RequestExpired"
            | "RequestTimeTooSkewed"
            | "RequestTimeout"
            | "RequestLimitExceeded"
            | "TooManyRequestsException"
            | "SlowDown",
            _,
        )
        | (_, 408 | 429) => Failure::Unreachable(text),
        (code, _) if code.contains("Throttl") => Failure::Unreachable(text),
        (_, 401 | 403) => Failure::Denied(format!("{text}; docs/aws-feeds.md has the policy that is needed")),
        (_, 400..500) => Failure::Refused(text),
        _ => Failure::Unreachable(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_will_not_pass_is_told_from_what_will() {
        for (status, code, expect) in [
            (400, "InvalidRequest", "refused"), // an object encrypted with a key of the customer's own
            (400, "KMS.DisabledException", "refused"),
            (400, "KMS.KMSInvalidStateException", "refused"),
            (405, "MethodNotAllowed", "refused"),
            (412, "PreconditionFailed", "refused"),
            (400, "no code", "refused"),
            (403, "AccessDenied", "denied"),
            (403, "InvalidAccessKeyId", "denied"),
            (403, "InvalidObjectState", "never"),
            (404, "no code", "missing"),
            (400, "AWS.SimpleQueueService.NonExistentQueue", "missing"),
            (400, "RequestTimeout", "unreachable"),
            (400, "ExpiredToken", "unreachable"),
            (403, "RequestTimeTooSkewed", "unreachable"),
            (400, "ThrottlingException", "unreachable"),
            (400, "KMS.ThrottlingException", "unreachable"),
            (403, "RequestThrottled", "unreachable"),
            (408, "no code", "unreachable"),
            (429, "no code", "unreachable"),
            (500, "InternalError", "unreachable"),
            (503, "SlowDown", "unreachable"),
        ] {
            let found = match of_answer(status, code, String::new()) {
                Failure::Missing(_) => "missing",
                Failure::Never(_) => "never",
                Failure::Denied(_) => "denied",
                Failure::Refused(_) => "refused",
                Failure::Elsewhere(_) => "elsewhere",
                Failure::Unreachable(_) => "unreachable",
            };
            assert_eq!(found, expect, "{status} {code}");
        }
    }

    #[test]
    fn made_up_regions_do_not_fill_the_memory() {
        let runtime = crate::aws::runtime().unwrap();
        let access = Access { region: Some("eu-west-1".to_owned()), ..Access::default() };
        let clients = runtime.block_on(Clients::new(&access));
        for n in 0..3 * MAX_REGIONS {
            clients.s3(Some(&format!("xx-{n}-1")));
        }
        assert!(clients.s3.lock().unwrap().len() <= MAX_REGIONS);
    }
}
