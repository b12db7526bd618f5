//! Events that relate to others, and what is told with these.
//! <https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events>

use serde_json::{Value, json};

use super::caller::{Answer, Caller, event_ids, on_servers, segment};

/// Where the events that relate to an event are listed.
fn relations(room: &str, event: &str, rest: &str) -> String {
    let (room, event) = (segment(room), segment(event));
    format!("/_matrix/client/v1/rooms/{room}/relations/{event}{rest}")
}

async fn related(caller: &Caller, room: &str, event: &str, rest: &str) -> Vec<String> {
    let page = get(caller, &relations(room, event, rest)).await.ok();
    event_ids(&page["chunk"])
}

/// The same from all pages, one after the other.
async fn related_in_pages(caller: &Caller, room: &str, event: &str, query: &str) -> Vec<String> {
    let (mut from, mut told) = (String::new(), Vec::new());
    loop {
        let path = relations(room, event, &format!("{query}{from}"));
        let page = get(caller, &path).await.ok();
        told.extend(event_ids(&page["chunk"]));
        let Some(next) = page["next_batch"].as_str() else {
            return told;
        };
        from = format!("&from={next}");
    }
}

async fn get(caller: &Caller, path: &str) -> Answer {
    caller.send_raw("GET", path, b"").await
}

async fn threads(caller: &Caller, room: &str, query: &str) -> Value {
    let path = format!("/_matrix/client/v1/rooms/{}/threads{query}", segment(room));
    get(caller, &path).await.ok()
}

/// Sends a message that says `body` and relates to `target`; the body is its transaction id.
async fn relate(
    caller: &Caller,
    room: &str,
    (rel_type, target): (&str, &str),
    body: &str,
) -> String {
    let content = json!({
        "msgtype": "m.text", "body": body, "m.new_content": { "msgtype": "m.text", "body": body },
        "m.relates_to": { "rel_type": rel_type, "event_id": target },
    });
    caller
        .send(room, "m.room.message", body, &content)
        .await
        .event_id()
}

async fn react(caller: &Caller, room: &str, target: &str, (key, txn): (&str, &str)) -> Answer {
    let content =
        json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": target, "key": key } });
    caller.send(room, "m.reaction", txn, &content).await
}

async fn redact(caller: &Caller, room: &str, target: &str) -> String {
    let path = format!(
        "rooms/{}/redact/{}/{}",
        segment(room),
        segment(target),
        segment(target)
    );
    caller.put(&path, &json!({})).await.event_id()
}

/// `unsigned.m.relations` of an event as `GET /event` tells it.
async fn bundle(caller: &Caller, room: &str, event: &str) -> Value {
    let path = format!("rooms/{}/event/{}", segment(room), segment(event));
    caller.get(&path).await.ok()["unsigned"]["m.relations"].clone()
}

/// The event of this id in a list.
fn in_list<'a>(events: &'a Value, id: &str) -> &'a Value {
    let mut events = events.as_array().unwrap().iter();
    events.find(|event| event["event_id"] == id).unwrap()
}

