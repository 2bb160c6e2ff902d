//! A certificate authority for one run, so that clients speak to AWS's own host names over TLS and never notice.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// The names the stand-in answers to, which the namespace's hosts file points at it.
pub const HOST_NAMES: &[&str] = &[
    "cloudfront.amazonaws.com",
    "cloudtrail.us-east-1.amazonaws.com",
    "dynamodb.us-east-1.amazonaws.com",
    "ec2-instance-connect.us-east-1.amazonaws.com",
    "ec2.us-east-1.amazonaws.com",
    "elasticloadbalancing.us-east-1.amazonaws.com",
    "guardduty.us-east-1.amazonaws.com",
    "iam.amazonaws.com",
    "kms.us-east-1.amazonaws.com",
    "lambda.us-east-1.amazonaws.com",
    "rds.us-east-1.amazonaws.com",
    "s3.amazonaws.com",
    "s3.us-east-1.amazonaws.com",
    "secretsmanager.us-east-1.amazonaws.com",
    "ssm.us-east-1.amazonaws.com",
    "sts.amazonaws.com",
    "sts.us-east-1.amazonaws.com",
];

pub struct Authority {
    /// What clients must trust, as PEM.
    pub root_pem: String,
    pub acceptor: TlsAcceptor,
}

impl Authority {
    /// Makes a root and a leaf for [`HOST_NAMES`]; both die with the process.
    ///
    /// # Errors
    /// When the keys cannot be made.
    pub fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let root_key = KeyPair::generate()?;
        let mut root = CertificateParams::default();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.distinguished_name.push(DnType::CommonName, "groundtrail stage");
        let root_pem = root.self_signed(&root_key)?.pem();

        let leaf_key = KeyPair::generate()?;
        let names: Vec<String> = HOST_NAMES.iter().map(|name| (*name).to_owned()).collect();
        let leaf =
            CertificateParams::new(names)?.signed_by(&leaf_key, &Issuer::from_params(&root, &root_key))?;

        let key = PrivateKeyDer::try_from(leaf_key.serialize_der())?;
        let config = ServerConfig::builder_with_provider(Arc::new(
            tokio_rustls::rustls::crypto::ring::default_provider(),
        ))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)?;
        Ok(Authority { root_pem, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }
}
