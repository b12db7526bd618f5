//! Knocking at rooms of other servers.

use serde_json::{Value, json};
use starling_events::RoomVersion;
use starling_rooms::{Membership, MembershipAction, RemoteError, SendError};
use starling_store::SCHEMA;
use starling_store::memberships::membership_read;
use starling_store::remote_invites::remote_invite_read;
use starling_testkit::{TestDb, on_each_engine};

use super::graph::{Graph, OWNER, RESIDENT, raw, value};
use super::net::{Connected, refusal, server};

const USER: &str = "@alice:localhost";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_knocks_is_shown_the_room_and_can_give_up() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let alice = at.world.user("alice").await;
        for version in [RoomVersion::V7, RoomVersion::V12] {
            let graph = Graph::with_rule(version, &json!({ "join_rule": "knock" }));
            let room_id = graph.room_id.clone();
            let knocks = graph.template(USER, &json!({ "membership": "knock" }));
            let leaves = graph.template(USER, &json!({ "membership": "leave" }));
            let mut shown: Vec<Value> = graph.events.iter().map(value).collect();
            // Signed by nobody: good enough only where servers could do so.
            shown.push(json!({ "type": "m.room.topic", "state_key": "", "sender": "@a:b", "content": { "topic": "T" } }));
            shown.push(json!("nothing"));
            at.net.add(RESIDENT, move |asked| {
                let endpoint = asked.uri.split('/').nth(4).unwrap();
                Some((200, match endpoint {
                    "make_knock" => knocks.clone(),
                    "send_knock" => json!({ "knock_room_state": shown }),
                    "make_leave" => leaves.clone(),
                    "send_leave" => json!({}),
                    other => panic!("{other}"),
                }))
            });
            let via = [server(RESIDENT)];
            at.world.rooms.knock(&alice, (&room_id, &via), None).await.unwrap();
            let room = at.world.store.room_num(&room_id).await.unwrap().unwrap();
            let user = alice.user;
            let invite = move |tx: &mut starling_db::Tx<'_>| remote_invite_read(tx, user, room);
            let noted = at.world.store.db().read("invite", invite).await.unwrap().unwrap();
            assert_eq!(noted.server, RESIDENT);
            let list = [b"[", &*noted.state, b"]"].concat();
            let list: Vec<Value> = serde_json::from_slice(&list).unwrap();
            let topics = list.iter().filter(|event| event["type"] == "m.room.topic").count();
            assert_eq!(topics, usize::from(version < RoomVersion::V12), "{list:?}");
            let keys: Vec<&String> = list[0].as_object().unwrap().keys().collect();
            assert_eq!(keys, ["content", "sender", "state_key", "type"]);
            assert!(list.iter().any(|event| event["type"] == "m.room.create"));

            let leave = MembershipAction::Leave;
            let left = at.world.rooms.change_membership(&alice, &room_id, leave, &alice.user_id, None);
            left.await.unwrap();
            let invite = move |tx: &mut starling_db::Tx<'_>| {
                let row = membership_read(tx, user, room)?;
                Ok::<_, starling_db::Error>((row, remote_invite_read(tx, user, room)?))
            };
            let (row, invite) = at.world.store.db().read("invite", invite).await.unwrap();
            assert_eq!(row.unwrap().membership, Membership::Leave);
            assert_eq!(invite, None);
            assert!(at.net.paths().last().unwrap().ends_with("v2/send_leave"));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn knocks_that_are_refused_leave_nothing() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let alice = at.world.user("alice").await;
        at.net.add(RESIDENT, |_| Some(refusal(403, "M_FORBIDDEN")));
        let graph = Graph::new(RoomVersion::V10);
        let via = [server(RESIDENT)];
        let refused = at
            .world
            .rooms
            .knock(&alice, (&graph.room_id, &via), None)
            .await;
        let Err(SendError::Remote(RemoteError::Refused { errcode, .. })) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(errcode, "M_FORBIDDEN");
        assert_eq!(at.world.store.room_num(&graph.room_id).await.unwrap(), None);
        // In older versions the membership doesn't exist, whatever a server says.
        let graph = Graph::new(RoomVersion::V6);
        let template = graph.template(USER, &json!({ "membership": "knock" }));
        at.net.add(RESIDENT, move |_| Some((200, template.clone())));
        let refused = at
            .world
            .rooms
            .knock(&alice, (&graph.room_id, &via), None)
            .await;
        assert!(matches!(refused, Err(SendError::Remote(_))), "{refused:?}");
        assert!(
            at.net
                .paths()
                .iter()
                .all(|path| path.ends_with("make_knock"))
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_servers_that_are_known_to_be_in_the_room_end_a_knock() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let alice = at.world.user("alice").await;
        let graph = Graph::with_rule(RoomVersion::V11, &json!({ "join_rule": "knock" }));
        let room_id = graph.room_id.clone();
        let knocks = graph.template(USER, &json!({ "membership": "knock" }));
        let shown: Vec<Value> = graph.events.iter().map(value).collect();
        at.net.add(RESIDENT, move |asked| {
            let body = match asked.uri.split('/').nth(4)? {
                "make_knock" => knocks.clone(),
                "send_knock" => json!({ "knock_room_state": shown }),
                _ => return None,
            };
            Some((200, body))
        });
        at.net.add("evil.example", |_| None);
        let (rooms, via) = (&at.world.rooms, [server(RESIDENT)]);
        rooms.knock(&alice, (&room_id, &via), None).await.unwrap();
        let room = at.world.store.room_num(&room_id).await.unwrap().unwrap();
        for (sender, ends) in [("@eve:evil.example", false), (OWNER, true)] {
            let leave = json!({ "membership": "leave" });
            let leave = graph.make(sender, ("m.room.member", Some(USER)), &leave);
            let origin = leave.sender().server_name().to_owned();
            let received = rooms.receive_events(&origin, vec![raw(&value(&leave))]);
            let verdicts = received.await.unwrap();
            assert_eq!(verdicts[leave.event_id()].is_none(), ends, "{verdicts:?}");
            let user = alice.user;
            let read = move |tx: &mut starling_db::Tx<'_>| membership_read(tx, user, room);
            let row = at.world.store.db().read("member", read).await.unwrap();
            let left = row.unwrap().membership == Membership::Leave;
            assert_eq!(left, ends, "{sender}");
        }
    })
    .await;
}
