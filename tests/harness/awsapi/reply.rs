//! What a call is answered with: the least its client accepts, and the same facts as CloudTrail logs them.

use std::fmt::Write as _;

use hyper::StatusCode;
use hyper::body::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::call::{Call, Protocol};
use super::fleet::Fleet;
use super::record;
use crate::world::{self, Principal};
use crate::{digest, ssm};

pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    /// CloudTrail's `responseElements`: null for reads.
    pub(super) elements: Value,
    /// The code and the message of a refusal.
    pub(super) error: Option<(String, String)>,
}

impl Reply {
    fn of(body: impl Into<Bytes>, elements: Value) -> Self {
        Reply { status: StatusCode::OK, body: body.into(), elements, error: None }
    }
}

/// What is answered here even where moto is at hand: what it cannot play, what reaches into an instance, and who is who,
/// which it does not know.
pub(super) fn is_ours(call: &Call) -> bool {
    match call.service.as_str() {
        "ssm" | "ec2-instance-connect" => true,
        "sts" => call.action == "GetCallerIdentity",
        "ec2" => call.action == "CreateInstanceExportTask",
        _ => false,
    }
}

/// The answer to a call, or `None` where no such action is known.
pub(super) fn to(call: &Call, principal: &Principal, request_id: &str, fleet: &Fleet) -> Option<Reply> {
    match call.service.as_str() {
        "ssm" => ssm_call(call, principal, fleet),
        "ec2" => ec2(call, request_id),
        "iam" | "sts" => identity(call, principal, request_id),
        "guardduty" => guardduty(call),
        "ec2-instance-connect" => instance_connect(call, principal, request_id, fleet),
        "cloudtrail" => cloudtrail(call),
        "s3" => Some(Reply::of(s3(call), Value::Null)),
        _ => read(call, request_id),
    }
}

/// Any read of any service: an empty list is a valid answer.
fn read(call: &Call, request_id: &str) -> Option<Reply> {
    if !(record::is_read_only(&call.action) || call.action.starts_with("Generate")) {
        return None;
    }
    let action = &call.action;
    let body = match call.protocol {
        Protocol::Ec2 => ec2_xml(action, request_id, ""),
        Protocol::Query => query_xml(&call.service, action, request_id, ""),
        Protocol::RestXml => format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{action}Result/>"),
        Protocol::Json | Protocol::RestJson => "{}".to_owned(),
    };
    Some(Reply::of(body, Value::Null))
}

fn ec2_xml(action: &str, request_id: &str, inner: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{action}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\n    \
         <requestId>{request_id}</requestId>\n    {inner}\n</{action}Response>"
    )
}

fn query_xml(service: &str, action: &str, request_id: &str, inner: &str) -> String {
    let version = match service {
        "iam" => "2010-05-08",
        "sts" => "2011-06-15",
        "rds" => "2014-10-31",
        _ => "2015-12-01",
    };
    format!(
        "<{action}Response xmlns=\"https://{service}.amazonaws.com/doc/{version}/\">\n  <{action}Result>{inner}</{action}Result>\n  \
         <ResponseMetadata>\n    <RequestId>{request_id}</RequestId>\n  </ResponseMetadata>\n</{action}Response>"
    )
}

/// `[("a", "1")]` as `<a>1</a>`.
fn xml(fields: &[(&str, &str)]) -> String {
    fields.iter().fold(String::new(), |mut out, (name, value)| {
        let value = value.replace('&', "&amp;").replace('<', "&lt;");
        write!(out, "<{name}>{value}</{name}>").expect("writing to a string");
        out
    })
}

fn ec2(call: &Call, request_id: &str) -> Option<Reply> {
    let action = call.action.as_str();
    let (inner, elements) = match action {
        "CreateKeyPair" => {
            let (name, id) = (call.text("KeyName"), format!("key-0{}", &digest::hex(request_id)[..16]));
            let fingerprint = colons(&digest::hex(name)[..40]);
            let shown = [("keyName", name), ("keyFingerprint", &fingerprint), ("keyPairId", &id)];
            let material = ("keyMaterial", "no key is made here");
            let elements = json!({
                "requestId": request_id, "keyName": name, "keyFingerprint": fingerprint, "keyPairId": id,
                "keyMaterial": "<sensitiveDataRemoved>",
            });
            (xml(&[shown.as_slice(), &[material]].concat()), elements)
        }
        "DeleteFlowLogs" => (
            "<unsuccessful/>".to_owned(),
            json!({ "DeleteFlowLogsResponse": {
                "xmlns": "http://ec2.amazonaws.com/doc/2016-11-15/", "unsuccessful": "", "requestId": request_id,
            } }),
        ),
        "CreateInstanceExportTask" => {
            let id = format!("export-i-0{}", &digest::hex(request_id)[..16]);
            let inner =
                format!("<exportTask>{}</exportTask>", xml(&[("exportTaskId", &id), ("state", "active")]));
            (
                inner,
                json!({ "requestId": request_id, "exportTask": { "exportTaskId": id, "state": "active" } }),
            )
        }
        "RunInstances" => run_instances(call, request_id),
        _ => return read(call, request_id),
    };
    Some(Reply::of(ec2_xml(action, request_id, &inner), elements))
}

