//! In which thread an event is: the one answer, for counts and for receipts. It is found when the event is appended, and
//! stored with it.
//! <https://spec.matrix.org/v1.19/client-server-api/#threaded-read-receipts>

use ruma_common::EventId;
use starling_db::{Error, Tx};

use crate::events::Event;
use crate::numbers::{EventNum, RoomNum};
use crate::receipts::ReceiptThread;
use crate::relations::{Relation, THREAD, relation_of};
use crate::store::Store;

starling_db::statements! {
    /// An event that another relates to, and its thread.
    TARGET_THREAD = "SELECT event_num, room_num, thread_num FROM events WHERE event_id = ?1 AND place_major IS NOT NULL";
    /// The root of the thread that an event is in.
    EVENT_THREAD = "SELECT roots.event_id FROM events CROSS JOIN events AS roots
        WHERE events.event_num = ?1 AND roots.event_num = events.thread_num";
    /// The thread of a room that has this root.
    THREAD_BY_ROOT = "SELECT ends.thread_num FROM events AS roots CROSS JOIN thread_ends AS ends
        WHERE roots.event_id = ?2 AND ends.room_num = ?1 AND ends.thread_num = roots.event_num";
}

/// The root of the thread that an event is in which relates to another, by number and id: what it names as such, or the
/// thread of the event that it relates to in another way. That one knows its thread, so no more than one look is taken.
/// What names a root that isn't here is in the main timeline.
pub(crate) fn thread_of(
    tx: &mut Tx<'_>,
    room: RoomNum,
    relation: Option<&Relation>,
) -> Result<Option<(EventNum, String)>, Error> {
    let Some(relation) = relation else {
        return Ok(None);
    };
    let target = tx.query_one(&TARGET_THREAD, &[relation.target.as_str().into()], |row| {
        Ok((
            EventNum(row.int(0)?),
            RoomNum(row.int(1)?),
            EventNum(row.int(2)?),
        ))
    })?;
    Ok(match target {
        Some((num, of, thread)) if of == room => {
            let thread = if &*relation.rel_type == THREAD {
                num
            } else {
                thread
            };
            (thread != EventNum(0)).then(|| (thread, relation.target.to_string()))
        }
        _ => None,
    })
}

impl Store {
    /// Whether a receipt for `thread` may be for `event`. A thread's root, and what relates to it without being in the
    /// thread, is in the main timeline; clients that show a thread with its root send receipts for both, so it fits
    /// either. So does what is in the thread only by what it relates to, since clients look no more than a few relations
    /// far, and a redacted event of a thread: clients that know of the redaction see no relation any more.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn receipt_fits(
        &self,
        tx: &mut Tx<'_>,
        event: &Event,
        thread: &ReceiptThread,
    ) -> Result<bool, Error> {
        if *thread == ReceiptThread::Unthreaded {
            return Ok(true);
        }
        let root = tx.query_one(&EVENT_THREAD, &[event.num.into()], |row| {
            Ok(row.text(0)?.to_owned())
        })?;
        match (thread, root) {
            (ReceiptThread::Unthreaded, _) | (ReceiptThread::Main, None) => Ok(true),
            (ReceiptThread::Main, Some(_)) => {
                let relation = relation_of(&event.pdu);
                let says_so = relation.is_some_and(|it| &*it.rel_type == THREAD);
                Ok(!says_so || event.redacted_by.is_some())
            }
            (ReceiptThread::Root(wanted), Some(root)) => Ok(*wanted == *root),
            (ReceiptThread::Root(wanted), None) => {
                let relates = || relation_of(&event.pdu).is_some_and(|it| it.target == *wanted);
                let is_beside = event.pdu.event_id() == wanted || relates();
                Ok(is_beside && is_thread(tx, event.room, wanted)?)
            }
        }
    }
}

/// Whether an event of a room has a thread.
fn is_thread(tx: &mut Tx<'_>, room: RoomNum, event: &EventId) -> Result<bool, Error> {
    let params = [room.into(), event.as_str().into()];
    let thread = tx.query_one(&THREAD_BY_ROOT, &params, |row| row.int(0))?;
    Ok(thread.is_some())
}
