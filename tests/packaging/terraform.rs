//! The Terraform module, held to the CloudFormation template: Terraform's own check would have to fetch AWS's provider, and would not
//! know whether both say the same.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{linters, read};

/// Terraform's resource, CloudFormation's, and which attribute is which property.
type Counterpart = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// Attributes that are not named here are not ones that we know of: a slip of the pen is one of those.
const COUNTERPARTS: &[Counterpart] = &[
    (
        "aws_kms_key.this",
        "Key",
        &[
            ("description", "/Description"),
            ("enable_key_rotation", "/EnableKeyRotation"),
            ("policy", "/KeyPolicy"),
        ],
    ),
    (
        "aws_sqs_queue.this",
        "Queue",
        &[
            ("name", "/QueueName"),
            ("message_retention_seconds", "/MessageRetentionPeriod"),
            ("visibility_timeout_seconds", "/VisibilityTimeout"),
            ("receive_wait_time_seconds", "/ReceiveMessageWaitTimeSeconds"),
            ("sqs_managed_sse_enabled", "/SqsManagedSseEnabled"),
            ("kms_master_key_id", "/KmsMasterKeyId"),
            ("kms_data_key_reuse_period_seconds", "/KmsDataKeyReusePeriodSeconds"),
            ("redrive_policy", "/RedrivePolicy"),
        ],
    ),
    (
        "aws_sqs_queue.dead",
        "DeadLetterQueue",
        &[
            ("name", "/QueueName"),
            ("message_retention_seconds", "/MessageRetentionPeriod"),
            ("sqs_managed_sse_enabled", "/SqsManagedSseEnabled"),
            ("kms_master_key_id", "/KmsMasterKeyId"),
            ("kms_data_key_reuse_period_seconds", "/KmsDataKeyReusePeriodSeconds"),
            ("redrive_allow_policy", "/RedriveAllowPolicy"),
        ],
    ),
    ("aws_sqs_queue_policy.this", "QueuePolicy", &[("queue_url", "/Queues"), ("policy", "/PolicyDocument")]),
    ("aws_s3_bucket.logs", "Bucket", &[("bucket", "/BucketName")]),
    (
        "aws_s3_bucket_public_access_block.logs",
        "Bucket",
        &[
            ("bucket", ""),
            ("block_public_acls", "/PublicAccessBlockConfiguration/BlockPublicAcls"),
            ("block_public_policy", "/PublicAccessBlockConfiguration/BlockPublicPolicy"),
            ("ignore_public_acls", "/PublicAccessBlockConfiguration/IgnorePublicAcls"),
            ("restrict_public_buckets", "/PublicAccessBlockConfiguration/RestrictPublicBuckets"),
        ],
    ),
    (
        "aws_s3_bucket_ownership_controls.logs",
        "Bucket",
        &[("bucket", ""), ("rule", "/OwnershipControls/Rules")],
    ),
    (
        "aws_s3_bucket_versioning.logs",
        "Bucket",
        &[("bucket", ""), ("versioning_configuration", "/VersioningConfiguration")],
    ),
    (
        "aws_s3_bucket_server_side_encryption_configuration.logs",
        "Bucket",
        &[("bucket", ""), ("rule", "/BucketEncryption/ServerSideEncryptionConfiguration")],
    ),
    (
        "aws_s3_bucket_lifecycle_configuration.logs",
        "Bucket",
        &[("bucket", ""), ("rule", "/LifecycleConfiguration/Rules")],
    ),
    (
        "aws_s3_bucket_notification.logs",
        "Bucket",
        &[("bucket", ""), ("queue", "/NotificationConfiguration/QueueConfigurations")],
    ),
    ("aws_s3_bucket_policy.logs", "BucketPolicy", &[("bucket", "/Bucket"), ("policy", "/PolicyDocument")]),
    (
        "aws_cloudtrail.this",
        "Trail",
        &[
            ("name", "/TrailName"),
            ("s3_bucket_name", "/S3BucketName"),
            ("enable_logging", "/IsLogging"),
            ("is_multi_region_trail", "/IsMultiRegionTrail"),
            ("include_global_service_events", "/IncludeGlobalServiceEvents"),
            ("is_organization_trail", "/IsOrganizationTrail"),
            ("enable_log_file_validation", "/EnableLogFileValidation"),
            ("kms_key_id", "/KMSKeyId"),
        ],
    ),
    (
        "aws_flow_log.this",
        "FlowLog",
        &[
            ("vpc_id", "/ResourceId"),
            ("traffic_type", "/TrafficType"),
            ("max_aggregation_interval", "/MaxAggregationInterval"),
            ("log_destination_type", "/LogDestinationType"),
            ("log_destination", "/LogDestination"),
            ("log_format", "/LogFormat"),
        ],
    ),
    (
        "aws_cloudwatch_event_rule.guardduty",
        "GuardDutyRule",
        &[("name", "/Name"), ("description", "/Description"), ("event_pattern", "/EventPattern")],
    ),
    (
        "aws_cloudwatch_event_target.guardduty",
        "GuardDutyRule",
        &[("rule", ""), ("target_id", "/Targets/0/Id"), ("arn", "/Targets/0/Arn")],
    ),
    (
        "aws_cloudwatch_event_rule.management_events",
        "ManagementEventsRule",
        &[
            ("name", "/Name"),
            ("description", "/Description"),
            ("state", "/State"),
            ("event_pattern", "/EventPattern"),
        ],
    ),
    (
        "aws_cloudwatch_event_target.management_events",
        "ManagementEventsRule",
        &[("rule", ""), ("target_id", "/Targets/0/Id"), ("arn", "/Targets/0/Arn")],
    ),
    (
        "aws_iam_role.this",
        "Role",
        &[("description", "/Description"), ("assume_role_policy", "/AssumeRolePolicyDocument")],
    ),
    (
        "aws_iam_role_policy.feeds",
        "Role",
        &[("name", "/Policies/0/PolicyName"), ("role", ""), ("policy", "/Policies/0/PolicyDocument")],
    ),
    // Policies of their own there, one with a statement for each here.
    (
        "aws_iam_role_policy.sinks",
        "AlertBucketPolicy",
        &[("name", ""), ("role", "/RoleName"), ("policy", "/PolicyDocument")],
    ),
    ("aws_iam_instance_profile.this", "InstanceProfile", &[("role", "/Roles")]),
];

