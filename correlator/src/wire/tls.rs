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
        let current = Loaded::read(&files, 0)?;
        Ok(Self { files, current: RwLock::new(Arc::new(current)), seen: Mutex::new((stamps, None)) })
    }

    pub(super) fn current(&self) -> Arc<Loaded> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks whether a file has changed. What is wrong is told once, and what was right before goes on.
    pub(super) fn look(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = self.files.stamps();
        if stamps == seen.0 && seen.1.is_none() {
            return;
        }
        let generation = self.current().generation + 1;
        match Loaded::read(&self.files, generation) {
            Ok(loaded) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
                info!("certificates read anew");
                *seen = (stamps, None);
            }
            Err(error) => {
                let text = error.to_string();
                if seen.1.as_ref() != Some(&text) {
                    warn!(%error, "the new certificates cannot be used: those before stay in use");
                }
                *seen = (stamps, Some(text));
            }
        }
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
        Loaded::read(self, 0).map(|loaded| loaded.not_after)
    }
}

impl Loaded {
    fn read(files: &TlsFiles, generation: u64) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&files.ca)? {
            roots.add(certificate).map_err(|error| TlsError::Pem {
                path: files.ca.clone(),
                what: "certificate of an authority",
                reason: Some(error.to_string()),
            })?;
        }
        let mut verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        if let Some(path) = &files.crl {
            let lists: Vec<CertificateRevocationListDer<'static>> = pems(path, "revocation list")?;
            // An intermediate authority need not have a list of its own.
            verifier = verifier.with_crls(lists).only_check_end_entity_revocation();
        }
        let verifier =
            verifier.build().map_err(|source| TlsError::Verifier { ca: files.ca.clone(), source })?;
        let chain = certificates(&files.certificate)?;
        let not_after = chain.first().and_then(|own| name::not_after(own));
        let key =
            PrivateKeyDer::from_pem_file(&files.key).map_err(|error| pem_error(&files.key, "key", error))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            // Both ends are ours and new: nothing older is needed.
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(TlsError::Setup)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(|source| TlsError::Pair {
                certificate: files.certificate.clone(),
                key: files.key.clone(),
                source,
            })?;
        // A session that is resumed is not asked for its certificate again, revoked or not.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), generation, not_after })
    }
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
