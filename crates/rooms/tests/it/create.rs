//! Creating rooms: presets, versions, what overrides what, and that a refused one leaves nothing behind.

use ruma_common::OwnedUserId;
use serde_json::{Value, json};
use starling_rooms::{CanonicalObject, CreateError, CreateRoom, Invite, Preset, SendError};
use starling_store::SCHEMA;
use starling_testkit::{TestDb, World, on_each_engine};

async fn state(
    world: &World,
    actor: &starling_rooms::Actor,
    room: &ruma_common::RoomId,
    kind: &str,
) -> Value {
    let event = world
        .rooms
        .state_event(actor, room, kind, "")
        .await
        .unwrap();
    serde_json::from_slice(event.pdu.content()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_events_are_in_the_specified_order() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let (alice, bob) = (world.user("alice").await, world.user("bob").await);
        let wanted = CreateRoom {
            alias_name: Some("pub".to_owned()),
            name: Some("The Pub".to_owned()),
            topic: Some("Beer".to_owned()),
            invites: vec![Invite {
                user: bob.user_id.clone(),
            }],
            is_direct: true,
            initial_state: vec![
                (
                    "m.room.name".to_owned(),
                    String::new(),
                    CanonicalObject::default(),
                ),
                (
                    "x.state".to_owned(),
                    "key".to_owned(),
                    CanonicalObject::default(),
                ),
            ],
            ..World::plain(Preset::PrivateChat)
        };
        let room = world.rooms.create(&alice, wanted).await.unwrap();
        let mut events = world.rooms.state(&alice, &room).await.unwrap();
        events.sort_by_key(|event| event.num);
        let kinds: Vec<&str> = events.iter().map(|event| event.pdu.kind()).collect();
        assert_eq!(
            kinds,
            [
                "m.room.create",
                "m.room.member",
                "m.room.power_levels",
                "m.room.canonical_alias",
                "m.room.join_rules",
                "m.room.history_visibility",
                "m.room.guest_access",
                "x.state",
                "m.room.name",
                "m.room.topic",
                "m.room.member",
            ]
        );
        let invite: Value = serde_json::from_slice(events[10].pdu.content()).unwrap();
        assert_eq!(invite, json!({ "membership": "invite", "is_direct": true }));
        assert_eq!(
            state(&world, &alice, &room, "m.room.canonical_alias").await["alias"],
            "#pub:localhost"
        );
        assert_eq!(
            state(&world, &alice, &room, "m.room.name").await["name"],
            "The Pub"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presets_set_what_the_specification_says() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let alice = world.user("alice").await;
        for (preset, join_rule, guests) in [
            (Preset::PrivateChat, "invite", "can_join"),
            (Preset::TrustedPrivateChat, "invite", "can_join"),
            (Preset::PublicChat, "public", "forbidden"),
        ] {
            let room = world
                .rooms
                .create(&alice, World::plain(preset))
                .await
                .unwrap();
            assert_eq!(
                state(&world, &alice, &room, "m.room.join_rules").await["join_rule"],
                join_rule
            );
            assert_eq!(
                state(&world, &alice, &room, "m.room.guest_access").await["guest_access"],
                guests
            );
            let visibility = state(&world, &alice, &room, "m.room.history_visibility").await;
            assert_eq!(visibility["history_visibility"], "shared");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_differ_in_who_has_power() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let (alice, bob) = (world.user("alice").await, world.user("bob").await);
        for (version, users, creators) in [
            (
                "11",
                json!({ "@alice:localhost": 100, "@bob:localhost": 100 }),
                Value::Null,
            ),
            ("12", json!({}), json!(["@bob:localhost"])),
        ] {
            let wanted = CreateRoom {
                room_version: Some(version.to_owned()),
                invites: vec![Invite {
                    user: bob.user_id.clone(),
                }],
                ..World::plain(Preset::TrustedPrivateChat)
            };
            let room = world.rooms.create(&alice, wanted).await.unwrap();
            let create = state(&world, &alice, &room, "m.room.create").await;
            let levels = state(&world, &alice, &room, "m.room.power_levels").await;
            assert_eq!(create["room_version"], version);
            assert_eq!(create.get("creator"), None);
            assert_eq!(create["additional_creators"], creators);
            assert_eq!(levels["users"], users);
            assert_eq!(
                levels["events"]["m.room.tombstone"],
                if version == "12" { 150 } else { 100 }
            );
            assert_eq!(
                room.server_name().is_some(),
                version == "11",
                "the id of version 12 is a hash"
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_cannot_be_leaves_nothing_behind() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let alice = world.user("alice").await;
        let named = || CreateRoom {
            alias_name: Some("pub".to_owned()),
            ..World::plain(Preset::PublicChat)
        };
        world.rooms.create(&alice, named()).await.unwrap();
        let head = world.bus.head();
        let taken = world.rooms.create(&alice, named()).await;
        assert!(
            matches!(taken, Err(CreateError::AliasTaken(_))),
            "{taken:?}"
        );
        let old = CreateRoom {
            room_version: Some("99".to_owned()),
            ..World::plain(Preset::PublicChat)
        };
        let old = world.rooms.create(&alice, old).await;
        assert!(
            matches!(old, Err(CreateError::UnsupportedVersion(_))),
            "{old:?}"
        );
        let stranger = OwnedUserId::try_from("@nobody:localhost").unwrap();
        let nobody = CreateRoom {
            invites: vec![Invite { user: stranger }],
            ..World::plain(Preset::PublicChat)
        };
        let nobody = world.rooms.create(&alice, nobody).await;
        assert!(
            matches!(nobody, Err(CreateError::Invite(SendError::UnknownUser(_)))),
            "{nobody:?}"
        );
        let mut levels = serde_json::Map::new();
        levels.insert("users".to_owned(), json!({ "@alice:localhost": 0 }));
        let powerless = CreateRoom {
            power_levels: levels,
            room_version: Some("11".to_owned()),
            name: Some("no power to name it".to_owned()),
            ..World::plain(Preset::PublicChat)
        };
        let powerless = world.rooms.create(&alice, powerless).await;
        assert!(
            matches!(
                powerless,
                Err(CreateError::InvalidState(SendError::Forbidden(_)))
            ),
            "{powerless:?}"
        );
        assert_eq!(world.bus.head(), head);
        assert_eq!(world.rooms.joined_rooms(&alice).await.unwrap().len(), 1);
    })
    .await;
}
