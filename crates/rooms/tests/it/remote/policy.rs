//! Rooms with a policy server.

use ruma_common::RoomId;
use serde_json::{Value, json};
use starling_events::sign::{sign_event, signatures};
use starling_events::{Pdu, RoomVersion, SigningKey};
use starling_rooms::{Received, RemoteError, SendError};
use starling_store::SCHEMA;
use starling_testkit::{TestDb, on_each_engine};

use super::graph::{Graph, OWNER, RESIDENT};
use super::missing::{joined_to, say};
use super::net::{Asked, Connected, refusal, server};

const POLICY: &str = "policy.example";
const BOT: &str = "@bot:policy.example";

fn policy_key() -> SigningKey {
    SigningKey::generate([9; 32], "policy_server").unwrap()
}

fn names_policy_server() -> Value {
    let key = policy_key().verifying_key().to_base64();
    json!({ "via": POLICY, "public_keys": { "ed25519": key } })
}

/// A policy server that signs everything but what says `spam`.
fn policy_server(version: RoomVersion) -> impl Fn(&Asked) -> Option<(u16, Value)> {
    move |asked| {
        if asked.uri != "/_matrix/policy/v1/sign" {
            return None;
        }
        if asked.body["content"]["body"] == "spam" {
            return Some(refusal(400, "M_FORBIDDEN"));
        }
        let event = Pdu::parse(version, &serde_json::to_vec(&asked.body).unwrap()).unwrap();
        let signed = sign_event(&event, &server(POLICY), &policy_key()).unwrap();
        let signature = signatures(signed.json()).find(|signature| signature.entity == POLICY);
        let signature = signature.unwrap();
        Some((
            200,
            json!({ POLICY: { signature.key_id: signature.signature } }),
        ))
    }
}

fn asked(at: &Connected) -> usize {
    at.net.asked().len()
}

fn is_signed(pdu: &Pdu) -> bool {
    signatures(pdu.json()).any(|signature| signature.entity == POLICY)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_is_signed_by_the_policy_server_first() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let (world, key) = (&at.world, ("m.room.policy", ""));
        let alice = world.user("alice").await;
        let room = world.room(&alice).await;
        at.net.add(POLICY, policy_server(RoomVersion::V12));
        world
            .set(&alice, &room, key, &names_policy_server())
            .await
            .unwrap();
        // Nobody of that server is in the room.
        world.say(&alice, &room, "spam").await.unwrap();
        world.join_remote(&room, BOT).await;
        assert_eq!(asked(&at), 0);

        let said = world.say(&alice, &room, "hello").await.unwrap();
        assert!(is_signed(&event(&at, &room, &said).await));
        let refused = world.say(&alice, &room, "spam").await.unwrap_err();
        let SendError::Remote(RemoteError::Refused { errcode, error, .. }) = refused else {
            panic!("{refused}");
        };
        assert_eq!(
            (&*errcode, &*error),
            ("M_FORBIDDEN", "the words of M_FORBIDDEN")
        );
        // State is asked for too, and a retry is the same event.
        let named = json!({ "name": "Guarded" });
        world
            .set(&alice, &room, ("m.room.name", ""), &named)
            .await
            .unwrap();
        assert_eq!(asked(&at), 3);
        let once = world.say_once(&alice, &room, "once", "t1").await.unwrap();
        let twice = world.say_once(&alice, &room, "once", "t1").await.unwrap();
        assert_eq!((once, asked(&at)), (twice, 4));

        // A signature by another key is none, and the room gets rid of the server without asking it.
        let mut other = names_policy_server();
        other["public_keys"]["ed25519"] = json!("A".repeat(43));
        world.set(&alice, &room, key, &other).await.unwrap();
        let refused = world.say(&alice, &room, "hello").await.unwrap_err();
        assert!(matches!(refused, SendError::Forbidden(_)), "{refused}");
        world.set(&alice, &room, key, &json!({})).await.unwrap();
        let before = asked(&at);
        world.say(&alice, &room, "spam").await.unwrap();
        assert_eq!(asked(&at), before);
    })
    .await;
}

async fn event(at: &Connected, room: &RoomId, event: &ruma_common::EventId) -> Pdu {
    let (store, id) = (at.world.store.clone(), event.to_owned());
    let read = move |tx: &mut starling_db::Tx<'_>| store.event_by_id(tx, &id);
    let found = at.world.store.db().read("event", read).await.unwrap();
    let found = found.unwrap();
    assert_eq!(found.pdu.room_id(), room);
    found.pdu.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_send_is_shown_to_nobody_unless_the_policy_server_signs_it() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let version = RoomVersion::V11;
        let mut graph = Graph::new(version);
        let joins = json!({ "membership": "join" });
        graph.add(BOT, ("m.room.member", Some(BOT)), &joins);
        graph.add(OWNER, ("m.room.policy", Some("")), &names_policy_server());
        at.net.add(POLICY, policy_server(version));
        let (_, mut graph) = joined_to(&at, graph).await;
        let resident = server(RESIDENT);
        let receive = async |pdu: Pdu| at.world.rooms.receive(&resident, pdu).await.unwrap();

        let spam = json!({ "body": "spam", "msgtype": "m.text" });
        let spam = graph.make(OWNER, ("m.room.message", None), &spam);
        let received = receive(spam).await;
        assert!(matches!(received, Received::SoftFailed(_)), "{received:?}");
        let before = asked(&at);
        let fine = say(&mut graph, 1);
        assert_eq!(receive(fine).await, Received::Accepted);
        assert_eq!(asked(&at), before + 1);
        let signed = say(&mut graph, 2);
        let signed = sign_event(&signed, &server(POLICY), &policy_key()).unwrap();
        assert_eq!(receive(signed).await, Received::Accepted);
        assert_eq!(asked(&at), before + 1);
    })
    .await;
}
