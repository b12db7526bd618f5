//! Positions as readers see them: each row has its own, and what is announced is at hand.

use std::collections::BTreeSet;

use serde_json::json;
use starling_db::{Error, Tx};
use starling_rooms::MembershipAction::{Invite, Join, Kick, Leave};
use starling_store::SCHEMA;
use starling_store::memberships::membership_history;
use starling_store::timeline::{Direction, START, Stretch, end_of, state_deltas};
use starling_testkit::{TestDb, World, on_each_engine};

#[tokio::test]
async fn positions_are_unique_over_all_tables() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let (alice, bob) = (world.user("alice").await, world.user("bob").await);
        let room_id = world.room(&alice).await;
        for action in [Join, Leave, Join] {
            world.act(&bob, &room_id, action, &bob).await.unwrap();
        }
        for action in [Kick, Invite] {
            world.act(&alice, &room_id, action, &bob).await.unwrap();
        }
        let topic = json!({ "topic": "t" });
        world
            .set(&alice, &room_id, ("m.room.topic", ""), &topic)
            .await
            .unwrap();
        world.say(&alice, &room_id, "hello").await.unwrap();
        let room = world.store.room_num(&room_id).await.unwrap().unwrap();
        let (store, head, users) = (
            world.store.clone(),
            world.bus.head(),
            [alice.user, bob.user],
        );
        let read = move |tx: &mut Tx<'_>| {
            let stretch = Stretch {
                from: START,
                to: end_of(head),
            };
            let events = store.timeline_page(tx, room, stretch, Direction::Forwards, 1000)?;
            let mut all: Vec<i64> = events.iter().filter_map(|event| event.position()).collect();
            all.extend(
                state_deltas(tx, [(room, 0)], head)?
                    .iter()
                    .map(|delta| delta.position),
            );
            for user in users {
                all.extend(
                    membership_history(tx, user, room)?
                        .iter()
                        .map(|row| row.position),
                );
            }
            Ok::<_, Error>(all)
        };
        let all = world.store.db().read("positions", read).await.unwrap();
        let unique: BTreeSet<i64> = all.iter().copied().collect();
        assert_eq!(unique.len(), all.len());
        assert!(
            all.len() > 25,
            "events, changes of state and of memberships: {}",
            all.len()
        );
        assert_eq!(
            unique.last().copied(),
            Some(head),
            "the head is the last of them"
        );
    })
    .await;
}

/// Fewer than the events that are kept at hand, however far behind the reader is.
const MANY: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_announced_is_at_hand() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let alice = world.user("alice").await;
        let room_id = world.room(&alice).await;
        let room = world.store.room_num(&room_id).await.unwrap().unwrap();
        let (listener, _) = world.bus.listen(alice.user.0, alice.device.0, 0);
        world.bus.follow_all(&listener, &[room.0]);
        let mut since = world.bus.head();
        listener.ready(since);
        let sender = tokio::spawn({
            let (world, room_id) = (world.clone(), room_id.clone());
            async move {
                for number in 0..MANY {
                    world
                        .say(&alice, &room_id, &number.to_string())
                        .await
                        .unwrap();
                }
            }
        });
        let mut seen = 0;
        while seen < MANY {
            listener.changed(since).await;
            let head = world.bus.head();
            if head == since {
                // The change is noted, and the head is about to follow.
                tokio::task::yield_now().await;
                continue;
            }
            let page = world
                .store
                .timelines()
                .page(room, since, head, 1000)
                .unwrap();
            let last = page
                .events
                .last()
                .expect("what the listener was told of is in the caches");
            assert!(world.store.events().get(last.num).is_some());
            assert!(world.store.rooms().get(room).unwrap().last_position >= head);
            seen += page.events.len();
            since = head;
        }
        sender.await.unwrap();
        assert_eq!(seen, MANY, "each once");
    })
    .await;
}
