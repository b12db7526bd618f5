//! Every room version: rooms are made, joined, written to, redacted and left, and are the same after a restart.
//! <https://spec.matrix.org/v1.19/rooms/>

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ruma_common::{OwnedEventId, OwnedRoomId, RoomId};
use serde_json::{Value, json};
use starling_events::id::{parse_event_id, parse_room_id};
use starling_events::keys::{KeyValidity, ServerKey};
use starling_events::room_version::{CreatorPlace, RedactsPlace};
use starling_events::{CanonicalObject, EventReference, Pdu, RoomVersion, SigningKey, sign};
use starling_rooms::{Actor, CreateRoom, Draft, MembershipAction, Preset, SendError};
use starling_store::SCHEMA;
use starling_store::events::Event;
use starling_store::timeline::{Direction, START, Stretch, end_of};
use starling_testkit::{TestDb, World, on_each_engine};

use MembershipAction::{Ban, Invite, Join, Kick};

/// A room in the middle of what happens in it.
struct Room {
    version: RoomVersion,
    id: OwnedRoomId,
    /// Of Bob, not redacted yet.
    message: OwnedEventId,
    /// Of Alice, redacted.
    topic: OwnedEventId,
    timeline: Vec<Arc<Event>>,
}

async fn create(world: &World, creator: &Actor, version: RoomVersion) -> OwnedRoomId {
    let wanted = CreateRoom {
        room_version: Some(version.as_str().to_owned()),
        ..World::plain(Preset::PublicChat)
    };
    world.rooms.create(creator, wanted).await.unwrap()
}

async fn redact(
    world: &World,
    actor: &Actor,
    room: &RoomId,
    target: &OwnedEventId,
) -> Result<OwnedEventId, SendError> {
    let content = json!({ "reason": "spam", "redacts": "$something:else.example" });
    let content = CanonicalObject::from_serialize(&content).unwrap();
    world.rooms.redact(actor, room, target, content, None).await
}

/// All events of a room, oldest first.
async fn timeline(world: &World, room: &RoomId) -> Vec<Arc<Event>> {
    let room = world.store.room_num(room).await.unwrap().unwrap();
    let (store, to) = (world.store.clone(), end_of(world.bus.head()));
    let stretch = Stretch { from: START, to };
    let page = move |tx: &mut starling_db::Tx<'_>| {
        store.timeline_page(tx, room, stretch, Direction::Forwards, 1000)
    };
    world.store.db().read("timeline", page).await.unwrap()
}

fn content(pdu: &Pdu) -> Value {
    serde_json::from_slice(pdu.content()).unwrap()
}

/// Checks events as another server would: each one's form, hashes, id and signature, what it follows and what allows
/// it.
fn check(version: RoomVersion, timeline: &[Arc<Event>]) {
    // That of every test's world.
    let key = SigningKey::generate([7; 32], "test").unwrap();
    let known = ServerKey {
        key: key.verifying_key(),
        validity: KeyValidity::Until(i64::MAX),
    };
    let mut before: HashMap<&ruma_common::EventId, &Pdu> = HashMap::new();
    let mut last: Option<&Pdu> = None;
    for event in timeline {
        let pdu = &event.pdu;
        let parsed = Pdu::parse(version, pdu.json()).unwrap();
        assert_eq!(parsed.event_id(), pdu.event_id(), "version {version}");
        assert_eq!(parsed.json(), pdu.json(), "version {version}");
        assert!(parse_event_id(version, pdu.event_id().as_str()).is_ok());
        assert_eq!(
            pdu.has_valid_content_hash(),
            event.redacted_by.is_none(),
            "version {version}, {pdu:?}"
        );
        sign::verify_event_signatures(pdu, |_, _| Some(&known)).unwrap();
        let follows: Vec<_> = last.map(Pdu::event_id).into_iter().collect();
        assert_eq!(pdu.prev_events(), follows, "version {version}");
        assert_eq!(pdu.depth(), last.map_or(1, |last| last.depth() + 1));
        let auth: Vec<&Pdu> = pdu.auth_events().iter().map(|id| before[&**id]).collect();
        starling_stateres::check_auth_events(version, pdu, &auth).unwrap();
        before.insert(pdu.event_id(), pdu);
        last = Some(pdu);
    }
}

fn check_create(version: RoomVersion, room: &RoomId, create: &Pdu) {
    assert!(parse_room_id(version, room.as_str()).is_ok(), "{room}");
    assert_eq!(create.room_id(), room);
    let content = content(create);
    assert_eq!(content["room_version"], version.as_str());
    let creator = match version.rules().creator {
        CreatorPlace::Content => json!("@alice:localhost"),
        CreatorPlace::Sender => Value::Null,
    };
    assert_eq!(content["creator"], creator, "version {version}");
}

