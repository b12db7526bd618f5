//! What was there before `/sync`, and previews of rooms.
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidinitialsync>

use serde_json::json;
use starling_testkit::TestServer;

use super::caller::{event_ids, on_servers, on_servers_with, segment};

/// `GET /_matrix/client/v3/initialSync`, `GET /_matrix/client/v3/events`
#[tokio::test]
async fn a_client_of_old_follows_its_rooms() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let room = alice
            .create(json!({ "preset": "public_chat", "visibility": "public" }))
            .await;
        bob.join(&room).await.ok();
        let start = bob.get("initialSync?limit=1").await.ok();
        assert_eq!(start["presence"], json!([]), "nobody is there");
        let told = &start["rooms"][0];
        assert_eq!(told["room_id"], room.as_str());
        assert_eq!(told["membership"], "join");
        assert_eq!(told["visibility"], "public");
        assert_eq!(told["messages"]["chunk"].as_array().unwrap().len(), 1);
        let from = start["end"].as_str().unwrap();
        let content = json!({ "body": "hello" });
        let poll = format!("events?from={from}&timeout=60000");
        let (polled, sent) = tokio::join!(
            bob.get(&poll),
            alice.send(&room, "m.room.message", "1", &content)
        );
        let news = polled.ok();
        assert_eq!(event_ids(&news["chunk"]), [sent.event_id()]);
        assert_eq!(news["chunk"][0]["room_id"], room.as_str());
        assert!(news["chunk"][0]["unsigned"].get("transaction_id").is_none());
        let mine = alice.get(&format!("events?from={from}")).await.ok();
        assert_eq!(mine["chunk"][0]["unsigned"]["transaction_id"], "1");
        let from = news["end"].as_str().unwrap();
        let nothing = bob.get(&format!("events?from={from}&timeout=1")).await.ok();
        assert_eq!(nothing["chunk"], json!([]));
        alice.get("sync").await.ok();
        let start = bob.get("initialSync").await.ok();
        let there = start["presence"].as_array().unwrap();
        assert_eq!(there.len(), 1, "{there:?}");
        assert_eq!(there[0]["type"], "m.presence");
        assert_eq!(there[0]["sender"], alice.user_id.as_str());
        assert_eq!(there[0]["content"]["presence"], "online");
        bob.leave(&room).await.ok();
        let start = bob.get("initialSync").await.ok();
        assert_eq!(start["rooms"], json!([]));
        assert_eq!(start["presence"], json!([]));
        let start = bob.get("initialSync?archived=true").await.ok();
        assert_eq!(start["rooms"][0]["membership"], "leave");
    })
    .await;
}

/// `GET /_matrix/client/v3/rooms/{roomId}/initialSync`, `GET /_matrix/client/v3/events`
#[tokio::test]
async fn a_guest_previews_a_room_that_everyone_may_read() {
    let mut config = TestServer::config();
    config.registration.guests = true;
    on_servers_with(config, async |server| {
        let alice = server.user("alice").await;
        let guest = server.guest().await;
        let room = alice
            .create(json!({ "preset": "public_chat", "name": "Lobby" }))
            .await;
        let preview = format!("rooms/{}/initialSync", segment(&room));
        guest.get(&preview).await.fails(403, "M_FORBIDDEN");
        let peek = format!("events?room_id={}", segment(&room));
        guest.get(&peek).await.fails(403, "M_FORBIDDEN");
        let path = format!("rooms/{}/state/m.room.history_visibility/", segment(&room));
        let open = json!({ "history_visibility": "world_readable" });
        alice.put(&path, &open).await.event_id();
        let told = guest.get(&preview).await.ok();
        assert!(told.get("membership").is_none(), "{told}");
        let state = told["state"].as_array().unwrap();
        assert!(
            state
                .iter()
                .any(|event| event["content"]["name"] == "Lobby")
        );
        let from = told["messages"]["end"].as_str().unwrap();
        let content = json!({ "body": "hello" });
        let poll = format!("{peek}&from={from}&timeout=60000");
        let (polled, sent) = tokio::join!(
            guest.get(&poll),
            alice.send(&room, "m.room.message", "1", &content)
        );
        assert_eq!(event_ids(&polled.ok()["chunk"]), [sent.event_id()]);
    })
    .await;
}

/// `GET /_matrix/client/v3/events/{eventId}`
#[tokio::test]
async fn an_event_is_found_by_its_id_alone_by_who_may_see_it() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let room = alice.create(json!({ "preset": "public_chat" })).await;
        let content = json!({ "body": "hello" });
        let sent = alice.send(&room, "m.room.message", "1", &content).await;
        let path = format!("events/{}", segment(&sent.event_id()));
        let event = alice.get(&path).await.ok();
        assert_eq!(event["content"], content);
        assert_eq!(event["room_id"], room.as_str());
        assert_eq!(event["unsigned"]["transaction_id"], "1");
        bob.get(&path).await.fails(404, "M_NOT_FOUND");
        bob.join(&room).await.ok();
        let event = bob.get(&path).await.ok();
        assert!(event["unsigned"].get("transaction_id").is_none());
    })
    .await;
}

/// `GET /_matrix/client/v3/events`
#[tokio::test]
async fn a_poll_for_events_of_a_session_that_ends_is_refused() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let tablet = server.device("alice").await;
        let (polled, _) = tokio::join!(tablet.get("events?timeout=300000"), async {
            alice.post("logout/all", &json!({})).await.ok()
        });
        polled.fails(401, "M_UNKNOWN_TOKEN");
    })
    .await;
}

/// `GET /_matrix/client/v3/events`
#[tokio::test]
async fn a_poll_among_many_events_that_are_not_told_is_answered_soon() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let room = alice.create(json!({ "preset": "public_chat" })).await;
        bob.join(&room).await.ok();
        let list = json!({ "ignored_users": { alice.user_id.clone(): {} } });
        let path = format!(
            "user/{}/account_data/m.ignored_user_list",
            segment(&bob.user_id)
        );
        bob.put(&path, &list).await.ok();
        let start = bob.get("initialSync?limit=1").await.ok();
        let mut sending = Vec::new();
        for number in 0..1_050 {
            let (alice, room) = (alice.clone(), room.clone());
            sending.push(tokio::spawn(async move {
                let content = json!({ "body": "unheard" });
                let sent = alice
                    .send(&room, "m.room.message", &number.to_string(), &content)
                    .await;
                sent.event_id()
            }));
        }
        for sent in sending {
            sent.await.unwrap();
        }
        let content = json!({ "body": "heard" });
        let sent = bob.send(&room, "m.room.message", "heard", &content).await;
        let from = start["end"].as_str().unwrap();
        let none = bob.get(&format!("events?from={from}&timeout=60000")).await;
        let none = none.ok();
        assert_eq!(
            (&none["chunk"], &none["start"]),
            (&json!([]), &start["end"])
        );
        let from = none["end"].as_str().unwrap();
        let news = bob.get(&format!("events?from={from}&timeout=60000")).await;
        assert_eq!(event_ids(&news.ok()["chunk"]), [sent.event_id()]);
    })
    .await;
}
