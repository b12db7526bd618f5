//! Lists of devices of users of other servers: when they are asked for, and what they are told.

use std::time::Duration;

use http::Method;
use serde_json::{Map, Value, json};
use starling_testkit::{CrossSigner, TestDevice};

use crate::support::{Here, Peer, on_servers, pass, segment};

const BOB: &str = "@bob:peer.example";

/// Alice's server, where she shares a room with users of a peer.
struct Shared<'a> {
    server: &'a Here,
    peer: Peer,
    token: String,
    room: String,
}

impl<'a> Shared<'a> {
    async fn new(server: &'a Here) -> Self {
        let token = server.user("alice").await;
        let peer = server.peer("peer.example", 1);
        let room = json!({ "preset": "public_chat" });
        let room = server.room(&token, room).await;
        let shared = Self {
            server,
            peer,
            token,
            room,
        };
        shared.becomes(BOB, "join").await;
        shared
    }

    async fn becomes(&self, user: &str, membership: &str) {
        let room = &self.room;
        self.server.member(&self.peer, room, user, membership).await;
    }

    /// What the peer answers of a user's list.
    fn has_list(&self, user: &str, answer: &Value) {
        let uri = devices_of(user);
        let answer = answer.to_string();
        let internet = &self.server.internet;
        internet.answers(&self.peer.name, &uri, answer.as_bytes());
    }

    /// What the peer answers when it is asked for keys.
    fn tells_keys(&self, answer: &Value) {
        let uri = "/_matrix/federation/v1/user/keys/query";
        let internet = &self.server.internet;
        internet.answers(&self.peer.name, uri, answer.to_string().as_bytes());
    }

    /// How often the peer was asked since this was called last: for lists, for keys.
    fn asked(&self) -> (usize, usize) {
        let asked = std::mem::take(&mut *self.server.internet.asked.lock().unwrap());
        let count = |part: &str| asked.iter().filter(|it| it.contains(part)).count();
        (count("/user/devices/"), count("/user/keys/query"))
    }

    async fn query(&self, users: &[&str]) -> Value {
        let users = users.iter().map(|user| ((*user).to_owned(), json!([])));
        let users: Map<String, Value> = users.collect();
        let path = (Method::POST, "keys/query");
        let query = json!({ "device_keys": users });
        self.server.as_user(&self.token, path, query).await
    }

    /// Bob's devices, as Alice is told.
    async fn bobs(&self) -> Value {
        self.query(&[BOB]).await["device_keys"][BOB].clone()
    }

    async fn tells(&self, kind: &str, content: Value) {
        let edus = json!({ "pdus": [], "edus": [{ "edu_type": kind, "content": content }] });
        let answer = self.server.put(&self.peer, "v1/send/1", &edus).await;
        assert_eq!(answer.status, 200);
    }

    /// The next sync's changed devices.
    async fn changed(&self, since: &mut String) -> Value {
        let path = format!("sync?since={since}");
        let sync = (Method::GET, &*path);
        let told = self.server.as_user(&self.token, sync, Value::Null).await;
        next(&told).clone_into(since);
        told["device_lists"]["changed"].clone()
    }
}

fn next(told: &Value) -> &str {
    told["next_batch"].as_str().unwrap()
}

fn devices_of(user: &str) -> String {
    format!("/_matrix/federation/v1/user/devices/{}", segment(user))
}

fn list(user: &str, stream_id: i64, devices: &[&TestDevice]) -> Value {
    let device =
        |it: &&TestDevice| json!({ "device_id": it.keys()["device_id"], "keys": it.keys() });
    let devices: Vec<Value> = devices.iter().map(device).collect();
    json!({ "user_id": user, "stream_id": stream_id, "devices": devices })
}

