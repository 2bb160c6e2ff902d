//! What AWS and its users wrap records in, taken off: EventBridge, CloudWatch Logs, SNS, `LookupEvents`, and the
//! documents of rule cases. What is inside is told by its shape.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::source::cloudtrail::record::ApiCall;
use crate::source::json::{Arena, Json};
use crate::source::normalize::Unreadable;
use crate::source::{Origin, guardduty, ocsf, repair, vpcflow};

/// One text with its origin.
#[derive(Debug, Clone, Copy)]
pub struct Unwrapped<'t> {
    pub origin: Origin,
    pub text: &'t str,
    /// The text as read, where it is JSON.
    pub json: Option<Json<'t>>,
    /// What the line stands under, where it is one of a flow log.
    pub header: Option<&'t str>,
}

/// Envelopes inside envelopes end somewhere.
const MAX_DEPTH: usize = 5;

#[derive(Deserialize)]
struct Envelope<'t> {
    #[serde(borrow, default)]
    detail: Option<&'t RawValue>,
    #[serde(borrow, default)]
    aws: Option<Wrapper<'t>>,
}

#[derive(Deserialize)]
struct Wrapper<'t> {
    #[serde(borrow, default)]
    cloudtrail: Option<&'t RawValue>,
}

#[derive(Deserialize)]
struct Lists<'t> {
    #[serde(
        borrow,
        default,
        alias = "Findings",
        alias = "findings",
        alias = "logEvents",
        alias = "events",
        alias = "Events"
    )]
    #[serde(rename = "Records")]
    records: Vec<&'t RawValue>,
}

/// What is found in a document, one after the other. One that nobody knows does not take its neighbours along.
pub type Found<'t> = Vec<Result<Unwrapped<'t>, Unreadable>>;

/// Everything one JSON document holds. A document that is only about itself (a digest, a test message) holds nothing.
///
/// # Errors
/// When the text is no JSON, or nothing in it is known.
pub fn unwrap<'t>(text: &'t str, arena: &'t Arena) -> Result<Found<'t>, Unreadable> {
    let mut found = Vec::new();
    unwrap_into(text, arena, 0, &mut found)?;
    Ok(found)
}

fn unwrap_into<'t>(
    text: &'t str,
    arena: &'t Arena,
    depth: usize,
    found: &mut Found<'t>,
) -> Result<(), Unreadable> {
    let (text, json) = parse(text, arena)?;
    let as_is = |origin| Unwrapped { origin, text, json: Some(json), header: None };
    if ApiCall::is_one(&json) {
        found.push(Ok(as_is(Origin::CloudTrail)));
        return Ok(());
    }
    if guardduty::is_finding(&json) {
        found.push(Ok(as_is(Origin::GuardDuty)));
        return Ok(());
    }
    let product = json.str_at(&["metadata", "product", "name"]);
    if ocsf::is_cloudtrail(product, json.get("class_uid").is_some()) {
        let record = ocsf::to_record(text).ok_or_else(|| Unreadable::Json("no OCSF object".to_owned()))?;
        let text = arena.alloc_str(&record);
        found.push(Ok(Unwrapped { origin: Origin::CloudTrail, text, json: None, header: None }));
        return Ok(());
    }
    if depth >= MAX_DEPTH {
        return Err(Unreadable::Unknown("envelopes nested too deep".to_owned()));
    }
    if json == Json::List(&[]) {
        return Err(Unreadable::Unknown("an empty list".to_owned()));
    }
    if let Json::List(_) = json {
        let items: Vec<&RawValue> =
            serde_json::from_str(text).map_err(|error| Unreadable::Json(error.to_string()))?;
        items.into_iter().for_each(|item| unwrap_item(item, arena, depth, found));
        return Ok(());
    }
    let raw = |error: serde_json::Error| Unreadable::Json(error.to_string());
    if json.get("detail").is_some_and(Json::is_object) && json.get("detail-type").is_some() {
        let envelope: Envelope<'_> = serde_json::from_str(text).map_err(raw)?;
        return envelope.detail.map_or(Ok(()), |detail| unwrap_into(detail.get(), arena, depth + 1, found));
    }
    // Before the ECS check: an indexed record may carry its own `@timestamp` beside this.
    if json.at(&["aws", "cloudtrail"]).is_some_and(ApiCall::is_one) {
        let envelope: Envelope<'_> = serde_json::from_str(text).map_err(raw)?;
        let inner = envelope.aws.and_then(|aws| aws.cloudtrail);
        return inner.map_or(Ok(()), |inner| unwrap_into(inner.get(), arena, depth + 1, found));
    }
    if let Some(flow) = json.str_at(&["vpcflow"]) {
        flow_lines(flow, found);
        return Ok(());
    }
    if ["Records", "Findings", "findings", "logEvents", "events", "Events"]
        .iter()
        .any(|key| matches!(json.get(key), Some(Json::List(_))))
        && json.get("@timestamp").is_none()
    {
        let lists: Lists<'_> = serde_json::from_str(text).map_err(raw)?;
        lists.records.into_iter().for_each(|item| unwrap_item(item, arena, depth, found));
        return Ok(());
    }
    if json.get("@timestamp").is_some() {
        found.push(Ok(as_is(Origin::Sensor)));
        return Ok(());
    }
    // A record as a string: a log event's `message`, an answer of `LookupEvents`, a notification.
    for key in ["message", "CloudTrailEvent", "Message"] {
        if let Some(inner) = json.str_at(&[key]).filter(|inner| inner.trim_start().starts_with(['{', '['])) {
            return unwrap_into(inner, arena, depth + 1, found);
        }
    }
    if is_about_itself(&json) {
        return Ok(());
    }
    let keys: Vec<String> = json
        .entries()
        .iter()
        .take(4)
        .map(|(key, _)| format!("\"{}\"", key.chars().take(30).collect::<String>()))
        .collect();
    Err(Unreadable::Unknown(if keys.is_empty() {
        "it holds no keys".to_owned()
    } else {
        format!("its keys are {}", keys.join(", "))
    }))
}

