//! Who certifies the measured servers and the one that they join rooms through, for one run.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use super::ResidentError;

/// Where all of them are.
pub const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// An authority, and a certificate of [`ADDRESS`], in files.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
    root: CertificateDer<'static>,
    certificate: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// When there is no randomness, or the files cannot be written.
    pub fn new() -> Result<Self, ResidentError> {
        let root_key = KeyPair::generate()?;
        let mut root = named("the authority of a benchmark");
        root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root_certificate = root.self_signed(&root_key)?;
        let key = KeyPair::generate()?;
        let mut params = named(&ADDRESS.to_string());
        params.subject_alt_names = vec![SanType::IpAddress(ADDRESS)];
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &Issuer::new(root, root_key))?;
        let made = Self {
            folder: TempDir::with_prefix("starling-bench.")?,
            root: root_certificate.der().clone(),
            certificate: certificate.der().clone(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()),
        };
        fs::write(made.file(), root_certificate.pem())?;
        fs::write(made.certificate(), certificate.pem())?;
        fs::write(made.key(), key.serialize_pem())?;
        Ok(made)
    }

    /// The file of what servers must trust.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.path().join("authority.pem")
    }

    /// The file of the certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.path().join("certificate.pem")
    }

    /// The file of its key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.path().join("key.pem")
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes connections in the name of [`ADDRESS`].
    ///
    /// # Errors
    /// When the library refuses.
    pub fn acceptor(&self) -> Result<TlsAcceptor, ResidentError> {
        let key = PrivateKeyDer::Pkcs8(self.key.clone_key());
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// For connections to those whom it certified.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn client(&self) -> Result<Arc<ClientConfig>, ResidentError> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone())?;
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(config))
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    // Issuer and subject must differ: otherwise it would pass for one that signed itself.
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
