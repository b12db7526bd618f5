//! The user directory: many users.

use ruma_common::{RoomId, owned_server_name, server_name};
use serde_json::json;
use starling_search::{MAX_USERS, Search};
use starling_store::SCHEMA;
use starling_store::purge::PURGE_BEGUN;
use starling_testkit::{TestDb, World, on_each_engine};

/// Where a purge deletes the words of a room's members.
const WORDS_GO: i64 = 18 * PURGE_BEGUN;

/// The localparts that are found, and whether there are more.
async fn find(world: &World, who: &str, term: &str, limit: usize) -> (Vec<String>, bool) {
    let search = Search::new(world.store.clone(), owned_server_name!("localhost"));
    let asker = world.user(who).await.user;
    let found = search.users(asker, term, limit).await.unwrap();
    let users = found.users.iter();
    let names = users.map(|user| user.user_id.localpart().to_owned());
    (names.collect(), found.limited)
}

async fn join(world: &World, who: &str, room: &RoomId) {
    let user = world.user(who).await;
    let key = ("m.room.member", user.user_id.as_str());
    let content = json!({ "membership": "join" });
    world.set(&user, room, key, &content).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_who_may_not_be_seen_hide_none_who_may() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let alice = world.user("alice").await;
        let room = world.room(&alice).await;
        for number in 0..450 {
            world.user(&format!("user{number:03}")).await;
        }
        assert_eq!(find(&world, "alice", "user", 10).await, (Vec::new(), false));
        join(&world, "user449", &room).await;
        let (users, limited) = find(&world, "alice", "user", 10).await;
        assert_eq!((users, limited), (vec!["user449".to_owned()], false));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_bounded_whatever_is_asked_for() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let alice = world.user("alice").await;
        let room = world.room(&alice).await;
        for number in 0..=MAX_USERS {
            join(&world, &format!("user{number:03}"), &room).await;
        }
        let (users, limited) = find(&world, "alice", "user", usize::MAX).await;
        assert_eq!((users.len(), limited), (MAX_USERS, true));
        let (users, limited) = find(&world, "alice", "user000", usize::MAX).await;
        assert_eq!((users, limited), (vec!["user000".to_owned()], false));
    })
    .await;
}

/// What is told of each user who is found.
async fn told(
    world: &World,
    who: &str,
    term: &str,
) -> Vec<(String, Option<String>, Option<String>)> {
    let search = Search::new(world.store.clone(), owned_server_name!("localhost"));
    let asker = world.user(who).await.user;
    let found = search.users(asker, term, 10).await.unwrap();
    let users = found.users.into_iter();
    users
        .map(|user| (user.user_id.to_string(), user.display_name, user.avatar_url))
        .collect()
}

fn shown(id: &str, name: &str) -> Vec<(String, Option<String>, Option<String>)> {
    vec![(id.to_owned(), Some(name.to_owned()), None)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_other_servers_are_found_by_what_rooms_in_common_show_of_them() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let (alice, carol) = (world.user("alice").await, world.user("carol").await);
        let closed = world.room(&alice).await;
        let rule = json!({ "join_rule": "invite" });
        world.set(&alice, &closed, ("m.room.join_rules", ""), &rule).await.unwrap();
        let bob = "@bob:one.example";
        let joins = |name: &str| json!({ "membership": "join", "displayname": name });
        world.set_remote(&closed, bob, &joins("Robert Red")).await;
        for term in ["bob", "@bob", "@bob:one.ex", "rob", "red bob"] {
            assert_eq!(told(&world, "alice", term).await, shown(bob, "Robert Red"), "{term}");
        }
        for term in ["@bob:localhost", "@bob:two.example", "blue", "red carol"] {
            assert_eq!(told(&world, "alice", term).await, [], "{term}");
        }
        assert_eq!(told(&world, "carol", "bob").await, [], "Carol isn't in the room");

        // A name is found where it is shown.
        let open = world.room(&carol).await;
        world.set_remote(&open, bob, &joins("Robert Blue")).await;
        assert_eq!(told(&world, "carol", "bob").await, shown(bob, "Robert Blue"));
        assert_eq!(told(&world, "carol", "red").await, []);
        assert_eq!(told(&world, "alice", "red").await, shown(bob, "Robert Red"));
        assert_eq!(told(&world, "alice", "blue").await, shown(bob, "Robert Blue"), "an open room");

        // A changed name takes the old one's place.
        let content = json!({ "membership": "join", "displayname": "Bert", "avatar_url": "mxc://one.example/b" });
        world.set_remote(&closed, bob, &content).await;
        assert_eq!(told(&world, "alice", "red").await, []);
        let bert = (bob.to_owned(), Some("Bert".to_owned()), Some("mxc://one.example/b".to_owned()));
        assert_eq!(told(&world, "alice", "bert").await, [bert]);

        // Nobody is found who has left, or in a room that this server has left.
        world.set_remote(&closed, bob, &json!({ "membership": "leave" })).await;
        assert_eq!(told(&world, "alice", "bert").await, []);
        assert_eq!(told(&world, "alice", "bob").await, shown(bob, "Robert Blue"));
        let key = ("m.room.member", carol.user_id.as_str());
        let leave = json!({ "membership": "leave" });
        world.set(&carol, &open, key, &leave).await.unwrap();
        assert_eq!(told(&world, "alice", "bob").await, []);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_shares_a_room_is_not_lost_among_those_of_open_rooms() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let (alice, carol) = (world.user("alice").await, world.user("carol").await);
        let open = world.room(&carol).await;
        let named = json!({ "membership": "join", "displayname": "Ann" });
        for number in 0..12 {
            let user = format!("@an{number:03}:one.example");
            world.set_remote(&open, &user, &named).await;
        }
        let closed = world.room(&alice).await;
        join(&world, "andy", &closed).await;
        let rule = json!({ "join_rule": "invite" });
        let rules = ("m.room.join_rules", "");
        world.set(&alice, &closed, rules, &rule).await.unwrap();
        world.join_remote(&closed, "@anna:one.example").await;
        let (users, limited) = find(&world, "alice", "an", 10).await;
        assert_eq!(
            (&users[..2], limited),
            (&["andy", "anna"].map(str::to_owned)[..], true)
        );
        // To others, she isn't shown.
        let (users, _) = find(&world, "carol", "an", 50).await;
        assert_eq!(users.len(), 12, "{users:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_a_room_from_before_are_found_once_a_job_has_gone_through_them() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let alice = world.user("alice").await;
        let room = world.room(&alice).await;
        for number in 0..130 {
            let user = format!("@user{number:03}:one.example");
            world.join_remote(&room, &user).await;
        }
        let store = &world.store;
        let num = store.room_num(&room).await.unwrap().unwrap();
        // As if they had never been written.
        store.purge_piece(num, WORDS_GO).await.unwrap();
        assert_eq!(told(&world, "alice", "user129").await, []);
        let (mut at, mut pieces) = (Some(0), 0);
        while let Some(after) = at {
            let server = server_name!("localhost");
            at = store.member_words_piece(num, after, server).await.unwrap();
            pieces += 1;
        }
        assert_eq!(pieces, 2);
        for number in [0, 99, 100, 129] {
            let found = told(&world, "alice", &format!("user{number:03}")).await;
            assert_eq!(found.len(), 1, "{number}");
        }
        let (users, limited) = find(&world, "alice", "user", 5).await;
        assert_eq!((users.len(), limited), (5, true));
    })
    .await;
}
