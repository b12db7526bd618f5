//! The words by which users of other servers are found: those of the user's id, and of the display name that their member event
//! in a room shows. <https://spec.matrix.org/v1.19/client-server-api/#user-directory>
//!
//! They follow the joined members of each room's current state in the transaction that changes it. Where many change at once
//! (this server comes into a room), a job writes them afterwards, piece by piece. A name is found through the room that shows
//! it, so nobody learns of one that is used in a room that they don't see. A redacted name leaves its words behind until the
//! member's next event; who searches compares with what the event shows now.

use std::collections::BTreeMap;
use std::sync::Arc;

use ruma_common::{ServerName, UserId};
use starling_db::{Error, Row, Tx, Value, Write};
use starling_events::{Pdu, Value as Json};

use crate::events::Event;
use crate::jobs::Task;
use crate::memberships::Membership;
use crate::names::types;
use crate::numbers::{EventNum, KeyNum, RoomNum, UserNum};
use crate::rooms::RoomSnapshot;
use crate::state_map::{Change, Entry};
use crate::store::Store;
use crate::user_words::words_of;

starling_db::statements! {
    /// Words of a member.
    MEMBER_WORDS_INSERT = "INSERT INTO member_words (word, key_num, room_num, event_num)
        SELECT words.value, CAST(?2 AS BIGINT), CAST(?3 AS BIGINT), CAST(?4 AS BIGINT) FROM {blobs ?1} AS words WHERE 1 = 1
        ON CONFLICT (word, key_num, room_num) DO UPDATE SET event_num = excluded.event_num";
    /// Removes the words of some members.
    MEMBER_WORDS_DELETE = "DELETE FROM member_words WHERE room_num = ?1 AND key_num IN {ints ?2}";
    /// Removes the words of the members in a stretch of state keys.
    MEMBER_WORDS_DELETE_STRETCH = "DELETE FROM member_words WHERE room_num = ?1 AND key_num > ?2 AND key_num <= ?3";
    /// Whether a room is where a snapshot shows it.
    MEMBER_WORDS_ROOM = "SELECT 1 FROM rooms WHERE room_num = ?1 AND append_count = ?2 AND head_hash = ?3";
    /// The members who have words in a stretch of the alphabet, and the words.
    MEMBER_WORDS_FROM = "SELECT word, key_num, room_num, event_num FROM member_words
        WHERE (word, key_num, room_num) > (?1, ?2, ?3) AND word < ?4 ORDER BY word, key_num, room_num LIMIT ?5";
    /// Of the first members who have words in a stretch of the alphabet, those in rooms that a user is in, and the words.
    MEMBER_WORDS_COMMON = "SELECT words.word, words.key_num, words.room_num, words.event_num
        FROM (SELECT word, key_num, room_num, event_num FROM member_words WHERE word >= ?1 AND word < ?2
            ORDER BY word, key_num, room_num LIMIT ?3) AS words
        JOIN memberships AS own ON own.user_num = ?4 AND own.room_num = words.room_num AND own.membership = 2
        ORDER BY words.word, words.key_num, words.room_num";
    /// Those of some rooms that a user is in, or that are open to all and that a user of this server is in.
    MEMBER_WORDS_VISIBLE = "SELECT wanted.value FROM {ints ?1} AS wanted
        WHERE EXISTS (SELECT 1 FROM memberships AS own
                WHERE own.user_num = ?2 AND own.room_num = wanted.value AND own.membership = 2)
            OR (EXISTS (SELECT 1 FROM room_details WHERE room_details.room_num = wanted.value
                    AND (room_details.join_rule = ?3 OR room_details.world_readable = 1))
                AND EXISTS (SELECT 1 FROM memberships AS others
                    WHERE others.room_num = wanted.value AND others.membership = 2))";
}

/// So many members are followed within the transaction that changes them; of more, a job writes the words.
const AT_ONCE: usize = 50;

/// So many members are a piece of the job.
const PIECE: usize = 100;

