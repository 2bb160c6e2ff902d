use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls;

use super::*;
use crate::wire::name::Named;

const NOW: EventTime = EventTime(1_800_000_000_000_000_000);

fn later(days: i64) -> EventTime {
    NOW + Span::from_secs(days * 24 * 3_600)
}

fn made() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca");
    init(&path, "site", 3650, NOW).unwrap();
    (dir, path)
}

fn sensor(host: &str) -> Subject {
    Subject::Sensor { host: host.to_owned(), instance: None }
}

/// What rustls says of a client's certificate, with the folder's own list of what is revoked.
fn judged(dir: &Path, pem: &str, at: EventTime) -> Result<(), String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.join(CERTIFICATE)).unwrap()).unwrap();
    let crl = CertificateRevocationListDer::from_pem_file(dir.join(REVOKED)).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier: Arc<dyn ClientCertVerifier> =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .with_crls([crl])
            .enforce_revocation_expiration()
            .build()
            .unwrap();
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    verifier
        .verify_client_cert(&certificate, &[], UnixTime::since_unix_epoch(since_1970(at)))
        .map(|_| ())
        .map_err(|error| error.to_string())
}

#[test]
fn a_sensors_certificate_names_its_host_and_is_good_for_its_days() {
    let (_dir, ca) = made();
    let mut authority = Authority::open(&ca).unwrap();
    let subject = Subject::Sensor { host: "web-1".into(), instance: Some("i-0123456789abcdef0".into()) };
    let issued = authority.issue(&subject, 30, None, NOW).unwrap();
    assert_eq!(judged(&ca, &issued.certificate_pem, later(1)), Ok(()));
    assert!(judged(&ca, &issued.certificate_pem, later(31)).unwrap_err().contains("expired"));
    let der = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap();
    let named = Named::of_certificate(&der).unwrap();
    assert_eq!((&*named.host, named.instance.as_deref()), ("web-1", Some("i-0123456789abcdef0")));
    assert_eq!(named.not_after, issued.entry.not_after);
    assert!(issued.key_pem.unwrap().contains("PRIVATE KEY"));
}

#[test]
fn a_servers_certificate_is_no_sensors() {
    let (_dir, ca) = made();
    let mut authority = Authority::open(&ca).unwrap();
    let subject = Subject::Server(vec!["correlator.example.net".into(), "192.0.2.7".into()]);
    let issued = authority.issue(&subject, 30, None, NOW).unwrap();
    assert!(judged(&ca, &issued.certificate_pem, later(1)).is_err(), "it is for servers");
}

#[test]
fn what_is_revoked_is_refused_and_the_rest_is_not() {
    let (_dir, ca) = made();
    let mut authority = Authority::open(&ca).unwrap();
    let [one, two] = ["one", "two"].map(|host| authority.issue(&sensor(host), 30, None, NOW).unwrap());
    let renewed = authority.issue(&sensor("one"), 60, None, NOW).unwrap();
    assert_eq!(renewed.others, std::slice::from_ref(&one.entry), "the older one is told of");
    assert_ne!(renewed.entry.serial, one.entry.serial);
    // By serial: the renewed one stays.
    assert_eq!(authority.revoke(&one.entry.serial[..12], later(1)).unwrap().len(), 1);
    assert!(judged(&ca, &one.certificate_pem, later(2)).unwrap_err().to_lowercase().contains("revoked"));
    for good in [&renewed, &two] {
        assert_eq!(judged(&ca, &good.certificate_pem, later(2)), Ok(()));
    }
    // By name: all of that name, and a second time there is nothing left to do.
    assert_eq!(authority.revoke("one", later(2)).unwrap().len(), 1);
    assert!(judged(&ca, &renewed.certificate_pem, later(3)).is_err());
    assert_eq!(authority.revoke("one", later(3)).unwrap(), []);
    assert!(matches!(authority.revoke("three", later(3)), Err(CaError::Unknown(_))));
    drop(authority);
    let again = Authority::open(&ca).unwrap();
    let states: Vec<State> = again.entries().iter().map(|entry| entry.state(later(31))).collect();
    assert_eq!(states, [State::Revoked, State::Expired, State::Revoked]);
}

