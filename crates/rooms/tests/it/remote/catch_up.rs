//! What other servers have of a room, after a copy of the database was put back.

use std::time::Duration;

use serde_json::json;
use starling_db::{Tx, Write};
use starling_events::{Pdu, RoomVersion, SigningKey};
use starling_rooms::{Actor, Membership};
use starling_store::SCHEMA;
use starling_store::memberships::membership_read;
use starling_store::restored::{restored, room_put_off, rooms_behind};
use starling_testkit::{TestDb, on_each_engine};

use super::graph::{Graph, OWNER, RESIDENT, value};
use super::missing::{all_ids, ids, joined_to, resident, say, timeline};
use super::net::{Connected, refusal, server};

/// An event of one of this server's users, which only others have any longer.
fn own(graph: &mut Graph, sender: &Actor, kind: (&str, Option<&str>), said: &serde_json::Value) {
    let key = SigningKey::generate([7; 32], "test").unwrap();
    let builder = graph.builder(sender.user_id.clone(), kind, said);
    let event = builder.build(graph.version, &server("localhost"), &key);
    graph.take(event.unwrap());
}

/// Waits until the last event of the room is here: its timeline.
async fn received(at: &Connected, graph: &Graph) -> Vec<String> {
    let last = graph.events.last().unwrap().event_id().to_owned();
    loop {
        let events = timeline(at, graph).await;
        if events
            .last()
            .is_some_and(|event| event.pdu.event_id() == last)
        {
            return ids(&events).into_iter().map(str::to_owned).collect();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn membership(at: &Connected, graph: &Graph, actor: &Actor) -> Option<Membership> {
    let room = at
        .world
        .store
        .room_num(&graph.room_id)
        .await
        .unwrap()
        .unwrap();
    let user = actor.user;
    let read = move |tx: &mut Tx<'_>| membership_read(tx, user, room);
    let row = at.world.store.db().read("test", read).await.unwrap();
    row.map(|row| row.membership)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn later_events_come_back_from_others_also_those_of_our_own_users() {
    for version in [RoomVersion::V12, RoomVersion::V1] {
        on_each_engine(&SCHEMA, async |db: TestDb| {
            let at = Connected::start(&db).await;
            let (alice, mut graph) = joined_to(&at, Graph::new(version)).await;
            let bob = at.world.user("bob").await;
            // What came after the copy was made: of others, of alice, and the join of bob, whom it knows nothing of.
            let first = graph.events.len() - 1;
            say(&mut graph, 1);
            let text = json!({ "body": "mine", "msgtype": "m.text" });
            own(&mut graph, &alice, ("m.room.message", None), &text);
            let join = json!({ "membership": "join" });
            own(
                &mut graph,
                &bob,
                ("m.room.member", Some("@bob:localhost")),
                &join,
            );
            say(&mut graph, 2);
            let (serves, last) = (resident(&graph, 3), graph.events.last().unwrap().clone());
            at.net.add(RESIDENT, move |asked| {
                let is_last = asked.uri.contains("/event/");
                let event = || (200, json!({ "pdus": [value(&last)] }));
                is_last.then(event).or_else(|| serves(asked))
            });
            let done = restored(db.db(), at.world.clock.now_ms(), (0, 0))
                .await
                .unwrap();
            assert_eq!(done.rooms, 1, "{version:?}");
            assert_eq!(at.world.rooms.catch_up().await.unwrap(), None);
            let told = received(&at, &graph).await;
            assert_eq!(told, all_ids(&graph.events[first..]), "{version:?}");
            let membership = membership(&at, &graph, &bob).await;
            assert_eq!(membership, Some(Membership::Join));
            // It is asked once.
            let asked = at.net.asked().len();
            assert_eq!(at.world.rooms.catch_up().await.unwrap(), None);
            assert_eq!(at.net.asked().len(), asked);
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_be_asked_is_asked_again_and_who_left_is_not_the_only_one_to_ask_for() {
    on_each_engine(&SCHEMA, async |db: TestDb| {
        let at = Connected::start(&db).await;
        let (alice, mut graph) = joined_to(&at, Graph::new(RoomVersion::V12)).await;
        let bob = at.world.user("bob").await;
        let join = json!({ "membership": "join" });
        own(
            &mut graph,
            &bob,
            ("m.room.member", Some("@bob:localhost")),
            &join,
        );
        let joined: Pdu = graph.events.last().unwrap().clone();
        at.net.add(RESIDENT, resident(&graph, 0));
        at.world
            .rooms
            .receive(&server(RESIDENT), joined)
            .await
            .unwrap();
        // Alice was banned after the copy was made: no template is given for her.
        let ban = json!({ "membership": "ban" });
        graph.add(OWNER, ("m.room.member", Some("@alice:localhost")), &ban);
        restored(db.db(), at.world.clock.now_ms(), (0, 0))
            .await
            .unwrap();
        at.net.add(RESIDENT, |_| Some(refusal(404, "M_NOT_FOUND")));
        let wait = at.world.rooms.catch_up().await.unwrap().unwrap();
        assert!(wait > Duration::from_secs(10) && wait < Duration::from_secs(20));
        assert_eq!(
            membership(&at, &graph, &alice).await,
            Some(Membership::Join)
        );
        let serves = resident(&graph, 1);
        at.net.add(RESIDENT, move |asked| {
            let is_of_alice = asked.uri.contains("make_join") && asked.uri.contains("alice");
            if is_of_alice {
                return Some(refusal(403, "M_FORBIDDEN"));
            }
            serves(asked)
        });
        let later = at.world.clock.now_ms() + 20_000;
        let due = move |tx: &mut Tx<'_>| Ok(rooms_behind(tx, later, 10)?.0);
        let due: Result<_, starling_db::Error> = at.world.store.db().read("test", due).await;
        assert_eq!(due.unwrap().first().map(|room| room.tries), Some(1));
        // Once more, which makes it due at once.
        restored(db.db(), at.world.clock.now_ms(), (0, 0))
            .await
            .unwrap();
        assert_eq!(at.world.rooms.catch_up().await.unwrap(), None);
        received(&at, &graph).await;
        assert_eq!(membership(&at, &graph, &alice).await, Some(Membership::Ban));
        assert_eq!(membership(&at, &graph, &bob).await, Some(Membership::Join));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_many_servers_are_in_a_room_each_is_asked_at_one_of_the_tries() {
    on_each_engine(&SCHEMA, async |db: TestDb| {
        let at = Connected::start(&db).await;
        let mut graph = Graph::new(RoomVersion::V12);
        let join = json!({ "membership": "join" });
        // In the order in which they are asked; after them the resident server.
        let others: Vec<String> = (0..9)
            .map(|number| format!("far{number}.example"))
            .collect();
        for name in &others {
            at.net.add(name, |_| Some(refusal(404, "M_NOT_FOUND")));
            let user = format!("@user:{name}");
            graph.add(&user, ("m.room.member", Some(&user)), &join);
        }
        let (_, mut graph) = joined_to(&at, graph).await;
        say(&mut graph, 1);
        at.net.add(RESIDENT, |_| Some(refusal(404, "M_NOT_FOUND")));
        at.net.add("far8.example", resident(&graph, 0));
        let before = at.net.asked().len();
        restored(db.db(), at.world.clock.now_ms(), (0, 0))
            .await
            .unwrap();
        assert!(at.world.rooms.catch_up().await.unwrap().is_some());
        let asked: Vec<String> = at
            .net
            .asked()
            .into_iter()
            .skip(before)
            .map(|it| it.server)
            .collect();
        assert_eq!(asked, others[..8]);
        // Its pause is over.
        let room = at
            .world
            .store
            .room_num(&graph.room_id)
            .await
            .unwrap()
            .unwrap();
        let due = move |tx: &mut Tx<'_>| room_put_off(tx, room, 0);
        let due = at.world.store.db().write(Write::new("test"), due);
        due.await.unwrap();
        assert_eq!(at.world.rooms.catch_up().await.unwrap(), None);
        received(&at, &graph).await;
    })
    .await;
}
