//! From an HTTP request to the API call it is: who signs it, which service, which action, which parameters.

use hyper::{Method, StatusCode};
use serde_json::{Map, Value};

use super::respond;
use crate::http::{Answer, Request};

/// How a service is spoken to; each has its own way to name an action and to write an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Ec2,
    Query,
    Json,
    RestJson,
    RestXml,
}

#[derive(Clone, Debug)]
pub struct Call {
    pub access_key: String,
    pub region: String,
    /// The service's signing name, which is also the first label of its event source.
    pub service: String,
    /// The action as CloudTrail names it.
    pub action: String,
    pub protocol: Protocol,
    /// The parameters as sent; form parameters keep their flat names (`InstanceId.1`).
    pub params: Map<String, Value>,
}

impl Call {
    /// Whether it is about an object's data, which a trail logs only where it is told to.
    pub(super) fn is_of_data(&self) -> bool {
        self.service == "s3" && self.action.ends_with("Object")
    }

    /// A parameter as text; empty where it was not sent.
    pub fn text(&self, name: &str) -> &str {
        self.params.get(name).and_then(Value::as_str).unwrap_or("")
    }

    /// The values of `Name.1`, `Name.2`, … in order.
    pub fn numbered(&self, name: &str) -> Vec<&str> {
        (1..).map_while(|n| self.params.get(&format!("{name}.{n}")).and_then(Value::as_str)).collect()
    }
}

/// Why a request is no call.
#[derive(Debug)]
pub(super) struct Refusal {
    protocol: Protocol,
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    pub(super) fn unknown_key(protocol: Protocol) -> Self {
        let message = "The security token included in the request is invalid.".to_owned();
        Refusal { protocol, status: StatusCode::FORBIDDEN, code: "InvalidClientTokenId", message }
    }

    pub(super) fn unknown_action(call: &Call) -> Self {
        let message = format!("The action {} is not valid for this web service.", call.action);
        Refusal { protocol: call.protocol, status: StatusCode::BAD_REQUEST, code: "InvalidAction", message }
    }

    fn unsigned() -> Self {
        let message = "Request is missing Authentication Token".to_owned();
        Refusal {
            protocol: Protocol::Query,
            status: StatusCode::FORBIDDEN,
            code: "MissingAuthenticationToken",
            message,
        }
    }

    pub(super) fn answer(&self, request_id: &str) -> Answer {
        let Refusal { code, message, .. } = self;
        let body = match self.protocol {
            Protocol::Ec2 => format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>{code}</Code><Message>{message}\
                 </Message></Error></Errors><RequestID>{request_id}</RequestID></Response>"
            ),
            Protocol::Query => format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
                 <RequestId>{request_id}</RequestId></ErrorResponse>"
            ),
            Protocol::RestXml => {
                format!(
                    "<Error><Code>{code}</Code><Message>{message}</Message><RequestId>{request_id}</RequestId></Error>"
                )
            }
            Protocol::Json | Protocol::RestJson => {
                format!("{{\"__type\":\"{code}\",\"message\":\"{message}\"}}")
            }
        };
        respond(self.status, self.protocol, request_id, body)
    }
}

/// Reads a signed request as the call it makes.
///
/// # Errors
/// A [`Refusal`] where the request carries no signature or names no action.
pub(super) fn read(request: &Request) -> Result<Call, Refusal> {
    let (access_key, region, service) =
        scope(request.header("authorization")).ok_or_else(Refusal::unsigned)?;
    let (protocol, action, params) =
        if let Some((_, action)) = request.header("x-amz-target").rsplit_once('.') {
            (Protocol::Json, Some(action.to_owned()), object(&request.body))
        } else if request.header("content-type").starts_with("application/x-www-form-urlencoded") {
            let mut params = form(&String::from_utf8_lossy(&request.body));
            let action = params.remove("Action").and_then(|action| action.as_str().map(str::to_owned));
            params.remove("Version");
            (if service == "ec2" { Protocol::Ec2 } else { Protocol::Query }, action, params)
        } else {
            rest(&service, request)
        };
    let action = action.unwrap_or_else(|| format!("{} {}", request.method, request.path));
    Ok(Call { access_key, region, service, action, protocol, params })
}

