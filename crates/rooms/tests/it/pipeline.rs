//! The pipeline: order, durability of what is acknowledged, transaction ids, events that fail among others.

use std::future::Future;
use std::sync::Arc;
use std::task::Poll;

use ruma_common::{OwnedEventId, RoomId};
use serde_json::json;
use starling_rooms::{CanonicalObject, Draft, MembershipAction, RequestPath, SendError};
use starling_store::SCHEMA;
use starling_store::events::Event;
use starling_store::timeline::{Direction, START, Stretch, end_of};
use starling_store::transactions::Transaction;
use starling_testkit::{TestDb, World, on_each_engine};

/// All events of a room, oldest first.
async fn timeline(world: &World, room: &RoomId) -> Vec<Arc<Event>> {
    let room = world.store.room_num(room).await.unwrap().unwrap();
    let (store, to) = (world.store.clone(), end_of(world.bus.head()));
    let page = move |tx: &mut starling_db::Tx<'_>| {
        store.timeline_page(
            tx,
            room,
            Stretch { from: START, to },
            Direction::Forwards,
            10_000,
        )
    };
    world.store.db().read("timeline", page).await.unwrap()
}

fn bodies(events: &[Arc<Event>]) -> Vec<String> {
    let body = |event: &Arc<Event>| {
        let content: serde_json::Value = serde_json::from_slice(event.pdu.content()).unwrap();
        content["body"].as_str().map(str::to_owned)
    };
    events
        .iter()
        .filter(|event| event.pdu.kind() == "m.room.message")
        .filter_map(body)
        .collect()
}

