//! In which thread an event is, for receipts.
//! <https://spec.matrix.org/v1.19/client-server-api/#threaded-read-receipts>

use ruma_common::OwnedEventId;
use starling_db::{Error, Tx};

use crate::events::Event;
use crate::receipts::ReceiptThread;
use crate::relations::{THREAD, relation_of};
use crate::store::Store;

/// So many relationships are followed from an event to the thread that it is in.
const HOPS: usize = 3;

/// What following an event's relationships led to.
struct Way {
    /// The root of the thread that the event is in; none for an event of the main timeline.
    root: Option<OwnedEventId>,
    /// The event, and those that it relates to in other ways.
    passed: Vec<OwnedEventId>,
}

impl Store {
    /// Whether a receipt for `thread` may be for `event`. A thread's root, and what relates to it without being in the
    /// thread, is in the main timeline; clients that show a thread with its root send receipts for both, so it fits
    /// either.
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
        let way = self.way_to_thread(tx, event)?;
        Ok(match (thread, way.root) {
            (ReceiptThread::Unthreaded, _) | (ReceiptThread::Main, None) => true,
            (ReceiptThread::Main, Some(_)) => false,
            (ReceiptThread::Root(wanted), Some(root)) => *wanted == root,
            (ReceiptThread::Root(wanted), None) => way.passed.contains(wanted),
        })
    }

    fn way_to_thread(&self, tx: &mut Tx<'_>, event: &Event) -> Result<Way, Error> {
        let mut passed = vec![event.pdu.event_id().to_owned()];
        let mut relation = relation_of(&event.pdu);
        for _ in 0..HOPS {
            let Some(here) = relation else { break };
            if &*here.rel_type == THREAD {
                let root = Some(here.target);
                return Ok(Way { root, passed });
            }
            let parent = self
                .event_by_id(tx, &here.target)?
                .filter(|parent| parent.room == event.room);
            relation = parent.and_then(|parent| relation_of(&parent.pdu));
            passed.push(here.target);
        }
        Ok(Way { root: None, passed })
    }
}
