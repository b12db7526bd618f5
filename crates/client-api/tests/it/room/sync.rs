//! What clients are told. <https://spec.matrix.org/v1.19/client-server-api/#syncing>

use serde_json::{Value, json};

use super::caller::{event_ids, on_servers, segment};

fn joined<'a>(answer: &'a Value, room: &str) -> &'a Value {
    &answer["rooms"]["join"][room]
}

/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn two_users_are_told_of_the_same_room_from_the_beginning_and_as_it_goes_on() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let (_, nothing) = bob.sync("").await;
        let room = alice
            .create(json!({ "name": "Room", "invite": [bob.user_id] }))
            .await;

        let (answer, invited) = bob.sync(&format!("since={nothing}")).await;
        let stripped = answer["rooms"]["invite"][&room]["invite_state"]["events"]
            .as_array()
            .unwrap();
        let told: Vec<&str> = stripped
            .iter()
            .map(|event| event["type"].as_str().unwrap())
            .collect();
        for kind in [
            "m.room.create",
            "m.room.name",
            "m.room.join_rules",
            "m.room.member",
        ] {
            assert!(told.contains(&kind), "{kind} in {told:?}");
        }
        assert!(joined(&answer, &room).is_null());

        bob.join(&room).await.ok();
        let (answer, joined_at) = bob.sync(&format!("since={invited}")).await;
        let whole = joined(&answer, &room);
        let state = whole["state"]["events"].as_array().unwrap().len();
        let timeline = whole["timeline"]["events"].as_array().unwrap().len();
        // create, two members (bob's invite before the join), levels, rules, visibility, guests, name
        assert!(state + timeline >= 9, "{answer}");
        assert!(answer["rooms"]["invite"].get(&room).is_none());

        let first = alice
            .send(&room, "m.room.message", "1", &json!({ "body": "one" }))
            .await
            .event_id();
        let second = bob
            .send(&room, "m.room.message", "2", &json!({ "body": "two" }))
            .await
            .event_id();
        let (answer, since) = bob.sync(&format!("since={joined_at}")).await;
        let timeline = &joined(&answer, &room)["timeline"];
        assert_eq!(event_ids(&timeline["events"]), [first, second]);
        assert_eq!(timeline["limited"], false);
        assert_eq!(timeline["events"][1]["unsigned"]["transaction_id"], "2");
        assert!(timeline["events"][0].get("room_id").is_none());

        let (answer, again) = bob.sync(&format!("since={since}")).await;
        assert!(joined(&answer, &room).is_null(), "{answer}");
        assert_eq!(again, since);

        let (answer, _) = alice.sync("").await;
        let summary = &joined(&answer, &room)["summary"];
        assert_eq!(summary["m.joined_member_count"], 2);
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn a_long_poll_ends_when_something_happens() {
    on_servers(async |server| {
        let (alice, bob, room) = server.two_in_a_room().await;
        let (_, since) = bob.sync("").await;
        let poll = format!("since={since}&timeout=300000");
        let content = json!({ "body": "wake up" });
        let (polled, sent) = tokio::join!(
            bob.sync(&poll),
            alice.send(&room, "m.room.message", "1", &content)
        );
        let events = &joined(&polled.0, &room)["timeline"]["events"];
        assert_eq!(event_ids(events), [sent.event_id()]);

        // What is none of the user's business doesn't end it; an invite does.
        let other = alice.create(json!({})).await;
        let poll = format!("since={}&timeout=300000", polled.1);
        let (polled, _) = tokio::join!(bob.sync(&poll), async {
            alice
                .send(&other, "m.room.message", "1", &content)
                .await
                .event_id();
            alice.act(&other, "invite", &bob).await.ok()
        });
        assert!(
            polled.0["rooms"]["invite"][&other].is_object(),
            "{}",
            polled.0
        );
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn a_long_poll_of_a_session_that_ends_is_refused() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let tablet = server.device("alice").await;
        let (_, since) = tablet.sync("").await;
        let poll = format!("sync?since={since}&timeout=300000");
        let (polled, _) = tokio::join!(tablet.get(&poll), async {
            alice.post("logout/all", &json!({})).await.ok()
        });
        polled.fails(401, "M_UNKNOWN_TOKEN");
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`: nothing between server and client may keep what is one user's and only now true.
#[tokio::test]
async fn an_answer_is_kept_by_nobody_on_the_way() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let (_, since) = alice.sync("").await;
        for query in ["sync".to_owned(), format!("sync?since={since}")] {
            let answer = alice.response(&query).await;
            assert_eq!(answer.headers()["cache-control"], "no-store", "{query}");
            assert_eq!(answer.headers()["content-type"], "application/json");
        }
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn a_long_poll_without_news_ends_with_its_time() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let room = alice.create(json!({})).await;
        let (_, since) = alice.sync("").await;
        let (answer, next) = alice.sync(&format!("since={since}&timeout=1")).await;
        assert!(joined(&answer, &room).is_null(), "{answer}");
        assert_eq!(next, since);
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`, `GET /_matrix/client/v3/rooms/{roomId}/messages`
#[tokio::test]
async fn a_gap_in_the_timeline_is_paged_through_without_loss() {
    on_servers(async |server| {
        let (alice, bob, room) = server.two_in_a_room().await;
        let (_, since) = bob.sync("").await;
        let mut sent = Vec::new();
        for number in 0..30 {
            let id = number.to_string();
            sent.push(
                alice
                    .send(&room, "m.room.message", &id, &json!({}))
                    .await
                    .event_id(),
            );
            if number == 3 {
                let name = format!("rooms/{}/state/m.room.name", segment(&room));
                sent.push(
                    alice
                        .put(&name, &json!({ "name": "in the gap" }))
                        .await
                        .event_id(),
                );
            }
        }
        let filter = segment(r#"{"room":{"timeline":{"limit":5}}}"#);
        let (answer, _) = bob.sync(&format!("since={since}&filter={filter}")).await;
        let told = joined(&answer, &room);
        assert_eq!(told["timeline"]["limited"], true);
        let last = event_ids(&told["timeline"]["events"]);
        assert_eq!(last, sent[sent.len() - 5..]);
        // State that changed within the gap is told.
        let state = told["state"]["events"].as_array().unwrap();
        assert!(
            state
                .iter()
                .any(|event| event["content"]["name"] == "in the gap"),
            "{state:?}"
        );
        let gap = told["timeline"]["prev_batch"].as_str().unwrap();
        let query = format!("dir=b&limit=7&to={since}");
        let mut missed = bob.page_all(&room, &query, Some(gap)).await;
        missed.reverse();
        assert_eq!([missed, last].concat(), sent);
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn full_state_is_the_whole_state_of_every_joined_room() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let room = alice.create(json!({ "name": "Room" })).await;
        let (_, since) = alice.sync("").await;
        let (answer, _) = alice
            .sync(&format!("since={since}&full_state=true&timeout=300000"))
            .await;
        let mut kinds: Vec<&str> = joined(&answer, &room)["state"]["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["type"].as_str().unwrap())
            .collect();
        kinds.sort_unstable();
        let expected = [
            "m.room.create",
            "m.room.guest_access",
            "m.room.history_visibility",
            "m.room.join_rules",
            "m.room.member",
            "m.room.name",
            "m.room.power_levels",
        ];
        assert_eq!(kinds, expected);
        let (answer, _) = alice
            .sync(&format!(
                "since={since}&full_state=true&use_state_after=true"
            ))
            .await;
        let told = joined(&answer, &room);
        assert_eq!(
            told["state_after"]["events"].as_array().unwrap().len(),
            expected.len()
        );
        assert!(told.get("state").is_none());
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn a_left_room_ends_with_the_leave() {
    on_servers(async |server| {
        let (alice, bob, room) = server.two_in_a_room().await;
        let (_, since) = bob.sync("").await;
        let before = alice
            .send(&room, "m.room.message", "1", &json!({}))
            .await
            .event_id();
        bob.leave(&room).await.ok();
        alice
            .send(&room, "m.room.message", "2", &json!({}))
            .await
            .event_id();
        let (answer, next) = bob.sync(&format!("since={since}")).await;
        let left = &answer["rooms"]["leave"][&room];
        let events = left["timeline"]["events"].as_array().unwrap();
        assert_eq!(events.len(), 2, "{answer}");
        assert_eq!(events[0]["event_id"], before);
        assert_eq!(events[1]["content"]["membership"], "leave");
        assert!(joined(&answer, &room).is_null());
        let (answer, _) = bob.sync(&format!("since={next}")).await;
        assert!(answer["rooms"]["leave"].get(&room).is_none());
        // An invite that is declined, and one that is taken back.
        for (number, by) in [(1, "bob"), (2, "alice")] {
            let name = format!("declined {number}");
            let room = alice
                .create(json!({ "name": name, "invite": [bob.user_id] }))
                .await;
            let (_, invited) = bob.sync("").await;
            match by {
                "bob" => bob.leave(&room).await.ok(),
                _ => alice.act(&room, "kick", &bob).await.ok(),
            };
            let (answer, _) = bob.sync(&format!("since={invited}")).await;
            assert!(
                answer["rooms"]["leave"][&room].is_object(),
                "{by}: {answer}"
            );
            assert!(answer["rooms"]["invite"].get(&room).is_none());
        }
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn account_data_is_told_when_it_changes() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let room = alice.create(json!({})).await;
        let (_, since) = alice.sync("").await;
        let user = segment(&alice.user_id);
        let global = json!({ "a": 1 });
        alice
            .put(
                &format!("user/{user}/account_data/org.example.all"),
                &global,
            )
            .await
            .ok();
        let path = format!(
            "user/{user}/rooms/{}/account_data/org.example.room",
            segment(&room)
        );
        let of_room = json!({ "b": 2 });
        alice.put(&path, &of_room).await.ok();
        let (answer, next) = alice.sync(&format!("since={since}")).await;
        let expected = json!([{ "type": "org.example.all", "content": global }]);
        assert_eq!(answer["account_data"]["events"], expected);
        let expected = json!([{ "type": "org.example.room", "content": of_room }]);
        assert_eq!(joined(&answer, &room)["account_data"]["events"], expected);
        let (answer, _) = alice.sync(&format!("since={next}")).await;
        assert!(joined(&answer, &room).is_null());
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`, `POST /_matrix/client/v3/user/{userId}/filter`
#[tokio::test]
async fn a_filter_is_named_by_number_or_written_out() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let room = alice.create(json!({})).await;
        let message = alice
            .send(&room, "m.room.message", "1", &json!({}))
            .await
            .event_id();
        let filter = json!({ "room": { "timeline": { "types": ["m.room.message"] } } });
        let path = format!("user/{}/filter", segment(&alice.user_id));
        let stored = alice.post(&path, &filter).await.ok();
        let number = stored["filter_id"].as_str().unwrap().to_owned();
        for text in [number, segment(&filter.to_string())] {
            let (answer, _) = alice.sync(&format!("filter={text}")).await;
            assert_eq!(
                event_ids(&joined(&answer, &room)["timeline"]["events"]),
                [message.as_str()]
            );
        }
        for query in [
            "filter=99",
            "filter=name",
            "filter=%7B",
            "filter=%7B%22room%22%3A1%7D",
            "since=none",
            "since=",
            "timeout=-1",
            "timeout=a",
            "full_state=maybe",
            "set_presence=busy",
        ] {
            alice
                .get(&format!("sync?{query}"))
                .await
                .fails_for(query, 400, "M_INVALID_PARAM");
        }
        alice.sync("set_presence=offline").await;
        server
            .anonymous()
            .get("sync")
            .await
            .fails(401, "M_MISSING_TOKEN");
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn tokens_of_another_time_begin_again() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let room = alice.create(json!({})).await;
        for token in ["s1_999999999", "s7_1"] {
            let (answer, _) = alice.sync(&format!("since={token}")).await;
            assert!(
                joined(&answer, &room)["timeline"]["events"].is_array(),
                "{token}: {answer}"
            );
            let path = format!("rooms/{}/messages?dir=b&from={token}", segment(&room));
            alice
                .get(&path)
                .await
                .fails_for(token, 400, "M_INVALID_PARAM");
            let path = format!("rooms/{}/members?at={token}", segment(&room));
            alice
                .get(&path)
                .await
                .fails_for(token, 400, "M_INVALID_PARAM");
        }
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn tokens_survive_a_restart() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let room = alice.create(json!({})).await;
        let (_, since) = alice.sync("").await;
        let sent = alice
            .send(&room, "m.room.message", "1", &json!({}))
            .await
            .event_id();
        let alice = server.restarted().await.again(&alice);
        let (answer, _) = alice.sync(&format!("since={since}")).await;
        let timeline = &joined(&answer, &room)["timeline"];
        assert_eq!(event_ids(&timeline["events"]), [sent.as_str()]);
        assert_eq!(timeline["events"][0]["unsigned"]["transaction_id"], "1");
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn who_saw_an_invite_learns_that_it_is_gone() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        for (by, action) in [(&alice, "kick"), (&bob, "leave")] {
            let room = alice.create(json!({ "invite": [bob.user_id] })).await;
            let (answer, since) = bob.sync("").await;
            assert!(answer["rooms"]["invite"][&room].is_object());
            if action == "leave" {
                by.leave(&room).await.ok();
            } else {
                by.act(&room, action, &bob).await.ok();
            }
            let (answer, since) = bob.sync(&format!("since={since}")).await;
            assert!(answer["rooms"]["invite"].get(&room).is_none(), "{action}");
            let events = &answer["rooms"]["leave"][&room]["timeline"]["events"];
            assert_eq!(events[0]["content"]["membership"], "leave", "{action}");
            assert_eq!(events.as_array().unwrap().len(), 1, "{action}");
            let (answer, _) = bob.sync(&format!("since={since}")).await;
            assert!(answer["rooms"]["leave"].get(&room).is_none(), "{action}");
        }
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn the_state_after_the_timeline_is_told_by_either_name() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let (_, since) = alice.sync("").await;
        let room = alice.create(json!({ "name": "Room" })).await;
        let members =
            |told: &Value| -> Vec<String> { told.as_object().unwrap().keys().cloned().collect() };
        let (answer, _) = alice
            .sync(&format!("since={since}&use_state_after=true"))
            .await;
        let told = members(joined(&answer, &room));
        assert!(told.contains(&"state_after".to_owned()) && !told.contains(&"state".to_owned()));
        let query = format!("since={since}&org.matrix.msc4222.use_state_after=true");
        let (answer, _) = alice.sync(&query).await;
        let told = joined(&answer, &room);
        assert!(told.get("state").is_none() && told.get("state_after").is_none());
        let state = told["org.matrix.msc4222.state_after"]["events"]
            .as_array()
            .unwrap();
        assert!(state.iter().any(|event| event["content"]["name"] == "Room"));
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`, `PUT /_matrix/client/v3/user/{userId}/account_data/{type}`
#[tokio::test]
async fn ignored_users_are_neither_heard_nor_do_they_invite() {
    on_servers(async |server| {
        let (alice, bob, room) = server.two_in_a_room().await;
        let list = format!(
            "user/{}/account_data/m.ignored_user_list",
            segment(&bob.user_id)
        );
        let content = json!({ "ignored_users": { &alice.user_id: {} } });
        bob.put(&list, &content).await.ok();
        let (_, since) = bob.sync("").await;
        let said = json!({ "body": "unheard" });
        let said = alice
            .send(&room, "m.room.message", "1", &said)
            .await
            .event_id();
        let other = alice.create(json!({ "invite": [bob.user_id] })).await;
        let (answer, since) = bob.sync(&format!("since={since}")).await;
        assert_eq!(answer["rooms"]["join"], json!({}));
        assert_eq!(answer["rooms"]["invite"], json!({}));
        let event = format!("rooms/{}/event/{}", segment(&room), segment(&said));
        bob.get(&event).await.fails(404, "M_NOT_FOUND");

        // A poll ends when somebody is no longer ignored, with what was missed.
        let poll = format!("since={since}&timeout=300000");
        let (polled, _) = tokio::join!(bob.sync(&poll), async {
            bob.put(&list, &json!({ "ignored_users": {} })).await.ok()
        });
        let events = &joined(&polled.0, &room)["timeline"]["events"];
        assert!(event_ids(events).contains(&said), "{}", polled.0);
        assert!(polled.0["rooms"]["invite"][&other].is_object());
        bob.get(&event).await.ok();
    })
    .await;
}
