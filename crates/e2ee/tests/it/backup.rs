//! Backups of room keys: which key is kept, counts and etags, and large backups.

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use starling_e2ee::{AllKeys, BackupError, KeyBackups, KeyScope, MOST_BACKUPS, NewKeys};
use starling_store::{SCHEMA, UserNum};
use starling_testkit::{TestDb, World, on_each_engine};

const USER: UserNum = UserNum(7);

fn raw(value: &Value) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).unwrap()
}

async fn backups(db: &TestDb) -> KeyBackups {
    KeyBackups::new(World::start(db).await.store)
}

async fn create(backups: &KeyBackups) -> i64 {
    let data = raw(&json!({ "a": 1 }));
    let created = backups.create(USER, "alg".to_owned(), &data);
    created.await.unwrap()
}

fn key(is_verified: bool, index: i64, forwarded: i64, data: &str) -> Value {
    json!({
        "is_verified": is_verified, "first_message_index": index, "forwarded_count": forwarded,
        "session_data": { "data": data },
    })
}

fn keys(rooms: &Value) -> NewKeys {
    let keys: AllKeys = serde_json::from_value(json!({ "rooms": rooms })).unwrap();
    keys.try_into().unwrap()
}

/// Keeps one key; which is kept then, and whether the etag has changed.
async fn put_one(backups: &KeyBackups, version: i64, new: Value) -> (String, bool) {
    let before = backups.get(USER, None).await.unwrap();
    let rooms = keys(&json!({ "!r:x": { "sessions": { "s": new } } }));
    let after = backups.put((USER, version), rooms).await.unwrap();
    assert_eq!(after.count, 1);
    let scope = KeyScope::Session("!r:x".to_owned(), "s".to_owned());
    let start = (String::new(), String::new());
    let kept = backups.keys((USER, version), scope, start).await.unwrap();
    let data: Value = serde_json::from_str(&kept[0].session_data).unwrap();
    (
        data["data"].as_str().unwrap().to_owned(),
        before.etag != after.etag,
    )
}

#[tokio::test]
async fn of_a_session_the_better_key_is_kept() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let backups = backups(&db).await;
        let version = create(&backups).await;
        let steps = [
            (key(false, 5, 5, "first"), "first"),
            (key(false, 5, 5, "same"), "first"),
            (key(false, 5, 6, "more often forwarded"), "first"),
            (key(false, 6, 0, "later"), "first"),
            (
                key(false, 5, 4, "less often forwarded"),
                "less often forwarded",
            ),
            (key(false, 4, 9, "earlier"), "earlier"),
            (key(true, 9, 9, "verified"), "verified"),
            (key(false, 0, 0, "not verified"), "verified"),
            (key(true, 9, 9, "same again"), "verified"),
            (
                key(true, 8, 99, "verified and earlier"),
                "verified and earlier",
            ),
        ];
        let mut kept = String::new();
        for (new, expected) in steps {
            let (now, has_changed) = put_one(&backups, version, new).await;
            assert_eq!(now, expected);
            assert_eq!(has_changed, now != kept, "{expected}");
            kept = now;
        }
    })
    .await;
}

