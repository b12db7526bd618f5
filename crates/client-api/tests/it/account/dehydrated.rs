//! Dehydrated devices. <https://github.com/matrix-org/matrix-spec-proposals/pull/3814>

use serde_json::{Value, json};
use starling_testkit::TestDevice;

use crate::caller::{Answer, Caller, on_servers, segment};

const DEVICE: &str = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device";

/// Ids are public keys in Base64.
const ID: &str = "a/b+c";

async fn request(caller: &Caller, method: &str, path: &str, body: &Value) -> Answer {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let path = format!("{DEVICE}{path}");
    caller.send_raw(method, &path, body.as_bytes()).await
}

async fn get(caller: &Caller) -> Answer {
    request(caller, "GET", "", &Value::Null).await
}

fn upload(caller: &Caller, id: &str, seed: u8) -> Value {
    // A signing key's name has no such letters; what is signed doesn't depend on it.
    let device = TestDevice::new(&caller.user_id, "KEY", seed);
    let public = device.keys()["keys"]["ed25519:KEY"].clone();
    let key_id = format!("ed25519:{id}");
    let mut keys = device.signed(&json!({
        "user_id": caller.user_id, "device_id": id, "dehydrated": true,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
        "keys": { &key_id: public, format!("curve25519:{id}"): public },
    }));
    let signature = keys["signatures"][&caller.user_id]["ed25519:KEY"].clone();
    keys["signatures"] = json!({ &caller.user_id: { &key_id: signature } });
    json!({
        "device_id": id,
        "device_data": { "algorithm": "org.matrix.msc3814.v2", "device_pickle": "p", "nonce": "n" },
        "initial_device_display_name": "Dehydrated device",
        "device_keys": keys,
        "one_time_keys": device.one_time_keys(["A"]),
        "fallback_keys": { "signed_curve25519:F": device.signed(&json!({ "key": "f", "fallback": true })) },
    })
}

/// The names of the keys that are given out.
async fn claim(by: &Caller, of: &Caller, id: &str) -> Vec<String> {
    let claim = json!({ "one_time_keys": { &of.user_id: { id: "signed_curve25519" } } });
    let answer = by.post("keys/claim", &claim).await.ok();
    let keys = answer["one_time_keys"][&of.user_id][id].as_object();
    keys.into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect()
}

async fn queried(by: &Caller, of: &Caller) -> Value {
    let query = json!({ "device_keys": { &of.user_id: [] } });
    by.post("keys/query", &query).await.ok()["device_keys"][&of.user_id].clone()
}

