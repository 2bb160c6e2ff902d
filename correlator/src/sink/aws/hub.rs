//! Findings of Security Hub, in its format (ASFF).

use std::collections::HashMap;

use aws_sdk_securityhub::Client;
use aws_sdk_securityhub::types::{
    AwsSecurityFinding, ProcessDetails, RecordState, Resource, Severity, SeverityLabel,
};
use rules::event::EventTime;
use serde_json::Value;

use super::{each, judge};
use crate::aws::access;
use crate::config::sinks;
use crate::sink::transport::{Answer, Item, Portion, Sending, Transport, Verdict};
use crate::time;

/// A request holds no more.
const MAX_FINDINGS: usize = 100;

pub(in crate::sink) struct Hub {
    to: sinks::Hub,
    client: Option<Client>,
}

impl Hub {
    pub(in crate::sink) fn new(to: sinks::Hub) -> Self {
        Self { to, client: None }
    }

    async fn import(&mut self, items: &[Item]) -> Answer {
        let n = items.len();
        let client = match &self.client {
            Some(client) => client.clone(),
            None => Client::new(&access::load(&self.to.access).await),
        };
        self.client = Some(client.clone());
        // A request must not hold two findings of one id: the last revision of each speaks for those before it.
        let is_last = |at: &usize| !items[at + 1..].iter().any(|other| other.alert_id == items[*at].alert_id);
        let findings = (0..n).filter(is_last).map(|at| finding(&self.to, &items[at])).collect();
        let said = match client.batch_import_findings().set_findings(Some(findings)).send().await {
            Ok(said) => said,
            Err(error) => return judge(n, &error, &["InvalidInputException", "InvalidInput"]),
        };
        let failed: HashMap<&str, Verdict> = said
            .failed_findings()
            .iter()
            .filter_map(|failed| {
                let (id, code) = (failed.id()?, failed.error_code().unwrap_or("no code"));
                let reason = format!(
                    "Security Hub refused it: {code}: {}",
                    failed.error_message().unwrap_or_default()
                );
                let is_busy = code.contains("Throttl") || code.contains("Internal") || code.contains("Limit");
                Some((id, if is_busy { Verdict::Later(reason) } else { Verdict::Refused(reason) }))
            })
            .collect();
        let of = |at: &usize| failed.get(id(&items[*at]).as_str()).cloned();
        // What the last revision came to holds for those before it, which were not sent.
        each(n, (0..n).map(|at| (at, of(&at).unwrap_or(Verdict::Taken))))
    }
}

impl Transport for Hub {
    fn portion(&self) -> Portion {
        Portion::of(MAX_FINDINGS, 4 << 20)
    }

    fn send<'t>(&'t mut self, items: &'t [Item]) -> Sending<'t> {
        Box::pin(self.import(items))
    }
}

fn id(item: &Item) -> String {
    format!("groundtrail/{}", item.alert_id)
}

/// As far as texts may go, by characters.
fn cut(text: &str, max: usize) -> String {
    text.chars().filter(|c| *c != '\0').take(max).collect()
}