/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}`,
/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}`,
/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}`
#[tokio::test]
async fn what_relates_to_an_event_is_listed_by_kind_and_type() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let room = alice.create(json!({})).await;
        let parent = alice.say(&room, "root").await;
        let reply = relate(&alice, &room, ("m.thread", &parent), "reply").await;
        let edit = relate(&alice, &room, ("m.replace", &parent), "edit").await;
        let reaction = react(&alice, &room, &parent, ("+1", "r")).await.event_id();
        let other = alice.say(&room, "other").await;
        let own = relate(&alice, &room, ("org.example", &other), "own").await;
        let in_reply = json!({ "m.relates_to": { "m.in_reply_to": { "event_id": parent } } });
        alice
            .send(&room, "m.room.message", "in reply", &in_reply)
            .await
            .event_id();

        let all = [reaction.clone(), edit.clone(), reply.clone()];
        assert_eq!(related(&alice, &room, &parent, "").await, all);
        let mut forwards = all.to_vec();
        forwards.reverse();
        assert_eq!(related(&alice, &room, &parent, "?dir=f").await, forwards);
        assert_eq!(
            related(&alice, &room, &parent, "/m.thread").await,
            *std::slice::from_ref(&reply)
        );
        assert_eq!(
            related(&alice, &room, &parent, "/m.annotation/m.reaction").await,
            [reaction]
        );
        assert_eq!(
            related(&alice, &room, &parent, "/m.annotation/m.room.message").await,
            [""; 0]
        );
        assert_eq!(
            related(&alice, &room, &parent, "/m.annotation/never.sent").await,
            [""; 0]
        );
        assert_eq!(
            related(&alice, &room, &parent, "/never.used").await,
            [""; 0]
        );
        assert_eq!(related(&alice, &room, &other, "/org.example").await, [own]);
        // In full, with the room and what relates to it in turn.
        let second = relate(&alice, &room, ("m.replace", &reply), "edited reply").await;
        let page = get(&alice, &relations(&room, &parent, "/m.thread"))
            .await
            .ok();
        assert_eq!(page["chunk"][0]["room_id"], room);
        assert_eq!(page["chunk"][0]["content"]["body"], "reply");
        assert_eq!(
            page["chunk"][0]["unsigned"]["m.relations"]["m.replace"]["event_id"],
            second
        );
        assert!(page.get("recursion_depth").is_none(), "{page}");

        // Redacted, it relates to nothing any longer; what relates to the redacted stays.
        redact(&alice, &room, &edit).await;
        redact(&alice, &room, &parent).await;
        assert_eq!(
            related(&alice, &room, &parent, "").await,
            [&all[0], &all[2]].map(Clone::clone)
        );
        let restarted = server.restarted().await;
        let alice = restarted.again(&alice);
        assert_eq!(
            related(&alice, &room, &parent, "").await,
            [&all[0], &all[2]].map(Clone::clone)
        );
    })
    .await;
}

/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}`
#[tokio::test]
async fn relations_come_in_pages() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let room = alice.create(json!({})).await;
        let parent = alice.say(&room, "root").await;
        let mut sent = Vec::new();
        for number in 0..25 {
            sent.push(relate(&alice, &room, ("m.thread", &parent), &number.to_string()).await);
        }
        for (direction, limit) in [("b", 7), ("f", 4), ("b", 25), ("f", 100)] {
            let mut expected = sent.clone();
            if direction == "b" {
                expected.reverse();
            }
            let (mut all, mut from, mut pages) = (Vec::new(), String::new(), 0);
            loop {
                let query = format!("?dir={direction}&limit={limit}{from}");
                let page = get(&alice, &relations(&room, &parent, &query)).await.ok();
                assert_eq!(page.get("prev_batch").is_none(), from.is_empty());
                all.extend(event_ids(&page["chunk"]));
                pages += 1;
                let Some(next) = page["next_batch"].as_str() else {
                    break;
                };
                from = format!("&from={next}");
            }
            assert_eq!(
                (all, pages),
                (expected, 25_usize.div_ceil(limit)),
                "{direction} {limit}"
            );
        }
        // From and to tokens of other endpoints.
        let page = get(&alice, &relations(&room, &parent, "?limit=10"))
            .await
            .ok();
        let next = page["next_batch"].as_str().unwrap();
        let since = alice.get("sync").await.ok()["next_batch"]
            .as_str()
            .unwrap()
            .to_owned();
        let between = related(
            &alice,
            &room,
            &parent,
            &format!("?from={since}&to={next}&limit=100"),
        )
        .await;
        assert_eq!(between, event_ids(&page["chunk"]));
        // The other way round there is nothing between them.
        let none = related(&alice, &room, &parent, &format!("?from={next}&to={since}")).await;
        assert_eq!(none, [""; 0]);
        for query in [
            "?from=x",
            "?to=x",
            "?dir=x",
            "?limit=-1",
            "?limit=x",
            "?recurse=x",
        ] {
            let answer = get(&alice, &relations(&room, &parent, query)).await;
            answer.fails_for(query, 400, "M_INVALID_PARAM");
        }
    })
    .await;
}