/// `PUT /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device`,
/// `GET /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device`,
/// `DELETE /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device`
#[tokio::test]
async fn a_user_has_one_and_others_encrypt_for_it() {
    on_servers(async |server| {
        let (alice, bob, _) = server.two_in_a_room().await;
        let none = (404, "M_NOT_FOUND");
        assert_eq!(get(&alice).await.error(), none);
        assert_eq!(
            request(&alice, "DELETE", "", &Value::Null).await.error(),
            none
        );
        let (_, since) = bob.sync("").await;
        let first = upload(&alice, ID, 1);
        let made = request(&alice, "PUT", "", &first).await.ok();
        assert_eq!(made, json!({ "device_id": ID }));
        let shown = json!({ "device_id": ID, "device_data": first["device_data"] });
        assert_eq!(get(&alice).await.ok(), shown);
        assert_eq!(get(&bob).await.error(), none);
        let (told, since) = bob.sync(&format!("since={since}")).await;
        assert_eq!(told["device_lists"]["changed"], json!([alice.user_id]));
        let keys = queried(&bob, &alice).await;
        assert_eq!(keys[ID]["dehydrated"], json!(true));
        assert_eq!(
            keys[ID]["unsigned"]["device_display_name"],
            "Dehydrated device"
        );
        let devices = alice.get("devices").await.ok();
        let listed = devices["devices"].as_array().unwrap();
        assert!(
            listed.iter().any(|device| device["device_id"] == ID),
            "{listed:?}"
        );
        assert_eq!(claim(&bob, &alice, ID).await, ["signed_curve25519:A"]);
        for _ in 0..2 {
            assert_eq!(claim(&bob, &alice, ID).await, ["signed_curve25519:F"]);
        }
        // Another takes its place, then one with the same id that of this one.
        for (id, seed) in [("other", 2), ("other", 3)] {
            let next = upload(&alice, id, seed);
            request(&alice, "PUT", "", &next).await.ok();
            let keys = queried(&bob, &alice).await;
            let ids: Vec<&String> = keys.as_object().unwrap().keys().collect();
            assert_eq!(ids, [id]);
            assert_eq!(keys[id]["keys"], next["device_keys"]["keys"]);
            assert_eq!(claim(&bob, &alice, id).await, ["signed_curve25519:A"]);
        }
        let (told, since) = bob.sync(&format!("since={since}")).await;
        assert_eq!(told["device_lists"]["changed"], json!([alice.user_id]));
        let deleted = request(&alice, "DELETE", "", &Value::Null).await.ok();
        assert_eq!(deleted, json!({ "device_id": "other" }));
        assert_eq!(get(&alice).await.error(), none);
        assert_eq!(queried(&bob, &alice).await, json!({}));
        let (told, _) = bob.sync(&format!("since={since}")).await;
        assert_eq!(told["device_lists"]["changed"], json!([alice.user_id]));
    })
    .await;
}

async fn page(caller: &Caller, query: &str) -> Answer {
    let path = format!("/{}/events{query}", segment(ID));
    request(caller, "GET", &path, &Value::Null).await
}

fn numbers(page: &Value) -> Vec<i64> {
    let events = page["events"].as_array().unwrap();
    events
        .iter()
        .map(|event| event["content"]["n"].as_i64().unwrap())
        .collect()
}

