//! What lists of rooms show of a room: a row per room, drawn from its current state by the transaction that changes
//! that, and the directory's order over those that are listed.
//! <https://spec.matrix.org/v1.19/client-server-api/#published-room-directory>
//!
//! A page of rooms is one query, however little of the rooms is in memory. Text that is longer than anybody reads in a
//! list is cut, so that a page has a bounded size.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use ruma_common::{OwnedRoomId, RoomAliasId, RoomId};
use starling_db::{Error, Row, Sql, Tx, Value as Param};
use starling_events::{Pdu, RoomVersion, Value};

use crate::append::NewEvent;
use crate::names::{EMPTY_KEY, types};
use crate::numbers::{EventNum, RoomNum, TypeNum};
use crate::rooms::RoomSnapshot;
use crate::state_map::Change;
use crate::tokens::NotAToken;

/// The columns of a room's details, in the order in which [`read`] takes them.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT room_details.room_num, rooms.room_id, rooms.room_version, room_details.created,
                room_details.joined, room_details.join_rule, room_details.world_readable,
                room_details.guest_can_join, room_details.room_type, room_details.name, room_details.topic,
                room_details.avatar_url, room_details.canonical_alias, room_details.encryption, room_details.allowed
            FROM room_details JOIN rooms ON rooms.room_num = room_details.room_num ",
            $rest
        )
    };
}

starling_db::statements! {
    /// The row of a new room: by invite only until its state says otherwise.
    DETAILS_INSERT = "INSERT INTO room_details
            (room_num, is_public, created, joined, join_rule, world_readable, guest_can_join, allowed)
        VALUES (?1, ?2, 0, 0, ?3, 0, 0, '')";
    /// How many are in a room.
    DETAILS_JOINED = "UPDATE room_details SET joined = ?2 WHERE room_num = ?1";
    /// What `m.room.create` says.
    DETAILS_CREATE = "UPDATE room_details SET room_type = ?2, created = ?3 WHERE room_num = ?1";
    /// What `m.room.join_rules` says.
    DETAILS_JOIN_RULES = "UPDATE room_details SET join_rule = ?2, allowed = ?3 WHERE room_num = ?1";
    /// What `m.room.history_visibility` says.
    DETAILS_VISIBILITY = "UPDATE room_details SET world_readable = ?2 WHERE room_num = ?1";
    /// What `m.room.guest_access` says.
    DETAILS_GUESTS = "UPDATE room_details SET guest_can_join = ?2 WHERE room_num = ?1";
    /// What `m.room.name` says.
    DETAILS_NAME = "UPDATE room_details SET name = ?2 WHERE room_num = ?1";
    /// What `m.room.topic` says.
    DETAILS_TOPIC = "UPDATE room_details SET topic = ?2 WHERE room_num = ?1";
    /// What `m.room.avatar` says.
    DETAILS_AVATAR = "UPDATE room_details SET avatar_url = ?2 WHERE room_num = ?1";
    /// What `m.room.canonical_alias` says.
    DETAILS_ALIAS = "UPDATE room_details SET canonical_alias = ?2 WHERE room_num = ?1";
    /// What `m.room.encryption` says.
    DETAILS_ENCRYPTION = "UPDATE room_details SET encryption = ?2 WHERE room_num = ?1";
    /// Puts a room into the directory, or takes it out.
    PUBLIC_SET = "UPDATE room_details SET is_public = ?2 WHERE room_num = ?1";
    /// Whether a room is in the directory.
    PUBLIC_READ = "SELECT is_public FROM room_details WHERE room_num = ?1";
    /// Which of some rooms are listed.
    PUBLIC_AMONG = "SELECT room_num FROM room_details WHERE is_public = 1 AND room_num IN {ints ?1}";
    /// How many rooms are in the directory. Those that everybody has left are not shown.
    PUBLIC_COUNT = "SELECT COUNT(*) FROM room_details WHERE is_public = 1 AND joined > 0";
    /// Rooms of the directory after a place.
    PUBLIC_AFTER = select!("WHERE room_details.is_public = 1 AND room_details.joined > 0
            AND (room_details.joined, room_details.created) < (?1, ?2)
        ORDER BY room_details.joined DESC, room_details.created DESC LIMIT ?3");
    /// Rooms of the directory before a place, nearest first.
    PUBLIC_BEFORE = select!("WHERE room_details.is_public = 1 AND room_details.joined > 0
            AND (room_details.joined, room_details.created) > (?1, ?2)
        ORDER BY room_details.joined, room_details.created LIMIT ?3");
    /// Rooms by id.
    DETAILS_BY_ID = select!("WHERE rooms.room_id IN {texts ?1}");
    /// Rooms by their numbers.
    DETAILS_OF = select!("WHERE room_details.room_num IN {ints ?1}");
}

/// The longest topic that is shown, in bytes.
const TOPIC_BYTES: usize = 4096;

/// The longest other text that is shown, in bytes.
const TEXT_BYTES: usize = 1024;

/// What a list of rooms shows of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomDetails {
    /// The room.
    pub room: RoomNum,
    /// Its id.
    pub room_id: OwnedRoomId,
    /// Its version.
    pub version: RoomVersion,
    /// The position of its create event.
    pub created: i64,
    /// Joined members.
    pub joined: i64,
    /// The word of its join rule.
    pub join_rule: String,
    /// Whether anybody may read what is said now.
    pub world_readable: bool,
    /// Whether guests may join.
    pub guest_can_join: bool,
    /// Its type, such as `m.space`.
    pub room_type: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its topic, in plain text.
    pub topic: Option<String>,
    /// Its picture.
    pub avatar_url: Option<String>,
    /// Its canonical alias.
    pub canonical_alias: Option<String>,
    /// The algorithm by which it is encrypted.
    pub encryption: Option<String>,
    /// The rooms whose members a restricted room lets in.
    pub allowed: Vec<OwnedRoomId>,
}

impl RoomDetails {
    /// Whether it is a space: <https://spec.matrix.org/v1.19/client-server-api/#spaces>
    #[must_use]
    pub fn is_space(&self) -> bool {
        self.room_type.as_deref() == Some("m.space")
    }
}

/// A place in the directory's order: most members first, and of rooms with as many the newest.
///
/// Whoever pages sees each room once, as long as nobody joins or leaves meanwhile; never is a room that keeps its
/// members seen twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectoryPlace {
    /// Joined members.
    pub joined: i64,
    /// The position of the create event.
    pub created: i64,
}

