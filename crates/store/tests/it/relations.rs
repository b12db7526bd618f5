//! Pages of the events that relate to one, directly and indirectly.

use std::sync::Arc;

use serde_json::json;
use starling_db::Tx;
use starling_store::append::NewEvent;
use starling_store::events::Event;
use starling_store::relations::{Recursion, RelationsOf};
use starling_store::timeline::{Direction, START, Stretch, end_of};
use starling_store::{RoomNum, SCHEMA, Store};
use starling_testkit::{TestDb, on_each_engine};

use crate::aggregations::append;
use crate::timeline::{new_event, new_room};

/// More than each page wants, and less than there are of anything.
const LIMIT: usize = 5;

fn relating(target: &Event, rel_type: &str, body: &str) -> NewEvent {
    let relation = json!({ "rel_type": rel_type, "event_id": target.pdu.event_id() });
    let content = json!({ "body": body, "m.relates_to": relation });
    new_event("@alice:localhost", "m.room.message", None, &content)
}

/// Relates `each` events to each of `targets`, with as many others between them.
async fn relate(
    store: &Store,
    (targets, rel_type): (&[Arc<Event>], &str),
    each: usize,
    other: &Event,
) -> Vec<Arc<Event>> {
    let new = (0..each).flat_map(|number| {
        let pair = move |target: &Arc<Event>| {
            let body = format!("{number} of {each} beside {}", target.pdu.event_id());
            [target, other].map(|target| relating(target, rel_type, &body))
        };
        targets.iter().flat_map(pair)
    });
    let events = append(store, new.collect()).await;
    events.into_iter().step_by(2).collect()
}

/// The numbers of all pages, and how many pages there were.
async fn all_pages(
    store: &Store,
    (target, rel_type): (&Event, Option<&'static str>),
    recursion: Recursion,
    direction: Direction,
) -> (Vec<i64>, usize) {
    let mut stretch = Stretch {
        from: START,
        to: end_of(1 << 40),
    };
    let (mut found, mut pages) = (Vec::new(), 0);
    loop {
        let (reader, target) = (store.clone(), target.pdu.event_id().to_owned());
        let read = move |tx: &mut Tx<'_>| {
            let wanted = RelationsOf {
                room: RoomNum(1),
                target: &target,
                rel_type,
                kind: None,
                recurse: Some(recursion),
            };
            reader.relations_page(tx, &wanted, (stretch, direction), LIMIT)
        };
        let page = store.db().read("relations", read).await.unwrap();
        assert!(page.events.len() <= LIMIT);
        found.extend(page.events.iter().map(|event| event.num.0));
        pages += 1;
        let Some(rest) = page.rest else {
            return (found, pages);
        };
        match direction {
            Direction::Backwards => stretch.to = rest,
            Direction::Forwards => stretch.from = rest,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_indirect_relations_leave_none_out() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let store = new_room(&db).await;
        let message = |body: &str| {
            let content = json!({ "body": body });
            new_event("@alice:localhost", "m.room.message", None, &content)
        };
        let first = append(&store, vec![message("root"), message("other")]).await;
        let [root, other] = &first[..] else {
            unreachable!("two were appended");
        };
        let roots = [Arc::clone(root)];
        let replies = relate(&store, (&roots, "m.reference"), 10, other).await;
        let mut expected = replies.clone();
        let nearer = relate(&store, (&replies, "m.reference"), 6, other).await;
        expected.extend_from_slice(&nearer);
        // Many new ones of one that is old, and a few of those that relate to it.
        let newest = relate(&store, (&replies[..1], "m.reference"), 20, other).await;
        expected.extend_from_slice(&newest);
        let last = relate(&store, (&newest[..3], "m.reference"), 2, other).await;
        expected.extend_from_slice(&last);
        // These are too far away, or relate in another way.
        relate(&store, (&last[..2], "m.reference"), 1, other).await;
        let unlike = relate(&store, (&replies[..2], "org.example"), 2, other).await;
        relate(&store, (&unlike, "m.reference"), 1, other).await;
        let expected: Vec<i64> = expected.iter().map(|event| event.num.0).collect();
        let wanted = (&**root, Some("m.reference"));
        let cases = [(1_000, 1), (96, 1), (95, 7), (0, 2), (0, 1_000)];
        for (most_known, most_looked_through) in cases {
            let recursion = Recursion {
                most_known,
                most_looked_through,
            };
            let forwards = all_pages(&store, wanted, recursion, Direction::Forwards).await;
            assert_eq!(forwards.0, expected, "{recursion:?}");
            let mut backwards = all_pages(&store, wanted, recursion, Direction::Backwards).await;
            backwards.0.reverse();
            assert_eq!(backwards.0, expected, "{recursion:?}");
            // Where all are known, no page is short.
            if most_known >= expected.len() {
                assert_eq!(forwards.1, expected.len() / LIMIT + 1);
            }
        }
    })
    .await;
}