fn unwrap_item<'t>(item: &'t RawValue, arena: &'t Arena, depth: usize, found: &mut Found<'t>) {
    if let Err(error) = unwrap_into(item.get(), arena, depth + 1, found) {
        found.push(Err(error));
    }
}

/// The text and what it says: mended first where one value of it is beyond JSON.
fn parse<'t>(text: &'t str, arena: &'t Arena) -> Result<(&'t str, Json<'t>), Unreadable> {
    let broken = |error: serde_json::Error| Unreadable::Json(error.to_string());
    let error = match Json::parse(text, arena) {
        Ok(json) => return Ok((text, json)),
        Err(error) => error,
    };
    let Some(mended) = repair::repair(text) else { return Err(broken(error)) };
    let mended = &*arena.alloc_str(&mended);
    match Json::parse(mended, arena) {
        Ok(json) => Ok((mended, json)),
        // What is told is the fault of the text as it came.
        Err(_) => Err(broken(error)),
    }
}

/// Digests, bucket test events and subscription checks.
fn is_about_itself(json: &Json<'_>) -> bool {
    json.get("digestStartTime").is_some()
        || json.str_at(&["Event"]) == Some("s3:TestEvent")
        || json.str_at(&["messageType"]) == Some("CONTROL_MESSAGE")
}

/// Lines of one document. A flow log has any number, and is no document.
const MAX_FLOW_LINES: usize = 2_000;

/// Lines share their header for as long as they are only found. As records they have it each: a header's bounds and theirs are
/// what keeps a small document small.
fn flow_lines<'t>(text: &'t str, found: &mut Found<'t>) {
    let mut header = Some(vpcflow::DEFAULT_HEADER);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    for (n_lines, line) in lines.enumerate() {
        if n_lines == MAX_FLOW_LINES {
            let fault = format!(
                "more than {MAX_FLOW_LINES} lines of a flow log in one document; the rest is left out: hand it over as the \
                 text that it is"
            );
            found.push(Err(Unreadable::Flow(fault)));
            return;
        }
        if vpcflow::is_header(line) {
            let fault = vpcflow::header_fault(line);
            header = fault.is_none().then_some(line);
            found.extend(fault.map(|fault| Err(Unreadable::Flow(fault))));
        } else if let Some(header) = header.filter(|header| vpcflow::is_event(header, line)) {
            let header = Some(header);
            found.push(Ok(Unwrapped { origin: Origin::VpcFlow, text: line, json: None, header }));
        }
    }
}

#[cfg(test)]
mod tests;
