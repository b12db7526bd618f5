//! Keys: our own, and those of others that we vouch for.
//! <https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys>

use std::time::Duration;

use http::Method;
use ruma_common::server_name;
use serde_json::{Value, json};
use starling_events::sign::verify_json;
use starling_events::{SigningKey, VerifyingKey};
use starling_testkit::TestAnswer;

use crate::support::{DAY_MS, Here, Peer, here, on_servers, pass};

async fn query(server: &Here, body: Value) -> TestAnswer {
    let path = (Method::POST, "/_matrix/key/v2/query");
    server.ask(path, None, body.to_string().into_bytes()).await
}

async fn get(server: &Here, path: &str) -> TestAnswer {
    let path = format!("/_matrix/key/v2/{path}");
    server.ask((Method::GET, &path), None, Vec::new()).await
}

fn own_key() -> VerifyingKey {
    SigningKey::generate([7; 32], "test")
        .unwrap()
        .verifying_key()
}

/// The documents of an answer, each signed by its server and by ours.
fn documents(answer: &TestAnswer, peers: &[&Peer]) -> Vec<Value> {
    assert_eq!(answer.status, 200);
    let documents = answer.body["server_keys"].as_array().unwrap().clone();
    for document in &documents {
        let name = document["server_name"].as_str().unwrap();
        let peer = peers.iter().find(|peer| peer.name == name).unwrap();
        let json = document.to_string();
        let key = peer.key.verifying_key();
        verify_json(json.as_bytes(), name, peer.key.key_id(), &key).unwrap();
        verify_json(json.as_bytes(), here().as_str(), "ed25519:test", &own_key()).unwrap();
    }
    documents
}

/// `GET /_matrix/key/v2/server`
#[tokio::test]
async fn our_key_is_published_and_signed_anew_in_time() {
    on_servers(async |server| {
        let mut untils = Vec::new();
        for _ in 0..4 {
            let document = get(&server, "server").await.body;
            assert_eq!(document["server_name"], here().as_str());
            assert_eq!(document["old_verify_keys"], json!({}));
            let key = &document["verify_keys"]["ed25519:test"]["key"];
            assert_eq!(*key, own_key().to_base64());
            let json = document.to_string();
            verify_json(json.as_bytes(), here().as_str(), "ed25519:test", &own_key()).unwrap();
            let until_ms = document["valid_until_ts"].as_i64().unwrap();
            assert!(until_ms >= server.now_ms() + DAY_MS / 2);
            untils.push(until_ms);
            pass(Duration::from_hours(7)).await;
        }
        assert_eq!(untils[0], untils[1]);
        assert!(untils[1] < untils[2]);
    })
    .await;
}

/// `POST /_matrix/key/v2/query`
#[tokio::test]
async fn the_keys_of_several_servers_are_asked_for_and_vouched_for() {
    on_servers(async |server| {
        let (one, two) = (server.peer("one.example", 1), server.peer("two.example", 2));
        let gone = server_name!("gone.example");
        let body = json!({ "server_keys": {
            one.name.as_str(): { one.key.key_id(): {} },
            two.name.as_str(): {},
            gone.as_str(): { "ed25519:x": {} },
            here().as_str(): {},
        } });
        let answer = query(&server, body.clone()).await;
        let ours = json!(here());
        let all = answer.body["server_keys"].as_array().unwrap();
        let (own, others): (Vec<Value>, Vec<Value>) = all
            .iter()
            .cloned()
            .partition(|document| document["server_name"] == ours);
        assert_eq!(own.len(), 1);
        let others = TestAnswer {
            status: answer.status,
            body: json!({ "server_keys": others }),
        };
        assert_eq!(documents(&others, &[&one, &two]).len(), 2);
        // What is known is told again without asking, also of a server that is gone.
        server.internet.is_gone(&one.name);
        query(&server, body).await;
        assert_eq!(server.internet.key_requests(&one.name), 1);
        assert_eq!(server.internet.key_requests(gone), 1);
    })
    .await;
}

/// `GET /_matrix/key/v2/query/{serverName}`
#[tokio::test]
async fn a_server_is_asked_again_when_its_document_does_not_hold_long_enough() {
    on_servers(async |server| {
        let peer = server.peer("peer.example", 1);
        let path = "query/peer.example";
        let first = documents(&get(&server, path).await, &[&peer]);
        assert_eq!(first.len(), 1);
        let later_ms = server.now_ms() + 3 * DAY_MS;
        let document = peer.document(later_ms);
        let keys = "/_matrix/key/v2/server";
        server.internet.answers(&peer.name, keys, &document);
        assert_eq!(documents(&get(&server, path).await, &[&peer]), first);
        pass(Duration::from_mins(2)).await;
        assert_eq!(documents(&get(&server, path).await, &[&peer]), first);
        assert_eq!(server.internet.key_requests(&peer.name), 1);
        let wanted_ms = server.now_ms() + 2 * DAY_MS;
        let longer = format!("{path}?minimum_valid_until_ts={wanted_ms}");
        let told = documents(&get(&server, &longer).await, &[&peer]);
        assert_eq!(told[0]["valid_until_ts"], later_ms);
        assert_eq!(server.internet.key_requests(&peer.name), 2);
        // A server that doesn't answer any more is told of as it was.
        server.internet.is_gone(&peer.name);
        pass(Duration::from_hours(72)).await;
        assert_eq!(documents(&get(&server, path).await, &[&peer]), told);
        assert_eq!(server.internet.key_requests(&peer.name), 3);
    })
    .await;
}

/// `POST /_matrix/key/v2/query`, `GET /_matrix/key/v2/query/{serverName}`
#[tokio::test]
async fn questions_for_keys_are_bounded() {
    on_servers(async |server| {
        let many: serde_json::Map<String, Value> = (0..101)
            .map(|number| (format!("s{number}.example"), json!({})))
            .collect();
        let answer = query(&server, json!({ "server_keys": many })).await;
        assert_eq!(answer.error(), (400, "M_INVALID_PARAM"));
        let keys: serde_json::Map<String, Value> = (0..257)
            .map(|number| (format!("ed25519:{number}"), json!({})))
            .collect();
        let body = json!({ "server_keys": { "a.example": keys } });
        assert_eq!(query(&server, body).await.error(), (400, "M_INVALID_PARAM"));
        let body = json!({ "server_keys": { "a b": {} } });
        assert_eq!(query(&server, body).await.error(), (400, "M_INVALID_PARAM"));
        assert_eq!(query(&server, json!({})).await.error(), (400, "M_BAD_JSON"));
        let answer = get(&server, "query/a%20b").await;
        assert_eq!(answer.error(), (400, "M_INVALID_PARAM"));
        let none = query(&server, json!({ "server_keys": {} })).await;
        assert_eq!(none.body, json!({ "server_keys": [] }));
        assert!(server.internet.asked.lock().unwrap().is_empty());
    })
    .await;
}
