//! What was said around an event, and events by their time.
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidcontexteventid>

use serde_json::{Value, json};

use super::caller::{Answer, Caller, event_ids, on_servers, segment};

async fn context(caller: &Caller, room: &str, event: &str, query: &str) -> Answer {
    let (room, event) = (segment(room), segment(event));
    caller
        .get(&format!("rooms/{room}/context/{event}{query}"))
        .await
}

/// The types and state keys of a list of state events.
fn keys(state: &Value) -> Vec<(String, String)> {
    let text = |event: &Value, key: &str| event[key].as_str().unwrap().to_owned();
    let events = state.as_array().unwrap().iter();
    let mut keys: Vec<_> = events
        .map(|event| (text(event, "type"), text(event, "state_key")))
        .collect();
    keys.sort();
    keys
}

/// `GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}`
#[tokio::test]
async fn an_event_comes_with_those_around_it() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let room = alice.create(json!({})).await;
        let mut sent = Vec::new();
        for number in 0..30 {
            sent.push(alice.say(&room, &number.to_string()).await);
        }
        for (query, before, after) in [
            ("", 5, 5),
            ("?limit=3", 1, 2),
            ("?limit=1", 0, 1),
            ("?limit=0", 0, 0),
            ("?limit=20", 10, 10),
        ] {
            let answer = context(&alice, &room, &sent[15], query).await.ok();
            assert_eq!(answer["event"]["event_id"], sent[15]);
            assert_eq!(answer["event"]["room_id"], room);
            let mut earlier = sent[15 - before..15].to_vec();
            earlier.reverse();
            assert_eq!(event_ids(&answer["events_before"]), earlier, "{query}");
            assert_eq!(
                event_ids(&answer["events_after"]),
                sent[16..16 + after],
                "{query}"
            );
            // From the ends, paging goes on without a hole.
            let (start, end) = (
                answer["start"].as_str().unwrap(),
                answer["end"].as_str().unwrap(),
            );
            let page = |dir: &str, from: &str| {
                format!(
                    "rooms/{}/messages?dir={dir}&from={from}&limit=1",
                    segment(&room)
                )
            };
            let page = |dir: &'static str, from: &str| {
                let path = page(dir, from);
                let alice = &alice;
                async move { event_ids(&alice.get(&path).await.ok()["chunk"]) }
            };
            assert_eq!(
                page("b", start).await,
                sent[14 - before..15 - before],
                "{query}"
            );
            assert_eq!(
                page("f", end).await,
                sent[16 + after..17 + after],
                "{query}"
            );
        }
        let last = context(&alice, &room, &sent[29], "?limit=2").await.ok();
        assert_eq!(event_ids(&last["events_after"]), [""; 0]);
        assert_eq!(event_ids(&last["events_before"]), sent[28..29]);
        // More than anybody gets.
        let most = context(&alice, &room, &sent[15], "?limit=100000")
            .await
            .ok();
        assert_eq!(event_ids(&most["events_after"]), sent[16..30]);
        for query in ["?limit=-1", "?limit=x", "?filter=x", "?filter=%5B%5D"] {
            context(&alice, &room, &sent[15], query)
                .await
                .fails_for(query, 400, "M_INVALID_PARAM");
        }
        let other = alice.create(json!({})).await;
        context(&alice, &other, &sent[15], "")
            .await
            .fails(404, "M_NOT_FOUND");
        context(&alice, &room, "$unknown", "")
            .await
            .fails(404, "M_NOT_FOUND");
        let stranger = server.user("eve").await;
        context(&stranger, &room, &sent[15], "")
            .await
            .fails(404, "M_NOT_FOUND");
        context(&stranger, "!unknown:localhost", &sent[15], "")
            .await
            .fails(404, "M_NOT_FOUND");
    })
    .await;
}