impl Store {
    /// Follows changes of members in a room's current state; `event` is the one that brought them about.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn member_words_follow(
        &self,
        tx: &mut Tx<'_>,
        event: &Event,
        changes: &[Change],
        (server, now_ms): (&ServerName, i64),
    ) -> Result<(), Error> {
        let own = event
            .key
            .filter(|_| of_others(&event.pdu, server).is_none());
        let of_members: Vec<&Change> = changes
            .iter()
            .filter(|change| change.kind == types::MEMBER && Some(change.key) != own)
            .collect();
        if of_members.is_empty() {
            return Ok(());
        }
        if of_members.len() > AT_ONCE {
            return self.job_note(tx, Task::MemberWords(event.room), now_ms);
        }
        let was_there = of_members
            .iter()
            .filter(|change| change.old.is_some_and(is_joined));
        let gone: Vec<i64> = was_there.map(|change| change.key.0).collect();
        if !gone.is_empty() {
            let params = [event.room.into(), Value::Ints(&gone)];
            tx.execute(&MEMBER_WORDS_DELETE, &params)?;
        }
        let joined = of_members.iter().filter_map(|change| change.new);
        let joined = joined.filter(|entry| is_joined(*entry));
        let (own, others): (Vec<Entry>, Vec<Entry>) =
            joined.partition(|entry| entry.event == event.num);
        if let Some(entry) = own.first() {
            insert(tx, event.room, (*entry, &event.pdu), server)?;
        }
        self.insert_all(tx, event.room, &others, server)
    }

    /// Writes the words of the next members of a room; gives where the next piece begins, or `None` at the end.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn member_words_piece(
        &self,
        room: RoomNum,
        after: i64,
        server: &ServerName,
    ) -> Result<Option<i64>, Error> {
        let Some(snapshot) = self.room(room).await? else {
            return Ok(None);
        };
        let members = snapshot.state.members();
        let mut members: Vec<Entry> = members
            .filter(|entry| entry.key.0 > after)
            .copied()
            .collect();
        if members.len() > PIECE {
            members.select_nth_unstable_by_key(PIECE, |entry| entry.key);
            members.truncate(PIECE);
        }
        let is_last = members.len() < PIECE;
        let last = members.iter().map(|entry| entry.key.0).max();
        let upto = last.filter(|_| !is_last).unwrap_or(i64::MAX);
        members.retain(|entry| is_joined(*entry));
        let (store, server) = (self.clone(), server.to_owned());
        let body = move |tx: &mut Tx<'_>| {
            // What has changed since, the change itself has written.
            if !is_current(tx, &snapshot)? {
                return Ok(false);
            }
            let params = [room.into(), after.into(), upto.into()];
            tx.execute(&MEMBER_WORDS_DELETE_STRETCH, &params)?;
            store.insert_all(tx, room, &members, &server)?;
            Ok(true)
        };
        let write = Write::new("member_words").locking([room.0]).relaxed();
        let is_done = self.db().write(write, body).await?;
        Ok(match (is_done, is_last) {
            (false, _) => Some(after),
            (true, false) => Some(upto),
            (true, true) => None,
        })
    }

    fn insert_all(
        &self,
        tx: &mut Tx<'_>,
        room: RoomNum,
        members: &[Entry],
        server: &ServerName,
    ) -> Result<(), Error> {
        if members.is_empty() {
            return Ok(());
        }
        let numbers: Vec<EventNum> = members.iter().map(|entry| entry.event).collect();
        let events = self.events_read(tx, &numbers)?.into_iter();
        let events: BTreeMap<EventNum, Arc<Event>> =
            events.map(|event| (event.num, event)).collect();
        for entry in members {
            if let Some(event) = events.get(&entry.event) {
                insert(tx, room, (*entry, &event.pdu), server)?;
            }
        }
        Ok(())
    }
}

fn is_joined(entry: Entry) -> bool {
    Membership::from_code(entry.tag) == Some(Membership::Join)
}

/// Whether the room is where the snapshot shows it.
fn is_current(tx: &mut Tx<'_>, snapshot: &RoomSnapshot) -> Result<bool, Error> {
    let params = [
        snapshot.room.into(),
        snapshot.append_count.into(),
        snapshot.head_hash.into(),
    ];
    let found = tx.query_one(&MEMBER_WORDS_ROOM, &params, |_| Ok(()))?;
    Ok(found.is_some())
}

/// The user whom a member event is about, if they are of another server.
fn of_others<'a>(pdu: &'a Pdu, server: &ServerName) -> Option<&'a UserId> {
    let user = <&UserId>::try_from(pdu.state_key()?).ok()?;
    (user.server_name() != server).then_some(user)
}

