//! The events that a user may see, by their time.

use serde_json::json;
use starling_db::Tx;
use starling_store::append::NewEvent;
use starling_store::history::Viewer;
use starling_store::timeline::Direction;
use starling_store::{EventNum, RoomNum, SCHEMA, Store};
use starling_testkit::{TestDb, on_each_engine};

use crate::aggregations::append;
use crate::timeline::{new_event_at, new_room};

const ALICE: &str = "@alice:localhost";
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// More than are looked at at once.
const HIDDEN: i64 = 1_100;

fn member(time: i64, membership: &str) -> NewEvent {
    let content = json!({ "membership": membership });
    new_event_at(time, ALICE, "m.room.member", Some(ALICE), &content)
}

fn message(time: i64) -> NewEvent {
    let content = json!({ "body": "" });
    new_event_at(time, "@bob:localhost", "m.room.message", None, &content)
}

fn hourly(start: i64) -> impl Iterator<Item = NewEvent> {
    (0..HIDDEN).map(move |hour| message(start + hour * HOUR))
}

async fn closest(store: &Store, time: i64, direction: Direction) -> Option<EventNum> {
    let reader = store.clone();
    let read = move |tx: &mut Tx<'_>| {
        let alice = reader.names().user(tx, ALICE.try_into().unwrap())?.unwrap();
        let viewer = Viewer::load(tx, &reader, alice, RoomNum(1))?;
        viewer.closest_in_time(tx, (RoomNum(1), i64::MAX), (time, direction), &[])
    };
    store.db().read("closest", read).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hidden_stretches_are_passed_over_up_to_where_they_end() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let store = new_room(&db).await;
        let (joined, left) = (HIDDEN * HOUR, (HIDDEN + 1) * HOUR);
        let joined_only = json!({ "history_visibility": "joined" });
        let kind = "m.room.history_visibility";
        let visibility = new_event_at(0, "@bob:localhost", kind, Some(""), &joined_only);
        let mut events = vec![visibility];
        events.extend(hourly(1));
        // Before and behind the stretch that she sees, by their times: within the margin, and beyond it.
        let (early, late) = (joined - 9 * MINUTE, left + 9 * MINUTE);
        let (too_early, too_late) = (joined - 11 * MINUTE, left + 11 * MINUTE);
        events.push(member(joined, "join"));
        events.extend([too_early, early, late, too_late].map(message));
        events.push(member(left, "leave"));
        events.extend(hourly(left + HOUR));
        let events = append(&store, events).await;
        let at = |time: i64| {
            let event = events
                .iter()
                .find(|event| event.pdu.origin_server_ts() == time);
            event.map(|event| event.num)
        };
        // Nothing is passed over that was looked at in the first step.
        let near = closest(&store, too_early - 5 * HOUR, Direction::Forwards).await;
        assert_eq!(near, at(too_early));
        let near = closest(&store, too_late + 5 * HOUR, Direction::Backwards).await;
        assert_eq!(near, at(too_late));
        let forwards = closest(&store, 1, Direction::Forwards).await;
        assert_eq!(forwards, at(early));
        let end = left + (HIDDEN + 1) * HOUR;
        let backwards = closest(&store, end, Direction::Backwards).await;
        assert_eq!(backwards, at(late));
        // Beyond the last that she sees there is nothing.
        let beyond = closest(&store, too_late + 1, Direction::Forwards).await;
        assert_eq!(beyond, None);
        assert_eq!(closest(&store, -1, Direction::Backwards).await, None);
    })
    .await;
}