/// `GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}`
#[tokio::test]
async fn the_state_is_that_at_the_last_event_around() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let carol = server.user("carol").await;
        let room = alice.create(json!({ "preset": "public_chat" })).await;
        bob.join(&room).await.ok();
        carol.join(&room).await.ok();
        let name = async |name: &str| {
            let path = format!("rooms/{}/state/m.room.name", segment(&room));
            alice.put(&path, &json!({ "name": name })).await.event_id()
        };
        let first = name("first").await;
        let message = bob.say(&room, "here").await;
        let second = name("second").await;
        carol.say(&room, "later").await;
        let named = |answer: &Value| {
            let state = answer["state"].as_array().unwrap();
            let name = state.iter().find(|event| event["type"] == "m.room.name");
            name.map(|event| event["event_id"].as_str().unwrap().to_owned())
        };
        let alone = context(&alice, &room, &message, "?limit=0").await.ok();
        assert_eq!(named(&alone), Some(first));
        let around = context(&alice, &room, &message, "?limit=2").await.ok();
        assert_eq!(named(&around), Some(second));
        let members = |answer: &Value| -> Vec<String> {
            let members = keys(&answer["state"]).into_iter();
            members
                .filter(|(kind, _)| kind == "m.room.member")
                .map(|(_, key)| key)
                .collect()
        };
        let everybody = [&alice.user_id, &bob.user_id, &carol.user_id].map(Clone::clone);
        assert_eq!(members(&around), everybody);
        // With lazy loading, of the members only those who speak.
        let lazy = segment(r#"{"lazy_load_members":true}"#);
        let around = context(&alice, &room, &message, &format!("?limit=2&filter={lazy}"))
            .await
            .ok();
        assert_eq!(members(&around), everybody[..2]);
        assert!(keys(&around["state"]).len() > 5);
        let alone = context(&alice, &room, &message, &format!("?limit=0&filter={lazy}"))
            .await
            .ok();
        assert_eq!(members(&alone), everybody[1..2]);
        // The filter leaves the event itself alone.
        let filter = segment(r#"{"types":["m.room.name"]}"#);
        let filtered = context(
            &alice,
            &room,
            &message,
            &format!("?limit=2&filter={filter}"),
        )
        .await
        .ok();
        assert_eq!(filtered["event"]["event_id"], message);
        assert_eq!(
            keys(&filtered["state"]),
            [("m.room.name".to_owned(), String::new())]
        );
        let around = [&filtered["events_before"], &filtered["events_after"]]
            .map(|events| events[0]["type"].clone());
        assert_eq!(around, ["m.room.name", "m.room.name"]);
        let other = segment(r#"{"not_rooms":["!"]}"#).replace("%21", &segment(&room));
        let nothing = context(&alice, &room, &message, &format!("?filter={other}"))
            .await
            .ok();
        assert_eq!(nothing["event"]["event_id"], message);
        for list in ["events_before", "events_after", "state"] {
            assert_eq!(nothing[list], json!([]), "{list}");
        }
    })
    .await;
}

/// `GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}`
#[tokio::test]
async fn around_an_event_is_told_what_may_be_seen() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let joined_only = json!([{
            "type": "m.room.history_visibility", "state_key": "", "content": { "history_visibility": "joined" },
        }]);
        let room = alice.create(json!({ "preset": "public_chat", "initial_state": joined_only })).await;
        let before = alice.say(&room, "before").await;
        bob.join(&room).await.ok();
        let during = alice.say(&room, "during").await;
        bob.leave(&room).await.ok();
        let after = alice.say(&room, "after").await;
        let path = format!("rooms/{}/state/m.room.topic", segment(&room));
        alice.put(&path, &json!({ "topic": "none of bob's business" })).await.event_id();
        for event in [&before, &after] {
            context(&bob, &room, event, "").await.fails_for(event, 404, "M_NOT_FOUND");
        }
        let around = context(&bob, &room, &during, "").await.ok();
        let member = |list: &str| around[list][0]["content"]["membership"].clone();
        assert_eq!((member("events_before"), member("events_after")), (json!("join"), json!("leave")));
        assert!(!event_ids(&around["events_before"]).contains(&before));
        assert_eq!(around["events_after"].as_array().unwrap().len(), 1);
        assert!(!around["state"].to_string().contains("none of bob's business"));
        // Forgotten is forgotten.
        bob.post(&format!("rooms/{}/forget", segment(&room)), &json!({})).await.ok();
        context(&bob, &room, &during, "").await.fails(404, "M_NOT_FOUND");
    })
    .await;
}

async fn closest(caller: &Caller, room: &str, ts: i64, dir: &str) -> Answer {
    let path = format!(
        "/_matrix/client/v1/rooms/{}/timestamp_to_event?ts={ts}&dir={dir}",
        segment(room)
    );
    caller.send_raw("GET", &path, b"").await
}

