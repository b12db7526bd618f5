//! What is told and not stored: it is noted with those whom it concerns, and forgotten in the end.

use std::sync::Arc;

use starling_bus::{
    Bus, CROWD, MOST_TYPED_IN, MOST_TYPISTS, News, Presence, PresenceState, TypingNews,
};

use crate::listening;

const ROOM: i64 = 100;

fn presence(user: &str, state: PresenceState) -> Presence {
    Presence {
        user_id: user.into(),
        state,
        currently_active: false,
        last_active_ms: None,
        status: None,
    }
}

/// `user` is known, offline and in `rooms`.
fn known(bus: &Bus, (user, name): (i64, &str), rooms: &[i64]) {
    bus.meet(user, presence(name, PresenceState::Offline));
    bus.introduce(user, rooms);
}

fn come(bus: &Bus, (user, name): (i64, &str)) {
    bus.set_presence(user, presence(name, PresenceState::Online));
}

fn names(told: &[Presence]) -> Vec<&str> {
    told.iter().map(|presence| &*presence.user_id).collect()
}

fn typing(bus: &Bus, room: i64) -> Vec<String> {
    let users = bus.typing(room);
    users.iter().map(|user| (**user).to_owned()).collect()
}

#[tokio::test]
async fn typing_wakes_those_in_the_room_and_nobody_else() {
    let bus = Bus::new(0, 7);
    let (alice, bob) = (
        listening(&bus, 1, 11, &[ROOM]),
        listening(&bus, 2, 22, &[200]),
    );
    let waiting = [&alice, &bob].map(|listener| {
        let listener = Arc::clone(listener);
        tokio::spawn(async move { listener.changed_beside(0, 0).await })
    });
    tokio::task::yield_now().await;
    bus.type_until(ROOM, (3, "@carol"), 10);
    let [alice_waits, bob_waits] = waiting;
    alice_waits.await.unwrap();
    tokio::task::yield_now().await;
    assert!(!bob_waits.is_finished());
    bob_waits.abort();
    assert_eq!(bus.count(), 1);
    assert_eq!(bus.typing_changed(Some(0), &alice), [ROOM]);
    assert!(bus.typing_changed(Some(1), &alice).is_empty());
    assert!(bus.typing_changed(Some(0), &bob).is_empty());
    // Going on is no change, and neither is ending what has not begun.
    bus.type_until(ROOM, (3, "@carol"), 20);
    bus.end_typing(ROOM, 4);
    bus.end_typing(300, 3);
    assert_eq!(bus.count(), 1);
}

#[test]
fn typing_ends_when_its_time_is_up() {
    let bus = Bus::new(0, 7);
    let alice = listening(&bus, 1, 11, &[ROOM, 200]);
    bus.type_until(ROOM, (3, "@carol"), 30);
    bus.type_until(ROOM, (4, "@dave"), 20);
    bus.type_until(200, (4, "@dave"), 10);
    assert_eq!(bus.expire_typing(9), Some(10));
    assert_eq!(bus.expire_typing(20), Some(30));
    assert_eq!(typing(&bus, ROOM), ["@carol"]);
    assert!(typing(&bus, 200).is_empty());
    // That nobody types any longer is a change, too; who doesn't know what was is told who types.
    assert_eq!(bus.typing_changed(Some(3), &alice), [ROOM, 200]);
    assert_eq!(bus.typing_changed(None, &alice), [ROOM]);
    assert_eq!(bus.expire_typing(30), None);
}

#[test]
fn who_goes_on_typing_does_so_until_the_new_time() {
    let bus = Bus::new(0, 7);
    for until_ms in [10, 30, 20] {
        bus.type_until(ROOM, (3, "@carol"), until_ms);
        assert_eq!(bus.expire_typing(0), Some(until_ms));
    }
    assert_eq!(bus.expire_typing(19), Some(20));
    assert_eq!(typing(&bus, ROOM), ["@carol"]);
    // Who has ended is not ended again, nor is who began anew ended too early.
    bus.end_typing(ROOM, 3);
    assert_eq!(bus.expire_typing(19), None);
    bus.type_until(ROOM, (3, "@carol"), 40);
    assert_eq!(bus.expire_typing(20), Some(40));
    assert_eq!(typing(&bus, ROOM), ["@carol"]);
}

