//! Users of other servers who come into rooms of this one.

use ruma_common::{OwnedUserId, RoomId};
use serde_json::{Map, Value, json};
use starling_events::room_version::ReferenceForm;
use starling_events::sign::{sign_event, signatures};
use starling_events::{EventBuilder, EventReference, Pdu, RoomVersion};
use starling_rooms::remote::Handshake;
use starling_rooms::{
    Actor, Membership, MembershipAction, OwnTemplate, Preset, ResidentError, SendError,
};
use starling_store::SCHEMA;
use starling_store::timeline::{Direction, START, Stretch, end_of};
use starling_testkit::{TestDb, World, on_each_engine};

use super::graph::{RESIDENT, content, raw, value};
use super::net::{Connected, key_of, server};

const BOB: &str = "@bob:resident.example";

fn all_versions() -> Vec<String> {
    RoomVersion::ALL
        .map(|version| version.as_str().to_owned())
        .into()
}

fn reference(version: RoomVersion, name: &Value) -> EventReference {
    match version.rules().references {
        ReferenceForm::Ids => EventReference {
            event_id: name.as_str().unwrap().try_into().unwrap(),
            hash: None,
        },
        ReferenceForm::WithHashes => {
            let hash = name[1]["sha256"].as_str().unwrap();
            let hash = starling_events::unpadded_base64::decode(hash).unwrap();
            EventReference {
                event_id: name[0].as_str().unwrap().try_into().unwrap(),
                hash: Some(hash.try_into().unwrap()),
            }
        }
    }
}

/// What Bob's server makes of a template.
fn signed(template: &OwnTemplate, room: &RoomId) -> Pdu {
    let (version, event) = (template.version, &template.event);
    let references = |name: &str| {
        let names = event[name].as_array().unwrap();
        names.iter().map(|name| reference(version, name)).collect()
    };
    let builder = EventBuilder {
        room_id: Some(room.to_owned()),
        sender: BOB.try_into().unwrap(),
        kind: event["type"].as_str().unwrap().to_owned(),
        state_key: Some(event["state_key"].as_str().unwrap().to_owned()),
        content: content(&event["content"]),
        redacts: None,
        origin_server_ts: 1_700_000_000_000,
        depth: event["depth"].as_i64().unwrap(),
        prev_events: references("prev_events"),
        auth_events: references("auth_events"),
    };
    builder
        .build(version, &server(RESIDENT), &key_of(RESIDENT))
        .unwrap()
}

async fn make(
    at: &Connected,
    handshake: Handshake,
    room: &RoomId,
) -> Result<OwnTemplate, ResidentError> {
    let bob: OwnedUserId = BOB.try_into().unwrap();
    let wanted = (handshake, room);
    at.world
        .rooms
        .make_for(&server(RESIDENT), wanted, &bob, &all_versions())
        .await
}

async fn room_of(
    at: &Connected,
    alice: &Actor,
    version: RoomVersion,
    rule: &Value,
) -> ruma_common::OwnedRoomId {
    let mut wanted = World::plain(Preset::PublicChat);
    wanted.room_version = Some(version.as_str().to_owned());
    let room = at.world.rooms.create(alice, wanted).await.unwrap();
    at.world
        .set(alice, &room, ("m.room.join_rules", ""), rule)
        .await
        .unwrap();
    room
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_of_another_server_joins_rooms_of_every_version() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let alice = at.world.user("alice").await;
        at.net.add(RESIDENT, |_| None);
        for version in RoomVersion::ALL {
            let room = room_of(&at, &alice, version, &json!({ "join_rule": "public" })).await;
            let template = make(&at, Handshake::Join, &room).await.unwrap();
            assert_eq!(template.version, version);
            let names: Vec<&String> = template.event.keys().collect();
            let expected = [
                "auth_events",
                "content",
                "depth",
                "origin_server_ts",
                "prev_events",
                "room_id",
                "sender",
                "state_key",
                "type",
            ];
            assert_eq!(names, expected, "version {version}");
            let join = signed(&template, &room);
            let sent = raw(&value(&join));
            let wanted = (Handshake::Join, &*room);
            let origin = server(RESIDENT);
            let taken = at
                .world
                .rooms
                .accept_of(&origin, wanted, join.event_id(), &sent);
            assert_eq!(
                taken.await.unwrap().event_id(),
                join.event_id(),
                "version {version}"
            );
            assert_eq!(standing(&at, &room, BOB).await, Some(Membership::Join));
            // And out again, as he came.
            let template = make(&at, Handshake::Leave, &room).await.unwrap();
            let leave = signed(&template, &room);
            let sent = raw(&value(&leave));
            let wanted = (Handshake::Leave, &*room);
            let taken = at
                .world
                .rooms
                .accept_of(&origin, wanted, leave.event_id(), &sent);
            taken.await.unwrap();
            assert_eq!(standing(&at, &room, BOB).await, Some(Membership::Leave));
            at.world.say(&alice, &room, "bye").await.unwrap();
        }
    })
    .await;
}