/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}`,
/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}`
#[tokio::test]
async fn relations_of_relations_are_listed_down_to_a_depth() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let room = alice.create(json!({})).await;
        let parent = alice.say(&room, "root").await;
        let mut chain = vec![parent.clone()];
        for depth in 0..5 {
            let last = chain.last().unwrap().clone();
            chain.push(relate(&alice, &room, ("org.example", &last), &depth.to_string()).await);
        }
        let reply = relate(&alice, &room, ("m.thread", &parent), "reply").await;
        let reaction = react(&alice, &room, &reply, ("+1", "r")).await.event_id();
        let page = get(&alice, &relations(&room, &parent, "?recurse=true&dir=f"))
            .await
            .ok();
        let expected = [&chain[1], &chain[2], &chain[3], &reply, &reaction].map(Clone::clone);
        assert_eq!(event_ids(&page["chunk"]), expected);
        assert_eq!(page["recursion_depth"], 3);
        let page = get(&alice, &relations(&room, &parent, "?recurse=false"))
            .await
            .ok();
        assert_eq!(
            event_ids(&page["chunk"]),
            [&reply, &chain[1]].map(Clone::clone)
        );
        assert_eq!(page["recursion_depth"], 1);
        // Who wants none is told where they are.
        let none = get(&alice, &relations(&room, &parent, "?limit=0"))
            .await
            .ok();
        assert_eq!(none["chunk"], json!([]));
        let from = format!("?from={}", none["next_batch"].as_str().unwrap());
        let after = related(&alice, &room, &parent, &from).await;
        assert_eq!(after, [&reply, &chain[1]].map(Clone::clone));
        // The filter counts for what lies between, too.
        let only = related(&alice, &room, &parent, "/m.annotation?recurse=true").await;
        assert_eq!(only, [""; 0]);
        let only = related(&alice, &room, &parent, "/org.example?recurse=true&dir=f").await;
        assert_eq!(only, chain[1..4]);
        // In pages.
        let page = get(&alice, &relations(&room, &parent, "?recurse=true&limit=2"))
            .await
            .ok();
        assert_eq!(event_ids(&page["chunk"]), [reaction, reply]);
        let query = format!(
            "?recurse=true&from={}",
            page["next_batch"].as_str().unwrap()
        );
        let mut rest = related(&alice, &room, &parent, &query).await;
        rest.reverse();
        assert_eq!(rest, chain[1..4]);
        // Those that relate to one of them amid those that relate to the event itself.
        let late = react(&alice, &room, &chain[1], ("+1", "late"))
            .await
            .event_id();
        let last = relate(&alice, &room, ("m.thread", &parent), "last").await;
        let mut all: Vec<String> = expected.into_iter().chain([late, last]).collect();
        for direction in ["f", "b"] {
            for limit in [1, 2, 3] {
                let first = format!("?recurse=true&dir={direction}&limit={limit}");
                let told = related_in_pages(&alice, &room, &parent, &first).await;
                assert_eq!(told, all, "{first}");
            }
            all.reverse();
        }
    })
    .await;
}

