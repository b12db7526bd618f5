//! Rooms: the row, the committed snapshot that all readers see, and appending an event with all that follows from it.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use ruma_common::{OwnedRoomId, RoomId};
use starling_db::{Commits, Error, Tx};
use starling_events::{EventReference, Pdu, RoomVersion, Value};

use crate::events::{Event, Visibility};
use crate::heroes::{FirstMembers, KnownHeroes};
use crate::last_changes::{LastChanges, STRIPES};
use crate::memberships::Membership;
use crate::names::{EMPTY_KEY, types};
use crate::numbers::{EventNum, RoomNum, SnapshotNum};
use crate::room_details::details_insert;
use crate::snapshots::{Stored, snapshots_load};
use crate::state_map::StateMap;
use crate::store::Store;
use crate::unread::RoomUnread;
use crate::unread::counts::room_counts;
use crate::varint;

starling_db::statements! {
    /// A new room, as yet without events.
    ROOM_INSERT = "INSERT INTO rooms (room_id, room_version, append_count, head_hash, last_position, snapshot_num,
            extremities)
        VALUES (?1, ?2, 0, 0, 0, 0, ?3) RETURNING room_num";
    /// Moves a room's head on, if it is where the event was built on.
    ROOM_ADVANCE = "UPDATE rooms SET append_count = ?4, head_hash = ?5, last_position = ?6, snapshot_num = ?7,
            extremities = ?8, has_aggregations = ?9
        WHERE room_num = ?1 AND append_count = ?2 AND head_hash = ?3 RETURNING has_waiting_receipts";
    /// A room by its id.
    ROOM_NUM = "SELECT room_num FROM rooms WHERE room_id = ?1";
    /// Whether there is a room of this number.
    ROOM_EXISTS = "SELECT 1 FROM rooms WHERE room_num = ?1";
    /// Rooms.
    ROOMS_READ = "SELECT room_id, room_version, append_count, head_hash, last_position, snapshot_num, extremities,
            room_num, has_aggregations, is_shared
        FROM rooms WHERE room_num IN {ints ?1}";
}

/// An event that no other of the room follows yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extremity {
    /// Its number.
    pub num: EventNum,
    /// How the next event names it.
    pub reference: EventReference,
    /// Its depth.
    pub depth: i64,
}

impl Extremity {
    pub(crate) fn new(num: EventNum, pdu: &Pdu) -> Self {
        Self {
            num,
            reference: EventReference::of(pdu),
            depth: pdu.depth(),
        }
    }
}

/// A room as committed: immutable, and all that readers see.
#[derive(Debug, Clone)]
pub struct RoomSnapshot {
    /// The room.
    pub room: RoomNum,
    /// Its id.
    pub room_id: OwnedRoomId,
    /// Its version.
    pub version: RoomVersion,
    /// How many events were appended, and a hash of the last one's id: together they name this state of the room.
    pub append_count: i64,
    /// See `append_count`.
    pub head_hash: i64,
    /// The position of the last event.
    pub last_position: i64,
    /// The forward extremities.
    pub extremities: Vec<Extremity>,
    /// The current state.
    pub state: StateMap,
    /// Where the current state is stored; `None` before the first event.
    pub stored: Option<Stored>,
    /// Who may see what is sent now.
    pub visibility: Visibility,
    /// Joined members.
    pub joined: i64,
    /// Invited users.
    pub invited: i64,
    /// Who may stand for it, once somebody has asked.
    pub heroes: KnownHeroes,
    /// Whether an event of the room was ever an edit, of a thread, or a reference: if not, no event has aggregations.
    pub has_aggregations: bool,
    /// Whether another server is in it, or ever was: if not, nothing of it is sent out.
    pub is_shared: bool,
    /// What its unread counts are made of.
    pub unread: RoomUnread,
}

impl RoomSnapshot {
    /// A room that is being created.
    #[must_use]
    pub fn new(room: RoomNum, room_id: OwnedRoomId, version: RoomVersion) -> Self {
        Self {
            room,
            room_id,
            version,
            append_count: 0,
            head_hash: 0,
            last_position: 0,
            extremities: Vec::new(),
            state: StateMap::default(),
            stored: None,
            visibility: Visibility::Shared,
            joined: 0,
            invited: 0,
            heroes: KnownHeroes::default(),
            has_aggregations: false,
            is_shared: false,
            unread: RoomUnread::default(),
        }
    }

    /// Its first members: found once, however many ask.
    #[must_use]
    pub fn first_members(&self) -> Arc<FirstMembers> {
        self.heroes
            .get(|| FirstMembers::of(self.state.members().copied()))
    }