/// `GET /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{deviceId}/events`,
/// `POST /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{deviceId}/events`
#[tokio::test]
async fn messages_to_it_are_read_by_pages_and_stay() {
    on_servers(async |server| {
        let (alice, bob, _) = server.two_in_a_room().await;
        let forbidden = (403, "M_FORBIDDEN");
        assert_eq!(page(&alice, "").await.error(), forbidden);
        request(&alice, "PUT", "", &upload(&alice, ID, 1))
            .await
            .ok();
        assert_eq!(page(&alice, "").await.ok(), json!({ "events": [] }));
        for n in 0..5 {
            let to = if n % 2 == 0 { ID } else { "*" };
            let sent = json!({ "messages": { &alice.user_id: { to: { "n": n } } } });
            bob.put(&format!("sendToDevice/m.x/{n}"), &sent).await.ok();
        }
        for _ in 0..2 {
            let first = page(&alice, "?limit=3").await.ok();
            assert_eq!(numbers(&first), [0, 1, 2]);
            assert_eq!(first["events"][0]["sender"], bob.user_id);
            assert_eq!(first["events"][0]["type"], "m.x");
            let next = first["next_batch"].as_str().unwrap();
            let last = page(&alice, &format!("?from={next}&limit=3")).await.ok();
            assert_eq!(numbers(&last), [3, 4]);
            assert!(last["next_batch"].is_null());
        }
        // As older clients ask, until there is nothing more.
        let path = format!("/{}/events", segment(ID));
        let first = request(&alice, "POST", &path, &json!({})).await.ok();
        assert_eq!(numbers(&first), [0, 1, 2, 3, 4]);
        let next = json!({ "next_batch": first["next_batch"] });
        let last = request(&alice, "POST", &path, &next).await.ok();
        assert!(numbers(&last).is_empty() && last["next_batch"].is_string());
        // What an ordinary device was sent is another matter.
        let whoami = alice.get("account/whoami").await.ok();
        let own = whoami["device_id"].as_str().unwrap();
        let path = format!("/{}/events", segment(own));
        assert_eq!(
            request(&alice, "GET", &path, &Value::Null).await.error(),
            forbidden
        );
        assert_eq!(page(&bob, "").await.error(), forbidden);
        let (_, token) = alice.sync("").await;
        for wrong in ["x", "s1_1_1", "s9_1", "s1_999999", token.as_str()] {
            let refused = page(&alice, &format!("?from={wrong}")).await;
            assert_eq!(refused.error(), (400, "M_INVALID_PARAM"), "{wrong}");
        }
        // The next device begins with nothing.
        request(&alice, "PUT", "", &upload(&alice, ID, 2))
            .await
            .ok();
        assert_eq!(page(&alice, "").await.ok(), json!({ "events": [] }));
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_one_changes_nothing() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let whoami = alice.get("account/whoami").await.ok();
        let own = whoami["device_id"].as_str().unwrap();
        request(&alice, "PUT", "", &upload(&alice, ID, 1))
            .await
            .ok();
        let before = (get(&alice).await.ok(), queried(&alice, &alice).await);
        let with = |field: &str, value: Value| {
            let mut upload = upload(&alice, "new", 2);
            upload[field] = value;
            upload
        };
        let mut foreign = upload(&alice, "new", 2);
        foreign["device_keys"]["user_id"] = json!("@bob:localhost");
        let mut tampered = upload(&alice, "new", 2);
        tampered["device_keys"]["dehydrated"] = json!(false);
        let invalid = "M_INVALID_PARAM";
        let long = "x".repeat(70_000);
        for (wrong, errcode) in [
            (upload(&alice, own, 2), invalid),
            (with("device_id", json!("other")), invalid),
            (with("device_id", json!("")), invalid),
            (upload(&alice, &"x".repeat(256), 2), invalid),
            (with("device_data", json!({})), invalid),
            (with("device_data", json!([])), invalid),
            (with("device_data", json!({ "algorithm": 1 })), invalid),
            (
                with("device_data", json!({ "algorithm": "a", "x": long })),
                invalid,
            ),
            (
                with("initial_device_display_name", json!("x".repeat(513))),
                invalid,
            ),
            (with("device_keys", Value::Null), invalid),
            (with("one_time_keys", json!({ "x": {} })), invalid),
            (with("fallback_keys", json!({ "a:b": 1 })), invalid),
            (foreign, invalid),
            (tampered, "M_INVALID_SIGNATURE"),
            (json!({ "device_id": "new" }), "M_BAD_JSON"),
        ] {
            let refused = request(&alice, "PUT", "", &wrong).await;
            assert_eq!(refused.error(), (400, errcode), "{wrong}");
            assert!(refused.has_message(), "{wrong}");
        }
        assert_eq!(
            (get(&alice).await.ok(), queried(&alice, &alice).await),
            before
        );
    })
    .await;
}

#[tokio::test]
async fn it_goes_with_the_users_other_devices_and_a_login_makes_it_one_of_them() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        request(&alice, "PUT", "", &upload(&alice, ID, 1))
            .await
            .ok();
        let login = json!({
            "type": "m.login.password", "identifier": { "type": "m.id.user", "user": "alice" },
            "password": "alice", "device_id": ID,
        });
        server.anonymous().post("login", &login).await.ok();
        assert_eq!(get(&alice).await.error(), (404, "M_NOT_FOUND"));
        let taken = request(&alice, "PUT", "", &upload(&alice, ID, 2)).await;
        assert_eq!(taken.error(), (400, "M_INVALID_PARAM"));
        request(&alice, "PUT", "", &upload(&alice, "other", 2))
            .await
            .ok();
        alice.post("logout/all", &json!({})).await.ok();
        let again = server.device("alice").await;
        assert_eq!(get(&again).await.error(), (404, "M_NOT_FOUND"));
        assert_eq!(queried(&again, &again).await, json!({}));
    })
    .await;
}
