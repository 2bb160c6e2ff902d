//! The sensor's side of TLS: who the correlator must be, and who we are. The files are read at each connection, so that
//! renewed certificates count without a restart.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls;

use rustls::client::Resumption;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The files, as the configuration names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Who signs the correlator's certificate.
    pub ca: PathBuf,
    /// Ours, which names this host.
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read \"{}\": it has to be the sensor's user's to read", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("\"{}\" holds no {what} in PEM form", .path.display())]
    Pem { path: PathBuf, what: &'static str },
    #[error("certificate \"{}\" and key \"{}\" do not go together", certificate.display(), key.display())]
    Pair { certificate: PathBuf, key: PathBuf, source: rustls::Error },
    #[error("\"{}\" holds no authority that can be used", path.display())]
    Root { path: PathBuf, source: rustls::Error },
    #[error("TLS cannot be set up")]
    Setup(#[from] rustls::Error),
}

impl TlsFiles {
    /// # Errors
    /// A file cannot be read, or does not hold what it should.
    pub fn connector(&self) -> Result<TlsConnector, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.ca)? {
            roots.add(certificate).map_err(|source| TlsError::Root { path: self.ca.clone(), source })?;
        }
        let chain = certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|err| pem_error(&self.key, "key", err))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(|source| TlsError::Pair {
                certificate: self.certificate.clone(),
                key: self.key.clone(),
                source,
            })?;
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

impl TlsFiles {
    /// When our certificate ends, in seconds since 1970.
    ///
    /// # Errors
    /// As [`Self::connector`].
    pub fn ends(&self) -> Result<i64, TlsError> {
        let wrong = || TlsError::Pem { path: self.certificate.clone(), what: "certificate" };
        let chain = certificates(&self.certificate)?;
        let own = chain.first().ok_or_else(wrong)?;
        let (_, own) = X509Certificate::from_der(own).map_err(|_damaged| wrong())?;
        Ok(own.validity().not_after.timestamp())
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let what = "certificate";
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, pem::Error>>();
    let found = read().map_err(|err| pem_error(path, what, err))?;
    if found.is_empty() { Err(TlsError::Pem { path: path.to_owned(), what }) } else { Ok(found) }
}

fn pem_error(path: &Path, what: &'static str, err: pem::Error) -> TlsError {
    let path = path.to_owned();
    match err {
        pem::Error::Io(source) => TlsError::Read { path, source },
        _ => TlsError::Pem { path, what },
    }
}
