//! Upgrading rooms that are on other servers too.

use serde_json::json;
use starling_events::RoomVersion;
use starling_rooms::{ReadError, Received};
use starling_store::SCHEMA;
use starling_testkit::{TestDb, on_each_engine};

use super::graph::{Graph, OWNER, RESIDENT};
use super::missing::joined_to;
use super::net::{Connected, server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_whose_access_list_excludes_this_server_is_replaced_by_one_without_it() {
    for (deny, is_carried) in [("local*", false), ("evil.example", true)] {
        on_each_engine(&SCHEMA, async |db: TestDb| {
            let at = Connected::start(&db).await;
            let (alice, mut graph) = joined_to(&at, Graph::new(RoomVersion::V11)).await;
            let levels = json!({ "users": { OWNER: 100, alice.user_id.as_str(): 100 } });
            let levels = graph.add(OWNER, ("m.room.power_levels", Some("")), &levels);
            let acl = json!({ "allow": ["*"], "deny": [deny] });
            let acl = graph.add(OWNER, ("m.room.server_acl", Some("")), &acl);
            let rooms = &at.world.rooms;
            for event in [levels, acl.clone()] {
                let received = rooms.receive(&server(RESIDENT), event).await;
                assert_eq!(received.unwrap(), Received::Accepted);
            }
            let new = rooms.upgrade(&alice, &graph.room_id, "12", &[]).await;
            let new = new.unwrap();
            let carried = rooms
                .state_event(&alice, &new, "m.room.server_acl", "")
                .await;
            match carried {
                Ok(event) => assert!(is_carried && event.pdu.content() == acl.content()),
                Err(ReadError::NotFound) => assert!(!is_carried),
                Err(error) => panic!("{error}"),
            }
            let name = rooms.state_event(&alice, &new, "m.room.name", "").await;
            assert!(name.is_ok(), "the rest is taken over");
        })
        .await;
    }
}
