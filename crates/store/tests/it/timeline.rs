//! A room's order: pages in both directions, boundaries of both kinds of tokens, and the events at hand.

use std::sync::Arc;

use starling_db::{Error, Write};
use starling_events::{CanonicalObject, EventBuilder, Pdu, RoomVersion, SigningKey};
use starling_store::append::NewEvent;
use starling_store::events::{Event, Status, Visibility, event_insert};
use starling_store::rooms::room_insert;
use starling_store::timeline::{Direction, START, Stretch, end_of};
use starling_store::tokens::Place;
use starling_store::{CacheSizes, EventNum, RoomNum, SCHEMA, Store, TypeNum, UserNum};
use starling_testkit::{TestDb, on_each_engine};

pub(crate) fn event(num: i64, place: (i64, i64), pdu: Pdu) -> Event {
    Event {
        num: EventNum(num),
        room: RoomNum(1),
        kind: TypeNum(7),
        key: None,
        sender: UserNum(1),
        place: Some(Place {
            major: place.0,
            minor: place.1,
        }),
        status: Status::Accepted,
        snapshot: None,
        replaces: None,
        redacted_by: None,
        after_gap: false,
        sent_as: None,
        visibility: (Visibility::Shared, Visibility::Shared),
        pdu,
    }
}

pub(crate) fn pdu(number: i64) -> Pdu {
    let key = SigningKey::generate([1; 32], "test").unwrap();
    let builder = EventBuilder {
        room_id: Some("!room:localhost".try_into().unwrap()),
        sender: "@alice:localhost".try_into().unwrap(),
        kind: "m.room.message".to_owned(),
        state_key: None,
        content: CanonicalObject::default(),
        redacts: None,
        origin_server_ts: number,
        depth: number,
        prev_events: Vec::new(),
        auth_events: Vec::new(),
    };
    builder
        .build(RoomVersion::V11, "localhost".try_into().unwrap(), &key)
        .unwrap()
}

/// An event to append.
pub(crate) fn new_event(
    sender: &str,
    kind: &str,
    state_key: Option<&str>,
    content: &serde_json::Value,
) -> NewEvent {
    new_event_at(1, sender, kind, state_key, content)
}

/// An event to append that was sent at a time.
pub(crate) fn new_event_at(
    origin_server_ts: i64,
    sender: &str,
    kind: &str,
    state_key: Option<&str>,
    content: &serde_json::Value,
) -> NewEvent {
    let key = SigningKey::generate([1; 32], "test").unwrap();
    let builder = EventBuilder {
        room_id: Some("!room:localhost".try_into().unwrap()),
        sender: sender.try_into().unwrap(),
        kind: kind.to_owned(),
        state_key: state_key.map(str::to_owned),
        content: CanonicalObject::from_serialize(content).unwrap(),
        redacts: None,
        origin_server_ts,
        depth: 1,
        prev_events: Vec::new(),
        auth_events: Vec::new(),
    };
    let pdu = builder.build(RoomVersion::V11, "localhost".try_into().unwrap(), &key);
    alone(pdu.unwrap())
}

/// The event with nothing that goes with it.
pub(crate) fn alone(pdu: Pdu) -> NewEvent {
    NewEvent {
        pdu,
        auth: Vec::new(),
        fork: None,
        transaction: None,
        profile: None,
        redacts: None,
        relates_to: None,
        now_ms: 0,
        forgets_left: false,
    }
}

/// A room without events: number 1.
pub(crate) async fn new_room(db: &TestDb) -> Store {
    let insert = |tx: &mut starling_db::Tx<'_>| {
        let id = "!room:localhost".try_into().unwrap();
        room_insert(tx, id, RoomVersion::V11, false)
    };
    let room = db.db().write(Write::new("room"), insert).await.unwrap();
    assert_eq!(room, RoomNum(1));
    Store::new(db.db().clone(), 1, CacheSizes::new(1 << 20))
}

