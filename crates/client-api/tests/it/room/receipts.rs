//! Receipts and read markers. <https://spec.matrix.org/v1.19/client-server-api/#receipts>

use serde_json::{Value, json};

use super::caller::{Answer, Caller, Server, on_servers, segment};

/// A room of Alice in which Bob is, too.
struct Scene {
    alice: Caller,
    bob: Caller,
    room: String,
}

impl Scene {
    async fn new(server: &Server) -> Self {
        let (alice, bob, room) = server.two_in_a_room().await;
        Self { alice, bob, room }
    }

    async fn say(&self, text: &str) -> String {
        self.send(text, json!({ "msgtype": "m.text", "body": text }))
            .await
    }

    async fn send(&self, txn_id: &str, content: Value) -> String {
        let sent = self
            .alice
            .send(&self.room, "m.room.message", txn_id, &content);
        sent.await.event_id()
    }

    async fn relate(&self, txn_id: &str, rel_type: &str, to: &str) -> String {
        let relation = json!({ "rel_type": rel_type, "event_id": to });
        self.send(txn_id, json!({ "body": txn_id, "m.relates_to": relation }))
            .await
    }

    /// Receipts that the next answer tells of the room: event, kind, user and thread of each.
    async fn told(&self, who: &Caller, since: &mut String) -> Vec<String> {
        let (answer, next) = who.sync(&format!("since={since}")).await;
        *since = next;
        receipts(&answer["rooms"]["join"][&self.room])
    }
}

async fn token(who: &Caller) -> String {
    who.sync("").await.1
}

async fn receipt(who: &Caller, room: &str, kind: &str, event: &str, body: Value) -> Answer {
    let path = format!("rooms/{}/receipt/{kind}/{}", segment(room), segment(event));
    who.post(&path, &body).await
}

async fn mark(who: &Caller, room: &str, body: Value) -> Answer {
    who.post(&format!("rooms/{}/read_markers", segment(room)), &body)
        .await
}

/// `event kind user thread`, sorted; one line for each event of type `m.receipt` begins with its number.
fn receipts(room: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    let events = room["ephemeral"]["events"].as_array();
    for (number, event) in events.into_iter().flatten().enumerate() {
        assert_eq!(event["type"], "m.receipt");
        assert_eq!(event.as_object().unwrap().len(), 2, "{event}");
        for (event_id, kinds) in event["content"].as_object().unwrap() {
            for (kind, users) in kinds.as_object().unwrap() {
                for (user, receipt) in users.as_object().unwrap() {
                    assert!(receipt["ts"].as_i64().unwrap() > 1_600_000_000_000);
                    let thread = receipt["thread_id"].as_str().unwrap_or("-");
                    lines.push(format!("{number} {event_id} {kind} {user} {thread}"));
                }
            }
        }
    }
    lines
}

/// `POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}`
#[tokio::test]
async fn a_receipt_is_told_to_everybody_in_the_room_once() {
    on_servers(async |server| {
        let scene = Scene::new(&server).await;
        let Scene { alice, bob, room } = &scene;
        let event = scene.say("one").await;
        let (mut for_alice, mut for_bob) = (token(alice).await, token(bob).await);
        let answer = receipt(bob, room, "m.read", &event, json!({})).await;
        assert_eq!(answer.ok(), json!({}));
        let expected = vec![format!("0 {event} m.read {} -", bob.user_id)];
        assert_eq!(scene.told(alice, &mut for_alice).await, expected);
        assert_eq!(scene.told(bob, &mut for_bob).await, expected);
        assert!(scene.told(alice, &mut for_alice).await.is_empty());
        // Older clients send no body at all.
        let event = scene.say("two").await;
        let path = format!("rooms/{}/receipt/m.read/{}", segment(room), segment(&event));
        bob.send_raw("POST", &path, b"").await.ok();
        let expected = vec![format!("0 {event} m.read {} -", bob.user_id)];
        assert_eq!(scene.told(alice, &mut for_alice).await, expected);
    })
    .await;
}

