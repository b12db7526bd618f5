//! `GET /_matrix/client/v3/sync`: what happened since a token, at once or as soon as something does.
//! <https://spec.matrix.org/v1.19/client-server-api/#syncing>

mod account_data;
mod answer;
mod batch;
mod ephemeral;
mod invited;
mod joined;
mod left;
mod plan;
mod receipts;
mod room;
mod summary;

use std::sync::Arc;
use std::time::Duration;

use starling_bus::{Listener, Topic};
use starling_store::client_view::Asker;
use starling_store::memberships::{Membership, membership_list};
use starling_store::tokens::Token;
use tokio::time::Instant;

use crate::{Error, Filter, Reader, Sync};
use answer::Answer;
use plan::Plan;

/// Nobody waits longer, whatever the client asks for.
pub const MAX_TIMEOUT: Duration = Duration::from_mins(5);

/// What a client asks of `/sync`.
#[derive(Debug, Clone, Default)]
pub struct SyncRequest {
    /// What it wants to be told of.
    pub filter: Arc<Filter>,
    /// The token up to which it was told all; without one, or with one of another time, it gets everything.
    pub since: Option<String>,
    /// Whether it wants the whole state of each joined room. It is then answered at once.
    pub full_state: bool,
    /// Whether it wants the state after the timeline, not before it.
    pub use_state_after: bool,
    /// How long it waits for something to happen; never longer than [`MAX_TIMEOUT`].
    pub timeout: Duration,
}

/// What one attempt at an answer is about.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) store: starling_store::Store,
    pub(crate) reader: Reader,
    pub(crate) filter: Arc<Filter>,
    pub(crate) full_state: bool,
    pub(crate) use_state_after: bool,
    /// The position up to which the client was told all; `None` for an initial sync.
    pub(crate) since: Option<i64>,
    /// The position as of which it is answered.
    pub(crate) upto: i64,
    pub(crate) asker: Asker,
}

impl Sync {
    /// Answers `/sync`: a JSON object. When nothing has happened it waits until something does that the filter lets
    /// through, the time is up, the server stops, or something concerns this device alone: it may be that the session
    /// was ended, so the caller checks that again before it answers.
    ///
    /// # Errors
    /// [`Error::NotAToken`] when `since` is no token; [`Error::Db`] when the database cannot be read.
    pub async fn sync(&self, reader: &Reader, request: &SyncRequest) -> Result<Vec<u8>, Error> {
        let token = request.since.as_deref().map(Token::parse).transpose()?;
        let deadline = self.clock.monotonic() + request.timeout.min(MAX_TIMEOUT);
        let listener = self.listener(reader).await?;
        let mut scope = self.scope(reader, request);
        scope.since = token
            .filter(|token| token.epoch() == self.store.epoch() && token.position() <= scope.upto)
            .map(|token| token.position());
        let mut is_last = request.timeout.is_zero() || request.full_state || scope.since.is_none();
        let mut has_waited = false;
        loop {
            let changes = scope.since.and_then(|since| listener.changes_since(since));
            // Where it has forgotten what woke us, that may have been the end of the session.
            is_last |= changes.as_deref().map_or(has_waited, has_device_change);
            let answer = self.attempt(&scope, changes).await?;
            if is_last || !answer.is_empty() {
                return Ok(answer.into_bytes(self.store.epoch(), scope.upto));
            }
            let Some(head) = self.wait(&listener, scope.upto, deadline).await else {
                return Ok(answer.into_bytes(self.store.epoch(), scope.upto));
            };
            has_waited = true;
            // All up to there was looked at, and nothing was to be told.
            scope.since = Some(scope.upto);
            scope.upto = head;
            scope.asker.now_ms = self.clock.now_ms();
        }
    }

    fn scope(&self, reader: &Reader, request: &SyncRequest) -> Scope {
        Scope {
            store: self.store.clone(),
            reader: reader.clone(),
            filter: Arc::clone(&request.filter),
            full_state: request.full_state,
            use_state_after: request.use_state_after,
            since: None,
            upto: self.bus.head(),
            asker: Asker {
                user: reader.user,
                device: reader.device,
                now_ms: self.clock.now_ms(),
            },
        }
    }

    /// Waits for a head above `upto` of which something concerns the device, and returns it; `None` when the time is
    /// up, the server stops, or nobody can tell.
    async fn wait(&self, listener: &Listener, upto: i64, deadline: Instant) -> Option<i64> {
        let mut stopping = self.stopping.clone();
        loop {
            tokio::select! {
                biased;
                _ = stopping.wait_for(|stopping| *stopping) => return None,
                () = listener.changed(upto) => {}
                () = tokio::time::sleep_until(deadline) => return None,
            }
            listener.used(self.clock.now_ms());
            let head = self.bus.head();
            if head > upto {
                return Some(head);
            }
            // A retired listener is told nothing more.
            listener.changes_since(upto)?;
            // The change is noted, and the head is about to follow.
            tokio::task::yield_now().await;
        }
    }

    /// The device's listener, following the rooms that its user is in.
    async fn listener(&self, reader: &Reader) -> Result<Arc<Listener>, Error> {
        let (listener, _) = self
            .bus
            .listen(reader.user.0, reader.device.0, self.clock.now_ms());
        // Also when whoever made it went away before it was ready.
        if listener.changes_since(self.bus.head()).is_none() {
            let user = reader.user;
            let memberships = self
                .store
                .db()
                .read("sync_follow", move |tx| membership_list(tx, user))
                .await?;
            let joined = memberships
                .iter()
                .filter(|row| row.membership == Membership::Join);
            let rooms: Vec<i64> = joined.map(|row| row.room.0).collect();
            self.bus.follow_all(&listener, &rooms);
            listener.ready(self.bus.head());
        }
        Ok(listener)
    }

    /// What there is to tell within `scope`. `changes` is what the listener remembers of it.
    async fn attempt(
        &self,
        scope: &Scope,
        changes: Option<Vec<(i64, Topic)>>,
    ) -> Result<Answer, Error> {
        let plan = Plan::make(scope, changes).await?;
        Answer::write(scope, plan).await
    }
}

fn has_device_change(changes: &[(i64, Topic)]) -> bool {
    changes
        .iter()
        .any(|(_, topic)| matches!(topic, Topic::Device(_)))
}
