//! Events of this server that another one had to sign first: by then the room may have moved on, so they come in as events of
//! others do.

use std::sync::Arc;

use starling_db::Error;
use starling_events::Pdu;
use starling_store::RoomNum;
use starling_store::append::{AppendError, NewEvent};
use starling_store::events::{Event, Status};
use starling_store::rooms::RoomSnapshot;

use super::standing::{Decided, Standing};
use super::{ATTEMPTS, names_of};
use crate::error::SendError;
use crate::pipeline::{Extras, Stored};
use crate::rooms::Rooms;

impl Rooms {
    /// Stores an event of this server that was built on the room as it was, with what goes with it.
    pub(crate) async fn append_signed(
        &self,
        room: RoomNum,
        pdu: &Pdu,
        extras: &Extras,
    ) -> Result<Stored<Arc<Event>>, SendError> {
        let (names, db) = (self.store().names(), self.store().db());
        names.intern_all(db, names_of(pdu)).await?;
        let head = self.heads.head(room);
        for attempt in 0..ATTEMPTS {
            let _closed = self.closed_after(&head, attempt).await?;
            let snapshot = self.store().room(room).await?;
            let snapshot = snapshot.ok_or(SendError::UnknownRoom)?;
            let Standing::Decided(decided) = self.standing(&snapshot, pdu, None).await? else {
                return Err(SendError::Db(Error::Damaged(
                    "what a new event follows is not here".to_owned(),
                )));
            };
            if decided.status != Status::Accepted {
                return Err(SendError::Forbidden(decided.reason.unwrap_or_default()));
            }
            match self.submit_signed(&snapshot, (pdu, extras), *decided).await {
                Ok(event) => return Ok(Stored::Done(event)),
                Err(AppendError::Moved) => {}
                Err(AppendError::Outdated) => return Ok(Stored::Outdated),
                Err(AppendError::UsedTransaction) => return Ok(Stored::UsedTransaction),
                Err(AppendError::Db(error)) => return Err(error.into()),
            }
        }
        Err(SendError::Db(Error::Unavailable(
            "the room moved on too often".to_owned(),
        )))
    }

    async fn submit_signed(
        &self,
        snapshot: &Arc<RoomSnapshot>,
        (pdu, extras): (&Pdu, &Extras),
        decided: Decided,
    ) -> Result<Arc<Event>, AppendError> {
        let new = NewEvent {
            pdu: pdu.clone(),
            auth: Vec::new(),
            fork: Some(Arc::new(decided.fork)),
            transaction: extras.transaction.clone(),
            redacts: decided.redacts,
            profile: extras.profile,
            relates_to: decided.relates_to,
            now_ms: self.parts.clock.now_ms(),
            forgets_left: self.parts.forget_on_leave,
        };
        let carry = extras.carry.clone();
        self.append_with(snapshot, ("append_signed", new), carry)
            .await
    }
}
