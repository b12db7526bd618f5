//! Devices' keys. <https://spec.matrix.org/v1.19/client-server-api/#key-management-api>

use std::time::Duration;

use serde_json::{Value, json};
use starling_testkit::TestDevice;

use crate::caller::{Caller, Server, on_servers};

/// The device of a caller, with keys.
async fn device(caller: &Caller, seed: u8) -> (String, TestDevice) {
    let whoami = caller.get("account/whoami").await.ok();
    let device_id = whoami["device_id"].as_str().unwrap().to_owned();
    let device = TestDevice::new(&caller.user_id, &device_id, seed);
    (device_id, device)
}

/// A user whose device has uploaded its keys and two one-time keys.
async fn with_keys(server: &Server, name: &str, seed: u8) -> (Caller, String, TestDevice) {
    let caller = server.user(name).await;
    let (device_id, device) = device(&caller, seed).await;
    let upload =
        json!({ "device_keys": device.keys(), "one_time_keys": device.one_time_keys(["A", "B"]) });
    let counts = caller.post("keys/upload", &upload).await.ok();
    assert_eq!(
        counts,
        json!({ "one_time_key_counts": { "signed_curve25519": 2 } })
    );
    (caller, device_id, device)
}

async fn queried(by: &Caller, of: &Caller) -> Value {
    let query = json!({ "device_keys": { &of.user_id: [] } });
    let answer = by.post("keys/query", &query).await.ok();
    assert_eq!(answer["failures"], json!({}));
    answer["device_keys"][&of.user_id].clone()
}

/// The ids of the keys that are given out.
async fn claim(by: &Caller, of: &Caller, device_id: &str) -> Vec<String> {
    let claim = json!({ "one_time_keys": { &of.user_id: { device_id: "signed_curve25519" } } });
    let answer = by.post("keys/claim", &claim).await.ok();
    let keys = &answer["one_time_keys"][&of.user_id][device_id];
    let keys = keys.as_object().into_iter().flatten();
    keys.map(|(name, key)| {
        assert!(key["key"].is_string() && key["signatures"].is_object());
        name.clone()
    })
    .collect()
}

async fn counts(caller: &Caller) -> (Value, Value) {
    let (answer, _) = caller.sync("").await;
    (
        answer["device_one_time_keys_count"].clone(),
        answer["device_unused_fallback_key_types"].clone(),
    )
}

/// `POST /_matrix/client/v3/keys/upload`, `POST /_matrix/client/v3/keys/query`
#[tokio::test]
async fn keys_that_a_device_uploads_are_told_to_who_asks() {
    on_servers(async |server| {
        let (alice, device_id, device) = with_keys(&server, "alice", 1).await;
        let bob = server.user("bob").await;
        assert_eq!(
            queried(&bob, &alice).await,
            json!({ &device_id: device.keys() })
        );
        assert_eq!(
            queried(&alice, &bob).await,
            json!({}),
            "a user without keys"
        );
        let named = json!({ "display_name": "Phone" });
        alice
            .put(&format!("devices/{device_id}"), &named)
            .await
            .ok();
        let mut keys = device.keys();
        keys["unsigned"] = json!({ "device_display_name": "Phone" });
        assert_eq!(queried(&bob, &alice).await[&device_id], keys);
        let other = json!({ "device_keys": { &alice.user_id: ["OTHER"] } });
        let answer = bob.post("keys/query", &other).await.ok();
        assert_eq!(answer["device_keys"][&alice.user_id], json!({}));
        alice.post("logout", &json!({})).await.ok();
        assert_eq!(queried(&bob, &alice).await, json!({}), "the device is gone");
    })
    .await;
}

