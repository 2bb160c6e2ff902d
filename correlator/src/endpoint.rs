//! Where an `aws` command was told to send its calls: `--endpoint-url` and `AWS_ENDPOINT_URL*`, taken apart.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::source::{FieldSink, Scalar};

/// Whose endpoint it is, by its name or address alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A name only AWS itself can answer under.
    Aws,
    /// An interface endpoint in somebody's VPC.
    VpcEndpoint,
    Private,
    Loopback,
    Other,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::VpcEndpoint => "vpc_endpoint",
            Self::Private => "private",
            Self::Loopback => "loopback",
            Self::Other => "other",
        }
    }
}

/// An endpoint that overrides AWS's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// As given, without what stands before an `@`: that may be a password.
    pub url: String,
    pub scheme: Option<String>,
    /// Lower case, no trailing dot, no brackets.
    pub domain: String,
    pub port: Option<u16>,
    pub kind: Kind,
    /// `argument` or `environment`.
    pub source: &'static str,
    /// The service of `AWS_ENDPOINT_URL_<SERVICE>`, lower case.
    pub service: Option<String>,
}

/// The endpoint of a command line, if it is the AWS CLI's and overrides one. The argument beats the environment, as it
/// does in the CLI.
pub fn of_command(name: Option<&str>, args: &[&str], env: &[&str]) -> Option<Endpoint> {
    let rest = arguments_of_aws(name, args)?;
    if let Some(url) = url_argument(rest) {
        return Endpoint::parse(url, "argument", None);
    }
    let (url, service) = url_variable(rest, env)?;
    Endpoint::parse(url, "environment", service)
}

/// Arguments after the `aws` word. An interpreter runs it as a script in some installs, so it may come second.
pub(crate) fn arguments_of_aws<'s, 'a>(name: Option<&str>, args: &'s [&'a str]) -> Option<&'s [&'a str]> {
    let is_aws = |text: &str| matches!(base_name(text), "aws" | "aws2" | "aws.exe");
    if let [interpreter, "-m", "awscli", rest @ ..] = args
        && base_name(interpreter).starts_with("python")
    {
        return Some(rest);
    }
    if let Some(at) = args.iter().take(3).position(|arg| is_aws(arg)) {
        // `python /usr/bin/aws` is the CLI; `ls aws` and `vim -R aws` are not.
        let is_script = at > 0 && base_name(args[0]).starts_with("python");
        if at == 0 || is_script || name.is_some_and(is_aws) {
            return Some(&args[at + 1..]);
        }
    }
    name.filter(|name| is_aws(name)).map(|_| args.get(1..).unwrap_or_default())
}

/// The last one counts. The CLI's parser takes unambiguous beginnings of an option, so `--endpoint` works too.
fn url_argument<'a>(args: &[&'a str]) -> Option<&'a str> {
    let is_option = |text: &str| text.len() >= "--end".len() && "--endpoint-url".starts_with(text);
    let mut found = None;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.split_once('=') {
            Some((option, url)) if is_option(option) => found = Some(url),
            None if is_option(arg) => found = args.next().copied().or(found),
            _ => {}
        }
    }
    found.filter(|url| !url.trim().is_empty())
}

