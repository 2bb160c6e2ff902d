//! CloudTrail as Security Lake writes it: OCSF classes, turned back into the record they were made of, so that one mapping
//! serves both. What OCSF has no field for stands under `unmapped` by its place in the record, and goes back there.

use serde_json::{Map, Value};

use crate::source::repair;

/// Whether a document is a CloudTrail record in OCSF.
pub(crate) fn is_cloudtrail(product: Option<&str>, has_class: bool) -> bool {
    has_class && product == Some("CloudTrail")
}

/// The record behind it. None where the text is no JSON object.
pub(crate) fn to_record(text: &str) -> Option<String> {
    let ocsf: Value = serde_json::from_str(text).ok()?;
    let mut record = Record(Map::new());
    let at = |pointer: &str| ocsf.pointer(pointer).filter(|value| !value.is_null());
    for (place, pointer) in PLACES {
        if let Some(value) = at(pointer) {
            record.put(place, value.clone());
        }
    }
    for (place, pointer) in
        [("requestParameters", "/api/request/data"), ("responseElements", "/api/response/data")]
    {
        if let Some(body) = at(pointer) {
            record.put(place, parsed(body));
        }
    }
    if let Some(time) =
        at("/time_dt").and_then(Value::as_str).filter(|text| crate::time::parse(text).is_some())
    {
        record.put("eventTime", Value::from(time));
    } else if let Some(time) = at("/time").and_then(Value::as_i64).and_then(crate::time::from_epoch) {
        record.put("eventTime", Value::from(crate::time::format(time)));
    }
    if let Some(is_mfa) = at("/actor/session/is_mfa").and_then(Value::as_bool) {
        let text = if is_mfa { "true" } else { "false" };
        record.put("userIdentity.sessionContext.attributes.mfaAuthenticated", Value::from(text));
    }
    if let Some(issuer) =
        at("/actor/session/issuer").and_then(Value::as_str).filter(|text| text.starts_with("arn:"))
    {
        record.put("userIdentity.sessionContext.sessionIssuer.arn", Value::from(issuer));
    }
    if let Some(feature) = at("/metadata/product/feature/name").and_then(Value::as_str) {
        record.put("eventCategory", Value::from(feature));
        record.put("managementEvent", Value::from(feature == "Management"));
    }
    if let Some(Value::Array(resources)) = at("/resources") {
        let resource = |item: &Value| {
            let text = |pointer: &str| item.pointer(pointer).cloned().unwrap_or_default();
            let account = item.pointer("/owner/account/uid").or_else(|| item.pointer("/account_uid"));
            serde_json::json!({ "ARN": text("/uid"), "accountId": account, "type": text("/type") })
        };
        record.put("resources", Value::Array(resources.iter().map(resource).collect()));
    }
    if let Some(Value::Object(unmapped)) = at("/unmapped") {
        for (place, value) in unmapped {
            record.put(place, parsed(value));
        }
    }
    Some(Value::Object(record.0).to_string())
}

/// Where a value of the record stands in OCSF.
const PLACES: &[(&str, &str)] = &[
    ("eventVersion", "/metadata/product/version"),
    ("eventID", "/metadata/uid"),
    ("eventType", "/metadata/event_code"),
    ("eventName", "/api/operation"),
    ("eventSource", "/api/service/name"),
    ("apiVersion", "/api/version"),
    ("requestID", "/api/request/uid"),
    ("errorCode", "/api/response/error"),
    ("errorMessage", "/api/response/message"),
    ("awsRegion", "/cloud/region"),
    // The later of two wins: an address where there is one, else the service's name.
    ("sourceIPAddress", "/src_endpoint/domain"),
    ("sourceIPAddress", "/src_endpoint/svc_name"),
    ("sourceIPAddress", "/src_endpoint/ip"),
    ("vpcEndpointId", "/src_endpoint/uid"),
    ("userAgent", "/http_request/user_agent"),
    ("userIdentity.type", "/actor/user/type"),
    ("userIdentity.userName", "/actor/user/name"),
    ("userIdentity.arn", "/actor/user/uid"),
    ("userIdentity.principalId", "/actor/user/uid_alt"),
    ("userIdentity.accountId", "/actor/user/account_uid"),
    ("userIdentity.accountId", "/actor/user/account/uid"),
    ("userIdentity.accessKeyId", "/actor/user/credential_uid"),
    ("userIdentity.invokedBy", "/actor/invoked_by"),
    ("userIdentity.identityProvider", "/actor/idp/name"),
    ("userIdentity.sessionContext.attributes.creationDate", "/actor/session/created_time_dt"),
    ("userIdentity.sessionContext.sourceIdentity", "/actor/session/uid"),
    ("tlsDetails.tlsVersion", "/tls/version"),
    ("tlsDetails.cipherSuite", "/tls/cipher"),
    ("tlsDetails.clientProvidedHostHeader", "/tls/sni"),
    ("recipientAccountId", "/cloud/account/uid"),
];

/// Bodies are JSON in a string; other strings are themselves.
fn parsed(value: &Value) -> Value {
    let inner = value.as_str().filter(|text| text.starts_with(['{', '['])).and_then(|text| {
        let mended = || serde_json::from_str(&repair::repair(text)?).ok();
        serde_json::from_str(text).ok().or_else(mended)
    });
    inner.unwrap_or_else(|| match value.as_str() {
        Some("true") => Value::Bool(true),
        Some("false") => Value::Bool(false),
        Some("null") => Value::Null,
        _ => value.clone(),
    })
}