/// `POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}`
#[tokio::test]
async fn a_private_receipt_is_told_to_its_owner_alone() {
    on_servers(async |server| {
        let scene = Scene::new(&server).await;
        let Scene { alice, bob, room } = &scene;
        let tablet = server.device("bob").await;
        let event = scene.say("one").await;
        let (mut for_alice, mut for_tablet) = (token(alice).await, token(&tablet).await);
        receipt(bob, room, "m.read.private", &event, json!({}))
            .await
            .ok();
        assert!(scene.told(alice, &mut for_alice).await.is_empty());
        let expected = vec![format!("0 {event} m.read.private {} -", bob.user_id)];
        assert_eq!(scene.told(&tablet, &mut for_tablet).await, expected);
        // Nor from the beginning.
        let (whole, _) = alice.sync("").await;
        assert!(receipts(&whole["rooms"]["join"][room]).is_empty());
        let (whole, _) = bob.sync("").await;
        assert_eq!(receipts(&whole["rooms"]["join"][room]), expected);
        // A public one behind it is news to all.
        let earlier = scene.say("two").await;
        let later = scene.say("three").await;
        receipt(bob, room, "m.read.private", &later, json!({}))
            .await
            .ok();
        receipt(bob, room, "m.read", &earlier, json!({})).await.ok();
        let expected = vec![format!("0 {earlier} m.read {} -", bob.user_id)];
        assert_eq!(scene.told(alice, &mut for_alice).await, expected);
    })
    .await;
}

/// `POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}`
#[tokio::test]
async fn a_receipt_never_goes_backwards() {
    on_servers(async |server| {
        let scene = Scene::new(&server).await;
        let Scene { alice, bob, room } = &scene;
        let (first, second) = (scene.say("one").await, scene.say("two").await);
        receipt(bob, room, "m.read", &second, json!({})).await.ok();
        let mut since = token(alice).await;
        for event in [&first, &second] {
            receipt(bob, room, "m.read", event, json!({})).await.ok();
            assert!(scene.told(alice, &mut since).await.is_empty());
        }
        // Of each thread apart.
        receipt(bob, room, "m.read", &first, json!({ "thread_id": "main" }))
            .await
            .ok();
        let expected = vec![format!("0 {first} m.read {} main", bob.user_id)];
        assert_eq!(scene.told(alice, &mut since).await, expected);
        let (whole, _) = alice.sync("").await;
        let expected = vec![
            format!("0 {second} m.read {} -", bob.user_id),
            format!("1 {first} m.read {} main", bob.user_id),
        ];
        assert_eq!(receipts(&whole["rooms"]["join"][room]), expected);
    })
    .await;
}

/// `POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}`
#[tokio::test]
async fn a_threaded_receipt_is_for_an_event_of_its_thread() {
    on_servers(async |server| {
        let scene = Scene::new(&server).await;
        let Scene { alice, bob, room } = &scene;
        let (root, other) = (scene.say("root").await, scene.say("other").await);
        let inside = scene.relate("inside", "m.thread", &root).await;
        let edited = scene.relate("edited", "m.replace", &inside).await;
        let reaction = scene.relate("reaction", "m.annotation", &root).await;
        let elsewhere = scene.relate("elsewhere", "m.thread", &other).await;
        let alone = scene.say("alone").await;
        let of_alone = scene.relate("of alone", "m.annotation", &alone).await;
        let mut since = token(alice).await;
        let cases = [
            (&other, "main", true),
            (&root, "main", true),
            (&reaction, "main", true),
            (&inside, "main", false),
            // Some clients don't look as far as its thread.
            (&edited, "main", true),
            (&root, &*root, true),
            (&inside, &root, true),
            (&edited, &root, true),
            (&reaction, &root, true),
            (&other, &root, false),
            (&elsewhere, &root, false),
            // A thread is one when something is in it.
            (&alone, &*alone, false),
            (&of_alone, &alone, false),
        ];
        for (event, thread, fits) in cases {
            let answer = receipt(bob, room, "m.read", event, json!({ "thread_id": thread })).await;
            let expected = if fits {
                (200, "")
            } else {
                (400, "M_INVALID_PARAM")
            };
            assert_eq!(answer.error(), expected, "{event} in {thread}");
        }
        let expected = vec![
            format!("0 {reaction} m.read {} main", bob.user_id),
            format!("1 {reaction} m.read {} {root}", bob.user_id),
        ];
        assert_eq!(scene.told(alice, &mut since).await, expected);
    })
    .await;
}

