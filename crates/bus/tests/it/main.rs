//! Tests of waking: what concerns whom, and that no change is missed.
#![cfg(test)]

mod fleeting;

use std::sync::Arc;
use std::thread::ScopedJoinHandle;

use starling_bus::{Bus, Listener, Topic};

fn listening(bus: &Bus, user: i64, device: i64, rooms: &[i64]) -> Arc<Listener> {
    let (listener, new) = bus.listen(user, device, 0);
    assert!(new);
    bus.follow_all(&listener, rooms);
    listener.ready(bus.head());
    listener
}

#[test]
fn a_change_concerns_those_in_the_room_and_nobody_else() {
    let bus = Bus::new(10, 7);
    let (alice, bob) = (
        listening(&bus, 1, 11, &[100]),
        listening(&bus, 2, 22, &[200]),
    );
    bus.advance(11, &[Topic::Room(100)]);
    assert_eq!(alice.changes_since(10), Some(vec![(11, Topic::Room(100))]));
    assert_eq!(bob.changes_since(10), Some(vec![]));
    assert_eq!(bus.head(), 11);
}

#[test]
fn topics_reach_the_user_and_the_device() {
    let bus = Bus::new(0, 7);
    let (phone, laptop) = (listening(&bus, 1, 11, &[]), listening(&bus, 1, 12, &[]));
    bus.advance(1, &[Topic::User(1)]);
    bus.advance(2, &[Topic::Device(12)]);
    assert_eq!(phone.changes_since(0), Some(vec![(1, Topic::User(1))]));
    assert_eq!(
        laptop.changes_since(0),
        Some(vec![(1, Topic::User(1)), (2, Topic::Device(12))])
    );
}

#[test]
fn a_new_listener_does_not_know_the_past() {
    let bus = Bus::new(5, 7);
    let (listener, _) = bus.listen(1, 11, 0);
    assert_eq!(listener.changes_since(5), None, "not ready yet");
    listener.ready(bus.head());
    assert_eq!(listener.changes_since(4), None);
    assert_eq!(listener.changes_since(5), Some(vec![]));
}

#[test]
fn who_begins_to_listen_misses_nothing_that_happens_meanwhile() {
    let bus = Bus::new(0, 7);
    let missed = std::thread::scope(|scope| {
        let begin = |user: i64| {
            let bus = &bus;
            scope.spawn(move || (0..20_000).find_map(|n| missed_at_the_beginning(bus, user + n)))
        };
        // So many that they wait for each other, and for who advances.
        let beginners: Vec<_> = [0, 1_000_000, 2_000_000, 3_000_000].map(begin).into();
        let mut position = 0;
        while !beginners.iter().all(ScopedJoinHandle::is_finished) {
            position += 1;
            bus.advance(position, &[Topic::Room(100)]);
        }
        let missed = beginners.into_iter().map(|it| it.join().unwrap());
        missed.flatten().collect::<Vec<_>>()
    });
    assert_eq!(missed, [], "had all up to, was told up to, of");
}

/// A device that has been told all up to the head begins to listen; what it isn't told of what comes next.
fn missed_at_the_beginning(bus: &Bus, device: i64) -> Option<(i64, i64, i64)> {
    let (listener, _) = bus.listen(device, device, 0);
    bus.follow_all(&listener, &[100]);
    let since = bus.head();
    listener.ready(since);
    let head = bus.head();
    let last = listener.changes_since(since).unwrap().last().copied();
    bus.unfollow(device, 100);
    let told = last.map_or(since, |(position, _)| position);
    (told < head).then_some((since, told, head))
}

#[test]
fn a_listener_forgets_and_says_so() {
    let bus = Bus::new(0, 7);
    let rooms: Vec<i64> = (1..=300).collect();
    let listener = listening(&bus, 1, 11, &rooms);
    for room in rooms {
        bus.advance(room, &[Topic::Room(room)]);
    }
    assert_eq!(listener.changes_since(43), None);
    assert!(listener.has_changed(0));
    assert_eq!(
        listener.changes_since(299),
        Some(vec![(300, Topic::Room(300))])
    );
    assert_eq!(listener.changes_since(44).map(|told| told.len()), Some(256));
}