impl DirectoryPlace {
    /// Before all rooms.
    pub const START: Self = Self {
        joined: i64::MAX,
        created: i64::MAX,
    };

    /// The place of a room.
    #[must_use]
    pub fn of(room: &RoomDetails) -> Self {
        Self {
            joined: room.joined,
            created: room.created,
        }
    }

    /// The place just before this one's room.
    #[must_use]
    pub fn before_room(self) -> Self {
        Self {
            created: self.created.saturating_add(1),
            ..self
        }
    }

    /// The place just after this one's room, seen from behind.
    #[must_use]
    pub fn after_room(self) -> Self {
        Self {
            created: self.created.saturating_sub(1),
            ..self
        }
    }
}

/// Where a page of the directory goes on, and which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirectoryToken {
    /// With the rooms after a place.
    After(DirectoryPlace),
    /// With the rooms before a place.
    Before(DirectoryPlace),
}

impl fmt::Display for DirectoryToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (letter, place) = match self {
            Self::After(place) => ('n', place),
            Self::Before(place) => ('p', place),
        };
        write!(f, "{letter}{}_{}", place.joined, place.created)
    }
}

impl FromStr for DirectoryToken {
    type Err = NotAToken;

    fn from_str(text: &str) -> Result<Self, NotAToken> {
        let parse = || {
            let number = |text: &str| {
                let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                text.parse().ok().filter(|_| is_plain)
            };
            let token = match text.as_bytes().first()? {
                b'n' => Self::After,
                b'p' => Self::Before,
                _ => return None,
            };
            let (joined, created) = text.get(1..)?.split_once('_')?;
            Some(token(DirectoryPlace {
                joined: number(joined)?,
                created: number(created)?,
            }))
        };
        parse().ok_or(NotAToken)
    }
}

/// Makes the row of a new room.
///
/// # Errors
/// When the database fails.
pub(crate) fn details_insert(tx: &mut Tx<'_>, room: RoomNum, is_public: bool) -> Result<(), Error> {
    let params = [room.into(), is_public.into(), b"invite".as_slice().into()];
    tx.execute_one(&DETAILS_INSERT, &params)
}

