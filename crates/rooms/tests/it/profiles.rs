//! A changed profile, brought to rooms.
//! <https://spec.matrix.org/v1.19/client-server-api/#events-on-change-of-profile-information>

use MembershipAction::{Invite, Join, Leave};
use futures_util::future::join_all;
use ruma_common::{OwnedRoomId, RoomId};
use serde_json::{Value, json};
use starling_db::{Error, Positions, Tx, Write};
use starling_rooms::{Actor, MembershipAction};
use starling_store::SCHEMA;
use starling_store::accounts::account_deactivate;
use starling_store::jobs::{Job, Progress, Task, job_proceed, jobs_due};
use starling_store::profiles::profile_field_set;
use starling_testkit::{TestDb, World, on_each_engine};

/// Changes a field of a profile, as an account does.
async fn change(world: &World, who: &Actor, field: &'static str, value: Option<&str>) {
    let (user, store) = (who.user, world.store.clone());
    let value = value.map(|value| Value::from(value).to_string());
    let work = move |tx: &mut Tx<'_>| store.job_note(tx, Task::Profile(user), 1);
    let place = move |tx: &mut Tx<'_>, positions: &mut Positions, ()| {
        profile_field_set(tx, positions.give()?, user, field, value.as_deref())
    };
    let write = Write::new("test_profile");
    let db = world.store.db();
    db.write_placed::<_, _, Error>(write, work, place)
        .await
        .unwrap();
}

async fn rename(world: &World, who: &Actor, name: &str) {
    change(world, who, "displayname", Some(name)).await;
}

async fn due(world: &World) -> Option<Job> {
    let due = |tx: &mut Tx<'_>| jobs_due(tx, i64::MAX, 2);
    let due = world.store.db().read("test", due).await.unwrap();
    assert!(due.len() < 2, "there is one job of a user");
    due.first().copied()
}

/// Works on a piece of what is to be done; false when there is nothing.
async fn work(world: &World) -> bool {
    let Some(job) = due(world).await else {
        return false;
    };
    let progress = world.rooms.work(&job).await.unwrap();
    let proceed = move |tx: &mut Tx<'_>| job_proceed(tx, &job, progress, 2);
    let write = Write::new("test_proceed");
    world.store.db().write(write, proceed).await.unwrap();
    true
}

async fn work_on_all(world: &World) -> u32 {
    let mut pieces = 0;
    while work(world).await {
        pieces += 1;
    }
    pieces
}

async fn member(world: &World, room: &RoomId, who: &Actor, asker: &Actor) -> Value {
    let state = world
        .rooms
        .state_event(asker, room, "m.room.member", who.user_id.as_str());
    let event = state.await.unwrap();
    serde_json::from_slice(event.pdu.content()).unwrap()
}