fn run_instances(call: &Call, request_id: &str) -> (String, Value) {
    let instance = format!("i-0{}", &digest::hex(request_id)[..16]);
    let reservation = format!("r-0{}", &digest::hex(request_id)[16..32]);
    let item = xml(&[
        ("instanceId", &instance),
        ("imageId", call.text("ImageId")),
        ("privateIpAddress", "10.0.1.77"),
    ]);
    let inner = format!(
        "<reservationId>{reservation}</reservationId><ownerId>{}</ownerId><instancesSet><item>{item}</item></instancesSet>",
        world::ACCOUNT
    );
    let elements = json!({
        "requestId": request_id,
        "reservationId": reservation,
        "ownerId": world::ACCOUNT,
        "groupSet": {},
        "instancesSet": { "items": [{
            "instanceId": instance,
            "imageId": call.text("ImageId"),
            "instanceState": { "code": 0, "name": "pending" },
            "instanceType": call.text("InstanceType"),
            "launchTime": Timestamp::now().as_second() * 1000,
            "placement": { "availabilityZone": "us-east-1a", "tenancy": "default" },
            "privateIpAddress": "10.0.1.77",
            "privateDnsName": "ip-10-0-1-77.ec2.internal",
            "vpcId": "vpc-0123456789abcdef0",
            "subnetId": "subnet-0123456789abcdef0",
        }] },
    });
    (inner, elements)
}

fn identity(call: &Call, principal: &Principal, request_id: &str) -> Option<Reply> {
    let action = call.action.as_str();
    let user = call.text("UserName");
    let user_arn = format!("arn:aws:iam::{}:user/{user}", world::ACCOUNT);
    let created = Timestamp::now();
    let logged_date = created.strftime("%b %-d, %Y, %-I:%M:%S %p").to_string();
    let iso = created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let (inner, elements) = match action {
        "GetCallerIdentity" => {
            let fields =
                [("Arn", &*principal.arn()), ("UserId", &principal.user_id()), ("Account", world::ACCOUNT)];
            (xml(&fields), Value::Null)
        }
        "CreateUser" => {
            let id = world::unique_id("AIDA", user);
            let fields = [
                ("Path", "/"),
                ("UserName", user),
                ("UserId", &id),
                ("Arn", &user_arn),
                ("CreateDate", &iso),
            ];
            let logged = json!({ "path": "/", "userName": user, "userId": id, "arn": user_arn, "createDate": logged_date });
            (format!("<User>{}</User>", xml(&fields)), json!({ "user": logged }))
        }
        "CreateAccessKey" => {
            let key = world::access_key_id("AKIA", request_id);
            let fields = [
                ("UserName", user),
                ("AccessKeyId", &*key),
                ("Status", "Active"),
                ("SecretAccessKey", "no secret is made here"),
                ("CreateDate", &iso),
            ];
            let logged = json!({ "userName": user, "accessKeyId": key, "status": "Active", "createDate": logged_date });
            (format!("<AccessKey>{}</AccessKey>", xml(&fields)), json!({ "accessKey": logged }))
        }
        "CreateLoginProfile" => {
            let fields = [("UserName", user), ("PasswordResetRequired", "false"), ("CreateDate", &iso)];
            let logged =
                json!({ "userName": user, "passwordResetRequired": false, "createDate": logged_date });
            (format!("<LoginProfile>{}</LoginProfile>", xml(&fields)), json!({ "loginProfile": logged }))
        }
        "CreateOpenIDConnectProvider" => {
            let host = call.text("Url").trim_start_matches("https://");
            provider("openIDConnectProviderArn", "OpenIDConnectProviderArn", &format!("oidc-provider/{host}"))
        }
        "CreateSAMLProvider" => {
            provider("sAMLProviderArn", "SAMLProviderArn", &format!("saml-provider/{}", call.text("Name")))
        }
        "UpdateSAMLProvider" => {
            let arn = call.text("SAMLProviderArn");
            (xml(&[("SAMLProviderArn", arn)]), json!({ "sAMLProviderArn": arn }))
        }
        "AttachUserPolicy"
        | "UpdateLoginProfile"
        | "ChangePassword"
        | "DeleteSAMLProvider"
        | "DeleteOpenIDConnectProvider"
        | "AddClientIDToOpenIDConnectProvider"
        | "RemoveClientIDFromOpenIDConnectProvider"
        | "UpdateOpenIDConnectProviderThumbprint" => (String::new(), Value::Null),
        _ => return read(call, request_id),
    };
    Some(Reply::of(query_xml(&call.service, action, request_id, &inner), elements))
}

fn provider(logged: &str, sent: &str, path: &str) -> (String, Value) {
    let arn = format!("arn:aws:iam::{}:{path}", world::ACCOUNT);
    (xml(&[(sent, &arn)]), json!({ logged: arn }))
}

