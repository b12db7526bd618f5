//! Backups of room keys. <https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups>

use serde_json::{Map, Value, json};

use super::{User, on_servers};

const ALGORITHM: &str = "m.megolm_backup.v1.curve25519-aes-sha2";

fn description() -> Value {
    json!({ "algorithm": ALGORITHM, "auth_data": { "public_key": "abc", "signatures": {} } })
}

fn key(index: i64) -> Value {
    json!({
        "first_message_index": index, "forwarded_count": 0, "is_verified": true,
        "session_data": { "ephemeral": "e", "ciphertext": "c", "mac": "m" },
    })
}

async fn create(user: &User<'_>) -> String {
    let created = user.post("room_keys/version", description()).await;
    created.body["version"].as_str().unwrap().to_owned()
}

/// `POST /_matrix/client/v3/room_keys/version`, `GET /_matrix/client/v3/room_keys/version`,
/// `GET /_matrix/client/v3/room_keys/version/{version}`, `PUT /_matrix/client/v3/room_keys/version/{version}`,
/// `DELETE /_matrix/client/v3/room_keys/version/{version}`
#[tokio::test]
async fn backups_are_made_shown_changed_and_deleted() {
    on_servers(async |server| {
        let (alice, bob) = (
            User::register(&server, "alice").await,
            User::register(&server, "bob").await,
        );
        let none = (404, "M_NOT_FOUND");
        assert_eq!(alice.get("room_keys/version").await.error(), none);
        assert_eq!(alice.get("room_keys/version/1").await.error(), none);
        let first = create(&alice).await;
        let mut expected = description();
        expected["version"] = json!(first);
        expected["count"] = json!(0);
        let shown = alice.get("room_keys/version").await.body;
        expected["etag"] = shown["etag"].clone();
        assert!(shown["etag"].is_string());
        assert_eq!(shown, expected);
        let path = format!("room_keys/version/{first}");
        assert_eq!(alice.get(&path).await.body, expected);
        assert_eq!(bob.get(&path).await.error(), none);
        let second = create(&alice).await;
        assert_ne!(first, second);
        assert_eq!(alice.get("room_keys/version").await.body["version"], second);
        // Only what its algorithm needs to know can be changed.
        let changed = json!({ "algorithm": ALGORITHM, "auth_data": { "a": 1 }, "version": first });
        assert_eq!(alice.put(&path, changed).await.body, json!({}));
        assert_eq!(alice.get(&path).await.body["auth_data"], json!({ "a": 1 }));
        let invalid = (400, "M_INVALID_PARAM");
        let mut wrong = description();
        wrong["algorithm"] = json!("other");
        assert_eq!(alice.put(&path, wrong).await.error(), invalid);
        let mut wrong = description();
        wrong["version"] = json!(second);
        assert_eq!(alice.put(&path, wrong).await.error(), invalid);
        for unknown in [
            "room_keys/version/9",
            "room_keys/version/01",
            "room_keys/version/x",
        ] {
            assert_eq!(
                alice.put(unknown, description()).await.error(),
                none,
                "{unknown}"
            );
            assert_eq!(alice.delete(unknown).await.error(), none, "{unknown}");
        }
        for _ in 0..2 {
            let deleted = alice.delete(&format!("room_keys/version/{second}")).await;
            assert_eq!((deleted.status.as_u16(), deleted.body), (200, json!({})));
        }
        assert_eq!(alice.get("room_keys/version").await.body["version"], first);
    })
    .await;
}

