//! Devices' keys between servers.

use http::Method;
use serde_json::{Value, json};
use starling_testkit::{CrossSigner, TestDevice};

use crate::support::{Here, on_servers};

/// A user whose device has keys and one one-time key.
async fn with_keys(server: &Here, name: &str) -> (String, TestDevice, String) {
    let token = server.user(name).await;
    let whoami = (Method::GET, "account/whoami");
    let whoami = server.as_user(&token, whoami, Value::Null).await;
    let device_id = whoami["device_id"].as_str().unwrap().to_owned();
    let device = TestDevice::new(&format!("@{name}:localhost"), &device_id, 1);
    let upload =
        json!({ "device_keys": device.keys(), "one_time_keys": device.one_time_keys(["A"]) });
    let path = (Method::POST, "keys/upload");
    server.as_user(&token, path, upload).await;
    (token, device, device_id)
}

/// `POST /_matrix/federation/v1/user/keys/query`, `GET /_matrix/federation/v1/user/devices/{userId}`
#[tokio::test]
async fn other_servers_are_told_devices_and_keys_but_no_names() {
    on_servers(async |server| {
        let (token, device, device_id) = with_keys(&server, "alice").await;
        let signer = CrossSigner::new("@alice:localhost", 1);
        let path = (Method::POST, "keys/device_signing/upload");
        server.as_user(&token, path, signer.upload()).await;
        let named = (Method::PUT, &*format!("devices/{device_id}"));
        let name = json!({ "display_name": "Phone" });
        server.as_user(&token, named, name).await;
        let peer = server.peer("peer.example", 1);
        let query = json!({ "device_keys": { "@alice:localhost": [], "@nobody:localhost": [] } });
        let answer = server.post(&peer, "user/keys/query", &query).await;
        let wanted = json!({
            "device_keys": { "@alice:localhost": { &device_id: device.keys() }, "@nobody:localhost": {} },
            "master_keys": { "@alice:localhost": signer.key_object("master") },
            "self_signing_keys": { "@alice:localhost": signer.key_object("self_signing") },
        });
        assert_eq!(answer.body, wanted);
        let answer = server.get(&peer, "user/devices/@alice:localhost").await;
        let stream_id = &answer.body["stream_id"];
        assert!(stream_id.as_i64().unwrap() > 0);
        let wanted = json!({
            "user_id": "@alice:localhost", "stream_id": stream_id,
            "devices": [{ "device_id": device_id, "keys": device.keys() }],
            "master_key": signer.key_object("master"), "self_signing_key": signer.key_object("self_signing"),
        });
        assert_eq!(answer.body, wanted);
        let other = json!({ "device_keys": { "@bob:peer.example": [] } });
        let answer = server.post(&peer, "user/keys/query", &other).await;
        assert_eq!(answer.error(), (400, "M_INVALID_PARAM"));
    })
    .await;
}

/// `POST /_matrix/federation/v1/user/keys/claim`
#[tokio::test]
async fn another_server_claims_a_key_once() {
    on_servers(async |server| {
        let (_, _, device_id) = with_keys(&server, "alice").await;
        let peer = server.peer("peer.example", 1);
        let claim =
            json!({ "one_time_keys": { "@alice:localhost": { &device_id: "signed_curve25519" } } });
        let answer = server.post(&peer, "user/keys/claim", &claim).await.body;
        let key = &answer["one_time_keys"]["@alice:localhost"][&device_id];
        assert!(key["signed_curve25519:A"]["key"].is_string(), "{answer}");
        let answer = server.post(&peer, "user/keys/claim", &claim).await.body;
        assert_eq!(answer, json!({ "one_time_keys": {} }));
        let other = json!({ "one_time_keys": { "@bob:peer.example": {} } });
        let answer = server.post(&peer, "user/keys/claim", &other).await;
        assert_eq!(answer.error(), (400, "M_INVALID_PARAM"));
    })
    .await;
}

