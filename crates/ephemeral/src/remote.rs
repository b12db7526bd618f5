//! What other servers say of their users: who types, has read, and is there.
//! <https://spec.matrix.org/v1.19/server-server-api/#edus>
//!
//! A server speaks of its own users, and is heard where they are in a room. Whether the room's server ACLs let it speak
//! there at all, the caller has found out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ruma_common::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, ServerName, UserId};
use serde_json::{Map, Value};
use starling_bus::{Presence, PresenceState};
use starling_db::{Error, Tx};
use starling_store::members::Whereabouts;
use starling_store::receipts::{ReceiptKey, ReceiptKind, ReceiptThread};

use crate::presence::STATUS_BYTES;
use crate::{Ephemeral, millis};

/// Who is said to be typing by another server is so no longer without it saying so again.
pub const LONGEST_REMOTE_TYPING: Duration = Duration::from_mins(1);

/// So many users' presence is taken at a time.
pub const MOST_PRESENCES: usize = 100;

/// So many rooms that aren't at hand are read to find those that a user is in.
const MOST_ROOMS_READ: usize = 50;

/// So many rooms of one EDU are looked at.
const MOST_ROOMS: usize = 100;

/// Whether a user of another server types in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteTyping {
    /// The room.
    pub room_id: OwnedRoomId,
    /// The user.
    pub user_id: OwnedUserId,
    /// Whether they type.
    pub is_typing: bool,
}

/// A public receipt of a user of another server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteReceipt {
    /// Who has read.
    pub user_id: OwnedUserId,
    /// What of the room.
    pub key: ReceiptKey,
    /// Up to which event.
    pub event_id: OwnedEventId,
    /// When, as the other server says: milliseconds since 1970.
    pub sent_at: i64,
}

/// How the presence of a user of another server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemotePresence {
    /// The user.
    pub user_id: OwnedUserId,
    /// Whether they are there.
    pub state: PresenceState,
    /// Whether they have just been active.
    pub currently_active: bool,
    /// How long ago they were active, in milliseconds, if that is said.
    pub last_active_ago: Option<i64>,
    /// What they say of themselves.
    pub status: Option<String>,
}

impl RemoteTyping {
    /// Reads the content of `m.typing`.
    #[must_use]
    pub fn read(content: &Value) -> Option<Self> {
        Some(Self {
            room_id: <&RoomId>::try_from(text(content, "room_id")?)
                .ok()?
                .to_owned(),
            user_id: <&UserId>::try_from(text(content, "user_id")?)
                .ok()?
                .to_owned(),
            is_typing: content.get("typing")?.as_bool()?,
        })
    }
}

/// Reads the content of `m.receipt`, by rooms; what is no public receipt is left out.
#[must_use]
pub fn read_receipts(content: &Value) -> BTreeMap<OwnedRoomId, Vec<RemoteReceipt>> {
    let rooms = content.as_object().into_iter().flatten().take(MOST_ROOMS);
    let read = |(room_id, receipts): (&String, &Value)| {
        let room_id = <&RoomId>::try_from(room_id.as_str()).ok()?.to_owned();
        let users = receipts.get("m.read")?.as_object()?;
        Some((room_id, read_users(users)))
    };
    rooms.filter_map(read).collect()
}

fn read_users(users: &Map<String, Value>) -> Vec<RemoteReceipt> {
    let read = |(user_id, receipt): (&String, &Value)| {
        let data = receipt.get("data")?;
        let event_id = receipt.get("event_ids")?.get(0)?.as_str()?;
        let thread = match text(data, "thread_id") {
            None => ReceiptThread::Unthreaded,
            Some("main") => ReceiptThread::Main,
            Some(root) => ReceiptThread::Root(<&EventId>::try_from(root).ok()?.to_owned()),
        };
        Some(RemoteReceipt {
            user_id: <&UserId>::try_from(user_id.as_str()).ok()?.to_owned(),
            key: ReceiptKey {
                kind: ReceiptKind::Read,
                thread,
            },
            event_id: <&EventId>::try_from(event_id).ok()?.to_owned(),
            sent_at: data.get("ts").and_then(Value::as_i64).unwrap_or_default(),
        })
    };
    let users = users.iter().take(crate::MOST_RECEIVED);
    users.filter_map(read).collect()
}

