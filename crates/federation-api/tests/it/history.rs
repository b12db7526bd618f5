//! What was before, and what is missing between.
//! <https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events>

use serde_json::{Value, json};
use starling_events::RoomVersion;

use crate::support::{Here, Peer, ids, on_servers, segment};

const V: RoomVersion = RoomVersion::V12;
const BOB: &str = "@bob:peer.example";

/// A peer, Alice's token, and a room of hers with this history visibility.
async fn room(server: &Here, visibility: &str) -> (Peer, String, String) {
    let alice = server.user("alice").await;
    let peer = server.peer("peer.example", 1);
    let content = json!({ "history_visibility": visibility });
    let state = json!([{ "type": "m.room.history_visibility", "content": content }]);
    let wanted = json!({ "preset": "public_chat", "initial_state": state });
    let room = server.room(&alice, wanted).await;
    (peer, alice, room)
}

async fn backfill(server: &Here, peer: &Peer, room: &str, from: &[&str], limit: usize) -> Value {
    let from: Vec<String> = from
        .iter()
        .map(|event| format!("v={}&", segment(event)))
        .collect();
    let path = format!("backfill/{}?{}limit={limit}", segment(room), from.concat());
    let answer = server.get(peer, &path).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body["pdus"].clone()
}

/// The texts of events; of what is hidden, nothing.
fn bodies(pdus: &Value) -> Vec<&str> {
    let pdus = pdus.as_array().unwrap().iter();
    pdus.filter(|pdu| pdu["type"] == "m.room.message")
        .map(|pdu| pdu["content"]["body"].as_str().unwrap_or(""))
        .collect()
}

/// `GET /_matrix/federation/v1/backfill/{roomId}`
#[tokio::test]
async fn history_is_told_backwards_from_the_events_that_are_named() {
    on_servers(async |server| {
        let (peer, alice, room) = room(&server, "shared").await;
        let mut events = Vec::new();
        for number in 0..5 {
            events.push(server.say(&alice, &room, &number.to_string()).await);
        }
        let join = server.member(&peer, &room, BOB, "join").await;
        let told = backfill(&server, &peer, &room, &[&join], 4).await;
        assert_eq!(ids(V, &told), [&*join, &events[4], &events[3], &events[2]]);
        let told = backfill(&server, &peer, &room, &[&events[1], &events[1]], 2).await;
        assert_eq!(bodies(&told), ["1", "0"]);
        let all = backfill(&server, &peer, &room, &[&join], 1_000_000).await;
        let last = all.as_array().unwrap().last().unwrap();
        assert_eq!(last["type"], "m.room.create");
        assert_eq!(
            backfill(&server, &peer, &room, &["$nothing"], 10).await,
            json!([])
        );
        for number in 0..110 {
            server.say(&alice, &room, &format!("more {number}")).await;
        }
        let last = server.say(&alice, &room, "last").await;
        let told = backfill(&server, &peer, &room, &[&last], 1_000_000).await;
        assert_eq!(told.as_array().unwrap().len(), 100);
        let path = format!("backfill/{}", segment(&room));
        for (query, expected) in [
            ("", (400, "M_MISSING_PARAM")),
            ("?limit=1", (400, "M_MISSING_PARAM")),
            ("?v=$a&limit=-1", (400, "M_INVALID_PARAM")),
        ] {
            let answer = server.get(&peer, &format!("{path}{query}")).await;
            assert_eq!(answer.error(), expected, "{query}");
        }
    })
    .await;
}

/// `POST /_matrix/federation/v1/get_missing_events/{roomId}`
#[tokio::test]
async fn what_is_missing_between_events_is_told_oldest_first() {
    on_servers(async |server| {
        let (peer, alice, room) = room(&server, "shared").await;
        let join = server.member(&peer, &room, BOB, "join").await;
        let mut events = Vec::new();
        for number in 0..30 {
            events.push(server.say(&alice, &room, &number.to_string()).await);
        }
        let path = format!("get_missing_events/{}", segment(&room));
        let missing = async |body: Value| {
            let answer = server.post(&peer, &path, &body).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            ids(V, &answer.body["events"])
        };
        let between = |earliest: &str, latest: &str, limit: u64| {
            json!({ "earliest_events": [earliest], "latest_events": [latest], "limit": limit })
        };
        assert_eq!(missing(between(&join, &events[3], 10)).await, events[..3]);
        assert_eq!(missing(between(&join, &events[29], 5)).await, events[24..29]);
        assert_eq!(missing(between(&join, &events[29], 1000)).await, events[9..29]);
        assert!(missing(between(&events[3], &events[3], 10)).await.is_empty());
        assert!(missing(between(&join, "$nothing", 10)).await.is_empty());
        // Without a limit, ten.
        let body = json!({ "earliest_events": [], "latest_events": [events[29]] });
        assert_eq!(missing(body).await, events[19..29]);
        let told = backfill(&server, &peer, &room, &[&events[5]], 1).await;
        let mut deep = between(&join, &events[29], 20);
        deep["min_depth"] = json!(told[0]["depth"].as_i64().unwrap() + 20);
        assert_eq!(missing(deep).await, events[25..29]);
        let many: Vec<String> = (0..501).map(|number| format!("${number}")).collect();
        for body in [
            json!({ "earliest_events": many, "latest_events": [] }),
            json!({ "earliest_events": [], "latest_events": ["x".repeat(300)] }),
        ] {
            let answer = server.post(&peer, &path, &body).await;
            assert_eq!(answer.error(), (400, "M_INVALID_PARAM"));
        }
        let answer = server.post(&peer, &path, &json!({ "latest_events": [] })).await;
        assert_eq!(answer.error(), (400, "M_BAD_JSON"));
    })
    .await;
}