/// Gives the event that came to hold a key.
type Holder<'f, 'a> = &'f dyn Fn(&Change) -> Option<&'a Pdu>;

/// Follows an event that took a room from `before` to `after` by these changes (`holder` gives the event that came to
/// hold a key), and what it redacted.
///
/// # Errors
/// When the database fails.
pub(crate) fn details_follow(
    tx: &mut Tx<'_>,
    (before, after): (&RoomSnapshot, &RoomSnapshot),
    (changes, holder): (&[Change], Holder<'_, '_>),
    new: &NewEvent,
) -> Result<(), Error> {
    if before.joined != after.joined {
        let params = [after.room.into(), after.joined.into()];
        tx.execute_one(&DETAILS_JOINED, &params)?;
    }
    for change in changes.iter().filter(|change| change.key == EMPTY_KEY) {
        match (holder(change), change.new) {
            (Some(pdu), Some(entry)) => note(tx, after.room, entry.event, pdu)?,
            _ => note_none(tx, after.room, change.kind)?,
        }
    }
    let Some(target) = &new.redacts else {
        return Ok(());
    };
    let holder = target
        .key
        .and_then(|key| after.state_event(target.kind, key));
    if holder == Some(target.num) {
        note(tx, after.room, target.num, &target.pdu.redacted())?;
    }
    Ok(())
}

/// Notes what a state event says, if it says any of this.
fn note(tx: &mut Tx<'_>, room: RoomNum, num: EventNum, pdu: &Pdu) -> Result<(), Error> {
    if pdu.state_key() != Some("") {
        return Ok(());
    }
    note_content(tx, room, num, (pdu.kind(), Value::new(pdu.content())))
}

/// Notes that the room has no state of this type any longer.
fn note_none(tx: &mut Tx<'_>, room: RoomNum, kind: TypeNum) -> Result<(), Error> {
    let kind = match kind {
        types::NAME => "m.room.name",
        types::TOPIC => "m.room.topic",
        types::AVATAR => "m.room.avatar",
        types::ENCRYPTION => "m.room.encryption",
        types::CANONICAL_ALIAS => "m.room.canonical_alias",
        types::JOIN_RULES => "m.room.join_rules",
        types::HISTORY_VISIBILITY => "m.room.history_visibility",
        types::GUEST_ACCESS => "m.room.guest_access",
        _ => return Ok(()),
    };
    note_content(tx, room, EventNum(0), (kind, Value::new(b"{}")))
}

fn note_content(
    tx: &mut Tx<'_>,
    room: RoomNum,
    num: EventNum,
    (kind, content): (&str, Value<'_>),
) -> Result<(), Error> {
    let mut text = |sql: &'static Sql, text: Option<Cow<'_, str>>| {
        let text = text.as_deref().map(str::as_bytes).map(Param::Bytes);
        tx.execute_one(sql, &[room.into(), text.unwrap_or(Param::Null)])
    };
    match kind {
        "m.room.name" => text(&DETAILS_NAME, short(content, "name")),
        "m.room.topic" => text(&DETAILS_TOPIC, topic(content)),
        "m.room.avatar" => text(&DETAILS_AVATAR, exact(content, "url")),
        "m.room.encryption" => text(&DETAILS_ENCRYPTION, exact(content, "algorithm")),
        "m.room.canonical_alias" => {
            let alias = exact(content, "alias");
            let is_alias = |alias: &Cow<'_, str>| <&RoomAliasId>::try_from(&**alias).is_ok();
            text(&DETAILS_ALIAS, alias.filter(is_alias))
        }
        "m.room.create" => {
            let kind = exact(content, "type");
            let kind = kind.as_deref().map(str::as_bytes).map(Param::Bytes);
            let params = [room.into(), kind.unwrap_or(Param::Null), num.into()];
            tx.execute_one(&DETAILS_CREATE, &params)
        }
        "m.room.join_rules" => {
            let rule = exact(content, "join_rule").unwrap_or(Cow::Borrowed("invite"));
            let allowed = allowed(content).join(" ");
            let params = [room.into(), rule.as_bytes().into(), allowed.as_str().into()];
            tx.execute_one(&DETAILS_JOIN_RULES, &params)
        }
        "m.room.history_visibility" => {
            let word = exact(content, "history_visibility");
            let open = word.as_deref() == Some("world_readable");
            tx.execute_one(&DETAILS_VISIBILITY, &[room.into(), open.into()])
        }
        "m.room.guest_access" => {
            let open = exact(content, "guest_access").as_deref() == Some("can_join");
            tx.execute_one(&DETAILS_GUESTS, &[room.into(), open.into()])
        }
        _ => Ok(()),
    }
}

/// A text that is one of few, or names something: there is no use in a part of it.
fn exact<'a>(content: Value<'a>, key: &str) -> Option<Cow<'a, str>> {
    let text = content.get(key)?.as_str()?;
    (!text.is_empty() && text.len() <= TEXT_BYTES).then_some(text)
}