/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}`
#[tokio::test]
async fn relations_are_told_to_whom_may_see_both_events() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let joined_only = json!([{
            "type": "m.room.history_visibility", "state_key": "", "content": { "history_visibility": "joined" },
        }]);
        let wanted = json!({ "preset": "public_chat", "initial_state": joined_only });
        let room = alice.create(wanted).await;
        let hidden = alice.say(&room, "hidden").await;
        bob.join(&room).await.ok();
        let parent = alice.say(&room, "root").await;
        let early = relate(&alice, &room, ("m.thread", &parent), "early").await;
        let edit = relate(&alice, &room, ("m.replace", &parent), "edit").await;
        let answer = get(&bob, &relations(&room, &hidden, "")).await;
        answer.fails(404, "M_NOT_FOUND");
        bob.leave(&room).await.ok();
        let late = relate(&alice, &room, ("m.thread", &parent), "late").await;
        relate(&alice, &room, ("m.replace", &parent), "late edit").await;
        relate(&alice, &room, ("m.reference", &parent), "late reference").await;
        assert_eq!(related(&bob, &room, &parent, "").await, [edit.clone(), early.clone()]);
        let told = bundle(&bob, &room, &parent).await;
        assert_eq!(told["m.thread"]["latest_event"]["event_id"], early);
        assert_eq!(told["m.thread"]["count"], 1);
        assert_eq!(told["m.replace"]["event_id"], edit);
        assert!(told.get("m.reference").is_none(), "{told}");
        let told = bundle(&alice, &room, &parent).await;
        assert_eq!(told["m.thread"]["latest_event"]["event_id"], late);
        assert_eq!(told["m.thread"]["count"], 2);

        let stranger = server.user("eve").await;
        for (room, event) in [(&*room, &*parent), (&*room, "$unknown"), ("!unknown:localhost", &*parent)] {
            let answer = get(&stranger, &relations(room, event, "")).await;
            answer.fails_for(event, 404, "M_NOT_FOUND");
        }
        let other = alice.create(json!({})).await;
        let answer = get(&alice, &relations(&other, &parent, "")).await;
        answer.fails(404, "M_NOT_FOUND");
    })
    .await;
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`
#[tokio::test]
async fn what_a_relation_says_is_taken_for_what_it_is() {
    on_servers(async |server| {
        let (alice, bob, room) = server.two_in_a_room().await;
        let parent = alice.say(&room, "root").await;
        let reply = relate(&alice, &room, ("m.thread", &parent), "reply").await;
        // No thread begins with what relates to something.
        let nested =
            json!({ "body": "x", "m.relates_to": { "rel_type": "m.thread", "event_id": reply } });
        alice
            .send(&room, "m.room.message", "nested", &nested)
            .await
            .fails(400, "M_UNKNOWN");
        // One reaction of each kind and user, unless it was redacted.
        let first = react(&alice, &room, &parent, ("+1", "1")).await.event_id();
        assert_eq!(
            react(&alice, &room, &parent, ("+1", "1")).await.event_id(),
            first
        );
        react(&alice, &room, &parent, ("+1", "2"))
            .await
            .fails(400, "M_DUPLICATE_ANNOTATION");
        react(&alice, &room, &parent, ("-1", "3")).await.event_id();
        react(&bob, &room, &parent, ("+1", "1")).await.event_id();
        react(&alice, &room, &reply, ("+1", "4")).await.event_id();
        redact(&alice, &room, &first).await;
        react(&alice, &room, &parent, ("+1", "5")).await.event_id();
        // What is no relation is sent as it is, and so is a relation to what isn't here.
        let content = |relates_to: Value| json!({ "body": "x", "m.relates_to": relates_to });
        let unknown = format!("${}", "u".repeat(43));
        let odd = [
            json!(null),
            json!([]),
            json!({ "rel_type": 1, "event_id": parent }),
            json!({ "rel_type": "m.thread", "event_id": 1 }),
            json!({ "rel_type": "m.thread" }),
            json!({ "rel_type": "m.thread", "event_id": "x" }),
            json!({ "rel_type": "m.thread", "event_id": unknown }),
            json!({ "rel_type": "m.replace", "event_id": unknown }),
            json!({ "rel_type": "r".repeat(1000), "event_id": parent }),
        ];
        let before = related(&alice, &room, &parent, "?limit=100").await;
        for (number, relates_to) in odd.into_iter().enumerate() {
            let (txn_id, content) = (format!("odd {number}"), content(relates_to));
            let sent = alice.send(&room, "m.room.message", &txn_id, &content).await;
            sent.event_id();
        }
        assert_eq!(related(&alice, &room, &parent, "?limit=100").await, before);
        assert_eq!(
            event_ids(&threads(&alice, &room, "").await["chunk"]),
            [parent]
        );
        // Who is not in the room learns nothing of what there is.
        let stranger = server.user("eve").await;
        stranger
            .send(&room, "m.room.message", "nested", &nested)
            .await
            .fails(403, "M_FORBIDDEN");
    })
    .await;
}