fn guardduty(call: &Call) -> Option<Reply> {
    let answer = match call.action.as_str() {
        "ListDetectors" => json!({ "detectorIds": ["12abc34d567e8fa901bc2d34e56789f0"] }),
        "CreateDetector" => json!({ "detectorId": "12abc34d567e8fa901bc2d34e56789f0" }),
        "CreateIPSet" => json!({ "ipSetId": "0cb0141ab9fbde177613ab9436212e90" }),
        "UpdateDetector" | "DeleteDetector" => json!({}),
        _ => return None,
    };
    let is_empty = answer.as_object().is_some_and(serde_json::Map::is_empty);
    let elements = if record::is_read_only(&call.action) || is_empty { Value::Null } else { answer.clone() };
    Some(Reply::of(answer.to_string(), elements))
}

fn instance_connect(call: &Call, principal: &Principal, request_id: &str, fleet: &Fleet) -> Option<Reply> {
    match call.action.as_str() {
        "SendSSHPublicKey" => {
            let (instance, user) = (call.text("InstanceId"), call.text("InstanceOSUser"));
            fleet.push_key(instance, user, call.text("SSHPublicKey"), &principal.arn(), request_id).ok()?;
        }
        "SendSerialConsoleSSHPublicKey" => {}
        _ => return None,
    }
    let body = json!({ "RequestId": request_id, "Success": true }).to_string();
    Some(Reply::of(body, json!({ "requestId": request_id, "success": true })))
}

fn cloudtrail(call: &Call) -> Option<Reply> {
    let (body, elements) = match call.action.as_str() {
        "StopLogging" | "StartLogging" | "DeleteTrail" => (json!({}), Value::Null),
        "UpdateTrail" | "PutEventSelectors" => {
            let name = if call.action == "UpdateTrail" { call.text("Name") } else { call.text("TrailName") };
            let arn = format!("arn:aws:cloudtrail:{}:{}:trail/{name}", call.region, world::ACCOUNT);
            let answer = json!({ "Name": name, "TrailARN": arn });
            let elements = record::camel_keys(answer.clone());
            (answer, elements)
        }
        "DescribeTrails" => (json!({ "trailList": [] }), Value::Null),
        _ => return read(call, ""),
    };
    Some(Reply::of(body.to_string(), elements))
}

fn s3(call: &Call) -> String {
    let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
    match call.action.as_str() {
        "ListBuckets" => format!(
            "{head}<ListAllMyBucketsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Owner><ID>{}</ID></Owner><Buckets>\
             </Buckets></ListAllMyBucketsResult>",
            digest::hex(world::ACCOUNT)
        ),
        "ListObjects" => format!(
            "{head}<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><KeyCount>0</KeyCount><IsTruncated>false\
             </IsTruncated></ListBucketResult>"
        ),
        _ => String::new(),
    }
}

/// SSM: a command is delivered to the agent's state folder, and its result is read back from there.
fn ssm_call(call: &Call, principal: &Principal, fleet: &Fleet) -> Option<Reply> {
    match call.action.as_str() {
        "SendCommand" => {
            let command = ssm::Command::from_request(&call.params);
            let answer = command.described(Timestamp::now(), &call.region);
            for instance in &command.instance_ids {
                command.deliver(&fleet.documents(instance)?).ok()?;
            }
            let body = json!({ "Command": answer.api }).to_string();
            Some(Reply::of(body, json!({ "command": answer.logged })))
        }
        "StartSession" => {
            let documents = fleet.documents(call.text("Target"))?;
            let arn = principal.arn();
            let caller = arn.rsplit('/').next().unwrap_or_default();
            let unique = digest::hex(&format!("{}/{caller}", Timestamp::now()));
            let session = format!("{caller}-0{}", &unique[..16]);
            ssm::open_session(&documents, &session).ok()?;
            let stream = format!(
                "wss://ssmmessages.{}.amazonaws.com/v1/data-channel/{session}?role=publish_subscribe",
                call.region
            );
            let body =
                json!({ "SessionId": session, "TokenValue": "no token is made here", "StreamUrl": stream });
            let logged = json!({
                "sessionId": session, "tokenValue": "Value hidden due to security reasons.", "streamUrl": stream,
            });
            Some(Reply::of(body.to_string(), logged))
        }
        "TerminateSession" => {
            let id = call.text("SessionId");
            Some(Reply::of(json!({ "SessionId": id }).to_string(), json!({ "sessionId": id })))
        }
        "GetCommandInvocation" => {
            let instance = call.text("InstanceId");
            let body = ssm::invocation(&fleet.documents(instance)?, call.text("CommandId"), instance);
            Some(Reply::of(body.to_string(), Value::Null))
        }
        "CancelCommand" | "UpdateInstanceInformation" => Some(Reply::of("{}", Value::Null)),
        _ => read(call, ""),
    }
}

fn colons(hex: &str) -> String {
    let pairs: Vec<String> =
        hex.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).into_owned()).collect();
    pairs.join(":")
}
