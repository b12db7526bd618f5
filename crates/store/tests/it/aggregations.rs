//! What is kept of an event about those that relate to it.

use std::sync::Arc;

use serde_json::json;
use starling_db::{Positions, Tx, Write};
use starling_store::append::{AppendError, Appended, NewEvent};
use starling_store::events::Event;
use starling_store::{EventNum, RoomNum, SCHEMA, Store};
use starling_testkit::{TestDb, on_each_engine};

use crate::timeline::{new_event, new_room};

starling_db::statements! {
    KEPT_EDIT = "SELECT edit_num FROM aggregations";
}

const ALICE: &str = "@alice:localhost";

/// Appends events, in one transaction.
pub(crate) async fn append(store: &Store, new: Vec<NewEvent>) -> Vec<Arc<Event>> {
    let before = store.room(RoomNum(1)).await.unwrap().unwrap();
    let writing = store.clone();
    let place = move |tx: &mut Tx<'_>, positions: &mut Positions, ()| {
        let (mut before, mut events) = (Arc::clone(&before), Vec::new());
        for new in &new {
            let server = "localhost".try_into().unwrap();
            let Appended {
                event, snapshot, ..
            } = writing.append(tx, positions, &before, new, server)?;
            before = snapshot;
            events.push(event);
        }
        Ok::<_, AppendError>(events)
    };
    let write = Write::new("append").locking([1]);
    let db = store.db();
    db.write_placed(write, |_| Ok(()), place).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redacted_edit_gives_way_to_the_one_before_however_many_others_there_are() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let store = new_room(&db).await;
        let message = |number: i64| json!({ "body": number.to_string() });
        let original = new_event(ALICE, "m.room.message", None, &message(0));
        let original = append(&store, vec![original]).await.remove(0);
        let edit = |sender: &str, number: i64| {
            let relation = json!({ "rel_type": "m.replace", "event_id": original.pdu.event_id() });
            let mut content = message(number);
            content["m.relates_to"] = relation;
            content["m.new_content"] = message(number);
            NewEvent {
                relates_to: Some(Arc::clone(&original)),
                ..new_event(sender, "m.room.message", None, &content)
            }
        };
        let first = append(&store, vec![edit(ALICE, 1)]).await.remove(0);
        // Somebody else's edits are none.
        let others = (0..1_001).map(|number| edit("@bob:localhost", number));
        append(&store, others.collect()).await;
        let second = append(&store, vec![edit(ALICE, 2)]).await.remove(0);
        let kept = || {
            let read = |tx: &mut Tx<'_>| tx.query_one(&KEPT_EDIT, &[], |row| row.opt_int(0));
            store.db().read("kept", read)
        };
        let newest = kept().await.unwrap().flatten();
        let edits = [first.num, second.num];
        assert!(newest.is_some_and(|newest| edits.contains(&EventNum(newest))));
        // Of the same time, the one with the larger id counts.
        let (older, newer) = if first.pdu.event_id() > second.pdu.event_id() {
            (second, first)
        } else {
            (first, second)
        };
        assert_eq!(newest, Some(newer.num.0));
        for (redacted, left) in [(newer, Some(older.num.0)), (Arc::clone(&older), None)] {
            let redaction = NewEvent {
                redacts: Some(redacted),
                ..new_event(ALICE, "m.room.redaction", None, &json!({ "left": left }))
            };
            append(&store, vec![redaction]).await;
            assert_eq!(kept().await.unwrap().flatten(), left);
        }
    })
    .await;
}