/// `GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}`
#[tokio::test]
async fn the_newest_valid_edit_is_told_with_an_event() {
    on_servers(async |server| {
        let (alice, bob, room) = server.two_in_a_room().await;
        let event = alice.say(&room, "as it was").await;
        assert!(bundle(&bob, &room, &event).await.is_null());
        let first = relate(&alice, &room, ("m.replace", &event), "first").await;
        let second = relate(&alice, &room, ("m.replace", &event), "second").await;
        // Somebody else's, another type's, without new content, of an edit: none of these counts.
        relate(&bob, &room, ("m.replace", &event), "not mine").await;
        let content = |extra: Value| {
            let mut content = json!({ "body": "x", "m.relates_to": { "rel_type": "m.replace", "event_id": event } });
            content.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            content
        };
        let new = json!({ "m.new_content": {} });
        alice.send(&room, "org.example", "type", &content(new)).await.event_id();
        alice.send(&room, "m.room.message", "old", &content(json!({}))).await.event_id();
        relate(&alice, &room, ("m.replace", &first), "edit of an edit").await;
        let told = bundle(&bob, &room, &event).await;
        assert_eq!(told["m.replace"]["event_id"], second, "{told}");
        assert_eq!(told["m.replace"]["content"]["m.new_content"]["body"], "second");
        assert_eq!(told["m.replace"]["room_id"], room);
        assert_eq!(told.as_object().unwrap().len(), 1, "{told}");
        assert!(bundle(&bob, &room, &first).await.is_null());
        // The content of the event stays as it was.
        let path = format!("rooms/{}/event/{}", segment(&room), segment(&event));
        assert_eq!(bob.get(&path).await.ok()["content"]["body"], "as it was");

        // A redacted edit gives way to the one before; of a redacted event no edit is told.
        redact(&alice, &room, &second).await;
        let restarted = server.restarted().await;
        for bob in [&bob, &restarted.again(&bob)] {
            assert_eq!(bundle(bob, &room, &event).await["m.replace"]["event_id"], first);
        }
        redact(&alice, &room, &first).await;
        assert!(bundle(&bob, &room, &event).await.is_null());
        relate(&alice, &room, ("m.replace", &event), "third").await;
        assert!(!bundle(&bob, &room, &event).await.is_null());
        redact(&alice, &room, &event).await;
        assert!(bundle(&bob, &room, &event).await.is_null());

        // Of an encrypted event nobody sees whether there is new content.
        let encrypted = json!({ "algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x" });
        let event = alice.send(&room, "m.room.encrypted", "e", &encrypted).await.event_id();
        let edit = json!({
            "algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "y",
            "m.relates_to": { "rel_type": "m.replace", "event_id": event },
        });
        let edit = alice.send(&room, "m.room.encrypted", "f", &edit).await.event_id();
        assert_eq!(bundle(&bob, &room, &event).await["m.replace"]["event_id"], edit);
    })
    .await;
}