/// `AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, …`
fn scope(authorization: &str) -> Option<(String, String, String)> {
    let credential =
        authorization.strip_prefix("AWS4-HMAC-SHA256 ")?.split("Credential=").nth(1)?.split(',').next()?;
    let mut parts = credential.split('/');
    let (key, _date, region, service) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    (parts.next()? == "aws4_request").then(|| (key.to_owned(), region.to_owned(), service.to_owned()))
}

fn object(body: &[u8]) -> Map<String, Value> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

fn form(text: &str) -> Map<String, Value> {
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (percent_decode(name), Value::String(percent_decode(value))))
        .collect()
}

/// `%XX` and `+` of a form body.
pub(super) fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |byte: u8| {
                    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or(0)
                };
                bytes.push(digit(*high) << 4 | digit(*low));
                rest = after;
            }
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The REST services name no action: method and path do.
fn rest(service: &str, request: &Request) -> (Protocol, Option<String>, Map<String, Value>) {
    let segments: Vec<&str> = request.path.split('/').filter(|segment| !segment.is_empty()).collect();
    let mut params = object(&request.body);
    let method = &request.method;
    let named = |action: &str| Some(action.to_owned());
    match service {
        "s3" => {
            let action = match (method, segments.as_slice()) {
                (&Method::GET, []) => named("ListBuckets"),
                (&Method::GET, [bucket]) => {
                    params.insert("bucketName".into(), Value::from(*bucket));
                    named(if request.query.contains("list-type") {
                        "ListObjects"
                    } else {
                        bucket_read(&request.query)
                    })
                }
                (&Method::PUT, [bucket]) => {
                    params.insert("bucketName".into(), Value::from(*bucket));
                    named("CreateBucket")
                }
                (&Method::HEAD, [bucket]) => {
                    params.insert("bucketName".into(), Value::from(*bucket));
                    named("HeadBucket")
                }
                (&Method::PUT | &Method::GET | &Method::HEAD, [bucket, ..]) => {
                    params.insert("bucketName".into(), Value::from(*bucket));
                    params.insert("key".into(), Value::from(segments[1..].join("/")));
                    named(match *method {
                        Method::PUT => "PutObject",
                        Method::GET => "GetObject",
                        _ => "HeadObject",
                    })
                }
                _ => None,
            };
            params.insert("Host".into(), Value::from(request.header("host")));
            (Protocol::RestXml, action, params)
        }
        "cloudfront" => (
            Protocol::RestXml,
            (segments.last() == Some(&"distribution")).then(|| "ListDistributions2020_05_31".into()),
            params,
        ),
        // CloudTrail keeps the API's date in Lambda's older action names.
        "lambda" => (
            Protocol::RestJson,
            matches!(segments.as_slice(), ["2015-03-31", "functions"])
                .then(|| "ListFunctions20150331".into()),
            params,
        ),
        "guardduty" => {
            if let ["detector", id, ..] = segments.as_slice() {
                params.insert("detectorId".into(), Value::from(*id));
            }
            let action = match (method, segments.as_slice()) {
                (&Method::GET, ["detector"]) => named("ListDetectors"),
                (&Method::POST, ["detector"]) => named("CreateDetector"),
                (&Method::POST, ["detector", _]) => named("UpdateDetector"),
                (&Method::DELETE, ["detector", _]) => named("DeleteDetector"),
                (&Method::POST, ["detector", _, "ipset"]) => named("CreateIPSet"),
                _ => None,
            };
            (Protocol::RestJson, action, params)
        }
        _ => (Protocol::RestJson, None, params),
    }
}

fn bucket_read(query: &str) -> &'static str {
    match query.split(['=', '&']).next().unwrap_or("") {
        "acl" => "GetBucketAcl",
        "policy" => "GetBucketPolicy",
        "versioning" => "GetBucketVersioning",
        "encryption" => "GetBucketEncryption",
        "logging" => "GetBucketLogging",
        "location" => "GetBucketLocation",
        _ => "ListObjects",
    }
}
