//! Events of other servers: where they stand, what they make of a room, and which are refused.

use std::sync::Arc;

use ruma_common::{EventId, OwnedRoomId};
use serde_json::{Value, json};
use starling_db::Write;
use starling_events::{Pdu, RoomVersion};
use starling_rooms::{Actor, Received};
use starling_store::SCHEMA;
use starling_store::events::{Event, Status};
use starling_store::history::Viewer;
use starling_store::inbox::inbox_insert;
use starling_store::rooms::RoomSnapshot;
use starling_testkit::{Peer, Said, TestDb, World, on_each_engine};

/// A room of a local user, in which a user of another server is too.
struct Shared {
    world: World,
    alice: Actor,
    peer: Peer,
    room: OwnedRoomId,
}

impl Shared {
    async fn start(db: &TestDb, version: RoomVersion) -> Self {
        let world = World::start_at(db, version).await;
        let alice = world.user("alice").await;
        let room = world.room(&alice).await;
        let shared = Self {
            world,
            alice,
            peer: Peer::new("peer.test"),
            room,
        };
        shared.joins("bob").await;
        shared
    }

    fn version(&self) -> RoomVersion {
        self.world.rooms.default_version()
    }

    async fn snapshot(&self) -> Arc<RoomSnapshot> {
        let room = self
            .world
            .store
            .room_num(&self.room)
            .await
            .unwrap()
            .unwrap();
        self.world.store.room(room).await.unwrap().unwrap()
    }

    async fn event(&self, id: &EventId) -> Option<Arc<Event>> {
        let (store, id) = (self.world.store.clone(), id.to_owned());
        let read = move |tx: &mut starling_db::Tx<'_>| store.event_by_id(tx, &id);
        self.world.store.db().read("event", read).await.unwrap()
    }

    async fn pdu(&self, id: &EventId) -> Pdu {
        self.event(id).await.unwrap().pdu.clone()
    }

    /// The event that holds a key of the current state.
    async fn state(&self, kind: &str, key: &str) -> Option<Arc<Event>> {
        let (store, snapshot) = (self.world.store.clone(), self.snapshot().await);
        let (kind, key) = (kind.to_owned(), key.to_owned());
        let read = move |tx: &mut starling_db::Tx<'_>| {
            let kind = store.names().kind(tx, &kind)?;
            let Some((kind, key)) = kind.zip(store.names().key(tx, &key)?) else {
                return Ok::<_, starling_db::Error>(None);
            };
            match snapshot.state_event(kind, key) {
                Some(event) => store.event_read(tx, event),
                None => Ok(None),
            }
        };
        self.world.store.db().read("state", read).await.unwrap()
    }

    async fn allowing(&self, sender: &str) -> Vec<Pdu> {
        let sender = self.peer.user(sender);
        let mut pdus = Vec::new();
        for (kind, key) in [
            ("m.room.create", ""),
            ("m.room.power_levels", ""),
            ("m.room.member", sender.as_str()),
        ] {
            pdus.extend(self.state(kind, key).await.map(|event| event.pdu.clone()));
        }
        pdus
    }

    async fn last(&self) -> Vec<Pdu> {
        let mut last = Vec::new();
        for extremity in &self.snapshot().await.extremities {
            last.push(self.pdu(&extremity.reference.event_id).await);
        }
        last
    }

    /// An event of the peer that follows `prev`.
    async fn say(&self, said: &Said<'_>, prev: &[&Pdu]) -> Pdu {
        let auth = self.allowing(said.sender).await;
        let auth: Vec<&Pdu> = auth.iter().collect();
        let room = (self.version(), &*self.room);
        self.peer
            .event(room, said, (prev, &auth), 1_700_000_000_000)
    }

    async fn message(&self, body: &str, prev: &[&Pdu]) -> Pdu {
        let said = Said {
            sender: "bob",
            kind: "m.room.message",
            state_key: None,
            content: json!({ "body": body, "msgtype": "m.text" }),
        };
        self.say(&said, prev).await
    }

    async fn topic(&self, topic: &str, prev: &[&Pdu]) -> Pdu {
        let said = Said {
            sender: "bob",
            kind: "m.room.topic",
            state_key: Some(""),
            content: json!({ "topic": topic }),
        };
        self.say(&said, prev).await
    }

    async fn joins(&self, name: &str) -> Pdu {
        let user = self.peer.user(name);
        let said = Said {
            sender: name,
            kind: "m.room.member",
            state_key: Some(user.as_str()),
            content: json!({ "membership": "join" }),
        };
        let mut auth = self.allowing(name).await;
        auth.push(
            self.state("m.room.join_rules", "")
                .await
                .unwrap()
                .pdu
                .clone(),
        );
        let (last, auth): (Vec<Pdu>, Vec<&Pdu>) = (self.last().await, auth.iter().collect());
        let prev: Vec<&Pdu> = last.iter().collect();
        let room = (self.version(), &*self.room);
        let join = self
            .peer
            .event(room, &said, (&prev, &auth), 1_700_000_000_000);
        assert_eq!(self.receive(&join).await, Received::Accepted);
        join
    }

    async fn receive(&self, pdu: &Pdu) -> Received {
        let received = self
            .world
            .rooms
            .receive(&self.peer.server, pdu.clone())
            .await;
        received.unwrap()
    }

    async fn set(&self, kind: &str, key: &str, content: &Value) -> Pdu {
        let set = self
            .world
            .set(&self.alice, &self.room, (kind, key), content);
        let id = set.await.unwrap();
        self.pdu(&id).await
    }
}