/// `GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}`
#[tokio::test]
async fn threads_and_references_are_summed_up() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let carol = server.user("carol").await;
        let room = alice.create(json!({ "preset": "public_chat" })).await;
        bob.join(&room).await.ok();
        carol.join(&room).await.ok();
        let parent = alice.say(&room, "root").await;
        let first = relate(&bob, &room, ("m.thread", &parent), "first").await;
        let second = relate(&alice, &room, ("m.thread", &parent), "second").await;
        let edit = relate(&alice, &room, ("m.replace", &second), "second, edited").await;
        react(&carol, &room, &parent, ("+1", "r")).await.event_id();
        let references = [
            relate(&carol, &room, ("m.reference", &parent), "one").await,
            relate(&carol, &room, ("m.reference", &parent), "two").await,
        ];
        for (caller, participated) in [(&alice, true), (&bob, true), (&carol, false)] {
            let told = bundle(caller, &room, &parent).await;
            let thread = &told["m.thread"];
            assert_eq!(thread["count"], 2);
            assert_eq!(thread["current_user_participated"], participated);
            assert_eq!(thread["latest_event"]["event_id"], second);
            assert_eq!(thread["latest_event"]["content"]["body"], "second");
            let nested = &thread["latest_event"]["unsigned"]["m.relations"];
            assert_eq!(nested["m.replace"]["event_id"], edit);
            let chunk = [
                json!({ "event_id": references[0] }),
                json!({ "event_id": references[1] }),
            ];
            assert_eq!(told["m.reference"]["chunk"], json!(chunk));
            assert_eq!(told.as_object().unwrap().len(), 2, "no annotations: {told}");
        }
        // As the device that sent it sees the last event.
        let thread = bundle(&alice, &room, &parent).await["m.thread"].clone();
        assert_eq!(
            thread["latest_event"]["unsigned"]["transaction_id"],
            "second"
        );

        redact(&alice, &room, &second).await;
        redact(&carol, &room, &references[0]).await;
        let told = bundle(&bob, &room, &parent).await;
        assert_eq!(told["m.thread"]["latest_event"]["event_id"], first);
        assert_eq!(told["m.thread"]["count"], 1);
        assert_eq!(
            told["m.reference"]["chunk"],
            json!([{ "event_id": references[1] }])
        );
        redact(&bob, &room, &first).await;
        redact(&carol, &room, &references[1]).await;
        assert!(bundle(&bob, &room, &parent).await.is_null());
        assert_eq!(event_ids(&threads(&bob, &room, "").await["chunk"]), [""; 0]);
        let last = relate(&carol, &room, ("m.thread", &parent), "last").await;
        let told = bundle(&bob, &room, &parent).await;
        assert_eq!(
            told["m.thread"]["current_user_participated"], false,
            "what they said is redacted"
        );
        assert_eq!(told["m.thread"]["latest_event"]["event_id"], last);
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`, `GET /_matrix/client/v3/rooms/{roomId}/messages`,
/// `GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}`,
/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}`, `GET /_matrix/client/v1/rooms/{roomId}/threads`
#[tokio::test]
async fn aggregations_come_with_events_wherever_history_is_read() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let room = alice.create(json!({})).await;
        let plain = alice.create(json!({})).await;
        alice.say(&plain, "nothing relates to this").await;
        let since = alice.get("sync").await.ok()["next_batch"]
            .as_str()
            .unwrap()
            .to_owned();
        alice.say(&room, "before").await;
        let parent = alice.say(&room, "root").await;
        let reply = relate(&alice, &room, ("m.thread", &parent), "reply").await;
        let edit = relate(&alice, &room, ("m.replace", &reply), "reply, edited").await;
        let reference = relate(&alice, &room, ("m.reference", &parent), "see").await;
        let check = |event: &Value| {
            let told = &event["unsigned"]["m.relations"];
            assert_eq!(
                told["m.thread"]["latest_event"]["event_id"], reply,
                "{event}"
            );
            assert_eq!(told["m.reference"]["chunk"][0]["event_id"], reference);
            let nested = &told["m.thread"]["latest_event"]["unsigned"]["m.relations"];
            assert_eq!(nested["m.replace"]["event_id"], edit);
        };
        let path = |rest: &str| format!("rooms/{}/{rest}", segment(&room));
        let page = alice.get(&path("messages?dir=b&limit=100")).await.ok();
        check(in_list(&page["chunk"], &parent));
        let told = &in_list(&page["chunk"], &reply)["unsigned"]["m.relations"];
        assert_eq!(told["m.replace"]["event_id"], edit);
        let around = alice
            .get(&path(&format!("context/{}", segment(&parent))))
            .await
            .ok();
        check(&around["event"]);
        let around = alice
            .get(&path(&format!("context/{}", segment(&edit))))
            .await
            .ok();
        check(in_list(&around["events_before"], &parent));
        check(in_list(&threads(&alice, &room, "").await["chunk"], &parent));
        let page = get(&alice, &relations(&room, &parent, "")).await.ok();
        let told = &in_list(&page["chunk"], &reply)["unsigned"]["m.relations"];
        assert_eq!(told["m.replace"]["event_id"], edit);

        // In a sync only where there is a gap: else the client has been told what relates.
        let whole = alice.get(&format!("sync?since={since}")).await.ok();
        let timeline = &whole["rooms"]["join"][&room]["timeline"];
        assert_eq!(timeline["limited"], false);
        assert!(
            in_list(&timeline["events"], &parent)["unsigned"]
                .get("m.relations")
                .is_none()
        );
        let filter = segment(r#"{"room":{"timeline":{"limit":4}}}"#);
        alice.say(&plain, "more").await;
        for since in [String::new(), format!("&since={since}")] {
            let path = format!("sync?filter={filter}{since}");
            let gap = alice.get(&path).await.ok();
            let told = &gap["rooms"]["join"];
            let timeline = &told[&room]["timeline"];
            assert_eq!(timeline["limited"], true, "{since}");
            let parent = in_list(&timeline["events"], &parent);
            check(parent);
            let latest = &parent["unsigned"]["m.relations"]["m.thread"]["latest_event"];
            assert!(latest.get("room_id").is_none(), "as in the timeline");
            assert!(told[&plain].is_object());
        }
    })
    .await;
}

