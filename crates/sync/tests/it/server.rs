//! A server without its edge, and users of it by name.

use std::sync::Arc;

use ruma_common::{EventId, OwnedEventId, OwnedRoomId, RoomId};
use serde_json::Value;
use starling_bus::Bus;
use starling_events::CanonicalObject;
use starling_store::timeline::Direction;
use starling_sync::{Error, Filter, MessagesRequest, Reader, RoomEventFilter, Sync, SyncRequest};
use starling_testkit::{TestDb, World};
use tokio::sync::watch;

/// Rooms, and what clients are told of them.
pub(crate) struct Server {
    pub(crate) world: World,
    pub(crate) sync: Sync,
    pub(crate) stop: watch::Sender<bool>,
}

impl Server {
    pub(crate) async fn start(db: &TestDb) -> Self {
        let world = World::start(db).await;
        let (stop, stopping) = watch::channel(false);
        let sync = Sync::new(
            world.store.clone(),
            world.bus.clone(),
            world.clock.clone(),
            stopping,
        );
        Self { world, sync, stop }
    }

    /// The same server as it answers one for whom the log ends at `head`.
    pub(crate) fn as_of(&self, head: i64) -> Sync {
        let World {
            store, clock, bus, ..
        } = &self.world;
        // The same process, as far as tokens tell.
        let boot = u64::try_from(bus.boot() - 1).unwrap();
        Sync::new(
            store.clone(),
            Bus::new(head, boot << 33),
            clock.clone(),
            self.stop.subscribe(),
        )
    }

    pub(crate) async fn reader(&self, who: &str) -> Reader {
        let actor = self.world.user(who).await;
        Reader {
            user: actor.user,
            user_id: actor.user_id,
            device: actor.device,
        }
    }

    /// A new room, open to all.
    pub(crate) async fn room(&self, creator: &str) -> OwnedRoomId {
        self.world.room(&self.world.user(creator).await).await
    }

    pub(crate) async fn say(&self, who: &str, room: &RoomId, text: &str) -> OwnedEventId {
        self.world
            .say(&self.world.user(who).await, room, text)
            .await
            .unwrap()
    }

    /// Says something in a thread.
    pub(crate) async fn reply(&self, who: &str, room: &RoomId, of: &EventId) {
        let who = self.world.user(who).await;
        self.world.reply(&who, room, of).await.unwrap();
    }

    pub(crate) async fn say_all(
        &self,
        who: &str,
        room: &RoomId,
        texts: impl IntoIterator<Item = String>,
    ) {
        let who = self.world.user(who).await;
        for text in texts {
            self.world.say(&who, room, &text).await.unwrap();
        }
    }

    /// Sets state, of which the state key is empty.
    pub(crate) async fn set(
        &self,
        who: &str,
        room: &RoomId,
        kind: &str,
        content: Value,
    ) -> OwnedEventId {
        self.world
            .set(&self.world.user(who).await, room, (kind, ""), &content)
            .await
            .unwrap()
    }

    pub(crate) async fn topic(&self, who: &str, room: &RoomId, topic: &str) -> OwnedEventId {
        self.set(
            who,
            room,
            "m.room.topic",
            serde_json::json!({ "topic": topic }),
        )
        .await
    }

    pub(crate) async fn see_from(&self, who: &str, room: &RoomId, visibility: &str) {
        let content = serde_json::json!({ "history_visibility": visibility });
        self.set(who, room, "m.room.history_visibility", content)
            .await;
    }

    /// `who` makes the membership of `target` another.
    pub(crate) async fn member(
        &self,
        who: &str,
        room: &RoomId,
        target: &str,
        membership: &str,
    ) -> OwnedEventId {
        let (actor, target) = (self.world.user(who).await, self.world.user(target).await);
        let content = serde_json::json!({ "membership": membership });
        self.world
            .set(
                &actor,
                room,
                ("m.room.member", target.user_id.as_str()),
                &content,
            )
            .await
            .unwrap()
    }

    pub(crate) async fn join(&self, who: &str, room: &RoomId) -> OwnedEventId {
        self.member(who, room, who, "join").await
    }

    pub(crate) async fn leave(&self, who: &str, room: &RoomId) -> OwnedEventId {
        self.member(who, room, who, "leave").await
    }