/// What a user is in a room.
async fn standing(at: &Connected, room: &RoomId, user: &str) -> Option<Membership> {
    let room = at.world.store.room_num(room).await.unwrap().unwrap();
    let user: OwnedUserId = user.try_into().unwrap();
    at.world
        .rooms
        .current_membership(room, &user)
        .await
        .unwrap()
}

/// The template that Bob's server has for a user here, who comes in by Bob.
async fn template_by_bob(at: &Connected, room: &RoomId, user: &str) -> Value {
    let num = at.world.store.room_num(room).await.unwrap().unwrap();
    let snapshot = at.world.store.room(num).await.unwrap().unwrap();
    let (store, numbers) = (at.world.store.clone(), snapshot.clone());
    let read = move |tx: &mut starling_db::Tx<'_>| {
        let numbers: Vec<_> = numbers.state.iter().map(|entry| entry.event).collect();
        store.events_read(tx, &numbers)
    };
    let state = at.world.store.db().read("state", read).await.unwrap();
    let wanted = ["m.room.create", "m.room.power_levels", "m.room.join_rules"];
    let auth = state
        .iter()
        .map(|event| &event.pdu)
        .filter(|event| wanted.contains(&event.kind()) || event.state_key() == Some(BOB));
    let auth: Vec<&str> = auth.map(|event| event.event_id().as_str()).collect();
    let last = &snapshot.extremities[0];
    let content = json!({ "membership": "join", "join_authorised_via_users_server": BOB });
    let event = json!({
        "type": "m.room.member", "room_id": room, "sender": user, "state_key": user,
        "content": content, "depth": last.depth + 1, "auth_events": auth,
        "prev_events": [last.reference.event_id],
    });
    let state: Vec<Value> = state.iter().map(|event| value(&event.pdu)).collect();
    let (store, to) = (at.world.store.clone(), end_of(at.world.bus.head()));
    let read = move |tx: &mut starling_db::Tx<'_>| {
        store.timeline_page(
            tx,
            num,
            Stretch { from: START, to },
            Direction::Forwards,
            100,
        )
    };
    let all = at.world.store.db().read("timeline", read).await.unwrap();
    let all: Vec<Value> = all.iter().map(|event| value(&event.pdu)).collect();
    json!({ "room_version": "10", "event": event, "state": state, "auth_chain": all })
}

