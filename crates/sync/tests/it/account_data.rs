//! The user's own data, of the account and of rooms.

use serde_json::json;
use starling_bus::Topic;
use starling_db::{Error, Write};
use starling_store::account_data::{AccountData, GLOBAL, account_data_set};
use starling_store::{RoomNum, SCHEMA};
use starling_testkit::{TestDb, on_each_engine};

use crate::server::{Server, has_no_rooms, next_batch, request, room};

async fn set(server: &Server, who: &str, room: RoomNum, kind: &str, content: &serde_json::Value) {
    let (user, bus) = (server.reader(who).await.user, server.world.bus.clone());
    let (kind, content) = (kind.to_owned(), content.to_string());
    let place = move |tx: &mut starling_db::Tx<'_>, positions: &mut starling_db::Positions, ()| {
        let position = positions.give()?;
        let data = AccountData {
            room,
            kind: kind.clone(),
            content: content.clone(),
            position,
        };
        account_data_set(tx, user, &data)?;
        let bus = bus.clone();
        tx.after_commit(move || bus.advance(position, &[Topic::User(user.0)]));
        Ok::<_, Error>(())
    };
    server
        .world
        .store
        .db()
        .write_placed(Write::new("test"), |_| Ok(()), place)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_told_where_they_belong() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        let number = server
            .world
            .store
            .room_num(&room_id)
            .await
            .unwrap()
            .unwrap();
        let since = server.token("alice").await;
        set(&server, "alice", GLOBAL, "m.direct", &json!({"a": 1})).await;
        set(&server, "alice", number, "m.tag", &json!({"tags": {}})).await;
        set(&server, "bob", GLOBAL, "m.direct", &json!({"b": 1})).await;
        let direct = json!({"content": {"a": 1}, "type": "m.direct"});
        let push_rules: serde_json::Value = serde_json::from_str(
            &starling_pushrules::Ruleset::default().to_content("@alice:localhost"),
        )
        .unwrap();
        // The push rules are there without having been set; only the first answer tells of them.
        let push_rules = json!({"content": push_rules, "type": "m.push_rules"});
        for (answer, global) in [
            (server.sync("alice", Some(&since)).await, json!([direct])),
            (
                server.sync("alice", None).await,
                json!([direct, push_rules]),
            ),
        ] {
            let of_room = json!({"events": [{"content": {"tags": {}}, "type": "m.tag"}]});
            assert_eq!(answer["account_data"]["events"], global);
            assert_eq!(room(&answer, "join", &room_id)["account_data"], of_room);
        }
        let answer = server.sync("alice", Some(&since)).await;
        let since = next_batch(&answer);
        set(&server, "alice", GLOBAL, "m.direct", &json!({"a": 1})).await;
        let answer = server.sync("alice", Some(&since)).await;
        assert_eq!(
            answer["account_data"]["events"][0]["type"], "m.direct",
            "the same content again is a change"
        );
        assert!(has_no_rooms(&answer));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_apply() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        let number = server
            .world
            .store
            .room_num(&room_id)
            .await
            .unwrap()
            .unwrap();
        let since = server.token("alice").await;
        set(&server, "alice", GLOBAL, "m.direct", &json!({})).await;
        set(&server, "alice", GLOBAL, "im.app.theme", &json!({})).await;
        set(&server, "alice", number, "m.tag", &json!({})).await;
        let filter =
            r#"{"account_data":{"types":["m.*"]},"room":{"account_data":{"not_types":["m.tag"]}}}"#;
        let answer = server.sync_with("alice", &request(&since, filter)).await;
        assert_eq!(
            answer["account_data"],
            json!({"events": [{"content": {}, "type": "m.direct"}]})
        );
        assert!(has_no_rooms(&answer));
        let filter = r#"{"account_data":{"not_senders":["@alice:localhost"]}}"#;
        let answer = server.sync_with("alice", &request(&since, filter)).await;
        assert_eq!(answer["account_data"], json!({"events": []}));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_is_told_whole_comes_with_all_of_its_data() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        let number = server
            .world
            .store
            .room_num(&room_id)
            .await
            .unwrap()
            .unwrap();
        set(&server, "bob", number, "m.tag", &json!({"early": true})).await;
        set(&server, "bob", number, "im.app.old", &json!({})).await;
        let since = server.token("bob").await;
        set(&server, "bob", number, "im.app.new", &json!({})).await;
        server.join("bob", &room_id).await;
        let answer = server.sync("bob", Some(&since)).await;
        let told = &room(&answer, "join", &room_id)["account_data"]["events"];
        // What was deleted before the last answer is not told of.
        let tag = json!({"content": {"early": true}, "type": "m.tag"});
        let deleted = json!({"content": {}, "type": "im.app.new"});
        assert_eq!(*told, json!([tag, deleted]));
        let answer = server.sync("bob", None).await;
        let told = &room(&answer, "join", &room_id)["account_data"]["events"];
        assert_eq!(*told, json!([tag]));
    })
    .await;
}
