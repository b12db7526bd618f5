//! What clients see after a copy of the database was put back.

use serde_json::{Value, json};
use starling_store::SCHEMA;
use starling_store::restored::restored;
use starling_testkit::{TestDb, TestDevice, TestServer, on_each_engine};

use crate::caller::{Caller, Server};

async fn start(db: &TestDb) -> Server {
    Server::new(TestServer::start(db).await)
}

/// The server starts again after the copy was put back.
async fn put_back(db: &TestDb) -> Server {
    restored(db.db(), 1, (0, 0)).await.unwrap();
    start(db).await
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

#[tokio::test]
async fn an_old_token_gets_all_anew_with_whose_keys_to_ask_for_and_how_many_keys_are_left() {
    on_each_engine(&SCHEMA, async |db: TestDb| {
        let before = start(&db).await;
        let (alice, bob, room) = before.two_in_a_room().await;
        let stranger = before.user("stranger").await;
        let whoami = alice.get("account/whoami").await.ok();
        let id = whoami["device_id"].as_str().unwrap();
        let device = TestDevice::new(&alice.user_id, id, 1);
        let upload = json!({
            "device_keys": device.keys(), "one_time_keys": device.one_time_keys(["A", "B"]),
        });
        alice.post("keys/upload", &upload).await.ok();
        let (answer, token) = alice.sync("").await;
        assert_eq!(answer["device_one_time_keys_count"]["signed_curve25519"], 2);
        let sent = json!({ "messages": { &alice.user_id: { id: { "n": 1 } } } });
        bob.put("sendToDevice/x/1", &sent).await.ok();
        let after = put_back(&db).await;
        let alice = alice.at(&after);
        let (answer, next) = alice.sync(&format!("since={token}")).await;
        assert!(answer["rooms"]["join"][&room]["timeline"]["events"].is_array());
        assert_eq!(answer["device_one_time_keys_count"]["signed_curve25519"], 0);
        assert_eq!(answer["device_unused_fallback_key_types"], json!([]));
        let changed = names(&answer["device_lists"]["changed"]);
        assert!(changed.contains(&&*alice.user_id) && changed.contains(&&*bob.user_id));
        assert!(!changed.contains(&&*stranger.user_id), "{changed:?}");
        assert_eq!(
            answer["to_device"]["events"][0]["content"],
            json!({ "n": 1 })
        );
        let (answer, _) = alice.sync(&format!("since={next}")).await;
        assert_eq!(answer["rooms"]["join"], json!({}));
        for nothing in ["device_lists", "to_device"] {
            assert!(answer[nothing].is_null(), "{nothing}: {answer}");
        }
        // Elsewhere such a token is refused.
        let between = format!("keys/changes?from={token}&to={next}");
        assert_eq!(alice.get(&between).await.error(), (400, "M_INVALID_PARAM"));
        // A first sync tells of no changes.
        let (answer, _) = alice.sync("").await;
        assert!(answer["device_lists"].is_null());
    })
    .await;
}

/// Puts a key that was encrypted so in the backup.
async fn put_key(caller: &Caller, version: &str, ciphertext: &str) -> (u16, Value) {
    let key = json!({
        "first_message_index": 0, "forwarded_count": 0, "is_verified": true,
        "session_data": { "ciphertext": ciphertext },
    });
    let keys = json!({ "rooms": { "!a:localhost": { "sessions": { "s": key } } } });
    let answer = caller
        .put(&format!("room_keys/keys?version={version}"), &keys)
        .await;
    (answer.status, answer.body())
}

async fn begin_backup(caller: &Caller) -> String {
    let backup = json!({ "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {} });
    let made = caller.post("room_keys/version", &backup).await.ok();
    made["version"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn each_device_is_told_to_back_up_all_again_until_it_has_heard_so() {
    on_each_engine(&SCHEMA, async |db: TestDb| {
        let before = start(&db).await;
        let alice = before.user("alice").await;
        let deaf = before.device("alice").await;
        let version = begin_backup(&alice).await;
        let (status, old) = put_key(&alice, &version, "lost").await;
        assert_eq!((status, &old["count"]), (200, &json!(1)));
        let after = put_back(&db).await;
        let alice = alice.at(&after);
        let shown = alice.get("room_keys/version").await.ok();
        assert_eq!(
            (shown["version"].as_str(), &shown["count"]),
            (Some(&*version), &json!(1))
        );
        assert_ne!(shown["etag"], old["etag"]);
        // Repeated by a client that the answer didn't reach.
        for _ in 0..2 {
            let (status, refused) = put_key(&alice, &version, "1").await;
            assert_eq!(
                (status, &refused["errcode"]),
                (403, &json!("M_WRONG_ROOM_KEYS_VERSION"))
            );
            assert_eq!(refused["current_version"], *version);
            let told = refused["error"].as_str().unwrap();
            assert!(told.contains("back up all keys again"), "{told}");
        }
        for again in ["2", "3", "1"] {
            assert_eq!(put_key(&alice, &version, again).await.0, 200);
        }
        // One that repeats it for ever.
        let deaf = deaf.at(&after);
        for _ in 0..10 {
            assert_eq!(put_key(&deaf, &version, "1").await.0, 403);
        }
        assert_eq!(put_key(&deaf, &version, "1").await.0, 200);
        // A device that begins afterwards knows nothing of what was before.
        let new = after.device("alice").await;
        assert_eq!(put_key(&new, &version, "1").await.0, 200);
    })
    .await;
}

#[tokio::test]
async fn a_backup_that_begins_afterwards_is_in_no_doubt() {
    on_each_engine(&SCHEMA, async |db: TestDb| {
        let before = start(&db).await;
        let alice = before.user("alice").await;
        let version = begin_backup(&alice).await;
        let after = put_back(&db).await;
        let alice = alice.at(&after);
        let newer = begin_backup(&alice).await;
        assert_eq!(put_key(&alice, &newer, "1").await.0, 200);
        let (status, refused) = put_key(&alice, &version, "1").await;
        assert_eq!((status, &refused["current_version"]), (403, &json!(newer)));
        assert_eq!(refused["error"], "This is not the newest backup");
    })
    .await;
}