    pub(crate) async fn redact(&self, who: &str, room: &RoomId, target: &EventId) -> OwnedEventId {
        let content =
            CanonicalObject::from_serialize(&serde_json::json!({ "reason": "spam" })).unwrap();
        self.world
            .rooms
            .redact(&self.world.user(who).await, room, target, content, None)
            .await
            .unwrap()
    }

    pub(crate) async fn forget(&self, who: &str, room: &RoomId) {
        self.world
            .rooms
            .forget(&self.world.user(who).await, room)
            .await
            .unwrap();
    }

    pub(crate) async fn sync(&self, who: &str, since: Option<&str>) -> Value {
        self.sync_with(
            who,
            &SyncRequest {
                since: since.map(str::to_owned),
                ..SyncRequest::default()
            },
        )
        .await
    }

    pub(crate) async fn sync_with(&self, who: &str, request: &SyncRequest) -> Value {
        json(
            &self
                .sync
                .sync(&self.reader(who).await, request)
                .await
                .unwrap(),
        )
    }

    /// An initial sync with a filter.
    pub(crate) async fn sync_by(&self, who: &str, filter: &str) -> Value {
        self.sync_with(
            who,
            &SyncRequest {
                filter: filter_of(filter),
                ..SyncRequest::default()
            },
        )
        .await
    }

    /// The token of a sync at this moment.
    pub(crate) async fn token(&self, who: &str) -> String {
        next_batch(&self.sync(who, None).await)
    }

    pub(crate) async fn messages(
        &self,
        who: &str,
        request: MessagesRequest,
    ) -> Result<Value, Error> {
        self.sync
            .messages(&self.reader(who).await, request)
            .await
            .map(|bytes| json(&bytes))
    }
}

pub(crate) fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
}

pub(crate) fn request(since: &str, filter: &str) -> SyncRequest {
    SyncRequest {
        filter: filter_of(filter),
        since: Some(since.to_owned()),
        ..SyncRequest::default()
    }
}

pub(crate) fn filter_of(filter: &str) -> Arc<Filter> {
    Arc::new(Filter::parse(filter).unwrap())
}

pub(crate) fn page(room: &RoomId, direction: Direction) -> MessagesRequest {
    MessagesRequest {
        room_id: room.to_owned(),
        from: None,
        to: None,
        direction,
        limit: None,
        filter: RoomEventFilter::default(),
    }
}

pub(crate) fn next_batch(answer: &Value) -> String {
    answer["next_batch"].as_str().unwrap().to_owned()
}

/// A room of an answer, in one of its sections; null when it isn't there.
pub(crate) fn room<'a>(answer: &'a Value, section: &str, room: &RoomId) -> &'a Value {
    &answer["rooms"][section][room.as_str()]
}

/// Whether an answer tells of no room.
pub(crate) fn has_no_rooms(answer: &Value) -> bool {
    answer["rooms"]
        .as_object()
        .unwrap()
        .values()
        .all(|section| section.as_object().unwrap().is_empty())
}

/// Short names for events: the body of a message, `type=…` for known state, the membership of a member.
pub(crate) fn names(events: &Value) -> Vec<String> {
    events
        .as_array()
        .unwrap_or_else(|| panic!("no list of events: {events}"))
        .iter()
        .map(name)
        .collect()
}

fn name(event: &Value) -> String {
    let content = &event["content"];
    match event["type"].as_str().unwrap() {
        "m.room.message" => content["body"].as_str().unwrap_or("?").to_owned(),
        "m.room.member" => {
            let user = event["state_key"]
                .as_str()
                .unwrap()
                .trim_end_matches(":localhost");
            format!("{user}:{}", content["membership"].as_str().unwrap())
        }
        "m.room.topic" => format!("topic={}", content["topic"].as_str().unwrap_or("?")),
        "m.room.name" => format!("name={}", content["name"].as_str().unwrap_or("?")),
        kind => kind.trim_start_matches("m.room.").to_owned(),
    }
}

pub(crate) fn timeline(room: &Value) -> Vec<String> {
    names(&room["timeline"]["events"])
}

pub(crate) fn state(room: &Value) -> Vec<String> {
    let mut names = names(&room["state"]["events"]);
    names.sort();
    names
}

pub(crate) fn state_after(room: &Value) -> Vec<String> {
    let mut names = names(&room["state_after"]["events"]);
    names.sort();
    names
}
