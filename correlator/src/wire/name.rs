//! Whom a certificate names. A sensor's names its host in a URI of ours; one from a site's own authority may do so in its
//! only DNS name.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use rules::event::{EventTime, Span};

/// What stands before the host id, and before the instance id, in a URI among the subject's alternative names.
pub const HOST: &str = "urn:groundtrail:host:";
pub const INSTANCE: &str = "urn:groundtrail:instance:";

const MAX_HOST_ID: usize = 128;

/// What a client's certificate vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// `host.id` of everything the client sends.
    pub host: Box<str>,
    /// The only `cloud.instance.id` it may send.
    pub instance: Option<Box<str>>,
    /// It is no longer good after this.
    pub not_after: EventTime,
}

/// Why a certificate that was signed by the right authority is no sensor's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("the certificate cannot be read: {0}")]
    Unreadable(String),
    #[error(
        "the certificate names no host: put \"{HOST}<host id>\" into it as a URI, or the host id as its only DNS name; \
         `groundtrail ca issue --host` does the first"
    )]
    Nobody,
    #[error("the certificate names several hosts ({0}): one sensor speaks for one host")]
    Several(String),
    #[error("the certificate names \"{0}\", which cannot be a host id")]
    Impossible(String),
}

impl Named {
    /// # Errors
    /// It names no host, or more than one.
    pub fn of_certificate(der: &[u8]) -> Result<Self, NameError> {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|error| NameError::Unreadable(error.to_string()))?;
        let names = certificate
            .subject_alternative_name()
            .map_err(|error| NameError::Unreadable(error.to_string()))?
            .map(|extension| extension.value.general_names.as_slice())
            .unwrap_or_default();
        let uris = |prefix: &'static str| {
            names.iter().filter_map(move |name| match name {
                GeneralName::URI(uri) => uri.strip_prefix(prefix),
                _ => None,
            })
        };
        let mut hosts: Vec<&str> = uris(HOST).collect();
        if hosts.is_empty() {
            hosts = names
                .iter()
                .filter_map(|name| match name {
                    GeneralName::DNSName(name) => Some(*name),
                    _ => None,
                })
                .collect();
        }
        let host = match hosts.as_slice() {
            [] => return Err(NameError::Nobody),
            [host] => *host,
            several => return Err(NameError::Several(several.join(", "))),
        };
        if !is_host_id(host) {
            return Err(NameError::Impossible(host.to_owned()));
        }
        let instance = uris(INSTANCE).find(|id| is_instance_id(id)).map(Box::from);
        let not_after = end_of(&certificate);
        Ok(Self {
            host: host.into(),
            instance: instance.or_else(|| is_instance_id(host).then(|| host.into())),
            not_after,
        })
    }
}

/// When a certificate ends, if it is one.
pub fn not_after(der: &[u8]) -> Option<EventTime> {
    X509Certificate::from_der(der).ok().map(|(_, certificate)| end_of(&certificate))
}

fn end_of(certificate: &X509Certificate<'_>) -> EventTime {
    let seconds = certificate.validity().not_after.timestamp();
    EventTime(0) + Span::from_secs(seconds.clamp(0, i64::MAX / 1_000_000_000))
}

/// What can stand in a certificate, a header and a file name as it is.
pub fn is_host_id(id: &str) -> bool {
    (1..=MAX_HOST_ID).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-'))
        && !id.starts_with(['.', '-'])
}

pub fn is_instance_id(id: &str) -> bool {
    id.strip_prefix("i-").is_some_and(|hex| {
        matches!(hex.len(), 8 | 17) && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use rcgen::string::Ia5String;
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn named(uris: &[&str], dns: &[&str]) -> Result<(String, Option<String>), NameError> {
        let mut params =
            CertificateParams::new(dns.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        for uri in uris {
            params.subject_alt_names.push(SanType::URI(Ia5String::try_from(*uri).unwrap()));
        }
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        Named::of_certificate(certificate.der())
            .map(|named| (named.host.into(), named.instance.map(String::from)))
    }

    #[test]
    fn our_uri_names_the_host_and_a_single_dns_name_does_too() {
        let id = "i-0123456789abcdef0";
        let both = Ok((id.to_owned(), Some(id.to_owned())));
        assert_eq!(named(&["urn:groundtrail:host:web-1"], &[]), Ok(("web-1".into(), None)));
        assert_eq!(named(&["urn:groundtrail:host:i-0123456789abcdef0"], &[]), both);
        assert_eq!(named(&[], &["i-0123456789abcdef0"]), both);
        let vouched = ["urn:groundtrail:host:web-1", "urn:groundtrail:instance:i-0123456789abcdef0"];
        assert_eq!(named(&vouched, &[]), Ok(("web-1".into(), Some(id.into()))));
        // Ours decides where both are there.
        assert_eq!(named(&["urn:groundtrail:host:web-1"], &["a", "b"]), Ok(("web-1".into(), None)));
    }

    #[test]
    fn nobody_several_and_impossible_names_are_refused() {
        assert_eq!(named(&[], &[]), Err(NameError::Nobody));
        assert_eq!(named(&["spiffe://site/web"], &[]), Err(NameError::Nobody));
        let two = ["urn:groundtrail:host:a", "urn:groundtrail:host:b"];
        assert_eq!(named(&two, &[]), Err(NameError::Several("a, b".into())));
        assert_eq!(named(&[], &["a", "b"]), Err(NameError::Several("a, b".into())));
        assert_eq!(named(&["urn:groundtrail:host:../x"], &[]), Err(NameError::Impossible("../x".into())));
        assert_eq!(named(&[], &["*.example.net"]), Err(NameError::Impossible("*.example.net".into())));
        assert!(matches!(Named::of_certificate(b"no"), Err(NameError::Unreadable(_))));
    }
}
