//! Purging a room: local users leave it, other servers are told, and then all of it is deleted (`purge.rs` of the store).

use ruma_common::RoomId;
use starling_db::{Error, Tx, Write};
use starling_store::jobs::{Job, Progress};
use starling_store::purge::{
    PURGE_BEGUN, PurgeProgress, purge_is_noted, purge_is_unsent, purge_joined, room_is_purged,
};
use starling_store::{RoomNum, UserNum};

use crate::error::SendError;
use crate::jobs::PIECE;
use crate::rooms::Rooms;

/// How long other servers may take to get the last events of the room, in milliseconds. Also longer than any request takes
/// that found the room before it was gone, and may yet write something of it.
const PATIENCE_MS: i64 = 600_000;

/// When to look again, in milliseconds.
const AGAIN_MS: i64 = 5_000;

impl Rooms {
    /// A piece of a purge.
    pub(crate) async fn purge(&self, job: &Job, room: RoomNum) -> Result<Progress, Error> {
        if job.progress < PURGE_BEGUN {
            return self.empty_and_begin(job, room).await;
        }
        match self.store().purge_piece(room, job.progress).await? {
            PurgeProgress::At(progress) => return Ok(Progress::At(progress)),
            PurgeProgress::Ended(room) => {
                if let Some(room) = room {
                    tracing::info!(room, "a room is purged");
                }
            }
        }
        // What a request has written meanwhile that had found the room before goes the next time.
        let last_ms = job.noted_at.saturating_add(PATIENCE_MS);
        Ok(if self.parts.clock.now_ms() < last_ms {
            Progress::Again(last_ms)
        } else {
            Progress::Done
        })
    }

    /// Takes the next local users out of the room. If there are none, and other servers know, the purge begins.
    async fn empty_and_begin(&self, job: &Job, room: RoomNum) -> Result<Progress, Error> {
        let after = UserNum(job.progress);
        let read = move |tx: &mut Tx<'_>| {
            let joined = purge_joined(tx, room, after, PIECE)?;
            Ok((joined, purge_is_unsent(tx, room)?))
        };
        let (joined, is_unsent) = self.store().db().read("purge_joined", read).await?;
        for user in &joined {
            self.take_out_of(*user, room).await?;
        }
        if let Some(last) = joined.last() {
            return Ok(Progress::At(last.0));
        }
        let now_ms = self.parts.clock.now_ms();
        let is_sending = self.parts.remote.is_some() && is_unsent;
        if is_sending && now_ms < job.noted_at.saturating_add(PATIENCE_MS) {
            return Ok(Progress::Again(now_ms + AGAIN_MS));
        }
        let store = self.store().clone();
        let begin = move |tx: &mut Tx<'_>| store.purge_begin(tx, room);
        let write = Write::new("purge_begin");
        if !self.store().db().write(write, begin).await? {
            return Ok(Progress::Again(now_ms + AGAIN_MS));
        }
        self.heads.forget(room);
        Ok(Progress::At(PURGE_BEGUN))
    }

    /// Refuses a room that is being purged, or is to be: what is left of it must be gone before it comes back.
    pub(crate) async fn not_purged(&self, room_id: &RoomId) -> Result<(), SendError> {
        if let Some(room) = self.store().room_num(room_id).await? {
            self.not_to_be_purged(room).await?;
        }
        let wanted = room_id.to_owned();
        let read = move |tx: &mut Tx<'_>| room_is_purged(tx, &wanted);
        not_if(self.store().db().read("room_is_purged", read).await?)
    }

    /// Refuses to let users into a room that is to be purged: they would only be taken out again.
    pub(crate) async fn not_to_be_purged(&self, room: RoomNum) -> Result<(), SendError> {
        let read = move |tx: &mut Tx<'_>| purge_is_noted(tx, room);
        not_if(self.store().db().read("purge_is_noted", read).await?)
    }
}

fn not_if(is_purged: bool) -> Result<(), SendError> {
    if is_purged {
        let why = "this server is deleting what it has of the room; try again later";
        return Err(SendError::Forbidden(why.to_owned()));
    }
    Ok(())
}