fn finding(to: &sinks::Hub, item: &Item) -> AwsSecurityFinding {
    let alert = &*item.document;
    let text = |pointer: &str| alert.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let updated = time::format(EventTime(item.queued_ms.saturating_mul(1_000_000)));
    let at = text("/@timestamp").map_or_else(|| updated.clone(), str::to_owned);
    let state = text("/groundtrail/alert/state").unwrap_or_default();
    let label = match text("/groundtrail/alert/severity") {
        Some("critical") => SeverityLabel::Critical,
        Some("high") => SeverityLabel::High,
        Some("medium") => SeverityLabel::Medium,
        _ => SeverityLabel::Low,
    };
    let severity = Severity::builder()
        .label(label)
        .original(cut(text("/groundtrail/alert/severity").unwrap_or("low"), 64));
    let title = text("/rule/name").unwrap_or("groundtrail alert");
    let process = text("/process/name").or(text("/process/executable")).map(|name| {
        ProcessDetails::builder()
            .name(cut(name, 64))
            .set_path(text("/process/executable").map(|path| cut(path, 512)))
            .set_pid(
                alert.pointer("/process/pid").and_then(Value::as_i64).and_then(|pid| i32::try_from(pid).ok()),
            )
            .build()
    });
    AwsSecurityFinding::builder()
        .schema_version("2018-10-08")
        .id(id(item))
        .product_arn(&to.product_arn)
        .generator_id(cut(text("/rule/id").unwrap_or("groundtrail"), 512))
        .aws_account_id(&to.account)
        .set_types(Some(types(alert)))
        .first_observed_at(text("/event/start").unwrap_or(&at))
        .last_observed_at(text("/event/end").unwrap_or(&at))
        .created_at(&at)
        .updated_at(updated)
        .severity(severity.build())
        .title(cut(title, 256))
        .description(cut(text("/message").unwrap_or(title), 1_024))
        .product_name("groundtrail")
        .company_name("groundtrail")
        .set_product_fields(Some(fields(item, state)))
        .set_resources(Some(resources(to, alert)))
        .set_process(process)
        .record_state(if state == "withdrawn" { RecordState::Archived } else { RecordState::Active })
        .build()
}

/// One for each tactic, as ASFF's own taxonomy has them.
fn types(alert: &Value) -> Vec<String> {
    let tactics = alert["threat"].as_array().into_iter().flatten();
    let mut types: Vec<String> = tactics
        .filter_map(|threat| Some(format!("TTPs/{}", cut(threat["tactic"]["name"].as_str()?, 64))))
        .collect();
    types.dedup();
    types.truncate(50);
    if types.is_empty() {
        types.push("Unusual Behaviors".to_owned());
    }
    types
}

/// What ASFF has no place for. Keys go by the product's name.
fn fields(item: &Item, state: &str) -> HashMap<String, String> {
    let alert = &*item.document;
    let texts = [
        ("alert_id", Some(item.alert_id.clone())),
        ("revision", Some(item.revision.to_string())),
        ("state", Some(state.to_owned())),
        ("host_id", alert["host"]["id"].as_str().map(str::to_owned)),
        ("command_line", alert["process"]["command_line"].as_str().map(str::to_owned)),
        ("could_not_see", alert["groundtrail"]["alert"].get("could_not_see").map(Value::to_string)),
        ("join", alert["groundtrail"]["alert"].get("join").map(Value::to_string)),
    ];
    let known = texts.into_iter().filter_map(|(key, value)| {
        Some((format!("groundtrail/{key}"), cut(&value.filter(|value| !value.is_empty())?, 2_000)))
    });
    known.collect()
}

/// At least one, which ASFF asks for: the instance, the principal, else the account.
fn resources(to: &sinks::Hub, alert: &Value) -> Vec<Resource> {
    let text = |pointer: &str| alert.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let account = text("/cloud/account/id").unwrap_or(&to.account);
    let region = text("/cloud/region").unwrap_or(&to.region);
    let partition = to.product_arn.split(':').nth(1).unwrap_or("aws");
    let resource = |kind: &str, id: String| {
        Resource::builder().r#type(kind).id(cut(&id, 512)).region(cut(region, 16)).build()
    };
    let mut resources = Vec::new();
    if let Some(instance) = text("/cloud/instance/id") {
        let arn = format!("arn:{partition}:ec2:{region}:{account}:instance/{instance}");
        resources.push(resource("AwsEc2Instance", arn));
    } else if let Some(host) = text("/host/id") {
        resources.push(resource("Other", format!("host/{host}")));
    }
    if let Some(arn) = text("/aws/cloudtrail/user_identity/arn") {
        resources.push(resource("Other", arn.to_owned()));
    }
    if resources.is_empty() {
        resources.push(resource("AwsAccount", format!("AWS::::Account:{account}")));
    }
    resources
}