/// `POST /_matrix/client/v3/keys/upload`
#[tokio::test]
async fn a_device_uploads_its_own_keys_and_signs_them() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let (device_id, own) = device(&alice, 1).await;
        let refused = async |keys: Value, errcode: &str| {
            let answer = alice
                .post("keys/upload", &json!({ "device_keys": keys }))
                .await;
            assert_eq!(answer.error(), (400, errcode), "{keys}");
        };
        let other_user = TestDevice::new("@bob:localhost", &device_id, 1);
        refused(other_user.keys(), "M_INVALID_PARAM").await;
        let other_device = TestDevice::new(&alice.user_id, "OTHER", 1);
        refused(other_device.keys(), "M_INVALID_PARAM").await;
        let mut wrong = own.keys();
        wrong["algorithms"] = json!(["m.other"]);
        refused(wrong, "M_INVALID_SIGNATURE").await;
        let mut none = own.keys();
        none["signatures"] = json!({});
        refused(none, "M_INVALID_SIGNATURE").await;
        refused(json!([]), "M_INVALID_PARAM").await;
        assert_eq!(queried(&alice, &alice).await, json!({}));
        alice
            .post("keys/upload", &json!({ "device_keys": own.keys() }))
            .await
            .ok();
    })
    .await;
}

/// `POST /_matrix/client/v3/keys/upload`
#[tokio::test]
async fn an_upload_may_say_of_each_kind_of_keys_that_there_are_none() {
    on_servers(async |server| {
        let (alice, ..) = with_keys(&server, "alice", 1).await;
        let none = json!({ "device_keys": null, "one_time_keys": null, "fallback_keys": null });
        let counts = alice.post("keys/upload", &none).await.ok();
        let expected = json!({ "one_time_key_counts": { "signed_curve25519": 2 } });
        assert_eq!(counts, expected);
    })
    .await;
}

/// `POST /_matrix/client/v3/keys/claim`
#[tokio::test]
async fn a_one_time_key_is_given_out_once_and_the_oldest_first() {
    on_servers(async |server| {
        let (alice, device_id, device) = with_keys(&server, "alice", 1).await;
        let bob = server.user("bob").await;
        let more = json!({ "one_time_keys": device.one_time_keys(["0"]) });
        alice.post("keys/upload", &more).await.ok();
        let mut given = Vec::new();
        for _ in 0..3 {
            given.extend(claim(&bob, &alice, &device_id).await);
        }
        assert_eq!(given[2], "signed_curve25519:0", "{given:?}");
        given.sort_unstable();
        given.dedup();
        assert_eq!(given.len(), 3);
        let none: Vec<String> = Vec::new();
        assert_eq!(claim(&bob, &alice, &device_id).await, none);
        assert_eq!(claim(&bob, &alice, "OTHER").await, none);
        // Who got no answer uploads the same again: it is not there again.
        let again = json!({ "one_time_keys": device.one_time_keys(["A", "B", "0"]) });
        let answer = alice.post("keys/upload", &again).await.ok();
        assert_eq!(answer["one_time_key_counts"], json!({}));
        assert_eq!(claim(&bob, &alice, &device_id).await, none);
        let restarted = server.restarted().await;
        let bob = restarted.again(&bob);
        assert_eq!(claim(&bob, &alice, &device_id).await, none);
    })
    .await;
}

/// `POST /_matrix/client/v3/keys/claim`
#[tokio::test]
async fn many_who_claim_at_once_get_different_keys() {
    on_servers(async |server| {
        let (alice, device_id, device) = with_keys(&server, "alice", 1).await;
        let ids: Vec<String> = (0..30).map(|id| format!("K{id}")).collect();
        let keys = device.one_time_keys(ids.iter().map(String::as_str));
        alice
            .post("keys/upload", &json!({ "one_time_keys": keys }))
            .await
            .ok();
        let bob = server.user("bob").await;
        let claims = (0..40).map(|_| claim(&bob, &alice, &device_id));
        let given = futures_util::future::join_all(claims).await;
        let mut given: Vec<String> = given.into_iter().flatten().collect();
        given.sort_unstable();
        given.dedup();
        assert_eq!(given.len(), 32);
    })
    .await;
}

