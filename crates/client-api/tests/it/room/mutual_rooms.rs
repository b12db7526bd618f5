//! Mutual rooms. <https://spec.matrix.org/v1.19/client-server-api/#mutual-rooms>

use serde_json::{Value, json};

use super::caller::{Answer, Caller, on_servers, segment};

async fn mutual(caller: &Caller, query: &str) -> Answer {
    let path = format!("/_matrix/client/v1/mutual_rooms?{query}");
    caller.send_raw("GET", &path, b"").await
}

fn with(other: &Caller) -> String {
    format!("user_id={}", segment(&other.user_id))
}

/// `GET /_matrix/client/v1/mutual_rooms`
#[tokio::test]
async fn rooms_that_both_are_in_are_mutual() {
    on_servers(async |server| {
        let (alice, bob) = (server.user("alice").await, server.user("bob").await);
        let none = json!({ "joined": [], "count": 0 });
        assert_eq!(mutual(&alice, &with(&bob)).await.ok(), none);
        let mut rooms = Vec::new();
        for _ in 0..3 {
            rooms.push(alice.create(json!({ "preset": "public_chat" })).await);
        }
        for room in &rooms {
            bob.join(room).await.ok();
        }
        let apart = alice.create(json!({})).await;
        alice.act(&apart, "invite", &bob).await.ok();
        let wanted = json!({ "joined": rooms, "count": 3 });
        assert_eq!(mutual(&alice, &with(&bob)).await.ok(), wanted);
        bob.leave(&rooms[1]).await.ok();
        let left = json!({ "joined": [rooms[0], rooms[2]], "count": 2 });
        assert_eq!(mutual(&bob, &with(&alice)).await.ok(), left);

        for nobody in ["@nobody:localhost", "@a:other.example"] {
            let query = format!("user_id={}", segment(nobody));
            assert_eq!(mutual(&alice, &query).await.ok(), none);
        }
        mutual(&alice, &with(&alice))
            .await
            .fails(400, "M_INVALID_PARAM");
        mutual(&alice, "user_id=bob")
            .await
            .fails(400, "M_INVALID_PARAM");
        mutual(&alice, "").await.fails(400, "M_MISSING_PARAM");
        for token in ["", "m", "x1", "m-1", "m%2B1", "m99999999999999999999"] {
            let query = format!("{}&from={token}", with(&bob));
            mutual(&alice, &query)
                .await
                .fails_for(token, 400, "M_INVALID_PARAM");
        }
    })
    .await;
}

/// `GET /_matrix/client/v1/mutual_rooms`,
/// `GET /_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms`
#[tokio::test]
async fn many_mutual_rooms_come_in_pages() {
    on_servers(async |server| {
        let (alice, bob) = (server.user("alice").await, server.user("bob").await);
        let mut rooms = Vec::new();
        for _ in 0..103 {
            let room = alice.create(json!({ "preset": "public_chat" })).await;
            bob.join(&room).await.ok();
            rooms.push(room);
        }
        let first = mutual(&alice, &with(&bob)).await.ok();
        assert_eq!(
            (&first["joined"], &first["count"]),
            (&json!(rooms[..100]), &json!(103))
        );
        let token = first["next_batch"].as_str().unwrap();
        // What happens between two pages shifts nothing.
        alice.leave(&rooms[0]).await.ok();
        let rest = mutual(&alice, &format!("{}&from={token}", with(&bob)))
            .await
            .ok();
        assert_eq!(rest, json!({ "joined": rooms[100..], "count": 102 }));

        let unstable = async |token: &str| -> Value {
            let path = "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms";
            let path = format!("{path}?{}{token}", with(&bob));
            alice.send_raw("GET", &path, b"").await.ok()
        };
        let first = unstable("").await;
        assert_eq!(first["joined"], json!(rooms[1..101]));
        let token = first["next_batch_token"].as_str().unwrap();
        let rest = unstable(&format!("&batch_token={token}")).await;
        assert_eq!(rest["joined"], json!(rooms[101..]));
        assert_eq!(rest.get("next_batch_token"), None);
        let anonymous = server.anonymous();
        let versions = anonymous.send_raw("GET", "/_matrix/client/versions", b"");
        let features = versions.await.ok()["unstable_features"].clone();
        assert_eq!(features["uk.half-shot.msc2666.query_mutual_rooms"], true);
    })
    .await;
}
