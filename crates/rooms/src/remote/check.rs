//! Checking events that came from other servers: form, room, signatures and content hash. Whether they are allowed is
//! looked at later. <https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu>, 1 to 3

use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use ruma_common::{OwnedRoomId, OwnedServerName, RoomId};
use serde_json::value::RawValue;
use starling_db::Error;
use starling_events::sign::{SignatureError, required_keys, verify_event_signatures};
use starling_events::{ParseError, Pdu, RoomVersion};
use starling_outbound::WantedKey;

use super::Remote;

/// So few events are checked in place: the way to another thread costs as much.
const IN_PLACE: usize = 8;

/// So many events are checked as one piece of work, some 10 ms.
const PIECE: usize = 128;

/// So many pieces are under way at once.
const PIECES: usize = 8;

/// Why an event that came is not used. It is as if it had never come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is none.
    #[error("it is no event: {0}")]
    NoEvent(#[from] ParseError),
    /// It is of another room.
    #[error("it is an event of {0}")]
    OtherRoom(OwnedRoomId),
    /// Not all have signed it who must have.
    #[error("it is not signed as it should be: {0}")]
    Signature(#[from] SignatureError),
}

/// An event whose form is right, and the keys that it must be signed with.
type Parsed = Result<(Pdu, Vec<(OwnedServerName, Vec<String>)>), Refused>;

impl Remote {
    /// Checks events of a room: of each, in the same order, the event or why it is refused. One whose content hash is
    /// wrong is given as a redaction leaves it.
    ///
    /// # Errors
    /// When the database fails, or there is too much to do for now.
    pub async fn check(
        &self,
        version: RoomVersion,
        room_id: &RoomId,
        events: Vec<Box<RawValue>>,
    ) -> Result<Vec<Result<Pdu, Refused>>, Error> {
        let room_id = room_id.to_owned();
        let parse = move |event: Box<RawValue>| parse(version, &room_id, &event);
        let parsed = self.each(events, parse).await?;
        self.verify(parsed).await
    }

    /// As [`Remote::check`], of one event whose form was checked.
    pub(crate) async fn check_one(&self, event: Pdu) -> Result<Result<Pdu, Refused>, Error> {
        let keys = required_keys(&event);
        let mut checked = self.verify(vec![Ok((event, keys))]).await?;
        let none = || Error::Damaged("an event was checked and is gone".to_owned());
        checked.pop().ok_or_else(none)
    }

    async fn verify(&self, parsed: Vec<Parsed>) -> Result<Vec<Result<Pdu, Refused>>, Error> {
        let keys = self.keys.keys(&wanted_keys(&parsed)).await?;
        let verify = move |parsed: Parsed| {
            let (event, _) = parsed?;
            verify_event_signatures(&event, |server, key_id| keys.get(server, key_id))?;
            Ok(if event.has_valid_content_hash() {
                event
            } else {
                event.redacted()
            })
        };
        self.each(parsed, verify).await
    }

    /// Does something with each item, off the threads that serve requests where there are many.
    async fn each<T: Send + 'static, U: Send + 'static>(
        &self,
        items: Vec<T>,
        work: impl Fn(T) -> U + Clone + Send + 'static,
    ) -> Result<Vec<U>, Error> {
        if items.len() <= IN_PLACE {
            return Ok(items.into_iter().map(work).collect());
        }
        let run = |piece: Vec<T>| {
            let (remote, work) = (self.clone(), work.clone());
            let work = move || piece.into_iter().map(work).collect::<Vec<U>>();
            async move { remote.work(work).await }
        };
        let pieces: Vec<Vec<U>> = stream::iter(pieces(items))
            .map(run)
            .buffered(PIECES)
            .try_collect()
            .await?;
        Ok(pieces.into_iter().flatten().collect())
    }
}

fn pieces<T>(items: Vec<T>) -> Vec<Vec<T>> {
    let mut pieces = Vec::with_capacity(items.len() / PIECE + 1);
    let mut items = items.into_iter();
    loop {
        let piece: Vec<T> = items.by_ref().take(PIECE).collect();
        if piece.is_empty() {
            return pieces;
        }
        pieces.push(piece);
    }
}

fn parse(version: RoomVersion, room_id: &RoomId, event: &RawValue) -> Parsed {
    let event = Pdu::parse(version, event.get().as_bytes())?;
    if event.room_id() != room_id {
        return Err(Refused::OtherRoom(event.room_id().to_owned()));
    }
    let keys = required_keys(&event);
    Ok((event, keys))
}

/// Each key once. Where its validity matters it must cover the latest event that is signed with it; keys that don't
/// cover one made in the future are found out by the check itself.
fn wanted_keys(parsed: &[Parsed]) -> Vec<WantedKey> {
    let mut wanted: BTreeMap<(&OwnedServerName, &String), Option<i64>> = BTreeMap::new();
    for (event, keys) in parsed.iter().flatten() {
        let has_validity = event.version().rules().key_validity;
        let at_ms = has_validity.then(|| event.origin_server_ts());
        for (server, key_ids) in keys {
            for key_id in key_ids {
                let latest = wanted.entry((server, key_id)).or_default();
                *latest = (*latest).max(at_ms);
            }
        }
    }
    let wanted = wanted.into_iter();
    wanted
        .map(|((server, key_id), at_ms)| WantedKey {
            server: server.clone(),
            key_id: key_id.clone(),
            at_ms,
        })
        .collect()
}
