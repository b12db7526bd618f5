//! In which rooms somebody is, found by the member events that there are of them: what this costs follows the rooms that they
//! were ever in, not those that there are.

use std::collections::BTreeMap;

use ruma_common::OwnedUserId;
use starling_db::{Error, Tx, Value};

use crate::numbers::{KeyNum, RoomNum, UserNum};
use crate::store::Store;

/// Users, each with their number and those of the rooms that they are in.
pub type Whereabouts = BTreeMap<OwnedUserId, (UserNum, Vec<RoomNum>)>;

starling_db::statements! {
    /// The rooms that a local user is in and of which there are member events of some users.
    MEMBER_ROOMS = "SELECT found.room_num, found.key_num FROM (SELECT DISTINCT events.room_num, events.key_num
            FROM {ints ?1} AS wanted CROSS JOIN events
            WHERE events.key_num = wanted.value AND events.type_num = 2) AS found
        WHERE EXISTS (SELECT 1 FROM memberships WHERE memberships.room_num = found.room_num AND memberships.membership = 2)
        ORDER BY found.room_num, found.key_num";
}

/// So many rooms are read at once.
const STEP: usize = 100;

impl Store {
    /// The rooms that members with these state keys have joined, of those that a local user is in: each with who has. Rooms
    /// that aren't `wanted`, which is asked once of each in the order of their numbers, are left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn rooms_of_members(
        &self,
        tx: &mut Tx<'_>,
        members: &[KeyNum],
        mut wanted: impl FnMut(RoomNum) -> bool,
    ) -> Result<BTreeMap<RoomNum, Vec<KeyNum>>, Error> {
        let keys: Vec<i64> = members.iter().map(|key| key.0).collect();
        let mut candidates: BTreeMap<RoomNum, Vec<KeyNum>> = BTreeMap::new();
        tx.query(&MEMBER_ROOMS, &[Value::Ints(&keys)], &mut |row| {
            let (room, key) = (RoomNum(row.int(0)?), KeyNum(row.int(1)?));
            candidates.entry(room).or_default().push(key);
            Ok(())
        })?;
        candidates.retain(|room, _| wanted(*room));
        let rooms: Vec<RoomNum> = candidates.keys().copied().collect();
        let mut found = BTreeMap::new();
        for rooms in rooms.chunks(STEP) {
            for room in self.rooms_read(tx, rooms)? {
                let mut keys = candidates.remove(&room.room).unwrap_or_default();
                keys.retain(|key| room.has_joined(*key));
                if !keys.is_empty() {
                    found.insert(room.room, keys);
                }
            }
        }
        Ok(found)
    }
    /// As [`Store::rooms_of_members`], of users by their ids: of each who is in any of these rooms, with their number.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn rooms_of_users<'a>(
        &self,
        tx: &mut Tx<'_>,
        users: impl Iterator<Item = &'a OwnedUserId> + Clone,
        wanted: impl FnMut(RoomNum) -> bool,
    ) -> Result<Whereabouts, Error> {
        let keys = self
            .names()
            .keys(tx, users.clone().map(|user| user.as_str()))?;
        let numbers = self.names().users(tx, users.clone().map(|user| &**user))?;
        let known = users.filter_map(|user| {
            let number = numbers.get(&**user)?;
            Some((*keys.get(user.as_str())?, (user, *number)))
        });
        let known: BTreeMap<KeyNum, (&OwnedUserId, UserNum)> = known.collect();
        let mut found = Whereabouts::new();
        if known.is_empty() {
            return Ok(found);
        }
        let members: Vec<KeyNum> = known.keys().copied().collect();
        for (room, keys) in self.rooms_of_members(tx, &members, wanted)? {
            for (user, number) in keys.iter().filter_map(|key| known.get(key)) {
                let place = found.entry((*user).clone());
                place.or_insert((*number, Vec::new())).1.push(room);
            }
        }
        Ok(found)
    }
}
