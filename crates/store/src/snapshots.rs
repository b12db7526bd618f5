//! Stored states: a delta on a parent, or whole at least every hundredth, in pieces that whole states share.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use starling_db::{Error, Tx, Value};

use crate::numbers::{EventNum, KeyNum, RoomNum, SnapshotNum, TypeNum};
use crate::state_map::{self, Bucket, Change, Entry, StateMap};
use crate::varint;

starling_db::statements! {
    /// A new state.
    SNAPSHOT_INSERT = "INSERT INTO snapshots (room_num, parent, hops, data) VALUES (?1, ?2, ?3, ?4)
        RETURNING snapshot_num";
    /// A new piece of a whole state.
    PIECE_INSERT = "INSERT INTO snapshot_pieces (room_num, data) VALUES (?1, ?2) RETURNING piece_num";
    /// States and all that each is a delta on, newest first.
    SNAPSHOT_CHAINS = "WITH RECURSIVE chain (wanted, parent, hops, data) AS (
            SELECT snapshot_num, parent, hops, data FROM snapshots WHERE snapshot_num IN {ints ?1}
            UNION ALL
            SELECT chain.wanted, older.parent, older.hops, older.data
            FROM chain JOIN snapshots AS older ON older.snapshot_num = chain.parent
        )
        SELECT wanted, parent, data FROM chain ORDER BY wanted, hops DESC";
    /// Pieces of whole states.
    PIECES_READ = "SELECT piece_num, data FROM snapshot_pieces WHERE piece_num IN {ints ?1}";
}

/// A state is at most this many deltas away from a whole one.
pub const MAX_HOPS: i64 = 100;

/// Where more than this part of the keys has changed (one in so many), a state is stored whole.
const WHOLE_FROM: usize = 4;

/// Stands in a delta for the event of a key that the state has no longer.
const REMOVED: EventNum = EventNum(0);

/// A stored state, and how many deltas it is away from a whole one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its number.
    pub snapshot: SnapshotNum,
    /// Deltas down to a whole one.
    pub hops: i64,
}

/// Stores `state`, which is `parent` with `change`: as a delta, or whole where there is no parent or it is too far off.
///
/// # Errors
/// When the database fails.
pub fn snapshot_insert(
    tx: &mut Tx<'_>,
    room: RoomNum,
    parent: Option<Stored>,
    change: &Entry,
    state: &StateMap,
) -> Result<Stored, Error> {
    insert_delta(tx, room, parent, std::slice::from_ref(change), state)
}

/// Stores `state` where it differs from one that is stored: as the changes of that, or whole where they are many.
///
/// # Errors
/// When the database fails.
pub fn snapshot_store(
    tx: &mut Tx<'_>,
    room: RoomNum,
    base: Option<(&StateMap, Stored)>,
    state: &StateMap,
) -> Result<Stored, Error> {
    let Some((base, stored)) = base else {
        return insert_whole(tx, room, state);
    };
    let changes = base.changes_to(state);
    if changes.is_empty() {
        return Ok(stored);
    }
    // Whole states share the pieces that didn't change.
    if changes.len() > state.len().div_ceil(WHOLE_FROM) {
        return insert_whole(tx, room, state);
    }
    let changes: Vec<Entry> = changes.iter().map(removal_or_new).collect();
    insert_delta(tx, room, Some(stored), &changes, state)
}

fn insert_delta(
    tx: &mut Tx<'_>,
    room: RoomNum,
    parent: Option<Stored>,
    changes: &[Entry],
    state: &StateMap,
) -> Result<Stored, Error> {
    match parent {
        Some(parent) if parent.hops < MAX_HOPS => {
            let data = state_map::encode(changes);
            insert(tx, room, Some(parent.snapshot), parent.hops + 1, &data)
        }
        _ => insert_whole(tx, room, state),
    }
}

