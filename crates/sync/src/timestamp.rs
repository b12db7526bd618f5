//! `GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event`: the event closest to a time.
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event>

use ruma_common::{OwnedEventId, RoomId};
use starling_db::Tx;
use starling_store::timeline::Direction;

use crate::{Error, Reader, Sync};

impl Sync {
    /// The event of a room that the reader is shown whose time is the closest to `when` (milliseconds since 1970), at that
    /// time or after it ([`Direction::Forwards`]) or before it; and its time.
    ///
    /// # Errors
    /// [`Error::UnknownRoom`], [`Error::NotAllowed`], [`Error::NotFound`] when there is no such event, or [`Error::Db`].
    pub async fn closest_in_time(
        &self,
        reader: &Reader,
        room_id: &RoomId,
        when: (i64, Direction),
    ) -> Result<(OwnedEventId, i64), Error> {
        let reading = self.reading(reader, room_id).await?;
        let read = move |tx: &mut Tx<'_>| {
            let viewer = reading.viewer(tx)?;
            reading.end(tx, &viewer)?;
            let room = (reading.snapshot.room, reading.upto);
            let ignored = reading.store.ignored_numbers(tx, reading.asker.user)?;
            let found = viewer.closest_in_time(tx, room, when, &ignored)?;
            let event = match found {
                Some(number) => reading.store.event_read(tx, number)?,
                None => None,
            };
            let event = event.ok_or(Error::NotFound)?;
            Ok((
                event.pdu.event_id().to_owned(),
                event.pdu.origin_server_ts(),
            ))
        };
        self.store.db().scan("timestamp_to_event", read).await
    }
}