struct Record(Map<String, Value>);

impl Record {
    /// Puts a value at a dotted place. One that is there as something else stays.
    fn put(&mut self, place: &str, value: Value) {
        let mut map = &mut self.0;
        let mut rest = place;
        while let Some((key, tail)) = rest.split_once('.') {
            let child = map.entry(key.to_owned()).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(child) = child else { return };
            (map, rest) = (child, tail);
        }
        if value.is_object() || !map.get(rest).is_some_and(Value::is_object) {
            map.insert(rest.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::source::Origin;
    use crate::source::normalize::tests::normalizer;

    /// As Security Lake's source of version 2 writes a call.
    fn call() -> Value {
        json!({
            "metadata": { "product": { "version": "1.08", "name": "CloudTrail", "vendor_name": "AWS",
                          "feature": { "name": "Management" } },
                          "event_code": "AwsApiCall", "uid": "00000000-0000-4000-8000-000000000001", "version": "1.1.0",
                          "profiles": ["cloud", "datetime"] },
            "time": 1_793_613_600_000_i64, "time_dt": "2026-11-02T10:00:00Z",
            "cloud": { "region": "us-east-1", "provider": "AWS", "account": null },
            "api": { "response": { "error": "AccessDenied", "message": "denied", "data": null }, "operation": "RunInstances",
                     "version": null, "service": { "name": "ec2.amazonaws.com" },
                     "request": { "data": "{\"instanceType\":\"m5.large\"}", "uid": "r-1" } },
            "actor": { "user": { "type": "AssumedRole", "name": null, "uid": "arn:aws:sts::111122223333:assumed-role/web/i-0123456789abcdef0",
                                 "uid_alt": "AROAEXAMPLE0000000001:i-0123456789abcdef0", "account": { "uid": "111122223333" },
                                 "credential_uid": "ASIAEXAMPLE000000001" },
                       "session": { "created_time_dt": "2026-11-02T09:00:00Z", "is_mfa": false,
                                    "issuer": "arn:aws:iam::111122223333:role/web" },
                       "invoked_by": null },
            "http_request": { "user_agent": "Boto3/1.34.1" },
            "src_endpoint": { "uid": null, "ip": "198.51.100.23", "domain": null },
            "resources": [{ "uid": "arn:aws:ec2:us-east-1::image/ami-1", "type": "AWS::EC2::Image", "owner": { "account": { "uid": "111122223333" } } }],
            "class_name": "API Activity", "class_uid": 6003, "category_uid": 6, "type_uid": 600_301, "severity_id": 1,
            "unmapped": { "recipientAccountId": "111122223333", "readOnly": "false", "sharedEventID": "s-1",
                          "userIdentity.sessionContext.sessionIssuer.userName": "web",
                          "userIdentity.sessionContext.ec2RoleDelivery": "2.0",
                          "tlsDetails.tlsVersion": "TLSv1.3" },
        })
    }

    #[test]
    fn a_call_is_what_its_record_would_have_been() {
        let read = normalizer().read_any(&call().to_string());
        let record = read.into_iter().next().unwrap().unwrap();
        assert_eq!(record.origin, Origin::CloudTrail);
        let document = record.document();
        for (pointer, value) in [
            ("/@timestamp", json!("2026-11-02T10:00:00.000Z")),
            ("/event/id", json!("00000000-0000-4000-8000-000000000001")),
            ("/event/action", json!("RunInstances")),
            ("/event/provider", json!("ec2.amazonaws.com")),
            ("/event/outcome", json!("failure")),
            ("/aws/cloudtrail/error_code", json!("AccessDenied")),
            ("/aws/cloudtrail/flattened/request_parameters/instanceType", json!("m5.large")),
            ("/aws/cloudtrail/user_identity/type", json!("AssumedRole")),
            ("/aws/cloudtrail/user_identity/access_key_id", json!("ASIAEXAMPLE000000001")),
            ("/aws/cloudtrail/user_identity/session_context/mfa_authenticated", json!("false")),
            ("/aws/cloudtrail/read_only", json!(false)),
            ("/aws/cloudtrail/shared_event_id", json!("s-1")),
            ("/user/name", json!("web")),
            ("/source/ip", json!("198.51.100.23")),
            ("/cloud/account/id", json!("111122223333")),
            ("/tls/version", json!("1.3")),
            ("/groundtrail/link/instance_id", json!(["i-0123456789abcdef0"])),
        ] {
            assert_eq!(document.pointer(pointer), Some(&value), "{pointer} of {document:#}");
        }
    }

    #[test]
    fn odd_shapes_cost_nothing_else() {
        let mut odd = call();
        odd["unmapped"] = json!({ "userIdentity": "HIDDEN", "userIdentity.x": "y", "": "z", "a..b": "c" });
        odd["resources"] = json!("none");
        odd["time_dt"] = json!("yesterday");
        let read = normalizer().read_any(&odd.to_string());
        let record = read[0].as_ref().unwrap();
        assert_eq!(record.event.time, crate::time::parse("2026-11-02T10:00:00Z").unwrap());
        assert_eq!(record.document()["aws"]["cloudtrail"]["user_identity"]["type"], "AssumedRole");
        assert_eq!(to_record("[1"), None);
    }
}
