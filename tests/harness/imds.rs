//! The instance metadata service of one instance, as strict as the real one.
//!
//! Version 2 needs a token from `PUT /latest/api/token`; version 1 is answered unless the instance requires tokens.
//! Readers of the two versions get different keys for the same role, requests that passed a proxy are refused, and
//! bodies end without a newline.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Response, StatusCode};
use jiff::{SignedDuration, Timestamp, Unit};

use crate::http::{Answer, Request, Site};
use crate::world::{self, Instance};

const TTL: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
const MAX_TTL_SECONDS: u64 = 21_600;

/// Whether version 1 is answered: the instance's `http-tokens` setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    Optional,
    Required,
}

pub struct Imds {
    instance: Instance,
    tokens: Tokens,
    started: Timestamp,
    user_data: Option<String>,
    /// Public keys pushed by EC2 Instance Connect, by operating-system user.
    active_keys: HashMap<String, String>,
    /// Where more of them appear while the service runs, a file per user.
    key_folder: Option<PathBuf>,
    issued: Mutex<Issued>,
}

#[derive(Default)]
struct Issued {
    count: u64,
    expiry: HashMap<String, Instant>,
}

impl Imds {
    pub fn new(tokens: Tokens) -> Self {
        Self::of(Instance::web(), tokens)
    }

    pub fn of(instance: Instance, tokens: Tokens) -> Self {
        Imds {
            instance,
            tokens,
            started: Timestamp::now().round(Unit::Second).expect("a second is a valid unit"),
            user_data: None,
            active_keys: HashMap::new(),
            key_folder: None,
            issued: Mutex::default(),
        }
    }

    pub fn with_key_folder(mut self, folder: &Path) -> Self {
        self.key_folder = Some(folder.to_owned());
        self
    }

    pub fn with_user_data(mut self, text: &str) -> Self {
        self.user_data = Some(text.to_owned());
        self
    }

    pub fn with_active_key(mut self, user: &str, key: &str) -> Self {
        self.active_keys.insert(user.to_owned(), key.to_owned());
        self
    }

    fn put_token(&self, request: &Request) -> Answer {
        // A request that came through a proxy carries this header; the real service refuses to hand it a token.
        if request.headers.contains_key("x-forwarded-for") {
            return page(StatusCode::FORBIDDEN);
        }
        let ttl = request
            .header(TTL.as_str())
            .parse::<u64>()
            .ok()
            .filter(|ttl| (1..=MAX_TTL_SECONDS).contains(ttl));
        let Some(ttl) = ttl else { return page(StatusCode::BAD_REQUEST) };
        let mut issued = self.issued.lock().expect("no holder of the token table panics");
        issued.count += 1;
        let digest = crate::digest::hex(&format!("{}/{}", self.started, issued.count));
        let token = format!("AQAEA{}==", &digest[..49]);
        issued.expiry.insert(token.clone(), Instant::now() + Duration::from_secs(ttl));
        let mut answer = text(token);
        answer.headers_mut().remove("accept-ranges");
        answer.headers_mut().remove("last-modified");
        answer.headers_mut().insert(TTL, ttl.into());
        answer
    }

    /// The version this request speaks, with the seconds its token has left, or why it gets nothing.
    fn admit(&self, request: &Request) -> Result<(u8, Option<u64>), StatusCode> {
        let Some(token) = request.headers.get("x-aws-ec2-metadata-token") else {
            return match self.tokens {
                Tokens::Optional => Ok((1, None)),
                Tokens::Required => Err(StatusCode::UNAUTHORIZED),
            };
        };
        let issued = self.issued.lock().expect("no holder of the token table panics");
        let expiry = token.to_str().ok().and_then(|token| issued.expiry.get(token));
        let left = expiry.and_then(|expiry| expiry.checked_duration_since(Instant::now()));
        left.map(|left| (2, Some(left.as_secs()))).ok_or(StatusCode::UNAUTHORIZED)
    }

