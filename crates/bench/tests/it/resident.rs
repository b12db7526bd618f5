//! The server that rooms are joined through: its events are such that others take them, and a server of ours does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Method, StatusCode};
use ruma_common::{OwnedEventId, ServerName, server_name};
use serde_json::{Value as Json, json};
use starling_bench::resident::Resident;
use starling_bench::resident::authority::Authority;
use starling_bench::resident::listener::Listening;
use starling_bench::resident::room::{FIRST_MS, Room, VERSION};
use starling_bench::servers::http::Connection;
use starling_db::Dialect;
use starling_events::Pdu;
use starling_events::request_auth::RequestAuth;
use starling_events::server_keys::KeyDocument;
use starling_events::sign::verify_event_signatures;
use starling_outbound::{Answer, OutboundError, Request, Transport};
use starling_rooms::Received;
use starling_stateres::{check, check_auth_events};
use starling_store::SCHEMA;
use starling_testkit::{TestDb, TestServer};

use crate::Cited;

const NAME: &str = "127.0.0.1:8448";
/// How a server of ours is called here.
fn here() -> &'static ServerName {
    server_name!("localhost")
}

/// Takes requests to it within the process.
#[derive(Debug)]
struct Direct(Arc<Resident>);

impl Transport for Direct {
    fn send<'a>(
        &'a self,
        _: &'a ServerName,
        request: Request,
    ) -> BoxFuture<'a, Result<Answer, OutboundError>> {
        let body = request.body.unwrap_or_default();
        let (status, body) = self.0.answer(request.method.as_str(), &request.uri, &body);
        Box::pin(async move { Ok(Answer { status, body }) })
    }
}

/// What it answers, as JSON.
fn ask(resident: &Resident, method: &str, uri: &str, body: &Json) -> Json {
    let (status, body) = resident.answer(method, uri, &Bytes::from(body.to_string()));
    assert_eq!(status, StatusCode::OK, "{uri}");
    serde_json::from_slice(&body).unwrap()
}

fn keys(resident: &Resident) -> KeyDocument {
    let (_, body) = resident.answer("GET", "/_matrix/key/v2/server", &Bytes::new());
    KeyDocument::parse(resident.name(), &body, FIRST_MS).unwrap()
}

/// The server, and a room with so many members.
fn with_room(members: usize) -> (Arc<Resident>, Arc<Room>) {
    let resident = Arc::new(Resident::new(NAME));
    let room = resident.add_room("room", members);
    (resident, room)
}

/// A server of ours that has joined the room, and the token of its user.
async fn joined(resident: &Arc<Resident>, room: &Room) -> (TestServer, TestDb, String) {
    let db = TestDb::open(Dialect::Sqlite, &SCHEMA).await;
    let transport = Arc::new(Direct(resident.clone()));
    let server = TestServer::start_on(&db, TestServer::config(), transport).await;
    let user = server.register("guest").await;
    let token = user["access_token"].as_str().unwrap().to_owned();
    let path = format!("/_matrix/client/v3/join/{}?via={NAME}", room.id);
    let answer = server.request(Method::POST, &path, Some(&token), Some(json!({})));
    assert_eq!(answer.await.status, StatusCode::OK);
    (server, db, token)
}

#[test]
fn each_event_is_signed_and_allowed_by_what_it_cites() {
    let (resident, room) = with_room(30);
    let keys = keys(&resident);
    let mut by_id: BTreeMap<OwnedEventId, Pdu> = BTreeMap::new();
    for event in room.history() {
        let event = Pdu::parse(VERSION, event.json()).unwrap();
        assert!(event.has_valid_content_hash());
        verify_event_signatures(&event, |_, key_id| keys.keys.get(key_id)).unwrap();
        let cited = event.auth_events().iter().map(|id| &by_id[id]).collect();
        let cited = Cited(cited);
        assert_eq!(check_auth_events(VERSION, &event, &cited.0), Ok(()));
        assert_eq!(check(VERSION, &event, &cited), Ok(()), "{event:?}");
        by_id.insert(event.event_id().to_owned(), event);
    }
    // Nothing of the state was replaced, and what allows it is all there.
    let keys: BTreeSet<(&str, Option<&str>)> = room
        .state()
        .map(|event| (event.kind(), event.state_key()))
        .collect();
    assert_eq!(room.state().count(), keys.len());
    let members = keys.iter().filter(|(kind, _)| *kind == "m.room.member");
    assert_eq!((members.count(), room.members()), (30, 30));
    let chain: BTreeSet<&str> = room
        .auth_chain()
        .map(|event| event.event_id().as_str())
        .collect();
    let cited = room
        .state()
        .chain(room.auth_chain())
        .flat_map(Pdu::auth_events);
    assert_eq!(cited.map(|id| id.as_str()).collect::<BTreeSet<_>>(), chain);
}