#[test]
fn a_request_gets_its_key_signed_and_none_of_its_wishes() {
    let (_dir, ca) = made();
    let key = KeyPair::generate().unwrap();
    let mut wishes = CertificateParams::new(vec!["db-1".to_owned()]).unwrap();
    wishes.subject_alt_names.push(SanType::URI(Ia5String::try_from("urn:groundtrail:host:db-1").unwrap()));
    let request = wishes.serialize_request(&key).unwrap().pem().unwrap();
    let issued = Authority::open(&ca).unwrap().issue(&sensor("web-1"), 30, Some(&request), NOW).unwrap();
    assert!(issued.key_pem.is_none());
    let der = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap();
    assert_eq!(&*Named::of_certificate(&der).unwrap().host, "web-1");
    assert_eq!(judged(&ca, &issued.certificate_pem, later(1)), Ok(()));
    let refused = Authority::open(&ca).unwrap().issue(&sensor("web-1"), 30, Some("no"), NOW);
    assert!(matches!(refused, Err(CaError::Request(_))));
}

#[test]
fn keys_are_their_owners_alone() {
    let (_dir, ca) = made();
    for (name, mode) in [(KEY, 0o600), ("issued.json", 0o600), (CERTIFICATE, 0o644), (REVOKED, 0o644)] {
        let found = std::fs::metadata(ca.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found & !mode, 0, "{name}: {found:o}");
    }
}

#[test]
fn an_authority_that_broke_off_is_made_anew_and_one_without_its_key_is_not() {
    let (_dir, ca) = made();
    std::fs::remove_file(ca.join(KEY)).unwrap();
    init(&ca, "site", 3650, NOW).unwrap();
    Authority::open(&ca).unwrap().issue(&sensor("web-1"), 30, None, NOW).unwrap();
    std::fs::remove_file(ca.join(KEY)).unwrap();
    assert!(matches!(init(&ca, "site", 3650, NOW), Err(CaError::Exists(_))), "its key is kept elsewhere");
}

#[test]
fn what_cannot_be_is_told_with_the_way_out() {
    let (dir, ca) = made();
    assert!(matches!(init(&ca, "site", 1, NOW), Err(CaError::Exists(_))));
    for name in ["ca", "crl"] {
        let issued = Authority::open(&ca).unwrap().issue(&sensor(name), 1, None, NOW);
        assert!(matches!(issued, Err(CaError::Reserved(_))), "{name}");
    }
    assert!(matches!(Authority::open(&dir.path().join("none")), Err(CaError::Missing(_))));
    let mut authority = Authority::open(&ca).unwrap();
    assert!(matches!(Authority::open(&ca), Err(CaError::Busy(_))));
    for host in ["", "a b", "../a", "a/b", "ä", &"x".repeat(129)] {
        assert!(matches!(authority.issue(&sensor(host), 1, None, NOW), Err(CaError::HostId(_))), "{host}");
    }
    for name in ["", "a b", "-a", "a..b", "a/b"] {
        let subject = Subject::Server(vec![name.to_owned()]);
        assert!(matches!(authority.issue(&subject, 1, None, NOW), Err(CaError::ServerName(_))), "{name}");
    }
    let subject = Subject::Sensor { host: "a".into(), instance: Some("i-xyz".into()) };
    assert!(matches!(authority.issue(&subject, 1, None, NOW), Err(CaError::InstanceId(_))));
    assert!(matches!(authority.issue(&sensor("a"), 1, None, later(3650)), Err(CaError::Ended(_))));
    // Nothing outlives its authority.
    let last = authority.issue(&sensor("a"), 1_000, None, later(3_600)).unwrap();
    assert_eq!(last.entry.not_after, later(3_650));
    assert_eq!(authority.entries().len(), 1, "what was refused is not in the book");
    drop(authority);
    std::fs::write(ca.join("issued.json"), "{").unwrap();
    assert!(matches!(Authority::open(&ca), Err(CaError::Damaged { .. })));
}