/// The variable of the service that is called beats the general one.
fn url_variable<'a>(args: &[&str], env: &[&'a str]) -> Option<(&'a str, Option<&'a str>)> {
    const NAME: &str = "AWS_ENDPOINT_URL";
    if env.iter().any(|var| var.eq_ignore_ascii_case("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true")) {
        return None;
    }
    let called = args.iter().find(|arg| !arg.starts_with('-')).map(|arg| arg.replace('-', "_"));
    let mut general = None;
    let mut other = None;
    for var in env {
        let Some((name, url)) = var.split_once('=').filter(|(_, url)| !url.trim().is_empty()) else {
            continue;
        };
        match name.strip_prefix(NAME) {
            Some("") => general = Some((url, None)),
            Some(rest) if rest.starts_with('_') && rest.len() > 1 => {
                let service = &rest[1..];
                if called.as_deref().is_some_and(|called| called.eq_ignore_ascii_case(service)) {
                    return Some((url, Some(service)));
                }
                other = other.or(Some((url, Some(service))));
            }
            _ => {}
        }
    }
    general.or(other)
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

impl Endpoint {
    /// Reads a URL as forgivingly as the libraries that will connect to it: no scheme, capitals, user information,
    /// IPv6, numbers for addresses.
    pub fn parse(text: &str, source: &'static str, service: Option<&str>) -> Option<Self> {
        let text: String = text.trim().chars().filter(|c| !c.is_control()).take(2_048).collect();
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
            None => (None, text.strip_prefix("//").unwrap_or(&text)),
        };
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let host_port = authority.rsplit('@').next().unwrap_or(authority);
        let (host, port) = split_port(host_port);
        let domain = host.trim_end_matches('.').to_ascii_lowercase();
        if domain.is_empty() {
            return None;
        }
        let port = port.and_then(|port| port.parse().ok()).or(match scheme.as_deref() {
            Some("http") => Some(80),
            Some("https") => Some(443),
            _ => None,
        });
        let prefix = scheme.as_deref().map_or_else(String::new, |scheme| format!("{scheme}://"));
        Some(Self {
            url: format!("{prefix}{host_port}{tail}"),
            kind: kind_of(&domain),
            scheme,
            domain,
            port,
            source,
            service: service.map(str::to_ascii_lowercase),
        })
    }

    pub fn put(&self, sink: &mut dyn FieldSink) {
        let mut put =
            |leaf: &str, value: Scalar<'_>| sink.put(&format!("groundtrail.endpoint.{leaf}"), value);
        put("url", Scalar::Str(&self.url));
        put("domain", Scalar::Str(&self.domain));
        if self.domain.parse::<IpAddr>().is_ok() {
            put("ip", Scalar::Str(&self.domain));
        }
        put("kind", Scalar::Str(self.kind.name()));
        put("source", Scalar::Str(self.source));
        if let Some(scheme) = &self.scheme {
            put("scheme", Scalar::Str(scheme));
        }
        if let Some(port) = self.port {
            put("port", Scalar::Int(i64::from(port)));
        }
        if let Some(service) = &self.service {
            put("service", Scalar::Str(service));
        }
    }
}

fn split_port(text: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        return (host, rest.strip_prefix(':'));
    }
    match text.rsplit_once(':') {
        // More colons than one and no brackets: an address, not a port.
        Some((host, _)) if host.contains(':') => (text, None),
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    }
}

/// Domains of which AWS owns every name, per partition.
const AWS_SUFFIXES: &[&str] = &[
    "amazonaws.com",
    "amazonaws.com.cn",
    "amazonaws.eu",
    "api.aws",
    "api.amazonwebservices.com.cn",
    "api.amazonwebservices.eu",
    "c2s.ic.gov",
    "sc2s.sgov.gov",
    "cloud.adc-e.uk",
    "csp.hci.ic.gov",
    "api.aws.ic.gov",
    "api.aws.scloud",
    "api.cloud-aws.adc-e.uk",
];

/// Labels under which a customer's own machine, balancer or function answers. The same label in first place is the
/// service's API (`rds.us-east-1.amazonaws.com`).
const TENANT_LABELS: &[&str] = &[
    "aoss",
    "cache",
    "compute",
    "compute-1",
    "docdb",
    "elb",
    "es",
    "execute-api",
    "kafka",
    "lambda-url",
    "mq",
    "neptune",
    "on",
    "rds",
    "redshift",
    "s3-website",
    "transfer",
];

const PRIVATE_SUFFIXES: &[&str] =
    &["internal", "local", "localdomain", "lan", "corp", "home", "intranet", "private", "home.arpa"];

fn kind_of(domain: &str) -> Kind {
    if let Some(address) = parse_address(domain) {
        return kind_of_address(address);
    }
    let is_under =
        |suffix: &str| domain.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if is_under("localhost") {
        return Kind::Loopback;
    }
    if let Some(suffix) = AWS_SUFFIXES.iter().find(|suffix| is_under(suffix)) {
        let labels: Vec<&str> =
            domain[..domain.len() - suffix.len()].trim_end_matches('.').split('.').collect();
        if labels.last() == Some(&"vpce") {
            return Kind::VpcEndpoint;
        }
        let is_tenant = labels
            .iter()
            .skip(1)
            .any(|label| TENANT_LABELS.contains(label) || label.starts_with("s3-website-"));
        return if is_tenant { Kind::Other } else { Kind::Aws };
    }
    // A name without a dot is completed by the resolver's search list.
    if !domain.contains('.') || PRIVATE_SUFFIXES.iter().any(|suffix| is_under(suffix)) {
        return Kind::Private;
    }
    Kind::Other
}

