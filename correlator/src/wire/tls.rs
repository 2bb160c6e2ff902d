//! What a TLS listener needs of its files, read anew when they change: certificates are renewed and revoked while sensors
//! stay connected.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio_rustls::rustls;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tracing::{info, warn};

use super::name;
use rules::event::EventTime;

/// The files, as the configuration names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate and those that lead to its authority.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Who signs sensors' certificates.
    pub ca: PathBuf,
    /// What of that was taken back.
    pub crl: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read \"{}\": {source}; check the path and that this user may read it", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("\"{}\" holds no {what} in PEM form{}", path.display(), reason.as_ref().map_or(String::new(), |reason| format!(": {reason}")))]
    Pem { path: PathBuf, what: &'static str, reason: Option<String> },
    #[error("certificate \"{}\" and key \"{}\" do not go together: {source}", certificate.display(), key.display())]
    Pair { certificate: PathBuf, key: PathBuf, source: rustls::Error },
    #[error("sensors cannot be told apart by \"{}\": {source}", ca.display())]
    Verifier { ca: PathBuf, source: VerifierBuilderError },
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

/// What new connections are served by.
pub(super) struct Loaded {
    pub(super) config: Arc<ServerConfig>,
    /// Counts up with every change.
    pub(super) generation: u64,
    /// When the server's own certificate ends.
    pub(super) not_after: Option<EventTime>,
    parts: Parts,
}

/// The files and what they said last.
pub(super) struct Tls {
    files: TlsFiles,
    current: RwLock<Arc<Loaded>>,
    seen: Mutex<(Vec<Stamp>, Option<String>)>,
}

/// Enough of a file's metadata to notice that it changed.
type Stamp = Option<(u64, u64, i64, i64)>;

impl Tls {
    /// # Errors
    /// Something in the files is wrong.
    pub(super) fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let stamps = files.stamps();
        let current = Loaded::new(Parts::read(&files)?, &files, 0)?;
        Ok(Self { files, current: RwLock::new(Arc::new(current)), seen: Mutex::new((stamps, None)) })
    }

    pub(super) fn current(&self) -> Arc<Loaded> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks whether a file has changed. What is wrong is told once; what was there before it goes on, beside what is right.
    pub(super) fn look(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = self.files.stamps();
        if stamps == seen.0 && seen.1.is_none() {
            return;
        }
        let current = self.current();
        let (parts, mut wrong) = current.parts.renewed(&self.files);
        if parts != current.parts {
            match Loaded::new(parts, &self.files, current.generation + 1) {
                Ok(loaded) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
                    info!("certificates read anew");
                }
                Err(error) => wrong.push(error),
            }
        }
        let wrong: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        let text = (!wrong.is_empty()).then(|| wrong.join("; "));
        if let Some(error) = &text
            && seen.1.as_ref() != Some(error)
        {
            warn!(%error, "the new certificates cannot all be used: what was there before stays in use");
        }
        *seen = (stamps, text);
    }
}

impl TlsFiles {
    fn stamps(&self) -> Vec<Stamp> {
        let stamp = |path: &PathBuf| {
            let data = fs::metadata(path).ok()?;
            Some((data.ino(), data.len(), data.mtime(), data.mtime_nsec()))
        };
        [&self.certificate, &self.key, &self.ca].into_iter().chain(&self.crl).map(stamp).collect()
    }

    /// When the server's certificate ends, if the files can be used at all.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(&self) -> Result<Option<EventTime>, TlsError> {
        Loaded::new(Parts::read(self)?, self, 0).map(|loaded| loaded.not_after)
    }
}

/// What the files hold. Each part is replaced by itself: a revocation counts although a renewed certificate is amiss.
#[derive(Clone)]
struct Parts {
    roots: Vec<CertificateDer<'static>>,
    revoked: Option<Vec<CertificateRevocationListDer<'static>>>,
    own: Arc<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl Parts {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        Ok(Self { roots: roots(files)?, revoked: revoked(files)?, own: own(files)? })
    }

    /// Those of the files that can be read and, beside the others, used; what is wrong with the rest.
    fn renewed(&self, files: &TlsFiles) -> (Self, Vec<TlsError>) {
        let (mut parts, mut wrong) = (self.clone(), Vec::new());
        let mut take = |part: Result<Self, TlsError>| {
            match part.and_then(|part| part.config(files).map(|_| part)) {
                Ok(part) => parts = part,
                Err(error) => wrong.push(error),
            }
            parts.clone()
        };
        let held = self.clone();
        let held = take(revoked(files).map(|revoked| Self { revoked, ..held }));
        let held = take(roots(files).map(|roots| Self { roots, ..held }));
        take(own(files).map(|own| Self { own, ..held }));
        (parts, wrong)
    }