/// `GET /_matrix/client/v1/rooms/{roomId}/threads`
#[tokio::test]
async fn threads_are_listed_by_what_was_said_last() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let carol = server.user("carol").await;
        let room = alice.create(json!({ "preset": "public_chat" })).await;
        let path = format!("/_matrix/client/v1/rooms/{}/threads", segment(&room));
        assert_eq!(threads(&alice, &room, "").await, json!({ "chunk": [] }));
        get(&bob, &path).await.fails(403, "M_FORBIDDEN");
        bob.join(&room).await.ok();
        carol.join(&room).await.ok();
        let mut roots = Vec::new();
        for number in 0..7 {
            let parent = alice.say(&room, &format!("root {number}")).await;
            relate(
                &carol,
                &room,
                ("m.thread", &parent),
                &format!("reply {number}"),
            )
            .await;
            roots.push(parent);
        }
        let by_bob = bob.say(&room, "bob's root").await;
        relate(&carol, &room, ("m.thread", &by_bob), "to bob").await;
        relate(&bob, &room, ("m.thread", &roots[2]), "revived").await;
        let expected = [
            &roots[2], &by_bob, &roots[6], &roots[5], &roots[4], &roots[3], &roots[1], &roots[0],
        ];
        let expected: Vec<String> = expected.into_iter().cloned().collect();
        let (mut all, mut from) = (Vec::new(), String::new());
        loop {
            let page = threads(&carol, &room, &format!("?limit=3{from}")).await;
            all.extend(event_ids(&page["chunk"]));
            let Some(next) = page["next_batch"].as_str() else {
                break;
            };
            from = format!("&from={next}");
        }
        assert_eq!(all, expected);
        let page = threads(&bob, &room, "?include=participated").await;
        assert_eq!(event_ids(&page["chunk"]), expected[..2]);
        assert_eq!(
            page["chunk"][0]["unsigned"]["m.relations"]["m.thread"]["count"],
            2
        );
        let page = threads(&carol, &room, "?include=all&limit=100").await;
        assert_eq!(event_ids(&page["chunk"]), expected);
        // A redacted root is still one.
        redact(&alice, &room, &roots[2]).await;
        let page = threads(&bob, &room, "?limit=1").await;
        assert_eq!(page["chunk"][0]["event_id"], roots[2]);
        assert_eq!(page["chunk"][0]["content"], json!({}));
        for query in [
            "?limit=0",
            "?limit=-1",
            "?limit=x",
            "?include=some",
            "?from=x",
        ] {
            get(&bob, &format!("{path}{query}"))
                .await
                .fails_for(query, 400, "M_INVALID_PARAM");
        }
        bob.leave(&room).await.ok();
        let after = alice.say(&room, "after").await;
        relate(&alice, &room, ("m.thread", &after), "to after").await;
        let page = threads(&bob, &room, "?limit=100").await;
        assert_eq!(event_ids(&page["chunk"]), expected, "as of when they left");
    })
    .await;
}