#[tokio::test]
async fn keys_go_to_the_newest_backup_only() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let backups = backups(&db).await;
        let some = || keys(&json!({ "!r:x": { "sessions": { "s": key(true, 0, 0, "d") } } }));
        let unknown = |result: Result<_, BackupError>| matches!(result, Err(BackupError::Unknown));
        assert!(unknown(backups.put((USER, 1), some()).await.map(drop)));
        assert!(unknown(backups.get(USER, None).await.map(drop)));
        let first = create(&backups).await;
        backups.put((USER, first), some()).await.unwrap();
        let second = create(&backups).await;
        assert_eq!((first, second), (1, 2));
        let refused = backups.put((USER, first), some()).await;
        assert!(matches!(
            refused,
            Err(BackupError::NotCurrent { current: 2 })
        ));
        assert!(unknown(backups.put((USER, 3), some()).await.map(drop)));
        assert!(unknown(
            backups.put((UserNum(8), 1), some()).await.map(drop)
        ));
        assert_eq!(backups.get(USER, Some(first)).await.unwrap().count, 1);
        assert_eq!(backups.get(USER, Some(second)).await.unwrap().count, 0);
        // The older one is the newest that is left; its number is never given out again.
        backups.delete(USER, second).await.unwrap();
        backups.delete(USER, second).await.unwrap();
        assert_eq!(backups.get(USER, None).await.unwrap().version, first);
        assert_eq!(create(&backups).await, 3);
        assert!(unknown(backups.delete(USER, 4).await));
        assert!(unknown(backups.delete(USER, 0).await));
        assert!(unknown(backups.get(USER, Some(second)).await.map(drop)));
        let data = raw(&json!({ "b": 2 }));
        let other = backups.update((USER, 3), "other".to_owned(), &data);
        assert!(matches!(other.await, Err(BackupError::OtherAlgorithm)));
        let update = backups.update((USER, 3), "alg".to_owned(), &data);
        update.await.unwrap();
        assert_eq!(
            backups.get(USER, None).await.unwrap().auth_data,
            r#"{"b":2}"#
        );
    })
    .await;
}

/// Many keys, in three rooms.
fn many() -> Value {
    let sessions = |from: i64, to: i64| {
        let sessions = (from..to).map(|it| (format!("s{it:05}"), key(true, it, 0, "d")));
        json!({ "sessions": sessions.collect::<Map<String, Value>>() })
    };
    json!({ "!a:x": sessions(0, 700), "!b:x": sessions(0, 600), "!c:x": sessions(0, 1) })
}

async fn all(backups: &KeyBackups, version: i64, scope: &KeyScope) -> Vec<(String, String)> {
    let mut after = (String::new(), String::new());
    let mut all = Vec::new();
    loop {
        let page = backups.keys((USER, version), scope.clone(), after);
        let page = page.await.unwrap();
        let Some(last) = page.last() else {
            return all;
        };
        after = (last.room_id.clone(), last.session_id.clone());
        all.extend(page.into_iter().map(|key| (key.room_id, key.session_id)));
    }
}

#[tokio::test]
async fn a_large_backup_is_written_read_and_deleted_in_steps() {
    on_each_engine(&SCHEMA, |mut db: TestDb| async move {
        let kept = backups(&db).await;
        let version = create(&kept).await;
        let first = kept.put((USER, version), keys(&many())).await.unwrap();
        assert_eq!(first.count, 1_301);
        let again = kept.put((USER, version), keys(&many())).await.unwrap();
        assert_eq!(again, first, "nothing has changed");
        drop(kept);
        db.reopen().await;
        let backups = backups(&db).await;
        let found = all(&backups, version, &KeyScope::All).await;
        assert_eq!(found.len(), 1_301);
        assert!(found.is_sorted());
        let room = KeyScope::Room("!b:x".to_owned());
        assert_eq!(all(&backups, version, &room).await.len(), 600);
        let after = backups
            .delete_keys((USER, version), room.clone())
            .await
            .unwrap();
        assert_eq!(after.count, 701);
        assert_ne!(after.etag, first.etag);
        let none = backups.delete_keys((USER, version), room).await.unwrap();
        assert_eq!(none, after);
        let one = KeyScope::Session("!a:x".to_owned(), "s00003".to_owned());
        let after = backups.delete_keys((USER, version), one).await.unwrap();
        assert_eq!(after.count, 700);
        let after = backups
            .delete_keys((USER, version), KeyScope::All)
            .await
            .unwrap();
        assert_eq!(after.count, 0);
        backups.put((USER, version), keys(&many())).await.unwrap();
        backups.delete(USER, version).await.unwrap();
        backups.sweep().await.unwrap();
        let gone = backups.keys(
            (USER, version),
            KeyScope::All,
            (String::new(), String::new()),
        );
        assert!(matches!(gone.await, Err(BackupError::Unknown)));
    })
    .await;
}

