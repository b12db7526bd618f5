//! `GET /_matrix/client/v3/sync`: what happened since a token, at once or as soon as something does.
//! <https://spec.matrix.org/v1.19/client-server-api/#syncing>

mod account_data;
mod answer;
mod batch;
mod ephemeral;
mod events;
mod initial;
mod invited;
mod joined;
mod keys;
mod left;
mod plan;
mod presence;
mod receipts;
mod room;
mod sent_members;
mod summary;
mod to_device;
mod typing;
mod unread;

use std::sync::Arc;
use std::time::Duration;

use starling_bus::{Bus, Listener, Topic};
use starling_store::client_view::Asker;
use starling_store::memberships::{Membership, membership_list};
use starling_store::tokens::{Moment, Token};
use tokio::time::Instant;

use crate::{Error, Filter, Reader, Sync};
use answer::Answer;
pub(crate) use answer::ROOMS_STEP;
pub use events::EventsRequest;
use plan::Plan;
pub(crate) use sent_members::SentMembers;

/// Nobody waits longer, whatever the client asks for.
pub const MAX_TIMEOUT: Duration = Duration::from_mins(5);

/// How long a device waits to be told of its own event, so that it first gets the answer to sending it.
const ECHO_PAUSE: Duration = Duration::from_millis(30);
/// An event that is older, in milliseconds, was answered long ago.
const RECENT_MS: i64 = 1000;

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
    /// Whether it asked for that by the name that it had before the specification had it, and is answered so.
    pub unstable_state_after: bool,
    /// How long it waits for something to happen; never longer than [`MAX_TIMEOUT`].
    pub timeout: Duration,
}

/// Which state stands beside a timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    /// That before it.
    Before,
    /// That after it.
    After,
    /// That after it, by the name that this had before the specification had it.
    UnstableAfter,
}

impl Beside {
    /// Its name in an answer.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Before => "state",
            Self::After => "state_after",
            Self::UnstableAfter => "org.matrix.msc4222.state_after",
        }
    }
}

/// What one attempt at an answer is about.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) store: starling_store::Store,
    pub(crate) reader: Reader,
    pub(crate) filter: Arc<Filter>,
    pub(crate) full_state: bool,
    pub(crate) beside: Beside,
    /// Whether events say of which room they are.
    pub(crate) has_room_ids: bool,
    /// Which members the device was told of.
    pub(crate) sent_members: SentMembers,
    /// The position up to which the client was told all; `None` for an initial sync.
    pub(crate) since: Option<i64>,
    /// Whether the client comes with a token of another time (see [`starling_store::restored`]): what it knows of anybody's
    /// devices may not be so any longer, and it takes the answer for what has changed.
    pub(crate) is_of_other_time: bool,
    /// The position as of which it is answered.
    pub(crate) upto: i64,
    /// The position up to which the device has messages to it; `None` where it isn't told of any.
    pub(crate) to_device_after: Option<i64>,
    /// The same for what is not stored.
    pub(crate) moment: Moments,
    pub(crate) asker: Asker,
    pub(crate) bus: Bus,
    pub(crate) listener: Arc<Listener>,
}

/// From which change of what is not stored to which.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moments {
    /// The last that the client was told of; `None` when this process doesn't know: what is so now is told then.
    pub(crate) since: Option<i64>,
    pub(crate) upto: i64,
}

impl Scope {
    /// The token of an answer: all up to there was told; of messages to the device, up to `to_device` if there were any.
    fn next_batch(&self, to_device: Option<i64>) -> Token {
        Token::Moment {
            epoch: self.store.epoch(),
            position: self.upto,
            moment: Moment {
                boot: self.bus.boot(),
                count: self.moment.upto,
            },
            to_device,
        }
    }