/// `POST /_matrix/client/v3/keys/query`, `PUT /_matrix/federation/v1/send/{txnId}`
#[tokio::test]
async fn a_list_is_fetched_once_and_then_follows_what_its_server_tells() {
    on_servers(async |server| {
        let shared = Shared::new(&server).await;
        let (phone, laptop) = (TestDevice::new(BOB, "PHONE", 2), TestDevice::new(BOB, "LAPTOP", 3));
        let signer = CrossSigner::new(BOB, 1);
        let mut answer = list(BOB, 5, &[&phone]);
        answer["devices"][0]["device_display_name"] = json!("Bob's phone");
        answer["master_key"] = signer.key_object("master");
        shared.has_list(BOB, &answer);
        shared.asked();
        let told = shared.query(&[BOB]).await;
        let mut named = phone.keys();
        named["unsigned"] = json!({ "device_display_name": "Bob's phone" });
        assert_eq!(told["device_keys"][BOB], json!({ "PHONE": named }));
        assert_eq!(told["master_keys"][BOB], signer.key_object("master"));
        assert_eq!(told["failures"], json!({}));
        assert_eq!(shared.asked(), (1, 0));
        assert_eq!(shared.query(&[BOB]).await, told);
        let sync = (Method::GET, "sync");
        let first = server.as_user(&shared.token, sync, Value::Null).await;
        let mut since = next(&first).to_owned();
        let update = |device: &str, stream_id: i64, prev: i64| {
            json!({ "user_id": BOB, "device_id": device, "stream_id": stream_id, "prev_id": [prev] })
        };
        let mut added = update("LAPTOP", 6, 5);
        added["keys"] = laptop.keys();
        shared.tells("m.device_list_update", added.clone()).await;
        assert_eq!(shared.changed(&mut since).await, json!([BOB]));
        assert_eq!(shared.bobs().await, json!({ "PHONE": named, "LAPTOP": laptop.keys() }));
        // Keys of another device are not the device's.
        let mut false_one = update("FALSE", 7, 6);
        false_one["keys"] = phone.keys();
        shared.tells("m.device_list_update", false_one).await;
        let mut gone = update("PHONE", 8, 7);
        gone["deleted"] = json!(true);
        shared.tells("m.device_list_update", gone.clone()).await;
        // What comes twice changes nothing.
        shared.tells("m.device_list_update", gone).await;
        assert_eq!(shared.changed(&mut since).await, json!([BOB]));
        assert_eq!(shared.bobs().await, json!({ "LAPTOP": laptop.keys() }));
        let other = CrossSigner::new(BOB, 9);
        let keys = json!({ "user_id": BOB, "self_signing_key": other.key_object("self_signing") });
        shared.tells("m.signing_key_update", keys).await;
        assert_eq!(shared.changed(&mut since).await, json!([BOB]));
        let told = shared.query(&[BOB]).await;
        assert_eq!(told["self_signing_keys"][BOB], other.key_object("self_signing"));
        assert_eq!(told["master_keys"][BOB], signer.key_object("master"));
        assert_eq!(shared.asked(), (0, 0), "nobody had to be asked");
    })
    .await;
}

/// `POST /_matrix/client/v3/keys/query`, `PUT /_matrix/federation/v1/send/{txnId}`
#[tokio::test]
async fn a_list_that_misses_an_update_is_told_as_it_was_until_its_server_answers() {
    on_servers(async |server| {
        let shared = Shared::new(&server).await;
        let (phone, laptop) = (TestDevice::new(BOB, "PHONE", 2), TestDevice::new(BOB, "LAPTOP", 3));
        shared.has_list(BOB, &list(BOB, 5, &[&phone]));
        let before = json!({ "PHONE": phone.keys() });
        assert_eq!(shared.bobs().await, before);
        let missed = json!({
            "user_id": BOB, "device_id": "LAPTOP", "stream_id": 9, "prev_id": [8], "keys": laptop.keys(),
        });
        shared.tells("m.device_list_update", missed).await;
        server.internet.is_gone(&shared.peer.name);
        let told = shared.query(&[BOB]).await;
        assert_eq!(told["device_keys"][BOB], before);
        assert!(told["failures"]["peer.example"].is_object(), "{told}");
        let keys = &server.server.state.keys;
        shared.asked();
        assert!(!keys.resync().await.unwrap());
        assert_eq!(shared.asked(), (0, 0), "a server that is down is left alone");
        pass(Duration::from_hours(1)).await;
        shared.has_list(BOB, &list(BOB, 9, &[&laptop]));
        let sync = (Method::GET, "sync");
        let first = server.as_user(&shared.token, sync, Value::Null).await;
        let mut since = next(&first).to_owned();
        assert!(!keys.resync().await.unwrap());
        assert_eq!(shared.asked(), (1, 0));
        assert_eq!(shared.changed(&mut since).await, json!([BOB]));
        assert_eq!(shared.bobs().await, json!({ "LAPTOP": laptop.keys() }));
        assert!(!keys.resync().await.unwrap());
        assert_eq!(shared.asked(), (0, 0));
        // What can't be read puts it in doubt as well; a list of another user is none.
        let unreadable = json!({ "user_id": BOB, "device_id": "LAPTOP", "stream_id": "x" });
        shared.tells("m.device_list_update", unreadable).await;
        shared.has_list(BOB, &list("@carol:peer.example", 10, &[]));
        keys.resync().await.unwrap();
        keys.resync().await.unwrap();
        assert_eq!(shared.asked(), (1, 0), "it isn't asked for again and again");
    })
    .await;
}

