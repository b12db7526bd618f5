//! Ignored users. <https://spec.matrix.org/v1.19/client-server-api/#ignoring-users>

use ruma_common::OwnedRoomId;
use serde_json::{Value, json};
use starling_bus::Topic;
use starling_db::{Error, Write};
use starling_store::SCHEMA;
use starling_store::account_data::{AccountData, GLOBAL, account_data_set};
use starling_store::ignored::{IGNORED_USER_LIST, REMEMBERED};
use starling_store::timeline::Direction;
use starling_testkit::{TestDb, on_each_engine};

use crate::server::{
    Server, has_no_rooms, names, next_batch, page, request, room, state, timeline,
};

/// `who` ignores these users, and nobody else, from now on.
async fn ignore(server: &Server, who: &str, users: &[&str]) {
    let users = users
        .iter()
        .map(|user| (format!("@{user}:localhost"), json!({})));
    let list: serde_json::Map<String, Value> = users.collect();
    set_list(server, who, json!({ "ignored_users": list })).await;
}

async fn set_list(server: &Server, who: &str, content: Value) {
    let (store, bus) = (server.world.store.clone(), server.world.bus.clone());
    let user = server.world.user(who).await.user;
    let db = store.db().clone();
    let place = move |tx: &mut starling_db::Tx<'_>, positions: &mut starling_db::Positions, ()| {
        let position = positions.give()?;
        let data = AccountData {
            room: GLOBAL,
            kind: IGNORED_USER_LIST.to_owned(),
            content: content.to_string(),
            position,
        };
        store.ignored_change(tx, user, &data)?;
        account_data_set(tx, user, &data)?;
        let bus = bus.clone();
        tx.after_commit(move || bus.advance(position, &[Topic::User(user.0)]));
        Ok::<_, Error>(())
    };
    db.write_placed(Write::new("test"), |_| Ok(()), place)
        .await
        .unwrap();
}

/// A room of Alice, in which are Bob and Carol.
async fn room_of_three(server: &Server) -> OwnedRoomId {
    let room_id = server.room("alice").await;
    for who in ["bob", "carol"] {
        server.join(who, &room_id).await;
    }
    room_id
}