/// `POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}`
#[tokio::test]
async fn a_thread_is_read_up_to_an_event_that_is_redacted_or_far_from_its_root() {
    on_servers(async |server| {
        let scene = Scene::new(&server).await;
        let Scene { alice, bob, room } = &scene;
        let root = scene.say("root").await;
        let mut last = scene.relate("inside", "m.thread", &root).await;
        // Each relates to the one before it: counts have them all in the thread.
        for number in 0..5 {
            last = scene
                .relate(&format!("far {number}"), "m.reference", &last)
                .await;
        }
        let read = async |event: &str, thread: &str| {
            receipt(bob, room, "m.read", event, json!({ "thread_id": thread })).await
        };
        // Clients look less far, and show it in the main timeline.
        read(&last, "main").await.ok();
        read(&last, &root).await.ok();
        let redacted = scene.relate("redacted", "m.thread", &root).await;
        let path = format!("rooms/{}/redact/{}/1", segment(room), segment(&redacted));
        alice.put(&path, &json!({})).await.ok();
        read(&redacted, &root).await.ok();
        // A client that knows of the redaction sees no relation.
        read(&redacted, "main").await.ok();
    })
    .await;
}

/// `POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}`
#[tokio::test]
async fn a_receipt_for_an_event_that_is_not_here_changes_nothing_yet() {
    on_servers(async |server| {
        let scene = Scene::new(&server).await;
        let Scene { alice, bob, room } = &scene;
        let elsewhere = alice.create(json!({})).await;
        let body = json!({ "body": "x" });
        let sent = alice.send(&elsewhere, "m.room.message", "1", &body);
        let of_other_room = sent.await.event_id();
        let unknown = "$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        let mut since = token(alice).await;
        for event in [&*of_other_room, unknown] {
            receipt(bob, room, "m.read", event, json!({})).await.ok();
        }
        assert!(scene.told(alice, &mut since).await.is_empty());
        let event = scene.say("one").await;
        assert!(scene.told(alice, &mut since).await.is_empty());
        receipt(bob, room, "m.read", &event, json!({})).await.ok();
        assert_eq!(scene.told(alice, &mut since).await.len(), 1);
    })
    .await;
}

/// `POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}`
/// `POST /_matrix/client/v3/rooms/{roomId}/read_markers`
#[tokio::test]
async fn only_members_read() {
    on_servers(async |server| {
        let scene = Scene::new(&server).await;
        let Scene { alice, bob, room } = &scene;
        let carol = server.user("carol").await;
        let event = scene.say("one").await;
        bob.leave(room).await.ok();
        let mut since = token(alice).await;
        for who in [bob, &carol] {
            let answer = receipt(who, room, "m.read", &event, json!({})).await;
            assert_eq!(answer.error(), (403, "M_FORBIDDEN"));
            let answer = mark(who, room, json!({ "m.fully_read": event, "m.read": event })).await;
            assert_eq!(answer.error(), (403, "M_FORBIDDEN"));
        }
        assert!(scene.told(alice, &mut since).await.is_empty());
    })
    .await;
}

fn fully_read(answer: &Value, room: &str) -> Option<String> {
    let events = answer["rooms"]["join"][room]["account_data"]["events"].as_array()?;
    let marker = events
        .iter()
        .find(|event| event["type"] == "m.fully_read")?;
    Some(marker["content"]["event_id"].as_str().unwrap().to_owned())
}

/// `POST /_matrix/client/v3/rooms/{roomId}/read_markers`
#[tokio::test]
async fn read_markers_move_all_at_once_or_not_at_all() {
    on_servers(async |server| {
        let scene = Scene::new(&server).await;
        let Scene { alice, bob, room } = &scene;
        let (first, second) = (scene.say("one").await, scene.say("two").await);
        let (mut for_alice, mut for_bob) = (token(alice).await, token(bob).await);
        let all = json!({ "m.fully_read": first, "m.read": second, "m.read.private": first });
        assert_eq!(mark(bob, room, all).await.ok(), json!({}));
        let expected = vec![format!("0 {second} m.read {} -", bob.user_id)];
        assert_eq!(scene.told(alice, &mut for_alice).await, expected);
        let (answer, next) = bob.sync(&format!("since={for_bob}")).await;
        for_bob = next;
        assert_eq!(fully_read(&answer, room), Some(first.clone()));
        assert_eq!(receipts(&answer["rooms"]["join"][room]).len(), 2);

        let third = scene.say("three").await;
        let unknown = "$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        let some = json!({ "m.read": third, "m.fully_read": unknown });
        assert_eq!(mark(bob, room, some).await.error(), (404, "M_NOT_FOUND"));
        let some = json!({ "m.read": third, "m.fully_read": 7 });
        assert_eq!(mark(bob, room, some).await.error(), (400, "M_BAD_JSON"));
        let some = json!({ "m.read": third, "m.fully_read": "seven" });
        assert_eq!(
            mark(bob, room, some).await.error(),
            (400, "M_INVALID_PARAM")
        );
        assert_eq!(mark(bob, room, json!({})).await.ok(), json!({}));
        assert!(scene.told(alice, &mut for_alice).await.is_empty());

        // Neither does the marker go backwards.
        mark(bob, room, json!({ "m.fully_read": third })).await.ok();
        mark(bob, room, json!({ "m.fully_read": second }))
            .await
            .ok();
        let (answer, _) = bob.sync(&format!("since={for_bob}")).await;
        assert_eq!(fully_read(&answer, room), Some(third.clone()));
        let path = format!(
            "user/{}/rooms/{}/account_data/m.fully_read",
            segment(&bob.user_id),
            segment(room)
        );
        assert_eq!(bob.get(&path).await.ok(), json!({ "event_id": third }));
        let set = bob.put(&path, &json!({ "event_id": first })).await;
        assert_eq!(set.error().0, 405);
    })
    .await;
}

