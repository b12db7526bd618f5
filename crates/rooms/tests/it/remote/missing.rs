//! Events that follow what isn't here: it is asked for, or the state there, and older history once somebody reads back.

use std::sync::Arc;

use serde_json::{Value, json};
use starling_events::{EventReference, Pdu, RoomVersion};
use starling_rooms::{Actor, Received};
use starling_store::SCHEMA;
use starling_store::events::Event;
use starling_store::timeline::{Direction, START, Stretch, end_of};
use starling_testkit::{TestDb, on_each_engine};

use super::graph::{Graph, OWNER, RESIDENT, value};
use super::net::{Asked, Connected, key_of, server};

const USER: &str = "@alice:localhost";

/// What the resident server says that the state was: all of it, but for this type.
const HIDDEN: &str = "m.room.topic";

/// What the resident server has: the whole room, and how many events it gives of those that are missing.
fn resident(graph: &Graph, gives: usize) -> impl Fn(&Asked) -> Option<(u16, Value)> + use<> {
    lying(graph, gives, false)
}

/// As [`resident`], and it may lie about the state.
fn lying(
    graph: &Graph,
    gives: usize,
    lies: bool,
) -> impl Fn(&Asked) -> Option<(u16, Value)> + use<> {
    let template = graph.template(USER, &json!({ "membership": "join" }));
    let (answer, graph) = (graph.answer(), graph.clone());
    move |asked| {
        let values = |events: &[Pdu]| events.iter().map(value).collect::<Vec<Value>>();
        let endpoint = asked.uri.split('/').nth(4)?;
        let body = match endpoint {
            "make_join" => template.clone(),
            "send_join" => answer.clone(),
            "get_missing_events" => {
                // The newest, but for the one that was sent.
                let before = graph.events.len().saturating_sub(1);
                let from = before.saturating_sub(gives);
                json!({ "events": values(&graph.events[from..before]) })
            }
            "state_ids" => {
                let told = graph.state.values();
                let told = told.filter(|pdu| !(lies && pdu.kind() == HIDDEN));
                let ids: Vec<&str> = told.map(|pdu| pdu.event_id().as_str()).collect();
                json!({ "pdu_ids": ids, "auth_chain_ids": ids })
            }
            "event" => {
                let found = graph.events.iter().find(|pdu| {
                    let id = pdu.event_id().as_str().trim_start_matches('$');
                    asked.uri.contains(id)
                });
                json!({ "pdus": [value(found?)] })
            }
            "backfill" => json!({ "pdus": values(&graph.events) }),
            _ => return None,
        };
        Some((200, body))
    }
}

/// A room of the resident server that a user of this one has joined.
async fn joined(at: &Connected, version: RoomVersion) -> (Actor, Graph) {
    let alice = at.world.user("alice").await;
    let mut graph = Graph::new(version);
    at.net.add(RESIDENT, resident(&graph, 0));
    let through = [server(RESIDENT)];
    let joining = at
        .world
        .rooms
        .join(&alice, (&graph.room_id, &through), None);
    joining.await.unwrap();
    let asked = at.net.asked();
    let sent = asked
        .iter()
        .find(|asked| asked.uri.contains("/send_join/"))
        .unwrap();
    let join = Pdu::parse(version, &serde_json::to_vec(&sent.body).unwrap()).unwrap();
    graph.take(join);
    (alice, graph)
}

fn say(graph: &mut Graph, number: usize) -> Pdu {
    let said = json!({ "body": format!("{number}"), "msgtype": "m.text" });
    graph.add(OWNER, ("m.room.message", None), &said)
}

/// The room's timeline, oldest first.
async fn timeline(at: &Connected, graph: &Graph) -> Vec<Arc<Event>> {
    let store = at.world.store.clone();
    let room = store.room_num(&graph.room_id).await.unwrap().unwrap();
    let to = end_of(at.world.bus.head());
    let read = move |tx: &mut starling_db::Tx<'_>| {
        let all = Stretch { from: START, to };
        store.timeline_page(tx, room, all, Direction::Forwards, 1_000)
    };
    at.world.store.db().read("timeline", read).await.unwrap()
}

fn ids(events: &[Arc<Event>]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event.pdu.event_id().as_str())
        .collect()
}

