//! Single events, states and what led to them.
//! <https://spec.matrix.org/v1.19/server-server-api/#retrieving-events>

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};
use starling_events::RoomVersion;
use starling_store::room_servers::rooms_shared_count;

use crate::support::{Here, Peer, ids, on_servers, segment, texts};

const V: RoomVersion = RoomVersion::V12;

/// A peer, and a room of Alice's that its Bob has joined: her token, the room, and the join.
async fn shared(server: &Here) -> (Peer, String, String, String) {
    let alice = server.user("alice").await;
    let peer = server.peer("peer.example", 1);
    let room = server
        .room(&alice, json!({ "preset": "public_chat" }))
        .await;
    let join = server
        .member(&peer, &room, "@bob:peer.example", "join")
        .await;
    (peer, alice, room, join)
}

async fn get(server: &Here, peer: &Peer, path: &str) -> Value {
    let answer = server.get(peer, path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.body
}

#[tokio::test]
async fn rooms_that_users_of_two_servers_are_in_are_counted() {
    on_servers(async |server| {
        let count = || {
            let store = server.server.state.store.clone();
            async move { store.db().read("test", rooms_shared_count).await.unwrap() }
        };
        let alice = server.user("ann").await;
        server.room(&alice, json!({})).await;
        assert_eq!(count().await, 0);
        let (peer, _, room, _) = shared(&server).await;
        assert_eq!(count().await, 1);
        server
            .member(&peer, &room, "@bob:peer.example", "leave")
            .await;
        assert_eq!(count().await, 0);
    })
    .await;
}

/// `GET /_matrix/federation/v1/event/{eventId}`
#[tokio::test]
async fn an_event_is_told_as_it_was_signed() {
    on_servers(async |server| {
        let (peer, alice, room, _) = shared(&server).await;
        let event = server.say(&alice, &room, "hello").await;
        let told = get(&server, &peer, &format!("event/{}", segment(&event))).await;
        assert_eq!(told["origin"], "localhost");
        assert!(told["origin_server_ts"].is_i64());
        assert_eq!(ids(V, &told["pdus"]), [&*event]);
        assert_eq!(told["pdus"][0]["content"]["body"], "hello");
        assert!(told["pdus"][0]["signatures"]["localhost"].is_object());
        assert_eq!(told["pdus"][0].get("unsigned"), None);
        let path = format!("rooms/{}/redact/{}/1", segment(&room), segment(&event));
        server
            .as_user(&alice, (Method::PUT, &path), json!({}))
            .await;
        let told = get(&server, &peer, &format!("event/{}", segment(&event))).await;
        assert_eq!(ids(V, &told["pdus"]), [event]);
        assert_eq!(told["pdus"][0]["content"], json!({}));
        let answer = server.get(&peer, "event/$nothing").await;
        assert_eq!(answer.error(), (404, "M_NOT_FOUND"));
    })
    .await;
}

/// `GET /_matrix/federation/v1/state/{roomId}`, `GET /_matrix/federation/v1/state_ids/{roomId}`
#[tokio::test]
async fn the_state_before_an_event_is_told_with_all_that_it_rests_on() {
    on_servers(async |server| {
        let (peer, alice, room, join) = shared(&server).await;
        let topic = ("m.room.topic", "");
        let first = server
            .set(&alice, &room, topic, json!({ "topic": "one" }))
            .await;
        let second = server
            .set(&alice, &room, topic, json!({ "topic": "two" }))
            .await;
        let third = server.say(&alice, &room, "three").await;
        let at = |event: &str| {
            let (room, event) = (segment(&room), segment(event));
            (
                format!("state_ids/{room}?event_id={event}"),
                format!("state/{room}?event_id={event}"),
            )
        };
        for (event, there, missing) in [
            (&join, vec![], vec![&join, &first]),
            (&first, vec![&join], vec![&first, &second]),
            (&second, vec![&join, &first], vec![&second]),
            (&third, vec![&join, &second], vec![&first, &third]),
        ] {
            let (ids_path, path) = at(event);
            let told = get(&server, &peer, &ids_path).await;
            let state: BTreeSet<String> = texts(&told["pdu_ids"]).into_iter().collect();
            let chain: BTreeSet<String> = texts(&told["auth_chain_ids"]).into_iter().collect();
            assert!(there.iter().all(|event| state.contains(*event)));
            assert!(!missing.iter().any(|event| state.contains(*event)));
            let whole = get(&server, &peer, &path).await;
            let pdus: BTreeSet<String> = ids(V, &whole["pdus"]).into_iter().collect();
            assert_eq!(pdus, state);
            let auth: BTreeSet<String> = ids(V, &whole["auth_chain"]).into_iter().collect();
            assert_eq!(auth, chain);
            // Whatever an event of these names, is there too.
            let all = [&whole["pdus"], &whole["auth_chain"]];
            let all = all.into_iter().flat_map(|list| list.as_array().unwrap());
            for named in all.flat_map(|event| texts(&event["auth_events"])) {
                assert!(chain.contains(&named), "{named}");
            }
        }
        let answer = server.get(&peer, &at("$nothing").0).await;
        assert_eq!(answer.error(), (404, "M_NOT_FOUND"));
        let answer = server
            .get(&peer, &format!("state/{}", segment(&room)))
            .await;
        assert_eq!(answer.error(), (400, "M_MISSING_PARAM"));
    })
    .await;
}

/// `GET /_matrix/federation/v1/state/{roomId}`
#[tokio::test]
async fn a_large_state_is_told_whole() {
    on_servers(async |server| {
        let (peer, alice, room, _) = shared(&server).await;
        for number in 0..600 {
            let key = ("x", &*number.to_string());
            server.set(&alice, &room, key, json!({})).await;
        }
        let last = server.say(&alice, &room, "last").await;
        let path = format!("state/{}?event_id={}", segment(&room), segment(&last));
        let told = get(&server, &peer, &path).await;
        let state: BTreeSet<String> = ids(V, &told["pdus"]).into_iter().collect();
        assert!(state.len() > 600);
        assert_eq!(state.len(), told["pdus"].as_array().unwrap().len());
    })
    .await;
}

/// `GET /_matrix/federation/v1/event_auth/{roomId}/{eventId}`
#[tokio::test]
async fn the_auth_chain_of_an_event_is_told() {
    on_servers(async |server| {
        let (peer, alice, room, join) = shared(&server).await;
        let event = server.say(&alice, &room, "hello").await;
        let path = format!("event_auth/{}/{}", segment(&room), segment(&event));
        let told = get(&server, &peer, &path).await;
        let chain = told["auth_chain"].as_array().unwrap();
        let kinds: BTreeSet<&str> = chain
            .iter()
            .map(|pdu| pdu["type"].as_str().unwrap())
            .collect();
        assert!(kinds.is_superset(&BTreeSet::from(["m.room.member", "m.room.power_levels"])));
        let chain = ids(V, &told["auth_chain"]);
        assert!(!chain.contains(&join) && !chain.contains(&event));
        let other = server
            .room(&alice, json!({ "preset": "public_chat" }))
            .await;
        server
            .member(&peer, &other, "@bob:peer.example", "join")
            .await;
        let path = format!("event_auth/{}/{}", segment(&other), segment(&event));
        let answer = server.get(&peer, &path).await;
        assert_eq!(answer.error(), (404, "M_NOT_FOUND"));
    })
    .await;
}

/// Every path of a room, with an event of it.
fn paths(room: &str, event: &str) -> Vec<String> {
    let (room, event) = (segment(room), segment(event));
    vec![
        format!("event/{event}"),
        format!("state/{room}?event_id={event}"),
        format!("state_ids/{room}?event_id={event}"),
        format!("event_auth/{room}/{event}"),
        format!("backfill/{room}?v={event}&limit=10"),
        format!("timestamp_to_event/{room}?ts=0&dir=f"),
    ]
}

async fn assert_refused(server: &Here, peer: &Peer, room: &str, event: &str) {
    for path in paths(room, event) {
        let answer = server.get(peer, &path).await;
        assert_eq!(answer.error(), (403, "M_FORBIDDEN"), "{path}");
    }
    let body = json!({ "earliest_events": [], "latest_events": [event] });
    let path = format!("get_missing_events/{}", segment(room));
    let answer = server.post(peer, &path, &body).await;
    assert_eq!(answer.error(), (403, "M_FORBIDDEN"));
}

#[tokio::test]
async fn a_server_that_is_not_in_the_room_is_told_nothing_of_it() {
    on_servers(async |server| {
        let (peer, alice, room, _) = shared(&server).await;
        let event = server.say(&alice, &room, "hello").await;
        let stranger = server.peer("a.example", 2);
        assert_refused(&server, &stranger, &room, &event).await;
        for path in paths(&room, &event) {
            get(&server, &peer, &path).await;
        }
        server
            .member(&peer, &room, "@bob:peer.example", "leave")
            .await;
        assert_refused(&server, &peer, &room, &event).await;
        let elsewhere = format!("state/!a:b?event_id={}", segment(&event));
        let answer = server.get(&peer, &elsewhere).await;
        assert_eq!(answer.error(), (403, "M_FORBIDDEN"));
    })
    .await;
}

#[tokio::test]
async fn a_server_that_was_put_out_may_look_at_what_led_to_that() {
    on_servers(async |server| {
        let (peer, alice, room, _) = shared(&server).await;
        let event = server.say(&alice, &room, "hello").await;
        let kick = json!({ "user_id": "@bob:peer.example" });
        let path = format!("/_matrix/client/v3/rooms/{}/kick", segment(&room));
        let token = Some(alice.as_str());
        let kicked = server
            .server
            .request(Method::POST, &path, token, Some(kick))
            .await;
        assert_eq!(kicked.status, 200);
        let path = format!("/_matrix/client/v3/rooms/{}/state", segment(&room));
        let state = server.server.request(Method::GET, &path, token, None).await;
        let kick = state.body.as_array().unwrap().iter().find(|event| {
            event["state_key"] == "@bob:peer.example" && event["type"] == "m.room.member"
        });
        let kick = kick.unwrap()["event_id"].as_str().unwrap();
        let (room, kick) = (segment(&room), segment(kick));
        get(&server, &peer, &format!("state/{room}?event_id={kick}")).await;
        get(&server, &peer, &format!("state_ids/{room}?event_id={kick}")).await;
        get(&server, &peer, &format!("event_auth/{room}/{kick}")).await;
        let body = json!({ "earliest_events": [], "latest_events": [kick.replace("%24", "$")] });
        let path = format!("get_missing_events/{room}");
        let answer = server.post(&peer, &path, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        // Of other events it is told no more than anybody else.
        let path = format!("state/{room}?event_id={}", segment(&event));
        assert_eq!(server.get(&peer, &path).await.error(), (403, "M_FORBIDDEN"));
    })
    .await;
}

#[tokio::test]
async fn a_server_that_the_room_excludes_is_told_nothing_of_it() {
    on_servers(async |server| {
        let (peer, alice, room, _) = shared(&server).await;
        let event = server.say(&alice, &room, "hello").await;
        let acl = ("m.room.server_acl", "");
        let denies = json!({ "allow": ["*"], "deny": ["PEER.*"] });
        server.set(&alice, &room, acl, denies).await;
        assert_refused(&server, &peer, &room, &event).await;
        let rooms = &server.server.state.rooms;
        let room_id: ruma_common::OwnedRoomId = room.as_str().try_into().unwrap();
        assert!(!rooms.is_server_allowed(&room_id, &peer.name).await.unwrap());
        let own = rooms.server_name();
        assert!(rooms.is_server_allowed(&room_id, own).await.unwrap());
        server
            .set(&alice, &room, acl, json!({ "allow": ["*"] }))
            .await;
        assert!(rooms.is_server_allowed(&room_id, &peer.name).await.unwrap());
        for path in paths(&room, &event) {
            get(&server, &peer, &path).await;
        }
    })
    .await;
}