    /// Whether the user with this state key has joined.
    #[must_use]
    pub fn has_joined(&self, key: crate::numbers::KeyNum) -> bool {
        let entry = self.state.get(types::MEMBER, key);
        entry.is_some_and(|entry| entry.tag == Membership::Join.code())
    }

    /// The event that holds a key of the current state.
    #[must_use]
    pub fn state_event(
        &self,
        kind: crate::numbers::TypeNum,
        key: crate::numbers::KeyNum,
    ) -> Option<EventNum> {
        self.state.get(kind, key).map(|entry| entry.event)
    }
}

/// A hash of an event id, for [`RoomSnapshot::head_hash`]: stored, so it never changes (FNV-1a).
#[must_use]
pub fn head_hash(event_id: &ruma_common::EventId) -> i64 {
    stable_hash(event_id.as_bytes())
}

/// FNV-1a of some bytes, as a signed integer: for what is stored, where the hash must not change.
#[must_use]
pub fn stable_hash(bytes: &[u8]) -> i64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    i64::from_ne_bytes(hash.to_ne_bytes())
}

/// Makes the rows of a new room; `is_public` lists it in the directory.
///
/// # Errors
/// [`Error::Constraint`] when there is a room with this id.
pub fn room_insert(
    tx: &mut Tx<'_>,
    room_id: &RoomId,
    version: RoomVersion,
    is_public: bool,
) -> Result<RoomNum, Error> {
    let params = [
        room_id.as_str().into(),
        version.as_str().into(),
        starling_db::Value::Bytes(&[]),
    ];
    let room = tx
        .execute_returning(&ROOM_INSERT, &params, |row| Ok(RoomNum(row.int(0)?)))?
        .ok_or_else(|| Error::Damaged("a new room has no number".to_owned()))?;
    details_insert(tx, room, is_public)?;
    Ok(room)
}

/// Moves a room from `before` to `after`, and tells whether receipts may wait for its events; `None` when it isn't at
/// `before` any more.
///
/// # Errors
/// When the database fails.
pub fn room_advance(
    tx: &mut Tx<'_>,
    before: &RoomSnapshot,
    after: &RoomSnapshot,
) -> Result<Option<bool>, Error> {
    let extremities = varint::list(after.extremities.iter().map(|extremity| extremity.num.0));
    let params = [
        after.room.into(),
        before.append_count.into(),
        before.head_hash.into(),
        after.append_count.into(),
        after.head_hash.into(),
        after.last_position.into(),
        after.stored.map_or(0, |stored| stored.snapshot.0).into(),
        starling_db::Value::Bytes(&extremities),
        after.has_aggregations.into(),
    ];
    tx.execute_returning(&ROOM_ADVANCE, &params, |row| row.truth(0))
}

/// An error where there is no such room any longer: what is written of one that was purged would stay for ever.
pub(crate) fn room_must_exist(tx: &mut Tx<'_>, room: RoomNum) -> Result<(), Error> {
    let found = tx.query_one(&ROOM_EXISTS, &[room.into()], |row| row.int(0))?;
    let gone = || Error::Unavailable(format!("room {} is gone", room.0));
    found.map(drop).ok_or_else(gone)
}

