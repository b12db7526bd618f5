//! The network: takes requests from server to server, late, twice or not at all, as its faults say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use futures_util::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use ruma_common::{OwnedServerName, ServerName};
use starling_outbound::{Answer, OutboundError, Request, Transport};
use starling_runtime::{Chance, Clock};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tower::ServiceExt as _;

use super::hostile::Liar;
use super::trace::Trace;

/// What can happen to a message; of a thousand, how many.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    /// Requests that don't arrive.
    pub(super) requests_lost: u64,
    /// Answers that don't arrive.
    pub(super) answers_lost: u64,
    /// Requests that arrive twice.
    pub(super) twice: u64,
    /// Messages that take seconds.
    pub(super) slow: u64,
}

/// What the network has carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Carried {
    /// Requests, those that were lost included.
    pub requests: u64,
    /// Those of them from one honest server to another.
    pub honest_requests: u64,
    /// Bytes of these, and of their answers.
    pub honest_bytes: u64,
    /// Requests and answers that were lost.
    pub lost: u64,
    /// Requests that arrived twice.
    pub twice: u64,
    /// Requests for which there was no way, because servers were parted or down.
    pub no_way: u64,
}

/// What a server has answered another.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) at_ms: i64,
    pub(super) to: OwnedServerName,
    pub(super) uri: String,
    pub(super) request: Vec<u8>,
    pub(super) answer: Bytes,
}

/// Of these requests it is kept what was answered, if anything is.
const KEPT: [&str; 2] = ["/user/keys/claim", "/_matrix/federation/v1/send/"];

/// A server that can be reached.
struct Port {
    app: Router,
    liar: Option<Arc<Liar>>,
    handlers: Vec<AbortHandle>,
}

#[derive(Default)]
struct Wires {
    ports: BTreeMap<OwnedServerName, Port>,
    /// Servers of different groups don't reach each other.
    groups: BTreeMap<OwnedServerName, u64>,
    faults: Faults,
    carried: Carried,
    /// When honest servers spoke to each other last, in milliseconds since 1970.
    last_ms: i64,
}

/// The network.
pub(super) struct Network {
    chance: Chance,
    clock: Clock,
    pub(super) trace: Trace,
    /// Servers whose talk says nothing of whether all is quiet.
    hostile: BTreeSet<OwnedServerName>,
    wires: Mutex<Wires>,
    kept: Option<Arc<Mutex<Vec<Kept>>>>,
}

/// What becomes of one message.
struct Fate {
    there: Duration,
    back: Duration,
    arrives: bool,
    returns: bool,
    again_after: Option<Duration>,
}

struct Message {
    from: OwnedServerName,
    to: OwnedServerName,
    request: Request,
}

pub(super) type Outcome = Result<Answer, OutboundError>;

impl Network {
    pub(super) fn new(
        chance: Chance,
        clock: Clock,
        hostile: BTreeSet<OwnedServerName>,
    ) -> Arc<Self> {
        Arc::new(Self {
            chance,
            trace: Trace::new(clock.clone()),
            clock,
            hostile,
            wires: Mutex::default(),
            kept: None,
        })
    }

