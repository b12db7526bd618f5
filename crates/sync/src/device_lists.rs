//! Whose devices a client must ask for again, and whose it need not follow any longer.
//! <https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user>
//!
//! Users count who share any room with the reader, encrypted or not: clients that don't follow somebody pass them over.
//! What this costs follows what has changed: members who came or went, rooms that the reader came to or left. Snapshots of
//! rooms may be newer than the head of the answer: what has happened since is told again by the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use starling_db::Tx;
use starling_events::Value;
use starling_store::device_lists::{ChangedMembers, device_lists_changed, members_changed};
use starling_store::events::Event;
use starling_store::memberships::{
    Membership, membership_changes, membership_list, memberships_at, rooms_changed,
};
use starling_store::rooms::RoomSnapshot;
use starling_store::{EventNum, KeyNum, RoomNum, Store};

use crate::{Error, Reader, Sync};

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

/// In which rooms the reader came to be, or ceased to be.
#[derive(Debug, Default)]
struct OwnRooms {
    /// Those that the reader is in and wasn't all the time.
    new: BTreeSet<RoomNum>,
    /// Those that the reader was in and is in no longer.
    left: BTreeSet<RoomNum>,
    /// Those that the reader is in.
    joined: BTreeSet<RoomNum>,
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
pub(crate) fn read(
    tx: &mut Tx<'_>,
    store: &Store,
    reader: &Reader,
    (since, upto): (i64, i64),
) -> Result<DeviceLists, Error> {
    let own = (reader.user, &*reader.user_id);
    let mut lists = DeviceLists {
        changed: device_lists_changed(tx, own, since, upto)?,
        left: BTreeSet::new(),
    };
    let rooms = own_rooms(tx, reader, (since, upto))?;
    let grown = rooms_changed(tx, reader.user, since)?;
    let looked_at = grown.into_iter().filter(|room| !rooms.new.contains(room));
    let looked_at: BTreeSet<RoomNum> = looked_at.chain(rooms.left.iter().copied()).collect();
    let looked_at: Vec<RoomNum> = looked_at.into_iter().collect();
    let moved = members_changed(tx, &looked_at, since, upto)?;
    if moved.is_empty() && rooms.new.is_empty() && rooms.left.is_empty() {
        return Ok(lists);
    }
    let (gained, mut lost) = came_and_went(tx, store, &rooms, &moved)?;
    lost.retain(|key| !gained.contains(key));
    still_shared(tx, store, &rooms.joined, &mut lost)?;
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
    let all = membership_list(tx, reader.user)?;
    let joined = all.iter().filter(|row| row.membership == Membership::Join);
    own.joined = joined.map(|row| row.room).collect();
    let changes = membership_changes(tx, reader.user, since, upto)?;
    let rooms: BTreeSet<RoomNum> = changes.iter().map(|row| row.room).collect();
    let rooms: Vec<RoomNum> = rooms.into_iter().collect();
    let before = memberships_at(tx, reader.user, &rooms, since)?;
    let was_joined = before
        .iter()
        .filter(|row| row.membership == Membership::Join);
    let was_joined: BTreeSet<RoomNum> = was_joined.map(|row| row.room).collect();
    for room in rooms {
        let mut memberships = changes.iter().filter(|row| row.room == room);
        let was_in = was_joined.contains(&room);
        let is_in = memberships
            .clone()
            .next_back()
            .is_some_and(|last| last.membership == Membership::Join);
        if is_in {
            own.new.insert(room);
        } else if was_in || memberships.any(|row| row.membership == Membership::Join) {
            own.left.insert(room);
        }
    }
    Ok(own)
}

/// Those who came to be in a room with the reader, and those who ceased to be in one.
fn came_and_went(
    tx: &mut Tx<'_>,
    store: &Store,
    rooms: &OwnRooms,
    moved: &ChangedMembers,
) -> Result<(BTreeSet<KeyNum>, BTreeSet<KeyNum>), Error> {
    let (mut gained, mut lost) = (BTreeSet::new(), BTreeSet::new());
    let wanted: BTreeSet<RoomNum> = moved.keys().map(|(room, _)| *room).collect();
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
    let before: BTreeSet<EventNum> = moved.values().flatten().copied().collect();
    let before: Vec<EventNum> = before.into_iter().collect();
    let before = store.events_read(tx, &before)?;
    let joins: BTreeSet<EventNum> = before
        .iter()
        .filter(|event| is_join(event))
        .map(|event| event.num)
        .collect();
    for ((room, key), before) in moved {
        let was_in = before.is_some_and(|event| joins.contains(&event));
        let is_in = snapshots.get(room).is_some_and(|it| it.has_joined(*key));
        if was_in && (!is_in || rooms.left.contains(room)) {
            lost.insert(*key);
        } else if is_in && !was_in && !rooms.left.contains(room) {
            gained.insert(*key);
        }
    }
    Ok((gained, lost))
}

/// Takes out those who are in one of the rooms.
fn still_shared(
    tx: &mut Tx<'_>,
    store: &Store,
    rooms: &BTreeSet<RoomNum>,
    keys: &mut BTreeSet<KeyNum>,
) -> Result<(), Error> {
    let rooms: Vec<RoomNum> = rooms.iter().copied().collect();
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
    let members = snapshot.state.members();
    let joined = members.filter(|entry| entry.tag == Membership::Join.code());
    joined.map(|entry| entry.key)
}

fn is_join(event: &Event) -> bool {
    let membership = Value::new(event.pdu.content()).get("membership");
    membership.and_then(Value::as_str).as_deref() == Some("join")
}