#[test]
fn as_many_are_listed_as_a_room_and_a_user_may_have() {
    let bus = Bus::new(0, 7);
    let number = |most: usize| i64::try_from(most).unwrap();
    for user in 0..number(MOST_TYPISTS) + 5 {
        bus.type_until(ROOM, (user, "@somebody"), 10);
    }
    assert_eq!(typing(&bus, ROOM).len(), MOST_TYPISTS);
    let count = bus.count();
    assert_eq!(count, number(MOST_TYPISTS));
    for room in 0..number(MOST_TYPED_IN) + 5 {
        bus.type_until(1000 + room, (2000, "@everywhere"), 20);
    }
    assert_eq!(bus.count(), count + number(MOST_TYPED_IN));
    // There is room again once somebody ends.
    bus.end_typing(1000, 2000);
    bus.type_until(5000, (2000, "@everywhere"), 30);
    assert_eq!(typing(&bus, 5000), ["@everywhere"]);
    assert_eq!(bus.expire_typing(20), Some(30));
    bus.type_until(ROOM, (2001, "@late"), 30);
    assert_eq!(typing(&bus, ROOM), ["@late"]);
}

#[test]
fn rooms_in_which_nobody_types_are_forgotten_in_the_end() {
    let bus = Bus::new(0, 7);
    let rooms: Vec<i64> = (1..=20_000).collect();
    let alice = listening(&bus, 1, 11, &rooms);
    bus.type_until(1, (3, "@carol"), 10);
    for room in &rooms {
        bus.type_until(*room, (4, "@dave"), 10);
        bus.end_typing(*room, 4);
    }
    let told = bus.typing_changed(Some(39_000), &alice);
    assert_eq!(told.len(), 501, "what is new is known");
    // Too long ago: what is so now.
    assert_eq!(bus.typing_changed(Some(0), &alice), [1]);
}

#[test]
fn presence_concerns_those_who_share_a_room() {
    let bus = Bus::new(0, 7);
    let (alice, bob) = (
        listening(&bus, 1, 11, &[ROOM]),
        listening(&bus, 2, 22, &[200]),
    );
    known(&bus, (1, "@alice"), &[ROOM]);
    known(&bus, (3, "@carol"), &[ROOM, 300]);
    for user in [(1, "@alice"), (3, "@carol")] {
        come(&bus, user);
    }
    assert_eq!(
        names(&bus.presence_changed((Some(0), i64::MAX), &alice, &[])),
        ["@carol"]
    );
    assert_eq!(
        names(&bus.presence_changed((None, i64::MAX), &alice, &[])),
        ["@carol"]
    );
    assert!(
        bus.presence_changed((Some(2), i64::MAX), &alice, &[])
            .is_empty()
    );
    // The second change was carol's: as of the first there is nothing to tell.
    assert!(bus.presence_changed((Some(0), 1), &alice, &[]).is_empty());
    assert!(bus.presence_changed((None, i64::MAX), &bob, &[]).is_empty());
    // Of a room that is new to the reader, all who are there.
    bus.follow(2, ROOM);
    assert_eq!(
        names(&bus.presence_changed((Some(2), i64::MAX), &bob, &[ROOM])),
        ["@alice", "@carol"]
    );
    // Who comes into a room is told to those in it; who has left is not.
    bus.follow(3, 200);
    assert_eq!(
        names(&bus.presence_changed((Some(2), i64::MAX), &bob, &[])),
        ["@carol"]
    );
    bus.unfollow(3, ROOM);
    bus.unfollow(3, 200);
    let count = bus.count();
    bus.set_presence(3, presence("@carol", PresenceState::Offline));
    assert!(
        bus.presence_changed((Some(count), i64::MAX), &bob, &[])
            .is_empty()
    );
    assert!(names(&bus.presence_changed((None, i64::MAX), &alice, &[])).is_empty());
}

#[test]
fn who_left_a_room_while_it_was_read_is_not_in_it() {
    let bus = Bus::new(0, 7);
    let alice = listening(&bus, 1, 11, &[ROOM, 200]);
    bus.meet(3, presence("@carol", PresenceState::Offline));
    assert!(!bus.knows(3));
    bus.unfollow(3, ROOM);
    bus.unfollow(3, 200);
    bus.follow(3, 200);
    bus.introduce(3, &[ROOM]);
    assert!(bus.knows(3));
    come(&bus, (3, "@carol"));
    bus.unfollow(3, 200);
    assert!(
        bus.presence_changed((None, i64::MAX), &alice, &[])
            .is_empty()
    );
}

#[tokio::test]
async fn presence_wakes_nobody_in_a_crowd() {
    let bus = Bus::new(0, 7);
    let many = i64::try_from(CROWD).unwrap() + 1;
    let crowd: Vec<_> = (0..many)
        .map(|number| listening(&bus, 1000 + number, 5000 + number, &[ROOM]))
        .collect();
    bus.follow(1000, 200);
    known(&bus, (3, "@carol"), &[ROOM, 200]);
    come(&bus, (3, "@carol"));
    let waiting: Vec<_> = crowd
        .iter()
        .cloned()
        .map(|listener| tokio::spawn(async move { listener.changed_beside(0, 0).await }))
        .collect();
    tokio::task::yield_now().await;
    bus.wake_for_presence(&[3]);
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    let woken = waiting.iter().filter(|waiting| waiting.is_finished());
    assert_eq!(woken.count(), 1, "the one who shares a small room");
    for waiting in waiting {
        waiting.abort();
    }
    // They are told all the same.
    assert_eq!(
        names(&bus.presence_changed((Some(0), i64::MAX), &crowd[9], &[])),
        ["@carol"]
    );
}