/// Where a redaction says what it redacts, and that it says so only there.
fn check_redaction(version: RoomVersion, redaction: &Pdu, target: &OwnedEventId) {
    assert_eq!(redaction.redacts(), Some(&**target), "version {version}");
    let content = content(redaction);
    assert_eq!(content["reason"], "spam");
    let expected = match version.rules().redacts {
        RedactsPlace::TopLevel => Value::Null,
        RedactsPlace::Content => json!(target),
    };
    assert_eq!(content["redacts"], expected, "version {version}");
}

/// Makes a room and talks in it.
async fn begin(
    world: &World,
    (alice, bob, eve): (&Actor, &Actor, &Actor),
    version: RoomVersion,
) -> Room {
    let id = create(world, alice, version).await;
    world.act(bob, &id, Join, bob).await.unwrap();
    world.act(eve, &id, Join, eve).await.unwrap();
    let message = world.say(bob, &id, "hello").await.unwrap();
    let topic = json!({ "topic": "offensive" });
    let topic = world.set(alice, &id, ("m.room.topic", ""), &topic).await;
    let topic = topic.unwrap();
    let refused = world.set(bob, &id, ("m.room.topic", ""), &json!({})).await;
    assert!(matches!(refused, Err(SendError::Forbidden(_))));
    // Who has no power redacts nothing of others, in any version.
    let refused = redact(world, bob, &id, &topic).await;
    assert!(
        matches!(refused, Err(SendError::Forbidden(_))),
        "{refused:?}"
    );
    let redaction = redact(world, alice, &id, &topic).await.unwrap();
    let redaction = world.rooms.event(alice, &id, &redaction).await.unwrap();
    check_redaction(version, &redaction.pdu, &topic);
    let timeline = timeline(world, &id).await;
    check(version, &timeline);
    check_create(version, &id, &timeline[0].pdu);
    Room {
        version,
        id,
        message,
        topic,
        timeline,
    }
}

