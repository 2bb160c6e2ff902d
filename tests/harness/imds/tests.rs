//! The service's manners, asked the way curl asks.

use http_body_util::BodyExt as _;
use hyper::header::HeaderMap;

use super::*;

fn ask(
    imds: &Imds,
    method: Method,
    path: &str,
    headers: &[(&'static str, &str)],
) -> (u16, HeaderMap, String) {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    let answer = imds.answer(Request {
        method,
        path: path.to_owned(),
        query: String::new(),
        headers: map,
        body: Bytes::new(),
        peer: ([127, 0, 0, 1], 4000).into(),
        tls: None,
    });
    let (parts, body) = answer.into_parts();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let body = runtime.block_on(body.collect()).unwrap().to_bytes();
    (parts.status.as_u16(), parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

fn get(imds: &Imds, path: &str, headers: &[(&'static str, &str)]) -> (u16, String) {
    let (status, _, body) = ask(imds, Method::GET, path, headers);
    (status, body)
}

fn token(imds: &Imds) -> String {
    let (status, headers, body) =
        ask(imds, Method::PUT, "/latest/api/token", &[("x-aws-ec2-metadata-token-ttl-seconds", "60")]);
    assert_eq!((status, headers[TTL].to_str().unwrap(), body.len()), (200, "60", 56));
    body
}

#[test]
fn token_needs_a_ttl_in_range_and_no_proxy() {
    let imds = Imds::new(Tokens::Required);
    let put = |headers: &[(&'static str, &str)]| ask(&imds, Method::PUT, "/latest/api/token", headers).0;
    assert_eq!(put(&[]), 400);
    for (ttl, status) in [("0", 400), ("1", 200), ("21600", 200), ("21601", 400), ("six", 400)] {
        assert_eq!(put(&[("x-aws-ec2-metadata-token-ttl-seconds", ttl)]), status, "ttl {ttl}");
    }
    assert_eq!(put(&[("x-aws-ec2-metadata-token-ttl-seconds", "60"), ("x-forwarded-for", "192.0.2.1")]), 403);
}

#[test]
fn version_one_is_answered_only_while_tokens_are_optional() {
    assert_eq!(get(&Imds::new(Tokens::Optional), "/latest/meta-data/instance-id", &[]).0, 200);
    assert_eq!(get(&Imds::new(Tokens::Required), "/latest/meta-data/instance-id", &[]).0, 401);
}

#[test]
fn a_token_opens_and_a_made_up_one_does_not() {
    let imds = Imds::new(Tokens::Required);
    let token = token(&imds);
    let (status, body) = get(&imds, "/latest/meta-data/instance-id", &[("x-aws-ec2-metadata-token", &token)]);
    assert_eq!((status, body.as_str()), (200, world::INSTANCE_ID));
    let (status, _) =
        get(&imds, "/latest/meta-data/instance-id", &[("x-aws-ec2-metadata-token", "AQAEAfoo==")]);
    assert_eq!(status, 401);
}

#[test]
fn a_made_up_token_is_refused_even_where_tokens_are_optional() {
    let imds = Imds::new(Tokens::Optional);
    assert_eq!(get(&imds, "/latest/meta-data/", &[("x-aws-ec2-metadata-token", "AQAEAfoo==")]).0, 401);
}

#[test]
fn the_two_versions_hand_out_different_keys() {
    let imds = Imds::new(Tokens::Optional);
    let path = format!("/latest/meta-data/iam/security-credentials/{}", world::ROLE);
    let v1: serde_json::Value = serde_json::from_str(&get(&imds, &path, &[]).1).unwrap();
    let token = token(&imds);
    let v2: serde_json::Value =
        serde_json::from_str(&get(&imds, &path, &[("x-aws-ec2-metadata-token", &token)]).1).unwrap();
    assert_eq!(v1["Type"], "AWS-HMAC");
    assert_ne!(v1["AccessKeyId"], v2["AccessKeyId"]);
    let fields: Vec<&String> = v2.as_object().unwrap().keys().collect();
    assert_eq!(
        fields,
        ["AccessKeyId", "Code", "Expiration", "LastUpdated", "SecretAccessKey", "Token", "Type"]
    );
}

#[test]
fn directories_list_their_children() {
    let imds = Imds::new(Tokens::Optional);
    assert_eq!(get(&imds, "/latest/meta-data/iam/", &[]).1, "info\nsecurity-credentials/");
    assert_eq!(get(&imds, "/latest/meta-data/iam/security-credentials/", &[]).1, world::ROLE);
    assert!(get(&imds, "/latest/meta-data/", &[]).1.contains("\niam/\ninstance-action\n"));
}

#[test]
fn wrong_methods_and_unknown_paths_are_refused_with_a_page() {
    let imds = Imds::new(Tokens::Optional);
    let (status, headers, _) = ask(&imds, Method::GET, "/latest/api/token", &[]);
    assert_eq!((status, headers["allow"].to_str().unwrap()), (405, "OPTIONS, PUT"));
    assert_eq!(ask(&imds, Method::POST, "/latest/meta-data/", &[]).0, 405);
    let (status, headers, body) = ask(&imds, Method::GET, "/latest/meta-data/nothing", &[]);
    assert_eq!((status, headers["content-type"].to_str().unwrap()), (404, "text/html"));
    assert!(body.starts_with("<?xml") && body.contains("404 - Not Found"));
}

#[test]
fn answers_look_like_the_real_service() {
    let imds = Imds::new(Tokens::Optional).with_active_key("ec2-user", "ssh-ed25519 AAAA");
    let (_, headers, body) = ask(&imds, Method::GET, "/latest/meta-data/services/domain", &[]);
    assert_eq!((headers["server"].to_str().unwrap(), body.as_str()), ("EC2ws", "amazonaws.com"));
    assert_eq!(headers["content-type"], "text/plain");
    let path = "/latest/meta-data/managed-ssh-keys/active-keys/";
    assert_eq!(get(&imds, &format!("{path}ec2-user/"), &[]), (200, "ssh-ed25519 AAAA".to_owned()));
    assert_eq!(get(&imds, &format!("{path}root/"), &[]).0, 404);
}