    fn read(&self, path: &str, version: u8) -> Option<Answer> {
        if path == "/" {
            return Some(text(format!("{}\nlatest", VERSIONS.join("\n"))));
        }
        let (release, path) =
            path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_matches('/'), ""));
        if release != "latest" && !VERSIONS.contains(&release) {
            return None;
        }
        match path.trim_end_matches('/') {
            "" => Some(text("dynamic\nmeta-data\nuser-data".to_owned())),
            "user-data" => self.user_data.clone().map(|data| {
                let mut answer = text(data);
                set(&mut answer, "content-type", "application/octet-stream");
                answer
            }),
            "dynamic" => Some(text("instance-identity/".to_owned())),
            "dynamic/instance-identity" => Some(text("document\npkcs7\nrsa2048\nsignature".to_owned())),
            "dynamic/instance-identity/document" => Some(text(self.identity_document())),
            "meta-data" => Some(text(self.listing(""))),
            path => self.metadata(path.strip_prefix("meta-data/")?, version).map(text),
        }
    }

    fn metadata(&self, path: &str, version: u8) -> Option<String> {
        if let Some(user) = path.strip_prefix("managed-ssh-keys/active-keys/") {
            let user = user.trim_end_matches('/');
            let pushed =
                self.key_folder.as_ref().and_then(|folder| fs::read_to_string(folder.join(user)).ok());
            return pushed.or_else(|| self.active_keys.get(user).cloned());
        }
        if path == "iam/info" {
            return Some(self.iam_info());
        }
        if path == format!("iam/security-credentials/{}", self.instance.role) {
            return Some(self.credentials(version));
        }
        if let Some((_, value)) = self.leaves().into_iter().find(|(leaf, _)| leaf == path) {
            return Some(value);
        }
        let below = self.listing(path);
        (!below.is_empty()).then_some(below)
    }

    /// What never changes while an instance runs; the directories are the parents of these.
    fn leaves(&self) -> Vec<(String, String)> {
        let Instance { id, private_ip, public_ip, mac, host_name, role } = &self.instance;
        let card = format!("network/interfaces/macs/{mac}");
        let interface = format!("eni-{}", id.trim_start_matches("i-"));
        let public_name = format!("ec2-{}.compute-1.amazonaws.com", public_ip.replace('.', "-"));
        let own: [(&str, &str); 7] = [
            ("hostname", host_name),
            ("instance-id", id),
            ("local-hostname", host_name),
            ("local-ipv4", private_ip),
            ("mac", mac),
            ("public-hostname", &public_name),
            ("public-ipv4", public_ip),
        ];
        let of_card: [(&str, &str); 7] = [
            ("device-number", "0"),
            ("interface-id", &interface),
            ("local-ipv4s", private_ip),
            ("mac", mac),
            ("owner-id", world::ACCOUNT),
            ("public-ipv4s", public_ip),
            ("vpc-id", "vpc-0123456789abcdef0"),
        ];
        let owned = |(leaf, value): &(&str, &str)| ((*leaf).to_owned(), (*value).to_owned());
        let mut leaves: Vec<(String, String)> = LEAVES.iter().chain(&own).map(owned).collect();
        leaves.extend(of_card.iter().map(|(leaf, value)| (format!("{card}/{leaf}"), (*value).to_owned())));
        leaves.push((format!("iam/security-credentials/{role}"), String::new()));
        leaves.sort();
        leaves
    }

    /// The names directly below a directory, a slash after those that are directories themselves.
    fn listing(&self, directory: &str) -> String {
        let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let mut names: Vec<String> = Vec::new();
        let leaves = self.leaves();
        for below in leaves.iter().filter_map(|(leaf, _)| leaf.strip_prefix(&prefix)) {
            let name = match below.split_once('/') {
                // The real listing of role names ends without a slash, since a role's credentials are a leaf.
                Some((directory, _)) => format!("{directory}/"),
                None => below.to_owned(),
            };
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.join("\n")
    }

    fn iam_info(&self) -> String {
        format!(
            "{{\n  \"Code\" : \"Success\",\n  \"LastUpdated\" : \"{}\",\n  \"InstanceProfileArn\" : \
             \"arn:aws:iam::{}:instance-profile/{}\",\n  \"InstanceProfileId\" : \"{}\"\n}}",
            self.started,
            world::ACCOUNT,
            self.instance.role,
            world::unique_id("AIPA", &self.instance.role),
        )
    }

    fn credentials(&self, version: u8) -> String {
        let role = self.instance.credentials(version);
        let expiration = self.started + SignedDuration::from_hours(6);
        format!(
            "{{\n  \"Code\" : \"Success\",\n  \"LastUpdated\" : \"{}\",\n  \"Type\" : \"AWS-HMAC\",\n  \"AccessKeyId\" : \"{}\",\n  \
             \"SecretAccessKey\" : \"{}\",\n  \"Token\" : \"{}\",\n  \"Expiration\" : \"{expiration}\"\n}}",
            self.started,
            role.access_key,
            role.secret,
            role.session_token.as_deref().unwrap_or_default(),
        )
    }

    fn identity_document(&self) -> String {
        format!(
            "{{\n  \"accountId\" : \"{}\",\n  \"architecture\" : \"x86_64\",\n  \"availabilityZone\" : \"{}a\",\n  \
             \"billingProducts\" : null,\n  \"devpayProductCodes\" : null,\n  \"marketplaceProductCodes\" : null,\n  \
             \"imageId\" : \"{}\",\n  \"instanceId\" : \"{}\",\n  \"instanceType\" : \"t3.micro\",\n  \"kernelId\" : null,\n  \
             \"pendingTime\" : \"{}\",\n  \"privateIp\" : \"{}\",\n  \"ramdiskId\" : null,\n  \"region\" : \"{}\",\n  \
             \"version\" : \"2017-09-30\"\n}}",
            world::ACCOUNT,
            world::REGION,
            world::AMI,
            self.instance.id,
            self.started,
            self.instance.private_ip,
            world::REGION,
        )
    }
}