/// `POST /_matrix/client/v3/keys/query`, `POST /_matrix/client/v3/keys/claim`
#[tokio::test]
async fn users_of_other_servers_are_asked_for_there() {
    on_servers(async |server| {
        let token = server.user("alice").await;
        let peer = server.peer("peer.example", 1);
        let bob = TestDevice::new("@bob:peer.example", "BOB", 2);
        let other = TestDevice::new("@bob:peer.example", "OTHER", 3);
        let master = CrossSigner::new("@bob:peer.example", 1).key_object("master");
        let answer = json!({
            // Of a device that says it is another, and of a user of a third server, nothing is believed.
            "device_keys": {
                "@bob:peer.example": { "BOB": bob.keys(), "FALSE": other.keys() },
                "@alice:localhost": { "FALSE": bob.keys() },
            },
            "master_keys": { "@bob:peer.example": master },
        });
        let uri = "/_matrix/federation/v1/user/keys/query";
        let answers = &server.internet;
        answers.answers(&peer.name, uri, answer.to_string().as_bytes());
        let query = json!({ "device_keys": { "@bob:peer.example": [], "@x:gone.example": [] } });
        let path = (Method::POST, "keys/query");
        let told = server.as_user(&token, path, query).await;
        let wanted = json!({ "@bob:peer.example": { "BOB": bob.keys() } });
        assert_eq!(told["device_keys"], wanted);
        assert_eq!(told["master_keys"], json!({ "@bob:peer.example": master }));
        let failures = told["failures"].as_object().unwrap();
        assert_eq!(failures.keys().collect::<Vec<_>>(), ["gone.example"]);
        let given = bob.one_time_keys(["A"]);
        let answer = json!({ "one_time_keys": { "@bob:peer.example": { "BOB": given } } });
        let uri = "/_matrix/federation/v1/user/keys/claim";
        answers.answers(&peer.name, uri, answer.to_string().as_bytes());
        let claim =
            json!({ "one_time_keys": { "@bob:peer.example": { "BOB": "signed_curve25519" } } });
        let path = (Method::POST, "keys/claim");
        let told = server.as_user(&token, path, claim).await;
        assert_eq!(told["one_time_keys"], answer["one_time_keys"]);
        assert_eq!(told["failures"], json!({}));
    })
    .await;
}

/// `PUT /_matrix/federation/v1/send/{txnId}`
#[tokio::test]
async fn who_shares_a_room_with_a_user_of_another_server_is_told_of_other_devices() {
    on_servers(async |server| {
        let token = server.user("alice").await;
        let peer = server.peer("peer.example", 1);
        let room = server
            .room(&token, json!({ "preset": "public_chat" }))
            .await;
        let sync = async |since: Option<&str>| {
            let path = since.map_or("sync".to_owned(), |since| format!("sync?since={since}"));
            let told = server
                .as_user(&token, (Method::GET, &path), Value::Null)
                .await;
            let next = told["next_batch"].as_str().unwrap().to_owned();
            (told["device_lists"].clone(), next)
        };
        let edu = |kind: &str, user: &str| {
            let content =
                json!({ "user_id": user, "device_id": "D", "stream_id": 5, "prev_id": [4] });
            json!({ "pdus": [], "edus": [{ "edu_type": kind, "content": content }] })
        };
        let update = edu("m.device_list_update", "@bob:peer.example");
        let (_, since) = sync(None).await;
        server.put(&peer, "v1/send/1", &update).await;
        let (lists, since) = sync(Some(&since)).await;
        assert_eq!(lists, Value::Null, "Bob is in no room with her");
        let member = ("m.room.member", Some("@bob:peer.example"));
        let join = json!({ "membership": "join" });
        let of = (&*room, "@bob:peer.example");
        server.receive(&peer, of, member, &join).await;
        let changed = json!({ "changed": ["@bob:peer.example"], "left": [] });
        server.put(&peer, "v1/send/2", &update).await;
        let (lists, since) = sync(Some(&since)).await;
        assert_eq!(lists, changed);
        let update = edu("m.signing_key_update", "@bob:peer.example");
        server.put(&peer, "v1/send/3", &update).await;
        let (lists, since) = sync(Some(&since)).await;
        assert_eq!(lists, changed);
        // Nobody speaks of others' users.
        let update = edu("m.device_list_update", "@alice:localhost");
        server.put(&peer, "v1/send/4", &update).await;
        let (lists, _) = sync(Some(&since)).await;
        assert_eq!(lists, Value::Null);
    })
    .await;
}