/// `PUT /_matrix/client/v3/room_keys/keys`, `GET /_matrix/client/v3/room_keys/keys`,
/// `DELETE /_matrix/client/v3/room_keys/keys`, `PUT /_matrix/client/v3/room_keys/keys/{roomId}`,
/// `GET /_matrix/client/v3/room_keys/keys/{roomId}`, `DELETE /_matrix/client/v3/room_keys/keys/{roomId}`,
/// `PUT /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}`,
/// `GET /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}`,
/// `DELETE /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}`
#[tokio::test]
async fn keys_are_kept_by_room_and_session() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let version = create(&alice).await;
        let path = |rest: &str| format!("room_keys/keys{rest}?version={version}");
        assert_eq!(alice.get(&path("")).await.body, json!({ "rooms": {} }));
        assert_eq!(alice.get(&path("/!a:x")).await.body, json!({ "sessions": {} }));
        let none = (404, "M_NOT_FOUND");
        assert_eq!(alice.get(&path("/!a:x/s1")).await.error(), none);
        let one = alice.put(&path("/!a:x/s1"), key(1)).await.body;
        assert_eq!(one["count"], 1);
        let sessions = json!({ "sessions": { "s1": key(0), "s%2F2": key(2) } });
        let two = alice.put(&path("/!a:x"), sessions).await.body;
        assert_eq!(two["count"], 2);
        assert_ne!(one["etag"], two["etag"]);
        let all = json!({ "rooms": { "!b:x": { "sessions": { "s": key(3) } }, "!c:x": { "sessions": {} } } });
        let three = alice.put(&path(""), all.clone()).await.body;
        assert_eq!(three["count"], 3);
        assert_eq!(alice.put(&path(""), all).await.body, three, "nothing has changed");
        let of_a = json!({ "sessions": { "s1": key(0), "s%2F2": key(2) } });
        assert_eq!(alice.get(&path("/!a:x")).await.body, of_a);
        let expected = json!({ "rooms": { "!a:x": of_a, "!b:x": { "sessions": { "s": key(3) } } } });
        assert_eq!(alice.get(&path("")).await.body, expected);
        assert_eq!(alice.get(&path("/!a:x/s1")).await.body, key(0));
        assert_eq!(alice.get("room_keys/version").await.body["count"], 3);
        let left = alice.delete(&path("/!a:x/s1")).await.body;
        assert_eq!(left["count"], 2);
        assert_ne!(left["etag"], three["etag"]);
        assert_eq!(alice.delete(&path("/!a:x/s1")).await.body, left);
        assert_eq!(alice.delete(&path("/!a:x")).await.body["count"], 1);
        assert_eq!(alice.delete(&path("")).await.body["count"], 0);
        assert_eq!(alice.get(&path("")).await.body, json!({ "rooms": {} }));
    })
    .await;
}

/// `PUT /_matrix/client/v3/room_keys/keys`, `GET /_matrix/client/v3/room_keys/keys`
#[tokio::test]
async fn many_keys_come_back_as_they_were() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let version = create(&alice).await;
        let path = format!("room_keys/keys?version={version}");
        let sessions = |from: i64, to: i64| {
            let sessions = (from..to).map(|it| (format!("s{it}"), key(it)));
            json!({ "sessions": sessions.collect::<Map<String, Value>>() })
        };
        let all = json!({ "rooms": { "!a:x": sessions(0, 499), "!b:x": sessions(0, 1), "!c:x": sessions(0, 700) } });
        assert_eq!(alice.put(&path, all.clone()).await.body["count"], 1_200);
        assert_eq!(alice.get(&path).await.body, all);
    })
    .await;
}

/// `PUT /_matrix/client/v3/room_keys/keys`, `GET /_matrix/client/v3/room_keys/keys`,
/// `DELETE /_matrix/client/v3/room_keys/keys`
#[tokio::test]
async fn keys_are_written_to_the_newest_backup_alone() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let keys = || json!({ "rooms": { "!a:x": { "sessions": { "s": key(1) } } } });
        let none = (404, "M_NOT_FOUND");
        assert_eq!(
            alice.put("room_keys/keys?version=1", keys()).await.error(),
            none
        );
        let first = create(&alice).await;
        let old = format!("room_keys/keys?version={first}");
        assert_eq!(alice.put(&old, keys()).await.status, 200);
        let second = create(&alice).await;
        let refused = alice.put(&old, keys()).await;
        assert_eq!(refused.error(), (403, "M_WRONG_ROOM_KEYS_VERSION"));
        assert_eq!(refused.body["current_version"], second);
        // What is in it can still be read, and deleted.
        assert_eq!(alice.get(&old).await.body, keys());
        assert_eq!(alice.delete(&old).await.body["count"], 0);
        for unknown in ["9", "x", "-1", "%00"] {
            let path = format!("room_keys/keys?version={unknown}");
            for answer in [
                alice.get(&path).await,
                alice.put(&path, keys()).await,
                alice.delete(&path).await,
            ] {
                assert_eq!(answer.error(), none, "{unknown}: {}", answer.body);
            }
        }
    })
    .await;
}
