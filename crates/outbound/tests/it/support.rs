//! Servers on loopback with certificates of one authority, and a table for the name servers.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use starling_outbound::{
    Addresses, Backoff, FederationClient, Health, Identity, Network, NetworkOptions, Ports,
    Resolver, ResolverError, Srv, TlsOptions, tls_config,
};
use starling_runtime::{Chance, Clock};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// An authority whose certificate is in a file.
pub(crate) struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate");
        let folder = TempDir::new().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).expect("a file");
        Self {
            folder,
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    fn acceptor(&self, name: &str) -> TlsAcceptor {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

/// What a server was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) uri: String,
    pub(crate) host: String,
    pub(crate) authorization: String,
    pub(crate) body: Bytes,
    pub(crate) version: http::Version,
}

/// A server on loopback.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) port: u16,
    pub(crate) asked: Arc<Mutex<Vec<Asked>>>,
    pub(crate) connections: Arc<Mutex<usize>>,
    answer: Arc<Mutex<Response<Bytes>>>,
    answers_to: Arc<Mutex<HashMap<String, Response<Bytes>>>>,
}

/// A port that nothing listens on.
pub(crate) async fn dead_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a port");
    listener.local_addr().expect("an address").port()
}

impl Peer {
    /// A server with a certificate for this name, at 127.0.0.1.
    pub(crate) async fn start(authority: &Authority, name: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port");
        let peer = Self {
            port: listener.local_addr().expect("an address").port(),
            asked: Arc::default(),
            connections: Arc::default(),
            answer: Arc::new(Mutex::new(Response::new(Bytes::from_static(b"{}")))),
            answers_to: Arc::default(),
        };
        tokio::spawn(peer.clone().accept(listener, authority.acceptor(name)));
        peer
    }

    pub(crate) fn answers(&self, answer: Response<&'static str>) {
        *self.answer.lock() = answer.map(|body| Bytes::from_static(body.as_bytes()));
    }

    /// What it answers to requests for this path, instead.
    pub(crate) fn answers_to(&self, path: &str, answer: Response<&'static str>) {
        let answer = answer.map(|body| Bytes::from_static(body.as_bytes()));
        self.answers_to.lock().insert(path.to_owned(), answer);
    }

    /// What it was asked last.
    pub(crate) fn last(&self) -> Asked {
        self.asked.lock().last().cloned().expect("it was asked")
    }

    async fn accept(self, listener: TcpListener, acceptor: TlsAcceptor) {
        while let Ok((stream, _)) = listener.accept().await {
            let (peer, acceptor) = (self.clone(), acceptor.clone());
            *self.connections.lock() += 1;
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let service = service_fn(move |request| peer.clone().serve(request));
                let server = auto::Builder::new(TokioExecutor::new());
                server
                    .serve_connection(TokioIo::new(stream), service)
                    .await
                    .ok();
            });
        }
    }

    async fn serve(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let (parts, body) = request.into_parts();
        let header = |name: http::HeaderName| {
            let value = parts.headers.get(name);
            value.map(|value| value.to_str().expect("text").to_owned())
        };
        let asked = Asked {
            uri: parts.uri.path_and_query().expect("a path").to_string(),
            host: header(http::header::HOST).unwrap_or_default(),
            authorization: header(http::header::AUTHORIZATION).unwrap_or_default(),
            body: body.collect().await.expect("a body").to_bytes(),
            version: parts.version,
        };
        let answer = self.answers_to.lock().get(&asked.uri).cloned();
        self.asked.lock().push(asked);
        Ok(answer
            .unwrap_or_else(|| self.answer.lock().clone())
            .map(Full::new))
    }
}

/// Name servers that are a table.
#[derive(Debug, Default)]
pub(crate) struct Table {
    addresses: HashMap<String, Vec<IpAddr>>,
    services: HashMap<String, Vec<Srv>>,
    failing: Vec<String>,
    pub(crate) asked: Mutex<Vec<String>>,
}

impl Table {
    pub(crate) fn address(mut self, host: &str, address: &str) -> Self {
        let address = address.parse().expect("an address");
        self.addresses
            .entry(host.to_owned())
            .or_default()
            .push(address);
        self
    }

    pub(crate) fn service(
        mut self,
        name: &str,
        (priority, port): (u16, u16),
        target: &str,
    ) -> Self {
        let srv = Srv {
            priority,
            weight: 1,
            target: target.to_owned(),
            port,
        };
        self.services.entry(name.to_owned()).or_default().push(srv);
        self
    }

    pub(crate) fn fails(mut self, name: &str) -> Self {
        self.failing.push(name.to_owned());
        self
    }

    fn look_up<T: Clone>(
        &self,
        table: &HashMap<String, Vec<T>>,
        name: &str,
    ) -> Result<Vec<T>, ResolverError> {
        self.asked.lock().push(name.to_owned());
        if self.failing.iter().any(|failing| failing == name) {
            return Err(ResolverError {
                name: name.to_owned(),
                problem: "SERVFAIL".to_owned(),
            });
        }
        Ok(table.get(name).cloned().unwrap_or_default())
    }
}

impl Resolver for Table {
    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolverError>> {
        Box::pin(async { self.look_up(&self.addresses, host) })
    }

    fn services<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<Srv>, ResolverError>> {
        Box::pin(async { self.look_up(&self.services, name) })
    }
}

/// A clock, and what is built on it.
pub(crate) struct Setting {
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
    pub(crate) ports: Ports,
}

impl Setting {
    pub(crate) fn new() -> Self {
        Self {
            clock: Clock::simulated(1_000_000),
            chance: Chance::seeded(1),
            ports: Ports::default(),
        }
    }

    pub(crate) fn network(
        &self,
        authority: &Authority,
        resolver: Arc<Table>,
        addresses: Addresses,
    ) -> Network {
        let tls = TlsOptions {
            extra_ca_files: vec![authority.file()],
            trusts_all: false,
        };
        Network::new(NetworkOptions {
            resolver,
            addresses,
            ports: self.ports,
            tls: tls_config(&tls).expect("TLS"),
            user_agent: "test".to_owned(),
            clock: self.clock.clone(),
            chance: self.chance.clone(),
        })
    }

    pub(crate) fn client(&self, network: impl starling_outbound::Transport) -> FederationClient {
        let backoff = Backoff {
            initial_ms: 1000,
            max_ms: 3_600_000,
        };
        let identity = Identity {
            server_name: "here.example".try_into().expect("a server name"),
            signing_key: Arc::new(
                starling_events::SigningKey::generate([7; 32], "k").expect("a key"),
            ),
        };
        let health = Health::new(backoff, self.clock.clone(), self.chance.clone());
        FederationClient::new(identity, Arc::new(network), health)
    }
}