fn text(body: &str) -> CanonicalObject {
    CanonicalObject::from_serialize(&json!({ "body": body })).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_is_there_in_order_after_a_restart() {
    on_each_engine(&SCHEMA, |mut db: TestDb| async move {
        let world = World::start(&db).await;
        let alice = world.user("alice").await;
        let room = world.room(&alice).await;
        let said: Vec<String> = (0..40).map(|number| format!("message {number}")).collect();
        for body in &said {
            world.say(&alice, &room, body).await.unwrap();
        }
        let before = timeline(&world, &room).await;
        assert_eq!(bodies(&before), said);
        db.reopen().await;
        let world = World::start(&db).await;
        let after = timeline(&world, &room).await;
        assert_eq!(ids(&after), ids(&before));
        world.say(&alice, &room, "after the restart").await.unwrap();
        assert_eq!(timeline(&world, &room).await.len(), before.len() + 1);
    })
    .await;
}

fn ids(events: &[Arc<Event>]) -> Vec<OwnedEventId> {
    events
        .iter()
        .map(|event| event.pdu.event_id().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_many_senders_form_one_chain() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let alice = world.user("alice").await;
        let room = world.room(&alice).await;
        let mut sending = Vec::new();
        for sender in 0..10 {
            let user = world.user(&format!("user{sender}")).await;
            world
                .act(&user, &room, MembershipAction::Join, &user)
                .await
                .unwrap();
            let (world, room) = (world.clone(), room.clone());
            sending.push(tokio::spawn(async move {
                for number in 0..20 {
                    world
                        .say(&user, &room, &format!("{sender}:{number}"))
                        .await
                        .unwrap();
                }
            }));
        }
        for sender in sending {
            sender.await.unwrap();
        }
        let events = timeline(&world, &room).await;
        let all = bodies(&events);
        assert_eq!(all.len(), 200);
        for sender in 0..10 {
            let own: Vec<&String> = all
                .iter()
                .filter(|body| body.starts_with(&format!("{sender}:")))
                .collect();
            let expected: Vec<String> =
                (0..20).map(|number| format!("{sender}:{number}")).collect();
            assert_eq!(
                own,
                expected.iter().collect::<Vec<_>>(),
                "each sender's events are in order"
            );
        }
        for pair in events.windows(2) {
            assert_eq!(
                pair[1].pdu.prev_events(),
                [pair[0].pdu.event_id().to_owned()],
                "one follows the other"
            );
            assert_eq!(pair[1].pdu.depth(), pair[0].pdu.depth() + 1);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_event_changes_nothing_and_fails_nobody_else() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let (alice, mallory) = (world.user("alice").await, world.user("mallory").await);
        let room = world.room(&alice).await;
        let before = timeline(&world, &room).await.len();
        let refused = world.say(&mallory, &room, "let me in").await;
        assert!(
            matches!(refused, Err(SendError::Forbidden(_))),
            "{refused:?}"
        );
        let big = world.say(&alice, &room, &"x".repeat(66_000)).await;
        assert!(matches!(big, Err(SendError::TooLarge(_))), "{big:?}");
        assert_eq!(timeline(&world, &room).await.len(), before);
        let (good, bad) = tokio::join!(
            world.say(&alice, &room, "good"),
            world.say(&mallory, &room, "bad")
        );
        assert!(good.is_ok() && bad.is_err());
        assert_eq!(timeline(&world, &room).await.len(), before + 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_id_leads_to_one_event() {
    on_each_engine(&SCHEMA, |mut db: TestDb| async move {
        let world = World::start(&db).await;
        let alice = world.user("alice").await;
        let room = world.room(&alice).await;
        let path = RequestPath::send(&room, "m.room.message");
        let draft = || Draft::message(alice.user_id.clone(), "m.room.message", text("once"));
        let (first, second) = tokio::join!(
            world
                .rooms
                .send(&alice, &room, draft(), Some((path, "txn"))),
            world
                .rooms
                .send(&alice, &room, draft(), Some((path, "txn"))),
        );
        let event = first.unwrap();
        assert_eq!(
            second.unwrap(),
            event,
            "a retry while the first is being stored waits for it"
        );
        let other = World::on_device(&alice, 999);
        let elsewhere = world
            .rooms
            .send(&other, &room, draft(), Some((path, "txn")))
            .await
            .unwrap();
        assert_ne!(elsewhere, event, "another device's ids are its own");
        let state = RequestPath::send(&room, "m.other");
        let draft2 = Draft::message(alice.user_id.clone(), "m.other", text("once"));
        assert_ne!(
            world
                .rooms
                .send(&alice, &room, draft2, Some((state, "txn")))
                .await
                .unwrap(),
            event
        );
        db.reopen().await;
        let world = World::start(&db).await;
        let again = world
            .rooms
            .send(&alice, &room, draft(), Some((path, "txn")))
            .await
            .unwrap();
        assert_eq!(again, event, "also after a restart");
        assert_eq!(bodies(&timeline(&world, &room).await), ["once", "once"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_transaction_ids_are_forgotten_piece_by_piece() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let alice = world.user("alice").await;
        let room = world.room(&alice).await;
        let begun = world.clock.now_ms();
        let mut first = Vec::new();
        for number in 0..5 {
            let txn_id = format!("txn{number}");
            let sent = world.say_once(&alice, &room, "once", &txn_id);
            first.push(sent.await.unwrap());
        }
        let sweep = async |before_ms| {
            let mut stretches = 0;
            let mut next = Some(Transaction::first());
            while let Some(after) = next {
                next = world
                    .rooms
                    .sweep_transactions(before_ms, after, 2)
                    .await
                    .unwrap();
                stretches += 1;
            }
            stretches
        };
        assert_eq!(sweep(begun).await, 3, "none is old enough");
        let again = world.say_once(&alice, &room, "once", "txn3").await.unwrap();
        assert_eq!(again, first[3]);
        sweep(world.clock.now_ms() + 1).await;
        let anew = world.say_once(&alice, &room, "once", "txn3").await.unwrap();
        assert_ne!(anew, first[3], "it was forgotten");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redaction_prunes_what_is_stored() {
    on_each_engine(&SCHEMA, |mut db: TestDb| async move {
        let world = World::start(&db).await;
        let (alice, bob) = (world.user("alice").await, world.user("bob").await);
        let room = world.room(&alice).await;
        world
            .act(&bob, &room, MembershipAction::Join, &bob)
            .await
            .unwrap();
        let event = world.say(&alice, &room, "secret").await.unwrap();
        let redact = |actor| {
            world
                .rooms
                .redact(actor, &room, &event, CanonicalObject::default(), None)
        };
        let refused = redact(&bob).await;
        assert!(
            matches!(refused, Err(SendError::Forbidden(_))),
            "without power only one's own: {refused:?}"
        );
        assert_eq!(bodies(&timeline(&world, &room).await), ["secret"]);
        redact(&alice).await.unwrap();
        assert!(bodies(&timeline(&world, &room).await).is_empty());
        let own = world.say(&bob, &room, "mine").await.unwrap();
        let content =
            CanonicalObject::from_serialize(&json!({ "redacts": own, "reason": "typo" })).unwrap();
        let draft = Draft::message(bob.user_id.clone(), "m.room.redaction", content);
        world.rooms.send(&bob, &room, draft, None).await.unwrap();
        assert!(
            bodies(&timeline(&world, &room).await).is_empty(),
            "a redaction sent as an event takes effect too"
        );
        db.reopen().await;
        let world = World::start(&db).await;
        let events = timeline(&world, &room).await;
        let pruned = events
            .iter()
            .find(|other| other.pdu.event_id() == event)
            .unwrap();
        assert_eq!(pruned.pdu.content(), b"{}");
        assert!(pruned.redacted_by.is_some());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zero_characters_are_kept_byte_for_byte() {
    on_each_engine(&SCHEMA, |mut db: TestDb| async move {
        let world = World::start(&db).await;
        let alice = world.user("alice").await;
        let room = world.room(&alice).await;
        let content = json!({ "a\u{0}b": "c\u{0}" });
        world
            .set(&alice, &room, ("x.zero\u{0}", "key\u{0}"), &content)
            .await
            .unwrap();
        db.reopen().await;
        let world = World::start(&db).await;
        let event = world
            .rooms
            .state_event(&alice, &room, "x.zero\u{0}", "key\u{0}")
            .await
            .unwrap();
        assert_eq!(event.pdu.content(), br#"{"a\u0000b":"c\u0000"}"#);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_write_to_one_room() {
    let db = TestDb::open(starling_db::Dialect::Postgres, &SCHEMA).await;
    let here = World::start(&db).await;
    let alice = here.user("alice").await;
    let room = here.room(&alice).await;
    let other_db = db.open_again(&SCHEMA).await.unwrap();
    let there = here.second_node(other_db).await;
    for number in 0..10 {
        here.say(&alice, &room, &format!("here {number}"))
            .await
            .unwrap();
        there
            .say(&alice, &room, &format!("there {number}"))
            .await
            .unwrap();
    }
    let here_told = tokio::spawn({
        let (here, alice, room) = (here.clone(), alice.clone(), room.clone());
        async move {
            for number in 10..20 {
                here.say(&alice, &room, &format!("here {number}"))
                    .await
                    .unwrap();
            }
        }
    });
    for number in 10..20 {
        there
            .say(&alice, &room, &format!("there {number}"))
            .await
            .unwrap();
    }
    here_told.await.unwrap();
    let all = bodies(&timeline_to(&here, &room, i64::from(i32::MAX)).await);
    assert_eq!(all.len(), 40);
    for side in ["here", "there"] {
        let own: Vec<&String> = all.iter().filter(|body| body.starts_with(side)).collect();
        let expected: Vec<String> = (0..20).map(|number| format!("{side} {number}")).collect();
        assert_eq!(own, expected.iter().collect::<Vec<_>>());
    }
}

async fn timeline_to(world: &World, room: &RoomId, position: i64) -> Vec<Arc<Event>> {
    let room = world.store.room_num(room).await.unwrap().unwrap();
    let store = world.store.clone();
    let page = move |tx: &mut starling_db::Tx<'_>| {
        let stretch = Stretch {
            from: START,
            to: end_of(position),
        };
        store.timeline_page(tx, room, stretch, Direction::Forwards, 10_000)
    };
    world.store.db().read("timeline", page).await.unwrap()
}

#[tokio::test]
async fn a_retry_of_a_request_that_went_away_waits_for_its_event() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let alice = world.user("alice").await;
        let room = world.room(&alice).await;
        let path = RequestPath::send(&room, "m.room.message");
        for number in 0..20 {
            let txn_id = number.to_string();
            let send = || {
                let draft = Draft::message(alice.user_id.clone(), "m.room.message", text(&txn_id));
                world
                    .rooms
                    .send(&alice, &room, draft, Some((path, &txn_id)))
            };
            // Polled once or a few times, then dropped: as a client that hangs up, perhaps just when it was done.
            let mut first = Box::pin(send());
            for _ in 0..number % 4 {
                let once = std::future::poll_fn(|context| {
                    Poll::Ready(first.as_mut().poll(context).is_ready())
                });
                if once.await {
                    break;
                }
                tokio::task::yield_now().await;
            }
            drop(first);
            send().await.unwrap();
        }
        let expected: Vec<String> = (0..20).map(|number| number.to_string()).collect();
        assert_eq!(
            bodies(&timeline(&world, &room).await),
            expected,
            "each once, in order"
        );
    })
    .await;
}

#[tokio::test]
async fn much_state_is_not_kept_in_the_head() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let alice = world.user("alice").await;
        let room = world.room(&alice).await;
        // Each of these decides on other events, so the head knows it until it has too much of them.
        let content =
            json!({ "display_name": "x".repeat(30_000), "key_validity_url": "", "public_key": "" });
        for number in 0..60 {
            let key = format!("token{number}");
            world
                .set(&alice, &room, ("m.room.third_party_invite", &key), &content)
                .await
                .unwrap();
        }
        let mut sending = Vec::new();
        for number in 60..120 {
            let (world, alice, room, content) =
                (world.clone(), alice.clone(), room.clone(), content.clone());
            sending.push(tokio::spawn(async move {
                let key = format!("token{number}");
                world
                    .set(&alice, &room, ("m.room.third_party_invite", &key), &content)
                    .await
                    .unwrap();
            }));
        }
        for sender in sending {
            sender.await.unwrap();
        }
        let held = world.rooms.held_bytes();
        assert!(held < 1_200_000, "{held} bytes");
        let events = timeline(&world, &room).await;
        assert_eq!(
            events
                .iter()
                .filter(|event| event.pdu.kind() == "m.room.third_party_invite")
                .count(),
            120
        );
    })
    .await;
}
