//! Events that follow what isn't here: it is asked for, or the state there, and older history once somebody reads back.

use std::sync::Arc;

use serde_json::{Value, json};
use starling_events::{EventReference, Pdu, RoomVersion};
use starling_outbound::Transport;
use starling_rooms::{Actor, Received};
use starling_store::SCHEMA;
use starling_store::events::{DUMMY, Event, Status};
use starling_store::timeline::{Direction, START, Stretch, end_of};
use starling_testkit::{TestDb, World, on_each_engine};

use super::graph::{Graph, OWNER, RESIDENT, value};
use super::net::{Asked, Connected, key_of, server};

const USER: &str = "@alice:localhost";

/// What the resident server says that the state was: all of it, but for this type.
const HIDDEN: &str = "m.room.topic";

/// What the resident server has: the whole room, and how many events it gives of those that are missing.
pub(super) fn resident(
    graph: &Graph,
    gives: usize,
) -> impl Fn(&Asked) -> Option<(u16, Value)> + use<> {
    lying(graph, gives, false)
}

/// As [`resident`], and it may lie about the state.
fn lying(
    graph: &Graph,
    gives: usize,
    lies: bool,
) -> impl Fn(&Asked) -> Option<(u16, Value)> + use<> {
    let hidden = if lies { HIDDEN } else { "nothing" };
    hiding(graph, gives, hidden)
}

/// As [`resident`], and of the state it leaves out what is of a type, or under a key.
fn hiding(
    graph: &Graph,
    gives: usize,
    hidden: &str,
) -> impl Fn(&Asked) -> Option<(u16, Value)> + use<> {
    let hidden = hidden.to_owned();
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
                let told = told
                    .filter(|pdu| pdu.kind() != hidden && pdu.state_key() != Some(hidden.as_str()));
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
    joined_to(at, Graph::new(version)).await
}

/// This room, which a user of this one has joined.
pub(super) async fn joined_to(at: &Connected, mut graph: Graph) -> (Actor, Graph) {
    let (alice, version) = (at.world.user("alice").await, graph.version);
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

pub(super) fn say(graph: &mut Graph, number: usize) -> Pdu {
    let said = json!({ "body": format!("{number}"), "msgtype": "m.text" });
    graph.add(OWNER, ("m.room.message", None), &said)
}

/// The room's timeline, oldest first.
pub(super) async fn timeline(at: &Connected, graph: &Graph) -> Vec<Arc<Event>> {
    let store = at.world.store.clone();
    let room = store.room_num(&graph.room_id).await.unwrap().unwrap();
    let to = end_of(at.world.bus.head());
    let read = move |tx: &mut starling_db::Tx<'_>| {
        let all = Stretch { from: START, to };
        store.timeline_page(tx, room, all, Direction::Forwards, 1_000)
    };
    at.world.store.db().read("timeline", read).await.unwrap()
}

pub(super) fn ids(events: &[Arc<Event>]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event.pdu.event_id().as_str())
        .collect()
}