/// Live events at 10, 20, 30, and two that were put before 20 later.
pub(crate) async fn room_with_backfill(db: &TestDb) -> Store {
    let store = new_room(db).await;
    let insert = |tx: &mut starling_db::Tx<'_>| {
        for (num, place) in [
            (10, (10, 0)),
            (20, (20, 0)),
            (30, (30, 0)),
            (31, (20, -2)),
            (32, (20, -1)),
        ] {
            event_insert(tx, &event(num, place, pdu(num)), (&[], &[]), None)?;
        }
        Ok::<_, Error>(())
    };
    db.db().write(Write::new("insert"), insert).await.unwrap();
    store
}

async fn page(store: &Store, stretch: Stretch, direction: Direction, limit: i64) -> Vec<i64> {
    let reader = store.clone();
    let read = move |tx: &mut starling_db::Tx<'_>| {
        reader.timeline_page(tx, RoomNum(1), stretch, direction, limit)
    };
    store
        .db()
        .read("page", read)
        .await
        .unwrap()
        .iter()
        .map(|event| event.num.0)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_follow_the_one_order() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let store = room_with_backfill(&db).await;
        let all = Stretch {
            from: START,
            to: end_of(30),
        };
        assert_eq!(
            page(&store, all, Direction::Forwards, 10).await,
            [10, 31, 32, 20, 30]
        );
        assert_eq!(
            page(&store, all, Direction::Backwards, 10).await,
            [30, 20, 32, 31, 10]
        );
        assert_eq!(page(&store, all, Direction::Backwards, 2).await, [30, 20]);
        let before_20 = Stretch {
            from: START,
            to: Place {
                major: 20,
                minor: 0,
            },
        };
        assert_eq!(
            page(&store, before_20, Direction::Backwards, 10).await,
            [32, 31, 10]
        );
        let until_29 = Stretch {
            from: START,
            to: end_of(29),
        };
        assert_eq!(page(&store, until_29, Direction::Backwards, 1).await, [20]);
        let from_20 = Stretch {
            from: Place {
                major: 20,
                minor: -1,
            },
            to: end_of(30),
        };
        assert_eq!(
            page(&store, from_20, Direction::Forwards, 10).await,
            [32, 20, 30]
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_at_hand_say_how_far_back_they_go() {
    let db = TestDb::open(starling_db::Dialect::Sqlite, &SCHEMA).await;
    let store = Store::new(db.db().clone(), 1, CacheSizes::new(1 << 20));
    let recent = store.timelines();
    assert!(
        recent.page(RoomNum(1), 0, 100, 10).is_none(),
        "nothing is known of a room that was not written to"
    );
    let mut before = 5;
    for num in (10..=2000).step_by(10) {
        recent.push(&Arc::new(event(num, (num, 0), pdu(num))), before);
        before = num;
    }
    assert!(
        recent.page(RoomNum(1), 1000, 2000, 10).is_none(),
        "older ones are not at hand any more"
    );
    let page = recent.page(RoomNum(1), 1950, 1990, 10).unwrap();
    assert_eq!(
        page.events
            .iter()
            .map(|event| event.num.0)
            .collect::<Vec<_>>(),
        [1960, 1970, 1980, 1990]
    );
    assert!(!page.limited);
    let page = recent.page(RoomNum(1), 1900, 2000, 3).unwrap();
    assert_eq!(
        page.events
            .iter()
            .map(|event| event.num.0)
            .collect::<Vec<_>>(),
        [1980, 1990, 2000]
    );
    assert!(page.limited);
    // A hole (another node wrote meanwhile): what is at hand begins anew.
    recent.push(&Arc::new(event(3000, (3000, 0), pdu(3000))), 2500);
    assert!(recent.page(RoomNum(1), 2000, 3000, 10).is_none());
    assert_eq!(
        recent
            .page(RoomNum(1), 2500, 3000, 10)
            .unwrap()
            .events
            .len(),
        1
    );
}