/// The entry that stands in a delta for a change: without an event, the key is removed.
fn removal_or_new(change: &Change) -> Entry {
    change.new.unwrap_or(Entry {
        kind: change.kind,
        key: change.key,
        event: REMOVED,
        tag: 0,
    })
}

fn insert(
    tx: &mut Tx<'_>,
    room: RoomNum,
    parent: Option<SnapshotNum>,
    hops: i64,
    data: &[u8],
) -> Result<Stored, Error> {
    let params = [room.into(), parent.into(), hops.into(), data.into()];
    let snapshot = tx.execute_returning(&SNAPSHOT_INSERT, &params, |row| {
        Ok(SnapshotNum(row.int(0)?))
    })?;
    let snapshot =
        snapshot.ok_or_else(|| Error::Damaged("a new state has no number".to_owned()))?;
    Ok(Stored { snapshot, hops })
}

fn insert_whole(tx: &mut Tx<'_>, room: RoomNum, state: &StateMap) -> Result<Stored, Error> {
    let mut pieces = vec![i64::try_from(state.other_buckets()).unwrap_or(i64::MAX)];
    let mut new = Vec::new();
    for bucket in state.buckets() {
        if let Some(piece) = bucket.piece() {
            pieces.push(piece);
        } else {
            let piece = piece_insert(tx, room, bucket)?;
            new.push((Arc::clone(bucket), piece));
            pieces.push(piece);
        }
    }
    tx.after_commit(move || {
        for (bucket, piece) in &new {
            bucket.stored_as(*piece);
        }
    });
    insert(tx, room, None, 0, &varint::list(pieces))
}

fn piece_insert(tx: &mut Tx<'_>, room: RoomNum, bucket: &Bucket) -> Result<i64, Error> {
    let params = [room.into(), Value::Bytes(&bucket.encode())];
    tx.execute_returning(&PIECE_INSERT, &params, |row| row.int(0))?
        .ok_or_else(|| Error::Damaged("a new piece has no number".to_owned()))
}

/// A whole state's list of pieces.
struct Pieces {
    other: Vec<i64>,
    members: Vec<i64>,
}

/// What the chain of a state consists of.
#[derive(Default)]
struct Chain {
    /// `None` until it is read.
    whole: Option<Pieces>,
    /// Deltas on it, newest first.
    deltas: Vec<Entry>,
    hops: i64,
}

/// The chains of some states; all of them, each with its whole state.
fn chains(
    tx: &mut Tx<'_>,
    snapshots: &[SnapshotNum],
) -> Result<HashMap<SnapshotNum, (Pieces, Chain)>, Error> {
    let numbers: Vec<i64> = snapshots.iter().map(|snapshot| snapshot.0).collect();
    let mut chains: HashMap<SnapshotNum, Chain> = HashMap::with_capacity(snapshots.len());
    tx.query(&SNAPSHOT_CHAINS, &[Value::Ints(&numbers)], &mut |row| {
        let wanted = SnapshotNum(row.int(0)?);
        let chain = chains.entry(wanted).or_default();
        if row.opt_int(1)?.is_some() {
            chain.hops += 1;
            chain.deltas.extend(state_map::decode(row.bytes(2)?)?);
        } else {
            let pieces = Pieces::read(row.bytes(2)?);
            chain.whole = Some(pieces.ok_or_else(|| damaged(wanted, "its pieces cannot be read"))?);
        }
        Ok(())
    })?;
    let whole = |snapshot: &SnapshotNum| {
        let mut chain = chains.remove(snapshot).unwrap_or_default();
        let whole = chain.whole.take();
        let whole = whole.ok_or_else(|| damaged(*snapshot, "it ends in no whole state"))?;
        Ok((*snapshot, (whole, chain)))
    };
    snapshots
        .iter()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(whole)
        .collect()
}