impl Store {
    /// The number of a room, if it is known here.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn room_num(&self, room_id: &RoomId) -> Result<Option<RoomNum>, Error> {
        if let Some(room) = self.rooms().ids.get(room_id) {
            return Ok(Some(room));
        }
        let (store, wanted) = (self.clone(), room_id.to_owned());
        let read = move |tx: &mut Tx<'_>| {
            let found = tx.query_one(&ROOM_NUM, &[wanted.as_str().into()], |row| {
                Ok(RoomNum(row.int(0)?))
            })?;
            if let Some(room) = found {
                store.rooms().insert_id(tx, wanted, room);
            }
            Ok(found)
        };
        self.db().read("room_num", read).await
    }

    /// The id of a room, within a transaction.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn room_id(&self, tx: &mut Tx<'_>, room: RoomNum) -> Result<Option<OwnedRoomId>, Error> {
        if let Some(snapshot) = self.rooms().get(room) {
            return Ok(Some(snapshot.room_id.clone()));
        }
        let row = room_rows(tx, &[room.0])?.pop();
        Ok(row.map(|row| row.snapshot.room_id))
    }

    /// The committed snapshot of a room, or `None` if there is no such room.
    ///
    /// # Errors
    /// When the database cannot be read, or what it holds is damaged.
    pub async fn room(&self, room: RoomNum) -> Result<Option<Arc<RoomSnapshot>>, Error> {
        if let Some(snapshot) = self.rooms().get(room) {
            return Ok(Some(snapshot));
        }
        let store = self.clone();
        self.db()
            .read("room", move |tx| store.room_read(tx, room))
            .await
    }

    /// As [`Store::room`], within a transaction.
    ///
    /// # Errors
    /// As [`Store::room`].
    pub fn room_read(
        &self,
        tx: &mut Tx<'_>,
        room: RoomNum,
    ) -> Result<Option<Arc<RoomSnapshot>>, Error> {
        Ok(self.rooms_read(tx, &[room])?.pop())
    }

    /// As [`Store::room_read`], for many: in the order asked for, without those that don't exist. What isn't at hand
    /// takes six queries for all of them.
    ///
    /// # Errors
    /// As [`Store::room`].
    pub fn rooms_read(
        &self,
        tx: &mut Tx<'_>,
        rooms: &[RoomNum],
    ) -> Result<Vec<Arc<RoomSnapshot>>, Error> {
        let mut found: HashMap<RoomNum, Arc<RoomSnapshot>> = HashMap::with_capacity(rooms.len());
        let mut missing = Vec::new();
        for room in rooms {
            match self.rooms().get(*room) {
                Some(snapshot) => drop(found.insert(*room, snapshot)),
                None => missing.push(room.0),
            }
        }
        if !missing.is_empty() {
            for snapshot in self.snapshots_of(tx, &missing)? {
                let snapshot = Arc::new(snapshot);
                self.rooms().insert_read(tx, &snapshot);
                found.insert(snapshot.room, snapshot);
            }
        }
        Ok(rooms
            .iter()
            .filter_map(|room| found.get(room).cloned())
            .collect())
    }

    /// The snapshots of rooms as they are stored.
    fn snapshots_of(&self, tx: &mut Tx<'_>, rooms: &[i64]) -> Result<Vec<RoomSnapshot>, Error> {
        let rows = room_rows(tx, rooms)?;
        let stored: Vec<SnapshotNum> = rows
            .iter()
            .filter_map(|row| row.snapshot.stored.map(|stored| stored.snapshot))
            .collect();
        let mut states = snapshots_load(tx, &stored)?;
        let mut snapshots = Vec::with_capacity(rows.len());
        let mut wanted = Vec::new();
        for RoomRow {
            mut snapshot,
            extremities,
        } in rows
        {
            let state = snapshot
                .stored
                .and_then(|stored| states.remove(&stored.snapshot));
            if let Some((state, stored)) = state {
                snapshot.joined = count(&state, Membership::Join);
                snapshot.invited = count(&state, Membership::Invite);
                snapshot.state = state;
                snapshot.stored = Some(stored);
            }
            wanted.extend(&extremities);
            wanted.extend(snapshot.state_event(types::HISTORY_VISIBILITY, EMPTY_KEY));
            snapshots.push((snapshot, extremities));
        }
        let events = self.events_read(tx, &wanted)?;
        let events: HashMap<EventNum, Arc<Event>> =
            events.into_iter().map(|event| (event.num, event)).collect();
        let finish = |(mut snapshot, extremities): (RoomSnapshot, Vec<EventNum>)| {
            let extremities = extremities.iter().filter_map(|number| events.get(number));
            snapshot.extremities = extremities
                .map(|event| Extremity::new(event.num, &event.pdu))
                .collect();
            let visibility = snapshot.state_event(types::HISTORY_VISIBILITY, EMPTY_KEY);
            if let Some(event) = visibility.and_then(|number| events.get(&number)) {
                snapshot.visibility = visibility_of(&event.pdu);
            }
            snapshot
        };
        let mut snapshots: Vec<RoomSnapshot> = snapshots.into_iter().map(finish).collect();
        room_counts(tx, &mut snapshots)?;
        Ok(snapshots)
    }
}

/// The history visibility that an `m.room.history_visibility` event sets.
#[must_use]
pub fn visibility_of(pdu: &Pdu) -> Visibility {
    let word = Value::new(pdu.content())
        .get("history_visibility")
        .and_then(Value::as_str);
    word.map_or(Visibility::Shared, |word| Visibility::parse(&word))
}

/// What a room's row says.
struct RoomRow {
    /// Without the extremities and the state.
    snapshot: RoomSnapshot,
    extremities: Vec<EventNum>,
}

