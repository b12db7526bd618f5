//! A client's connection, or another server's: HTTP/1.1 with keep-alive, one request at a time.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

use super::Error;

/// Clients come from so many addresses, where the server is on this machine: servers limit what one address may open.
const SOURCES: u8 = 8;

/// What a server answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The whole body.
    pub body: Bytes,
}

/// A connection that is opened when it is first needed, and again after the server has closed it.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    source: Option<SocketAddr>,
    tls: Option<Arc<ClientConfig>>,
    open: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    /// To the server at `address`, in the name of `user`; not open yet.
    #[must_use]
    pub fn new(address: SocketAddr, user: &str) -> Self {
        let own = user.bytes().fold(0, u8::wrapping_add) % SOURCES;
        let is_here = matches!(address.ip(), IpAddr::V4(address) if address.is_loopback());
        let source = Ipv4Addr::new(127, 0, 0, 1 + own);
        Self {
            address,
            source: is_here.then(|| SocketAddr::new(source.into(), 0)),
            tls: None,
            open: None,
        }
    }

    /// To a server that is named by this address, with TLS; not open yet.
    #[must_use]
    pub fn secure(address: SocketAddr, tls: Arc<ClientConfig>) -> Self {
        Self {
            address,
            source: None,
            tls: Some(tls),
            open: None,
        }
    }

    /// Closes it. Needed after a request whose answer wasn't waited for.
    pub fn close(&mut self) {
        self.open = None;
    }

    /// Sends a request of the user with this access token (`path` from the first slash on, `body` as JSON) and reads the
    /// whole answer.
    ///
    /// # Errors
    /// When the connection fails. It is tried once more if it failed before anything was sent.
    pub async fn request(
        &mut self,
        method: &Method,
        path: &str,
        token: Option<&str>,
        body: Option<Bytes>,
    ) -> Result<Answer, Error> {
        let authorization = token.map(|token| format!("Bearer {token}"));
        self.authorized(method, path, authorization.as_deref(), body)
            .await
    }

    /// As [`Connection::request`], with this `Authorization` header.
    ///
    /// # Errors
    /// As [`Connection::request`].
    pub async fn authorized(
        &mut self,
        method: &Method,
        path: &str,
        authorization: Option<&str>,
        body: Option<Bytes>,
    ) -> Result<Answer, Error> {
        let request = || self.as_request(method, path, authorization, body.clone());
        let request = (request()?, request()?);
        let mut sender = self.ready().await?;
        let answer = match sender.send_request(request.0).await {
            // The server closed the connection while it was idle.
            Err(error) if error.is_canceled() => {
                sender = self.ready().await?;
                sender.send_request(request.1).await?
            }
            answer => answer?,
        };
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        self.open = Some(sender);
        Ok(Answer { status, body })
    }

    fn as_request(
        &self,
        method: &Method,
        path: &str,
        authorization: Option<&str>,
        body: Option<Bytes>,
    ) -> Result<Request<Full<Bytes>>, Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string());
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        request
            .body(Full::new(body.unwrap_or_default()))
            .map_err(|error| Error::Request(error.to_string()))
    }

    async fn ready(&mut self) -> Result<SendRequest<Full<Bytes>>, Error> {
        if let Some(mut sender) = self.open.take()
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        let socket = match self.address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if let Some(source) = self.source {
            socket.bind(source)?;
        }
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            Some(config) => {
                let connector = TlsConnector::from(Arc::clone(config));
                let name = ServerName::IpAddress(self.address.ip().into());
                opened(connector.connect(name, stream).await?).await
            }
            None => opened(stream).await,
        }
    }
}

async fn opened<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    // Its errors reach who waits for an answer.
    tokio::spawn(connection);
    sender.ready().await?;
    Ok(sender)
}
