//! Requests to other servers: their paths, the older forms that are tried, and what is read of answers.

use ruma_common::{EventId, OwnedEventId, user_id};
use serde_json::{Value, json};
use starling_events::RoomVersion;
use starling_rooms::RemoteError;
use starling_rooms::remote::{Handshake, Missing};
use starling_store::SCHEMA;
use starling_testkit::{TestDb, on_each_engine};

use super::graph::{Graph, OWNER, RESIDENT, content, value};
use super::net::{Asked, Connected, refusal, server};

const JOINS: (&str, Option<&str>) = ("m.room.member", Some("@us:localhost"));

/// Says the same to each request.
fn always(body: Value) -> impl Fn(&Asked) -> Option<(u16, Value)> + Send + Sync + 'static {
    move |_| Some((200, body.clone()))
}

/// The path of an endpoint.
fn path(of: &str) -> String {
    format!("/_matrix/federation/v1/{of}")
}

/// The room's id in a path.
const ESCAPED: &str = "%21room10%3Aresident.example";

/// An event's id in a path.
fn escaped(event: &EventId) -> String {
    event.as_str().replacen('$', "%24", 1)
}

#[tokio::test]
async fn templates_missing_events_and_ids_of_state_are_asked_for() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let Connected { net, remote, .. } = Connected::start(&db).await;
        let (peer, graph) = (server(RESIDENT), Graph::new(RoomVersion::V10));
        let (room, event) = (&graph.room_id, graph.events[0].event_id());
        let (id, pdu) = (event.to_owned(), value(&graph.events[0]));
        let uri = || net.asked().last().unwrap().uri.clone();

        net.add(
            RESIDENT,
            always(json!({ "event": { "a": 1 }, "room_version": "10" })),
        );
        let user = user_id!("@us:localhost");
        let template = remote
            .make(Handshake::Join, &peer, (room, user))
            .await
            .unwrap();
        assert_eq!(template.room_version.as_deref(), Some("10"));
        assert_eq!(template.event.get(), r#"{"a":1}"#);
        let versions: Vec<String> = RoomVersion::ALL
            .iter()
            .map(|v| format!("ver={v}"))
            .collect();
        let of_user = format!("{ESCAPED}/%40us%3Alocalhost");
        assert_eq!(
            uri(),
            path(&format!("make_join/{of_user}?{}", versions.join("&")))
        );
        remote
            .make(Handshake::Leave, &peer, (room, user))
            .await
            .unwrap();
        assert_eq!(uri(), path(&format!("make_leave/{of_user}")));

        net.add(RESIDENT, always(json!({ "events": [pdu, pdu, pdu] })));
        let missing = Missing {
            earliest: &[],
            latest: std::slice::from_ref(&id),
            limit: 2,
            min_depth: 3,
        };
        assert_eq!(
            remote
                .missing_events(&peer, room, missing)
                .await
                .unwrap()
                .len(),
            2
        );
        let asked = net.asked().pop().unwrap();
        assert_eq!(
            (asked.method, asked.uri),
            ("POST", path(&format!("get_missing_events/{ESCAPED}")))
        );
        let body =
            json!({ "earliest_events": [], "latest_events": [id], "limit": 2, "min_depth": 3 });
        assert_eq!(asked.body, body);

        net.add(
            RESIDENT,
            always(json!({ "pdu_ids": [id], "auth_chain_ids": [] })),
        );
        let ids = remote.state_ids(&peer, room, event).await.unwrap();
        assert_eq!(ids.pdu_ids, std::slice::from_ref(&id));
        let event_query = format!("event_id={}", escaped(&id));
        assert_eq!(uri(), path(&format!("state_ids/{ESCAPED}?{event_query}")));
        net.add(
            RESIDENT,
            always(json!({ "pdu_ids": ["$a\u{0}b"], "auth_chain_ids": [] })),
        );
        let ids = remote.state_ids(&peer, room, event).await;
        assert!(matches!(ids, Err(RemoteError::Malformed { .. })), "{ids:?}");
    })
    .await;
}

#[tokio::test]
async fn events_and_states_are_asked_for() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let Connected { net, remote, .. } = Connected::start(&db).await;
        let (peer, graph) = (server(RESIDENT), Graph::new(RoomVersion::V10));
        let (room, event) = (&graph.room_id, graph.events[0].event_id());
        let (id, pdu) = (event.to_owned(), value(&graph.events[0]));
        let uri = || net.asked().last().unwrap().uri.clone();
        net.add(
            RESIDENT,
            always(json!({ "pdus": [pdu, pdu], "auth_chain": [pdu] })),
        );
        let state = remote.state(&peer, room, event).await.unwrap();
        assert_eq!((state.pdus.len(), state.auth_chain.len()), (2, 1));
        let one = remote.event(&peer, event).await.unwrap();
        assert_eq!(serde_json::from_str::<Value>(one.get()).unwrap(), pdu);
        assert_eq!(
            remote.event_auth(&peer, room, event).await.unwrap().len(),
            1
        );
        let from: [OwnedEventId; 2] = [id.clone(), id.clone()];
        assert_eq!(
            remote.backfill(&peer, room, &from, 1).await.unwrap().len(),
            1
        );
        let from = format!("v={0}&v={0}", escaped(&id));
        assert_eq!(uri(), path(&format!("backfill/{ESCAPED}?limit=1&{from}")));
        net.add(RESIDENT, always(json!({ "pdus": [] })));
        assert!(matches!(
            remote.event(&peer, event).await,
            Err(RemoteError::Malformed { .. })
        ));

        net.add(
            RESIDENT,
            always(json!({ "event_id": id, "origin_server_ts": 5 })),
        );
        let at = remote
            .timestamp_to_event(&peer, room, (7, false))
            .await
            .unwrap();
        assert_eq!((at.event_id, at.origin_server_ts), (id, 5));
        assert_eq!(
            uri(),
            path(&format!("timestamp_to_event/{ESCAPED}?ts=7&dir=b"))
        );
    })
    .await;
}

