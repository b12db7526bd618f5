//! The client, and what it tells of rooms.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use matrix_sdk::config::{RequestConfig, SyncSettings};
use matrix_sdk::deserialized_responses::{TimelineEvent, TimelineEventKind};
use matrix_sdk::ruma::api::client::filter::FilterDefinition;
use matrix_sdk::ruma::api::error::ErrorKind;
use matrix_sdk::ruma::{OwnedEventId, OwnedRoomId, RoomId, UInt};
use matrix_sdk::sync::RoomUpdates;
use matrix_sdk::{Client, Room};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::failure::Failure;
use crate::say::say;
use crate::verification::Verifications;

const LONG_POLL: Duration = Duration::from_secs(5);
/// Before another try.
pub(crate) const AFTER_ERROR: Duration = Duration::from_millis(200);
/// A server that is halted takes requests and doesn't answer.
const REQUEST_LIMIT: Duration = Duration::from_secs(20);
/// More than any test sends between two syncs.
const TIMELINE: u32 = 200;

/// A user's client, whose stores are in memory.
pub(crate) struct Peer {
    pub(crate) client: Client,
    pub(crate) verifications: Arc<Verifications>,
    /// Events that came before their keys.
    undecryptable: Mutex<BTreeMap<OwnedEventId, (OwnedRoomId, TimelineEvent)>>,
}

impl Peer {
    /// Nobody is logged in.
    pub(crate) async fn new(url: &str) -> Result<Self, Failure> {
        let client = Client::builder()
            .homeserver_url(url)
            // The test tries again, and says when.
            .request_config(RequestConfig::new().disable_retry().timeout(REQUEST_LIMIT))
            .build()
            .await?;
        Ok(Self {
            client,
            verifications: Arc::default(),
            undecryptable: Mutex::default(),
        })
    }

    pub(crate) fn room(&self, id: &RoomId) -> Result<Room, Failure> {
        self.client
            .get_room(id)
            .ok_or_else(|| Failure::new(format!("the client does not know {id}")))
    }

    /// Begins to sync, and to tell what comes.
    pub(crate) async fn start(self: Arc<Self>) {
        self.verifications.listen(&self.client);
        if let Some(keys) = self.client.encryption().room_keys_received_stream().await {
            let peer = Arc::clone(&self);
            tokio::spawn(async move { keys.for_each(|_| peer.try_again()).await });
        }
        tokio::spawn(async move { self.sync().await });
    }

    async fn sync(&self) {
        let mut filter = FilterDefinition::default();
        filter.room.timeline.limit = Some(UInt::from(TIMELINE));
        let mut state = "";
        let mut memberships = BTreeMap::new();
        let mut settings = SyncSettings::new()
            .filter(filter.into())
            .timeout(Duration::ZERO);
        loop {
            let now = match self.client.sync_once(settings.clone()).await {
                Ok(answer) => {
                    settings = settings.timeout(LONG_POLL);
                    self.tell(answer.rooms, &mut memberships);
                    self.try_again().await;
                    "SYNCING"
                }
                Err(error)
                    if matches!(
                        error.client_api_error_kind(),
                        Some(ErrorKind::UnknownToken(_))
                    ) =>
                {
                    return say(&json!({"event": "logged out"}));
                }
                Err(_) => {
                    sleep(AFTER_ERROR).await;
                    "ERROR"
                }
            };
            if now != state {
                state = now;
                say(&json!({"event": "sync", "state": state}));
            }
        }
    }

    fn tell(&self, rooms: RoomUpdates, memberships: &mut BTreeMap<OwnedRoomId, &'static str>) {
        let mut is_now = |room: &OwnedRoomId, membership| {
            if memberships.insert(room.clone(), membership) != Some(membership) {
                say(&json!({"event": "membership", "room": room, "membership": membership}));
            }
        };
        for room in rooms.invited.keys() {
            is_now(room, "invite");
        }
        for (room, update) in rooms.joined {
            is_now(&room, "join");
            self.tell_timeline(&room, update.timeline.events);
        }
        for (room, update) in rooms.left {
            is_now(&room, "leave");
            self.tell_timeline(&room, update.timeline.events);
        }
    }

    fn tell_timeline(&self, room: &RoomId, events: Vec<TimelineEvent>) {
        for event in events {
            say(&describe("timeline", room, &event));
            if event.kind.is_utd()
                && let Some(id) = event.event_id()
            {
                self.waiting().insert(id, (room.to_owned(), event));
            }
        }
    }

    /// Decrypts what keys have come for since.
    async fn try_again(&self) {
        let waiting = self.waiting().clone();
        for (id, (room_id, event)) in waiting {
            let Some(room) = self.client.get_room(&room_id) else {
                continue;
            };
            let decrypted = room
                .decrypt_event(event.raw().cast_ref_unchecked(), None)
                .await;
            if let Ok(event) = decrypted
                && !event.kind.is_utd()
                && self.waiting().remove(&id).is_some()
            {
                say(&describe("decrypted", &room_id, &event));
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<OwnedEventId, (OwnedRoomId, TimelineEvent)>> {
        self.undecryptable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is told of an event: as it was before it was encrypted, if it can be decrypted.
pub(crate) fn describe(told: &str, room: &RoomId, event: &TimelineEvent) -> Value {
    let raw: Value = event.raw().deserialize_as_unchecked().unwrap_or_default();
    let of = |key: &str| raw.get(key).cloned().unwrap_or_default();
    let mut line = json!({
        "event": told,
        "event_id": event.event_id(),
        "room": room,
        "sender": of("sender"),
        "type": of("type"),
        "state_key": of("state_key"),
        "content": of("content"),
        "redacted": raw.pointer("/unsigned/redacted_because").is_some(),
        "session": event.kind.session_id(),
    });
    if let (TimelineEventKind::UnableToDecrypt { utd_info, .. }, Some(line)) =
        (&event.kind, line.as_object_mut())
    {
        line.insert(
            "failure".to_owned(),
            json!(format!("{:?}", utd_info.reason)),
        );
    }
    line
}
