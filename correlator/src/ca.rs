//! A small site's own certificate authority: a folder with a key, a book of what was issued, and a revocation list.
//!
//! It signs two kinds of certificate: a server's, which names the machine the correlator listens on, and a sensor's, which
//! names the host it speaks for. Nothing of it runs: it is opened by a command, and closed with it.

mod book;
mod files;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertificateSigningRequestParams,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rules::event::{EventTime, Span};
use sha2::{Digest as _, Sha256};

use crate::hex::hex;
use crate::wire::name;
use book::Book;
pub use book::{Entry, Kind, State};
pub use files::{make_folder, write_private, write_public};

pub const CERTIFICATE: &str = "ca.pem";
pub const REVOKED: &str = "crl.pem";
const KEY: &str = "ca.key";
const LOCK: &str = "lock";
/// What certificates are not issued to: their files would be called as the authority's own.
const OWN_NAMES: [&str; 2] = ["ca", "crl"];
const DAY: Span = Span::from_secs(24 * 3_600);
/// Clocks differ, and a certificate that is not valid yet helps nobody.
const HEAD_START: Span = Span::from_secs(300);

#[derive(Debug, thiserror::Error)]
pub enum CaError {
    #[error("there is an authority in \"{}\" already: use it, or give another --dir", .0.display())]
    Exists(PathBuf),
    #[error("there is no authority in \"{}\": make one with `groundtrail ca init`, or give its folder with --dir", .0.display())]
    Missing(PathBuf),
    #[error("another `groundtrail ca` works in \"{}\": wait for it", .0.display())]
    Busy(PathBuf),
    #[error("\"{}\": {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("\"{}\" is damaged: {reason}; restore it from a copy", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("the authority ended on {0}: make another with `groundtrail ca init` in a new folder")]
    Ended(String),
    #[error(
        "\"{0}\" cannot be a host id: letters, digits, \".\", \"_\", \":\" and \"-\", at most 128 of them; \
         `groundtrail-sensor doctor` prints the host's"
    )]
    HostId(String),
    #[error("\"{0}\" is no instance id: it is \"i-\" and 8 or 17 hex digits")]
    InstanceId(String),
    #[error("\"{0}\" is neither a host name nor an address")]
    ServerName(String),
    #[error(
        "\"{0}\" cannot be a name here: the files would take the place of the authority's own \"{0}.pem\""
    )]
    Reserved(&'static str),
    #[error("the signing request cannot be used: {0}")]
    Request(String),
    #[error("nothing was issued to \"{0}\" and no serial number begins with it: see `groundtrail ca list`")]
    Unknown(String),
    #[error("cannot sign: {0}")]
    Sign(#[from] rcgen::Error),
}

/// Whom a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Host names and addresses under which sensors reach the correlator.
    Server(Vec<String>),
    /// The `host.id` of a sensor, and the instance it may speak for where that is not the id itself.
    Sensor { host: String, instance: Option<String> },
}

/// A certificate that was just signed.
#[derive(Debug)]
pub struct Issued {
    pub entry: Entry,
    pub certificate_pem: String,
    /// None where the host made its key itself.
    pub key_pem: Option<String>,
    /// Older ones for the same name that are still good.
    pub others: Vec<Entry>,
}

/// An opened folder. Nobody else changes it meanwhile.
pub struct Authority {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    ends: EventTime,
    book: Book,
    _lock: File,
}

/// Makes an authority in a folder that has none.
///
/// # Errors
/// There is one already, or the folder cannot be written.
pub fn init(dir: &Path, site: &str, days: u32, now: EventTime) -> Result<(), CaError> {
    make_folder(dir)?;
    let _lock = files::lock(&dir.join(LOCK), dir)?;
    // One that broke off before its key was there is made anew; one whose key is kept elsewhere has issued something.
    let is_in_use =
        || dir.join(CERTIFICATE).exists() && !Book::read(dir).is_ok_and(|book| book.entries.is_empty());
    if dir.join(KEY).exists() || is_in_use() {
        return Err(CaError::Exists(dir.to_owned()));
    }
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, site);
    // It signs what sensors and servers use, and no further authorities.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ends = now + days_long(days);
    params.not_before = date_time_ymd(1970, 1, 1) + since_1970(now - HEAD_START);
    params.not_after = date_time_ymd(1970, 1, 1) + since_1970(ends);
    let certificate = params.self_signed(&key)?;
    let book = Book { ends, ..Book::default() };
    let issuer = Issuer::new(params, key);
    book.write(dir)?;
    write_revoked(dir, &book, &issuer, now)?;
    write_public(&dir.join(CERTIFICATE), certificate.pem().as_bytes())?;
    // Last: with its key the authority is there.
    write_private(&dir.join(KEY), issuer.key().serialize_pem().as_bytes())
}

