//! Reporting content. <https://spec.matrix.org/v1.19/client-server-api/#reporting-content>

use serde_json::json;

use super::caller::{Server, on_servers, segment};

/// What the administrator sees: number, who, what, why.
async fn reports(server: &Server) -> Vec<String> {
    let reports = server.reports().await.into_iter();
    let line = |report: starling_accounts::Report| {
        format!(
            "{} {:?} {}",
            report.reporter, report.reported, report.reason
        )
    };
    reports.map(line).collect()
}

/// `POST /_matrix/client/v3/rooms/{roomId}/report`, `POST /_matrix/client/v3/rooms/{roomId}/report/{eventId}`,
/// `POST /_matrix/client/v3/users/{userId}/report`
#[tokio::test]
async fn what_is_reported_reaches_the_administrator_once() {
    on_servers(async |server| {
        let (alice, bob, room) = server.two_in_a_room().await;
        let hello = json!({ "body": "hello" });
        let event = alice
            .send(&room, "m.room.message", "1", &hello)
            .await
            .event_id();
        let of_event = format!("rooms/{}/report/{}", segment(&room), segment(&event));
        let body = json!({ "reason": "rude", "score": -100 });
        assert_eq!(bob.post(&of_event, &body).await.ok(), json!({}));
        let of_room = format!("rooms/{}/report", segment(&room));
        // Also from outside, and without words.
        let carol = server.user("carol").await;
        carol.post(&of_room, &json!({ "reason": "" })).await.ok();
        let of_user = format!("users/{}/report", segment(&alice.user_id));
        carol
            .post(&of_user, &json!({ "reason": "spam\u{0}\n" }))
            .await
            .ok();
        let event = format!("@bob:localhost Event {{ room_id: {room:?}, event_id: {event:?} }}");
        let mut wanted = vec![
            format!("{event} rude"),
            format!("@carol:localhost Room({room:?}) "),
            "@carol:localhost User(\"@alice:localhost\") spam\u{0}\n".to_owned(),
        ];
        assert_eq!(reports(&server).await, wanted);
        // Who reports it again has thought of better words.
        bob.post(&of_event, &json!({})).await.ok();
        wanted[0] = format!("{event} ");
        assert_eq!(reports(&server).await, wanted);
        assert_eq!(reports(&server.restarted().await).await, wanted);
    })
    .await;
}

/// `POST /_matrix/client/v3/rooms/{roomId}/report`, `POST /_matrix/client/v3/rooms/{roomId}/report/{eventId}`,
/// `POST /_matrix/client/v3/users/{userId}/report`
#[tokio::test]
async fn what_cannot_be_reported_is_not_found_and_kept_nowhere() {
    on_servers(async |server| {
        let (alice, bob) = (server.user("alice").await, server.user("bob").await);
        let state = json!([{ "type": "m.room.history_visibility", "content": { "history_visibility": "joined" } }]);
        let wanted = json!({ "preset": "public_chat", "initial_state": state });
        let room = alice.create(wanted).await;
        let other = alice.create(json!({})).await;
        let hello = json!({ "body": "hello" });
        let event = alice.send(&room, "m.room.message", "1", &hello).await.event_id();
        let of_event = |room: &str, event: &str| format!("rooms/{}/report/{}", segment(room), segment(event));
        let body = json!({ "reason": "rude" });
        bob.post(&of_event(&room, &event), &body).await.fails(404, "M_NOT_FOUND");
        // Once in the room, what was said before is hidden from Bob still.
        bob.join(&room).await.ok();
        for path in [
            of_event(&room, &event),
            of_event(&room, "$unknown"),
            of_event(&other, &event),
            of_event("!unknown:localhost", &event),
            "rooms/%21unknown%3Alocalhost/report".to_owned(),
            "users/%40nobody%3Alocalhost/report".to_owned(),
            "users/%40a%3Aother.example/report".to_owned(),
        ] {
            bob.post(&path, &body).await.fails_for(&path, 404, "M_NOT_FOUND");
        }
        let of_room = format!("rooms/{}/report", segment(&room));
        bob.post(&of_room, &json!({})).await.fails(400, "M_BAD_JSON");
        bob.post(&of_room, &json!({ "reason": 1 })).await.fails(400, "M_BAD_JSON");
        bob.post("users/bob/report", &body).await.fails(400, "M_INVALID_PARAM");
        let long = json!({ "reason": "x".repeat(4097) });
        bob.post(&of_room, &long).await.fails(413, "M_TOO_LARGE");
        let longer = json!({ "reason": "x".repeat(40_000) });
        bob.post(&of_room, &longer).await.fails(413, "M_TOO_LARGE");
        assert_eq!(reports(&server).await, Vec::<String>::new());
    })
    .await;
}