/// What Terraform says of a resource beside its attributes.
const ABOUT: [&str; 4] = ["count", "depends_on", "lifecycle", "__is_block__"];

#[test]
fn both_make_the_same_of_an_account() {
    let Some(bin) = linters() else { return };
    let both = read(&bin);
    let theirs = &both["cloudformation"]["Resources"];
    let ours = declared(&both["terraform"], "resource");

    let known: BTreeSet<&str> = COUNTERPARTS.iter().map(|(name, _, _)| *name).collect();
    assert_eq!(
        ours.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        known,
        "resources without a counterpart"
    );
    let named: BTreeSet<&str> = COUNTERPARTS.iter().map(|(_, name, _)| *name).collect();
    let sinks = ["AlertQueuePolicy", "AlertTopicPolicy", "AlertKeyPolicy", "SecurityHubPolicy"];
    for name in theirs.as_object().unwrap().keys() {
        assert!(named.contains(name.as_str()) || sinks.contains(&name.as_str()), "{name} has no counterpart");
    }
    for (name, theirs_name, attributes) in COUNTERPARTS {
        let resource = ours[*name].as_object().unwrap();
        let properties = &theirs[*theirs_name]["Properties"];
        // What begins with underscores is of the reader, such as comments.
        let is_told = |attribute: &str| !ABOUT.contains(&attribute) && !attribute.starts_with("__");
        for (attribute, value) in resource.iter().filter(|(attribute, _)| is_told(attribute)) {
            let Some((_, property)) = attributes.iter().find(|(known, _)| known == attribute) else {
                panic!("{name} has no {attribute} that we know of");
            };
            let counterpart =
                properties.pointer(property).unwrap_or_else(|| panic!("{theirs_name} has no {property}"));
            if !property.is_empty() && !property.contains("Policy") {
                holds(&format!("{name}.{attribute}"), value, counterpart);
            }
        }
        for (attribute, _) in *attributes {
            assert!(resource.contains_key(*attribute), "{name} lacks {attribute}");
        }
    }
    // What outlives a stack is not destroyed here either.
    let kept: BTreeSet<&str> = COUNTERPARTS
        .iter()
        .filter(|(name, _, _)| {
            list(&ours[*name]["lifecycle"]).iter().any(|block| block["prevent_destroy"] == true)
        })
        .map(|(_, theirs_name, _)| *theirs_name)
        .collect();
    let retained: BTreeSet<&str> = theirs
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, resource)| resource["DeletionPolicy"] == "Retain")
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(kept, retained);
    // By name, as they are policies of their own kind.
    for (attribute, theirs_name, property) in [
        ("redrive_policy", "Queue", "/RedrivePolicy"),
        ("redrive_allow_policy", "DeadLetterQueue", "/RedriveAllowPolicy"),
    ] {
        let name = if theirs_name == "Queue" { "aws_sqs_queue.this" } else { "aws_sqs_queue.dead" };
        holds(
            attribute,
            &ours[name][attribute],
            theirs[theirs_name]["Properties"].pointer(property).unwrap(),
        );
    }
}

