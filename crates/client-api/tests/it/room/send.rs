//! Sending events. <https://spec.matrix.org/v1.19/client-server-api/#sending-events-to-a-room>

use serde_json::{Value, json};
use starling_events::RoomVersion;

use super::caller::{on_servers, segment};

/// `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`
#[tokio::test]
async fn an_event_is_stored_as_it_was_sent() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let room = alice.create(json!({})).await;
        let content =
            json!({ "msgtype": "m.text", "body": "hello", "big": 9_007_199_254_740_991_i64 });
        let event_id = alice
            .send(&room, "m.room.message", "1", &content)
            .await
            .event_id();
        let path = format!("rooms/{}/event/{}", segment(&room), segment(&event_id));
        let event = alice.get(&path).await.ok();
        assert_eq!(event["content"], content);
        assert_eq!(event["event_id"], event_id);
        assert_eq!(event["room_id"], room);
        assert_eq!(event["sender"], alice.user_id);
        assert_eq!(event["type"], "m.room.message");
        assert_eq!(event.get("state_key"), None);
        assert!(event["origin_server_ts"].is_i64());
        assert_eq!(event["unsigned"]["transaction_id"], "1");
        let old = alice.get_r0(&path).await.ok();
        assert_eq!(old["event_id"], event_id);
    })
    .await;
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`
#[tokio::test]
async fn content_is_kept_byte_for_byte_in_canonical_form() {
    let cases: [(&[u8], &[u8]); 4] = [
        (
            br#"{"b":"\u0000","a":"x\u0000y\u0000"}"#,
            br#"{"a":"x\u0000y\u0000","b":"\u0000"}"#,
        ),
        (
            r#"{ "é" : "\u00e9\u20ac\ud83d\ude00" }"#.as_bytes(),
            "{\"é\":\"é€😀\"}".as_bytes(),
        ),
        (
            br#"{"n":-9007199254740991,"z":0,"t":true,"x":null}"#,
            br#"{"n":-9007199254740991,"t":true,"x":null,"z":0}"#,
        ),
        (
            br#"{"\u0000":{"\n":"\u001f\"\\\/"}}"#,
            br#"{"\u0000":{"\n":"\u001f\"\\/"}}"#,
        ),
    ];
    on_servers(async move |server| {
        let alice = server.user("alice").await;
        let room = alice.create(json!({})).await;
        let state = format!("rooms/{}/state/org.example.bytes/", segment(&room));
        for (number, (sent, kept)) in cases.into_iter().enumerate() {
            alice.send_raw("PUT", &state, sent).await.ok();
            let read = alice.bytes(&state).await;
            assert_eq!(read, kept, "{}", String::from_utf8_lossy(&read));
            let path = format!("rooms/{}/send/org.example.bytes/{number}", segment(&room));
            let event_id = alice.send_raw("PUT", &path, sent).await.event_id();
            let event = alice
                .bytes(&format!(
                    "rooms/{}/event/{}",
                    segment(&room),
                    segment(&event_id)
                ))
                .await;
            let expected = [b"{\"content\":", kept, b","].concat();
            assert!(
                event.starts_with(&expected),
                "{}",
                String::from_utf8_lossy(&event)
            );
        }
    })
    .await;
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`
#[tokio::test]
async fn a_transaction_id_leads_to_one_event() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let tablet = server.device("alice").await;
        let bob = server.user("bob").await;
        let room = alice.create(json!({ "preset": "public_chat" })).await;
        let other = alice.create(json!({ "preset": "public_chat" })).await;
        bob.join(&room).await.ok();
        let body = json!({ "body": "hello" });
        let first = alice
            .send(&room, "m.room.message", "id", &body)
            .await
            .event_id();
        let retry = alice
            .send(&room, "m.room.message", "id", &json!({ "body": "changed" }))
            .await
            .event_id();
        assert_eq!(retry, first);

        let elsewhere = [
            alice
                .send(&other, "m.room.message", "id", &body)
                .await
                .event_id(),
            alice
                .send(&room, "m.room.other", "id", &body)
                .await
                .event_id(),
            alice
                .send(&room, "m.room.message", "id2", &body)
                .await
                .event_id(),
            tablet
                .send(&room, "m.room.message", "id", &body)
                .await
                .event_id(),
            bob.send(&room, "m.room.message", "id", &body)
                .await
                .event_id(),
        ];
        for (number, event_id) in elsewhere.iter().enumerate() {
            assert!(
                *event_id != first && !elsewhere[..number].contains(event_id),
                "case {number}"
            );
        }

        // Only the device that sent it is told the transaction id.
        let path = format!("rooms/{}/event/{}", segment(&room), segment(&first));
        for (caller, expected) in [
            (&alice, json!("id")),
            (&tablet, Value::Null),
            (&bob, Value::Null),
        ] {
            assert_eq!(
                caller.get(&path).await.ok()["unsigned"]["transaction_id"],
                expected
            );
        }
    })
    .await;
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`
#[tokio::test]
async fn concurrent_retries_get_the_same_event() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let room = alice.create(json!({})).await;
        for round in 0..5 {
            let txn_id = format!("round{round}");
            let (body, send) = (json!({ "body": "hello" }), "m.room.message");
            let answers = tokio::join!(
                alice.send(&room, send, &txn_id, &body),
                alice.send(&room, send, &txn_id, &body),
                alice.send(&room, send, &txn_id, &body),
            );
            let first = answers.0.event_id();
            assert_eq!(
                (answers.1.event_id(), answers.2.event_id()),
                (first.clone(), first)
            );
        }
        let page = alice
            .get(&format!(
                "rooms/{}/messages?dir=b&limit=100",
                segment(&room)
            ))
            .await
            .ok();
        let sent = page["chunk"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|event| event["type"] == "m.room.message");
        assert_eq!(sent.count(), 5);
    })
    .await;
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`
#[tokio::test]
async fn concurrent_events_are_all_stored_once() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let room = alice.create(json!({})).await;
        let sending = (0..40).map(|number| {
            let (alice, room) = (alice.clone(), room.clone());
            let body = json!({ "number": number });
            async move {
                alice
                    .send(&room, "m.room.message", &format!("t{number}"), &body)
                    .await
                    .event_id()
            }
        });
        let mut sent = futures_util::future::join_all(sending).await;
        let page = alice
            .get(&format!(
                "rooms/{}/messages?dir=b&limit=100",
                segment(&room)
            ))
            .await
            .ok();
        let told = page["chunk"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|event| event["type"] == "m.room.message");
        let mut told: Vec<String> = told
            .map(|event| event["event_id"].as_str().unwrap().to_owned())
            .collect();
        sent.sort();
        told.sort();
        assert_eq!(told, sent);
    })
    .await;
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}`
#[tokio::test]
async fn a_redaction_removes_what_an_event_said() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        for version in RoomVersion::ALL.map(RoomVersion::as_str) {
            let room = alice
                .create(json!({ "preset": "public_chat", "room_version": version }))
                .await;
            bob.join(&room).await.ok();
            let body = json!({ "body": "secret", "msgtype": "m.text" });
            let own = bob
                .send(&room, "m.room.message", "own", &body)
                .await
                .event_id();
            let other = bob
                .send(&room, "m.room.message", "other", &body)
                .await
                .event_id();
            let of_alice = alice
                .send(&room, "m.room.message", "alice", &body)
                .await
                .event_id();
            let redact = |target: &str, txn: &str| {
                format!("rooms/{}/redact/{}/{txn}", segment(&room), segment(target))
            };
            // One's own; with a retry.
            let reason = json!({ "reason": "regret" });
            let redaction = bob.put(&redact(&own, "1"), &reason).await.event_id();
            assert_eq!(
                bob.put(&redact(&own, "1"), &reason).await.event_id(),
                redaction
            );
            // Another's, with the power to, sent as an event.
            let by_send = json!({ "redacts": other });
            alice
                .send(&room, "m.room.redaction", "2", &by_send)
                .await
                .event_id();
            for (target, reason) in [(&own, json!("regret")), (&other, Value::Null)] {
                let path = format!("rooms/{}/event/{}", segment(&room), segment(target));
                let event = bob.get(&path).await.ok();
                assert_eq!(event["content"], json!({}), "version {version}");
                let because = &event["unsigned"]["redacted_because"];
                assert_eq!(
                    (&because["type"], &because["content"]["redacts"]),
                    (&json!("m.room.redaction"), &json!(target))
                );
                assert_eq!(because["redacts"], json!(target));
                assert_eq!(because["content"]["reason"], reason);
            }
            // Another's, without the power to.
            bob.put(&redact(&of_alice, "3"), &json!({}))
                .await
                .fails(403, "M_FORBIDDEN");
            let path = format!("rooms/{}/event/{}", segment(&room), segment(&of_alice));
            assert_eq!(bob.get(&path).await.ok()["content"], body);
            // Of another room, and of none.
            let elsewhere = alice.create(json!({})).await;
            let hidden = alice
                .send(&elsewhere, "m.room.message", "1", &body)
                .await
                .event_id();
            alice
                .put(&redact(&hidden, "4"), &json!({}))
                .await
                .fails(404, "M_NOT_FOUND");
            alice
                .put(&redact("$unknown", "5"), &json!({}))
                .await
                .fails(404, "M_NOT_FOUND");
            alice
                .put(&redact(&own, "6"), &json!({ "reason": 1 }))
                .await
                .fails(400, "M_BAD_JSON");
            alice
                .send(&room, "m.room.redaction", "7", &json!({}))
                .await
                .fails(400, "M_MISSING_PARAM");
        }
    })
    .await;
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`,
/// `PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}`
#[tokio::test]
async fn transaction_ids_survive_a_restart() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let room = alice.create(json!({})).await;
        let body = json!({ "body": "hello" });
        let first = alice
            .send(&room, "m.room.message", "id", &body)
            .await
            .event_id();
        let redact = format!("rooms/{}/redact/{}/id", segment(&room), segment(&first));
        let redaction = alice.put(&redact, &json!({})).await.event_id();
        let alice = server.restarted().await.again(&alice);
        assert_eq!(
            alice
                .send(&room, "m.room.message", "id", &body)
                .await
                .event_id(),
            first
        );
        assert_eq!(alice.put(&redact, &json!({})).await.event_id(), redaction);
        assert_ne!(
            alice
                .send(&room, "m.room.message", "other", &body)
                .await
                .event_id(),
            first
        );
    })
    .await;
}
