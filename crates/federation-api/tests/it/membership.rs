//! Users of other servers who come into rooms, go, and knock.
//! <https://spec.matrix.org/v1.19/server-server-api/#joining-rooms>

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};
use starling_events::{CanonicalObject, EventBuilder, EventReference, Pdu, RoomVersion};
use starling_testkit::TestAnswer;

use crate::support::{Here, Peer, ids, on_servers, segment, texts, value};

const BOB: &str = "@bob:peer.example";

/// What the peer makes of the template in an answer.
fn filled(peer: &Peer, answer: &TestAnswer) -> Pdu {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let version = RoomVersion::parse(answer.body["room_version"].as_str().unwrap()).unwrap();
    let event = &answer.body["event"];
    let text = |name: &str| event[name].as_str().unwrap().to_owned();
    let references = |name: &str| {
        let ids = texts(&event[name]).into_iter();
        let reference = |id: String| EventReference {
            event_id: id.try_into().unwrap(),
            hash: None,
        };
        ids.map(reference).collect()
    };
    let builder = EventBuilder {
        room_id: Some(text("room_id").try_into().unwrap()),
        sender: text("sender").try_into().unwrap(),
        kind: text("type"),
        state_key: Some(text("state_key")),
        content: CanonicalObject::from_serialize(&event["content"]).unwrap(),
        redacts: None,
        origin_server_ts: event["origin_server_ts"].as_i64().unwrap(),
        depth: event["depth"].as_i64().unwrap(),
        prev_events: references("prev_events"),
        auth_events: references("auth_events"),
    };
    builder.build(version, &peer.name, &peer.key).unwrap()
}

/// The answer to a peer that wants a template for Bob.
async fn make(server: &Here, peer: &Peer, handshake: &str, room: &str) -> TestAnswer {
    let (room, user) = (segment(room), segment(BOB));
    let path = format!("make_{handshake}/{room}/{user}?ver=11&ver=12");
    server.get(peer, &path).await
}

/// The answer to a peer that sends an event to this endpoint: its version and handshake.
async fn send(server: &Here, peer: &Peer, endpoint: &str, event: &Pdu) -> TestAnswer {
    let (room, id) = (
        segment(event.room_id().as_str()),
        segment(event.event_id().as_str()),
    );
    let (endpoint, query) = endpoint.split_once('?').unwrap_or((endpoint, ""));
    let path = format!("{endpoint}/{room}/{id}?{query}");
    server.put(peer, &path, &value(event)).await
}

/// What Bob is in the room, as Alice sees it.
async fn standing(server: &Here, alice: &str, room: &str) -> Value {
    let path = format!("rooms/{}/state/m.room.member/{BOB}", segment(room));
    let member = server.as_user(alice, (Method::GET, &path), Value::Null);
    member.await["membership"].clone()
}

/// Alice's room with Carol in it, into which one comes by this rule.
async fn room_with_two(server: &Here, (alice, carol): (&str, &str), rule: &str) -> String {
    let open = json!({ "preset": "public_chat" });
    let room = server.room(alice, open).await;
    let path = format!("rooms/{}/join", segment(&room));
    server
        .as_user(carol, (Method::POST, &path), json!({}))
        .await;
    let content = json!({ "join_rule": rule });
    server
        .set(alice, &room, ("m.room.join_rules", ""), content)
        .await;
    room
}

/// The users whose member events are in a list.
fn members(state: &Value) -> BTreeSet<&str> {
    let state = state.as_array().unwrap().iter();
    state
        .filter(|event| event["type"] == "m.room.member")
        .map(|event| event["state_key"].as_str().unwrap())
        .collect()
}

/// `GET /_matrix/federation/v1/make_join/{roomId}/{userId}`,
/// `PUT /_matrix/federation/v1/send_join/{roomId}/{eventId}`,
/// `PUT /_matrix/federation/v2/send_join/{roomId}/{eventId}`
#[tokio::test]
async fn who_joins_by_a_template_is_told_the_room() {
    on_servers(async |server| {
        let (alice, carol) = (server.user("alice").await, server.user("carol").await);
        let peer = server.peer("peer.example", 1);
        let both = BTreeSet::from(["@alice:localhost", "@carol:localhost"]);
        for (endpoint, omits, is_named) in [
            ("v1/send_join", None, false),
            ("v2/send_join", Some(false), false),
            ("v2/send_join?omit_members=true", Some(true), false),
            ("v2/send_join?omit_members=true", Some(true), true),
        ] {
            let room = room_with_two(&server, (&alice, &carol), "public").await;
            if is_named {
                let name = json!({ "name": "Owls" });
                server.set(&alice, &room, ("m.room.name", ""), name).await;
            }
            let join = filled(&peer, &make(&server, &peer, "join", &room).await);
            let answer = send(&server, &peer, endpoint, &join).await;
            assert_eq!(answer.status, 200, "{endpoint}: {}", answer.body);
            let told = if omits.is_none() {
                assert_eq!(answer.body[0], 200);
                &answer.body[1]
            } else {
                &answer.body
            };
            assert_eq!(told["origin"], "localhost", "{endpoint}");
            assert_eq!(told["event"], value(&join), "{endpoint}");
            assert_eq!(told["members_omitted"].as_bool(), omits, "{endpoint}");
            let lists = ["auth_chain", "state"].map(|list| ids(RoomVersion::V12, &told[list]));
            for id in texts(&value(&join)["auth_events"]) {
                assert!(lists.concat().contains(&id), "{endpoint}: {id}");
            }
            let shown = members(&told["state"]);
            if is_named {
                assert!(!shown.contains("@carol:localhost"), "{shown:?}");
            } else {
                // Without a name, the room is called by those who are in it.
                assert_eq!(shown, both, "{endpoint}");
            }
            if omits == Some(true) {
                assert_eq!(told["servers_in_room"], json!(["localhost"]));
            } else {
                assert_eq!(told.get("servers_in_room"), None);
            }
            assert_eq!(standing(&server, &alice, &room).await, "join");
        }
    })
    .await;
}