impl Authority {
    /// # Errors
    /// It is not there, damaged, or in use.
    pub fn open(dir: &Path) -> Result<Self, CaError> {
        if !dir.join(KEY).exists() {
            return Err(CaError::Missing(dir.to_owned()));
        }
        let lock = files::lock(&dir.join(LOCK), dir)?;
        let damaged = |name: &str| {
            let path = dir.join(name);
            move |error: rcgen::Error| CaError::Damaged { path, reason: error.to_string() }
        };
        let key = KeyPair::from_pem(&files::read(&dir.join(KEY))?).map_err(damaged(KEY))?;
        let certificate_pem = files::read(&dir.join(CERTIFICATE))?;
        let issuer = Issuer::from_ca_cert_pem(&certificate_pem, key).map_err(damaged(CERTIFICATE))?;
        let book = Book::read(dir)?;
        Ok(Self { dir: dir.to_owned(), issuer, certificate_pem, ends: book.ends, book, _lock: lock })
    }

    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Everything that was ever issued, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.book.entries
    }

    pub fn ends(&self) -> EventTime {
        self.ends
    }

    /// Signs a certificate for a key made here, or for that of a request. A request's own wishes (names, uses) do not
    /// count: what a certificate says is decided here.
    ///
    /// # Errors
    /// A name that cannot be, an authority that ended, or a folder that cannot be written: then nothing is issued.
    pub fn issue(
        &mut self,
        subject: &Subject,
        days: u32,
        request_pem: Option<&str>,
        now: EventTime,
    ) -> Result<Issued, CaError> {
        if now >= self.ends {
            return Err(CaError::Ended(crate::time::format(self.ends)));
        }
        if let Some(stem) = OWN_NAMES.into_iter().find(|own| *own == subject.name()) {
            return Err(CaError::Reserved(stem));
        }
        let mut params = subject.params()?;
        // Nothing outlives who signed it.
        let not_after = (now + days_long(days)).min(self.ends);
        params.not_before = date_time_ymd(1970, 1, 1) + since_1970(now - HEAD_START);
        params.not_after = date_time_ymd(1970, 1, 1) + since_1970(not_after);
        params.use_authority_key_identifier_extension = true;
        let own = if request_pem.is_none() { Some(KeyPair::generate()?) } else { None };
        let request = request_pem
            .map(CertificateSigningRequestParams::from_pem)
            .transpose()
            .map_err(|error| CaError::Request(error.to_string()))?;
        let serial = serial(own.as_ref(), request.as_ref(), now);
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        let certificate = match (&own, &request) {
            (Some(key), _) => params.signed_by(key, &self.issuer)?,
            (None, Some(request)) => params.signed_by(&request.public_key, &self.issuer)?,
            (None, None) => unreachable!("a key is made where no request brings one"),
        };
        let others = self.book.good(subject.kind(), subject.name(), now).cloned().collect();
        let entry = Entry {
            serial: hex(&serial),
            kind: subject.kind(),
            names: subject.names(),
            not_before: now,
            not_after,
            revoked: None,
        };
        self.book.entries.push(entry.clone());
        // What is not in the book cannot be revoked, so it is there before anybody has the certificate.
        self.book.write(&self.dir)?;
        let key_pem = own.map(|key| key.serialize_pem());
        Ok(Issued { entry, certificate_pem: certificate.pem(), key_pem, others })
    }

    /// Revokes all of a name, or the one whose serial number begins so. Returns those that were good until now.
    ///
    /// # Errors
    /// Nothing of the kind was issued, or the folder cannot be written.
    pub fn revoke(&mut self, what: &str, now: EventTime) -> Result<Vec<Entry>, CaError> {
        let mut is_known = false;
        let mut revoked = Vec::new();
        for entry in self.book.entries.iter_mut().filter(|entry| entry.is_called(what)) {
            is_known = true;
            if entry.revoked.is_none() {
                entry.revoked = Some(now);
                revoked.push(entry.clone());
            }
        }
        if !is_known {
            return Err(CaError::Unknown(what.to_owned()));
        }
        self.book.n_lists += 1;
        self.book.write(&self.dir)?;
        write_revoked(&self.dir, &self.book, &self.issuer, now)?;
        Ok(revoked)
    }
}