    /// As [`Network::new`], of which it is kept what servers are told of devices and keys, and the trace leaves out what is
    /// encrypted.
    pub(super) fn keeping(chance: Chance, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            chance,
            trace: Trace::without_ciphertext(clock.clone()),
            clock,
            hostile: BTreeSet::new(),
            wires: Mutex::default(),
            kept: Some(Arc::default()),
        })
    }

    /// What servers have answered since this was asked last.
    pub(super) fn take_kept(&self) -> Vec<Kept> {
        let kept = self.kept.as_ref();
        kept.map(|kept| std::mem::take(&mut *kept.lock()))
            .unwrap_or_default()
    }

    /// A server is up.
    pub(super) fn plug(&self, server: &ServerName, app: Router, liar: Option<Arc<Liar>>) {
        let port = Port {
            app,
            liar,
            handlers: Vec::new(),
        };
        self.wires.lock().ports.insert(server.to_owned(), port);
    }

    /// A server is down: what it was answering is never answered.
    pub(super) fn unplug(&self, server: &ServerName) {
        let port = self.wires.lock().ports.remove(server);
        for handler in port.iter().flat_map(|port| &port.handlers) {
            handler.abort();
        }
    }

    pub(super) fn set_faults(&self, faults: Faults) {
        self.wires.lock().faults = faults;
    }

    /// Servers reach only those of the same group; those that are in none are in group 0.
    pub(super) fn part(&self, groups: BTreeMap<OwnedServerName, u64>) {
        self.wires.lock().groups = groups;
    }

    pub(super) fn carried(&self) -> Carried {
        self.wires.lock().carried
    }

    /// For how long no honest server has asked another, in milliseconds.
    pub(super) fn quiet_ms(&self) -> i64 {
        self.clock.now_ms() - self.wires.lock().last_ms
    }

    fn has_way(&self, from: &ServerName, to: &ServerName) -> bool {
        let wires = self.wires.lock();
        let group = |server| wires.groups.get(server).copied().unwrap_or(0);
        wires.ports.contains_key(to) && group(from) == group(to)
    }

    fn fate(&self) -> Fate {
        let faults = self.wires.lock().faults;
        let happens = |of_thousand: u64| self.chance.within(0..1000) < of_thousand;
        let delay = || {
            let most_ms = if happens(faults.slow) { 8_000 } else { 120 };
            Duration::from_millis(self.chance.within(1..most_ms))
        };
        Fate {
            there: delay(),
            back: delay(),
            arrives: !happens(faults.requests_lost),
            returns: !happens(faults.answers_lost),
            again_after: happens(faults.twice).then(delay),
        }
    }

    /// Takes a request there and its answer back. What is lost is silence, until whoever waits gives up.
    async fn carry(self: Arc<Self>, message: Message) -> Outcome {
        let fate = self.fate();
        let Message { from, to, request } = &message;
        let said = format!(
            "{from} > {to} {} {} {}",
            request.method.as_str(),
            request.uri,
            self.digest(request.body.as_deref())
        );
        self.trace.note(&said);
        self.count(&message);
        tokio::time::sleep(fate.there).await;
        if !self.has_way(from, to) {
            self.wires.lock().carried.no_way += 1;
            return self.no_way(request.patience).await;
        }
        if !fate.arrives {
            self.wires.lock().carried.lost += 1;
            return self.silence(request.patience).await;
        }
        let answer = self.deliver(&message);
        if let Some(after) = fate.again_after {
            self.wires.lock().carried.twice += 1;
            let (network, again) = (Arc::clone(&self), message_again(&message));
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                network
                    .trace
                    .note(&format!("again {} > {}", again.from, again.to));
                if let Some(answer) = network.deliver(&again) {
                    answer.await.ok();
                }
            });
        }
        let answer = match answer {
            Some(answer) => answer.await.ok(),
            None => None,
        };
        let Some((status, body)) = answer else {
            return Err(OutboundError::Connection("it was reset".to_owned()));
        };
        self.trace.note(&format!(
            "{to} < {from} {status} {}",
            self.digest(Some(&body))
        ));
        tokio::time::sleep(fate.back).await;
        self.count_bytes((from, to), &body);
        if !fate.returns {
            self.wires.lock().carried.lost += 1;
        }
        if !fate.returns || !self.has_way(to, from) {
            return self.silence(request.patience).await;
        }
        if body.len() > request.answer_bytes {
            return Err(OutboundError::TooLarge(request.answer_bytes));
        }
        Ok(Answer { status, body })
    }

    fn digest(&self, body: Option<&[u8]>) -> String {
        body.map_or(String::new(), |body| self.trace.digest(body))
    }

    fn count(&self, message: &Message) {
        let Message { from, to, request } = message;
        self.wires.lock().carried.requests += 1;
        if self.is_honest((from, to)) {
            let mut wires = self.wires.lock();
            wires.carried.honest_requests += 1;
            wires.last_ms = self.clock.now_ms();
        }
        self.count_bytes((from, to), request.body.as_deref().unwrap_or_default());
    }

    fn count_bytes(&self, way: (&ServerName, &ServerName), bytes: &[u8]) {
        if self.is_honest(way) {
            let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            self.wires.lock().carried.honest_bytes += length;
        }
    }

    fn is_honest(&self, (from, to): (&ServerName, &ServerName)) -> bool {
        !self.hostile.contains(from) && !self.hostile.contains(to)
    }

    async fn silence(&self, patience: Duration) -> Outcome {
        tokio::time::sleep(patience).await;
        Err(OutboundError::Timeout(patience))
    }

    /// Nobody is there: sometimes that is said at once.
    async fn no_way(&self, patience: Duration) -> Outcome {
        if self.chance.within(0..2) == 0 {
            return Err(OutboundError::Connection("nobody is there".to_owned()));
        }
        self.silence(patience).await
    }

    /// Gives a request to a server. Its answer comes even if nobody waits for it any longer; none if the server goes down.
    fn deliver(&self, message: &Message) -> Option<oneshot::Receiver<(StatusCode, Bytes)>> {
        let request = http_request(&message.request);
        let uri = message.request.uri.clone();
        let kept = self
            .kept
            .clone()
            .filter(|_| KEPT.iter().any(|it| uri.contains(it)));
        let kept = kept.map(|kept| (kept, self.clock.clone(), message_again(message)));
        let mut wires = self.wires.lock();
        let port = wires.ports.get_mut(&message.to)?;
        let (app, liar) = (port.app.clone(), port.liar.clone());
        let (answer, answered) = oneshot::channel();
        let handler = tokio::spawn(async move {
            let response = app.oneshot(request).await.expect("a router never fails");
            let status = response.status();
            let body = response.into_body().collect().await.expect("a whole body");
            let honest = (status, body.to_bytes());
            if let Some((kept, clock, message)) = kept.filter(|_| status == StatusCode::OK) {
                let (at_ms, answer) = (clock.now_ms(), honest.1.clone());
                kept.lock().push(message.answered(at_ms, answer));
            }
            let told = match &liar {
                Some(liar) => liar.answer(&uri, honest),
                None => honest,
            };
            answer.send(told).ok();
        });
        port.handlers.retain(|handler| !handler.is_finished());
        port.handlers.push(handler.abort_handle());
        Some(answered)
    }

    /// The answer to a request of somebody who keeps to no rule.
    pub(super) async fn ask(
        self: &Arc<Self>,
        from: &ServerName,
        to: &ServerName,
        request: Request,
    ) -> Outcome {
        let message = Message {
            from: from.to_owned(),
            to: to.to_owned(),
            request,
        };
        Arc::clone(self).carry(message).await
    }
}

