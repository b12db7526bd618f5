//! Membership: who may come, go, be asked in and be sent away.

use MembershipAction::{Ban, Invite, Join, Kick, Leave, Unban};
use serde_json::json;
use starling_db::{Positions, Tx, Write};
use starling_rooms::{Actor, Membership, MembershipAction, Preset, SendError};
use starling_store::SCHEMA;
use starling_store::profiles::profile_field_set;
use starling_testkit::{TestDb, World, on_each_engine};

async fn membership(world: &World, room: &ruma_common::RoomId, who: &Actor) -> Option<Membership> {
    let room = world.store.room_num(room).await.unwrap().unwrap();
    world
        .rooms
        .current_membership(room, &who.user_id)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_room_lets_in_who_is_invited() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let (alice, bob) = (world.user("alice").await, world.user("bob").await);
        let room = world
            .rooms
            .create(&alice, World::plain(Preset::PrivateChat))
            .await
            .unwrap();
        // Who acts, what, on whom, and the membership of the target afterwards (None: refused).
        let steps = [
            (&bob, Join, &bob, None),
            (&bob, Leave, &bob, None),
            (&alice, Kick, &bob, None),
            (&alice, Unban, &bob, None),
            (&alice, Invite, &bob, Some(Membership::Invite)),
            (&bob, Leave, &bob, Some(Membership::Leave)),
            (&bob, Join, &bob, None),
            (&alice, Invite, &bob, Some(Membership::Invite)),
            (&bob, Join, &bob, Some(Membership::Join)),
            (&bob, Join, &bob, Some(Membership::Join)),
            (&alice, Invite, &bob, None),
            (&bob, Kick, &alice, None),
            (&bob, Ban, &alice, None),
            (&alice, Kick, &bob, Some(Membership::Leave)),
            (&alice, Ban, &bob, Some(Membership::Ban)),
            (&bob, Join, &bob, None),
            (&alice, Invite, &bob, None),
            (&alice, Kick, &bob, None),
            (&alice, Unban, &bob, Some(Membership::Leave)),
        ];
        for (number, (actor, action, target, expected)) in steps.into_iter().enumerate() {
            let before = membership(&world, &room, target).await;
            let done = world.act(actor, &room, action, target).await;
            let after = membership(&world, &room, target).await;
            if expected.is_some() {
                assert!(
                    done.is_ok() && after == expected,
                    "step {number}: {done:?}, {after:?}"
                );
            } else {
                let refused = matches!(done, Err(SendError::Forbidden(_) | SendError::BadState(_)));
                assert!(refused, "step {number}: {done:?}");
                assert_eq!(after, before, "step {number}");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgetting_needs_leaving_first() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let (alice, bob) = (world.user("alice").await, world.user("bob").await);
        let room = world.room(&alice).await;
        assert!(matches!(
            world.rooms.forget(&bob, &room).await,
            Err(SendError::UnknownRoom)
        ));
        world.act(&bob, &room, Join, &bob).await.unwrap();
        assert!(matches!(
            world.rooms.forget(&bob, &room).await,
            Err(SendError::Forbidden(_))
        ));
        world.act(&bob, &room, Leave, &bob).await.unwrap();
        world.rooms.forget(&bob, &room).await.unwrap();
        assert!(world.rooms.joined_rooms(&bob).await.unwrap().is_empty());
        world.act(&bob, &room, Join, &bob).await.unwrap();
        assert_eq!(world.rooms.joined_rooms(&bob).await.unwrap(), [room]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_users_who_exist_are_invited() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let alice = world.user("alice").await;
        let room = world.room(&alice).await;
        let invite = async |user: &str| {
            let user = ruma_common::OwnedUserId::try_from(user).unwrap();
            world
                .rooms
                .change_membership(&alice, &room, Invite, &user, None)
                .await
        };
        assert!(matches!(
            invite("@nobody:localhost").await,
            Err(SendError::UnknownUser(_))
        ));
        assert!(matches!(
            invite("@bob:elsewhere.example").await,
            Err(SendError::UserElsewhere(_))
        ));
    })
    .await;
}

#[tokio::test]
async fn who_comes_in_brings_their_profile() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let (alice, bob) = (world.user("alice").await, world.user("bob").await);
        let user = bob.user;
        let set = move |tx: &mut Tx<'_>, positions: &mut Positions, (): ()| {
            let name = Some(r#""Bob \"the\" Builder""#);
            profile_field_set(tx, positions.give()?, user, "displayname", name)
        };
        let write = Write::new("profile");
        world
            .store
            .db()
            .write_placed(write, |_| Ok(()), set)
            .await
            .unwrap();
        let room = world.room(&alice).await;
        world.act(&bob, &room, Join, &bob).await.unwrap();
        let members = world.rooms.joined_members(&alice, &room).await.unwrap();
        let bob = members
            .iter()
            .find(|member| member.user_id == bob.user_id)
            .unwrap();
        assert_eq!(bob.display_name.as_deref(), Some("Bob \"the\" Builder"));
        assert_eq!(bob.avatar_url, None);
    })
    .await;
}

#[tokio::test]
async fn a_member_event_written_by_hand_lets_nobody_in() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let (alice, mallory) = (world.user("alice").await, world.user("mallory").await);
        let room = world.room(&alice).await;
        let rule = json!({ "join_rule": "restricted", "allow": [] });
        world
            .set(&alice, &room, ("m.room.join_rules", ""), &rule)
            .await
            .unwrap();
        let key = ("m.room.member", mallory.user_id.as_str());
        let forged =
            json!({ "membership": "join", "join_authorised_via_users_server": "@alice:localhost" });
        let refused = world.set(&mallory, &room, key, &forged).await;
        assert!(
            matches!(refused, Err(SendError::Forbidden(_))),
            "{refused:?}"
        );
        assert_eq!(membership(&world, &room, &mallory).await, None);
        let nobody = ("m.room.member", "@nobody:localhost");
        let refused = world
            .set(&alice, &room, nobody, &json!({ "membership": "invite" }))
            .await;
        assert!(
            matches!(refused, Err(SendError::UnknownUser(_))),
            "{refused:?}"
        );
    })
    .await;
}
