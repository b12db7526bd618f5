//! Rooms and users of other servers, which the test plays.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{Method, StatusCode};
use ruma_common::{ServerName, room_id};
use serde_json::{Value, json};
use starling_events::server_keys::own_key_document;
use starling_events::{CanonicalObject, EventBuilder, Pdu, RoomVersion, SigningKey};
use starling_outbound::{Answer, OutboundError, Request, Transport};
use starling_rooms::ReceivedInvite;
use starling_store::SCHEMA;
use starling_testkit::{TestAnswer, TestDb, TestServer, on_each_engine};

use super::caller::segment;

const PEER: &str = "peer.example";
const ROOM: &str = "!room:peer.example";
const ALICE: &str = "@alice:localhost";

type Respond = fn(&str) -> (u16, Value);

/// The one other server: what it says to a path.
#[derive(Debug)]
struct Peer(Respond);

fn key() -> SigningKey {
    SigningKey::generate([3; 32], "k").unwrap()
}

fn peer() -> &'static ServerName {
    PEER.try_into().unwrap()
}

impl Transport for Peer {
    fn send<'a>(
        &'a self,
        destination: &'a ServerName,
        request: Request,
    ) -> BoxFuture<'a, Result<Answer, OutboundError>> {
        Box::pin(async move {
            if destination != PEER {
                return Err(OutboundError::Connection(
                    "there is no such server".to_owned(),
                ));
            }
            let (status, body) = if request.uri == "/_matrix/key/v2/server" {
                let document = own_key_document(peer(), &key(), &[], 4_102_444_800_000).unwrap();
                (200, serde_json::from_slice(document.as_bytes()).unwrap())
            } else {
                let path = request.uri.strip_prefix("/_matrix/federation/").unwrap();
                (self.0)(path)
            };
            Ok(Answer {
                status: StatusCode::from_u16(status).unwrap(),
                body: body.to_string().into(),
            })
        })
    }
}

/// A server with one user, whose token this is.
async fn start(db: &TestDb, respond: Respond) -> (TestServer, String) {
    let server = TestServer::start_on(db, TestServer::config(), Arc::new(Peer(respond))).await;
    let alice = server.register("alice").await;
    let token = alice["access_token"].as_str().unwrap().to_owned();
    (server, token)
}

async fn get(server: &TestServer, token: &str, path: &str) -> TestAnswer {
    let path = format!("/_matrix/client/v3/{path}");
    server.request(Method::GET, &path, Some(token), None).await
}

async fn post(server: &TestServer, token: &str, path: &str, body: Value) -> TestAnswer {
    let path = format!("/_matrix/client/v3/{path}");
    server
        .request(Method::POST, &path, Some(token), Some(body))
        .await
}

/// An event of the room, signed by its server.
fn event(kind: (&str, &str), content: &Value) -> Pdu {
    let builder = EventBuilder {
        room_id: Some(room_id!("!room:peer.example").to_owned()),
        sender: "@owner:peer.example".try_into().unwrap(),
        kind: kind.0.to_owned(),
        state_key: Some(kind.1.to_owned()),
        content: CanonicalObject::from_serialize(content).unwrap(),
        redacts: None,
        origin_server_ts: 1_700_000_000_000,
        depth: 5,
        prev_events: Vec::new(),
        auth_events: Vec::new(),
    };
    builder.build(RoomVersion::V10, peer(), &key()).unwrap()
}

fn raw(event: &Pdu) -> Box<serde_json::value::RawValue> {
    serde_json::from_slice(event.json()).unwrap()
}

/// The peer invites Alice.
async fn invite(server: &TestServer) {
    let invite = event(("m.room.member", ALICE), &json!({ "membership": "invite" }));
    let create = event(("m.room.create", ""), &json!({ "room_version": "10" }));
    let name = event(("m.room.name", ""), &json!({ "name": "Far away" }));
    let place = (room_id!("!room:peer.example"), invite.event_id());
    let received = ReceivedInvite {
        version: "10".to_owned(),
        event: raw(&invite),
        state: vec![raw(&create), raw(&name)],
    };
    let rooms = &server.state.rooms;
    rooms.receive_invite(peer(), place, received).await.unwrap();
}

