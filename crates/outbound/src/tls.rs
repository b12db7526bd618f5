//! Whose certificates are believed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use thiserror::Error;

/// Whose certificates are believed.
#[derive(Debug, Clone, Default)]
pub struct TlsOptions {
    /// PEM files of authorities that are trusted besides the system's.
    pub extra_ca_files: Vec<PathBuf>,
    /// Whether any certificate is taken: for tests.
    pub trusts_all: bool,
}

/// Why there is no TLS.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file holds no certificate that can be trusted.
    #[error("{} holds no certificate of an authority", .0.display())]
    NoAuthority(PathBuf),
    /// The library refuses.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
}

/// The configuration of all connections that the server opens.
///
/// # Errors
/// When a file cannot be read, or holds no authority.
pub fn tls_config(options: &TlsOptions) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    if options.trusts_all {
        let verifier = Arc::new(TrustAll { provider });
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        return Ok(builder.with_no_client_auth());
    }
    let roots = roots(options)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn roots(options: &TlsOptions) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::warn!("cannot read the system's certificate authorities: {error}");
    }
    let (added, _) = roots.add_parsable_certificates(system.certs);
    if added == 0 && options.extra_ca_files.is_empty() {
        tracing::warn!("the system has no certificate authorities: no other server can be trusted");
    }
    for path in &options.extra_ca_files {
        add_authorities(&mut roots, path)?;
    }
    Ok(roots)
}

/// Whether a file holds authorities that can be trusted.
///
/// # Errors
/// When it cannot be read, or holds none.
pub fn check_authorities(path: &Path) -> Result<(), TlsError> {
    add_authorities(&mut RootCertStore::empty(), path)
}

fn add_authorities(roots: &mut RootCertStore, path: &Path) -> Result<(), TlsError> {
    let bytes = std::fs::read(path).map_err(|error| TlsError::File {
        path: path.to_owned(),
        error,
    })?;
    let certificates = CertificateDer::pem_slice_iter(&bytes).filter_map(Result::ok);
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(TlsError::NoAuthority(path.to_owned()));
    }
    Ok(())
}

/// Takes any certificate.
#[derive(Debug)]
struct TrustAll {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for TrustAll {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
