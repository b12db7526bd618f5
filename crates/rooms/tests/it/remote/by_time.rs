//! Looking for an event by its time, where it isn't here.

use serde_json::json;
use starling_events::{Pdu, RoomVersion};
use starling_store::SCHEMA;
use starling_store::timeline::Direction;
use starling_testkit::{TestDb, on_each_engine};

use super::graph::{Graph, OWNER, RESIDENT};
use super::missing::{all_ids, ids, joined_to, resident, timeline};
use super::net::{Connected, key_of, refusal, server};

const BEGIN: i64 = 1_600_000_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_history_back_to_an_event_of_that_time_is_fetched() {
    on_each_engine(&SCHEMA, async |db: TestDb| {
        let at = Connected::start(&db).await;
        let mut graph = Graph::new(RoomVersion::V11);
        let said: Vec<Pdu> = (1..=20)
            .map(|number| say_at(&mut graph, BEGIN + number))
            .collect();
        let (alice, graph) = joined_to(&at, graph).await;
        let (ts, user, room) = (BEGIN + 7, &alice.user_id, &graph.room_id);
        let now = at.world.clock.now_ms();
        let look = |closest| {
            let when = (ts, Direction::Forwards);
            at.world.rooms.backfill_to_time(user, room, when, closest)
        };
        // Nobody has anything closer, or tells.
        at.net.add(RESIDENT, |_| Some(refusal(404, "M_NOT_FOUND")));
        look(Some(now)).await.unwrap();
        assert_eq!(timeline(&at, &graph).await.len(), 1);
        // What is here is as near as can be: nobody is asked.
        let asked = at.net.asked().len();
        look(Some(ts)).await.unwrap();
        assert_eq!(at.net.asked().len(), asked);

        let (event, others) = (said[6].event_id().to_owned(), resident(&graph, 0));
        at.net.add(RESIDENT, move |asked| {
            if asked.uri.contains("/timestamp_to_event/") {
                Some((200, json!({ "event_id": event, "origin_server_ts": ts })))
            } else {
                others(asked)
            }
        });
        look(Some(now)).await.unwrap();
        let here = timeline(&at, &graph).await;
        assert_eq!(ids(&here), all_ids(&graph.events));
    })
    .await;
}

fn say_at(graph: &mut Graph, ts: i64) -> Pdu {
    let said = json!({ "body": "then", "msgtype": "m.text" });
    let mut builder = graph.builder(OWNER.try_into().unwrap(), ("m.room.message", None), &said);
    builder.origin_server_ts = ts;
    let said = builder
        .build(graph.version, &server(RESIDENT), &key_of(RESIDENT))
        .unwrap();
    graph.take(said.clone());
    said
}
