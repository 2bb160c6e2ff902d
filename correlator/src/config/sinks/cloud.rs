//! Sinks of AWS's.

use std::fmt::Write;

use rules::event::Span;

use super::super::aws::{self, Access};
use super::super::reader::{Context, Table};
use super::super::show::{duration, quote, write_access};

/// Objects of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3 {
    pub bucket: String,
    pub prefix: String,
    /// How long the first alert of an object waits for others.
    pub batch_wait: Span,
    pub access: Access,
}

/// Messages of a queue or a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Messages {
    /// The queue's address, or the topic's ARN.
    pub target: String,
    pub access: Access,
}

/// Findings of Security Hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hub {
    /// Whose Security Hub it is.
    pub account: String,
    pub region: String,
    pub product_arn: String,
    pub access: Access,
}

pub(super) const KEYS: &[&str] = &[
    "bucket",
    "prefix",
    "batch_wait",
    "queue",
    "topic",
    "account",
    "product_arn",
    "region",
    "profile",
    "role",
    "external_id",
    "endpoint",
];

const BATCH_WAIT: Span = Span::from_secs(60);

pub(super) fn s3(table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Option<S3> {
    let bucket = table.required("bucket", ctx);
    let prefix = table.str("prefix", ctx).map(|at| at.value).unwrap_or_default();
    let wait = table.duration_at("batch_wait", ctx);
    let access = aws::access(table, ctx);
    let batch_wait = wait.as_ref().map_or(BATCH_WAIT, |at| at.value);
    if let Some(at) = wait.filter(|at| !(Span(0)..=Span::from_secs(3_600)).contains(&at.value)) {
        ctx.fault(at.span, "\"batch_wait\" is out of bounds", "write a span from \"0s\" to \"1h\"");
    }
    let bucket = bucket?;
    if bucket.value.contains(['/', ':']) || bucket.value.is_empty() {
        let message = format!("\"{}\" is not a bucket's name", bucket.value);
        ctx.fault(bucket.span, message, "write bucket = \"my-alerts\" and prefix = \"groundtrail/\" apart");
        return None;
    }
    Some(S3 { bucket: bucket.value, prefix, batch_wait, access })
}

pub(super) fn sqs(table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Option<Messages> {
    let url = table.required("queue", ctx);
    let mut access = aws::access(table, ctx);
    let url = url?;
    if !aws::is_url(&url.value) {
        let message = format!("\"{}\" is not a queue's address", url.value);
        let example = "write it as the console shows it, such as \"https://sqs.eu-west-1.amazonaws.com/111122223333/alerts\"";
        ctx.fault(url.span, message, example);
        return None;
    }
    access.region = access.region.or_else(|| aws::region_of(&url.value));
    Some(Messages { target: url.value, access })
}

pub(super) fn sns(table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Option<Messages> {
    let topic = table.required("topic", ctx);
    let mut access = aws::access(table, ctx);
    let topic = topic?;
    let parts: Vec<&str> = topic.value.split(':').collect();
    let ["arn", _, "sns", region, _, name] = parts.as_slice() else {
        let message = format!("\"{}\" is not a topic's ARN", topic.value);
        ctx.fault(topic.span, message, "write \"arn:aws:sns:eu-west-1:111122223333:alerts\"");
        return None;
    };
    if let Some(other) = access.region.as_deref().filter(|other| other != region) {
        let message = format!("\"region\" is {other}, and the topic is in {region}");
        ctx.fault(table.span(), message, "leave region out: the topic's is taken");
        return None;
    }
    if access.region.is_none() && !name.is_empty() {
        access.region = Some((*region).to_owned());
    }
    Some(Messages { target: topic.value, access })
}

pub(super) fn hub(table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Option<Hub> {
    let account = table.required("account", ctx);
    let product = table.str("product_arn", ctx).map(|at| at.value);
    let mut access = aws::access(table, ctx);
    let region = access.region.take();
    if region.is_none() {
        ctx.fault(
            table.span(),
            "\"region\" is missing",
            "add region = \"eu-west-1\": findings belong to one",
        );
    }
    let (account, region) = (account?, region?);
    if account.value.len() != 12 || !account.value.bytes().all(|byte| byte.is_ascii_digit()) {
        let message = format!("\"{}\" is not an account", account.value);
        ctx.fault(account.span, message, "write its twelve digits, in quotes");
        return None;
    }
    let partition = match region.split_once('-') {
        Some(("cn", _)) => "aws-cn",
        Some(("us", rest)) if rest.starts_with("gov-") => "aws-us-gov",
        _ => "aws",
    };
    let account = account.value;
    let product_arn = product.unwrap_or_else(|| {
        format!("arn:{partition}:securityhub:{region}:{account}:product/{account}/default")
    });
    access.region = Some(region.clone());
    Some(Hub { account, region, product_arn, access })
}

pub(super) fn write_s3(s3: &S3, out: &mut String) -> std::fmt::Result {
    let S3 { bucket, prefix, batch_wait, access } = s3;
    writeln!(out, "bucket = {}\nprefix = {}", quote(bucket), quote(prefix))?;
    writeln!(out, "batch_wait = \"{}\"", duration(*batch_wait))?;
    write_access(access, out)
}

pub(super) fn write_messages(key: &str, to: &Messages, out: &mut String) -> std::fmt::Result {
    writeln!(out, "{key} = {}", quote(&to.target))?;
    write_access(&to.access, out)
}

pub(super) fn write_hub(hub: &Hub, out: &mut String) -> std::fmt::Result {
    writeln!(out, "account = {}\nproduct_arn = {}", quote(&hub.account), quote(&hub.product_arn))?;
    write_access(&hub.access, out)
}
