//! Serves it with TLS, on loopback.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::authority::{ADDRESS, Authority};
use super::{Resident, ResidentError};

/// A server that can be reached by its name, until this is dropped.
#[derive(Debug)]
pub struct Listening {
    /// The server.
    pub resident: Arc<Resident>,
    accepting: JoinHandle<()>,
}

impl Listening {
    /// Starts one without rooms, on a free port.
    ///
    /// # Errors
    /// When there is none, or no TLS.
    pub async fn start(authority: &Authority) -> Result<Self, ResidentError> {
        let listener = TcpListener::bind((ADDRESS, 0)).await?;
        let name = listener.local_addr()?.to_string();
        let resident = Arc::new(Resident::new(&name));
        let accepting = tokio::spawn(accept(listener, authority.acceptor()?, resident.clone()));
        Ok(Self {
            resident,
            accepting,
        })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, resident: Arc<Resident>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, acceptor.clone(), resident.clone()));
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, resident: Arc<Resident>) {
    stream.set_nodelay(true).ok();
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let service = service_fn(move |request| answered(resident.clone(), request));
    let server = auto::Builder::new(TokioExecutor::new());
    let connection = server.serve_connection(TokioIo::new(stream), service);
    // It ends when the other side goes.
    connection.await.ok();
}

async fn answered(
    resident: Arc<Resident>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    // What isn't whole is answered to nobody.
    let body = body.collect().await.map(Collected::to_bytes);
    let uri = head.uri.path_and_query().map_or("", |uri| uri.as_str());
    let (status, body) = resident.answer(head.method.as_str(), uri, &body.unwrap_or_default());
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}