#[tokio::test]
async fn a_server_joins_and_gets_messages() {
    let (resident, room) = with_room(20);
    let (server, _db, token) = joined(&resident, &room).await;
    let path = format!("/_matrix/client/v3/rooms/{}/joined_members", room.id);
    let members = server.request(Method::GET, &path, Some(&token), None).await;
    assert_eq!(members.body["joined"].as_object().unwrap().len(), 21);
    let messages = resident.say(here(), &room, "number ", 0..60);
    for message in &messages {
        let received = server.state.rooms.receive(resident.name(), message.clone());
        assert_eq!(received.await.unwrap(), Received::Accepted);
    }
    let path = format!(
        "/_matrix/client/v3/rooms/{}/messages?dir=b&limit=60",
        room.id
    );
    let page = server.request(Method::GET, &path, Some(&token), None).await;
    let shown: Vec<&str> = page.body["chunk"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|event| event["event_id"].as_str().unwrap())
        .collect();
    let sent: Vec<&str> = messages
        .iter()
        .map(|event| event.event_id().as_str())
        .collect();
    assert_eq!(shown, sent);
    // It knows the room from one answer, and asked for nothing else.
    let asked = resident.asked();
    let asked: Vec<(&str, u64)> = asked.into_iter().collect();
    assert_eq!(asked, [("keys", 1), ("make_join", 1), ("send_join", 1)]);
}

#[tokio::test]
async fn what_was_not_sent_is_given_to_who_asks() {
    let (resident, room) = with_room(3);
    let (_server, _db, _) = joined(&resident, &room).await;
    let said = resident.say(here(), &room, "number ", 0..6);
    let ids: Vec<&OwnedEventId> = said
        .iter()
        .map(|event| event.prev_events().first().unwrap())
        .collect();
    let path = format!("/_matrix/federation/v1/get_missing_events/{}", room.id);
    let body =
        json!({ "earliest_events": [ids[2]], "latest_events": [said[5].event_id()], "limit": 10 });
    let events = ask(&resident, "POST", &path, &body);
    let events: Vec<Json> = events["events"].as_array().unwrap().clone();
    let wanted: Vec<Json> = said[2..5]
        .iter()
        .map(|event| serde_json::from_slice(event.json()).unwrap())
        .collect();
    assert_eq!(events, wanted);
    let last = room.last().event_id();
    let path = format!(
        "/_matrix/federation/v1/backfill/{}?v={last}&limit=7",
        room.id
    );
    let page = ask(&resident, "GET", &path, &Json::Null);
    let history = room.history().iter().rev().take(7);
    let wanted: Vec<Json> = history
        .map(|event| serde_json::from_slice(event.json()).unwrap())
        .collect();
    assert_eq!(page["pdus"].as_array(), Some(&wanted));
    let path = format!(
        "/_matrix/federation/v1/state_ids/{}?event_id={last}",
        room.id
    );
    let ids = ask(&resident, "GET", &path, &Json::Null);
    assert_eq!(
        ids["pdu_ids"].as_array().unwrap().len(),
        room.state().count()
    );
    let (status, _) = resident.answer("GET", "/_matrix/federation/v1/event/$none", &Bytes::new());
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn it_is_reached_with_tls_and_signs_what_it_sends() {
    let authority = Authority::new().unwrap();
    let listening = Listening::start(&authority).await.unwrap();
    let resident = &listening.resident;
    let address = resident.name().as_str().parse().unwrap();
    let mut connection = Connection::secure(address, authority.client().unwrap());
    let path = "/_matrix/key/v2/server";
    let answer = connection
        .authorized(&Method::GET, path, None, None)
        .await
        .unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    let document = KeyDocument::parse(resident.name(), &answer.body, FIRST_MS).unwrap();
    let request = resident.transaction(here(), "1", &[]);
    let auth = RequestAuth::parse(&request.authorization).unwrap();
    assert_eq!(auth.origin, resident.name());
    let content = ("PUT", request.path.as_str(), Some(&request.body[..]));
    assert!(auth.verifies(content, here(), &document.keys[&auth.key_id].key));
    // Another resident's answer to a transaction is that all is well.
    let sent = connection.authorized(
        &Method::PUT,
        &request.path,
        Some(&request.authorization),
        Some(request.body.clone()),
    );
    assert_eq!(sent.await.unwrap().body, "{\"pdus\":{}}");
}