    fn config(&self, files: &TlsFiles) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in &self.roots {
            roots.add(certificate.clone()).map_err(|error| TlsError::Pem {
                path: files.ca.clone(),
                what: "certificate of an authority",
                reason: Some(error.to_string()),
            })?;
        }
        let mut verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        if let Some(lists) = &self.revoked {
            // An intermediate authority need not have a list of its own.
            verifier = verifier.with_crls(lists.clone()).only_check_end_entity_revocation();
        }
        let verifier =
            verifier.build().map_err(|source| TlsError::Verifier { ca: files.ca.clone(), source })?;
        let (chain, key) = &*self.own;
        let mut config = ServerConfig::builder_with_provider(provider)
            // Both ends are ours and new: nothing older is needed.
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(TlsError::Setup)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(|source| TlsError::Pair {
                certificate: files.certificate.clone(),
                key: files.key.clone(),
                source,
            })?;
        // A session that is resumed is not asked for its certificate again, revoked or not.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl PartialEq for Parts {
    fn eq(&self, other: &Self) -> bool {
        let (chain, key) = &*self.own;
        let (other_chain, other_key) = &*other.own;
        self.roots == other.roots
            && self.revoked == other.revoked
            && chain == other_chain
            && key.secret_der() == other_key.secret_der()
    }
}

impl Loaded {
    fn new(parts: Parts, files: &TlsFiles, generation: u64) -> Result<Self, TlsError> {
        let config = Arc::new(parts.config(files)?);
        let not_after = parts.own.0.first().and_then(|own| name::not_after(own));
        Ok(Self { config, generation, not_after, parts })
    }
}

fn roots(files: &TlsFiles) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    certificates(&files.ca)
}

fn revoked(files: &TlsFiles) -> Result<Option<Vec<CertificateRevocationListDer<'static>>>, TlsError> {
    files.crl.as_ref().map(|path| pems(path, "revocation list")).transpose()
}

fn own(files: &TlsFiles) -> Result<Arc<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, TlsError> {
    let chain = certificates(&files.certificate)?;
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|error| pem_error(&files.key, "key", error))?;
    Ok(Arc::new((chain, key)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    pems(path, "certificate")
}

fn pems<T: pem::PemObject>(path: &Path, what: &'static str) -> Result<Vec<T>, TlsError> {
    let read = || T::pem_file_iter(path)?.collect::<Result<Vec<T>, pem::Error>>();
    let found = read().map_err(|error| pem_error(path, what, error))?;
    if found.is_empty() {
        return Err(TlsError::Pem { path: path.to_owned(), what, reason: None });
    }
    Ok(found)
}

fn pem_error(path: &Path, what: &'static str, error: pem::Error) -> TlsError {
    let path = path.to_owned();
    match error {
        pem::Error::Io(source) => TlsError::Read { path, source },
        pem::Error::NoItemsFound => TlsError::Pem { path, what, reason: None },
        other => TlsError::Pem { path, what, reason: Some(other.to_string()) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::{self, Authority, Subject};
    use crate::time;

    #[test]
    fn a_revocation_counts_although_a_renewed_certificate_is_amiss() {
        let dir = tempfile::tempdir().unwrap();
        let now = time::parse("2026-11-02T10:00:00Z").unwrap();
        ca::init(dir.path(), "site", 30, now).unwrap();
        let mut authority = Authority::open(dir.path()).unwrap();
        let server = Subject::Server(vec!["localhost".to_owned()]);
        let own = authority.issue(&server, 30, None, now).unwrap();
        let sensor = Subject::Sensor { host: "web-1".to_owned(), instance: None };
        authority.issue(&sensor, 30, None, now).unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("own.pem"), &own.certificate_pem).unwrap();
        fs::write(path("own.key"), own.key_pem.unwrap()).unwrap();
        let files = TlsFiles {
            certificate: path("own.pem"),
            key: path("own.key"),
            ca: path(ca::CERTIFICATE),
            crl: Some(path(ca::REVOKED)),
        };
        let tls = Tls::open(files).unwrap();
        let before = tls.current();

        fs::write(path("own.pem"), "half a certif").unwrap();
        authority.revoke("web-1", now).unwrap();
        tls.look();
        let after = tls.current();
        assert_eq!(after.generation, before.generation + 1);
        assert!(after.parts.revoked != before.parts.revoked, "the revocation counts");
        assert!(after.parts.own.0 == before.parts.own.0, "the certificate before goes on");
        assert!(tls.seen.lock().unwrap().1.as_ref().unwrap().contains("own.pem"));

        tls.look();
        assert_eq!(tls.current().generation, after.generation, "nothing changed: nobody has to come again");
        fs::write(path("own.pem"), &own.certificate_pem).unwrap();
        tls.look();
        assert_eq!(tls.seen.lock().unwrap().1, None, "all is well again");
    }
}
