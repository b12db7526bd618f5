//! Which servers are let in: <https://spec.matrix.org/v1.19/server-server-api/#request-authentication>

use http::Method;
use ruma_common::server_name;
use serde_json::json;
use starling_events::SigningKey;
use starling_events::request_auth::sign_request;
use starling_events::server_keys::{OldKey, own_key_document};

use crate::support::{DAY_MS, Here, Peer, here, on_servers};

const PROFILE: &str = "query/profile?user_id=%40alice%3Alocalhost";

async fn status(server: &Here, peer: &Peer) -> u16 {
    server.get(peer, PROFILE).await.status.as_u16()
}

/// `GET /_matrix/federation/v1/version`
#[tokio::test]
async fn anybody_learns_the_version() {
    on_servers(async |server| {
        let path = "/_matrix/federation/v1/version";
        let answer = server.ask((Method::GET, path), None, Vec::new()).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body["server"]["name"], "Starling");
        assert!(answer.body["server"]["version"].is_string());
    })
    .await;
}

#[tokio::test]
async fn a_servers_key_is_asked_for_once_however_many_requests_wait_for_it() {
    on_servers(async |server| {
        server.user("alice").await;
        let peer = server.peer("peer.example", 1);
        let (one, two, three) = tokio::join!(
            status(&server, &peer),
            status(&server, &peer),
            status(&server, &peer)
        );
        assert_eq!([one, two, three], [200; 3]);
        assert_eq!(server.internet.key_requests(&peer.name), 1);
    })
    .await;
}

#[tokio::test]
async fn a_server_whose_keys_nobody_knows_is_refused_and_not_asked_for_each_request() {
    on_servers(async |server| {
        let peer = Peer::new("nowhere.example", 1);
        for _ in 0..5 {
            let answer = server.get(&peer, PROFILE).await;
            assert_eq!(answer.error(), (401, "M_UNAUTHORIZED"));
        }
        assert_eq!(server.internet.key_requests(&peer.name), 1);
        // Its own keys are looked for, not those of the server that it says it is.
        let honest = server.peer("peer.example", 2);
        let liar = Peer {
            name: honest.name.clone(),
            ..peer
        };
        let answer = server.get(&liar, PROFILE).await;
        assert_eq!(answer.error(), (401, "M_UNAUTHORIZED"));
    })
    .await;
}

#[tokio::test]
async fn a_key_that_the_server_no_longer_signs_with_proves_nothing() {
    on_servers(async |server| {
        server.user("alice").await;
        let peer = Peer::new("peer.example", 1);
        let new_key = SigningKey::generate([9; 32], "new").unwrap();
        let old = OldKey {
            key_id: peer.key.key_id().to_owned(),
            key: peer.key.verifying_key(),
            expired_ts: server.now_ms() - 1,
        };
        let until_ms = server.now_ms() + DAY_MS;
        let document = own_key_document(&peer.name, &new_key, &[old], until_ms).unwrap();
        let path = "/_matrix/key/v2/server";
        server
            .internet
            .answers(&peer.name, path, document.as_bytes());
        assert_eq!(status(&server, &peer).await, 401);
        let renewed = Peer {
            key: new_key,
            ..peer
        };
        assert_eq!(status(&server, &renewed).await, 200);
    })
    .await;
}

#[tokio::test]
async fn a_server_that_was_down_is_believed_when_it_asks_and_then_counts_as_up() {
    on_servers(async |server| {
        server.user("alice").await;
        let peer = server.peer("peer.example", 1);
        let health = server.state.client.health();
        health.failed(&peer.name, &"a test");
        assert!(health.retry_at(&peer.name).is_some());
        assert_eq!(status(&server, &peer).await, 200);
        assert_eq!(health.retry_at(&peer.name), None);
        // Known keys are enough: nobody is asked.
        health.failed(&peer.name, &"a test");
        server.internet.is_gone(&peer.name);
        assert_eq!(status(&server, &peer).await, 200);
        assert_eq!(health.retry_at(&peer.name), None);
    })
    .await;
}

#[tokio::test]
async fn what_was_signed_for_another_server_or_with_another_body_is_refused() {
    on_servers(async |server| {
        let peer = server.peer("peer.example", 1);
        let uri = "/_matrix/federation/v1/publicRooms";
        let body = json!({ "limit": 1 }).to_string().into_bytes();
        let other = server_name!("other.example");
        for (to, sent, expected) in [
            (other, body.clone(), (401, "M_UNAUTHORIZED")),
            (here(), b"{\"limit\":2}".to_vec(), (401, "M_UNAUTHORIZED")),
            (here(), b"{\"limit\":".to_vec(), (400, "M_NOT_JSON")),
            (here(), vec![b' '; 65 << 10], (413, "M_TOO_LARGE")),
            (here(), body.clone(), (200, "")),
        ] {
            let auth = sign_request(("POST", uri, Some(&body)), (&peer.name, to), &peer.key);
            let answer = server.ask((Method::POST, uri), Some(&auth), sent).await;
            assert_eq!(answer.error(), expected);
        }
    })
    .await;
}

#[tokio::test]
async fn without_a_signature_nothing_is_told() {
    on_servers(async |server| {
        for (method, path) in [
            (Method::GET, "event/$a"),
            (Method::GET, "state/!a:b?event_id=$a"),
            (Method::GET, "publicRooms"),
            (Method::POST, "get_missing_events/!a:b"),
        ] {
            let uri = format!("/_matrix/federation/v1/{path}");
            let answer = server.ask((method, &uri), None, b"{}".to_vec()).await;
            assert_eq!(answer.error(), (401, "M_UNAUTHORIZED"), "{path}");
        }
        let unknown = "/_matrix/federation/v1/nothing";
        let answer = server.ask((Method::GET, unknown), None, Vec::new()).await;
        assert_eq!(answer.error(), (404, "M_UNRECOGNIZED"));
        let method = "/_matrix/federation/v1/version";
        let answer = server.ask((Method::PUT, method), None, Vec::new()).await;
        assert_eq!(answer.error(), (405, "M_UNRECOGNIZED"));
    })
    .await;
}