/// Reads the content of `m.presence`, of at most [`MOST_PRESENCES`] users; what can't be read is left out.
#[must_use]
pub fn read_presences(content: &Value) -> Vec<RemotePresence> {
    let push = content.get("push").and_then(Value::as_array);
    let read = |push: &Value| {
        let state = match text(push, "presence")? {
            "online" => PresenceState::Online,
            "unavailable" => PresenceState::Unavailable,
            "offline" => PresenceState::Offline,
            _ => return None,
        };
        let is_active = push.get("currently_active").and_then(Value::as_bool);
        let status = text(push, "status_msg");
        let status = status.filter(|it| !it.is_empty() && it.len() <= STATUS_BYTES);
        Some(RemotePresence {
            user_id: <&UserId>::try_from(text(push, "user_id")?).ok()?.to_owned(),
            state,
            currently_active: is_active.unwrap_or(false),
            last_active_ago: push.get("last_active_ago").and_then(Value::as_i64),
            status: status.map(str::to_owned),
        })
    };
    let push = push.into_iter().flatten().take(MOST_PRESENCES);
    push.filter_map(read).collect()
}

fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field)?.as_str()
}

impl Ephemeral {
    /// Another server says whether its user types in a room.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn receive_typing(
        &self,
        origin: &ServerName,
        typing: RemoteTyping,
    ) -> Result<(), Error> {
        let RemoteTyping {
            room_id,
            user_id,
            is_typing,
        } = typing;
        if user_id.server_name() != origin {
            return Ok(());
        }
        let members = self.members(&room_id, vec![user_id]).await?;
        let found = members.and_then(|mut it| Some((it.room, it.users.pop_first()?)));
        let Some((room, (user_id, user))) = found else {
            return Ok(());
        };
        let memory = &self.memory;
        if is_typing {
            let until_ms = memory.now_ms() + millis(LONGEST_REMOTE_TYPING);
            memory
                .bus
                .type_until(room.0, (user.0, user_id.as_str()), until_ms);
            memory.look_again_at(until_ms);
        } else {
            memory.bus.end_typing(room.0, user.0);
        }
        Ok(())
    }

    /// Another server says how the presence of its users is. It is told to those who share a room with them; who shares
    /// none is not remembered.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn receive_presences(
        &self,
        origin: &ServerName,
        mut presences: Vec<RemotePresence>,
    ) -> Result<(), Error> {
        presences.retain(|it| it.user_id.server_name() == origin);
        presences.truncate(MOST_PRESENCES);
        if self.memory.presences.is_none() || presences.is_empty() {
            return Ok(());
        }
        let users = presences.iter().map(|it| it.user_id.clone()).collect();
        let whereabouts = self.whereabouts(users).await?;
        let now_ms = self.memory.now_ms();
        for presence in presences {
            let Some((user, rooms)) = whereabouts.get(&presence.user_id) else {
                continue;
            };
            let ago_ms = presence.last_active_ago.map(|ago_ms| ago_ms.max(0));
            let is_online = presence.state == PresenceState::Online;
            let told = Presence {
                user_id: presence.user_id.as_str().into(),
                state: presence.state,
                currently_active: is_online && presence.currently_active,
                last_active_ms: ago_ms.map(|ago_ms| now_ms.saturating_sub(ago_ms).max(0)),
                status: presence.status.map(Arc::from),
            };
            let bus = &self.memory.bus;
            let unknown = Presence {
                state: PresenceState::Offline,
                currently_active: false,
                status: None,
                ..told.clone()
            };
            bus.meet(user.0, unknown);
            let rooms: Vec<i64> = rooms.iter().map(|room| room.0).collect();
            bus.place(user.0, &rooms);
            self.memory.with_presences(|presences, bus, now_ms| {
                presences.hear(*user, told, (bus, now_ms));
            });
        }
        Ok(())
    }

    /// In which rooms of local users users of other servers are, of those who are in any. Of rooms that nobody has been interested
    /// in lately, only some are looked at.
    async fn whereabouts(&self, users: Vec<OwnedUserId>) -> Result<Whereabouts, Error> {
        let store = self.store().clone();
        let read = move |tx: &mut Tx<'_>| {
            let mut read = 0;
            let wanted = |room| {
                let is_at_hand = store.rooms().get(room).is_some();
                read += usize::from(!is_at_hand);
                is_at_hand || read <= MOST_ROOMS_READ
            };
            store.rooms_of_users(tx, users.iter(), wanted)
        };
        self.store().db().scan("whereabouts", read).await
    }
}
