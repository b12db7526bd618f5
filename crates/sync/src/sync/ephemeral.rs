//! `ephemeral` of a joined room: what is told and not kept in its history.
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync_response-200_ephemeral>

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use starling_db::Tx;
use starling_store::RoomNum;
use starling_store::receipts::Receipt;
use starling_store::rooms::RoomSnapshot;

use super::plan::Section;
use super::{Scope, receipts, typing};
use crate::Error;

/// What is told of one room.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ephemeral {
    /// In the order in which they are written.
    pub(crate) receipts: Vec<Receipt>,
    /// Who is typing; `None` where that is no news.
    pub(crate) typing: Option<Vec<Arc<str>>>,
}

/// The rooms of which something may be told that is no event, beside those that are told whole.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    /// Those in which somebody has read.
    pub(crate) receipts: BTreeSet<RoomNum>,
    /// Those in which others are typing than before.
    pub(crate) typing: BTreeSet<RoomNum>,
}

impl Changed {
    /// Takes out those of `rooms`.
    pub(crate) fn take(&mut self, rooms: &[(Arc<RoomSnapshot>, Section)]) -> Self {
        let mut taken = Self::default();
        for (snapshot, _) in rooms {
            taken.receipts.extend(self.receipts.take(&snapshot.room));
            taken.typing.extend(self.typing.take(&snapshot.room));
        }
        taken
    }
}

/// Reads what is told of some rooms. Those of which nothing is told are left out.
pub(crate) fn read(
    scope: &Scope,
    tx: &mut Tx<'_>,
    rooms: &[(Arc<RoomSnapshot>, Section)],
    changed: &Changed,
) -> Result<HashMap<RoomNum, Ephemeral>, Error> {
    let mut found = HashMap::new();
    for (room, receipts) in receipts::read(scope, tx, rooms, &changed.receipts)? {
        let ephemeral: &mut Ephemeral = found.entry(room).or_default();
        ephemeral.receipts = receipts;
    }
    for (room, users) in typing::read(scope, rooms, &changed.typing) {
        let ephemeral: &mut Ephemeral = found.entry(room).or_default();
        ephemeral.typing = Some(users);
    }
    Ok(found)
}

/// Appends `{"events":[…]}`.
pub(crate) fn write(out: &mut Vec<u8>, told: Option<&Ephemeral>) {
    out.extend_from_slice(b"{\"events\":[");
    let start = out.len();
    if let Some(told) = told {
        receipts::write(out, start, &told.receipts);
        if let Some(users) = &told.typing {
            typing::write(out, start, users);
        }
    }
    out.extend_from_slice(b"]}");
}
