//! Rooms of every version, as clients see them. <https://spec.matrix.org/v1.19/rooms/>

use serde_json::{Value, json};
use starling_events::RoomVersion;

use super::caller::{Caller, on_servers, segment};

/// The events of a list that have this type.
fn of_type<'a>(events: &'a Value, kind: &str) -> Vec<&'a Value> {
    let events = events.as_array().unwrap().iter();
    events.filter(|event| event["type"] == kind).collect()
}

/// A redaction names its target in both places, in every version.
fn check_redaction(event: &Value, redaction: &str, target: &str) {
    assert_eq!(event["event_id"], redaction);
    assert_eq!(event["redacts"], target);
    let content = json!({ "reason": "spam", "redacts": target });
    assert_eq!(event["content"], content);
}

fn check_pruned(event: &Value, redaction: &str, target: &str) {
    assert_eq!(event["event_id"], target);
    assert_eq!(event["content"], json!({}));
    check_redaction(&event["unsigned"]["redacted_because"], redaction, target);
}

async fn event(caller: &Caller, room: &str, id: &str) -> Value {
    let path = format!("rooms/{}/event/{}", segment(room), segment(id));
    caller.get(&path).await.ok()
}

/// `GET /_matrix/client/v3/sync`, `GET /_matrix/client/v3/rooms/{roomId}/messages`,
/// `GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}`,
/// `PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}`
#[tokio::test]
async fn what_happens_is_told_alike_in_every_version() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let mut happened = Vec::new();
        for version in RoomVersion::ALL.map(RoomVersion::as_str) {
            let wanted = json!({ "room_version": version, "preset": "public_chat", "name": "Tea" });
            let room = alice.create(wanted).await;
            bob.join(&room).await.ok();
            let body = json!({ "msgtype": "m.text", "body": "rude" });
            let message = bob.send(&room, "m.room.message", "1", &body).await;
            let message = message.event_id();
            let path = format!("rooms/{}/redact/{}/1", segment(&room), segment(&message));
            let redaction = alice.put(&path, &json!({ "reason": "spam" })).await;
            happened.push((room, message, redaction.event_id()));
        }
        let restarted = server.restarted().await;
        for caller in [&bob, &restarted.again(&bob)] {
            let synced = caller.get("sync").await.ok();
            for (room, message, redaction) in &happened {
                let told = &synced["rooms"]["join"][room];
                let timeline = &told["timeline"]["events"];
                check_pruned(of_type(timeline, "m.room.message")[0], redaction, message);
                check_redaction(of_type(timeline, "m.room.redaction")[0], redaction, message);
                assert_eq!(told["summary"]["m.joined_member_count"], 2);
                let path = format!("rooms/{}/messages?dir=b&limit=100", segment(room));
                let page = caller.get(&path).await.ok();
                check_pruned(
                    of_type(&page["chunk"], "m.room.message")[0],
                    redaction,
                    message,
                );
                check_redaction(
                    of_type(&page["chunk"], "m.room.redaction")[0],
                    redaction,
                    message,
                );
                check_pruned(&event(caller, room, message).await, redaction, message);
                check_redaction(&event(caller, room, redaction).await, redaction, message);
                let name = caller.state(room, "m.room.name", "").await.ok();
                assert_eq!(name["name"], "Tea");
            }
        }
        let bob = restarted.again(&bob);
        for (room, _, _) in &happened {
            restarted.again(&alice).act(room, "ban", &bob).await.ok();
            let content = json!({ "body": "again" });
            let sent = bob.send(room, "m.room.message", "2", &content).await;
            sent.fails(403, "M_FORBIDDEN");
        }
        let synced = bob.get("sync").await.ok();
        for (room, _, _) in &happened {
            assert!(synced["rooms"]["join"].get(room).is_none(), "{room}");
        }
    })
    .await;
}

/// Sends events until one has this character in its id.
async fn event_with(caller: &Caller, room: &str, character: char) -> String {
    for number in 0..200 {
        let txn = format!("{character}{number}");
        let sent = caller.send(room, "m.room.message", &txn, &json!({})).await;
        let id = sent.event_id();
        if id.contains(character) {
            return id;
        }
    }
    panic!("no event id with a {character}");
}

/// `GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}`,
/// `PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}`
#[tokio::test]
async fn event_ids_of_every_form_are_found_in_paths() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        // Stated ids have a domain; hashes have slashes and pluses in version 3, and later neither.
        for (version, characters) in [("1", ":"), ("3", "/+"), ("4", "-_")] {
            let room = alice.create(json!({ "room_version": version })).await;
            for character in characters.chars() {
                let id = event_with(&alice, &room, character).await;
                assert_eq!(event(&alice, &room, &id).await["event_id"], id);
                // As clients write it that escape only what a path may not hold.
                let plain = id.replace('/', "%2F");
                let path = format!("rooms/{room}/event/{plain}");
                assert_eq!(alice.get(&path).await.ok()["event_id"], id);
                let path = format!("rooms/{room}/redact/{plain}/1");
                let redaction = alice.put(&path, &json!({ "reason": "spam" })).await;
                let redaction = redaction.event_id();
                check_pruned(&event(&alice, &room, &id).await, &redaction, &id);
            }
        }
    })
    .await;
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`
#[tokio::test]
async fn levels_as_strings_count_where_the_version_reads_them() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        for version in RoomVersion::ALL.map(RoomVersion::as_str) {
            let levels = json!({ "events_default": "10" });
            let wanted = json!({
                "room_version": version, "preset": "public_chat", "power_level_content_override": levels,
            });
            let created = alice.post("createRoom", &wanted).await;
            if ["10", "11", "12"].contains(&version) {
                created.fails_for(version, 400, "M_INVALID_ROOM_STATE");
                continue;
            }
            let created = created.ok_for(version);
            let room = created["room_id"].as_str().unwrap();
            bob.join(room).await.ok();
            let content = json!({ "body": "hello" });
            let sent = bob.send(room, "m.room.message", "1", &content).await;
            sent.fails_for(version, 403, "M_FORBIDDEN");
        }
    })
    .await;
}