async fn in_versions(test: impl AsyncFn(Shared)) {
    for version in [
        RoomVersion::V1,
        RoomVersion::V6,
        RoomVersion::V11,
        RoomVersion::V12,
    ] {
        on_each_engine(&SCHEMA, async |db: TestDb| {
            test(Shared::start(&db, version).await).await;
        })
        .await;
    }
}

fn status(event: Option<Arc<Event>>) -> (Status, bool) {
    let event = event.unwrap();
    (event.status, event.place.is_some())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_the_room_s_last_event_is_its_next() {
    in_versions(async |shared| {
        let last = shared.last().await;
        let said = shared
            .message("hello", &last.iter().collect::<Vec<_>>())
            .await;
        assert_eq!(shared.receive(&said).await, Received::Accepted);
        assert_eq!(shared.receive(&said).await, Received::Known);
        let answer = shared
            .world
            .say(&shared.alice, &shared.room, "hi")
            .await
            .unwrap();
        let answer = shared.pdu(&answer).await;
        assert_eq!(answer.prev_events(), [said.event_id().to_owned()]);
        assert_eq!(shared.snapshot().await.joined, 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn branches_stand_beside_each_other_until_an_event_follows_both() {
    in_versions(async |shared| {
        let start = shared.last().await;
        let start: Vec<&Pdu> = start.iter().collect();
        let (left, right) = (
            shared.message("left", &start).await,
            shared.message("right", &start).await,
        );
        for said in [&left, &right] {
            assert_eq!(shared.receive(said).await, Received::Accepted);
        }
        assert_eq!(shared.snapshot().await.extremities.len(), 2);
        let merge = shared
            .world
            .say(&shared.alice, &shared.room, "both")
            .await
            .unwrap();
        let merge = shared.pdu(&merge).await;
        assert_eq!(merge.prev_events().len(), 2);
        assert_eq!(shared.snapshot().await.extremities.len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_branches_meet_the_state_is_resolved_whatever_came_first() {
    in_versions(async |shared| {
        let levels = json!({
            "users": { shared.alice.user_id.as_str(): 100, "@bob:peer.test": 50 },
        });
        let levels = match shared.version() {
            RoomVersion::V12 => json!({ "users": { "@bob:peer.test": 50 } }),
            _ => levels,
        };
        let start = shared.set("m.room.power_levels", "", &levels).await;
        // Two topics on two branches: one is bob's, one is alice's.
        let his = shared.topic("of bob", &[&start]).await;
        let hers = shared
            .set("m.room.topic", "", &json!({ "topic": "of alice" }))
            .await;
        assert_eq!(shared.receive(&his).await, Received::Accepted);
        let held = shared.state("m.room.topic", "").await.unwrap().pdu.clone();
        assert!([his.event_id(), hers.event_id()].contains(&held.event_id()));
        // One who has lost the power on the one branch can't have it on the other.
        let both = shared.message("merge", &[&his, &hers]).await;
        assert_eq!(shared.receive(&both).await, Received::Accepted);
        let levels = match shared.version() {
            RoomVersion::V12 => json!({ "users": { "@bob:peer.test": 0 } }),
            _ => json!({ "users": { shared.alice.user_id.as_str(): 100 } }),
        };
        let meanwhile = shared.topic("while he could", &[&both]).await;
        let taken = shared.set("m.room.power_levels", "", &levels).await;
        assert_eq!(taken.prev_events(), [both.event_id().to_owned()]);
        let received = shared.receive(&meanwhile).await;
        assert!(matches!(received, Received::SoftFailed(_)), "{received:?}");
        assert_eq!(
            shared
                .state("m.room.topic", "")
                .await
                .unwrap()
                .pdu
                .event_id(),
            held.event_id()
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_rules_refuse_is_remembered_and_changes_nothing() {
    in_versions(async |shared| {
        let last = shared.last().await;
        let last: Vec<&Pdu> = last.iter().collect();
        let topic = shared.topic("of bob", &last).await;
        let received = shared.receive(&topic).await;
        assert!(matches!(received, Received::Rejected(_)), "{received:?}");
        assert_eq!(
            status(shared.event(topic.event_id()).await),
            (Status::Rejected, false)
        );
        assert_eq!(shared.receive(&topic).await, Received::Known);
        assert!(shared.state("m.room.topic", "").await.is_none());
        // What follows it is none the worse.
        let after = shared.message("after it", &[&topic]).await;
        assert_eq!(shared.receive(&after).await, Received::Accepted);
        // What it should allow is.
        let mut auth = shared.allowing("bob").await;
        auth.push(topic.clone());
        let said = Said {
            sender: "bob",
            kind: "m.room.message",
            state_key: None,
            content: json!({ "body": "cites it" }),
        };
        let auth: Vec<&Pdu> = auth.iter().collect();
        let room = (shared.version(), &*shared.room);
        let citing = shared.peer.event(room, &said, (&[&after], &auth), 1);
        let received = shared.receive(&citing).await;
        assert!(matches!(received, Received::Rejected(_)), "{received:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_banned_meanwhile_is_not_heard() {
    in_versions(async |shared| {
        let before = shared.last().await;
        let before: Vec<&Pdu> = before.iter().collect();
        let said = shared.message("let me in", &before).await;
        let ban = json!({ "membership": "ban" });
        shared.set("m.room.member", "@bob:peer.test", &ban).await;
        let received = shared.receive(&said).await;
        assert!(matches!(received, Received::SoftFailed(_)), "{received:?}");
        assert_eq!(
            status(shared.event(said.event_id()).await),
            (Status::SoftFailed, false)
        );
        assert_eq!(shared.snapshot().await.extremities.len(), 1);
        let answer = shared
            .world
            .say(&shared.alice, &shared.room, "quiet")
            .await
            .unwrap();
        assert!(
            !shared
                .pdu(&answer)
                .await
                .prev_events()
                .contains(&said.event_id().to_owned())
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_joined_on_one_branch_was_not_there_on_another() {
    in_versions(async |shared| {
        let visibility = json!({ "history_visibility": "joined" });
        shared
            .set("m.room.history_visibility", "", &visibility)
            .await;
        let start = shared.last().await;
        let start: Vec<&Pdu> = start.iter().collect();
        let unseen = shared.message("among ourselves", &start).await;
        let carol = shared.world.user("carol").await;
        let joined = shared.world.rooms.join(&carol, (&shared.room, &[]), None);
        joined.await.unwrap();
        // It comes after the join, but was said where that isn't known.
        assert_eq!(shared.receive(&unseen).await, Received::Accepted);
        let last = shared.last().await;
        let seen = shared
            .message("welcome", &last.iter().collect::<Vec<_>>())
            .await;
        assert_eq!(shared.receive(&seen).await, Received::Accepted);
        let room = shared.snapshot().await.room;
        let (unseen, seen) = (
            shared.event(unseen.event_id()).await.unwrap(),
            shared.event(seen.event_id()).await.unwrap(),
        );
        for (who, sees_first) in [(&carol, false), (&shared.alice, true)] {
            let (store, user) = (shared.world.store.clone(), who.user);
            let read = move |tx: &mut starling_db::Tx<'_>| Viewer::load(tx, &store, user, room);
            let viewer = shared.world.store.db().read("viewer", read).await.unwrap();
            assert_eq!(viewer.sees(&unseen), sees_first, "{}", who.user_id);
            assert!(viewer.sees(&seen), "{}", who.user_id);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_in_is_received_also_after_a_restart() {
    on_each_engine(&SCHEMA, |mut db: TestDb| async move {
        let shared = Shared::start(&db, RoomVersion::V12).await;
        let last = shared.last().await;
        let last: Vec<&Pdu> = last.iter().collect();
        let first = shared.message("first", &last).await;
        let second = shared.message("second", &[&first]).await;
        // As if the server had stopped before it came to them.
        let (room, origin) = (shared.snapshot().await.room, shared.peer.server.clone());
        let waiting = [first.clone(), second.clone()];
        let write = move |tx: &mut starling_db::Tx<'_>| {
            let mut waiting = waiting.iter();
            waiting
                .try_for_each(|pdu| inbox_insert(tx, room, &origin, (pdu.event_id(), pdu.json())))
        };
        let written = shared.world.store.db().write(Write::new("inbox"), write);
        written.await.unwrap();
        db.reopen().await;
        let shared = Shared {
            world: World::start(&db).await,
            ..shared
        };
        shared.world.rooms.resume_inbox().await.unwrap();
        while shared.last().await.first().map(Pdu::event_id) != Some(second.event_id()) {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            status(shared.event(first.event_id()).await),
            (Status::Accepted, true)
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_is_created_once() {
    on_each_engine(&SCHEMA, async |db: TestDb| {
        let shared = Shared::start(&db, RoomVersion::V11).await;
        let said = Said {
            sender: "bob",
            kind: "m.room.create",
            state_key: Some(""),
            content: json!({ "m.federate": false }),
        };
        let room = (shared.version(), &*shared.room);
        let again = shared
            .peer
            .event(room, &said, (&[], &[]), i64::from(u32::MAX));
        let received = shared.receive(&again).await;
        assert!(matches!(received, Received::Rejected(_)), "{received:?}");
        let create = shared.state("m.room.create", "").await.unwrap();
        assert_eq!(create.pdu.sender(), shared.alice.user_id);
    })
    .await;
}