#[tokio::test]
async fn queries_have_their_paths_and_are_read_as_far_as_they_are_sound() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let Connected { net, remote, .. } = Connected::start(&db).await;
        let peer = server(RESIDENT);
        let uri = || net.asked().last().unwrap().uri.clone();
        net.add(
            RESIDENT,
            always(json!({ "displayname": "Owner", "x.y": [1] })),
        );
        let owner = ruma_common::OwnedUserId::try_from(OWNER).unwrap();
        let profile = remote.profile(&owner, Some("x.y")).await.unwrap();
        assert_eq!(profile["displayname"], "Owner");
        let query =
            "/_matrix/federation/v1/query/profile?user_id=%40owner%3Aresident.example&field=x.y";
        assert_eq!(uri(), query);

        let answer = json!({ "room_id": "!a:b", "servers": ["b", "not a server", "c:80"] });
        net.add(RESIDENT, always(answer));
        let alias = ruma_common::room_alias_id!("#a/b:resident.example");
        let target = remote.directory(alias).await.unwrap();
        assert_eq!(target.servers, [server("b"), server("c:80")]);
        let query = "/_matrix/federation/v1/query/directory?room_alias=%23a%2Fb%3Aresident.example";
        assert_eq!(uri(), query);

        net.add(
            RESIDENT,
            always(json!({ "chunk": [{ "a": 1 }], "next_batch": "n" })),
        );
        let rooms = remote
            .public_rooms(&peer, &content(&json!({ "limit": 1 })))
            .await
            .unwrap();
        assert_eq!(
            (rooms.chunk.len(), rooms.next_batch.as_deref()),
            (1, Some("n"))
        );
        assert_eq!(net.asked().last().unwrap().body, json!({ "limit": 1 }));

        net.add(
            RESIDENT,
            always(json!({ "room": {}, "children": [{}], "inaccessible_children": ["!a:b"] })),
        );
        let room = ruma_common::room_id!("!room:resident.example");
        let space = remote.hierarchy(&peer, room, true).await.unwrap();
        assert_eq!(
            (space.children.len(), space.inaccessible_children.len()),
            (1, 1)
        );
        let path =
            "/_matrix/federation/v1/hierarchy/%21room%3Aresident.example?suggested_only=true";
        assert_eq!(uri(), path);
    })
    .await;
}

#[tokio::test]
async fn servers_that_know_only_the_first_version_are_spoken_to_in_it() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let Connected { net, remote, .. } = Connected::start(&db).await;
        let (peer, mut graph) = (server(RESIDENT), Graph::new(RoomVersion::V1));
        let join = graph.make("@us:localhost", JOINS, &json!({ "membership": "join" }));
        let answer = json!([200, graph.answer()]);
        net.add(RESIDENT, move |asked| {
            asked
                .uri
                .contains("/v1/send_")
                .then(|| (200, answer.clone()))
        });
        let answer = remote.send_join(&peer, &join).await.unwrap();
        assert_eq!(answer.state.len(), graph.state.len());
        assert!(answer.event.is_none());
        remote.send_leave(&peer, &join).await.unwrap();
        let expected = [
            "v2/send_join",
            "v1/send_join",
            "v2/send_leave",
            "v1/send_leave",
        ];
        let expected = expected.map(|path| format!("{RESIDENT} {path}"));
        assert_eq!(net.paths(), expected);

        // An invite goes in the first version where the second is refused, and only in rooms that it can be for.
        graph = Graph::new(RoomVersion::V1);
        let invited = ("m.room.member", Some("@them:resident.example"));
        let invite = graph.make(OWNER, invited, &json!({ "membership": "invite" }));
        let signed = json!([200, { "event": value(&invite) }]);
        net.add(RESIDENT, move |asked| {
            if asked.uri.contains("/v1/invite/") {
                return Some((200, signed.clone()));
            }
            Some(refusal(400, "M_UNKNOWN"))
        });
        remote.invite(&peer, &invite, &graph.events).await.unwrap();
        let body = net.asked().pop().unwrap().body;
        assert_eq!(
            body["unsigned"]["invite_room_state"]
                .as_array()
                .unwrap()
                .len(),
            graph.events.len()
        );
        assert_eq!(body["event_id"], json!(invite.event_id()));
        graph = Graph::new(RoomVersion::V10);
        let invite = graph.make(OWNER, invited, &json!({ "membership": "invite" }));
        let refused = remote.invite(&peer, &invite, &[]).await;
        assert!(
            matches!(refused, Err(RemoteError::Refused { .. })),
            "{refused:?}"
        );
        assert!(net.asked().pop().unwrap().uri.contains("/v2/invite/"));
    })
    .await;
}