/// `GET /_matrix/federation/v1/backfill/{roomId}`, `GET /_matrix/federation/v1/event/{eventId}`
#[tokio::test]
async fn a_server_sees_as_much_as_its_users_and_of_the_rest_that_it_was() {
    for (visibility, before, invited) in [
        ("world_readable", "before", "invited"),
        ("shared", "before", "invited"),
        ("invited", "", "invited"),
        ("joined", "", ""),
    ] {
        on_servers(async |server| {
            let (peer, alice, room) = room(&server, visibility).await;
            let first = server.say(&alice, &room, "before").await;
            let invite = json!({ "membership": "invite" });
            let from = (room.as_str(), "@alice:localhost");
            let key = ("m.room.member", Some(BOB));
            server.receive(&peer, from, key, &invite).await;
            server.say(&alice, &room, "invited").await;
            server.member(&peer, &room, BOB, "join").await;
            server.say(&alice, &room, "joined").await;
            server.member(&peer, &room, BOB, "leave").await;
            server.say(&alice, &room, "away").await;
            let join = server.member(&peer, &room, BOB, "join").await;
            let last = server.say(&alice, &room, "again").await;
            let told = backfill(&server, &peer, &room, &[&last], 100).await;
            let away = if before.is_empty() { "" } else { "away" };
            assert_eq!(bodies(&told), ["again", away, "joined", invited, before]);
            // A hidden event keeps its place in the graph.
            assert!(ids(V, &told).contains(&first));
            let member = told.as_array().unwrap().iter();
            let mut own = member.filter(|pdu| pdu["state_key"] == BOB);
            assert!(own.all(|pdu| pdu["content"]["membership"].is_string()));
            let path = format!("event/{}", segment(&first));
            let told = server.get(&peer, &path).await.body;
            assert_eq!(bodies(&told["pdus"]), [before]);
            let told = server
                .get(&peer, &format!("event/{}", segment(&join)))
                .await;
            assert_eq!(ids(V, &told.body["pdus"]), [join]);
        })
        .await;
    }
}

/// `GET /_matrix/federation/v1/backfill/{roomId}`
#[tokio::test]
async fn what_an_erased_user_said_is_told_to_servers_only_that_were_there() {
    on_servers(async |server| {
        let (peer, alice, room) = room(&server, "shared").await;
        let carol = server.user("carol").await;
        let path = format!("rooms/{}/join", segment(&room));
        server
            .as_user(&carol, (http::Method::POST, &path), json!({}))
            .await;
        server.say(&carol, &room, "before").await;
        server.member(&peer, &room, BOB, "join").await;
        server.say(&carol, &room, "after").await;
        let accounts = &server.server.state.accounts;
        let carol = accounts.find("carol").await.unwrap().unwrap();
        assert!(accounts.deactivate(carol.user, true).await.unwrap());
        let last = server.say(&alice, &room, "last").await;
        let told = backfill(&server, &peer, &room, &[&last], 100).await;
        assert_eq!(bodies(&told), ["last", "after", ""]);
    })
    .await;
}

/// `GET /_matrix/federation/v1/timestamp_to_event/{roomId}`
#[tokio::test]
async fn the_event_closest_to_a_time_is_found() {
    on_servers(async |server| {
        let (peer, alice, room) = room(&server, "shared").await;
        server.member(&peer, &room, BOB, "join").await;
        let last = server.say(&alice, &room, "last").await;
        let path = format!("timestamp_to_event/{}", segment(&room));
        let future_ms = server.now_ms() + 1_000_000;
        let found = server
            .get(&peer, &format!("{path}?ts={future_ms}&dir=b"))
            .await;
        assert_eq!(found.body["event_id"], last);
        assert!(found.body["origin_server_ts"].is_i64());
        let found = server.get(&peer, &format!("{path}?ts=0&dir=f")).await;
        assert_eq!(found.status, 200);
        assert_ne!(found.body["event_id"], last);
        for (query, expected) in [
            (format!("?ts={future_ms}&dir=f"), (404, "M_NOT_FOUND")),
            ("?ts=0&dir=b".to_owned(), (404, "M_NOT_FOUND")),
            ("?ts=0&dir=x".to_owned(), (400, "M_INVALID_PARAM")),
            ("?dir=f".to_owned(), (400, "M_MISSING_PARAM")),
        ] {
            let answer = server.get(&peer, &format!("{path}{query}")).await;
            assert_eq!(answer.error(), expected, "{query}");
        }
    })
    .await;
}