/// `GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event`
#[tokio::test]
async fn an_event_is_found_by_its_time() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let room = alice.create(json!({ "preset": "public_chat" })).await;
        for number in 0..10 {
            alice.say(&room, &number.to_string()).await;
        }
        let path = format!("rooms/{}/messages?dir=f&limit=100", segment(&room));
        let all = alice.get(&path).await.ok()["chunk"].clone();
        let all: Vec<(i64, &str)> = all
            .as_array()
            .unwrap()
            .iter()
            .map(|event| {
                (
                    event["origin_server_ts"].as_i64().unwrap(),
                    event["event_id"].as_str().unwrap(),
                )
            })
            .map(|(ts, id)| (ts, &*id.to_owned().leak()))
            .collect();
        let found = async |ts: i64, dir: &str| {
            let answer = closest(&alice, &room, ts, dir).await.ok();
            (
                answer["origin_server_ts"].as_i64().unwrap(),
                answer["event_id"].as_str().unwrap().to_owned(),
            )
        };
        let mut times: Vec<i64> = all.iter().map(|(ts, _)| *ts).collect();
        times.dedup();
        for ts in times.iter().flat_map(|ts| [ts - 1, *ts, ts + 1]) {
            let later = all.iter().find(|(at, _)| *at >= ts);
            if let Some((at, id)) = later {
                assert_eq!(
                    found(ts, "f").await,
                    (*at, (*id).to_owned()),
                    "{ts} forwards"
                );
            }
            let earlier = all.iter().rev().find(|(at, _)| *at <= ts);
            if let Some((at, id)) = earlier {
                assert_eq!(
                    found(ts, "b").await,
                    (*at, (*id).to_owned()),
                    "{ts} backwards"
                );
            }
        }
        let (first, last) = (all.first().unwrap(), all.last().unwrap());
        assert_eq!(found(i64::MIN, "f").await.1, first.1);
        assert_eq!(found(i64::MAX, "b").await.1, last.1);
        closest(&alice, &room, first.0 - 1, "b")
            .await
            .fails(404, "M_NOT_FOUND");
        closest(&alice, &room, last.0 + 1, "f")
            .await
            .fails(404, "M_NOT_FOUND");
    })
    .await;
}

/// `GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event`
#[tokio::test]
async fn only_events_that_may_be_seen_are_found_by_their_time() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let room = alice.create(json!({ "preset": "public_chat" })).await;
        let path = format!(
            "/_matrix/client/v1/rooms/{}/timestamp_to_event",
            segment(&room)
        );
        for (query, errcode) in [
            ("", "M_MISSING_PARAM"),
            ("?ts=1", "M_MISSING_PARAM"),
            ("?dir=f", "M_MISSING_PARAM"),
            ("?ts=x&dir=f", "M_INVALID_PARAM"),
            ("?ts=1.5&dir=f", "M_INVALID_PARAM"),
            ("?ts=1&dir=x", "M_INVALID_PARAM"),
        ] {
            let answer = alice.send_raw("GET", &format!("{path}{query}"), b"").await;
            answer.fails_for(query, 400, errcode);
        }

        let bob = server.user("bob").await;
        closest(&bob, &room, 0, "f").await.fails(403, "M_FORBIDDEN");
        closest(&bob, "!unknown:localhost", 0, "f")
            .await
            .fails(403, "M_FORBIDDEN");
        bob.join(&room).await.ok();
        bob.leave(&room).await.ok();
        let answer = closest(&bob, &room, i64::MAX, "b").await.ok();
        let left = answer["event_id"].as_str().unwrap().to_owned();
        alice.say(&room, "after").await;
        let answer = closest(&bob, &room, i64::MAX, "b").await.ok();
        assert_eq!(
            answer["event_id"], left,
            "what came after they left is not theirs"
        );
        let event = alice
            .get(&format!(
                "rooms/{}/event/{}",
                segment(&room),
                segment(&left)
            ))
            .await
            .ok();
        assert_eq!(event["content"]["membership"], "leave");

        // Nor is what somebody says whom they ignore.
        bob.join(&room).await.ok();
        let answer = closest(&bob, &room, i64::MAX, "b").await.ok();
        let joined = answer["event_id"].clone();
        let list = json!({ "ignored_users": { alice.user_id.clone(): {} } });
        let path = format!(
            "user/{}/account_data/m.ignored_user_list",
            segment(&bob.user_id)
        );
        bob.put(&path, &list).await.ok();
        alice.say(&room, "unheard").await;
        let answer = closest(&bob, &room, i64::MAX, "b").await.ok();
        assert_eq!(answer["event_id"], joined);
    })
    .await;
}

/// `GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event`
#[tokio::test]
async fn what_is_hidden_is_passed_over_however_much_it_is() {
    on_servers(async |server| {
        let (alice, bob) = (server.user("alice").await, server.user("bob").await);
        let hidden = json!([{
            "type": "m.room.history_visibility", "content": { "history_visibility": "joined" },
        }]);
        let wanted = json!({ "preset": "public_chat", "initial_state": hidden });
        let room = alice.create(wanted).await;
        alice.say(&room, "first").await;
        let first = closest(&alice, &room, i64::MAX, "b").await.ok();
        let ts = first["origin_server_ts"].as_i64().unwrap() + 1;
        let mut sending = Vec::new();
        for number in 0..1_100 {
            let (alice, room) = (alice.clone(), room.clone());
            sending.push(tokio::spawn(async move {
                alice.say(&room, &number.to_string()).await;
            }));
        }
        for sent in sending {
            sent.await.unwrap();
        }
        bob.join(&room).await.ok();
        let answer = closest(&bob, &room, ts, "f").await.ok();
        let path = format!(
            "rooms/{}/event/{}",
            segment(&room),
            segment(answer["event_id"].as_str().unwrap())
        );
        assert_eq!(bob.get(&path).await.ok()["state_key"], bob.user_id);
    })
    .await;
}
