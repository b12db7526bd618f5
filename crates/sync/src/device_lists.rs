//! Whose devices a client must ask for again, and whose it need not follow any longer.
//! <https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user>
//!
//! Users count who share any room with the reader, encrypted or not: clients that don't follow somebody pass them over.
//! What this costs follows what has changed: members who came or went, rooms that the reader came to or left. Snapshots of
//! rooms may be newer than the head of the answer: what has happened since is told again by the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use starling_db::Tx;
use starling_store::device_lists::{ChangedMembers, device_lists_changed, members_changed};
use starling_store::memberships::{
    Membership, MembershipRow, membership_changes, membership_list, memberships_at, rooms_changed,
};
use starling_store::rooms::RoomSnapshot;
use starling_store::state_map::Entry;
use starling_store::{EventNum, KeyNum, RoomNum, Store};

use crate::state::StateAt;
use crate::{Error, Reader, Sync};

/// The rooms of so many users are found by the users, those of more by looking into each of the reader's.
const FEW_MEMBERS: usize = 100;

/// Whose devices have changed for a client.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct DeviceLists {
    /// Users who have other devices or cross-signing keys, or who share a room with the reader and didn't before.
    pub changed: BTreeSet<String>,
    /// Users who share no room with the reader any longer.
    pub left: BTreeSet<String>,
}

impl DeviceLists {
    pub(crate) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.left.is_empty()
    }
}

impl Sync {
    /// Answers `/keys/changes`: what changed between two tokens.
    ///
    /// # Errors
    /// [`Error::NotAToken`] when one is none of this server, or of another time; [`Error::Db`].
    pub async fn key_changes(
        &self,
        reader: &Reader,
        from: &str,
        to: &str,
    ) -> Result<DeviceLists, Error> {
        let head = self.bus.head();
        let from = self.token(from, head)?.position();
        let upto = self.token(to, head)?.position();
        let (store, reader) = (self.store.clone(), reader.clone());
        let read = move |tx: &mut Tx<'_>| read(tx, &store, &reader, (from, upto));
        self.store.db().scan("key_changes", read).await
    }
}

/// Who may have come to share a room with the reader, or ceased to: what is still to be read of it may be much.
#[derive(Debug)]
pub(crate) struct Moves {
    rooms: OwnRooms,
    /// Members who became something else in the rooms that the reader stayed in, or was in.
    members: ChangedMembers,
}

/// In which rooms the reader came to be, or ceased to be.
#[derive(Debug, Default)]
struct OwnRooms {
    /// Those that the reader is in and wasn't all the time.
    new: BTreeSet<RoomNum>,
    /// Those of them that the reader was in before, each with the event that ended that.
    again: BTreeMap<RoomNum, EventNum>,
    /// Those that the reader was in and is in no longer.
    left: BTreeSet<RoomNum>,
}

/// All who are in one of the rooms, and the reader: as if the devices of each had changed.
pub(crate) fn of_all(
    tx: &mut Tx<'_>,
    store: &Store,
    reader: &Reader,
    joined: &[RoomNum],
) -> Result<DeviceLists, Error> {
    let mut members = BTreeSet::new();
    for some in joined.chunks(super::sync::ROOMS_STEP) {
        for snapshot in store.rooms_read(tx, some)? {
            members.extend(joined_members(&snapshot));
        }
    }
    let names = store.names().key_names(tx, members)?;
    let mut changed: BTreeSet<String> = names.values().map(ToString::to_string).collect();
    changed.insert(reader.user_id.to_string());
    Ok(DeviceLists {
        changed,
        left: BTreeSet::new(),
    })
}

/// What changed after `since` and up to `upto`.
fn read(
    tx: &mut Tx<'_>,
    store: &Store,
    reader: &Reader,
    span: (i64, i64),
) -> Result<DeviceLists, Error> {
    match begin(tx, reader, span)? {
        (lists, Some(moves)) => finish(tx, store, reader, (lists, &moves)),
        (lists, None) => Ok(lists),
    }
}

/// What changed after `since` and up to `upto`, but for what follows from moves, which [`finish`] reads.
pub(crate) fn begin(
    tx: &mut Tx<'_>,
    reader: &Reader,
    (since, upto): (i64, i64),
) -> Result<(DeviceLists, Option<Moves>), Error> {
    let own = (reader.user, &*reader.user_id);
    let lists = DeviceLists {
        changed: device_lists_changed(tx, own, since, upto)?,
        left: BTreeSet::new(),
    };
    let rooms = own_rooms(tx, reader, (since, upto))?;
    let grown = rooms_changed(tx, reader.user, since)?;
    let looked_at = grown.into_iter().filter(|room| !rooms.new.contains(room));
    let looked_at = looked_at.chain(rooms.left.iter().copied());
    let looked_at: BTreeSet<RoomNum> = looked_at.chain(rooms.again.keys().copied()).collect();
    let looked_at: Vec<RoomNum> = looked_at.into_iter().collect();
    let members = members_changed(tx, &looked_at, since, upto)?;
    if members.is_empty() && rooms.new.is_empty() && rooms.left.is_empty() {
        return Ok((lists, None));
    }
    Ok((lists, Some(Moves { rooms, members })))
}