/// `GET /_matrix/federation/v1/make_join/{roomId}/{userId}`,
/// `PUT /_matrix/federation/v2/send_join/{roomId}/{eventId}`
#[tokio::test]
async fn nobody_joins_who_may_not() {
    on_servers(async |server| {
        let (alice, carol) = (server.user("alice").await, server.user("carol").await);
        let (peer, other) = (server.peer("peer.example", 1), server.peer("a.example", 2));
        let room = room_with_two(&server, (&alice, &carol), "public").await;
        let join = filled(&peer, &make(&server, &peer, "join", &room).await);
        for query in ["", "?ver=1&ver=11"] {
            let path = format!("make_join/{}/{}{query}", segment(&room), segment(BOB));
            let refused = server.get(&peer, &path).await;
            assert_eq!(refused.error(), (400, "M_INCOMPATIBLE_ROOM_VERSION"));
            assert_eq!(refused.body["room_version"], "12");
        }
        let refused = make(&server, &peer, "join", "!nowhere:localhost").await;
        assert_eq!(refused.error(), (404, "M_NOT_FOUND"));
        let refused = make(&server, &other, "join", &room).await;
        assert_eq!(refused.error(), (403, "M_FORBIDDEN"));
        let refused = send(&server, &other, "v2/send_join", &join).await;
        assert_eq!(refused.error(), (400, "M_INVALID_PARAM"));
        let path = format!("v2/send_join/{}/$other", segment(&room));
        let refused = server.put(&peer, &path, &value(&join)).await;
        assert_eq!(refused.error(), (400, "M_INVALID_PARAM"));
        let acl = json!({ "allow": ["*"], "deny": ["peer.example"] });
        server
            .set(&alice, &room, ("m.room.server_acl", ""), acl)
            .await;
        let refused = make(&server, &peer, "join", &room).await;
        assert_eq!(refused.error(), (403, "M_FORBIDDEN"));
        let refused = send(&server, &peer, "v2/send_join", &join).await;
        assert_eq!(refused.error(), (403, "M_FORBIDDEN"));
        let closed = room_with_two(&server, (&alice, &carol), "invite").await;
        let refused = make(&server, &peer, "join", &closed).await;
        assert_eq!(refused.error(), (403, "M_FORBIDDEN"));
    })
    .await;
}

/// `GET /_matrix/federation/v1/make_leave/{roomId}/{userId}`,
/// `PUT /_matrix/federation/v1/send_leave/{roomId}/{eventId}`,
/// `PUT /_matrix/federation/v2/send_leave/{roomId}/{eventId}`
#[tokio::test]
async fn who_is_in_a_room_leaves_it_by_a_template() {
    on_servers(async |server| {
        let (alice, carol) = (server.user("alice").await, server.user("carol").await);
        let peer = server.peer("peer.example", 1);
        for (endpoint, expected) in [
            ("v1/send_leave", json!([200, {}])),
            ("v2/send_leave", json!({})),
        ] {
            let room = room_with_two(&server, (&alice, &carol), "public").await;
            let refused = make(&server, &peer, "leave", &room).await;
            assert_eq!(refused.error(), (403, "M_FORBIDDEN"));
            server.member(&peer, &room, BOB, "join").await;
            let leave = filled(&peer, &make(&server, &peer, "leave", &room).await);
            let wrong = endpoint.replace("leave", "knock").replace("v2", "v1");
            let refused = send(&server, &peer, &wrong, &leave).await;
            assert_eq!(refused.error(), (400, "M_INVALID_PARAM"));
            let answer = send(&server, &peer, endpoint, &leave).await;
            assert_eq!((answer.status.as_u16(), answer.body), (200, expected));
            assert_eq!(standing(&server, &alice, &room).await, "leave");
        }
    })
    .await;
}

/// `GET /_matrix/federation/v1/make_knock/{roomId}/{userId}`,
/// `PUT /_matrix/federation/v1/send_knock/{roomId}/{eventId}`
#[tokio::test]
async fn who_knocks_is_shown_what_the_room_is() {
    on_servers(async |server| {
        let (alice, carol) = (server.user("alice").await, server.user("carol").await);
        let peer = server.peer("peer.example", 1);
        let room = room_with_two(&server, (&alice, &carol), "knock").await;
        let path = format!("make_knock/{}/{}?ver=11", segment(&room), segment(BOB));
        let refused = server.get(&peer, &path).await;
        assert_eq!(refused.error(), (400, "M_INCOMPATIBLE_ROOM_VERSION"));
        let knock = filled(&peer, &make(&server, &peer, "knock", &room).await);
        let answer = send(&server, &peer, "v1/send_knock", &knock).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let shown = answer.body["knock_room_state"].as_array().unwrap();
        let kinds: BTreeSet<&str> = shown
            .iter()
            .map(|event| event["type"].as_str().unwrap())
            .collect();
        assert!(kinds.contains("m.room.create"), "{kinds:?}");
        assert!(kinds.contains("m.room.join_rules"), "{kinds:?}");
        assert_eq!(standing(&server, &alice, &room).await, "knock");
        let open = room_with_two(&server, (&alice, &carol), "public").await;
        let refused = make(&server, &peer, "knock", &open).await;
        assert_eq!(refused.error(), (403, "M_FORBIDDEN"));
    })
    .await;
}
