//! Redactions: who may redact what, and how everybody learns of it.
//! <https://spec.matrix.org/v1.19/client-server-api/#redactions>

use serde_json::{Value, json};
use starling_events::RoomVersion;

use super::caller::{Answer, Caller, event_ids, on_servers, segment};

async fn redact(caller: &Caller, room: &str, target: &str, txn_id: &str) -> Answer {
    let path = format!(
        "rooms/{}/redact/{}/{txn_id}",
        segment(room),
        segment(target)
    );
    caller.put(&path, &json!({ "reason": "spam" })).await
}

async fn set(caller: &Caller, room: &str, kind: &str, content: Value) -> String {
    let path = format!("rooms/{}/state/{kind}", segment(room));
    caller.put(&path, &content).await.event_id()
}

/// The event of this id in a list.
fn in_list<'a>(events: &'a Value, id: &str) -> &'a Value {
    let mut events = events
        .as_array()
        .unwrap_or_else(|| panic!("no list: {events}"))
        .iter();
    events
        .find(|event| event["event_id"] == id)
        .unwrap_or_else(|| panic!("no {id}"))
}

fn check_pruned(event: &Value, redaction: &str) {
    assert_eq!(event["content"], json!({}), "{event}");
    let because = &event["unsigned"]["redacted_because"];
    assert_eq!(because["event_id"], redaction, "{event}");
    assert_eq!(because["content"]["reason"], "spam");
    assert_eq!(because["redacts"], event["event_id"]);
    assert!(because["unsigned"]["age"].is_i64());
}