async fn history(server: &Server, who: &str, room_id: &OwnedRoomId) -> Vec<String> {
    let mut asked = page(room_id, Direction::Backwards);
    asked.limit = Some(3);
    names(&server.messages(who, asked).await.unwrap()["chunk"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ignored_users_say_is_left_out_but_not_the_state_that_they_set() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = room_of_three(&server).await;
        ignore(&server, "carol", &["alice", "nobody"]).await;
        let since = server.token("carol").await;
        server.say("alice", &room_id, "unheard").await;
        server.say("bob", &room_id, "heard").await;
        server.topic("alice", &room_id, "seen").await;
        let told = server.sync("carol", Some(&since)).await;
        let told = room(&told, "join", &room_id);
        assert_eq!(timeline(told), ["heard", "topic=seen"]);
        assert_eq!(told["timeline"]["limited"], false);
        let all = server.sync("carol", None).await;
        let all = timeline(room(&all, "join", &room_id));
        assert!(!all.contains(&"unheard".to_owned()), "{all:?}");
        assert_eq!(
            history(&server, "carol", &room_id).await[..2],
            ["topic=seen", "heard"]
        );
        assert_eq!(
            history(&server, "bob", &room_id).await,
            ["topic=seen", "heard", "unheard"],
            "it is for carol alone"
        );
        // Nothing but what is ignored: that is no news.
        let since = server.token("carol").await;
        server.say("alice", &room_id, "unheard, too").await;
        assert!(has_no_rooms(&server.sync("carol", Some(&since)).await));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invites_of_ignored_users_are_not_told() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        ignore(&server, "bob", &["alice"]).await;
        let since = server.token("bob").await;
        server.member("alice", &room_id, "bob", "invite").await;
        for since in [Some(since.as_str()), None] {
            assert!(has_no_rooms(&server.sync("bob", since).await));
        }
        // Not ignored any longer, she is told of the invite that still stands.
        let since = server.token("bob").await;
        ignore(&server, "bob", &[]).await;
        let answer = server.sync("bob", Some(&since)).await;
        assert!(room(&answer, "invite", &room_id).is_object(), "{answer}");
        let since = next_batch(&answer);
        assert!(
            has_no_rooms(&server.sync("bob", Some(&since)).await),
            "told once"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_of_who_is_no_longer_ignored_are_told_whole() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = room_of_three(&server).await;
        let other = server.room("bob").await;
        server.join("carol", &other).await;
        let silent = room_of_three(&server).await;
        ignore(&server, "carol", &["alice", "bob"]).await;
        // State is told whoever sets it.
        server.topic("alice", &silent, "seen").await;
        server.say("alice", &room_id, "unheard").await;
        let since = server.token("carol").await;
        ignore(&server, "carol", &["bob"]).await;
        let answer = server.sync("carol", Some(&since)).await;
        let told = room(&answer, "join", &room_id);
        assert!(timeline(told).contains(&"unheard".to_owned()), "{answer}");
        assert!(told["summary"]["m.joined_member_count"] == 3, "{answer}");
        let filter = r#"{"room":{"timeline":{"limit":1}}}"#;
        let small = server.sync_with("carol", &request(&since, filter)).await;
        let told = room(&small, "join", &room_id);
        assert_eq!(timeline(told), ["unheard"]);
        assert!(state(told).contains(&"create".to_owned()), "{told}");
        assert!(
            room(&answer, "join", &other).is_null(),
            "alice was never there"
        );
        // Nothing in it was hidden; its counts may be told anew.
        let told = room(&answer, "join", &silent);
        assert!(told.is_null() || timeline(told).is_empty(), "{told}");
        let again = server.sync("carol", Some(&next_batch(&answer))).await;
        assert!(has_no_rooms(&again), "told once");

        // Who is very far behind may have missed anything.
        for _ in 0..=REMEMBERED {
            ignore(&server, "carol", &["dave"]).await;
            ignore(&server, "carol", &[]).await;
        }
        let answer = server.sync("carol", Some(&next_batch(&answer))).await;
        assert!(room(&answer, "join", &room_id).is_object());
        assert!(room(&answer, "join", &other).is_object());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_ignores_themselves_and_what_is_no_list_ignores_nobody() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = room_of_three(&server).await;
        ignore(&server, "carol", &["carol"]).await;
        server.say("carol", &room_id, "my own").await;
        let is_heard = async || {
            let answer = server.sync("carol", None).await;
            timeline(room(&answer, "join", &room_id)).contains(&"my own".to_owned())
        };
        assert!(is_heard().await);
        for content in [
            json!({}),
            json!({ "ignored_users": ["@bob:localhost"] }),
            json!({ "ignored_users": "@bob:localhost" }),
            json!({ "ignored_users": null }),
        ] {
            set_list(&server, "carol", content.clone()).await;
            server.say("bob", &room_id, "hello").await;
            let answer = server.sync("carol", None).await;
            let told = timeline(room(&answer, "join", &room_id));
            assert_eq!(told.last().unwrap(), "hello", "{content}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_survives_a_restart() {
    on_each_engine(&SCHEMA, |mut db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = room_of_three(&server).await;
        ignore(&server, "carol", &["alice"]).await;
        server.say("alice", &room_id, "unheard").await;
        let since = server.token("carol").await;
        drop(server);
        db.reopen().await;
        let server = Server::start(&db).await;
        server.say("alice", &room_id, "unheard, too").await;
        assert!(has_no_rooms(&server.sync("carol", Some(&since)).await));
        ignore(&server, "carol", &[]).await;
        let answer = server.sync("carol", Some(&since)).await;
        let told = timeline(room(&answer, "join", &room_id));
        assert!(told.contains(&"unheard".to_owned()), "{told:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_was_never_heard_of_is_looked_up_for_each_answer() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = room_of_three(&server).await;
        let cost = async |users: &[&str]| {
            ignore(&server, "carol", users).await;
            let mut since = server.token("carol").await;
            let mut statements = 0;
            for text in ["to fill the caches", "to count"] {
                server.say("alice", &room_id, text).await;
                let before = db.db().statements_read();
                since = next_batch(&server.sync("carol", Some(&since)).await);
                statements = db.db().statements_read() - before;
            }
            statements
        };
        assert_eq!(cost(&["bob"]).await + 1, cost(&["bob", "nobody"]).await);
        // Once heard of, they count for nothing at once.
        server.join("nobody", &room_id).await;
        let since = server.token("carol").await;
        server.say("nobody", &room_id, "unheard").await;
        assert!(has_no_rooms(&server.sync("carol", Some(&since)).await));
    })
    .await;
}