async fn rooms_of(world: &World, owner: &Actor, count: usize) -> Vec<OwnedRoomId> {
    let mut rooms = Vec::new();
    for _ in 0..count {
        rooms.push(world.room(owner).await);
    }
    rooms
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_reaches_the_rooms_that_the_user_is_in_piece_by_piece() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let (alice, bob) = (world.user("alice").await, world.user("bob").await);
        let rooms = rooms_of(&world, &alice, 45).await;
        let (invited, left) = (world.room(&alice).await, world.room(&alice).await);
        world.act(&alice, &invited, Invite, &bob).await.unwrap();
        for room in rooms.iter().chain([&left]) {
            world.act(&bob, room, Join, &bob).await.unwrap();
        }
        world.act(&bob, &left, Leave, &bob).await.unwrap();

        rename(&world, &bob, "Bob \"B\" ☂").await;
        change(&world, &bob, "avatar_url", Some("mxc://localhost/b")).await;
        assert!(work_on_all(&world).await > 2);
        let content = json!({ "membership": "join", "displayname": "Bob \"B\" ☂", "avatar_url": "mxc://localhost/b" });
        for room in &rooms {
            assert_eq!(member(&world, room, &bob, &alice).await, content);
        }
        let invite = json!({ "membership": "invite" });
        assert_eq!(member(&world, &invited, &bob, &alice).await, invite);
        let leave = json!({ "membership": "leave" });
        assert_eq!(member(&world, &left, &bob, &alice).await, leave);

        // What is done already is not done again.
        let head = world.bus.head();
        let job = Job {
            task: Task::Profile(bob.user),
            noted_at: 1,
            progress: 0,
        };
        assert!(matches!(world.rooms.work(&job).await, Ok(Progress::At(_))));
        assert_eq!(world.bus.head(), head);

        change(&world, &bob, "displayname", None).await;
        change(&world, &bob, "avatar_url", None).await;
        work_on_all(&world).await;
        let content = json!({ "membership": "join" });
        for room in &rooms {
            assert_eq!(member(&world, room, &bob, &alice).await, content);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_change_supersedes_and_a_restart_goes_on() {
    on_each_engine(&SCHEMA, |mut db: TestDb| async move {
        let world = World::start(&db).await;
        let alice = world.user("alice").await;
        let rooms = rooms_of(&world, &alice, 25).await;
        rename(&world, &alice, "One").await;
        let old = due(&world).await.unwrap();
        assert!(work(&world).await);
        let halfway = due(&world).await.unwrap();
        assert!(halfway.progress > 0);
        rename(&world, &alice, "Two").await;
        // Whoever still works on the older note does no harm.
        let progress = world.rooms.work(&halfway).await.unwrap();
        for progress in [progress, Progress::Done] {
            let proceed = move |tx: &mut Tx<'_>| job_proceed(tx, &old, progress, 2);
            let write = Write::new("test_proceed");
            world.store.db().write(write, proceed).await.unwrap();
        }
        assert_eq!(due(&world).await.unwrap().progress, 0);
        assert!(work(&world).await);
        let progress = due(&world).await.unwrap().progress;

        db.reopen().await;
        let world = World::start(&db).await;
        assert_eq!(due(&world).await.unwrap().progress, progress);
        work_on_all(&world).await;
        for room in &rooms {
            let content = member(&world, room, &alice, &alice).await;
            assert_eq!(content["displayname"], "Two");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_else_a_member_says_stays() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let alice = world.user("alice").await;
        rename(&world, &alice, "Alice").await;
        let room = world.room(&alice).await;
        let key = ("m.room.member", alice.user_id.as_str());
        let own = json!({ "membership": "join", "displayname": "The host", "org.example.x": { "n": [1] } });
        world.set(&alice, &room, key, &own).await.unwrap();
        // The name for this room alone is newer than the name of the profile.
        change(&world, &alice, "avatar_url", Some("mxc://localhost/a")).await;
        work_on_all(&world).await;
        let mut expected = own.clone();
        expected["avatar_url"] = json!("mxc://localhost/a");
        assert_eq!(member(&world, &room, &alice, &alice).await, expected);
        rename(&world, &alice, "Alicia").await;
        work_on_all(&world).await;
        expected["displayname"] = json!("Alicia");
        assert_eq!(member(&world, &room, &alice, &alice).await, expected);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_does_not_let_it_in_keeps_it_from_no_other() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let (alice, bob) = (world.user("alice").await, world.user("bob").await);
        let rooms = rooms_of(&world, &alice, 3).await;
        for room in &rooms {
            world.act(&bob, room, Join, &bob).await.unwrap();
        }
        // Under such a rule nobody joins, not even who is in the room.
        let rule = json!({ "join_rule": "private" });
        let key = ("m.room.join_rules", "");
        world.set(&alice, &rooms[0], key, &rule).await.unwrap();
        rename(&world, &bob, "Bob").await;
        work_on_all(&world).await;
        for (number, room) in rooms.iter().enumerate() {
            let content = member(&world, room, &bob, &alice).await;
            let name = if number == 0 {
                Value::Null
            } else {
                json!("Bob")
            };
            assert_eq!(content["displayname"], name, "{number}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_goes_meanwhile_is_not_brought_back() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let (alice, bob) = (world.user("alice").await, world.user("bob").await);
        let rooms = rooms_of(&world, &alice, 20).await;
        for round in 0..10 {
            for room in &rooms {
                world.act(&bob, room, Join, &bob).await.unwrap();
            }
            rename(&world, &bob, &format!("Bob {round}")).await;
            let (runner, leaver) = (world.clone(), bob.clone());
            let working = tokio::spawn(async move { work_on_all(&runner).await });
            let going = rooms
                .iter()
                .map(|room| world.act(&leaver, room, Leave, &leaver));
            for left in join_all(going).await {
                left.unwrap();
            }
            working.await.unwrap();
            for room in &rooms {
                let content = member(&world, room, &bob, &alice).await;
                assert_eq!(content["membership"], "leave");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_in_meanwhile_shows_the_newer_one() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let (alice, bob) = (world.user("alice").await, world.user("bob").await);
        for number in 0..15 {
            let name = format!("Bob {number}");
            let room = world.room(&alice).await;
            let joining = async { world.act(&bob, &room, Join, &bob).await.unwrap() };
            let making = world.room(&bob);
            let (own, (), ()) = tokio::join!(making, joining, rename(&world, &bob, &name));
            work_on_all(&world).await;
            for room in [room, own] {
                let content = member(&world, &room, &bob, &bob).await;
                assert_eq!(content["displayname"], name);
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_is_gone_shows_nothing_new() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let alice = world.user("alice").await;
        let room = world.room(&alice).await;
        rename(&world, &alice, "Alice").await;
        let user = alice.user;
        let deactivate = move |tx: &mut Tx<'_>| account_deactivate(tx, user, 3);
        let write = Write::new("test_deactivate");
        world.store.db().write(write, deactivate).await.unwrap();
        assert_eq!(work_on_all(&world).await, 1);
        let content = member(&world, &room, &alice, &alice).await;
        assert_eq!(content["displayname"], Value::Null);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_once_let_the_user_in_is_not_said_again() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let (alice, bob) = (world.user("alice").await, world.user("bob").await);
        let (space, room) = (world.room(&alice).await, world.room(&alice).await);
        let allow = json!([{ "type": "m.room_membership", "room_id": space }]);
        let rules = json!({ "join_rule": "restricted", "allow": allow });
        let kept = world.set(&alice, &room, ("m.room.join_rules", ""), &rules);
        kept.await.unwrap();
        for room in [&space, &room] {
            world.act(&bob, room, Join, &bob).await.unwrap();
        }
        let shown = member(&world, &room, &bob, &alice).await;
        let authorised = &shown["join_authorised_via_users_server"];
        assert_eq!(*authorised, alice.user_id.as_str());
        rename(&world, &bob, "Robert").await;
        work_on_all(&world).await;
        assert_eq!(
            member(&world, &room, &bob, &alice).await,
            json!({ "displayname": "Robert", "membership": "join" })
        );
    })
    .await;
}