/// `POST /_matrix/client/v3/keys/query`
#[tokio::test]
async fn who_left_all_rooms_is_asked_for_each_time_and_followed_anew_when_back() {
    on_servers(async |server| {
        let shared = Shared::new(&server).await;
        let (old, new) = (
            TestDevice::new(BOB, "OLD", 2),
            TestDevice::new(BOB, "NEW", 3),
        );
        shared.has_list(BOB, &list(BOB, 5, &[&old]));
        shared.tells_keys(&json!({ "device_keys": { BOB: { "NEW": new.keys() } } }));
        assert_eq!(shared.bobs().await, json!({ "OLD": old.keys() }));
        shared.becomes(BOB, "leave").await;
        shared.asked();
        for _ in 0..2 {
            assert_eq!(shared.bobs().await, json!({ "NEW": new.keys() }));
            assert_eq!(shared.asked(), (0, 1));
        }
        shared.becomes(BOB, "join").await;
        shared.has_list(BOB, &list(BOB, 7, &[&old, &new]));
        let both = json!({ "OLD": old.keys(), "NEW": new.keys() });
        for asked in [1, 0] {
            assert_eq!(shared.bobs().await, both);
            assert_eq!(shared.asked(), (asked, 0));
        }
        // Also when it went unseen that he was away, between two questions.
        shared.becomes(BOB, "leave").await;
        shared.becomes(BOB, "join").await;
        assert_eq!(shared.bobs().await, both);
        assert_eq!(shared.asked(), (1, 0));
        // This server hears nothing of him when its last user has left the room.
        let path = format!("rooms/{}/leave", segment(&shared.room));
        let leave = (Method::POST, &*path);
        server.as_user(&shared.token, leave, json!({})).await;
        assert_eq!(shared.bobs().await, json!({ "NEW": new.keys() }));
        assert_eq!(shared.asked(), (0, 1));
    })
    .await;
}

/// `POST /_matrix/client/v3/keys/query`
#[tokio::test]
async fn of_many_users_keys_are_asked_for_at_once_and_their_lists_afterwards() {
    on_servers(async |server| {
        let shared = Shared::new(&server).await;
        let users: Vec<String> = (0..7).map(|n| format!("@u{n}:peer.example")).collect();
        let users: Vec<&str> = users.iter().map(String::as_str).collect();
        let mut keys = Map::new();
        for user in &users {
            shared.becomes(user, "join").await;
            let device = TestDevice::new(user, "PHONE", 2);
            shared.has_list(user, &list(user, 1, &[&device]));
            keys.insert((*user).to_owned(), json!({ "PHONE": device.keys() }));
        }
        shared.tells_keys(&json!({ "device_keys": keys }));
        shared.asked();
        assert_eq!(
            shared.query(&users).await["device_keys"],
            Value::from(keys.clone())
        );
        assert_eq!(shared.asked(), (0, 1));
        server.server.state.keys.resync().await.unwrap();
        assert_eq!(shared.asked(), (7, 0));
        assert_eq!(shared.query(&users).await["device_keys"], Value::from(keys));
        assert_eq!(shared.asked(), (0, 0));
    })
    .await;
}

/// `POST /_matrix/client/v3/keys/query`
#[tokio::test]
async fn a_list_of_very_many_devices_is_told_but_not_kept() {
    on_servers(async |server| {
        let shared = Shared::new(&server).await;
        let device = |number: usize| {
            let id = format!("D{number}");
            json!({ "device_id": id, "keys": { "user_id": BOB, "device_id": id } })
        };
        let devices: Vec<Value> = (0..1_001).map(device).collect();
        let mut answer = list(BOB, 5, &[]);
        answer["devices"] = devices.into();
        shared.has_list(BOB, &answer);
        shared.asked();
        for _ in 0..2 {
            assert_eq!(shared.bobs().await.as_object().unwrap().len(), 1_001);
            assert_eq!(shared.asked(), (1, 0));
        }
    })
    .await;
}
