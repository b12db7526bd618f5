//! Invites of this server's users, and those made out to third-party ids.
//! <https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room>

use http::Method;
use ruma_common::OwnedRoomId;
use serde_json::{Value, json};
use starling_events::sign::sign_json;
use starling_events::{
    CanonicalObject, EventBuilder, EventReference, Pdu, RoomVersion, SigningKey,
};
use starling_testkit::TestAnswer;

use crate::support::{Here, Peer, on_servers, segment, value};

const BOB: &str = "@bob:peer.example";
const ALICE: &str = "@alice:localhost";
const CAROL: &str = "@carol:localhost";

/// A room of a peer's Bob.
struct Room {
    version: RoomVersion,
    create: Pdu,
}

impl Room {
    fn new(peer: &Peer, version: RoomVersion) -> Self {
        let content = json!({ "creator": BOB, "room_version": version.as_str() });
        let room_id =
            (version < RoomVersion::V12).then(|| "!room:peer.example".try_into().unwrap());
        let create = build(
            peer,
            version,
            room_id,
            ("m.room.create", ""),
            (&content, &[]),
        );
        Self { version, create }
    }

    /// Bob makes a user this.
    fn member(&self, peer: &Peer, user: &str, membership: &str) -> Pdu {
        let room_id = Some(self.create.room_id().to_owned());
        let content = json!({ "membership": membership });
        let kind = ("m.room.member", user);
        build(
            peer,
            self.version,
            room_id,
            kind,
            (&content, &[&self.create]),
        )
    }

    /// The answer to a peer that sends an event to the second version of the endpoint.
    async fn invite(&self, server: &Here, peer: &Peer, event: &Pdu) -> TestAnswer {
        let body = json!({
            "room_version": self.version.as_str(),
            "event": value(event),
            "invite_room_state": [value(&self.create)],
        });
        server.put(peer, &path("v2", event), &body).await
    }
}

fn build(
    peer: &Peer,
    version: RoomVersion,
    room_id: Option<OwnedRoomId>,
    (kind, key): (&str, &str),
    (content, prev): (&Value, &[&Pdu]),
) -> Pdu {
    let builder = EventBuilder {
        room_id,
        sender: BOB.try_into().unwrap(),
        kind: kind.to_owned(),
        state_key: Some(key.to_owned()),
        content: CanonicalObject::from_serialize(content).unwrap(),
        redacts: None,
        origin_server_ts: 1_700_000_000_000,
        depth: 1,
        prev_events: prev.iter().map(|pdu| EventReference::of(pdu)).collect(),
        auth_events: Vec::new(),
    };
    builder.build(version, &peer.name, &peer.key).unwrap()
}

fn path(version: &str, event: &Pdu) -> String {
    let (room, id) = (event.room_id().as_str(), event.event_id().as_str());
    format!("{version}/invite/{}/{}", segment(room), segment(id))
}

/// The rooms that a user is invited to.
async fn invites(server: &Here, token: &str) -> Vec<String> {
    let told = server
        .as_user(token, (Method::GET, "sync"), Value::Null)
        .await;
    let rooms = told["rooms"]["invite"].as_object();
    rooms
        .into_iter()
        .flat_map(|rooms| rooms.keys().cloned())
        .collect()
}

/// An answer is this event, signed by both servers.
fn assert_signed(answered: &Value, event: &Pdu) {
    let mut expected = value(event);
    expected["signatures"]["localhost"] = answered["signatures"]["localhost"].clone();
    assert_eq!(*answered, expected);
    assert!(answered["signatures"]["localhost"].is_object());
    assert!(answered["signatures"]["peer.example"].is_object());
}

/// `PUT /_matrix/federation/v2/invite/{roomId}/{eventId}`
#[tokio::test]
async fn an_invite_comes_back_signed_and_is_shown_to_the_user() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let peer = server.peer("peer.example", 1);
        for version in [RoomVersion::V10, RoomVersion::V12] {
            let room = Room::new(&peer, version);
            let invite = room.member(&peer, ALICE, "invite");
            let answer = room.invite(&server, &peer, &invite).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            assert_signed(&answer.body["event"], &invite);
            let invites = invites(&server, &alice).await;
            assert!(invites.contains(&room.create.room_id().to_string()));
        }
    })
    .await;
}

/// `PUT /_matrix/federation/v1/invite/{roomId}/{eventId}`
#[tokio::test]
async fn the_first_version_of_the_endpoint_takes_invites_to_old_rooms() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let peer = server.peer("peer.example", 1);
        let room = Room::new(&peer, RoomVersion::V1);
        let send = async |user: &str| {
            let invite = room.member(&peer, user, "invite");
            let mut body = value(&invite);
            body["unsigned"] = json!({ "invite_room_state": [value(&room.create)] });
            let answer = server.put(&peer, &path("v1", &invite), &body).await;
            (answer, invite)
        };
        let (refused, _) = send("@nobody:localhost").await;
        assert_eq!(refused.error(), (404, "M_NOT_FOUND"));
        let (answer, invite) = send(ALICE).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.body[0], 200);
        let mut event = answer.body[1]["event"].clone();
        event.as_object_mut().unwrap().remove("unsigned");
        assert_signed(&event, &invite);
        assert_eq!(invites(&server, &alice).await, ["!room:peer.example"]);
    })
    .await;
}

