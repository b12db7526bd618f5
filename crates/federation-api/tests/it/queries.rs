//! Profiles, aliases and devices.
//! <https://spec.matrix.org/v1.19/server-server-api/#querying-for-information>

use http::Method;
use serde_json::json;

use crate::support::{on_servers, segment};

/// `GET /_matrix/federation/v1/query/profile`
#[tokio::test]
async fn profiles_of_our_users_are_told() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let peer = server.peer("peer.example", 1);
        let name = json!({ "displayname": "Alice \u{1f426}" });
        let path = "profile/@alice:localhost/displayname";
        server
            .as_user(&alice, (Method::PUT, path), name.clone())
            .await;
        let path = "query/profile?user_id=%40alice%3Alocalhost";
        assert_eq!(server.get(&peer, path).await.body, name);
        let field = format!("{path}&field=displayname");
        assert_eq!(server.get(&peer, &field).await.body, name);
        for (query, expected) in [
            (format!("{path}&field=avatar_url"), (404, "M_NOT_FOUND")),
            (format!("{path}&field=%20"), (404, "M_NOT_FOUND")),
            (
                "query/profile?user_id=@bob:localhost".to_owned(),
                (404, "M_NOT_FOUND"),
            ),
            (
                "query/profile?user_id=@bob:peer.example".to_owned(),
                (400, "M_INVALID_PARAM"),
            ),
            (
                "query/profile?user_id=bob".to_owned(),
                (400, "M_INVALID_PARAM"),
            ),
            ("query/profile".to_owned(), (400, "M_MISSING_PARAM")),
        ] {
            assert_eq!(server.get(&peer, &query).await.error(), expected, "{query}");
        }
    })
    .await;
}

/// `GET /_matrix/federation/v1/query/directory`
#[tokio::test]
async fn aliases_lead_to_a_room_and_the_servers_in_it() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let (peer, other) = (server.peer("peer.example", 1), server.peer("a.example", 2));
        let wanted = json!({ "preset": "public_chat", "room_alias_name": "birds" });
        let room = server.room(&alice, wanted).await;
        server
            .member(&peer, &room, "@bob:peer.example", "join")
            .await;
        server.member(&other, &room, "@eve:a.example", "join").await;
        let path = "query/directory?room_alias=%23birds%3Alocalhost";
        let answer = server.get(&peer, path).await.body;
        let servers = ["localhost", "a.example", "peer.example"];
        assert_eq!(answer, json!({ "room_id": room, "servers": servers }));
        server
            .member(&other, &room, "@eve:a.example", "leave")
            .await;
        let answer = server.get(&peer, path).await.body;
        assert_eq!(answer["servers"], json!(["localhost", "peer.example"]));
        for (alias, expected) in [
            ("#cats:localhost", (404, "M_NOT_FOUND")),
            ("#birds:peer.example", (400, "M_INVALID_PARAM")),
            ("birds", (400, "M_INVALID_PARAM")),
        ] {
            let path = format!("query/directory?room_alias={}", segment(alias));
            assert_eq!(server.get(&peer, &path).await.error(), expected, "{alias}");
        }
    })
    .await;
}

/// `GET /_matrix/federation/v1/query/{queryType}`
#[tokio::test]
async fn other_queries_find_nothing() {
    on_servers(async |server| {
        let peer = server.peer("peer.example", 1);
        let answer = server.get(&peer, "query/weather").await;
        assert_eq!(answer.error(), (404, "M_NOT_FOUND"));
    })
    .await;
}

/// `GET /_matrix/federation/v1/user/devices/{userId}`
#[tokio::test]
async fn who_has_no_keys_has_no_devices_for_others() {
    on_servers(async |server| {
        server.user("alice").await;
        let peer = server.peer("peer.example", 1);
        let answer = server.get(&peer, "user/devices/@alice:localhost").await;
        let none = json!({ "user_id": "@alice:localhost", "stream_id": 0, "devices": [] });
        assert_eq!(answer.body, none);
        for (user, expected) in [
            ("@bob:localhost", (404, "M_NOT_FOUND")),
            ("@bob:peer.example", (400, "M_INVALID_PARAM")),
            ("bob", (400, "M_INVALID_PARAM")),
        ] {
            let answer = server.get(&peer, &format!("user/devices/{user}")).await;
            assert_eq!(answer.error(), expected, "{user}");
        }
    })
    .await;
}