fn kind_of_address(address: IpAddr) -> Kind {
    match address.to_canonical() {
        // The unspecified address connects to the machine itself.
        address if address.is_loopback() || address.is_unspecified() => Kind::Loopback,
        IpAddr::V4(v4) if v4.is_private() || v4.is_link_local() || is_shared(v4) => Kind::Private,
        IpAddr::V6(v6) if is_unique_local(v6) || v6.segments()[0] & 0xffc0 == 0xfe80 => Kind::Private,
        _ => Kind::Other,
    }
}

/// 100.64.0.0/10, between carriers and customers.
fn is_shared(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    first == 100 && second & 0xc0 == 64
}

fn is_unique_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xfe00 == 0xfc00
}

/// An address in any spelling the C library connects to: `127.1`, `2130706433`, `0x7f000001` and octal parts too.
fn parse_address(text: &str) -> Option<IpAddr> {
    let without_zone = text.split('%').next().unwrap_or(text);
    if let Ok(address) = without_zone.parse() {
        return Some(address);
    }
    let parts: Vec<u32> = text.split('.').map(parse_number).collect::<Option<_>>()?;
    let (last, heads) = parts.split_last()?;
    if heads.len() > 3 || heads.iter().any(|part| *part > 255) {
        return None;
    }
    let free_bits = 32 - 8 * heads.len() as u32;
    if free_bits < 32 && *last >= 1 << free_bits {
        return None;
    }
    let head = heads.iter().enumerate().fold(0_u32, |sum, (idx, part)| sum | part << (24 - 8 * idx));
    Some(IpAddr::V4(Ipv4Addr::from(head | last)))
}

