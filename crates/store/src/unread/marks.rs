//! Up to where a user has read a room and its threads.
//! <https://spec.matrix.org/v1.19/client-server-api/#marking-notifications-as-read>
//!
//! The furthest of the receipts that apply, the user's own last event there, and their join. A member event of the user's
//! own is no sign that they have read: a changed name reaches all of their rooms.

use std::collections::HashMap;

use ruma_common::{EventId, OwnedEventId};
use starling_db::{Error, Tx, Value};

use crate::numbers::{RoomNum, UserNum};
use crate::receipts::{ReceiptKind, ReceiptThread, receipts_of_rooms};
use crate::unread::counts::MOST_THREADS;

starling_db::statements! {
    /// The place of a user's own last event in the main timeline of each of some rooms, but for member events (shapes
    /// from 144 on).
    OWN_LAST = "SELECT wanted.value, (SELECT events.place_major FROM events
            WHERE events.room_num = wanted.value AND events.sender_num = ?1 AND events.thread_num = 0
                AND events.shape < 144
            ORDER BY events.place_major DESC LIMIT 1)
        FROM {ints ?2} AS wanted";
    /// A user's joined rooms in which something came after their unthreaded receipts, or their join.
    ROOMS_BEHIND = "SELECT memberships.room_num FROM memberships
            JOIN rooms ON rooms.room_num = memberships.room_num
        WHERE memberships.user_num = ?1 AND memberships.membership = 2
            AND rooms.last_position > memberships.event_num
            AND NOT EXISTS (SELECT 1 FROM receipts
                WHERE receipts.user_num = ?1 AND receipts.room_num = memberships.room_num
                    AND receipts.thread = CAST('' AS {bytes}) AND receipts.place_major >= rooms.last_position)
        ORDER BY memberships.room_num";
}

/// Up to where a user has read a room: positions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// The main timeline.
    pub main: i64,
    /// Every thread, at least: an unthreaded receipt, or the join.
    pub all: i64,
    /// Threads for which there are receipts of their own, by root.
    pub threads: HashMap<OwnedEventId, i64>,
    /// Threads without: their receipts may have been dropped, which then lay before all that are kept. 0 when none was.
    pub dropped: i64,
}

impl Marks {
    /// Up to where they have read a thread, but for the user's own events in it.
    #[must_use]
    pub fn thread(&self, root: &EventId) -> i64 {
        let own = self.threads.get(root).copied();
        self.all.max(own.unwrap_or(self.dropped))
    }
}

/// The receipts of one kind that are kept of a user's threads in a room.
#[derive(Debug, Default)]
struct Kept {
    count: i64,
    /// The place of the one that lies furthest back.
    first: i64,
}

impl Kept {
    fn add(&mut self, place: i64) {
        let is_first = self.count == 0 || place < self.first;
        self.first = if is_first { place } else { self.first };
        self.count += 1;
    }

    /// Whether some may have been dropped.
    fn is_full(&self) -> bool {
        self.count >= MOST_THREADS
    }
}

/// The rooms in which `user` may have something to read.
///
/// # Errors
/// When the database cannot be read.
pub fn rooms_behind(tx: &mut Tx<'_>, user: UserNum) -> Result<Vec<RoomNum>, Error> {
    tx.query_all(&ROOMS_BEHIND, &[user.into()], |row| {
        Ok(RoomNum(row.int(0)?))
    })
}

/// Up to where `user` has read each of `rooms`, which they joined at these places; with two queries for all.
///
/// # Errors
/// When the database cannot be read.
pub fn marks_of_rooms(
    tx: &mut Tx<'_>,
    user: UserNum,
    rooms: &[(RoomNum, i64)],
) -> Result<HashMap<RoomNum, Marks>, Error> {
    let joined = |joined: i64| Marks {
        main: joined,
        all: joined,
        threads: HashMap::new(),
        dropped: 0,
    };
    let mut marks: HashMap<RoomNum, Marks> = rooms
        .iter()
        .map(|(room, at)| (*room, joined(*at)))
        .collect();
    let wanted: Vec<RoomNum> = rooms.iter().map(|(room, _)| *room).collect();
    let mut kept: HashMap<(RoomNum, ReceiptKind), Kept> = HashMap::new();
    for (room, read) in receipts_of_rooms(tx, user, &wanted)? {
        let Some(marks) = marks.get_mut(&room) else {
            continue;
        };
        let place = read.place.major;
        match read.key.thread {
            ReceiptThread::Unthreaded => {
                marks.main = marks.main.max(place);
                marks.all = marks.all.max(place);
            }
            ReceiptThread::Main => marks.main = marks.main.max(place),
            ReceiptThread::Root(root) => {
                kept.entry((room, read.key.kind)).or_default().add(place);
                let mark = marks.threads.entry(root).or_default();
                *mark = place.max(*mark);
            }
        }
    }
    for ((room, _), kept) in kept {
        if let Some(marks) = marks.get_mut(&room).filter(|_| kept.is_full()) {
            marks.dropped = marks.dropped.max(kept.first);
        }
    }
    let wanted: Vec<i64> = wanted.iter().map(|room| room.0).collect();
    tx.query(
        &OWN_LAST,
        &[user.into(), Value::Ints(&wanted)],
        &mut |row| {
            if let (Some(marks), Some(own)) =
                (marks.get_mut(&RoomNum(row.int(0)?)), row.opt_int(1)?)
            {
                marks.main = marks.main.max(own);
            }
            Ok(())
        },
    )?;
    Ok(marks)
}
