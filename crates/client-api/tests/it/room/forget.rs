//! Forgetting rooms. <https://spec.matrix.org/v1.19/client-server-api/#leaving-rooms>

use serde_json::{Value, json};
use starling_testkit::TestServer;

use super::caller::{Caller, on_servers, on_servers_with, segment};

const WITH_LEFT: &str = "sync?filter=%7B%22room%22%3A%7B%22include_leave%22%3Atrue%7D%7D";

/// The rooms that an initial sync tells as left.
async fn left(user: &Caller) -> Vec<String> {
    let sync = user.get(WITH_LEFT).await.ok();
    let rooms = sync["rooms"]["leave"].as_object().cloned();
    rooms.unwrap_or_default().keys().cloned().collect()
}

async fn history(user: &Caller, room: &str) -> u16 {
    let path = format!("rooms/{}/messages?dir=b", segment(room));
    user.get(&path).await.status
}

/// `POST /_matrix/client/v3/rooms/{roomId}/forget`
#[tokio::test]
async fn a_forgotten_room_stays_forgotten_until_one_is_asked_in_again() {
    on_servers(async |server| {
        let (alice, bob, room) = server.two_in_a_room().await;
        bob.leave(&room).await.ok();
        assert_eq!(left(&bob).await, [room.as_str()]);
        assert_eq!(history(&bob, &room).await, 200);
        let forget = format!("rooms/{}/forget", segment(&room));
        bob.post(&forget, &json!({})).await.ok();
        for action in ["ban", "unban"] {
            assert_eq!(
                (left(&bob).await, history(&bob, &room).await),
                (vec![], 403),
                "before {action}"
            );
            alice.act(&room, action, &bob).await.ok();
        }
        assert_eq!(
            (left(&bob).await, history(&bob, &room).await),
            (vec![], 403)
        );
        alice.act(&room, "invite", &bob).await.ok();
        bob.leave(&room).await.ok();
        assert_eq!(left(&bob).await, [room.as_str()]);
        bob.join(&room).await.ok();
        assert_eq!(history(&bob, &room).await, 200);
        bob.post(&forget, &json!({})).await.fails(400, "M_UNKNOWN");
    })
    .await;
}

/// `POST /_matrix/client/v3/rooms/{roomId}/leave`, `POST /_matrix/client/v3/rooms/{roomId}/kick`,
/// `POST /_matrix/client/v3/rooms/{roomId}/ban`, `GET /_matrix/client/v3/capabilities`
#[tokio::test]
async fn where_the_administrator_wants_it_rooms_are_forgotten_as_they_are_left() {
    let mut config = TestServer::config();
    config.rooms.forget_on_leave = true;
    on_servers_with(config, async |server| {
        let (alice, bob) = (server.user("alice").await, server.user("bob").await);
        let capabilities = alice.get("capabilities").await.ok();
        let told = &capabilities["capabilities"]["m.forget_forced_upon_leave"];
        assert_eq!(told, &json!({ "enabled": true }));
        let room = alice.create(json!({ "preset": "public_chat" })).await;
        for how in ["leave", "kick", "ban"] {
            bob.join(&room).await.ok();
            let since = bob.get("sync").await.ok()["next_batch"].clone();
            match how {
                "leave" => bob.leave(&room).await.ok(),
                _ => alice.act(&room, how, &bob).await.ok(),
            };
            assert_eq!(
                (left(&bob).await, history(&bob, &room).await),
                (vec![], 403),
                "{how}"
            );
            // The next sync still tells that it is over.
            let path = format!("sync?since={}", since.as_str().unwrap());
            let sync = bob.get(&path).await.ok();
            assert_ne!(sync["rooms"]["leave"][&room], Value::Null, "{how}");
        }
    })
    .await;
}
