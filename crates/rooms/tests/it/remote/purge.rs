//! Purging rooms: users leave, other servers get that, and a room of other servers comes back as a new one.

use std::collections::BTreeSet;

use ruma_common::OwnedServerName;
use serde_json::json;
use starling_db::{Tx, Write};
use starling_events::RoomVersion;
use starling_rooms::{Actor, ReceiveError, SendError};
use starling_store::jobs::{Job, Progress, job_proceed, jobs_due};
use starling_store::outgoing::outgoing_after;
use starling_store::purge::{PURGE_BEGUN, PurgeAnswer};
use starling_store::{RoomNum, SCHEMA};
use starling_testkit::{TestDb, World, on_each_engine};

use super::graph::{Graph, OWNER, RESIDENT};
use super::net::{Connected, server};

const USER: &str = "@alice:localhost";

async fn ask(world: &World, graph: &Graph, force: bool, now_ms: i64) -> PurgeAnswer {
    let (store, room_id) = (world.store.clone(), graph.room_id.clone());
    let note = move |tx: &mut Tx<'_>| store.purge_note(tx, &room_id, force, now_ms);
    let write = Write::new("test_purge");
    world.store.db().write(write, note).await.unwrap()
}

/// The purge that is due, also if it waits for something.
async fn due(world: &World) -> Option<Job> {
    let due = |tx: &mut Tx<'_>| jobs_due(tx, i64::MAX, 2);
    let due = world.store.db().read("test", due).await.unwrap();
    due.first().copied()
}

/// Works on one piece of the purge; `None` when there is nothing to do.
async fn work(world: &World) -> Option<Progress> {
    let job = due(world).await?;
    let progress = world.rooms.work(&job).await.unwrap();
    let proceed = move |tx: &mut Tx<'_>| job_proceed(tx, &job, progress, 2);
    let write = Write::new("test_proceed");
    world.store.db().write(write, proceed).await.unwrap();
    Some(progress)
}

async fn work_on_all(world: &World) {
    while work(world).await.is_some() {}
}

/// Puts the server of the room on the network.
fn serve(at: &Connected, graph: &Graph) {
    let template = graph.template(USER, &json!({ "membership": "join" }));
    let answer = graph.answer();
    at.net.add(RESIDENT, move |asked| {
        if asked.uri.contains("/v1/make_join/") {
            Some((200, template.clone()))
        } else if asked.uri.contains("/v2/send_join/") {
            Some((200, answer.clone()))
        } else {
            None
        }
    });
}

async fn join(at: &Connected, alice: &Actor, graph: &Graph) -> Result<(), SendError> {
    let via: [OwnedServerName; 1] = [server(RESIDENT)];
    at.world
        .rooms
        .join(alice, (&graph.room_id, &via), None)
        .await
}