/// Writes the words of a member, unless they are of this server: those are in `user_words`.
fn insert(
    tx: &mut Tx<'_>,
    room: RoomNum,
    (entry, pdu): (Entry, &Pdu),
    server: &ServerName,
) -> Result<(), Error> {
    let Some(user) = of_others(pdu, server) else {
        return Ok(());
    };
    let name = MemberShown::of(pdu).display_name.unwrap_or_default();
    let words = words_of(&format!("{} {name}", user.localpart()));
    let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
    if words.is_empty() {
        return Ok(());
    }
    let params = [
        Value::Blobs(&words),
        entry.key.into(),
        room.into(),
        entry.event.into(),
    ];
    tx.execute(&MEMBER_WORDS_INSERT, &params).map(drop)
}

/// What a member event shows of its user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberShown {
    /// The display name.
    pub display_name: Option<String>,
    /// The picture.
    pub avatar_url: Option<String>,
}

impl MemberShown {
    /// What an event shows; nothing where it isn't as it should be.
    #[must_use]
    pub fn of(pdu: &Pdu) -> Self {
        let content = Json::new(pdu.content());
        let text = |field| Some(content.get(field)?.as_str()?.into_owned());
        Self {
            display_name: text("displayname"),
            avatar_url: text("avatar_url").filter(|url| url.starts_with("mxc://")),
        }
    }
}

/// A word of a member.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberWord {
    /// The word.
    pub word: Vec<u8>,
    /// The member.
    pub key: KeyNum,
    /// The room.
    pub room: RoomNum,
    /// The member event.
    pub event: EventNum,
}

impl MemberWord {
    /// Where the words with a beginning start.
    #[must_use]
    pub fn first(beginning: &str) -> Self {
        Self {
            word: beginning.as_bytes().to_vec(),
            key: KeyNum(0),
            room: RoomNum(0),
            event: EventNum(0),
        }
    }
}

/// At most `limit` words that begin with `beginning`, those after `after`, in alphabetical order.
///
/// # Errors
/// When the database cannot be read.
pub fn member_words_from(
    tx: &mut Tx<'_>,
    after: &MemberWord,
    beginning: &str,
    limit: i64,
) -> Result<Vec<MemberWord>, Error> {
    let end = end_of(beginning);
    let params = [
        Value::Bytes(&after.word),
        after.key.into(),
        after.room.into(),
        Value::Bytes(&end),
        limit.into(),
    ];
    tx.query_all(&MEMBER_WORDS_FROM, &params, member_word)
}

/// Of the first `limit` words that begin with `beginning`, those of members of rooms that `asker` is in, in alphabetical order.
///
/// # Errors
/// When the database cannot be read.
pub fn member_words_common(
    tx: &mut Tx<'_>,
    asker: UserNum,
    beginning: &str,
    limit: i64,
) -> Result<Vec<MemberWord>, Error> {
    let end = end_of(beginning);
    let params = [
        Value::Bytes(beginning.as_bytes()),
        Value::Bytes(&end),
        limit.into(),
        asker.into(),
    ];
    tx.query_all(&MEMBER_WORDS_COMMON, &params, member_word)
}

/// Where the words with a beginning end.
fn end_of(beginning: &str) -> Vec<u8> {
    // No byte of UTF-8 is as large.
    [beginning.as_bytes(), &[0xff]].concat()
}

fn member_word(row: &dyn Row) -> Result<MemberWord, Error> {
    Ok(MemberWord {
        word: row.bytes(0)?.to_vec(),
        key: KeyNum(row.int(1)?),
        room: RoomNum(row.int(2)?),
        event: EventNum(row.int(3)?),
    })
}

/// Those of `rooms` whose members `asker` may see: rooms that they are in, or that this server is in and anybody may enter or
/// read.
///
/// # Errors
/// When the database cannot be read.
pub fn rooms_visible(
    tx: &mut Tx<'_>,
    asker: UserNum,
    rooms: &[i64],
) -> Result<Vec<RoomNum>, Error> {
    let params = [Value::Ints(rooms), asker.into(), Value::Bytes(b"public")];
    tx.query_all(&MEMBER_WORDS_VISIBLE, &params, |row| {
        Ok(RoomNum(row.int(0)?))
    })
}