impl Pieces {
    fn read(bytes: &[u8]) -> Option<Self> {
        let numbers = varint::read_list(bytes)?;
        let (others, pieces) = numbers.split_first()?;
        let (other, members) = pieces.split_at_checked(usize::try_from(*others).ok()?)?;
        Some(Self {
            other: other.to_vec(),
            members: members.to_vec(),
        })
    }

    fn map(&self, buckets: &HashMap<i64, Arc<Bucket>>) -> Option<StateMap> {
        let pick = |numbers: &[i64]| {
            numbers
                .iter()
                .map(|number| buckets.get(number).cloned())
                .collect::<Option<Vec<_>>>()
        };
        StateMap::from_buckets(pick(&self.other)?, pick(&self.members)?)
    }
}

fn damaged(snapshot: SnapshotNum, what: &str) -> Error {
    Error::Damaged(format!("state {}: {what}", snapshot.0))
}

fn pieces_read(tx: &mut Tx<'_>, numbers: &[i64]) -> Result<HashMap<i64, Arc<Bucket>>, Error> {
    let read = tx.query_all(&PIECES_READ, &[numbers.into()], |row| {
        let piece = row.int(0)?;
        Ok((piece, Arc::new(Bucket::decode(piece, row.bytes(1)?)?)))
    })?;
    Ok(read.into_iter().collect())
}

/// The state stored as `snapshot`.
///
/// # Errors
/// When the database cannot be read, or what it holds is no state.
pub fn snapshot_load(tx: &mut Tx<'_>, snapshot: SnapshotNum) -> Result<(StateMap, Stored), Error> {
    snapshots_load(tx, &[snapshot])?
        .remove(&snapshot)
        .ok_or_else(|| damaged(snapshot, "it is not there"))
}

/// The states stored as `snapshots`, with two queries for all of them.
///
/// # Errors
/// As [`snapshot_load`].
pub fn snapshots_load(
    tx: &mut Tx<'_>,
    snapshots: &[SnapshotNum],
) -> Result<HashMap<SnapshotNum, (StateMap, Stored)>, Error> {
    let chains = chains(tx, snapshots)?;
    let pieces = chains
        .values()
        .flat_map(|(whole, _)| whole.other.iter().chain(&whole.members));
    let pieces: BTreeSet<i64> = pieces.copied().collect();
    let buckets = pieces_read(tx, &pieces.into_iter().collect::<Vec<_>>())?;
    let load = |(snapshot, (whole, chain)): (SnapshotNum, (Pieces, Chain))| {
        let map = whole.map(&buckets);
        let mut map = map.ok_or_else(|| damaged(snapshot, "pieces are missing"))?;
        for delta in chain.deltas.iter().rev() {
            let is_there = delta.event != REMOVED;
            map = map.set(delta.kind, delta.key, is_there.then_some(*delta));
        }
        let hops = chain.hops;
        Ok((snapshot, (map, Stored { snapshot, hops })))
    };
    chains.into_iter().map(load).collect()
}

/// One key of the state stored as `snapshot`, without reading the rest.
///
/// # Errors
/// As [`snapshot_load`].
pub fn snapshot_get(
    tx: &mut Tx<'_>,
    snapshot: SnapshotNum,
    kind: TypeNum,
    key: KeyNum,
) -> Result<Option<Entry>, Error> {
    let Some((whole, chain)) = chains(tx, &[snapshot])?.remove(&snapshot) else {
        return Ok(None);
    };
    if let Some(entry) = chain
        .deltas
        .iter()
        .find(|entry| entry.kind == kind && entry.key == key)
    {
        return Ok(Some(*entry).filter(|entry| entry.event != REMOVED));
    }
    let Pieces { other, members } = &whole;
    let at = StateMap::piece_of(kind, key, other.len(), members.len());
    let Some(piece) = other.iter().chain(members).nth(at) else {
        return Ok(None);
    };
    let buckets = pieces_read(tx, &[*piece])?;
    Ok(buckets
        .get(piece)
        .and_then(|bucket| bucket.get(kind, key).copied()))
}