#[test]
fn both_give_the_same_rights() {
    let Some(bin) = linters() else { return };
    let both = read(&bin);
    let theirs = &both["cloudformation"]["Resources"];
    let ours = declared(&both["terraform"], "data");
    let names = names(&both["terraform"]);
    let sinks =
        ["AlertBucketPolicy", "AlertQueuePolicy", "AlertTopicPolicy", "AlertKeyPolicy", "SecurityHubPolicy"];
    let mut of_sinks = Vec::new();
    for name in sinks {
        of_sinks.extend(statements(&theirs[name]["Properties"]["PolicyDocument"]));
    }
    let documents = [
        ("key", statements(&theirs["Key"]["Properties"]["KeyPolicy"])),
        ("queue", statements(&theirs["QueuePolicy"]["Properties"]["PolicyDocument"])),
        ("bucket", statements(&theirs["BucketPolicy"]["Properties"]["PolicyDocument"])),
        ("assume", statements(&theirs["Role"]["Properties"]["AssumeRolePolicyDocument"])),
        ("feeds", statements(&theirs["Role"]["Properties"]["Policies"][0]["PolicyDocument"])),
        ("sinks", of_sinks),
    ];
    for (name, statements) in documents {
        let document = &ours[&format!("aws_iam_policy_document.{name}")];
        let plain = list(&document["statement"]).into_iter();
        let dynamic =
            list(&document["dynamic"]).into_iter().map(|block| &block["\"statement\""]["content"][0]);
        let here: BTreeMap<String, Value> =
            plain.chain(dynamic).map(|statement| terraform_statement(statement, &names)).collect();
        let there: BTreeMap<String, Value> = statements.into_iter().map(cloudformation_statement).collect();
        assert!(!there.is_empty(), "{name} has no statements");
        assert_eq!(here, there, "{name}");
        // A key's policy is about that key, whatever it says of resources.
        for (sid, statement) in there.iter().filter(|_| name != "key") {
            let is_all =
                |value: &Value| value.as_str().is_some_and(|text| text.split(' ').any(|word| word == "*"));
            let mut parts = list(&statement["of"]).into_iter().chain(list(&statement["when"]));
            assert!(!parts.any(is_all), "{name}: {sid} is about everything: {statement}");
        }
    }
}

/// Everything that an expression names is declared: Terraform would say so only once it has the provider.
#[test]
fn nothing_is_named_that_is_not_there() {
    let Some(bin) = linters() else { return };
    let both = read(&bin);
    let files = &both["terraform"];
    let mut there: BTreeSet<String> = declared(files, "resource").into_keys().collect();
    there.extend(declared(files, "data").into_keys().map(|name| format!("data.{name}")));
    for file in list(files) {
        for variable in list(&file["variable"]) {
            there.extend(variable.as_object().unwrap().keys().map(|name| format!("var.{}", unquoted(name))));
        }
        for locals in list(&file["locals"]) {
            there.extend(locals.as_object().unwrap().keys().map(|name| format!("local.{}", unquoted(name))));
        }
    }
    let mut named = BTreeSet::new();
    let mut texts = Vec::new();
    gather(files, &mut texts);
    for text in texts {
        for word in text.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '.')) {
            let parts: Vec<&str> = word.split('.').collect();
            match parts[..] {
                ["var" | "local", name, ..] => drop(named.insert(format!("{}.{name}", parts[0]))),
                ["data", kind, name, ..] => drop(named.insert(format!("data.{kind}.{name}"))),
                [kind, name, ..] if kind.starts_with("aws_") => drop(named.insert(format!("{kind}.{name}"))),
                _ => {}
            }
        }
    }
    assert!(named.len() > 30, "{named:?}");
    let missing: Vec<&String> = named.difference(&there).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let unused: Vec<&String> =
        there.iter().filter(|name| name.starts_with("var.") && !named.contains(*name)).collect();
    assert!(unused.is_empty(), "variables that change nothing: {unused:?}");
    // Terraform's variables are the template's parameters, in another spelling.
    let parameters = both["cloudformation"]["Parameters"].as_object().unwrap();
    let mut spelled: Vec<String> = parameters.keys().map(|name| format!("var.{}", snake(name))).collect();
    spelled.sort();
    let variables: Vec<&String> = there.iter().filter(|name| name.starts_with("var.")).collect();
    assert_eq!(spelled.iter().collect::<Vec<_>>(), variables);
}