#[tokio::test]
async fn who_makes_many_backups_keeps_the_newest() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let backups = backups(&db).await;
        let first = create(&backups).await;
        let some = keys(&json!({ "!r:x": { "sessions": { "s": key(true, 0, 0, "d") } } }));
        backups.put((USER, first), some).await.unwrap();
        for _ in 0..MOST_BACKUPS {
            create(&backups).await;
        }
        assert!(matches!(
            backups.get(USER, Some(first)).await,
            Err(BackupError::Unknown)
        ));
        assert!(backups.get(USER, Some(first + 1)).await.is_ok());
        backups.sweep().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_is_too_large_or_makes_no_sense_is_refused() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let backups = backups(&db).await;
        for (algorithm, auth_data) in [
            (String::new(), json!({})),
            ("x".repeat(256), json!({})),
            ("alg".to_owned(), json!([])),
            ("alg".to_owned(), json!({ "x": "x".repeat(70_000) })),
        ] {
            assert!(
                backups
                    .create(USER, algorithm, &raw(&auth_data))
                    .await
                    .is_err()
            );
        }
        let refused = |room: &str, session: &str, key: Value| {
            let keys = json!({ "rooms": { room: { "sessions": { session: key } } } });
            let keys: AllKeys = serde_json::from_value(keys).unwrap();
            NewKeys::try_from(keys).is_err()
        };
        let mut text = key(true, 0, 0, "d");
        text["session_data"] = json!("text");
        assert!(refused("!r:x", "s", text));
        assert!(refused("!r:x", "s", key(true, -1, 0, "d")));
        assert!(refused("!r:x", "s", key(true, 0, -1, "d")));
        assert!(refused("!r:x", "s", key(true, 0, 0, &"x".repeat(70_000))));
        assert!(refused(&"r".repeat(300), "s", key(true, 0, 0, "d")));
        assert!(refused("!r:x", &"s".repeat(300), key(true, 0, 0, "d")));
        assert!(!refused("!r\0", "s\0", key(true, 0, 0, "d")));
    })
    .await;
}

#[tokio::test]
async fn what_a_user_has_in_all_backups_is_bounded() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let backups = KeyBackups::bounded(World::start(&db).await.store, 1_000);
        let first = create(&backups).await;
        let put = async |version: i64, session: &str, new: Value| {
            let new = keys(&json!({ "!r:x": { "sessions": { session: new } } }));
            backups.put((USER, version), new).await.map(|it| it.count)
        };
        let large = "x".repeat(900);
        put(first, "a", key(false, 5, 0, &large)).await.unwrap();
        // In another one it counts as well.
        let second = create(&backups).await;
        put(second, "a", key(false, 5, 0, &large)).await.unwrap();
        let full = put(second, "b", key(false, 5, 0, "")).await;
        assert!(matches!(full, Err(BackupError::Full)), "{full:?}");
        backups.delete(USER, first).await.unwrap();
        // A key in the place of a larger one makes room.
        put(second, "a", key(true, 5, 0, "")).await.unwrap();
        assert_eq!(put(second, "b", key(false, 5, 0, &large)).await.unwrap(), 2);
        put(second, "c", key(false, 5, 0, &large)).await.unwrap();
        let full = put(second, "d", key(false, 5, 0, "")).await;
        assert!(matches!(full, Err(BackupError::Full)), "{full:?}");
        let scope = KeyScope::Session("!r:x".to_owned(), "b".to_owned());
        backups.delete_keys((USER, second), scope).await.unwrap();
        let scope = KeyScope::Room("!r:x".to_owned());
        put(second, "e", key(false, 5, 0, &large)).await.unwrap();
        backups.delete_keys((USER, second), scope).await.unwrap();
        assert_eq!(put(second, "d", key(false, 5, 0, "")).await.unwrap(), 1);
    })
    .await;
}