#[test]
fn of_each_topic_the_last_change_is_remembered() {
    let bus = Bus::new(0, 7);
    let listener = listening(&bus, 1, 11, &[100, 200]);
    bus.advance(1, &[Topic::Room(200)]);
    for position in 2..=1_000 {
        bus.advance(position, &[Topic::Room(100)]);
    }
    let both = vec![(1, Topic::Room(200)), (1_000, Topic::Room(100))];
    assert_eq!(listener.changes_since(0), Some(both));
    bus.advance(1_001, &[Topic::Room(200)]);
    let both = vec![(1_000, Topic::Room(100)), (1_001, Topic::Room(200))];
    assert_eq!(listener.changes_since(999), Some(both));
    assert_eq!(
        listener.changes_since(1_000),
        Some(vec![(1_001, Topic::Room(200))])
    );
}

#[test]
fn joining_and_leaving_change_what_is_heard() {
    let bus = Bus::new(0, 7);
    let listener = listening(&bus, 1, 11, &[]);
    bus.follow(1, 100);
    bus.follow(1, 100);
    bus.advance(1, &[Topic::Room(100)]);
    bus.unfollow(1, 100);
    bus.advance(2, &[Topic::Room(100)]);
    assert_eq!(listener.changes_since(0), Some(vec![(1, Topic::Room(100))]));
}

#[tokio::test]
async fn waiting_ends_with_the_change_and_misses_none() {
    let bus = Bus::new(0, 7);
    let listener = listening(&bus, 1, 11, &[100]);
    listener.ready(0);
    let waiting = tokio::spawn({
        let listener = Arc::clone(&listener);
        async move { listener.changed(0).await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    bus.advance(1, &[Topic::Room(100)]);
    waiting.await.unwrap();
    // Already changed: no waiting at all.
    listener.changed(0).await;
}

#[tokio::test]
async fn the_sweep_spares_those_who_wait() {
    let bus = Bus::new(0, 7);
    let (idle, busy) = (
        listening(&bus, 1, 11, &[100]),
        listening(&bus, 2, 22, &[100]),
    );
    idle.used(1_000);
    busy.used(1_000);
    let waiting = tokio::spawn(async move { busy.changed(0).await });
    tokio::task::yield_now().await;
    bus.sweep(2_000);
    assert_eq!(bus.listeners(), 1);
    assert_eq!(
        idle.changes_since(0),
        None,
        "a forgotten listener hears nothing and says so"
    );
    bus.advance(1, &[Topic::Room(100)]);
    waiting.await.unwrap();
}

#[test]
fn who_has_just_asked_for_a_listener_keeps_it() {
    let bus = Bus::new(0, 7);
    let _ = listening(&bus, 1, 11, &[100]);
    let (listener, is_new) = bus.listen(1, 11, 3_000);
    assert!(!is_new);
    bus.sweep(2_000);
    bus.advance(1, &[Topic::Room(100)]);
    assert_eq!(listener.changes_since(0), Some(vec![(1, Topic::Room(100))]));
}

#[test]
fn a_listener_that_was_swept_away_stays_so() {
    let bus = Bus::new(0, 7);
    let (gone, _) = bus.listen(1, 11, 1_000);
    bus.sweep(2_000);
    bus.follow_all(&gone, &[100]);
    gone.ready(bus.head());
    assert_eq!(gone.changes_since(0), None);
    bus.advance(1, &[Topic::Room(100), Topic::User(1)]);
    assert!(gone.has_changed(1));
    assert_eq!(gone.changes_since(1), None);
    assert_eq!(bus.listeners(), 0);
    let next = listening(&bus, 1, 11, &[100]);
    bus.advance(2, &[Topic::User(1)]);
    assert_eq!(next.changes_since(1), Some(vec![(2, Topic::User(1))]));
}

#[tokio::test]
async fn a_watch_hears_of_its_room_until_it_is_dropped() {
    let bus = Bus::new(10, 7);
    let before = listening(&bus, 1, 11, &[]);
    let (watch, other) = (bus.watch(100, 0), bus.watch(200, 0));
    bus.advance(11, &[Topic::Room(100)]);
    watch.listener().changed(10).await;
    assert_eq!(
        watch.listener().changes_since(10),
        Some(vec![(11, Topic::Room(100))])
    );
    assert_eq!(other.listener().changes_since(10), Some(vec![]));
    assert_eq!(before.changes_since(10), Some(vec![]));
    assert_eq!(bus.listeners(), 3);
    let listener = Arc::clone(watch.listener());
    drop((watch, other));
    assert_eq!(bus.listeners(), 1);
    assert_eq!(listener.changes_since(10), None, "it hears no more");
}
