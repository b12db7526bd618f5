//! A server's rooms without its edge: for tests of what stands on them.

use std::sync::Arc;

use ruma_common::{
    EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId, owned_server_name, server_name,
};
use serde_json::{Map, Value};
use starling_bus::Bus;
use starling_db::{Db, Error, Positions, Tx, Write};
use starling_events::{CanonicalObject, EventBuilder, RoomVersion, SigningKey};
use starling_outbound::Transport;
use starling_rooms::{
    Actor, CreateRoom, Draft, MembershipAction, Parts, Preset, RequestPath, Rooms, SendError,
};
use starling_runtime::{Chance, Clock};
use starling_store::accounts::{AccountInsert, AccountKind, account_insert};
use starling_store::append::NewEvent;
use starling_store::devices::device_upsert;
use starling_store::{CacheSizes, DeviceNum, Store};

use crate::database::TestDb;
use crate::remote::{own_key, remote_by};

/// The rooms of a server called `localhost`, over a test's database.
#[derive(Debug, Clone)]
pub struct World {
    /// The store.
    pub store: Store,
    /// Who wakes up.
    pub bus: Bus,
    /// The rooms.
    pub rooms: Rooms,
    /// The clock.
    pub clock: Clock,
}

impl World {
    /// Starts on a database, as a server does.
    ///
    /// # Panics
    /// When the database cannot be read.
    pub async fn start(db: &TestDb) -> Self {
        Self::start_at(db, RoomVersion::V12).await
    }

    /// As [`World::start`], with another default version of rooms.
    ///
    /// # Panics
    /// As [`World::start`].
    pub async fn start_at(db: &TestDb, default_version: RoomVersion) -> Self {
        Self::over(db.db().clone(), default_version, None).await
    }

    /// As [`World::start`], with other servers at the end of this transport.
    ///
    /// # Panics
    /// As [`World::start`].
    pub async fn start_on(db: &TestDb, transport: Arc<dyn Transport>) -> Self {
        Self::over(db.db().clone(), RoomVersion::V12, Some(transport)).await
    }

    /// Another node on the same database (PostgreSQL).
    ///
    /// # Panics
    /// As [`World::start`].
    pub async fn second_node(&self, db: Db) -> Self {
        Self::over(db, self.rooms.default_version(), None).await
    }

    async fn over(
        db: Db,
        default_version: RoomVersion,
        transport: Option<Arc<dyn Transport>>,
    ) -> Self {
        let (head, epoch) = db.head().await.expect("the head is read");
        let store = Store::new(db, epoch, CacheSizes::new(16 << 20));
        // Two servers on one database are two processes.
        let boot = Chance::system().expect("the system has random bytes");
        let bus = Bus::new(head, boot.number());
        let clock = Clock::simulated(1_700_000_000_000);
        let rooms = Rooms::new(Parts {
            store: store.clone(),
            bus: bus.clone(),
            clock: clock.clone(),
            chance: Chance::seeded(7),
            server_name: owned_server_name!("localhost"),
            signing_key: own_key(),
            default_version,
            forget_on_leave: false,
            remote: transport.map(|transport| remote_by(transport, &store, &clock)),
        });
        Self {
            store,
            bus,
            rooms,
            clock,
        }
    }