async fn next_batch(caller: &Caller) -> String {
    caller.get("sync").await.ok()["next_batch"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// `GET /_matrix/client/v3/sync`, `GET /_matrix/client/v3/rooms/{roomId}/messages`,
/// `GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}`, `GET /_matrix/client/v3/rooms/{roomId}/state`,
/// `GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}`,
/// `GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}`, `GET /_matrix/client/v1/rooms/{roomId}/threads`,
/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}`
#[tokio::test]
async fn a_redacted_event_says_why_wherever_it_is_told() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let room = alice.create(json!({})).await;
        let path = |rest: &str| format!("rooms/{}/{rest}", segment(&room));
        let other = alice.say(&room, "other").await;
        let message = alice.say(&room, "rude").await;
        let reply = json!({ "body": "reply", "m.relates_to": { "rel_type": "m.thread", "event_id": message } });
        let reply = alice.send(&room, "m.room.message", "reply", &reply).await.event_id();
        let topic = set(&alice, &room, "m.room.topic", json!({ "topic": "rude" })).await;
        let since = next_batch(&alice).await;
        let of_message = redact(&alice, &room, &message, "1").await.event_id();
        let of_topic = redact(&alice, &room, &topic, "2").await.event_id();
        let redacted = [(&message, &of_message), (&topic, &of_topic)];

        let event = async |id: &str| alice.get(&path(&format!("event/{}", segment(id)))).await.ok();
        let page = alice.get(&path("messages?dir=b&limit=100")).await.ok();
        let around = alice.get(&path(&format!("context/{}?limit=100", segment(&other)))).await.ok();
        let synced = alice.get("sync").await.ok()["rooms"]["join"][&room].clone();
        for (id, redaction) in redacted {
            check_pruned(&event(id).await, redaction);
            check_pruned(in_list(&page["chunk"], id), redaction);
            check_pruned(in_list(&around["events_after"], id), redaction);
            check_pruned(in_list(&synced["timeline"]["events"], id), redaction);
            let around = alice.get(&path(&format!("context/{}", segment(id)))).await.ok();
            check_pruned(&around["event"], redaction);
        }
        check_pruned(in_list(&around["state"], &topic), &of_topic);
        check_pruned(in_list(&alice.get(&path("state")).await.ok(), &topic), &of_topic);
        check_pruned(&alice.get(&path("state/m.room.topic?format=event")).await.ok(), &of_topic);
        assert_eq!(alice.get(&path("state/m.room.topic")).await.ok(), json!({}));
        let v1 = format!("/_matrix/client/v1/rooms/{}", segment(&room));
        let threads = alice.send_raw("GET", &format!("{v1}/threads"), b"").await.ok();
        check_pruned(in_list(&threads["chunk"], &message), &of_message);
        // What comes after a redacted state shows nothing of it either.
        let after = set(&alice, &room, "m.room.topic", json!({ "topic": "polite" })).await;
        assert_eq!(event(&after).await["unsigned"]["prev_content"], json!({}));
        // A redacted event relates to nothing.
        let of_reply = redact(&alice, &room, &reply, "3").await.event_id();
        let relations = format!("{v1}/relations/{}", segment(&message));
        assert_eq!(alice.send_raw("GET", &relations, b"").await.ok()["chunk"], json!([]));
        // Who was there is told of each redaction as an event.
        let news = alice.get(&format!("sync?since={since}")).await.ok();
        let timeline = &news["rooms"]["join"][&room]["timeline"]["events"];
        assert_eq!(event_ids(timeline), [of_message, of_topic, after, of_reply]);
        assert_eq!(timeline[0]["redacts"], message);
        assert_eq!(timeline[0]["content"], json!({ "reason": "spam", "redacts": message }));
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn state_that_was_redacted_in_a_gap_is_told_again() {
    on_servers(async |server| {
        let (alice, bob, room) = server.two_in_a_room().await;
        let old = set(&alice, &room, "m.room.name", json!({ "name": "old" })).await;
        let topic = set(&alice, &room, "m.room.topic", json!({ "topic": "rude" })).await;
        let name = set(&alice, &room, "m.room.name", json!({ "name": "new" })).await;
        let since = next_batch(&bob).await;
        let redaction = redact(&alice, &room, &topic, "1").await.event_id();
        // Of what is no longer the room's state nobody needs to hear.
        redact(&alice, &room, &old, "2").await.event_id();
        for number in 0..3 {
            alice.say(&room, &number.to_string()).await;
        }
        let gap = segment(r#"{"room":{"timeline":{"limit":2}}}"#);
        let lazy =
            segment(r#"{"room":{"timeline":{"limit":2},"state":{"lazy_load_members":true}}}"#);
        let unseen = segment(r#"{"room":{"timeline":{"not_types":["m.room.redaction"]}}}"#);
        let mut server = server;
        for _ in 0..2 {
            let (alice, bob) = (server.again(&alice), server.again(&bob));
            for filter in [&gap, &lazy, &unseen] {
                for (after, state) in [("", "state"), ("&use_state_after=true", "state_after")] {
                    let path = format!("sync?since={since}&filter={filter}{after}");
                    let told = bob.get(&path).await.ok()["rooms"]["join"][&room].clone();
                    let state = &told[state]["events"];
                    check_pruned(in_list(state, &topic), &redaction);
                    let ids = event_ids(state);
                    assert!(!ids.contains(&name) && !ids.contains(&old), "{path} {told}");
                }
            }
            // Told once.
            let next = next_batch(&bob).await;
            alice.say(&room, &next).await;
            let told = bob
                .get(&format!("sync?since={next}&filter={gap}"))
                .await
                .ok();
            assert_eq!(told["rooms"]["join"][&room]["state"]["events"], json!([]));
            server = server.restarted().await;
        }
    })
    .await;
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}`,
/// `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`
#[tokio::test]
async fn who_may_redact_is_decided_by_power() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let carol = server.user("carol").await;
        for version in ["1", "2", "3", "10", "11", "12"] {
            let room = alice
                .create(json!({ "preset": "public_chat", "room_version": version }))
                .await;
            for caller in [&bob, &carol] {
                caller.join(&room).await.ok();
            }
            let powers = async |redact: i64, redaction: i64| {
                let path = format!("rooms/{}/state/m.room.power_levels", segment(&room));
                let mut levels = alice.get(&path).await.ok();
                levels["redact"] = json!(redact);
                levels["events"]["m.room.redaction"] = json!(redaction);
                set(&alice, &room, "m.room.power_levels", levels).await;
            };
            let try_both = async |txn_id: &str| {
                let own = bob.say(&room, &format!("own {txn_id}")).await;
                let other = carol.say(&room, &format!("other {txn_id}")).await;
                [
                    redact(&bob, &room, &own, &format!("own{txn_id}"))
                        .await
                        .status,
                    redact(&bob, &room, &other, &format!("other{txn_id}"))
                        .await
                        .status,
                ]
            };
            assert_eq!(try_both("1").await, [200, 403], "{version}: one's own");
            powers(0, 0).await;
            assert_eq!(try_both("2").await, [200, 200], "{version}: also others'");
            powers(0, 50).await;
            assert_eq!(try_both("3").await, [403, 403], "{version}: none at all");
            powers(50, 0).await;
            let gone = bob.say(&room, "gone").await;
            bob.leave(&room).await.ok();
            redact(&bob, &room, &gone, "4")
                .await
                .fails_for(version, 403, "M_FORBIDDEN");
            alice.act(&room, "ban", &bob).await.ok();
            redact(&bob, &room, &gone, "5")
                .await
                .fails_for(version, 403, "M_FORBIDDEN");
            redact(&alice, &room, &gone, "6").await.event_id();
        }
    })
    .await;
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}`,
/// `GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}`
#[tokio::test]
async fn a_redaction_may_be_redacted_and_undoes_nothing() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        for version in RoomVersion::ALL.map(RoomVersion::as_str) {
            let room = alice.create(json!({ "room_version": version })).await;
            let event = async |id: &str| {
                alice
                    .get(&format!("rooms/{}/event/{}", segment(&room), segment(id)))
                    .await
                    .ok()
            };
            let message = alice.say(&room, "rude").await;
            let first = redact(&alice, &room, &message, "1").await.event_id();
            let second = redact(&alice, &room, &first, "2").await.event_id();
            let told = event(&first).await;
            assert_eq!(
                told["unsigned"]["redacted_because"]["event_id"], second,
                "{version}"
            );
            assert!(told["content"].get("reason").is_none(), "{version} {told}");
            let told = event(&message).await;
            assert_eq!(told["content"], json!({}), "{version}");
            let because = &told["unsigned"]["redacted_because"];
            assert_eq!(because["event_id"], first, "{version}");
            assert!(
                because["content"].get("reason").is_none(),
                "{version} {told}"
            );
            // Twice changes nothing but who is said to have done it.
            let third = redact(&alice, &room, &message, "3").await.event_id();
            let told = event(&message).await;
            assert_eq!(told["content"], json!({}), "{version}");
            assert_eq!(
                told["unsigned"]["redacted_because"]["event_id"], third,
                "{version}"
            );
        }
    })
    .await;
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}`, `GET /_matrix/client/v3/rooms/{roomId}/state`
#[tokio::test]
async fn what_a_room_does_not_survive_is_not_redacted() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        for version in ["10", "12"] {
            let room = alice.create(json!({ "room_version": version })).await;
            let acl = json!({ "allow": ["*"], "deny": ["evil.example"] });
            let kind = "m.room.server_acl";
            let list = set(&alice, &room, kind, acl.clone()).await;
            let state = alice.get(&format!("rooms/{}/state", segment(&room))).await;
            let state = state.ok();
            let create = state.as_array().unwrap().iter();
            let mut create = create.filter(|event| event["type"] == "m.room.create");
            let create = create.next().unwrap()["event_id"].as_str().unwrap();
            for (target, txn_id) in [(&*list, "1"), (create, "2")] {
                let refused = redact(&alice, &room, target, txn_id).await;
                refused.fails_for(version, 403, "M_FORBIDDEN");
            }
            assert_eq!(alice.state(&room, kind, "").await.ok(), acl, "{version}");
            // What only has the type of one is no list.
            let path = format!("rooms/{}/state/{kind}/key", segment(&room));
            let other = alice.put(&path, &json!({ "rude": true })).await.event_id();
            redact(&alice, &room, &other, "3").await.event_id();
            let other = alice
                .send(&room, kind, "m", &json!({ "body": "rude" }))
                .await;
            redact(&alice, &room, &other.event_id(), "4")
                .await
                .event_id();
        }
    })
    .await;
}