fn room_rows(tx: &mut Tx<'_>, rooms: &[i64]) -> Result<Vec<RoomRow>, Error> {
    tx.query_all(&ROOMS_READ, &[rooms.into()], |row| {
        let room = RoomNum(row.int(7)?);
        let damaged = |what: &str| Error::Damaged(format!("room {}: {what}", room.0));
        let room_id = OwnedRoomId::try_from(row.text(0)?).map_err(|_| damaged("its id"))?;
        let version = RoomVersion::parse(row.text(1)?).ok_or_else(|| damaged("its version"))?;
        let extremities =
            varint::read_list(row.bytes(6)?).ok_or_else(|| damaged("its extremities"))?;
        let snapshot_num = row.int(5)?;
        let snapshot = RoomSnapshot {
            append_count: row.int(2)?,
            head_hash: row.int(3)?,
            last_position: row.int(4)?,
            stored: (snapshot_num != 0).then_some(Stored {
                snapshot: SnapshotNum(snapshot_num),
                hops: 0,
            }),
            has_aggregations: row.truth(8)?,
            is_shared: row.truth(9)?,
            ..RoomSnapshot::new(room, room_id, version)
        };
        let extremities = extremities.into_iter().map(EventNum).collect();
        Ok(RoomRow {
            snapshot,
            extremities,
        })
    })
}

fn count(state: &StateMap, membership: Membership) -> i64 {
    let members = state
        .members()
        .filter(|entry| entry.tag == membership.code());
    i64::try_from(members.count()).unwrap_or(i64::MAX)
}

/// Committed snapshots, and the numbers of rooms by id.
#[derive(Debug)]
pub struct RoomCache {
    snapshots: Cache<RoomNum, Arc<RoomSnapshot>, ByState>,
    ids: Cache<OwnedRoomId, RoomNum>,
    changes: LastChanges,
    /// Held while a snapshot is put in, so that a reader never replaces a newer one.
    inserting: Mutex<()>,
}

#[derive(Debug, Clone)]
struct ByState;

impl Weighter<RoomNum, Arc<RoomSnapshot>> for ByState {
    fn weight(&self, _room: &RoomNum, snapshot: &Arc<RoomSnapshot>) -> u64 {
        // Four numbers a key, and the snapshot itself.
        let state = snapshot.state.len() as u64 * 36;
        let watch = snapshot.unread.watch.as_ref();
        state + watch.map_or(0, |watch| watch.bytes()) + 700
    }
}

impl RoomCache {
    pub(crate) fn new(bytes: u64, commits: Commits) -> Self {
        let estimate = usize::try_from(bytes / 4096).unwrap_or(usize::MAX).max(16);
        Self {
            snapshots: Cache::with_weighter(estimate, bytes, ByState),
            ids: Cache::new(estimate),
            changes: LastChanges::new(STRIPES, commits),
            inserting: Mutex::new(()),
        }
    }

    /// The room's snapshot, if it is here.
    #[must_use]
    pub fn get(&self, room: RoomNum) -> Option<Arc<RoomSnapshot>> {
        self.snapshots.get(&room)
    }

    /// Puts in what was just committed: from the commit's hook.
    pub fn replace(&self, snapshot: Arc<RoomSnapshot>) {
        let _inserting = self.inserting.lock();
        self.changes.note(snapshot.room.0);
        self.snapshots.insert(snapshot.room, snapshot);
    }

    /// Forgets a room's snapshot: the next reader takes it from the database.
    pub fn forget(&self, room: RoomNum) {
        let _inserting = self.inserting.lock();
        self.snapshots.remove(&room);
    }

    /// Forgets a room that there is no longer: from the commit's hook.
    pub(crate) fn purged(&self, room_id: &str, room: RoomNum) {
        let _inserting = self.inserting.lock();
        self.changes.note(room.0);
        self.snapshots.remove(&room);
        if let Ok(room_id) = <&RoomId>::try_from(room_id) {
            self.ids.remove(room_id);
        }
    }

    /// Puts in the number that `tx` has read for an id, unless the room may be gone since.
    fn insert_id(&self, tx: &Tx<'_>, room_id: OwnedRoomId, room: RoomNum) {
        let _inserting = self.inserting.lock();
        if self.changes.are_seen_by(tx, room.0) {
            self.ids.insert(room_id, room);
        }
    }

    /// Puts in what `tx` has read, unless the room may have changed since. Under a lock: what a hook has put in meanwhile
    /// is newer, and must not be taken out.
    fn insert_read(&self, tx: &Tx<'_>, snapshot: &Arc<RoomSnapshot>) {
        let _inserting = self.inserting.lock();
        if self.changes.are_seen_by(tx, snapshot.room.0) {
            self.snapshots.insert(snapshot.room, Arc::clone(snapshot));
        }
    }
}
