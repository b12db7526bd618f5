//! The user directory: many users.

use ruma_common::{RoomId, owned_server_name};
use serde_json::json;
use starling_search::{MAX_USERS, Search};
use starling_store::SCHEMA;
use starling_testkit::{TestDb, World, on_each_engine};

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