/// Adds who came to share a room with the reader and who ceased to.
pub(crate) fn finish(
    tx: &mut Tx<'_>,
    store: &Store,
    reader: &Reader,
    (mut lists, moves): (DeviceLists, &Moves),
) -> Result<DeviceLists, Error> {
    let (gained, mut lost) = came_and_went(tx, store, moves)?;
    lost.retain(|key| !gained.contains(key));
    if !lost.is_empty() {
        still_shared(tx, store, reader, &mut lost)?;
    }
    let names = store
        .names()
        .key_names(tx, gained.iter().chain(&lost).copied())?;
    let name = |key: &KeyNum| names.get(key).map(ToString::to_string);
    let is_other = |name: &String| *name != reader.user_id.as_str();
    lists
        .changed
        .extend(gained.iter().filter_map(name).filter(is_other));
    lists.left = lost.iter().filter_map(name).filter(is_other).collect();
    lists.changed.retain(|user| !lists.left.contains(user));
    Ok(lists)
}

fn own_rooms(
    tx: &mut Tx<'_>,
    reader: &Reader,
    (since, upto): (i64, i64),
) -> Result<OwnRooms, Error> {
    let mut own = OwnRooms::default();
    let mut changes: BTreeMap<RoomNum, Vec<MembershipRow>> = BTreeMap::new();
    for row in membership_changes(tx, reader.user, since, upto)? {
        changes.entry(row.room).or_default().push(row);
    }
    let rooms: Vec<RoomNum> = changes.keys().copied().collect();
    let before = memberships_at(tx, reader.user, &rooms, since)?;
    let is_join = |row: &MembershipRow| row.membership == Membership::Join;
    let was_joined = before.iter().filter(|row| is_join(row));
    let was_joined: BTreeSet<RoomNum> = was_joined.map(|row| row.room).collect();
    for (room, changes) in changes {
        let was_in = was_joined.contains(&room);
        if changes.last().is_some_and(is_join) {
            own.new.insert(room);
            let left = changes.iter().find(|row| !is_join(row));
            own.again
                .extend(left.filter(|_| was_in).map(|row| (room, row.event)));
        } else if was_in || changes.iter().any(is_join) {
            own.left.insert(room);
        }
    }
    Ok(own)
}

/// Those who came to be in a room with the reader, and those who ceased to be in one.
fn came_and_went(
    tx: &mut Tx<'_>,
    store: &Store,
    Moves { rooms, members }: &Moves,
) -> Result<(BTreeSet<KeyNum>, BTreeSet<KeyNum>), Error> {
    let (mut gained, mut lost) = (BTreeSet::new(), BTreeSet::new());
    let wanted: BTreeSet<RoomNum> = members.keys().map(|(room, _)| *room).collect();
    let wanted = wanted.union(&rooms.new).chain(&rooms.left).copied();
    let wanted: BTreeSet<RoomNum> = wanted.collect();
    let wanted: Vec<RoomNum> = wanted.into_iter().collect();
    let snapshots = store.rooms_read(tx, &wanted)?;
    let snapshots: BTreeMap<RoomNum, Arc<RoomSnapshot>> =
        snapshots.into_iter().map(|it| (it.room, it)).collect();
    for snapshot in snapshots.values() {
        if rooms.new.contains(&snapshot.room) {
            gained.extend(joined_members(snapshot));
        } else if rooms.left.contains(&snapshot.room) {
            lost.extend(joined_members(snapshot));
        }
    }
    lost.extend(members_when_left(tx, store, &rooms.again)?);
    for ((room, key), was_in) in members {
        let is_in = snapshots.get(room).is_some_and(|it| it.has_joined(*key));
        let reader_has_left = rooms.left.contains(room);
        if *was_in && (!is_in || reader_has_left) {
            lost.insert(*key);
        } else if is_in && !reader_has_left {
            // Who was out in between may have other devices, of which nobody here was told.
            gained.insert(*key);
        }
    }
    Ok((gained, lost))
}

/// Those who were in rooms when the reader left them: what happened until the reader came back, the server may not know, if
/// nobody else of it was there.
fn members_when_left(
    tx: &mut Tx<'_>,
    store: &Store,
    rooms: &BTreeMap<RoomNum, EventNum>,
) -> Result<BTreeSet<KeyNum>, Error> {
    let events: Vec<EventNum> = rooms.values().copied().collect();
    let mut members = BTreeSet::new();
    for event in store.events_read(tx, &events)? {
        let state = StateAt::after(tx, &event)?;
        let joined = state.members().filter(is_joined);
        members.extend(joined.map(|entry| entry.key));
    }
    Ok(members)
}

/// Takes out those who are in a room that the reader is in.
fn still_shared(
    tx: &mut Tx<'_>,
    store: &Store,
    reader: &Reader,
    keys: &mut BTreeSet<KeyNum>,
) -> Result<(), Error> {
    let joined = membership_list(tx, reader.user)?;
    let joined = joined
        .iter()
        .filter(|row| row.membership == Membership::Join);
    let joined: BTreeSet<RoomNum> = joined.map(|row| row.room).collect();
    if keys.len() <= FEW_MEMBERS {
        let members: Vec<KeyNum> = keys.iter().copied().collect();
        let shared = store.rooms_of_members(tx, &members, |room| joined.contains(&room))?;
        for key in shared.values().flatten() {
            keys.remove(key);
        }
        return Ok(());
    }
    let rooms: Vec<RoomNum> = joined.into_iter().collect();
    for some in rooms.chunks(super::sync::ROOMS_STEP) {
        if keys.is_empty() {
            return Ok(());
        }
        for snapshot in store.rooms_read(tx, some)? {
            keys.retain(|key| !snapshot.has_joined(*key));
        }
    }
    Ok(())
}

fn joined_members(snapshot: &RoomSnapshot) -> impl Iterator<Item = KeyNum> {
    let joined = snapshot.state.members().filter(|entry| is_joined(entry));
    joined.map(|entry| entry.key)
}

fn is_joined(entry: &Entry) -> bool {
    entry.tag == Membership::Join.code()
}