/// Its conditions are of rooms that only the other server is in, and so is who may let somebody in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_in_the_room_lets_in_whom_this_one_cannot() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let (alice, carol) = (at.world.user("alice").await, at.world.user("carol").await);
        at.net.add(RESIDENT, |_| None);
        let mut wanted = World::plain(Preset::PublicChat);
        wanted.room_version = Some("10".to_owned());
        wanted.power_levels = json!({ "invite": 0 }).as_object().unwrap().clone();
        let room = at.world.rooms.create(&alice, wanted).await.unwrap();
        let rule = json!({ "join_rule": "restricted", "allow": [
            { "type": "m.room_membership", "room_id": "!nowhere:other.example" },
        ] });
        let restrict = || {
            at.world
                .set(&alice, &room, ("m.room.join_rules", ""), &rule)
        };
        let join = async || at.world.rooms.join(&carol, (&room, &[]), None).await;
        restrict().await.unwrap();
        // Nobody else is in the room.
        let refused = join().await;
        assert!(
            matches!(refused, Err(SendError::ConditionsUnknown)),
            "{refused:?}"
        );
        assert_eq!(at.net.asked().len(), 0);
        let open = json!({ "join_rule": "public" });
        at.world
            .set(&alice, &room, ("m.room.join_rules", ""), &open)
            .await
            .unwrap();
        let template = make(&at, Handshake::Join, &room).await.unwrap();
        let bob = signed(&template, &room);
        let (origin, taken) = (server(RESIDENT), raw(&value(&bob)));
        let wanted = (Handshake::Join, &*room);
        at.world
            .rooms
            .accept_of(&origin, wanted, bob.event_id(), &taken)
            .await
            .unwrap();
        restrict().await.unwrap();
        let answer = template_by_bob(&at, &room, "@carol:localhost").await;
        at.net.add(RESIDENT, move |asked| {
            if asked.uri.contains("/make_join/") {
                return Some((200, answer.clone()));
            }
            let join = serde_json::to_vec(&asked.body).unwrap();
            let join = Pdu::parse(RoomVersion::V10, &join).unwrap();
            let join = sign_event(&join, &server(RESIDENT), &key_of(RESIDENT)).unwrap();
            let mut answer = answer.clone();
            answer["event"] = value(&join);
            Some((200, answer))
        });
        join().await.unwrap();
        assert_eq!(
            standing(&at, &room, "@carol:localhost").await,
            Some(Membership::Join)
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn templates_are_for_who_may_and_for_who_asks() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let alice = at.world.user("alice").await;
        let closed = room_of(
            &at,
            &alice,
            RoomVersion::V10,
            &json!({ "join_rule": "invite" }),
        )
        .await;
        let refused = make(&at, Handshake::Join, &closed).await;
        assert!(
            matches!(refused, Err(ResidentError::Forbidden(_))),
            "{refused:?}"
        );
        let refused = make(&at, Handshake::Leave, &closed).await;
        assert!(
            matches!(refused, Err(ResidentError::Forbidden(_))),
            "{refused:?}"
        );
        let bob: OwnedUserId = BOB.try_into().unwrap();
        let rooms = &at.world.rooms;
        let other = server("other.example");
        let wanted = (Handshake::Join, &*closed);
        let refused = rooms.make_for(&other, wanted, &bob, &all_versions()).await;
        assert!(
            matches!(refused, Err(ResidentError::Forbidden(_))),
            "{refused:?}"
        );
        let refused = rooms
            .make_for(&server(RESIDENT), wanted, &bob, &["1".to_owned()])
            .await;
        let incompatible = matches!(
            refused,
            Err(ResidentError::IncompatibleVersion(RoomVersion::V10))
        );
        assert!(incompatible, "{refused:?}");
        let nowhere = ruma_common::room_id!("!nowhere:localhost");
        let refused = make(&at, Handshake::Join, nowhere).await;
        assert!(
            matches!(refused, Err(ResidentError::UnknownRoom)),
            "{refused:?}"
        );
        // A room that its last user has left is nobody's to give.
        let left = at.world.room(&alice).await;
        at.world
            .act(&alice, &left, MembershipAction::Leave, &alice)
            .await
            .unwrap();
        let refused = make(&at, Handshake::Join, &left).await;
        assert!(
            matches!(refused, Err(ResidentError::UnknownRoom)),
            "{refused:?}"
        );
        let knock = room_of(
            &at,
            &alice,
            RoomVersion::V10,
            &json!({ "join_rule": "knock" }),
        )
        .await;
        make(&at, Handshake::Knock, &knock).await.unwrap();
        let old = room_of(
            &at,
            &alice,
            RoomVersion::V6,
            &json!({ "join_rule": "public" }),
        )
        .await;
        let refused = make(&at, Handshake::Knock, &old).await;
        assert!(
            matches!(refused, Err(ResidentError::Forbidden(_))),
            "{refused:?}"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restricted_rooms_let_in_whom_they_would_and_sign_it() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let alice = at.world.user("alice").await;
        at.net.add(RESIDENT, |_| None);
        let rule = |rooms: &[&str]| {
            let allow = |room: &&str| json!({ "type": "m.room_membership", "room_id": room });
            let allow: Vec<Value> = rooms.iter().map(allow).collect();
            json!({ "join_rule": "restricted", "allow": allow })
        };
        let space = at.world.room(&alice).await;
        let nowhere = rule(&["!nowhere:other.example"]);
        let room = room_of(&at, &alice, RoomVersion::V10, &nowhere).await;
        let refused = make(&at, Handshake::Join, &room).await;
        assert!(
            matches!(refused, Err(ResidentError::ConditionsUnknown)),
            "{refused:?}"
        );
        let set_rule = async |rule: Value| {
            at.world
                .set(&alice, &room, ("m.room.join_rules", ""), &rule)
                .await
                .unwrap();
        };
        set_rule(rule(&[space.as_str()])).await;
        let refused = make(&at, Handshake::Join, &room).await;
        assert!(
            matches!(refused, Err(ResidentError::Forbidden(_))),
            "{refused:?}"
        );
        // Where the room is open, nobody need let the user in, and this server signs nothing.
        set_rule(json!({ "join_rule": "public" })).await;
        let template = make(&at, Handshake::Join, &room).await.unwrap();
        assert_eq!(template.event["content"], json!({ "membership": "join" }));
        // Nobody writes themselves in by naming somebody.
        set_rule(rule(&[space.as_str()])).await;
        let mut lie: Map<String, Value> = template.event.clone();
        lie["content"] =
            json!({ "membership": "join", "join_authorised_via_users_server": "@alice:localhost" });
        let lie = OwnTemplate {
            event: lie,
            ..template
        };
        let join = signed(&lie, &room);
        let wanted = (Handshake::Join, &*room);
        let sent = raw(&value(&join));
        let refused = at
            .world
            .rooms
            .accept_of(&server(RESIDENT), wanted, join.event_id(), &sent)
            .await;
        assert!(
            matches!(refused, Err(ResidentError::Forbidden(_))),
            "{refused:?}"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_the_path_says_is_taken() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let alice = at.world.user("alice").await;
        at.net.add(RESIDENT, |_| None);
        let room = room_of(
            &at,
            &alice,
            RoomVersion::V10,
            &json!({ "join_rule": "public" }),
        )
        .await;
        let template = make(&at, Handshake::Join, &room).await.unwrap();
        let join = signed(&template, &room);
        let wanted = (Handshake::Join, &*room);
        let mut changed = value(&join);
        changed["content"]["displayname"] = json!("Mallory");
        let mut forged = value(&join);
        forged["signatures"] = json!({});
        let other_room = at.world.room(&alice).await;
        let id = join.event_id();
        let other_id = ruma_common::event_id!("$other");
        let (peer, other) = (server(RESIDENT), server("other.example"));
        let cases = [
            (
                "other membership",
                &peer,
                (Handshake::Leave, &*room),
                id,
                value(&join),
            ),
            ("other server", &other, wanted, id, value(&join)),
            (
                "other room",
                &peer,
                (Handshake::Join, &*other_room),
                id,
                value(&join),
            ),
            ("other id", &peer, wanted, other_id, value(&join)),
            ("changed", &peer, wanted, id, changed),
            ("forged", &peer, wanted, id, forged),
            ("nothing", &peer, wanted, id, json!({})),
        ];
        for (what, origin, wanted, id, event) in cases {
            let refused = at
                .world
                .rooms
                .accept_of(origin, wanted, id, &raw(&event))
                .await;
            let expected = matches!(
                refused,
                Err(ResidentError::Invalid(_) | ResidentError::Forbidden(_))
            );
            assert!(expected, "{what}: {refused:?}");
        }
        let sent = raw(&value(&join));
        let taken = at
            .world
            .rooms
            .accept_of(&peer, wanted, id, &sent)
            .await
            .unwrap();
        let signers: Vec<String> = signatures(taken.json()).map(|one| one.entity).collect();
        assert_eq!(signers, [RESIDENT]);
    })
    .await;
}