/// A text for people.
fn short<'a>(content: Value<'a>, key: &str) -> Option<Cow<'a, str>> {
    cut(content.get(key)?.as_str()?, TEXT_BYTES)
}

/// The plain text of a topic: of the newer form with several representations, else of the older.
/// <https://spec.matrix.org/v1.19/client-server-api/#mroomtopic>
fn topic(content: Value<'_>) -> Option<Cow<'_, str>> {
    let texts = content
        .get("m.topic")
        .and_then(|topic| topic.get("m.text"))
        .into_iter()
        .flat_map(Value::elements);
    let is_plain = |text: &Value<'_>| match text.get("mimetype") {
        Some(kind) => kind.as_str().as_deref() == Some("text/plain"),
        None => true,
    };
    let plain = texts
        .filter(is_plain)
        .find_map(|text| text.get("body")?.as_str());
    let topic = plain.or_else(|| content.get("topic")?.as_str())?;
    cut(topic, TOPIC_BYTES)
}

/// The rooms whose members a join rule lets in.
fn allowed(content: Value<'_>) -> Vec<String> {
    let conditions = content
        .get("allow")
        .into_iter()
        .flat_map(Value::elements)
        .filter(|condition| {
            let kind = condition.get("type").and_then(Value::as_str);
            kind.as_deref() == Some("m.room_membership")
        });
    let rooms = conditions.filter_map(|condition| condition.get("room_id")?.as_str());
    rooms
        .filter(|room| is_room_id(room))
        .map(Cow::into_owned)
        .collect()
}

/// Whether a text of an event's content can be a room's id here, and stand in a query and a list.
#[must_use]
pub fn is_room_id(text: &str) -> bool {
    text.starts_with('!')
        && !text.contains(|letter: char| letter.is_whitespace() || letter.is_control())
        && <&RoomId>::try_from(text).is_ok()
}

