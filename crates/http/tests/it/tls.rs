//! TLS listeners: certificates, their renewal, and peers that do not shake hands.

use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use starling_config::{Listener, Tls};
use starling_http::{
    Auth, Certificates, JsonBytes, Limits, ListenError, Routes, Server, Shutdown, TlsError,
};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::fixture::{app, loopback, read_to_end};

/// Writes a new certificate for `localhost` and its key, and gives the certificate.
fn write_certificate(folder: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.join("cert.pem"), cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), signing_key.serialize_pem()).unwrap();
    cert.der().clone()
}

fn listener(folder: &Path) -> Listener {
    let tls = Tls {
        certificate: folder.join("cert.pem"),
        key: folder.join("key.pem"),
    };
    Listener {
        tls: Some(tls),
        ..loopback()
    }
}

async fn start(folder: &Path, limits: Limits) -> (SocketAddr, Certificates) {
    let mut server = Server::new(limits, Shutdown::new());
    let routes = Routes::new().get("/x", Auth::None, async || JsonBytes::empty());
    let address = server.listen(&listener(folder), app(routes)).await.unwrap();
    let certificates = server.certificates();
    tokio::spawn(server.run());
    (address, certificates)
}

/// A connection that trusts only this certificate.
async fn connect(
    address: SocketAddr,
    trusted: CertificateDer<'static>,
    alpn: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from("localhost").unwrap(), stream)
        .await
}

#[tokio::test]
async fn requests_over_tls() {
    let folder = TempDir::new().unwrap();
    let certificate = write_certificate(folder.path());
    let (address, _) = start(folder.path(), Limits::default()).await;
    let mut stream = connect(address, certificate.clone(), "http/1.1")
        .await
        .unwrap();
    stream
        .write_all(b"GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("{}"),
        "{answer}"
    );
    let stream = connect(address, certificate, "h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_on_reload() {
    let folder = TempDir::new().unwrap();
    let old = write_certificate(folder.path());
    let (address, certificates) = start(folder.path(), Limits::default()).await;
    let new = write_certificate(folder.path());
    connect(address, old.clone(), "h2").await.unwrap();
    assert!(connect(address, new.clone(), "h2").await.is_err());
    certificates.reload().unwrap();
    connect(address, new.clone(), "h2").await.unwrap();
    assert!(connect(address, old, "h2").await.is_err());
    // A reload that fails leaves what there is.
    fs::write(folder.path().join("cert.pem"), "nothing").unwrap();
    assert!(matches!(
        certificates.reload(),
        Err(TlsError::NoCertificate(_))
    ));
    connect(address, new, "h2").await.unwrap();
}

#[tokio::test]
async fn a_peer_that_does_not_shake_hands_is_dropped() {
    let folder = TempDir::new().unwrap();
    write_certificate(folder.path());
    let limits = Limits {
        tls_handshake: Duration::from_millis(200),
        ..Limits::default()
    };
    let (address, _) = start(folder.path(), limits).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, "");
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_named() {
    let folder = TempDir::new().unwrap();
    let refused = async || {
        let mut server = Server::new(Limits::default(), Shutdown::new());
        match server
            .listen(&listener(folder.path()), app(Routes::new()))
            .await
        {
            Err(ListenError::Tls(_, error)) => error,
            other => panic!("{other:?}"),
        }
    };
    let error = refused().await;
    assert!(
        matches!(error, TlsError::Certificate(..)) && error.source().is_some(),
        "{error}"
    );
    write_certificate(folder.path());
    let key = fs::read(folder.path().join("key.pem")).unwrap();
    write_certificate(folder.path());
    fs::write(folder.path().join("key.pem"), key).unwrap();
    assert!(matches!(refused().await, TlsError::Pair(..)));
    fs::write(folder.path().join("key.pem"), "").unwrap();
    let error = refused().await;
    assert!(
        matches!(error, TlsError::Key(..)) && error.to_string().contains("key.pem"),
        "{error}"
    );
}