/// `PUT /_matrix/federation/v2/invite/{roomId}/{eventId}`
#[tokio::test]
async fn what_is_no_invite_of_a_user_here_is_refused() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let (peer, other) = (server.peer("peer.example", 1), server.peer("a.example", 2));
        let room = Room::new(&peer, RoomVersion::V10);
        let invite = room.member(&peer, ALICE, "invite");
        for (event, from, expected) in [
            (
                room.member(&peer, "@nobody:localhost", "invite"),
                &peer,
                (404, "M_NOT_FOUND"),
            ),
            (
                room.member(&peer, "@eve:a.example", "invite"),
                &peer,
                (400, "M_INVALID_PARAM"),
            ),
            (
                room.member(&peer, ALICE, "ban"),
                &peer,
                (400, "M_INVALID_PARAM"),
            ),
            (invite.clone(), &other, (400, "M_INVALID_PARAM")),
        ] {
            let refused = room.invite(&server, from, &event).await;
            assert_eq!(refused.error(), expected, "{}", refused.body);
        }
        let body = json!({ "room_version": "99", "event": value(&invite) });
        let refused = server.put(&peer, &path("v2", &invite), &body).await;
        assert_eq!(refused.error(), (400, "M_INCOMPATIBLE_ROOM_VERSION"));
        assert_eq!(invites(&server, &alice).await, Vec::<String>::new());
    })
    .await;
}

/// What an identity server with this key says: the invite `token` is the user's.
fn proof(key: &SigningKey, user: &str) -> Value {
    let object = json!({ "mxid": user, "token": "token" });
    let mut object = CanonicalObject::from_serialize(&object).unwrap();
    sign_json(&mut object, "identity.example", key);
    serde_json::from_slice(object.as_bytes()).unwrap()
}

fn identity(seed: u8) -> SigningKey {
    SigningKey::generate([seed; 32], "0").unwrap()
}

/// Alice's room with an invite that the identity server 1 may sign over.
async fn pending(server: &Here, alice: &str) -> String {
    let room = server
        .room(alice, json!({ "preset": "private_chat" }))
        .await;
    let key = identity(1).verifying_key().to_base64();
    let content = json!({ "display_name": "c", "public_keys": [{ "public_key": key }] });
    let kind = ("m.room.third_party_invite", "token");
    server.set(alice, &room, kind, content).await;
    room
}

/// `PUT /_matrix/federation/v1/exchange_third_party_invite/{roomId}`
#[tokio::test]
async fn a_third_party_invite_becomes_one_of_who_proves_to_be_meant() {
    on_servers(async |server| {
        let (alice, carol) = (server.user("alice").await, server.user("carol").await);
        let peer = server.peer("peer.example", 1);
        let room = pending(&server, &alice).await;
        let exchange = async |room: &str, content: &Value| {
            let path = format!("v1/exchange_third_party_invite/{}", segment(room));
            let event = json!({
                "type": "m.room.member", "room_id": room, "sender": ALICE, "state_key": CAROL,
                "content": content,
            });
            server.put(&peer, &path, &event).await
        };
        let content = |signed: Value| {
            let invite = json!({ "display_name": "c", "signed": signed });
            json!({ "membership": "invite", "third_party_invite": invite })
        };
        let good = content(proof(&identity(1), CAROL));
        let forged = content(proof(&identity(2), CAROL));
        let of_other = content(proof(&identity(1), BOB));
        let plain = json!({ "membership": "invite" });
        for (room, content, expected) in [
            ("!nowhere:localhost", &good, (404, "M_NOT_FOUND")),
            (&*room, &forged, (403, "M_FORBIDDEN")),
            (&*room, &of_other, (403, "M_FORBIDDEN")),
            (&*room, &plain, (400, "M_INVALID_PARAM")),
        ] {
            let refused = exchange(room, content).await;
            assert_eq!(refused.error(), expected, "{}", refused.body);
        }
        assert_eq!(invites(&server, &carol).await, Vec::<String>::new());
        let answer = exchange(&room, &good).await;
        assert_eq!((answer.status.as_u16(), answer.body), (200, json!({})));
        assert_eq!(invites(&server, &carol).await, [room]);
    })
    .await;
}

/// `PUT /_matrix/federation/v1/3pid/onbind`
#[tokio::test]
async fn who_is_found_to_own_an_id_is_invited_by_who_made_the_invite() {
    on_servers(async |server| {
        let (alice, carol) = (server.user("alice").await, server.user("carol").await);
        let room = pending(&server, &alice).await;
        let bind = async |user: &str, signed: Value| {
            let invite = json!({
                "medium": "email", "address": "c@example.org", "mxid": user,
                "room_id": room, "sender": ALICE, "signed": signed,
            });
            let body = json!({
                "medium": "email", "address": "c@example.org", "mxid": user, "invites": [invite],
            });
            let request = (Method::PUT, "/_matrix/federation/v1/3pid/onbind");
            server
                .ask(request, None, body.to_string().into_bytes())
                .await
        };
        let refused = bind("carol", proof(&identity(1), CAROL)).await;
        assert_eq!(refused.error(), (400, "M_INVALID_PARAM"));
        for (user, signed) in [
            (CAROL, proof(&identity(2), CAROL)),
            (CAROL, proof(&identity(1), ALICE)),
            (BOB, proof(&identity(1), BOB)),
        ] {
            let answer = bind(user, signed).await;
            assert_eq!((answer.status.as_u16(), answer.body), (200, json!({})));
        }
        assert_eq!(invites(&server, &carol).await, Vec::<String>::new());
        let answer = bind(CAROL, proof(&identity(1), CAROL)).await;
        assert_eq!((answer.status.as_u16(), answer.body), (200, json!({})));
        assert_eq!(invites(&server, &carol).await, [&*room]);
    })
    .await;
}
