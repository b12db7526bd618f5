//! Declining invites to rooms of other servers.

use serde_json::{Value, json};
use starling_events::{Pdu, RoomVersion};
use starling_rooms::{MembershipAction, ReceivedInvite};
use starling_store::SCHEMA;
use starling_testkit::{TestDb, on_each_engine};

use super::graph::{Graph, OWNER, RESIDENT, raw, value};
use super::net::{Connected, server};

const USER: &str = "@alice:localhost";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invite_is_declined_at_the_inviters_server_by_a_signed_leave() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let at = Connected::start(&db).await;
        let alice = at.world.user("alice").await;
        let mut graph = Graph::new(RoomVersion::V10);
        let said = json!({ "membership": "invite" });
        let invite = graph.add(OWNER, ("m.room.member", Some(USER)), &said);
        let template = graph.template(USER, &json!({ "membership": "leave" }));
        // An older server, with the first version of one of the two.
        at.net.add(RESIDENT, move |asked| {
            let answer: Value = match asked.uri.split('/').collect::<Vec<_>>()[3..5] {
                ["v1", "make_leave"] => template.clone(),
                ["v1", "send_leave"] => json!([200, {}]),
                _ => return None,
            };
            Some((200, answer))
        });
        let sent = ReceivedInvite {
            version: "10".to_owned(),
            event: raw(&value(&invite)),
            state: Vec::new(),
        };
        let place = (&*graph.room_id, invite.event_id());
        let rooms = &at.world.rooms;
        rooms
            .receive_invite(&server(RESIDENT), place, sent)
            .await
            .unwrap();
        let (leave, why) = (MembershipAction::Leave, Some("no".to_owned()));
        let left = rooms.change_membership(&alice, &graph.room_id, leave, &alice.user_id, why);
        left.await.unwrap();
        let paths = ["make_leave", "send_leave", "send_leave"];
        assert_eq!(at.net.asked().len(), paths.len());
        let sent = at.net.asked().pop().unwrap().body;
        let sent = Pdu::parse(RoomVersion::V10, &serde_json::to_vec(&sent).unwrap()).unwrap();
        let said: Value = serde_json::from_slice(sent.content()).unwrap();
        assert_eq!(said, json!({ "membership": "leave", "reason": "no" }));
        assert_eq!(sent.prev_events(), [invite.event_id()]);
    })
    .await;
}