/// `POST /_matrix/client/v3/keys/upload`
#[tokio::test]
async fn the_same_one_time_key_may_come_again_and_no_other_by_its_name() {
    on_servers(async |server| {
        let (alice, _, device) = with_keys(&server, "alice", 1).await;
        let again = json!({ "one_time_keys": device.one_time_keys(["A"]) });
        alice.post("keys/upload", &again).await.ok();
        let mut other = again.clone();
        other["one_time_keys"]["signed_curve25519:A"]["key"] = "other".into();
        other["one_time_keys"]["signed_curve25519:C"] = json!("new");
        let answer = alice.post("keys/upload", &other).await;
        assert_eq!(answer.error(), (400, "M_INVALID_PARAM"));
        for wrong in ["A", ":A", "x:"] {
            let upload = json!({ "one_time_keys": { wrong: "key" } });
            let answer = alice.post("keys/upload", &upload).await;
            assert_eq!(answer.error(), (400, "M_INVALID_PARAM"), "{wrong}");
        }
        let many: Vec<String> = (0..499).map(|id| format!("M{id}")).collect();
        let many = device.one_time_keys(many.iter().map(String::as_str));
        let answer = alice
            .post("keys/upload", &json!({ "one_time_keys": many }))
            .await;
        assert_eq!(answer.error(), (400, "M_INVALID_PARAM"), "more than 500");
        assert_eq!(
            counts(&alice).await.0,
            json!({ "signed_curve25519": 2 }),
            "nothing of it was taken"
        );
    })
    .await;
}

/// `POST /_matrix/client/v3/keys/upload`
#[tokio::test]
async fn a_device_that_lost_its_keys_uploads_new_ones_in_place_of_all_old_ones() {
    on_servers(async |server| {
        let (alice, device_id, old) = with_keys(&server, "alice", 1).await;
        let bob = server.user("bob").await;
        let fallback = json!({ "fallback_keys": old.one_time_keys(["F"]) });
        alice.post("keys/upload", &fallback).await.ok();
        claim(&bob, &alice, &device_id).await;
        // Its ids begin again.
        let (_, new) = device(&alice, 2).await;
        let key = new.signed(&json!({ "key": "another" }));
        let upload = json!({
            "device_keys": new.keys(),
            "one_time_keys": { "signed_curve25519:A": key, "signed_curve25519:B": key },
        });
        let uploaded = alice.post("keys/upload", &upload).await.ok();
        let two = json!({ "signed_curve25519": 2 });
        assert_eq!(uploaded, json!({ "one_time_key_counts": two }));
        assert_eq!(counts(&alice).await, (two.clone(), json!([])));
        for id in ["A", "B"] {
            let given = claim(&bob, &alice, &device_id).await;
            assert_eq!(given, [format!("signed_curve25519:{id}")]);
        }
        assert!(claim(&bob, &alice, &device_id).await.is_empty());
        // The same keys again, with another signature, leave what there is.
        let more = json!({ "one_time_keys": new.one_time_keys(["C", "D"]) });
        alice.post("keys/upload", &more).await.ok();
        let mut keys = new.keys();
        keys["signatures"]["@nobody:localhost"] = json!({ "ed25519:X": "a" });
        let uploaded = alice
            .post("keys/upload", &json!({ "device_keys": keys }))
            .await;
        assert_eq!(uploaded.ok(), json!({ "one_time_key_counts": two }));
    })
    .await;
}

