//! Reading state: now, at a leave, at a token; aliases.

use ruma_common::OwnedRoomAliasId;
use serde_json::json;
use starling_rooms::{
    AliasError, MemberFilter, Membership, MembershipAction, Preset, ReadError, SendError,
};
use starling_store::SCHEMA;
use starling_store::tokens::Token;
use starling_testkit::{TestDb, World, on_each_engine};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_left_sees_the_state_of_their_leave() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let (alice, bob, eve) = (
            world.user("alice").await,
            world.user("bob").await,
            world.user("eve").await,
        );
        let room = world.room(&alice).await;
        world
            .act(&bob, &room, MembershipAction::Join, &bob)
            .await
            .unwrap();
        world
            .set(
                &alice,
                &room,
                ("m.room.topic", ""),
                &json!({ "topic": "before" }),
            )
            .await
            .unwrap();
        world
            .act(&bob, &room, MembershipAction::Leave, &bob)
            .await
            .unwrap();
        world
            .set(
                &alice,
                &room,
                ("m.room.topic", ""),
                &json!({ "topic": "after" }),
            )
            .await
            .unwrap();
        let topic = async |who| {
            let event = world
                .rooms
                .state_event(who, &room, "m.room.topic", "")
                .await?;
            Ok::<_, ReadError>(String::from_utf8_lossy(event.pdu.content()).into_owned())
        };
        assert_eq!(topic(&alice).await.unwrap(), r#"{"topic":"after"}"#);
        assert_eq!(topic(&bob).await.unwrap(), r#"{"topic":"before"}"#);
        assert!(matches!(topic(&eve).await, Err(ReadError::NotAllowed)));
        assert!(matches!(
            world.rooms.joined_members(&bob, &room).await,
            Err(ReadError::NotAllowed)
        ));
        let missing = world.rooms.state_event(&alice, &room, "x.none", "").await;
        assert!(matches!(missing, Err(ReadError::NotFound)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_found_by_membership_and_time() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let (alice, bob) = (world.user("alice").await, world.user("bob").await);
        let room = world.room(&alice).await;
        let before = Token::Sync {
            epoch: world.store.epoch(),
            position: world.bus.head(),
        };
        world
            .act(&alice, &room, MembershipAction::Invite, &bob)
            .await
            .unwrap();
        let count = async |filter| {
            world
                .rooms
                .members(&alice, &room, filter)
                .await
                .unwrap()
                .len()
        };
        assert_eq!(count(MemberFilter::default()).await, 2);
        let joined = MemberFilter {
            membership: Some(Membership::Join),
            ..MemberFilter::default()
        };
        assert_eq!(count(joined).await, 1);
        let not_joined = MemberFilter {
            not_membership: Some(Membership::Join),
            ..MemberFilter::default()
        };
        assert_eq!(count(not_joined).await, 1);
        assert_eq!(
            count(MemberFilter {
                at: Some(before),
                ..MemberFilter::default()
            })
            .await,
            1
        );
        let members = world.rooms.joined_members(&alice, &room).await.unwrap();
        assert_eq!(
            members
                .iter()
                .map(|member| member.user_id.as_str())
                .collect::<Vec<_>>(),
            ["@alice:localhost"]
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_states_come_back() {
    on_each_engine(&SCHEMA, |mut db: TestDb| async move {
        let world = World::start(&db).await;
        let alice = world.user("alice").await;
        let room = world.room(&alice).await;
        // More than a hundred deltas and more than one bucket, so that whole states and their pieces are stored too.
        for number in 0..250 {
            let key = format!("key{}", number % 170);
            world
                .set(
                    &alice,
                    &room,
                    ("x.many", &key),
                    &json!({ "number": number }),
                )
                .await
                .unwrap();
        }
        let before = world.rooms.state(&alice, &room).await.unwrap();
        db.reopen().await;
        let world = World::start(&db).await;
        let after = world.rooms.state(&alice, &room).await.unwrap();
        let ids = |events: &[std::sync::Arc<starling_store::events::Event>]| {
            let mut ids: Vec<_> = events
                .iter()
                .map(|event| event.pdu.event_id().to_owned())
                .collect();
            ids.sort();
            ids
        };
        assert_eq!(ids(&after), ids(&before));
        assert_eq!(
            after
                .iter()
                .filter(|event| event.pdu.kind() == "x.many")
                .count(),
            170
        );
        let event = world
            .rooms
            .state_event(&alice, &room, "x.many", "key79")
            .await
            .unwrap();
        assert_eq!(event.pdu.content(), br#"{"number":249}"#);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aliases_lead_to_rooms_of_who_is_in_them() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let (alice, bob) = (world.user("alice").await, world.user("bob").await);
        let room = world
            .rooms
            .create(&alice, World::plain(Preset::PublicChat))
            .await
            .unwrap();
        let alias = OwnedRoomAliasId::try_from("#pub:localhost").unwrap();
        let foreign = OwnedRoomAliasId::try_from("#pub:elsewhere.example").unwrap();
        assert!(matches!(
            world.rooms.create_alias(&bob, &alias, &room).await,
            Err(AliasError::Forbidden(_))
        ));
        assert!(matches!(
            world.rooms.create_alias(&alice, &foreign, &room).await,
            Err(AliasError::OtherServer)
        ));
        world
            .rooms
            .create_alias(&alice, &alias, &room)
            .await
            .unwrap();
        assert!(matches!(
            world.rooms.create_alias(&alice, &alias, &room).await,
            Err(AliasError::Taken)
        ));
        assert_eq!(
            world
                .rooms
                .resolve_alias(&alias)
                .await
                .unwrap()
                .unwrap()
                .room_id,
            room
        );
        assert_eq!(
            world.rooms.aliases(&alice, &room).await.unwrap(),
            std::slice::from_ref(&alias)
        );
        assert!(matches!(
            world.rooms.aliases(&bob, &room).await,
            Err(ReadError::NotAllowed)
        ));
        let canonical = async |alias: &str| {
            world
                .set(
                    &alice,
                    &room,
                    ("m.room.canonical_alias", ""),
                    &json!({ "alias": alias }),
                )
                .await
        };
        assert!(matches!(
            canonical("#other:localhost").await,
            Err(SendError::BadAlias(_))
        ));
        canonical("#pub:localhost").await.unwrap();
        assert!(matches!(
            world.rooms.delete_alias(&bob, false, &alias).await,
            Err(AliasError::Forbidden(_))
        ));
        world
            .rooms
            .delete_alias(&alice, false, &alias)
            .await
            .unwrap();
        assert!(matches!(
            world.rooms.delete_alias(&alice, false, &alias).await,
            Err(AliasError::UnknownAlias)
        ));
        assert_eq!(world.rooms.resolve_alias(&alias).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_ban_after_the_leave_shows_nothing_more() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let (alice, bob) = (world.user("alice").await, world.user("bob").await);
        let room = world.room(&alice).await;
        world
            .act(&bob, &room, MembershipAction::Join, &bob)
            .await
            .unwrap();
        world
            .act(&bob, &room, MembershipAction::Leave, &bob)
            .await
            .unwrap();
        let topic = json!({ "topic": "secret" });
        world
            .set(&alice, &room, ("m.room.topic", ""), &topic)
            .await
            .unwrap();
        world
            .act(&alice, &room, MembershipAction::Ban, &bob)
            .await
            .unwrap();
        let seen = world
            .rooms
            .state_event(&bob, &room, "m.room.topic", "")
            .await;
        assert!(matches!(seen, Err(ReadError::NotFound)), "{seen:?}");
    })
    .await;
}

#[tokio::test]
async fn members_of_a_hidden_past_are_hidden() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let (alice, bob) = (world.user("alice").await, world.user("bob").await);
        let room = world.room(&alice).await;
        let joined = json!({ "history_visibility": "joined" });
        let kind = ("m.room.history_visibility", "");
        world.set(&alice, &room, kind, &joined).await.unwrap();
        world.say(&alice, &room, "before").await.unwrap();
        let past = Token::Sync {
            epoch: world.store.epoch(),
            position: world.bus.head(),
        };
        world
            .act(&bob, &room, MembershipAction::Join, &bob)
            .await
            .unwrap();
        let at = |token| MemberFilter {
            at: Some(token),
            ..MemberFilter::default()
        };
        let hidden = world.rooms.members(&bob, &room, at(past)).await;
        assert!(matches!(hidden, Err(ReadError::NotAllowed)), "{hidden:?}");
        assert_eq!(
            world
                .rooms
                .members(&alice, &room, at(past))
                .await
                .unwrap()
                .len(),
            1
        );
        let ahead = Token::Sync {
            epoch: world.store.epoch(),
            position: world.bus.head() + 1,
        };
        let ahead = world.rooms.members(&alice, &room, at(ahead)).await;
        assert!(matches!(ahead, Err(ReadError::NotAToken)), "{ahead:?}");
    })
    .await;
}
