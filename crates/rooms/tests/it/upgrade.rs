//! Upgrades amid other events and in simulation: the end of the old room and the whole new room are one.

use std::sync::Arc;

use ruma_common::{OwnedRoomId, RoomAliasId, RoomId};
use serde_json::Value;
use starling_db::Simulation;
use starling_rooms::{
    Actor, CanonicalObject, CreateRoom, Draft, MembershipAction, Preset, SendError, UpgradeError,
};
use starling_runtime::Chance;
use starling_store::SCHEMA;
use starling_store::events::Event;
use starling_store::timeline::{Direction, START, Stretch, end_of};
use starling_testkit::{TestDb, World, on_each_engine};

async fn timeline(world: &World, room: &RoomId) -> Vec<Arc<Event>> {
    let room = world.store.room_num(room).await.unwrap().unwrap();
    let (store, to) = (world.store.clone(), end_of(world.bus.head()));
    let stretch = Stretch { from: START, to };
    let page = move |tx: &mut starling_db::Tx<'_>| {
        store.timeline_page(tx, room, stretch, Direction::Forwards, 10_000)
    };
    world.store.db().read("timeline", page).await.unwrap()
}

fn content(event: &Event) -> Value {
    serde_json::from_slice(event.pdu.content()).unwrap()
}

/// The rooms that have replaced this one, oldest first.
async fn replacements(world: &World, room: &RoomId) -> Vec<OwnedRoomId> {
    let events = timeline(world, room).await;
    let ends = events
        .iter()
        .filter(|event| event.pdu.kind() == "m.room.tombstone");
    ends.map(|end| {
        let content = content(end);
        OwnedRoomId::try_from(content["replacement_room"].as_str().unwrap()).unwrap()
    })
    .collect()
}

/// A room called `#room:localhost`.
async fn room(world: &World, creator: &Actor) -> OwnedRoomId {
    let wanted = CreateRoom {
        alias_name: Some("room".to_owned()),
        name: Some("Name".to_owned()),
        ..World::plain(Preset::PublicChat)
    };
    world.rooms.create(creator, wanted).await.unwrap()
}

