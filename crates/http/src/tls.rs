//! TLS: certificates from PEM files, read again when asked.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use starling_config::Tls;
use tokio_rustls::TlsAcceptor;

/// A certificate or key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate's file is no PEM or cannot be read.
    #[error("the certificate cannot be read from {path}", path = .0.display())]
    Certificate(PathBuf, #[source] pem::Error),
    /// The certificate's file holds none.
    #[error("{path} holds no certificate", path = .0.display())]
    NoCertificate(PathBuf),
    /// The key's file is no PEM or cannot be read.
    #[error("the private key cannot be read from {path}", path = .0.display())]
    Key(PathBuf, #[source] pem::Error),
    /// They don't belong together, or are of a kind that is not known.
    #[error("the certificate of {certificate} and the key of {key} cannot be used together", certificate = .0.display(), key = .1.display())]
    Pair(PathBuf, PathBuf, #[source] rustls::Error),
    /// TLS itself could not be set up.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// The certificates of all listeners.
#[derive(Debug, Clone, Default)]
pub struct Certificates {
    resolvers: Vec<Arc<Resolver>>,
}

impl Certificates {
    /// Reads all files again, for connections from now on.
    ///
    /// # Errors
    /// When a file cannot be used; that listener goes on with the certificate that it has, and the others get theirs.
    pub fn reload(&self) -> Result<(), TlsError> {
        let mut result = Ok(());
        for resolver in &self.resolvers {
            match read(&resolver.files) {
                Ok(key) => *resolver.current.write() = key,
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }

    /// Whether a listener could use these files now.
    ///
    /// # Errors
    /// When they cannot be read, are no PEM or don't belong together.
    pub fn check(files: &Tls) -> Result<(), TlsError> {
        read(files).map(drop)
    }

    /// Reads a listener's certificate, to accept connections with it.
    pub(crate) fn add(&mut self, files: &Tls) -> Result<TlsAcceptor, TlsError> {
        let resolver = Arc::new(Resolver {
            files: files.clone(),
            current: RwLock::new(read(files)?),
        });
        let builder = ServerConfig::builder_with_provider(Arc::new(provider()));
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?;
        let mut config = builder
            .with_no_client_auth()
            .with_cert_resolver(resolver.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        self.resolvers.push(resolver);
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}

fn read(files: &Tls) -> Result<Arc<CertifiedKey>, TlsError> {
    let unreadable = |error| TlsError::Certificate(files.certificate.clone(), error);
    let chain = CertificateDer::pem_file_iter(&files.certificate).map_err(unreadable)?;
    let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(unreadable)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(files.certificate.clone()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| TlsError::Key(files.key.clone(), error))?;
    let pair = CertifiedKey::from_der(chain, key, &provider());
    pair.map(Arc::new)
        .map_err(|error| TlsError::Pair(files.certificate.clone(), files.key.clone(), error))
}

/// Gives a listener's present certificate to each new connection.
struct Resolver {
    files: Tls,
    current: RwLock<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().clone())
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}