fn parse_number(text: &str) -> Option<u32> {
    if let Some(hex) = text.strip_prefix("0x") {
        return u32::from_str_radix(hex, 16).ok();
    }
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match text.strip_prefix('0') {
        Some(octal) if !octal.is_empty() => u32::from_str_radix(octal, 8).ok(),
        _ => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kind(url: &str) -> &'static str {
        Endpoint::parse(url, "argument", None).map_or("none", |endpoint| endpoint.kind.name())
    }

    fn domain(args: &[&str], env: &[&str]) -> Option<(String, &'static str)> {
        of_command(None, args, env).map(|endpoint| (endpoint.domain, endpoint.source))
    }

    #[test]
    fn whose_endpoint_it_is() {
        for (url, expect) in [
            ("https://s3.us-east-1.amazonaws.com", "aws"),
            ("https://S3.US-EAST-1.AMAZONAWS.COM./", "aws"),
            ("https://sts.amazonaws.com.cn", "aws"),
            ("https://ec2.us-east-1.api.aws", "aws"),
            ("https://rds.us-east-1.amazonaws.com", "aws"),
            ("https://dynamodb.us-iso-east-1.c2s.ic.gov", "aws"),
            ("https://bucket.vpce-1a2b3c4d-5e6f.s3.us-east-1.vpce.amazonaws.com", "vpc_endpoint"),
            ("https://s3.amazonaws.com.rogue.example.net", "other"),
            ("https://notamazonaws.com", "other"),
            ("https://amazonaws.com@rogue.example.net/", "other"),
            ("https://abc.execute-api.us-east-1.amazonaws.com", "other"),
            ("https://ec2-198-51-100-7.compute-1.amazonaws.com", "other"),
            ("https://lb-1.us-east-1.elb.amazonaws.com", "other"),
            ("https://b.s3-website-us-east-1.amazonaws.com", "other"),
            ("http://localhost:4566", "loopback"),
            ("http://127.0.0.1:9000", "loopback"),
            ("http://127.1", "loopback"),
            ("http://2130706433", "loopback"),
            ("http://0x7f000001/", "loopback"),
            ("http://0177.0.0.1/", "loopback"),
            ("http://[::1]:4566", "loopback"),
            ("http://[::ffff:127.0.0.1]", "loopback"),
            ("http://0.0.0.0:80", "loopback"),
            ("http://10.1.2.3", "private"),
            ("http://169.254.170.2", "private"),
            ("http://100.64.0.1", "private"),
            ("http://[fd00::5]:80", "private"),
            ("http://[fe80::1%eth0]:80", "private"),
            ("http://minio:9000", "private"),
            ("http://store.prod.internal", "private"),
            ("http://203.0.113.9", "other"),
            ("http://[2001:db8::9]", "other"),
            ("rogue.example.net:8443/path", "other"),
            ("//rogue.example.net", "other"),
            ("", "none"),
            ("https://", "none"),
            ("https://:443", "none"),
        ] {
            assert_eq!(kind(url), expect, "{url}");
        }
    }

    #[test]
    fn a_url_is_taken_apart() {
        let endpoint =
            Endpoint::parse("HTTPS://user:secret@Rogue.Example.NET.:8443/x?y", "argument", None).unwrap();
        assert_eq!(endpoint.url, "https://Rogue.Example.NET.:8443/x?y");
        assert_eq!((endpoint.scheme.as_deref(), endpoint.port), (Some("https"), Some(8443)));
        assert_eq!(endpoint.domain, "rogue.example.net");
        let plain = Endpoint::parse("https://rogue.example.net", "argument", None).unwrap();
        assert_eq!(plain.port, Some(443));
        let bare = Endpoint::parse("2001:db8::9", "argument", None).unwrap();
        assert_eq!((bare.domain.as_str(), bare.port), ("2001:db8::9", None));
    }

    #[test]
    fn the_argument_in_all_its_spellings() {
        let found = |args: &[&str]| domain(args, &[]).map(|(domain, _)| domain);
        let expect = Some("rogue.example.net".to_owned());
        assert_eq!(found(&["aws", "s3", "ls", "--endpoint-url", "https://rogue.example.net"]), expect);
        assert_eq!(found(&["aws", "--endpoint-url=https://rogue.example.net", "s3", "ls"]), expect);
        assert_eq!(found(&["/usr/bin/python3", "/usr/bin/aws", "--endpoint-url=rogue.example.net"]), expect);
        assert_eq!(found(&["python3", "-m", "awscli", "s3", "--endpoint-url", "rogue.example.net"]), expect);
        assert_eq!(found(&["aws", "--endpoint", "http://rogue.example.net", "s3", "ls"]), expect);
        assert_eq!(
            found(&["aws", "--endpoint-url=http://a.example", "--endpoint-url=http://rogue.example.net"]),
            expect
        );
        assert_eq!(found(&["aws", "ec2", "describe-vpc-endpoints", "--end-time", "http://a.example"]), None);
        assert_eq!(found(&["aws", "s3", "ls", "--endpoint-url"]), None);
        assert_eq!(found(&["ls", "aws", "--endpoint-url=http://a.example"]), None);
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn the_environment_counts_where_no_argument_does() {
        let general = "AWS_ENDPOINT_URL=http://general.example";
        let sts = "AWS_ENDPOINT_URL_STS=http://sts.example";
        let check = |args: &[&str], env: &[&str], expect: Option<(&str, &'static str)>| {
            assert_eq!(domain(args, env), expect.map(|(domain, source)| (domain.to_owned(), source)));
        };
        check(&["aws", "s3", "ls"], &[general, sts], Some(("general.example", "environment")));
        check(&["aws", "sts", "get-caller-identity"], &[general, sts], Some(("sts.example", "environment")));
        check(
            &["aws", "s3", "ls", "--endpoint-url=http://a.example"],
            &[general],
            Some(("a.example", "argument")),
        );
        check(&["aws", "s3", "ls"], &[general, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true"], None);
        check(&["aws", "s3", "ls"], &["AWS_ENDPOINT_URL="], None);
        let endpoint = of_command(None, &["aws", "s3", "ls"], &[sts]).unwrap();
        assert_eq!(endpoint.service.as_deref(), Some("sts"));
    }

    proptest! {
        #[test]
        fn no_url_panics(text in "\\PC{0,80}") {
            let _ = Endpoint::parse(&text, "argument", None);
        }

        #[test]
        fn no_number_form_panics(text in "[0-9a-fx.:%\\[\\]]{0,40}") {
            let _ = kind(&text);
        }
    }
}