/// `POST /_matrix/client/v3/rooms/{roomId}/leave`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invite_to_a_room_elsewhere_is_told_and_declined() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        // The peer has forgotten all.
        let (server, alice) = start(&db, |_| (404, json!({ "errcode": "M_NOT_FOUND" }))).await;
        let first = get(&server, &alice, "sync").await.body;
        invite(&server).await;
        let since = format!("sync?since={}", first["next_batch"].as_str().unwrap());
        for path in [since.as_str(), "sync"] {
            let told = get(&server, &alice, path).await.body;
            let events = told["rooms"]["invite"][ROOM]["invite_state"]["events"].clone();
            let kinds: Vec<&str> = events
                .as_array()
                .unwrap_or_else(|| panic!("{told}"))
                .iter()
                .map(|event| event["type"].as_str().unwrap())
                .collect();
            assert_eq!(kinds, ["m.room.create", "m.room.name", "m.room.member"]);
            assert_eq!(events[1]["content"], json!({ "name": "Far away" }));
            assert_eq!(events[2]["sender"], "@owner:peer.example");
            assert_eq!(events[2]["state_key"], ALICE);
        }
        let before = get(&server, &alice, "sync").await.body;
        let leave = format!("rooms/{}/leave", segment(ROOM));
        assert_eq!(post(&server, &alice, &leave, json!({})).await.status, 200);
        let since = format!("sync?since={}", before["next_batch"].as_str().unwrap());
        let told = get(&server, &alice, &since).await.body;
        let left = &told["rooms"]["leave"][ROOM]["timeline"]["events"];
        assert_eq!(left[0]["content"]["membership"], "leave", "{told}");
        let whole = get(&server, &alice, "sync").await.body;
        assert_eq!(whole["rooms"]["invite"], json!({}), "{whole}");
        let again = post(&server, &alice, &leave, json!({})).await;
        assert_eq!(again.error(), (403, "M_FORBIDDEN"));
    })
    .await;
}

/// `POST /_matrix/client/v3/join/{roomIdOrAlias}`, `POST /_matrix/client/v3/knock/{roomIdOrAlias}`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_server_refuses_is_told_as_far_as_it_is_the_clients() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        // The room's id says what the peer answers.
        let (server, alice) = start(&db, |path| {
            let refusal = |status: u16, errcode: &str| {
                let body = json!({ "errcode": errcode, "error": "no", "room_version": "99" });
                (status, body)
            };
            match path {
                path if path.contains("forbidden") => refusal(403, "M_FORBIDDEN"),
                path if path.contains("incompatible") => {
                    refusal(400, "M_INCOMPATIBLE_ROOM_VERSION")
                }
                path if path.contains("unable") => refusal(400, "M_UNABLE_TO_AUTHORISE_JOIN"),
                path if path.contains("token") => refusal(401, "M_UNKNOWN_TOKEN"),
                path if path.contains("param") => refusal(400, "M_INVALID_PARAM"),
                _ => refusal(404, "M_NOT_FOUND"),
            }
        })
        .await;
        let cases = [
            ("forbidden", (403, "M_FORBIDDEN")),
            ("incompatible", (400, "M_INCOMPATIBLE_ROOM_VERSION")),
            ("unable", (400, "M_UNABLE_TO_AUTHORISE_JOIN")),
            ("token", (502, "M_UNKNOWN")),
            ("param", (502, "M_UNKNOWN")),
            ("nothing", (404, "M_NOT_FOUND")),
        ];
        for (name, expected) in cases {
            for verb in ["join", "knock"] {
                let room = segment(&format!("!{name}:peer.example"));
                let path = format!("{verb}/{room}?via={PEER}&via=no%20name");
                let answer = post(&server, &alice, &path, json!({})).await;
                assert_eq!(answer.error(), expected, "{verb} {name}");
                if name == "incompatible" {
                    assert_eq!(answer.body["room_version"], "99");
                }
            }
        }
        // Nobody is there to ask.
        let path = format!(
            "join/{}?server_name=gone.example",
            segment("!a:gone.example")
        );
        let answer = post(&server, &alice, &path, json!({})).await;
        assert_eq!(answer.error(), (502, "M_UNKNOWN"));
        let path = format!("join/{}", segment("!a:localhost"));
        let answer = post(&server, &alice, &path, json!({})).await;
        assert_eq!(answer.error(), (404, "M_NOT_FOUND"));
    })
    .await;
}

