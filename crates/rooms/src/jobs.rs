//! Jobs of rooms: what follows from a change elsewhere, in many rooms, and is done afterwards, piece by piece.

use starling_db::Error;
use starling_store::RoomNum;
use starling_store::UserNum;
use starling_store::jobs::{Job, Progress, Task};
use starling_store::memberships::{MembershipRow, membership_page};

use crate::error::SendError;
use crate::rooms::Rooms;

/// Rooms (or users in a room) of one piece: few enough that other jobs get their turn soon.
pub(crate) const PIECE: u32 = 20;

impl Rooms {
    /// Works on a piece of a job, from where it is. A piece may be worked on again, after a crash or by another node.
    ///
    /// # Errors
    /// When the database fails. What cannot be done in one room is logged, and doesn't keep the others from it.
    pub async fn work(&self, job: &Job) -> Result<Progress, Error> {
        match job.task {
            Task::Departure(user) => self.take_out_of_all(job, user).await,
            Task::GuestDeparture(room) => self.take_guests_out(job, room).await,
            Task::Profile(user) => self.show_profile(job, user).await,
            Task::Purge(room) => self.purge(job, room).await,
            Task::MemberWords(room) => self.write_member_words(job, room).await,
            Task::UntoldLeave(leave) => self.tell_leave(job, leave).await,
        }
    }

    /// Writes the words by which the next members of a room are found.
    async fn write_member_words(&self, job: &Job, room: RoomNum) -> Result<Progress, Error> {
        let server = &self.parts.server_name;
        let piece = self.store().member_words_piece(room, job.progress, server);
        Ok(piece.await?.map_or(Progress::Done, Progress::At))
    }

    /// The next rooms of a job that goes through all of a user's.
    pub(crate) async fn next_rooms(
        &self,
        job: &Job,
        user: UserNum,
    ) -> Result<Vec<MembershipRow>, Error> {
        let after = RoomNum(job.progress);
        let page = move |tx: &mut starling_db::Tx<'_>| membership_page(tx, user, after, PIECE);
        self.store().db().read("job_rooms", page).await
    }

    /// What becomes of an error in one room: those of the database itself end the piece, others are logged.
    pub(crate) async fn pass(
        &self,
        result: Result<(), SendError>,
        (what, user, room): (&'static str, &ruma_common::UserId, RoomNum),
    ) -> Result<(), Error> {
        match result {
            Ok(()) => Ok(()),
            Err(SendError::Db(error @ (Error::Closed | Error::Unavailable(_)))) => Err(error),
            // Also what is damaged in one room.
            Err(error) => {
                let store = self.store().clone();
                let read = move |tx: &mut starling_db::Tx<'_>| store.room_id(tx, room);
                let room = self.store().db().read("room_id", read).await?;
                let room = room.as_deref().map(tracing::field::display);
                tracing::warn!(%user, room, %error, "{what}");
                Ok(())
            }
        }
    }
}