/// `FlowLogsOfVpc` as `flow_logs_of_vpc`; GuardDuty is one word.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.replace("GuardDuty", "Guardduty").chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// Blocks of a kind by `type.name`.
fn declared(files: &Value, kind: &str) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for file in list(files) {
        for block in list(&file[kind]) {
            for (of, names) in block.as_object().unwrap().iter().filter(|(name, _)| *name != "__is_block__") {
                for (name, body) in
                    names.as_object().unwrap().iter().filter(|(name, _)| *name != "__is_block__")
                {
                    found.insert(format!("{}.{}", unquoted(of), unquoted(name)), body.clone());
                }
            }
        }
    }
    assert!(!found.is_empty(), "no {kind}");
    found
}

/// Every fixed value on the other side is in ours too.
fn holds(place: &str, ours: &Value, theirs: &Value) {
    let mut texts = Vec::new();
    gather(ours, &mut texts);
    let ours = texts.join("\n").replace("$${", "${");
    let mut fixed = Vec::new();
    literals(theirs, &mut fixed);
    for literal in fixed {
        // Whole words, whatever white space stands between them.
        let words: Vec<&str> = literal.split_whitespace().collect();
        let is_there = words.iter().all(|word| {
            ours.match_indices(word).any(|(at, _)| {
                let is_edge = |c: Option<char>| c.is_none_or(|c| !c.is_ascii_alphanumeric());
                is_edge(ours[..at].chars().next_back()) && is_edge(ours[at + word.len()..].chars().next())
            })
        });
        assert!(is_there, "{place} says {ours}, and CloudFormation's {literal}");
    }
}

/// Fixed values of a template's property, without what it refers to and what a condition chooses.
fn literals(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) if map.keys().any(|key| key == "Ref" || key.starts_with("Fn::")) => {}
        Value::Object(map) => map.values().for_each(|below| literals(below, found)),
        Value::Array(items) => items.iter().for_each(|below| literals(below, found)),
        Value::String(text) => found.push(text.clone()),
        Value::Null => {}
        other => found.push(other.to_string()),
    }
}

/// All texts and numbers below a value.
fn gather(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            map.iter().filter(|(name, _)| *name != "__comments__").for_each(|(_, below)| gather(below, found))
        }
        Value::Array(items) => items.iter().for_each(|below| gather(below, found)),
        Value::String(text) => found.push(text.clone()),
        other => found.push(other.to_string()),
    }
}

/// The statements of a policy, those under a condition too.
pub(crate) fn statements(document: &Value) -> Vec<&Value> {
    list(&document["Statement"])
        .into_iter()
        .map(|statement| statement.pointer("/Fn::If/1").unwrap_or(statement))
        .collect()
}

pub(crate) fn list(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Null => Vec::new(),
        one => vec![one],
    }
}

fn unquoted(text: &str) -> &str {
    text.trim_matches('"')
}

fn sorted(values: Vec<&Value>) -> Vec<String> {
    let mut out: Vec<String> =
        values.into_iter().map(|value| unquoted(value.as_str().unwrap()).to_owned()).collect();
    out.sort();
    out
}

/// Terraform's names, and the template's.
const NAMES: &[(&str, &str)] = &[
    ("local.partition", "AWS::Partition"),
    ("local.region", "AWS::Region"),
    ("local.account", "AWS::AccountId"),
    ("local.bucket", "Bucket"),
    ("local.key_arn", "Key.Arn"),
    ("aws_sqs_queue.this.arn", "Queue.Arn"),
    ("aws_sqs_queue.dead.arn", "DeadLetterQueue.Arn"),
    ("var.organization_id", "OrganizationId"),
    ("var.log_key_arn", "LogKeyArn"),
    ("var.alert_bucket", "AlertBucket"),
    ("var.alert_prefix", "AlertPrefix"),
    ("var.alert_queue_arn", "AlertQueueArn"),
    ("var.alert_topic_arn", "AlertTopicArn"),
    ("var.alert_key_arn", "AlertKeyArn"),
];

/// What stands for what in Terraform's texts: locals that are put together first, then single names.
fn names(files: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for block in list(files).into_iter().flat_map(|file| list(&file["locals"])) {
        for (name, value) in block.as_object().unwrap() {
            let Some(arn) = value.as_str().map(unquoted).filter(|text| text.starts_with("arn:")) else {
                continue;
            };
            found.push((format!("${{local.{}}}", unquoted(name)), arn.to_owned()));
        }
    }
    assert_eq!(found.len(), 2, "{found:?}");
    found.extend(NAMES.iter().map(|(ours, theirs)| (format!("${{{ours}}}"), format!("${{{theirs}}}"))));
    found
}