    /// Goes on from where it ended: all up to there was looked at, and nothing was to be told.
    fn go_on(&mut self, upto: i64, now_ms: i64) {
        self.since = Some(self.upto);
        self.to_device_after = self.to_device_after.map(|_| self.upto);
        self.upto = upto;
        self.moment = Moments {
            since: Some(self.moment.upto),
            upto: self.bus.count(),
        };
        self.asker.now_ms = now_ms;
    }
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
        let mut scope = self.scope(reader, request, &listener);
        scope.is_of_other_time = token.is_some_and(|token| token.epoch() != self.store.epoch());
        if let Some(token) = token
            && token.epoch() == self.store.epoch()
            && token.position() <= scope.upto
        {
            scope.since = Some(token.position());
            let is_ours = |moment: &Moment| {
                moment.boot == self.bus.boot() && moment.count <= scope.moment.upto
            };
            let moment = token.moment().filter(is_ours);
            scope.moment.since = moment.map(|moment| moment.count);
            // No other answers than those of this endpoint tell messages to the device.
            let told = token.moment().map_or(0, |_| token.position());
            scope.to_device_after = Some(token.to_device().unwrap_or(told));
            if let Some(upto) = token.to_device() {
                to_device::acknowledge(&scope, upto).await?;
            }
        }
        let mut is_last = request.timeout.is_zero() || request.full_state || scope.since.is_none();
        let mut has_waited = false;
        loop {
            let changes = scope.since.and_then(|since| listener.changes_since(since));
            // Nobody has heard whether the device's keys were given out meanwhile: it must not wait to be told.
            is_last |= changes.is_none() && !has_waited && keys::are_few(&scope).await?;
            // Where it has forgotten what woke us, that may have been the end of the session.
            is_last |= changes.as_deref().map_or(has_waited, has_device_change);
            let answer = self.attempt(&scope, changes).await?;
            if is_last || !answer.is_empty() {
                if !request.timeout.is_zero() {
                    self.pause_before_echo(answer.echoed()).await;
                }
                let counts = keys::counts(&scope).await?;
                return Ok(answer.into_bytes(&scope, &counts));
            }
            // When the time is up, all is looked at once more: not everybody is woken for everything.
            is_last = !self.wait(&scope, deadline).await;
            has_waited = true;
            scope.go_on(self.bus.head(), self.clock.now_ms());
        }
    }

    /// Leaves the answer to a send time to arrive before the sync which tells the sending device of its own event. Clients
    /// may get them in any order, but matrix-js-sdk (43.0.0, at least) takes a message in a thread that it is told of
    /// first for one that failed, sends nothing more for half a minute, and shows an error. Other devices don't wait.
    async fn pause_before_echo(&self, echoed: Option<i64>) {
        if echoed.is_some_and(|sent_ms| self.clock.now_ms() - sent_ms < RECENT_MS) {
            tokio::time::sleep(ECHO_PAUSE).await;
        }
    }

    fn scope(&self, reader: &Reader, request: &SyncRequest, listener: &Arc<Listener>) -> Scope {
        let moment = Moments {
            since: None,
            upto: self.bus.count(),
        };
        Scope {
            store: self.store.clone(),
            reader: reader.clone(),
            filter: Arc::clone(&request.filter),
            full_state: request.full_state,
            beside: match (request.use_state_after, request.unstable_state_after) {
                (true, _) => Beside::After,
                (false, true) => Beside::UnstableAfter,
                (false, false) => Beside::Before,
            },
            has_room_ids: false,
            sent_members: self.sent_members.clone(),
            since: None,
            is_of_other_time: false,
            upto: self.bus.head(),
            to_device_after: Some(0),
            moment,
            bus: self.bus.clone(),
            listener: Arc::clone(listener),
            asker: Asker {
                user: reader.user,
                device: reader.device,
                now_ms: self.clock.now_ms(),
            },
        }
    }

    /// Waits for something that concerns the device: then the head is above that of `scope`, or something that is not
    /// stored has changed. False when the time is up, the server stops, or nobody can tell.
    async fn wait(&self, scope: &Scope, deadline: Instant) -> bool {
        let (listener, upto) = (&scope.listener, scope.upto);
        let mut stopping = self.stopping.clone();
        loop {
            tokio::select! {
                biased;
                _ = stopping.wait_for(|stopping| *stopping) => return false,
                () = listener.changed_beside(upto, scope.moment.upto) => {}
                () = tokio::time::sleep_until(deadline) => return false,
            }
            listener.used(self.clock.now_ms());
            if self.bus.head() > upto || listener.has_fleeting(scope.moment.upto) {
                return true;
            }
            // A retired listener is told nothing more.
            if listener.changes_since(upto).is_none() {
                return false;
            }
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