fn all_ids(events: &[Pdu]) -> Vec<&str> {
    events.iter().map(|pdu| pdu.event_id().as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_between_is_asked_for() {
    on_each_engine(&SCHEMA, async |db: TestDb| {
        let at = Connected::start(&db).await;
        let (_, mut graph) = joined(&at, RoomVersion::V11).await;
        let topic = json!({ "topic": "meanwhile" });
        graph.add(OWNER, ("m.room.topic", Some("")), &topic);
        let last = (0..5).map(|number| say(&mut graph, number)).last().unwrap();
        at.net.add(RESIDENT, resident(&graph, 6));
        let received = at
            .world
            .rooms
            .receive(&server(RESIDENT), last.clone())
            .await;
        assert_eq!(received.unwrap(), Received::Accepted);
        let events = timeline(&at, &graph).await;
        // The join and all after it, without a gap.
        assert_eq!(
            ids(&events),
            all_ids(&graph.events[graph.events.len() - 7..])
        );
        assert!(events.iter().skip(1).all(|event| !event.after_gap));
        let again = at.world.rooms.receive(&server(RESIDENT), last).await;
        assert_eq!(again.unwrap(), Received::Known);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_is_filled_when_somebody_reads_back() {
    on_each_engine(&SCHEMA, async |db: TestDb| {
        let at = Connected::start(&db).await;
        let (alice, mut graph) = joined(&at, RoomVersion::V12).await;
        let topic = json!({ "topic": "meanwhile" });
        graph.add(OWNER, ("m.room.topic", Some("")), &topic);
        let last = (0..30)
            .map(|number| say(&mut graph, number))
            .last()
            .unwrap();
        // It gives none of the events between: then the state there is asked for.
        at.net.add(RESIDENT, resident(&graph, 0));
        let received = at.world.rooms.receive(&server(RESIDENT), last).await;
        assert_eq!(received.unwrap(), Received::Accepted);
        let events = timeline(&at, &graph).await;
        assert_eq!(events.len(), 2);
        assert!(events[1].after_gap);
        let topic = at
            .world
            .rooms
            .state_event(&alice, &graph.room_id, "m.room.topic", "")
            .await;
        assert!(topic.is_ok(), "the state is that after the gap");
        for _ in 0..2 {
            let filled = at
                .world
                .rooms
                .backfill(&alice.user_id, &graph.room_id, (None, 100));
            filled.await.unwrap();
        }
        let events = timeline(&at, &graph).await;
        assert_eq!(ids(&events), all_ids(&graph.events));
        // Nothing is left to ask for.
        let before = at.net.asked().len();
        let filled = at
            .world
            .rooms
            .backfill(&alice.user_id, &graph.room_id, (None, 100));
        filled.await.unwrap();
        assert_eq!(at.net.asked().len(), before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lie_about_the_state_does_not_undo_what_is_known() {
    on_each_engine(&SCHEMA, async |db: TestDb| {
        let at = Connected::start(&db).await;
        let (alice, mut graph) = joined(&at, RoomVersion::V11).await;
        let topic = json!({ "topic": "known" });
        let topic = graph.add(OWNER, ("m.room.topic", Some("")), &topic);
        let resident = server(RESIDENT);
        let received = at.world.rooms.receive(&resident, topic.clone());
        assert_eq!(received.await.unwrap(), Received::Accepted);
        // It follows all that is here and something that nobody has.
        let said = json!({ "body": "so", "msgtype": "m.text" });
        let mut builder = graph.builder(OWNER.try_into().unwrap(), ("m.room.message", None), &said);
        builder.prev_events.push(EventReference {
            event_id: format!("${}", "A".repeat(43)).try_into().unwrap(),
            hash: None,
        });
        let said = builder
            .build(RoomVersion::V11, &resident, &key_of(RESIDENT))
            .unwrap();
        at.net.add(RESIDENT, lying(&graph, 0, true));
        let received = at.world.rooms.receive(&resident, said).await;
        assert_eq!(received.unwrap(), Received::Accepted);
        let held = at
            .world
            .rooms
            .state_event(&alice, &graph.room_id, "m.room.topic", "")
            .await;
        assert_eq!(held.unwrap().pdu.event_id(), topic.event_id());
    })
    .await;
}