#[test]
fn who_is_there_is_known_of_each_room_whatever_they_do() {
    let bus = Bus::new(0, 7);
    let reader = listening(&bus, 1, 11, &[ROOM, 200]);
    let there = |rooms: &[i64]| {
        let told = bus.presence_changed((Some(bus.count()), i64::MAX), &reader, rooms);
        names(&told).join(" ")
    };
    known(&bus, (3, "@carol"), &[ROOM, 200]);
    known(&bus, (4, "@dave"), &[ROOM]);
    assert_eq!(there(&[ROOM, 200]), "");
    come(&bus, (3, "@carol"));
    come(&bus, (4, "@dave"));
    assert_eq!(there(&[ROOM, 200]), "@carol @dave");
    assert_eq!(there(&[200]), "@carol");
    bus.set_presence(3, presence("@carol", PresenceState::Offline));
    assert_eq!(there(&[ROOM, 200]), "@dave");
    // What happens while somebody is away counts once they come back.
    bus.unfollow(3, ROOM);
    bus.follow(3, 300);
    come(&bus, (3, "@carol"));
    assert_eq!(there(&[ROOM]), "@dave");
    assert_eq!(there(&[200, 300]), "@carol");
    bus.unfollow(4, ROOM);
    assert_eq!(there(&[ROOM]), "");
    // Who is there before their rooms are known.
    bus.meet(5, presence("@erin", PresenceState::Offline));
    come(&bus, (5, "@erin"));
    bus.introduce(5, &[ROOM]);
    assert_eq!(there(&[ROOM]), "@erin");
}

#[tokio::test]
async fn what_other_servers_are_told_is_noted_once_somebody_tells_them_and_as_it_is_then() {
    let bus = Bus::new(0, 7);
    known(&bus, (3, "@carol"), &[ROOM, 200]);
    come(&bus, (3, "@carol"));
    bus.type_until(ROOM, (3, "@carol"), 10);
    assert_eq!(bus.take_news(), News::default(), "nobody tells others");
    bus.open_outbox();
    let waiting = {
        let bus = bus.clone();
        tokio::spawn(async move { bus.has_news().await })
    };
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    bus.type_until(ROOM, (3, "@carol"), 20);
    bus.type_until(200, (3, "@carol"), 5);
    waiting.await.unwrap();
    assert_eq!(bus.expire_typing(5), Some(20));
    bus.set_presence(3, presence("@carol", PresenceState::Unavailable));
    bus.set_presence(3, presence("@carol", PresenceState::Online));
    let news = bus.take_news();
    let typing = |room, is_typing| TypingNews {
        room,
        user_id: "@carol".into(),
        is_typing,
    };
    assert_eq!(news.typing, [typing(ROOM, true), typing(200, false)]);
    let [told] = &news.presences[..] else {
        panic!("once: {news:?}");
    };
    assert_eq!(told.presence, presence("@carol", PresenceState::Online));
    assert_eq!(told.rooms, [ROOM, 200].into_iter().collect());
    assert_eq!(bus.take_news(), News::default());
    bus.end_typing_with(ROOM, 3);
    assert_eq!(bus.take_news().typing, [typing(ROOM, false)]);
    // Those who are there, some at a time.
    bus.tell_presence_again(2, 25);
    assert!(bus.take_news().presences.is_empty(), "another's turn");
    bus.tell_presence_again(3, 25);
    assert_eq!(bus.take_news().presences.len(), 1);
    come(&bus, (3, "@carol"));
    bus.set_presence(3, presence("@carol", PresenceState::Offline));
    assert_eq!(bus.take_news().presences.len(), 1);
    bus.tell_presence_again(3, 25);
    assert!(
        bus.take_news().presences.is_empty(),
        "who is gone isn't there"
    );
}

#[test]
fn who_is_placed_is_told_of_where_they_are_now() {
    let bus = Bus::new(0, 7);
    let here = listening(&bus, 1, 11, &[ROOM]);
    bus.meet(3, presence("@carol", PresenceState::Offline));
    bus.place(3, &[ROOM]);
    come(&bus, (3, "@carol"));
    let told = |since| bus.presence_changed((since, bus.count()), &here, &[]);
    assert_eq!(names(&told(Some(0))), ["@carol"]);
    assert_eq!(bus.presence_rooms(3), [ROOM]);
    bus.place(3, &[200]);
    assert!(told(Some(0)).is_empty() && told(None).is_empty());
    bus.place(3, &[ROOM, 200]);
    assert_eq!(names(&told(None)), ["@carol"]);
}