impl Message {
    fn answered(self, at_ms: i64, answer: Bytes) -> Kept {
        Kept {
            at_ms,
            to: self.to,
            uri: self.request.uri,
            request: self
                .request
                .body
                .map(|body| body.to_vec())
                .unwrap_or_default(),
            answer,
        }
    }
}

fn message_again(message: &Message) -> Message {
    Message {
        from: message.from.clone(),
        to: message.to.clone(),
        request: message.request.clone(),
    }
}

fn http_request(request: &Request) -> http::Request<Body> {
    let body = request.body.clone().unwrap_or_default();
    let mut built = http::Request::builder()
        .method(request.method.as_str())
        .uri(&request.uri);
    if let Some(authorization) = &request.authorization {
        let header = HeaderValue::from_str(authorization).expect("a header");
        built = built.header(AUTHORIZATION, header);
    }
    built.body(Body::from(body)).expect("a request")
}

/// The way of one server to others, for as long as that server is up.
pub(super) struct Line {
    pub(super) network: Arc<Network>,
    pub(super) from: OwnedServerName,
    /// False once the server has crashed: what is left of it reaches nobody, and is never told anything.
    pub(super) is_up: Arc<AtomicBool>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line")
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

impl Transport for Line {
    fn send<'a>(
        &'a self,
        destination: &'a ServerName,
        request: Request,
    ) -> BoxFuture<'a, Result<Answer, OutboundError>> {
        Box::pin(async move {
            if !self.is_up.load(Ordering::Relaxed) {
                return std::future::pending().await;
            }
            let patience = request.patience;
            let message = Message {
                from: self.from.clone(),
                to: destination.to_owned(),
                request,
            };
            // What is on its way arrives, whether or not somebody waits for the answer.
            let carried = tokio::spawn(Arc::clone(&self.network).carry(message));
            let outcome = tokio::time::timeout(patience, carried).await;
            if !self.is_up.load(Ordering::Relaxed) {
                return std::future::pending().await;
            }
            match outcome {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => Err(OutboundError::Connection("it broke".to_owned())),
                Err(_) => Err(OutboundError::Timeout(patience)),
            }
        })
    }
}