pub(super) fn all_ids(events: &[Pdu]) -> Vec<&str> {
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

/// Where the room stands: the newest events, of which the next one follows all.
async fn extremities(at: &Connected, graph: &Graph) -> Vec<String> {
    let store = &at.world.store;
    let room = store.room_num(&graph.room_id).await.unwrap().unwrap();
    let snapshot = store.room(room).await.unwrap().unwrap();
    let ids = snapshot.extremities.iter();
    ids.map(|extremity| extremity.reference.event_id.to_string())
        .collect()
}

async fn receive(at: &Connected, pdu: &Pdu) -> Received {
    let resident = server(RESIDENT);
    let received = at.world.rooms.receive(&resident, pdu.clone());
    received.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_for_another_s_sake_gets_its_place_when_it_comes() {
    on_each_engine(&SCHEMA, async |mut db: TestDb| {
        let at = Connected::start(&db).await;
        let (alice, mut graph) = joined(&at, RoomVersion::V11).await;
        let topic = json!({ "topic": "meanwhile" });
        let topic = graph.add(OWNER, ("m.room.topic", Some("")), &topic);
        say(&mut graph, 0);
        let last = say(&mut graph, 1);
        // None of the events between is given, but the state there, and so the topic.
        at.net.add(RESIDENT, resident(&graph, 0));
        assert_eq!(receive(&at, &last).await, Received::Accepted);
        let before = extremities(&at, &graph).await;
        assert_eq!(receive(&at, &topic).await, Received::Accepted);
        assert_eq!(receive(&at, &topic).await, Received::Known);
        let events = timeline(&at, &graph).await;
        let newest = events.last().unwrap();
        assert_eq!(newest.pdu.event_id(), topic.event_id());
        assert_ne!(newest.position(), Some(newest.num.0), "it had a number");
        assert!(newest.snapshot.is_some());
        assert_ne!(extremities(&at, &graph).await, before);
        let state = || async {
            let rooms = &at.world.rooms;
            let held = rooms.state_event(&alice, &graph.room_id, "m.room.topic", "");
            held.await.unwrap().pdu.event_id().to_owned()
        };
        assert_eq!(state().await, topic.event_id());
        // The same from the database.
        db.reopen().await;
        let net = Arc::clone(&at.net);
        let world = World::start_on(&db, net as Arc<dyn Transport>).await;
        let answer = world.say(&alice, &graph.room_id, "so").await.unwrap();
        let at = Connected { world, ..at };
        let events = timeline(&at, &graph).await;
        let [.., late, said] = events.as_slice() else {
            panic!("{events:?}")
        };
        assert_eq!(late.pdu.event_id(), topic.event_id());
        assert_eq!(said.pdu.event_id(), answer);
        assert!(
            said.pdu
                .prev_events()
                .contains(&topic.event_id().to_owned())
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_event_brings_no_state_that_somebody_made_up() {
    on_each_engine(&SCHEMA, async |db: TestDb| {
        let at = Connected::start(&db).await;
        let (alice, mut graph) = joined(&at, RoomVersion::V11).await;
        let topic = json!({ "topic": "known" });
        let topic = graph.add(OWNER, ("m.room.topic", Some("")), &topic);
        assert_eq!(receive(&at, &topic).await, Received::Accepted);
        // What it follows is held back, and the state there is a lie.
        let late = say(&mut graph, 0);
        let last = say(&mut graph, 1);
        at.net.add(RESIDENT, lying(&graph, 0, true));
        assert_eq!(receive(&at, &last).await, Received::Accepted);
        assert_eq!(receive(&at, &late).await, Received::Accepted);
        assert_eq!(extremities(&at, &graph).await, [last.event_id().as_str()]);
        let rooms = &at.world.rooms;
        let held = rooms.state_event(&alice, &graph.room_id, "m.room.topic", "");
        assert_eq!(held.await.unwrap().pdu.event_id(), topic.event_id());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_the_state_that_comes_without_its_content_keeps_it() {
    on_each_engine(&SCHEMA, async |db: TestDb| {
        let at = Connected::start(&db).await;
        let (alice, mut graph) = joined(&at, RoomVersion::V11).await;
        let topic = json!({ "topic": "meanwhile" });
        let topic = graph.add(OWNER, ("m.room.topic", Some("")), &topic);
        say(&mut graph, 0);
        let last = say(&mut graph, 1);
        at.net.add(RESIDENT, resident(&graph, 0));
        assert_eq!(receive(&at, &last).await, Received::Accepted);
        // The signatures are of its redacted form.
        assert_eq!(receive(&at, &topic.redacted()).await, Received::Accepted);
        let rooms = &at.world.rooms;
        let held = rooms.state_event(&alice, &graph.room_id, "m.room.topic", "");
        let held = held.await.unwrap();
        assert_eq!(held.pdu.event_id(), topic.event_id());
        assert_eq!(value(&held.pdu)["content"]["topic"], "meanwhile");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_refused_for_good_by_what_another_server_says_of_the_state() {
    on_each_engine(&SCHEMA, async |db: TestDb| {
        let at = Connected::start(&db).await;
        let (_, mut graph) = joined(&at, RoomVersion::V11).await;
        let other = "@other:second.example";
        let join = json!({ "membership": "join" });
        let join = graph.add(other, ("m.room.member", Some(other)), &join);
        at.net.add("second.example", |_| None);
        assert_eq!(receive(&at, &join).await, Received::Accepted);
        say(&mut graph, 0);
        let said = graph.add(other, ("m.room.message", None), &json!({ "body": "so" }));
        // As if its sender weren't in the room.
        at.net.add(RESIDENT, hiding(&graph, 0, other));
        let resident_server = server(RESIDENT);
        let received = at.world.rooms.receive(&resident_server, said.clone());
        assert!(received.await.is_err(), "nobody can tell");
        at.net.add(RESIDENT, resident(&graph, 0));
        assert_eq!(receive(&at, &said).await, Received::Accepted);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_after_an_event_that_follows_it_is_not_followed_again() {
    on_each_engine(&SCHEMA, async |db: TestDb| {
        let at = Connected::start(&db).await;
        let (alice, mut graph) = joined(&at, RoomVersion::V12).await;
        let late = json!({ "topic": "late" });
        let late = graph.add(OWNER, ("m.room.topic", Some("")), &late);
        let last = say(&mut graph, 1);
        at.net.add(RESIDENT, resident(&graph, 0));
        assert_eq!(receive(&at, &last).await, Received::Accepted);
        assert_eq!(extremities(&at, &graph).await.len(), 2);
        assert_eq!(receive(&at, &late).await, Received::Accepted);
        assert_eq!(extremities(&at, &graph).await, [last.event_id().as_str()]);
        assert_eq!(timeline(&at, &graph).await.len(), 3);
        let answer = at.world.say(&alice, &graph.room_id, "so").await.unwrap();
        let events = timeline(&at, &graph).await;
        let said = events.last().unwrap();
        assert_eq!(said.pdu.event_id(), answer);
        assert_eq!(said.pdu.prev_events(), [last.event_id().to_owned()]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_server_does_not_give_others_are_asked_for() {
    on_each_engine(&SCHEMA, async |db: TestDb| {
        let at = Connected::start(&db).await;
        let (_, mut graph) = joined(&at, RoomVersion::V11).await;
        let other = "@other:second.example";
        let join = json!({ "membership": "join" });
        let join = graph.add(other, ("m.room.member", Some(other)), &join);
        at.net.add(RESIDENT, |_| None);
        at.net.add("second.example", |_| None);
        assert_eq!(receive(&at, &join).await, Received::Accepted);
        graph.add(OWNER, ("m.room.topic", Some("")), &json!({ "topic": "?" }));
        let last = say(&mut graph, 1);
        let resident_server = server(RESIDENT);
        let received = at.world.rooms.receive(&resident_server, last.clone());
        assert!(received.await.is_err(), "nobody gives it");
        at.net.add("second.example", resident(&graph, 1));
        assert_eq!(receive(&at, &last).await, Received::Accepted);
        let events = timeline(&at, &graph).await;
        assert_eq!(
            ids(&events),
            all_ids(&graph.events[graph.events.len() - 4..])
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_silent_server_keeps_nothing_else_waiting() {
    on_each_engine(&SCHEMA, async |db: TestDb| {
        let at = Connected::start(&db).await;
        let (_, mut graph) = joined(&at, RoomVersion::V11).await;
        let next = graph.make(OWNER, ("m.room.message", None), &json!({ "body": "now" }));
        say(&mut graph, 0);
        let far = say(&mut graph, 1);
        at.net.silence(RESIDENT);
        let (resident, before) = (server(RESIDENT), at.net.asked().len());
        let taken = at.world.rooms.take_in(&resident, vec![far.clone()]);
        assert!(taken.await.unwrap().is_empty());
        while at.net.asked().len() == before {
            tokio::task::yield_now().await;
        }
        let taken = at.world.rooms.take_in(&resident, vec![next.clone()]);
        assert!(taken.await.unwrap().is_empty());
        let mut events = timeline(&at, &graph).await;
        while events.last().map(|event| event.pdu.event_id()) != Some(next.event_id()) {
            tokio::task::yield_now().await;
            events = timeline(&at, &graph).await;
        }
        assert_eq!(events.len(), 2, "the join and what follows it");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_branches_are_brought_together() {
    on_each_engine(&SCHEMA, async |db: TestDb| {
        let at = Connected::start(&db).await;
        let (_, graph) = joined(&at, RoomVersion::V12).await;
        let branch = |number: usize| {
            let said = json!({ "body": number.to_string() });
            graph.make(OWNER, ("m.room.message", None), &said)
        };
        let branches: Vec<Pdu> = (0..30).map(branch).collect();
        let resident = server(RESIDENT);
        let taken = at.world.rooms.take_in(&resident, branches);
        assert!(taken.await.unwrap().is_empty());
        while timeline(&at, &graph).await.len() < 31 {
            tokio::task::yield_now().await;
        }
        // Not at once: where many servers see them, one does it first.
        assert_eq!(extremities(&at, &graph).await.len(), 30);
        let room = at.world.store.room_num(&graph.room_id).await.unwrap();
        at.world.rooms.merge_branches(room.unwrap()).await;
        assert_eq!(extremities(&at, &graph).await.len(), 1);
        // An event can follow twenty of them.
        let events = timeline(&at, &graph).await;
        let kinds = events.iter().map(|event| event.pdu.kind());
        assert_eq!(kinds.filter(|kind| *kind == DUMMY).count(), 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redaction_in_older_history_redacts() {
    on_each_engine(&SCHEMA, async |db: TestDb| {
        let at = Connected::start(&db).await;
        let (alice, mut graph) = joined(&at, RoomVersion::V11).await;
        let secret = graph.add(
            OWNER,
            ("m.room.message", None),
            &json!({ "body": "secret" }),
        );
        let redacts = json!({ "redacts": secret.event_id() });
        graph.add(OWNER, ("m.room.redaction", None), &redacts);
        let last = say(&mut graph, 1);
        at.net.add(RESIDENT, resident(&graph, 0));
        assert_eq!(receive(&at, &last).await, Received::Accepted);
        let rooms = &at.world.rooms;
        let filled = rooms.backfill(&alice.user_id, &graph.room_id, (None, 100));
        filled.await.unwrap();
        let events = timeline(&at, &graph).await;
        let found = events
            .iter()
            .find(|event| event.pdu.event_id() == secret.event_id());
        let found = found.unwrap();
        assert!(found.redacted_by.is_some());
        assert_eq!(value(&found.pdu)["content"], json!({}));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_state_rests_on_stays_accepted_when_it_comes_again() {
    on_each_engine(&SCHEMA, async |db: TestDb| {
        let at = Connected::start(&db).await;
        let (alice, mut graph) = joined(&at, RoomVersion::V7).await;
        // The resident server gives all from the creation on.
        let last = say(&mut graph, 0);
        let next = say(&mut graph, 1);
        at.net.add(RESIDENT, resident(&graph, usize::MAX));
        assert_eq!(receive(&at, &next).await, Received::Accepted);
        for event in &graph.events {
            receive(&at, event).await;
        }
        let id = last.event_id().to_owned();
        let store = at.world.store.clone();
        let all: Vec<String> = all_ids(&graph.events)
            .into_iter()
            .map(str::to_owned)
            .collect();
        let read = move |tx: &mut starling_db::Tx<'_>| {
            let ids: Vec<&str> = all.iter().map(String::as_str).collect();
            store.events_by_id(tx, &ids)
        };
        let events = at.world.store.db().read("events", read).await.unwrap();
        assert_eq!(events.len(), graph.events.len());
        for event in events {
            assert_eq!(event.status, Status::Accepted, "{}", event.pdu.kind());
        }
        let said = at.world.say(&alice, &graph.room_id, "so").await.unwrap();
        assert_ne!(said, id);
    })
    .await;
}