fn cut(text: Cow<'_, str>, most: usize) -> Option<Cow<'_, str>> {
    if text.is_empty() {
        return None;
    }
    if text.len() <= most {
        return Some(text);
    }
    let end = text.floor_char_boundary(most);
    text.get(..end).map(|text| Cow::Owned(text.to_owned()))
}

fn read(row: &dyn Row) -> Result<RoomDetails, Error> {
    let room = RoomNum(row.int(0)?);
    let damaged = |what: &str| Error::Damaged(format!("room {}: {what}", room.0));
    let text = |column| match row.opt_bytes(column)? {
        Some(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err(damaged("its details are no text")),
        },
        None => Ok(None),
    };
    let allowed = row.text(14)?.split(' ');
    Ok(RoomDetails {
        room,
        room_id: OwnedRoomId::try_from(row.text(1)?).map_err(|_| damaged("its id"))?,
        version: RoomVersion::parse(row.text(2)?).ok_or_else(|| damaged("its version"))?,
        created: row.int(3)?,
        joined: row.int(4)?,
        join_rule: row.utf8(5)?.to_owned(),
        world_readable: row.truth(6)?,
        guest_can_join: row.truth(7)?,
        room_type: text(8)?,
        name: text(9)?,
        topic: text(10)?,
        avatar_url: text(11)?,
        canonical_alias: text(12)?,
        encryption: text(13)?,
        allowed: allowed
            .filter_map(|room| OwnedRoomId::try_from(room).ok())
            .collect(),
    })
}

/// The details of the rooms with these ids that are here, in no order.
///
/// # Errors
/// When the database cannot be read.
pub fn details_by_id(tx: &mut Tx<'_>, rooms: &[&str]) -> Result<Vec<RoomDetails>, Error> {
    if rooms.is_empty() {
        return Ok(Vec::new());
    }
    tx.query_all(&DETAILS_BY_ID, &[Param::Texts(rooms)], read)
}

/// The details of rooms, in no order.
///
/// # Errors
/// When the database cannot be read.
pub fn details_of(tx: &mut Tx<'_>, rooms: &[RoomNum]) -> Result<Vec<RoomDetails>, Error> {
    let rooms: Vec<i64> = rooms.iter().map(|room| room.0).collect();
    tx.query_all(&DETAILS_OF, &[Param::Ints(&rooms)], read)
}

/// At most `limit` listed rooms from a place on: those after it in order, or those before it, nearest first.
///
/// # Errors
/// When the database cannot be read.
pub fn directory_page(
    tx: &mut Tx<'_>,
    from: DirectoryToken,
    limit: i64,
) -> Result<Vec<RoomDetails>, Error> {
    let (sql, place) = match from {
        DirectoryToken::After(place) => (&PUBLIC_AFTER, place),
        DirectoryToken::Before(place) => (&PUBLIC_BEFORE, place),
    };
    let params = [place.joined.into(), place.created.into(), limit.into()];
    tx.query_all(sql, &params, read)
}

/// How many rooms are listed.
///
/// # Errors
/// When the database cannot be read.
pub fn directory_count(tx: &mut Tx<'_>) -> Result<i64, Error> {
    let count = tx.query_one(&PUBLIC_COUNT, &[], |row| row.int(0))?;
    Ok(count.unwrap_or(0))
}

/// Which of `rooms` are listed.
///
/// # Errors
/// When the database cannot be read.
pub fn public_among(tx: &mut Tx<'_>, rooms: &[RoomNum]) -> Result<HashSet<RoomNum>, Error> {
    let rooms: Vec<i64> = rooms.iter().map(|room| room.0).collect();
    let listed = tx.query_all(&PUBLIC_AMONG, &[Param::Ints(&rooms)], |row| {
        Ok(RoomNum(row.int(0)?))
    })?;
    Ok(listed.into_iter().collect())
}

/// Whether a room is listed.
///
/// # Errors
/// When the database cannot be read.
pub fn public_read(tx: &mut Tx<'_>, room: RoomNum) -> Result<bool, Error> {
    let listed = tx.query_one(&PUBLIC_READ, &[room.into()], |row| row.truth(0))?;
    Ok(listed.unwrap_or(false))
}

/// Lists a room, or takes it off the list.
///
/// # Errors
/// When the database fails.
pub fn public_set(tx: &mut Tx<'_>, room: RoomNum, is_public: bool) -> Result<(), Error> {
    tx.execute_one(&PUBLIC_SET, &[room.into(), is_public.into()])
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use starling_events::Value;

    use super::{DirectoryPlace, DirectoryToken, cut, topic};

    #[test]
    fn tokens_come_back_and_other_texts_are_none() {
        let place = DirectoryPlace {
            joined: 12,
            created: 345,
        };
        for token in [DirectoryToken::After(place), DirectoryToken::Before(place)] {
            assert_eq!(token.to_string().parse(), Ok(token));
        }
        for text in [
            "",
            "n",
            "n1",
            "n1_",
            "n_1",
            "x1_2",
            "n1_2_3",
            "n-1_2",
            "n+1_2",
            "é1_2",
            "n99999999999999999999_1",
        ] {
            assert!(text.parse::<DirectoryToken>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_topic_is_its_plain_text() {
        let of = |json: &'static str| topic(Value::new(json.as_bytes())).map(Cow::into_owned);
        assert_eq!(of(r#"{"topic":"old"}"#).unwrap(), "old");
        assert_eq!(of(r#"{"topic":""}"#), None);
        assert_eq!(of(r#"{"topic":1}"#), None);
        let both = r#"{"m.topic":{"m.text":[{"body":"<b>","mimetype":"text/html"},{"body":"new"}]},"topic":"old"}"#;
        assert_eq!(of(both).unwrap(), "new");
        let html =
            r#"{"m.topic":{"m.text":[{"body":"<b>","mimetype":"text/html"}]},"topic":"old"}"#;
        assert_eq!(of(html).unwrap(), "old");
    }

    #[test]
    fn long_text_is_cut_between_letters() {
        assert_eq!(cut(Cow::Borrowed("aéé"), 4).unwrap(), "aé");
        assert_eq!(cut(Cow::Borrowed("aé"), 3).unwrap(), "aé");
    }
}