impl Site for Imds {
    fn answer(&self, request: Request) -> Answer {
        let is_token_path = request.path == "/latest/api/token";
        if request.method == Method::PUT && is_token_path {
            return self.put_token(&request);
        }
        if is_token_path || !(request.method == Method::GET || request.method == Method::HEAD) {
            let mut answer = page(StatusCode::METHOD_NOT_ALLOWED);
            set(&mut answer, "allow", if is_token_path { "OPTIONS, PUT" } else { "OPTIONS, GET, HEAD" });
            return answer;
        }
        match self.admit(&request) {
            Err(status) => page(status),
            Ok((version, seconds_left)) => {
                let mut answer =
                    self.read(&request.path, version).unwrap_or_else(|| page(StatusCode::NOT_FOUND));
                if let Some(seconds) = seconds_left {
                    answer.headers_mut().insert(TTL, seconds.into());
                }
                answer
            }
        }
    }
}

const VERSIONS: [&str; 9] = [
    "1.0",
    "2007-01-19",
    "2008-02-01",
    "2009-04-04",
    "2014-11-05",
    "2016-09-02",
    "2019-10-01",
    "2020-10-27",
    "2021-03-23",
];

/// Of every instance alike.
const LEAVES: &[(&str, &str)] = &[
    ("ami-id", world::AMI),
    ("ami-launch-index", "0"),
    ("ami-manifest-path", "(unknown)"),
    ("block-device-mapping/ami", "xvda"),
    ("block-device-mapping/root", "/dev/xvda"),
    ("events/maintenance/history", "[]"),
    ("events/maintenance/scheduled", "[]"),
    ("iam/info", ""),
    ("instance-action", "none"),
    ("instance-life-cycle", "on-demand"),
    ("instance-type", "t3.micro"),
    ("placement/availability-zone", "us-east-1a"),
    ("placement/availability-zone-id", "use1-az4"),
    ("placement/region", world::REGION),
    ("profile", "default-hvm"),
    ("reservation-id", "r-0123456789abcdef0"),
    ("security-groups", "web"),
    ("services/domain", "amazonaws.com"),
    ("services/partition", "aws"),
];

fn text(body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    set(&mut answer, "content-type", "text/plain");
    set(&mut answer, "accept-ranges", "none");
    set(&mut answer, "last-modified", "Sat, 21 Nov 2026 06:00:00 GMT");
    finish(&mut answer);
    answer
}

/// The page an error comes with.
fn page(status: StatusCode) -> Answer {
    let title = format!("{} - {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 \
         Transitional//EN\"\n\t\"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd\">\n<html \
         xmlns=\"http://www.w3.org/1999/xhtml\" xml:lang=\"en\" lang=\"en\">\n <head>\n  \
         <title>{title}</title>\n </head>\n <body>\n  <h1>{title}</h1>\n </body>\n</html>\n"
    );
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    set(&mut answer, "content-type", "text/html");
    finish(&mut answer);
    answer
}

fn finish(answer: &mut Answer) {
    set(answer, "server", "EC2ws");
    set(answer, "connection", "close");
}

fn set(answer: &mut Answer, name: &'static str, value: &'static str) {
    answer.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
}

#[cfg(test)]
mod tests;