impl Subject {
    /// What it is called in the book and in file names.
    pub fn name(&self) -> &str {
        match self {
            Self::Server(names) => names.first().map_or("server", String::as_str),
            Self::Sensor { host, .. } => host,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Server(_) => Kind::Server,
            Self::Sensor { .. } => Kind::Sensor,
        }
    }

    fn names(&self) -> Vec<String> {
        match self {
            Self::Server(names) => names.clone(),
            Self::Sensor { host, instance } => std::iter::once(host).chain(instance).cloned().collect(),
        }
    }

    fn params(&self) -> Result<CertificateParams, CaError> {
        let mut params = match self {
            Self::Server(names) => {
                if let Some(wrong) = names.iter().find(|name| !is_server_name(name)) {
                    return Err(CaError::ServerName(wrong.clone()));
                }
                let mut params = CertificateParams::new(names.clone())?;
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                params
            }
            Self::Sensor { host, instance } => {
                if !name::is_host_id(host) {
                    return Err(CaError::HostId(host.clone()));
                }
                if let Some(wrong) = instance.as_ref().filter(|id| !name::is_instance_id(id)) {
                    return Err(CaError::InstanceId(wrong.clone()));
                }
                let uri = |uri: String| -> Result<SanType, CaError> {
                    Ok(SanType::URI(Ia5String::try_from(uri).map_err(CaError::Sign)?))
                };
                let mut params = CertificateParams::default();
                params.subject_alt_names.push(uri(format!("{}{host}", name::HOST))?);
                if let Some(instance) = instance {
                    params.subject_alt_names.push(uri(format!("{}{instance}", name::INSTANCE))?);
                }
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
                params
            }
        };
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.distinguished_name = rcgen::DistinguishedName::new();
        // For people who look at it; nobody decides by it. 64 characters is all X.520 allows.
        let shown: String = self.name().chars().take(64).collect();
        params.distinguished_name.push(DnType::CommonName, shown);
        Ok(params)
    }
}

fn is_server_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.parse::<std::net::IpAddr>().is_ok()
        || (name.len() <= 253 && name.strip_prefix("*.").unwrap_or(name).split('.').all(is_label))
}

/// As good as random where the key is, and different for each renewal of a request.
fn serial(
    own: Option<&KeyPair>,
    request: Option<&CertificateSigningRequestParams>,
    now: EventTime,
) -> [u8; 16] {
    use rcgen::PublicKeyData as _;
    let mut hasher = Sha256::new();
    match (own, request) {
        (Some(key), _) => hasher.update(key.der_bytes()),
        (None, Some(request)) => hasher.update(request.public_key.der_bytes()),
        (None, None) => {}
    }
    hasher.update(now.0.to_be_bytes());
    let mut serial = [0; 16];
    serial.copy_from_slice(&hasher.finalize()[..16]);
    // A positive number without a leading nought: the same bytes in every tool.
    serial[0] = serial[0] & 0x7f | 0x40;
    serial
}

fn write_revoked(
    dir: &Path,
    book: &Book,
    issuer: &Issuer<'_, KeyPair>,
    now: EventTime,
) -> Result<(), CaError> {
    let revoked = book.entries.iter().filter_map(|entry| {
        Some(RevokedCertParams {
            serial_number: SerialNumber::from_slice(&from_hex(&entry.serial)),
            revocation_time: date_time_ymd(1970, 1, 1) + since_1970(entry.revoked?),
            reason_code: Some(RevocationReason::Unspecified),
            invalidity_date: None,
        })
    });
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(1970, 1, 1) + since_1970(now - HEAD_START),
        // It is made anew when something is revoked and not by the calendar: a list that ran out would stop the site.
        next_update: date_time_ymd(1970, 1, 1) + since_1970(book.ends),
        crl_number: SerialNumber::from(book.n_lists + 1),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    write_public(&dir.join(REVOKED), list.signed_by(issuer)?.pem()?.as_bytes())
}

fn days_long(days: u32) -> Span {
    Span(DAY.0.saturating_mul(i64::from(days)))
}

fn since_1970(time: EventTime) -> Duration {
    Duration::from_secs(u64::try_from(time.0 / 1_000_000_000).unwrap_or(0))
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