/// Terraform's text in the template's words.
fn in_their_words(text: &str, names: &[(String, String)]) -> String {
    names.iter().fold(unquoted(text).to_owned(), |text, (ours, theirs)| text.replace(ours, theirs))
}

/// A value of the template as one text, with `${…}` for what is not fixed.
fn spelled_out(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Object(map) => match map.iter().next().unwrap() {
            (name, of) if name == "Ref" => format!("${{{}}}", of.as_str().unwrap()),
            (name, of) if name == "Fn::GetAtt" => {
                let parts: Vec<&str> = list(of).into_iter().map(|part| part.as_str().unwrap()).collect();
                format!("${{{}}}", parts.join("."))
            }
            (name, of) if name == "Fn::If" => spelled_out(&of[1]),
            (name, Value::String(text)) if name == "Fn::Sub" => text.clone(),
            (name, of) if name == "Fn::Sub" => {
                // The bucket that is made, or the one that was there.
                assert_eq!(of[1]["Name"]["Fn::If"][0], "MakesBucket");
                assert_eq!(of[1]["Name"]["Fn::If"][2], json!({ "Ref": "LogBucket" }));
                of[0].as_str().unwrap().replace("${Name}", "${Bucket}")
            }
            (name, _) => panic!("{name} is not known here"),
        },
        other => other.to_string(),
    };
    text.replace("${Bucket.Arn}", "arn:${AWS::Partition}:s3:::${Bucket}")
}

/// A condition as one text.
fn condition(test: &str, variable: &str, mut values: Vec<String>) -> String {
    values.sort();
    format!("{test} {variable} {}", values.join(" "))
}

/// What a statement is about, in one form: who, what, on which things, under which conditions.
fn cloudformation_statement(statement: &Value) -> (String, Value) {
    let mut principals = Vec::new();
    match &statement["Principal"] {
        Value::String(all) => principals.push(all.clone()),
        Value::Object(kinds) => {
            for (kind, who) in kinds {
                let names = list(who).into_iter().map(|who| who.as_str().map_or("this account", |name| name));
                principals.extend(names.map(|name| format!("{kind} {name}")));
            }
        }
        _ => {}
    }
    principals.sort();
    let mut conditions = Vec::new();
    for (test, variables) in statement["Condition"].as_object().into_iter().flatten() {
        conditions.extend(variables.as_object().unwrap().iter().map(|(name, values)| {
            condition(test, name, list(values).into_iter().map(spelled_out).collect())
        }));
    }
    conditions.sort();
    let mut resources: Vec<String> = list(&statement["Resource"]).into_iter().map(spelled_out).collect();
    resources.sort();
    (
        statement["Sid"].as_str().unwrap().to_owned(),
        json!({
            "effect": statement["Effect"], "actions": sorted(list(&statement["Action"])), "who": principals, "when": conditions, "of": resources,
        }),
    )
}

fn terraform_statement(statement: &Value, names: &[(String, String)]) -> (String, Value) {
    let mut principals = Vec::new();
    for block in list(&statement["principals"]) {
        let kind = unquoted(block["type"].as_str().unwrap());
        for who in sorted(list(&block["identifiers"])) {
            principals.push(match (kind, who.contains("${")) {
                ("*", _) => who,
                (_, true) => format!("{kind} this account"),
                (_, false) => format!("{kind} {who}"),
            });
        }
    }
    principals.sort();
    let mut conditions: Vec<String> = list(&statement["condition"])
        .into_iter()
        .map(|block| {
            let text = |name: &str| unquoted(block[name].as_str().unwrap()).to_owned();
            let values = list(&block["values"])
                .into_iter()
                .map(|value| in_their_words(value.as_str().unwrap(), names));
            condition(&text("test"), &text("variable"), values.collect())
        })
        .collect();
    conditions.sort();
    // Of a list that is put together, the texts in it.
    let mut resources: Vec<String> = match &statement["resources"] {
        Value::String(joined) => {
            let texts = joined.split('"').skip(1).step_by(2).filter(|text| !text.is_empty());
            texts.map(|text| in_their_words(text, names)).collect()
        }
        other => {
            list(other).into_iter().map(|value| in_their_words(value.as_str().unwrap(), names)).collect()
        }
    };
    resources.sort();
    let effect = statement["effect"].as_str().map_or("Allow", unquoted);
    (
        unquoted(statement["sid"].as_str().unwrap()).to_owned(),
        json!({
            "effect": effect, "actions": sorted(list(&statement["actions"])), "who": principals, "when": conditions, "of": resources,
        }),
    )
}