/// `GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}`, `GET /_matrix/client/v1/rooms/{roomId}/threads`,
/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}`
#[tokio::test]
async fn what_ignored_users_send_counts_for_nothing() {
    on_servers(async |server| {
        let (alice, bob, room) = server.two_in_a_room().await;
        let parent = alice.say(&room, "root").await;
        let by_bob = bob.say(&room, "bob's root").await;
        let kept = relate(&alice, &room, ("m.thread", &parent), "kept").await;
        relate(&alice, &room, ("m.thread", &by_bob), "to bob").await;
        relate(&bob, &room, ("m.thread", &parent), "unheard").await;
        relate(&bob, &room, ("m.reference", &parent), "unseen").await;
        let list = json!({ "ignored_users": { bob.user_id.clone(): {} } });
        let path = format!(
            "user/{}/account_data/m.ignored_user_list",
            segment(&alice.user_id)
        );
        alice.put(&path, &list).await.ok();
        let told = bundle(&alice, &room, &parent).await;
        assert_eq!(told["m.thread"]["count"], 1, "{told}");
        assert_eq!(told["m.thread"]["latest_event"]["event_id"], kept);
        assert!(told.get("m.reference").is_none(), "{told}");
        assert_eq!(related(&alice, &room, &parent, "").await, [kept]);
        let page = threads(&alice, &room, "").await;
        assert_eq!(event_ids(&page["chunk"]), [parent.clone(), by_bob]);
        assert_eq!(page["chunk"][1]["content"], json!({}), "as if redacted");
        assert_eq!(bundle(&bob, &room, &parent).await["m.thread"]["count"], 2);
    })
    .await;
}

/// `GET /_matrix/client/v1/rooms/{roomId}/threads`
#[tokio::test]
async fn what_many_refer_to_does_not_take_the_others_their_aggregations() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let room = alice.create(json!({ "preset": "public_chat" })).await;
        let list = json!({ "ignored_users": { bob.user_id.clone(): {} } });
        let path = format!(
            "user/{}/account_data/m.ignored_user_list",
            segment(&alice.user_id)
        );
        alice.put(&path, &list).await.ok();
        let quiet = alice.say(&room, "quiet").await;
        let reply = relate(&alice, &room, ("m.thread", &quiet), "reply").await;
        let busy = alice.say(&room, "busy").await;
        relate(&alice, &room, ("m.thread", &busy), "reply, too").await;
        let mut sending = Vec::new();
        for number in 0..1_000 {
            let (alice, room, busy) = (alice.clone(), room.clone(), busy.clone());
            let body = format!("reference {number}");
            sending.push(tokio::spawn(async move {
                relate(&alice, &room, ("m.reference", &busy), &body).await
            }));
        }
        for sent in sending {
            sent.await.unwrap();
        }
        let page = threads(&alice, &room, "").await;
        assert_eq!(event_ids(&page["chunk"]), [busy, quiet]);
        let told = &page["chunk"][1]["unsigned"]["m.relations"];
        assert_eq!(told["m.thread"]["latest_event"]["event_id"], reply);
    })
    .await;
}