    /// A local user with one device, made if there is none of this name.
    ///
    /// # Panics
    /// When the database fails.
    pub async fn user(&self, name: &str) -> Actor {
        let user_id = OwnedUserId::try_from(format!("@{name}:localhost")).expect("a user id");
        let (names, wanted) = (Arc::clone(self.store.names()), user_id.clone());
        let insert = move |tx: &mut Tx<'_>| {
            let user = names.user_intern(tx, &wanted)?;
            let account = AccountInsert {
                user,
                kind: AccountKind::User,
                is_admin: false,
                password_hash: None,
                created_at: 0,
            };
            account_insert(tx, &account)?;
            Ok::<_, Error>((user, device_upsert(tx, user, "PHONE", None, 0)?))
        };
        let (user, device) = self
            .store
            .db()
            .write(Write::new("test_user"), insert)
            .await
            .expect("a user");
        Actor {
            user,
            user_id,
            device,
            is_guest: false,
        }
    }

    /// What a client asks for when it asks for nothing special.
    #[must_use]
    pub fn plain(preset: Preset) -> CreateRoom {
        CreateRoom {
            is_public: false,
            preset,
            room_version: None,
            alias_name: None,
            name: None,
            topic: None,
            invites: Vec::new(),
            is_direct: false,
            creation_content: Map::new(),
            initial_state: Vec::new(),
            power_levels: Map::new(),
        }
    }

    /// A new room of `creator`, open to all.
    ///
    /// # Panics
    /// When it is not created.
    pub async fn room(&self, creator: &Actor) -> OwnedRoomId {
        self.rooms
            .create(creator, Self::plain(Preset::PublicChat))
            .await
            .expect("a room")
    }

    /// A user of another server joins a room, as if that server had sent the event and it had been found right.
    ///
    /// # Panics
    /// When there is no such room, or the event isn't stored.
    pub async fn join_remote(&self, room: &RoomId, user_id: &str) {
        let join = serde_json::json!({ "membership": "join" });
        self.set_remote(room, user_id, &join).await;
    }

    /// A user of another server sends a member event of their own with this content, as if that server had sent it and it had
    /// been found right.
    ///
    /// # Panics
    /// When there is no such room, or the event isn't stored.
    pub async fn set_remote(&self, room: &RoomId, user_id: &str, member: &Value) {
        let db = self.store.db();
        let room = self.store.room_num(room).await.expect("it is read");
        let room = room.expect("a room");
        let before = self.store.room(room).await.expect("it is read");
        let before = before.expect("a room");
        let user = <&UserId>::try_from(user_id).expect("a user id");
        let references = before.extremities.iter().map(|it| it.reference.clone());
        let builder = EventBuilder {
            room_id: Some(before.room_id.clone()),
            sender: user.to_owned(),
            kind: "m.room.member".to_owned(),
            state_key: Some(user_id.to_owned()),
            content: content(member),
            redacts: None,
            origin_server_ts: self.clock.now_ms(),
            depth: 1,
            prev_events: references.collect(),
            auth_events: Vec::new(),
        };
        let key = SigningKey::generate([1; 32], "test").expect("a key");
        let pdu = builder.build(before.version, user.server_name(), &key);
        let new = NewEvent {
            fork: None,
            pdu: pdu.expect("an event"),
            auth: Vec::new(),
            transaction: None,
            profile: None,
            redacts: None,
            relates_to: None,
            now_ms: self.clock.now_ms(),
            forgets_left: false,
        };
        let store = self.store.clone();
        let place = move |tx: &mut Tx<'_>, positions: &mut Positions, ()| {
            let server = server_name!("localhost");
            store.append(tx, positions, &before, &new, server).map(drop)
        };
        let write = Write::new("test_join").locking([room.0]);
        let joined = db.write_placed(write, |_| Ok(()), place).await;
        joined.expect("it is stored");
    }

    /// Sends a text.
    ///
    /// # Errors
    /// Those of [`Rooms::send`].
    pub async fn say(
        &self,
        actor: &Actor,
        room: &RoomId,
        text: &str,
    ) -> Result<OwnedEventId, SendError> {
        let content = content(&serde_json::json!({ "msgtype": "m.text", "body": text }));
        self.rooms
            .send(
                actor,
                room,
                Draft::message(actor.user_id.clone(), "m.room.message", content),
                None,
            )
            .await
    }

    /// Sends a text in the thread of an event.
    ///
    /// # Errors
    /// Those of [`Rooms::send`].
    pub async fn reply(
        &self,
        actor: &Actor,
        room: &RoomId,
        of: &EventId,
    ) -> Result<OwnedEventId, SendError> {
        let relation = serde_json::json!({ "rel_type": "m.thread", "event_id": of });
        let reply =
            serde_json::json!({ "msgtype": "m.text", "body": "so", "m.relates_to": relation });
        let user_id = actor.user_id.clone();
        let draft = Draft::message(user_id, "m.room.message", content(&reply));
        self.rooms.send(actor, room, draft, None).await
    }

    /// Sends a text with a transaction id.
    ///
    /// # Errors
    /// Those of [`Rooms::send`].
    pub async fn say_once(
        &self,
        actor: &Actor,
        room: &RoomId,
        text: &str,
        txn_id: &str,
    ) -> Result<OwnedEventId, SendError> {
        let kind = "m.room.message";
        let content = content(&serde_json::json!({ "msgtype": "m.text", "body": text }));
        let draft = Draft::message(actor.user_id.clone(), kind, content);
        let transaction = (RequestPath::send(room, kind), txn_id);
        self.rooms.send(actor, room, draft, Some(transaction)).await
    }

    /// Sets state.
    ///
    /// # Errors
    /// Those of [`Rooms::send`].
    pub async fn set(
        &self,
        actor: &Actor,
        room: &RoomId,
        (kind, key): (&str, &str),
        value: &Value,
    ) -> Result<OwnedEventId, SendError> {
        let draft = Draft::state(actor.user_id.clone(), kind, key, content(value));
        self.rooms.send(actor, room, draft, None).await
    }

    /// Comes in or goes.
    ///
    /// # Errors
    /// Those of [`Rooms::change_membership`].
    pub async fn act(
        &self,
        actor: &Actor,
        room: &RoomId,
        action: MembershipAction,
        target: &Actor,
    ) -> Result<(), SendError> {
        self.rooms
            .change_membership(actor, room, action, &target.user_id, None)
            .await
    }

    /// The same actor on another device number, as far as transaction ids are concerned.
    #[must_use]
    pub fn on_device(actor: &Actor, device: i64) -> Actor {
        Actor {
            device: DeviceNum(device),
            ..actor.clone()
        }
    }
}

/// The content of an event.
///
/// # Panics
/// When the value is no object, or holds what events may not.
fn content(value: &Value) -> CanonicalObject {
    CanonicalObject::from_serialize(value).expect("content")
}
