//! In simulation: bodies and commits that fail, and power cuts. What was acknowledged is there, once, in order.

use std::collections::BTreeMap;

use starling_db::Simulation;
use starling_rooms::MembershipAction;
use starling_runtime::Chance;
use starling_store::SCHEMA;
use starling_store::timeline::{Direction, START, Stretch, end_of};
use starling_testkit::{TestDb, World};

/// Four senders in one room, with faults; then a power cut. Returns what was acknowledged and what was found.
async fn run(seed: u64) -> (Vec<String>, Vec<String>) {
    let simulation = Simulation {
        failing_bodies: 60,
        failing_commits: 40,
        ..Simulation::calm(Chance::seeded(seed))
    };
    // The room is made in calm; the faults come with the second opening.
    let mut db = TestDb::simulated(&SCHEMA, Simulation::calm(Chance::seeded(seed))).await;
    let world = World::start(&db).await;
    let alice = world.user("alice").await;
    let room = world.room(&alice).await;
    let mut users = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let user = world.user(name).await;
        world
            .act(&user, &room, MembershipAction::Join, &user)
            .await
            .unwrap();
        users.push(user);
    }
    db.simulate(simulation);
    db.power_cut().await;
    let world = World::start(&db).await;
    let mut sending = Vec::new();
    for user in users {
        let (world, room) = (world.clone(), room.clone());
        sending.push(tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0..25 {
                let body = format!("{}{number}", user.user_id.localpart());
                if world.say(&user, &room, &body).await.is_ok() {
                    acknowledged.push(body);
                }
            }
            acknowledged
        }));
    }
    let mut acknowledged = Vec::new();
    for sender in sending {
        acknowledged.extend(sender.await.unwrap());
    }
    db.simulate(Simulation::calm(Chance::seeded(seed)));
    db.power_cut().await;
    let world = World::start(&db).await;
    let number = world.store.room_num(&room).await.unwrap().unwrap();
    let (store, to) = (world.store.clone(), end_of(world.bus.head()));
    let page = move |tx: &mut starling_db::Tx<'_>| {
        store.timeline_page(
            tx,
            number,
            Stretch { from: START, to },
            Direction::Forwards,
            10_000,
        )
    };
    let events = world.store.db().read("timeline", page).await.unwrap();
    let found = events.iter().filter_map(|event| {
        let content: serde_json::Value = serde_json::from_slice(event.pdu.content()).unwrap();
        content["body"].as_str().map(str::to_owned)
    });
    (acknowledged, found.collect())
}

#[tokio::test(start_paused = true)]
async fn acknowledged_events_survive_faults_and_power_cuts() {
    for seed in 0..15 {
        let (acknowledged, found) = run(seed).await;
        assert!(
            !acknowledged.is_empty() && acknowledged.len() < 100,
            "seed {seed}: some fail, some don't"
        );
        let places: BTreeMap<&String, usize> = found
            .iter()
            .enumerate()
            .map(|(at, body)| (body, at))
            .collect();
        assert_eq!(
            places.len(),
            found.len(),
            "seed {seed}: nothing is there twice"
        );
        for pair in acknowledged.windows(2) {
            let (first, second) = (places.get(&pair[0]), places.get(&pair[1]));
            assert!(
                first.is_some() && second.is_some(),
                "seed {seed}: {pair:?} was acknowledged"
            );
            let same_sender = pair[0].as_bytes()[0] == pair[1].as_bytes()[0];
            assert!(
                !same_sender || first < second,
                "seed {seed}: {pair:?} are in order"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_seed_repeats() {
    assert_eq!(run(3).await, run(3).await);
}