/// Goes on in the room after a restart.
async fn go_on(world: &World, (alice, bob, eve): (&Actor, &Actor, &Actor), room: &Room) {
    let (version, id) = (room.version, &room.id);
    let stored = timeline(world, id).await;
    assert_eq!(stored.len(), room.timeline.len());
    for (before, after) in room.timeline.iter().zip(&stored) {
        assert_eq!(before.pdu.json(), after.pdu.json(), "version {version}");
        assert_eq!(
            EventReference::of(&before.pdu),
            EventReference::of(&after.pdu)
        );
    }
    let topic = world.rooms.event(alice, id, &room.topic).await.unwrap();
    assert_eq!(content(&topic.pdu), json!({}), "version {version}");

    let unpruned = world.rooms.event(alice, id, &room.message).await.unwrap();
    let redaction = redact(world, bob, id, &room.message).await.unwrap();
    let pruned = world.rooms.event(alice, id, &room.message).await.unwrap();
    assert_eq!(content(&pruned.pdu), json!({}));
    assert!(pruned.redacted_by.is_some());
    assert_eq!(
        EventReference::of(&pruned.pdu),
        EventReference::of(&unpruned.pdu)
    );
    let redaction = world.rooms.event(alice, id, &redaction).await.unwrap();
    check_redaction(version, &redaction.pdu, &room.message);

    world.act(alice, id, Kick, eve).await.unwrap();
    world.act(eve, id, Join, eve).await.unwrap();
    world.act(alice, id, Ban, eve).await.unwrap();
    let banned = world.act(eve, id, Join, eve).await;
    assert!(matches!(banned, Err(SendError::Forbidden(_))), "{banned:?}");
    let gone = world.say(eve, id, "still here?").await;
    assert!(matches!(gone, Err(SendError::Forbidden(_))), "{gone:?}");
    world.say(alice, id, "bye").await.unwrap();
    check(version, &timeline(world, id).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_of_every_version_work_before_and_after_a_restart() {
    on_each_engine(&SCHEMA, |mut db: TestDb| async move {
        let world = World::start(&db).await;
        let (alice, bob) = (world.user("alice").await, world.user("bob").await);
        let eve = world.user("eve").await;
        let people = (&alice, &bob, &eve);
        let mut rooms = Vec::new();
        for version in RoomVersion::ALL {
            rooms.push(begin(&world, people, version).await);
        }
        db.reopen().await;
        let world = World::start(&db).await;
        for room in &rooms {
            go_on(&world, people, room).await;
        }
        db.reopen().await;
        let world = World::start(&db).await;
        for room in &rooms {
            check(room.version, &timeline(&world, &room.id).await);
            world.say(&bob, &room.id, "and again").await.unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redacted_state_decides_as_its_pruned_form_does() {
    on_each_engine(&SCHEMA, |mut db: TestDb| async move {
        let world = World::start(&db).await;
        let (alice, bob) = (world.user("alice").await, world.user("bob").await);
        let eve = world.user("eve").await;
        let mut rooms = Vec::new();
        // Up to version 10, a redaction takes the level for inviting away, and then everybody may.
        for (version, may_invite) in [(RoomVersion::V10, true), (RoomVersion::V11, false)] {
            let room = create(&world, &alice, version).await;
            world.act(&bob, &room, Join, &bob).await.unwrap();
            let refused = world.act(&bob, &room, Invite, &eve).await;
            assert!(matches!(refused, Err(SendError::Forbidden(_))));
            let levels = world
                .rooms
                .state_event(&alice, &room, "m.room.power_levels", "")
                .await
                .unwrap();
            let levels = levels.pdu.event_id().to_owned();
            redact(&world, &alice, &room, &levels).await.unwrap();
            let invited = world.act(&bob, &room, Invite, &eve).await;
            assert_eq!(invited.is_ok(), may_invite, "version {version}");
            rooms.push((version, room, may_invite));
        }
        db.reopen().await;
        let world = World::start(&db).await;
        for (version, room, may_invite) in rooms {
            let invited = world.act(&bob, &room, Invite, &eve).await;
            assert_eq!(invited.is_ok(), may_invite, "version {version}, restarted");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_version_does_not_have_is_refused_there() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let (alice, bob) = (world.user("alice").await, world.user("bob").await);
        for version in RoomVersion::ALL {
            let rules = version.rules();
            let room = create(&world, &alice, version).await;
            let join_rules = async |rule: &str| {
                let content = json!({ "join_rule": rule });
                let set = world.set(&alice, &room, ("m.room.join_rules", ""), &content);
                set.await.unwrap();
            };
            // Any word can be written; only where it is a join rule does it mean something.
            join_rules("knock").await;
            let content = CanonicalObject::parse(br#"{"membership":"knock"}"#).unwrap();
            let knock = Draft::state(
                bob.user_id.clone(),
                "m.room.member",
                bob.user_id.as_str(),
                content,
            );
            let knocked = world.rooms.send(&bob, &room, knock, None).await;
            assert_eq!(knocked.is_ok(), rules.knocking, "version {version}");
            for rule in ["restricted", "knock_restricted", "invite"] {
                join_rules(rule).await;
                let joined = world.act(&bob, &room, Join, &bob).await;
                let is_refused = matches!(joined, Err(SendError::Forbidden(_)));
                assert!(is_refused, "version {version}, {rule}: {joined:?}");
            }
            world.act(&alice, &room, Invite, &bob).await.unwrap();
            world.act(&bob, &room, Join, &bob).await.unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_creator_stands_where_the_version_wants_it() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let alice = world.user("alice").await;
        for version in RoomVersion::ALL {
            let mut more = serde_json::Map::new();
            more.insert("creator".to_owned(), json!("@other:localhost"));
            more.insert("room_version".to_owned(), json!("99"));
            more.insert(
                "predecessor".to_owned(),
                json!({ "room_id": "!old:localhost" }),
            );
            let wanted = CreateRoom {
                room_version: Some(version.as_str().to_owned()),
                creation_content: more,
                ..World::plain(Preset::PrivateChat)
            };
            let room = world.rooms.create(&alice, wanted).await.unwrap();
            let create = world
                .rooms
                .state_event(&alice, &room, "m.room.create", "")
                .await
                .unwrap();
            check_create(version, &room, &create.pdu);
            let predecessor = &content(&create.pdu)["predecessor"];
            assert_eq!(predecessor["room_id"], "!old:localhost");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_made_at_once_are_different_rooms() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let alice = world.user("alice").await;
        // Where the id is the hash of the create event, only the time tells such rooms apart.
        let create = |_| {
            let (world, alice) = (world.clone(), alice.clone());
            tokio::spawn(async move { create(&world, &alice, RoomVersion::V12).await })
        };
        let creating: Vec<_> = (0..20).map(create).collect();
        let mut rooms = HashSet::new();
        for room in creating {
            assert!(rooms.insert(room.await.unwrap()));
        }
    })
    .await;
}