/// `POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}`
#[tokio::test]
async fn a_receipt_of_type_fully_read_is_the_marker() {
    on_servers(async |server| {
        let scene = Scene::new(&server).await;
        let Scene { bob, room, .. } = &scene;
        let event = scene.say("one").await;
        let mut since = token(bob).await;
        let threaded = json!({ "thread_id": "main" });
        let answer = receipt(bob, room, "m.fully_read", &event, threaded).await;
        assert_eq!(answer.error(), (400, "M_INVALID_PARAM"));
        receipt(bob, room, "m.fully_read", &event, json!({}))
            .await
            .ok();
        let (answer, _) = bob.sync(&format!("since={since}")).await;
        assert_eq!(fully_read(&answer, room), Some(event));
        assert!(scene.told(bob, &mut since).await.is_empty());
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn a_room_that_is_told_whole_comes_with_all_of_its_receipts() {
    on_servers(async |server| {
        let scene = Scene::new(&server).await;
        let Scene { alice, bob, room } = &scene;
        let (first, second) = (scene.say("one").await, scene.say("two").await);
        receipt(bob, room, "m.read", &first, json!({})).await.ok();
        receipt(alice, room, "m.read", &second, json!({}))
            .await
            .ok();
        let expected = {
            let lines = [(&first, &bob.user_id), (&second, &alice.user_id)];
            let mut lines = lines.map(|(event, user)| format!("0 {event} m.read {user} -"));
            lines.sort();
            lines.to_vec()
        };
        let carol = server.user("carol").await;
        let mut since = token(&carol).await;
        carol.join(room).await.ok();
        assert_eq!(scene.told(&carol, &mut since).await, expected);
        // A restarted server knows them, and a token from before it tells what came after.
        let server = server.restarted().await;
        let (alice, carol) = (server.again(alice), server.again(&carol));
        let (whole, _) = alice.sync("").await;
        assert_eq!(receipts(&whole["rooms"]["join"][room]), expected);
        receipt(&alice, room, "m.read", &first, json!({}))
            .await
            .ok();
        assert!(scene.told(&carol, &mut since).await.is_empty());
        receipt(&carol, room, "m.read", &first, json!({}))
            .await
            .ok();
        assert_eq!(scene.told(&alice, &mut since).await.len(), 1);
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn a_filter_says_which_receipts_are_wanted() {
    on_servers(async |server| {
        let scene = Scene::new(&server).await;
        let Scene { alice, bob, room } = &scene;
        let event = scene.say("one").await;
        let since = token(alice).await;
        receipt(bob, room, "m.read", &event, json!({})).await.ok();
        let cases = [
            (json!({}), true),
            (json!({ "types": ["m.receipt"] }), true),
            (json!({ "types": ["m.typing"] }), false),
            (json!({ "types": [] }), false),
            (json!({ "not_types": ["m.rec*"] }), false),
            (json!({ "senders": [bob.user_id] }), true),
            (json!({ "not_senders": [bob.user_id] }), false),
            (json!({ "rooms": [room] }), true),
            (json!({ "not_rooms": [room] }), false),
            (json!({ "contains_url": true }), false),
        ];
        for (ephemeral, wanted) in cases {
            let filter = json!({ "room": { "ephemeral": ephemeral } }).to_string();
            for query in [String::new(), format!("since={since}&")] {
                let (answer, _) = alice
                    .sync(&format!("{query}filter={}", segment(&filter)))
                    .await;
                let told = receipts(&answer["rooms"]["join"][room]);
                assert_eq!(!told.is_empty(), wanted, "{filter} {query}");
            }
        }
    })
    .await;
}