async fn number(world: &World, graph: &Graph) -> Option<RoomNum> {
    world.store.room_num(&graph.room_id).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purged_room_of_another_server_is_joined_as_if_it_had_never_been_here() {
    on_each_engine(&SCHEMA, |mut db: TestDb| async move {
        let mut graph = Graph::new(RoomVersion::V10);
        let resident = server(RESIDENT);
        let at = Connected::start(&db).await;
        let alice = at.world.user("alice").await;
        serve(&at, &graph);
        join(&at, &alice, &graph).await.unwrap();
        at.world.say(&alice, &graph.room_id, "here").await.unwrap();
        let old = number(&at.world, &graph).await.unwrap();

        assert_eq!(
            ask(&at.world, &graph, false, 1).await,
            PurgeAnswer::Joined(1)
        );
        assert_eq!(due(&at.world).await, None);
        assert_eq!(
            ask(&at.world, &graph, true, 1).await,
            PurgeAnswer::Leaving(1)
        );
        // Nobody comes in who would be taken out again.
        let bob = at.world.user("bob").await;
        let refused = join(&at, &bob, &graph).await.unwrap_err();
        assert!(matches!(refused, SendError::Forbidden(_)), "{refused}");
        while let Some(progress) = work(&at.world).await {
            if matches!(progress, Progress::At(at) if at >= PURGE_BEGUN) {
                break;
            }
        }
        assert_eq!(number(&at.world, &graph).await, None);
        assert!(at.world.store.room(old).await.unwrap().is_none());
        let refused = join(&at, &alice, &graph).await.unwrap_err();
        assert!(matches!(refused, SendError::Forbidden(_)), "{refused}");
        let said = graph.add(OWNER, ("m.room.message", None), &json!({ "body": "there" }));
        let taken = at.world.rooms.take_in(&resident, vec![said.clone()]);
        assert!(matches!(taken.await, Err(ReceiveError::UnknownRoom)));
        // It is asked for again.
        assert_eq!(
            ask(&at.world, &graph, false, 1).await,
            PurgeAnswer::Deleting
        );
        for _ in 0..7 {
            work(&at.world).await.unwrap();
        }
        drop(at);
        db.reopen().await;

        let at = Connected::start(&db).await;
        serve(&at, &graph);
        let refused = join(&at, &alice, &graph).await.unwrap_err();
        assert!(matches!(refused, SendError::Forbidden(_)), "{refused}");
        work_on_all(&at.world).await;
        assert_eq!(ask(&at.world, &graph, true, 1).await, PurgeAnswer::Unknown);
        let taken = at.world.rooms.take_in(&resident, vec![said]);
        assert!(matches!(taken.await, Err(ReceiveError::UnknownRoom)));
        let create = graph.events[0].event_id().to_owned();
        let store = at.world.store.clone();
        let find = move |tx: &mut Tx<'_>| store.event_by_id(tx, &create);
        let found = at.world.store.db().read("test", find).await.unwrap();
        assert!(found.is_none());

        join(&at, &alice, &graph).await.unwrap();
        let new = number(&at.world, &graph).await.unwrap();
        assert_ne!(new, old);
        let snapshot = at.world.store.room(new).await.unwrap().unwrap();
        assert_eq!(
            (snapshot.append_count, snapshot.joined),
            (1, 2),
            "nothing is left of the first time"
        );
        at.world.say(&alice, &graph.room_id, "again").await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_waits_until_other_servers_have_been_told_that_users_left() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let graph = Graph::new(RoomVersion::V10);
        let at = Connected::start(&db).await;
        let alice = at.world.user("alice").await;
        serve(&at, &graph);
        join(&at, &alice, &graph).await.unwrap();
        let now_ms = at.world.clock.now_ms();
        assert_eq!(
            ask(&at.world, &graph, true, now_ms).await,
            PurgeAnswer::Leaving(1)
        );
        assert_eq!(
            work(&at.world).await,
            Some(Progress::At(alice.user.0)),
            "the user leaves"
        );
        let joined = at.world.rooms.joined_rooms(&alice).await.unwrap();
        assert!(joined.is_empty(), "{joined:?}");
        let progress = work(&at.world).await;
        assert!(matches!(progress, Some(Progress::Again(_))), "{progress:?}");
        let read = |tx: &mut Tx<'_>| outgoing_after(tx, 0, 100);
        let page = at.world.store.db().read("test", read).await.unwrap();
        let told: BTreeSet<&str> = page.events.keys().map(|name| name.as_str()).collect();
        assert!(told.contains(RESIDENT), "{page:?}");
        // Asked again, it tells what it waits for, and waits no longer for that.
        let noted_at = due(&at.world).await.unwrap().noted_at;
        let state = ask(&at.world, &graph, false, now_ms + 1).await;
        assert_eq!(state, PurgeAnswer::Sending);
        assert_eq!(due(&at.world).await.unwrap().noted_at, noted_at);
        assert!(number(&at.world, &graph).await.is_some());
        // Nobody comes back meanwhile.
        let refused = join(&at, &alice, &graph).await;
        assert!(
            matches!(refused, Err(SendError::Forbidden(_))),
            "{refused:?}"
        );
    })
    .await;
}
