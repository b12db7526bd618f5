//! Opens connections: finds the addresses of a name, tries them in turn, and makes sure of the certificate.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use crate::authority::Host;
use crate::locator::Places;
use crate::{Authority, OutboundError};

/// How long one address may take to answer at all.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// How long the handshake may take.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// So many addresses of a name are tried.
const ADDRESSES_TRIED: usize = 4;

/// Which names stand for what.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Finds {
    /// Matrix servers.
    Matrix,
    /// Web servers.
    Web,
}

/// Opens connections to the servers that URIs name.
#[derive(Clone)]
pub(crate) struct Connector {
    finds: Finds,
    places: Places,
    tls: TlsConnector,
}

/// A connection over TLS.
pub(crate) struct TlsConnection(TokioIo<TlsStream<TcpStream>>);

impl Connector {
    pub(crate) fn new(finds: Finds, places: Places, tls: &ClientConfig) -> Self {
        let mut tls = tls.clone();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self {
            finds,
            places,
            tls: TlsConnector::from(Arc::new(tls)),
        }
    }

    async fn connect(self, uri: Uri) -> Result<TlsConnection, OutboundError> {
        let authority = uri
            .authority()
            .and_then(|name| Authority::parse(name.as_str()));
        let authority =
            authority.ok_or_else(|| OutboundError::Request(format!("{uri} names no server")))?;
        let found = match self.finds {
            Finds::Matrix => self.places.matrix(&authority).await?,
            Finds::Web => self.places.web(&authority).await?,
        };
        let mut failure = OutboundError::NoAddress(authority.to_string());
        for address in found.into_iter().take(ADDRESSES_TRIED) {
            match self.connect_to(address, &authority).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn connect_to(
        &self,
        address: SocketAddr,
        authority: &Authority,
    ) -> Result<TlsConnection, OutboundError> {
        let broken = |error: io::Error| OutboundError::Connection(format!("{address}: {error}"));
        let stream = timeout(CONNECT_PATIENCE, TcpStream::connect(address))
            .await
            .map_err(|_| OutboundError::Timeout(CONNECT_PATIENCE))?
            .map_err(broken)?;
        stream.set_nodelay(true).map_err(broken)?;
        let name = certificate_name(authority)?;
        let stream = timeout(HANDSHAKE_PATIENCE, self.tls.connect(name, stream))
            .await
            .map_err(|_| OutboundError::Timeout(HANDSHAKE_PATIENCE))?
            .map_err(broken)?;
        Ok(TlsConnection(TokioIo::new(stream)))
    }
}

/// Whom the certificate must name. For an address nothing is said to the server of it (no SNI).
fn certificate_name(authority: &Authority) -> Result<ServerName<'static>, OutboundError> {
    match authority.host() {
        Host::Address(address) => Ok(ServerName::IpAddress((*address).into())),
        Host::Name(name) => ServerName::try_from(name.to_string())
            .map_err(|_| OutboundError::Request(format!("{name} is no host name"))),
    }
}

impl Service<Uri> for Connector {
    type Response = TlsConnection;
    type Error = OutboundError;
    type Future = BoxFuture<'static, Result<TlsConnection, OutboundError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OutboundError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("finds", &self.finds)
            .field("places", &self.places)
            .finish_non_exhaustive()
    }
}

impl Connection for TlsConnection {
    fn connected(&self) -> Connected {
        let (_, session) = self.0.inner().get_ref();
        if session.alpn_protocol() == Some(b"h2") {
            Connected::new().negotiated_h2()
        } else {
            Connected::new()
        }
    }
}

impl Read for TlsConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for TlsConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }
}