/// `GET /_matrix/client/v3/directory/room/{roomAlias}`, `GET /_matrix/client/v3/profile/{userId}`,
/// `GET /_matrix/client/v3/profile/{userId}/{keyName}`, `GET /_matrix/client/v3/publicRooms`,
/// `POST /_matrix/client/v3/publicRooms`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aliases_profiles_and_lists_of_other_servers_are_asked_for() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let (server, alice) = start(&db, |path| match path.split('?').next().unwrap() {
            "v1/query/directory" if path.contains("%23room") => (
                200,
                json!({ "room_id": "!forbidden:peer.example", "servers": [PEER] }),
            ),
            "v1/query/profile" if path.contains("owner") => (
                200,
                json!({ "displayname": "Owner", "avatar_url": null, "x.y": { "z": 1 } }),
            ),
            "v1/publicRooms" => (
                200,
                json!({ "chunk": [{ "room_id": "!a:b" }], "next_batch": "n" }),
            ),
            path if path.contains("forbidden") => (403, json!({ "errcode": "M_FORBIDDEN" })),
            _ => (404, json!({ "errcode": "M_NOT_FOUND" })),
        })
        .await;
        let alias = segment("#room:peer.example");
        let answer = get(&server, &alice, &format!("directory/room/{alias}")).await;
        assert_eq!(
            answer.body,
            json!({ "room_id": "!forbidden:peer.example", "servers": [PEER] })
        );
        // It is joined through the servers that the alias leads to.
        let answer = post(&server, &alice, &format!("join/{alias}"), json!({})).await;
        assert_eq!(answer.error(), (403, "M_FORBIDDEN"));
        let unknown = segment("#nothing:peer.example");
        let answer = get(&server, &alice, &format!("directory/room/{unknown}")).await;
        assert_eq!(answer.error(), (404, "M_NOT_FOUND"));

        let owner = segment("@owner:peer.example");
        let answer = get(&server, &alice, &format!("profile/{owner}")).await;
        assert_eq!(
            answer.body,
            json!({ "displayname": "Owner", "x.y": { "z": 1 } })
        );
        let answer = get(&server, &alice, &format!("profile/{owner}/displayname")).await;
        assert_eq!(answer.body, json!({ "displayname": "Owner" }));
        let answer = get(&server, &alice, &format!("profile/{owner}/avatar_url")).await;
        assert_eq!(answer.error(), (404, "M_NOT_FOUND"));
        let nobody = segment("@nobody:peer.example");
        let answer = get(&server, &alice, &format!("profile/{nobody}")).await;
        assert_eq!(answer.error(), (404, "M_NOT_FOUND"));

        let expected = json!({ "chunk": [{ "room_id": "!a:b" }], "next_batch": "n" });
        let path = format!("publicRooms?server={PEER}");
        assert_eq!(get(&server, &alice, &path).await.body, expected);
        let body = json!({ "limit": 5, "filter": { "generic_search_term": "a" } });
        assert_eq!(post(&server, &alice, &path, body).await.body, expected);
        for why in [
            "gone.example: no connection could be made",
            "gone.example: it could not be reached a moment ago",
        ] {
            let answer = get(&server, &alice, "publicRooms?server=gone.example").await;
            assert_eq!(answer.error(), (502, "M_UNKNOWN"));
            let told = answer.body["error"].as_str().unwrap();
            assert!(told.starts_with(why), "{told}");
        }
    })
    .await;
}

/// `POST /_matrix/client/v3/rooms/{roomId}/invite`, `POST /_matrix/client/v3/createRoom`,
/// `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_of_another_server_is_invited_to_a_room_that_is_closed_to_them() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        // The peer isn't asked at all.
        let (server, alice) = start(&db, |_| (500, json!({}))).await;
        let closed = json!({ "creation_content": { "m.federate": false } });
        let room = post(&server, &alice, "createRoom", closed.clone())
            .await
            .body;
        let room = segment(room["room_id"].as_str().unwrap());
        let owner = json!({ "user_id": "@owner:peer.example" });
        let refused = post(&server, &alice, &format!("rooms/{room}/invite"), owner).await;
        assert_eq!(refused.error(), (403, "M_FORBIDDEN"));
        let why = refused.body["error"].as_str().unwrap().to_owned();
        assert!(why.contains("closed to users of other servers"), "{why}");
        let path = format!(
            "/_matrix/client/v3/rooms/{room}/state/m.room.member/{}",
            segment("@owner:peer.example")
        );
        let invite = json!({ "membership": "invite" });
        let refused = server
            .request(Method::PUT, &path, Some(&alice), Some(invite))
            .await;
        assert_eq!(refused.error(), (403, "M_FORBIDDEN"));
        let mut wanted = closed;
        wanted["invite"] = json!(["@owner:peer.example"]);
        let refused = post(&server, &alice, "createRoom", wanted).await;
        assert_eq!(refused.error(), (403, "M_FORBIDDEN"));
        let joined = get(&server, &alice, "joined_rooms").await.body;
        assert_eq!(joined["joined_rooms"].as_array().unwrap().len(), 1);
        // Those of this server are.
        let bob = server.register("bob").await;
        let bob = json!({ "user_id": bob["user_id"] });
        let invited = post(&server, &alice, &format!("rooms/{room}/invite"), bob).await;
        assert_eq!(invited.status, 200);
    })
    .await;
}
