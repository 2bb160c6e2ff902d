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

use crate::config::aws::Access;

/// How long an answer may take to begin. Queues are asked to hold theirs back for up to 20 s.
const READ_TIMEOUT: Duration = Duration::from_secs(40);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

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

async fn load(access: &Access) -> SdkConfig {
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
pub(super) enum Failure {
    /// What was asked for is not there.
    Missing(String),
    /// It is there, and never to be had this way.
    Never(String),
    /// We may not.
    Denied(String),
    /// The bucket is in this region.
    Elsewhere(String),
    /// Nothing can be said of what was asked for.
    Unreachable(String),
}

impl Failure {
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Missing(reason)
            | Self::Never(reason)
            | Self::Denied(reason)
            | Self::Elsewhere(reason)
            | Self::Unreachable(reason) => reason,
        }
    }
}

/// What an error of the SDK comes to, in words without keys or signatures.
pub(super) fn failure<E>(error: &SdkError<E>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let Some(response) = error.raw_response() else {
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
        return Failure::Elsewhere(region.to_owned());
    }
    match (code, status) {
        ("InvalidObjectState", _) => {
            Failure::Never(format!("{text}; restore the object from its archive first"))
        }
        ("NoSuchKey" | "NoSuchBucket" | "NoSuchVersion" | "QueueDoesNotExist", _) | (_, 404) => {
            Failure::Missing(text)
        }
        ("AWS.SimpleQueueService.NonExistentQueue", _) => Failure::Missing(text),
        ("ExpiredToken" | "RequestExpired" | "Throttling" | "RequestThrottled", _) => {
            Failure::Unreachable(text)
        }
        (_, 401 | 403) => Failure::Denied(format!("{text}; docs/aws-feeds.md has the policy that is needed")),
        _ => Failure::Unreachable(text),
    }
}

/// An error with its causes, each said once.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !said.iter().any(|held| held.contains(&text)) {
            said.push(text);
        }
        next = error.source();
    }
    said.join(": ")
}