/// Every tombstone leads to a whole room, there is no other room, and the alias went along with the first.
async fn check(world: &World, alice: &Actor, old: &RoomId, case: &str) -> Vec<OwnedRoomId> {
    let replacements = replacements(world, old).await;
    for new in &replacements {
        let events = timeline(world, new).await;
        let create = content(events.first().unwrap());
        assert_eq!(create["predecessor"]["room_id"], old.as_str(), "{case}");
        let kinds: Vec<&str> = events.iter().map(|event| event.pdu.kind()).collect();
        for kind in [
            "m.room.member",
            "m.room.power_levels",
            "m.room.join_rules",
            "m.room.name",
        ] {
            assert!(kinds.contains(&kind), "{case}: {kinds:?}");
        }
    }
    let joined = world.rooms.joined_rooms(alice).await.unwrap();
    assert_eq!(joined.len(), 1 + replacements.len(), "{case}");
    let alias = <&RoomAliasId>::try_from("#room:localhost").unwrap();
    let target = world.rooms.resolve_alias(alias).await.unwrap().unwrap();
    let first = replacements.first().map_or(old, |first| first);
    assert_eq!(target.room_id, first, "{case}");
    replacements
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_among_messages_loses_none_and_stands_between_two() {
    on_each_engine(&SCHEMA, |mut db: TestDb| async move {
        let world = World::start(&db).await;
        let alice = world.user("alice").await;
        let old = room(&world, &alice).await;
        let mut sending = Vec::new();
        for number in 0..40 {
            let (world, alice, old) = (world.clone(), alice.clone(), old.clone());
            sending.push(tokio::spawn(async move {
                let upgrade = match number {
                    20 => "11",
                    30 => "12",
                    _ => return drop(world.say(&alice, &old, "hello").await.unwrap()),
                };
                match world.rooms.upgrade(&alice, &old, upgrade, &[]).await {
                    // Or the other was faster.
                    Ok(_) | Err(UpgradeError::Send(SendError::BadState(_))) => {}
                    Err(error) => panic!("{error}"),
                }
            }));
        }
        for task in sending {
            task.await.unwrap();
        }
        let replaced = replacements(&world, &old).await.len();
        assert!((1..=2).contains(&replaced), "{replaced}");
        for reopened in [false, true] {
            if reopened {
                db.reopen().await;
            }
            let world = World::start(&db).await;
            let case = format!("reopened: {reopened}");
            assert_eq!(check(&world, &alice, &old, &case).await.len(), replaced);
            let events = timeline(&world, &old).await;
            let messages = events
                .iter()
                .filter(|event| event.pdu.kind() == "m.room.message");
            assert_eq!(messages.count(), 38);
            // Each event follows the one before it.
            for pair in events.windows(2) {
                let previous = pair[1].pdu.prev_events();
                assert_eq!(previous, [pair[0].pdu.event_id()]);
            }
        }
    })
    .await;
}

/// Upgrades and messages with faults, then a power cut. Returns how many upgrades were acknowledged and found.
async fn run(seed: u64) -> (usize, usize) {
    let simulation = Simulation {
        failing_bodies: 150,
        failing_commits: 100,
        ..Simulation::calm(Chance::seeded(seed))
    };
    let mut db = TestDb::simulated(&SCHEMA, Simulation::calm(Chance::seeded(seed))).await;
    let world = World::start(&db).await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let old = room(&world, &alice).await;
    let join = MembershipAction::Join;
    world.act(&bob, &old, join, &bob).await.unwrap();
    db.simulate(simulation);
    db.power_cut().await;
    let world = World::start(&db).await;
    let (speaking, room) = (world.clone(), old.clone());
    let speaking = tokio::spawn(async move {
        for number in 0..20 {
            drop(speaking.say(&bob, &room, &number.to_string()).await);
        }
    });
    let mut acknowledged = Vec::new();
    for number in 0..12 {
        let version = if number % 2 == 0 { "12" } else { "10" };
        let upgraded = world.rooms.upgrade(&alice, &old, version, &[]).await;
        acknowledged.extend(upgraded.ok());
    }
    speaking.await.unwrap();
    db.simulate(Simulation::calm(Chance::seeded(seed)));
    db.power_cut().await;
    let world = World::start(&db).await;
    let case = format!("seed {seed}");
    let found = check(&world, &alice, &old, &case).await;
    for new in &acknowledged {
        assert!(found.contains(new), "{case}: {new} was acknowledged");
    }
    (acknowledged.len(), found.len())
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_is_whole_or_not_there_whatever_fails() {
    let mut failed = 0;
    for seed in 0..10 {
        let (acknowledged, _) = run(seed).await;
        assert!(acknowledged > 0, "seed {seed}");
        failed += 12 - acknowledged;
    }
    assert!(failed > 0, "something failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_that_changes_during_an_upgrade_is_taken_over() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let alice = world.user("alice").await;
        for round in 0..10 {
            let wanted = World::plain(Preset::PublicChat);
            let old = world.rooms.create(&alice, wanted).await.unwrap();
            let mut naming = Vec::new();
            for number in 0..20 {
                let (world, alice, old) = (world.clone(), alice.clone(), old.clone());
                naming.push(tokio::spawn(async move {
                    let content = serde_json::json!({ "name": number.to_string() });
                    let content = CanonicalObject::from_serialize(&content).unwrap();
                    let draft = Draft::state(alice.user_id.clone(), "m.room.name", "", content);
                    let sent = world.rooms.send(&alice, &old, draft, None).await;
                    sent.unwrap();
                }));
            }
            let new = world.rooms.upgrade(&alice, &old, "12", &[]).await.unwrap();
            for task in naming {
                task.await.unwrap();
            }
            let events = timeline(&world, &old).await;
            let before_the_end = events
                .iter()
                .take_while(|event| event.pdu.kind() != "m.room.tombstone");
            let name = |events: &mut dyn Iterator<Item = &Arc<Event>>| {
                let named = events.filter(|event| event.pdu.kind() == "m.room.name");
                named.last().map(|event| content(event)["name"].clone())
            };
            let expected = name(&mut before_the_end.into_iter());
            let taken = name(&mut timeline(&world, &new).await.iter());
            assert_eq!(taken, expected, "round {round}");
        }
    })
    .await;
}