/// `POST /_matrix/client/v3/keys/claim`
#[tokio::test]
async fn a_fallback_key_is_given_out_when_there_is_no_other_and_counts_as_used() {
    on_servers(async |server| {
        let (alice, device_id, device) = with_keys(&server, "alice", 1).await;
        let bob = server.user("bob").await;
        let fallback = json!({ "fallback_keys": device.one_time_keys(["F"]) });
        alice.post("keys/upload", &fallback).await.ok();
        let unused = json!(["signed_curve25519"]);
        assert_eq!(
            counts(&alice).await,
            (json!({ "signed_curve25519": 2 }), unused.clone())
        );
        claim(&bob, &alice, &device_id).await;
        claim(&bob, &alice, &device_id).await;
        let none = json!({ "signed_curve25519": 0 });
        assert_eq!(counts(&alice).await, (none.clone(), unused.clone()));
        for _ in 0..2 {
            let given = claim(&bob, &alice, &device_id).await;
            assert_eq!(given, ["signed_curve25519:F"]);
            assert_eq!(counts(&alice).await, (none.clone(), json!([])));
        }
        alice.post("keys/upload", &fallback).await.ok();
        assert_eq!(counts(&alice).await.1, json!([]), "the same one was used");
        let next = json!({ "fallback_keys": device.one_time_keys(["G"]) });
        alice.post("keys/upload", &next).await.ok();
        assert_eq!(counts(&alice).await.1, unused);
        let two = json!({ "fallback_keys": device.one_time_keys(["H", "I"]) });
        let answer = alice.post("keys/upload", &two).await;
        assert_eq!(answer.error(), (400, "M_INVALID_PARAM"));
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn a_device_that_waits_is_told_of_the_keys_that_it_has_left() {
    on_servers(async |server| {
        let (alice, device_id, _) = with_keys(&server, "alice", 1).await;
        let bob = server.user("bob").await;
        let (_, token) = alice.sync("").await;
        let poll = format!("since={token}&timeout=60000");
        let (told, _) = tokio::join!(alice.sync(&poll), async {
            tokio::task::yield_now().await;
            claim(&bob, &alice, &device_id).await
        });
        assert_eq!(
            told.0["device_one_time_keys_count"],
            json!({ "signed_curve25519": 1 })
        );
    })
    .await;
}

/// `GET /_matrix/client/v3/keys/changes`
#[tokio::test]
async fn who_shares_a_room_is_told_of_other_devices() {
    on_servers(async |server| {
        let (alice, bob, room) = server.two_in_a_room().await;
        let carol = server.user("carol").await;
        let (_, since) = bob.sync("").await;
        let (_, carols) = carol.sync("").await;
        let (device_id, device) = device(&alice, 1).await;
        let upload = json!({ "device_keys": device.keys() });
        alice.post("keys/upload", &upload).await.ok();
        let (told, next) = bob.sync(&format!("since={since}")).await;
        let changed = json!({ "changed": [&alice.user_id], "left": [] });
        assert_eq!(told["device_lists"], changed);
        let (told, _) = carol.sync(&format!("since={carols}")).await;
        assert_eq!(
            told["device_lists"],
            Value::Null,
            "Carol is in no room with her"
        );
        let told = async |from: &str, to: &str| {
            bob.get(&format!("keys/changes?from={from}&to={to}"))
                .await
                .ok()
        };
        assert_eq!(told(&since, &next).await, changed);
        assert_eq!(
            told(&next, &next).await,
            json!({ "changed": [], "left": [] })
        );
        // The same keys again are no change.
        alice.post("keys/upload", &upload).await.ok();
        let (told, next) = bob.sync(&format!("since={next}")).await;
        assert_eq!(told["device_lists"], Value::Null);
        alice
            .put(
                &format!("devices/{device_id}"),
                &json!({ "display_name": "x" }),
            )
            .await
            .ok();
        let (told, next) = bob.sync(&format!("since={next}")).await;
        assert_eq!(told["device_lists"], changed, "another name");
        alice.leave(&room).await.ok();
        let (told, _) = bob.sync(&format!("since={next}")).await;
        assert_eq!(
            told["device_lists"],
            json!({ "changed": [], "left": [&alice.user_id] })
        );
        for query in ["from=x&to=s1_0", "from=s1_0", "from=s1_0&to=s1_999999"] {
            let answer = bob.get(&format!("keys/changes?{query}")).await;
            assert_eq!(answer.status, 400, "{query}");
        }
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn who_comes_into_a_room_or_goes_changes_whose_devices_are_followed() {
    on_servers(async |server| {
        let (alice, bob, room) = server.two_in_a_room().await;
        let other = alice.create(json!({ "preset": "public_chat" })).await;
        let carol = server.user("carol").await;
        let lists = async |who: &Caller, since: &str| {
            let (told, next) = who.sync(&format!("since={since}")).await;
            (told["device_lists"].clone(), next)
        };
        let (_, bobs) = bob.sync("").await;
        let (_, carols) = carol.sync("").await;
        carol.join(&room).await.ok();
        let (told, bobs) = lists(&bob, &bobs).await;
        assert_eq!(told, json!({ "changed": [&carol.user_id], "left": [] }));
        let both = json!({ "changed": [&alice.user_id, &bob.user_id], "left": [] });
        let (told, carols) = lists(&carol, &carols).await;
        assert_eq!(told, both, "all who are there are new to her");
        // Another name in the room is no other device.
        carol
            .put(
                &format!("profile/{}/displayname", carol.user_id),
                &json!({ "displayname": "C" }),
            )
            .await
            .ok();
        carol.say(&room, "hello").await;
        let (told, bobs) = lists(&bob, &bobs).await;
        assert_eq!(told, Value::Null);
        // Of those who are in two rooms with her, nobody is lost with one.
        carol.join(&other).await.ok();
        let (_, carols) = lists(&carol, &carols).await;
        carol.leave(&room).await.ok();
        let (told, carols) = lists(&carol, &carols).await;
        assert_eq!(told, json!({ "changed": [], "left": [&bob.user_id] }));
        let (told, _) = lists(&bob, &bobs).await;
        assert_eq!(told, json!({ "changed": [], "left": [&carol.user_id] }));
        carol.leave(&other).await.ok();
        let (told, _) = lists(&carol, &carols).await;
        assert_eq!(told, json!({ "changed": [], "left": [&alice.user_id] }));
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn who_went_while_the_reader_was_away_is_told_when_the_reader_is_back() {
    on_servers(async |server| {
        let (alice, bob, room) = server.two_in_a_room().await;
        let (carol, dave) = (server.user("carol").await, server.user("dave").await);
        carol.join(&room).await.ok();
        dave.join(&room).await.ok();
        let (_, since) = bob.sync("").await;
        carol.leave(&room).await.ok();
        bob.leave(&room).await.ok();
        dave.leave(&room).await.ok();
        bob.join(&room).await.ok();
        let (told, _) = bob.sync(&format!("since={since}")).await;
        assert_eq!(
            told["device_lists"],
            json!({ "changed": [&alice.user_id], "left": [&carol.user_id, &dave.user_id] })
        );
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn after_a_restart_a_device_with_few_keys_is_told_at_once() {
    on_servers(async |server| {
        let (alice, bob, room) = server.two_in_a_room().await;
        let (device_id, device) = device(&alice, 1).await;
        let ids: Vec<String> = (0..50).map(|number| format!("K{number}")).collect();
        let keys = |ids: &[String]| device.one_time_keys(ids.iter().map(|id| &**id));
        let fallback = keys(&["F".to_owned()]);
        let all = json!({ "one_time_keys": keys(&ids), "fallback_keys": fallback });
        alice.post("keys/upload", &all).await.ok();
        let (_, since) = alice.sync("").await;
        let poll = format!("since={since}&timeout=300000");
        claim(&bob, &alice, &device_id).await;
        let server = server.restarted().await;
        let alice = server.again(&alice);
        let told = tokio::time::timeout(Duration::from_mins(1), alice.sync(&poll));
        let (told, _) = told.await.expect("it doesn't wait");
        let count = json!({ "signed_curve25519": 49 });
        assert_eq!(told["device_one_time_keys_count"], count);
        // With as many as clients keep there it waits.
        let more = json!({ "one_time_keys": keys(&["N".to_owned()]) });
        alice.post("keys/upload", &more).await.ok();
        let server = server.restarted().await;
        let (alice, bob) = (server.again(&alice), server.again(&bob));
        let (told, ()) = tokio::join!(alice.sync(&poll), async {
            tokio::task::yield_now().await;
            bob.say(&room, "news").await;
        });
        assert!(told.0["rooms"]["join"][&room].is_object(), "{told:?}");
    })
    .await;
}
