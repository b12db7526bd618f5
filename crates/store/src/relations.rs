//! Relationships between events: what an event's `m.relates_to` says, and which events relate to an event.
//! <https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events>

use std::collections::BTreeMap;
use std::sync::Arc;

use ruma_common::{EventId, OwnedEventId};
use starling_db::{Error, Row, Tx, Value as Param};
use starling_events::id::parse_event_id;
use starling_events::{Pdu, RoomVersion, Value};

use crate::events::Event;
use crate::numbers::{EventNum, RoomNum, TypeNum, UserNum};
use crate::store::Store;
use crate::timeline::{Direction, Stretch};
use crate::tokens::Place;

/// What of a target's relations is wanted: ?7 is a type's number (0: any), ?8 whether only those of type ?9.
macro_rules! wanted {
    ($table:literal) => {
        concat!(
            "(CAST(?7 AS BIGINT) = 0 OR ",
            $table,
            ".type_num = ?7) AND (CAST(?8 AS BIGINT) = 0 OR ",
            $table,
            ".rel_type = ?9)"
        )
    };
}

/// A column of the event that comes before the one where a walk is, of those that relate to the walk's target in the room
/// that `$where` names.
macro_rules! older {
    ($column:literal, $($where:tt)+) => {
        concat!(
            "(SELECT next.",
            $column,
            " FROM relations AS next WHERE next.target = walk.target AND ",
            $($where)+,
            " AND (next.place_major, next.place_minor) < (walk.place_major, walk.place_minor)
                ORDER BY next.place_major DESC, next.place_minor DESC LIMIT 1)"
        )
    };
}

/// One in the walk's room, that relates in the walk's way.
macro_rules! of_type {
    () => {
        "next.room_num = walk.room_num AND next.rel_type = walk.rel_type"
    };
}

/// One in room ?2, as is wanted.
macro_rules! wanted_in_room {
    () => {
        concat!("next.room_num = ?2 AND ", wanted!("next"))
    };
}

starling_db::statements! {
    /// Notes that an event relates to another.
    RELATION_INSERT = "INSERT INTO relations (target, room_num, place_major, place_minor, event_num, rel_type, type_num,
            sender_num, sent_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    /// Forgets that an event related to another.
    RELATION_DELETE = "DELETE FROM relations
        WHERE target = ?1 AND room_num = ?2 AND place_major = ?3 AND place_minor = ?4";
    /// The events that relate to an event, before a boundary and not before another, newest first.
    RELATIONS_BACKWARDS = concat!("SELECT event_num, place_major, place_minor FROM relations
        WHERE target = ?1 AND room_num = ?2 AND (place_major, place_minor) < (?3, ?4)
            AND (place_major, place_minor) >= (?5, ?6) AND ", wanted!("relations"), "
        ORDER BY place_major DESC, place_minor DESC LIMIT ?10");
    /// The events that relate to an event, from a boundary on and before another, oldest first.
    RELATIONS_FORWARDS = concat!("SELECT event_num, place_major, place_minor FROM relations
        WHERE target = ?1 AND room_num = ?2 AND (place_major, place_minor) >= (?3, ?4)
            AND (place_major, place_minor) < (?5, ?6) AND ", wanted!("relations"), "
        ORDER BY place_major, place_minor LIMIT ?10");
    /// The newest events before a boundary that relate to some events of a room, and their ids: the newest of each, then
    /// the one before that of each, and so on, ?6 times at most and ?5 in all. So none of them keeps the others from being looked at.
    RELATED_BEFORE = concat!("WITH RECURSIVE walk (target, event_num, place_major, place_minor, steps) AS (
            SELECT value, CAST(0 AS BIGINT), CAST(?3 AS BIGINT), CAST(?4 AS BIGINT), CAST(0 AS BIGINT)
            FROM {texts ?1} AS targets
            UNION ALL
            SELECT walk.target, ", older!("event_num", wanted_in_room!()), ", ",
                older!("place_major", wanted_in_room!()), ", ", older!("place_minor", wanted_in_room!()), ",
                walk.steps + 1
            FROM walk WHERE walk.steps < ?6 AND walk.event_num IS NOT NULL
        )
        SELECT walk.event_num, walk.place_major, walk.place_minor,
            (SELECT events.event_id FROM events WHERE events.event_num = walk.event_num)
        FROM walk WHERE walk.event_num > 0 LIMIT ?5");
    /// The newest events that relate in some ways to some events of which something is kept, at most ?4 of each in each
    /// way: as above, the newest of each first, ?5 in all.
    RELATIONS_OF = concat!("WITH RECURSIVE walk (target, room_num, rel_type, event_num, place_major, place_minor, steps) AS (
            SELECT kept.target, kept.room_num, ways.value, CAST(0 AS BIGINT), CAST(9223372036854775807 AS BIGINT),
                CAST(0 AS BIGINT), CAST(0 AS BIGINT)
            FROM {texts ?1} AS targets CROSS JOIN aggregations AS kept CROSS JOIN {blobs ?3} AS ways
            WHERE kept.target = targets.value AND kept.room_num IN {ints ?2}
            UNION ALL
            SELECT walk.target, walk.room_num, walk.rel_type, ", older!("event_num", of_type!()), ", ",
                older!("place_major", of_type!()), ", ", older!("place_minor", of_type!()), ", walk.steps + 1
            FROM walk WHERE walk.steps < ?4 AND walk.event_num IS NOT NULL
        )
        SELECT target, event_num FROM walk WHERE event_num > 0 LIMIT ?5");
    /// The events of a type with which a user relates to an event in a way.
    RELATIONS_BY_USER = "SELECT event_num FROM relations
        WHERE target = ?1 AND room_num = ?2 AND rel_type = ?3 AND type_num = ?4 AND sender_num = ?5
        ORDER BY place_major DESC, place_minor DESC LIMIT ?6";
}

/// How many relationships away from an event what is listed recursively may be.
pub const MAX_DEPTH: u64 = 3;

/// So many events are looked at, for each of these relationships, to find those that relate indirectly: the newest before
/// the page's end. Those that relate directly are all listed.
const MOST_BETWEEN: i64 = 2_000;

/// The longest type of a relationship that is taken, in bytes: what an event's type may have.
pub const MAX_REL_TYPE_BYTES: usize = 255;

/// `m.thread`: the event belongs to the thread that its target begins.
pub const THREAD: &str = "m.thread";

/// `m.replace`: the event says anew what its target said.
pub const REPLACE: &str = "m.replace";

/// `m.annotation`: the event is a reaction to its target.
pub const ANNOTATION: &str = "m.annotation";

/// `m.reference`: the event refers to its target.
pub const REFERENCE: &str = "m.reference";

/// How an event says that it relates to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// The type of the relationship.
    pub rel_type: Box<str>,
    /// The event that it relates to. Nobody has checked that there is one, nor that it is in the same room.
    pub target: OwnedEventId,
}

/// The relationship that an event's `m.relates_to` gives, if it has what the schema wants: a `rel_type` (a reply alone
/// has none) and the id of an event that could be in the event's room.
/// <https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events>
#[must_use]
pub fn relation_of(pdu: &Pdu) -> Option<Relation> {
    relation_in(pdu.version(), Value::new(pdu.content()))
}

/// As [`relation_of`], of the content of an event in a room of this version.
#[must_use]
pub fn relation_in(version: RoomVersion, content: Value<'_>) -> Option<Relation> {
    let relates_to = content.get("m.relates_to")?;
    let rel_type = relates_to.get("rel_type")?.as_str()?;
    if rel_type.is_empty() || rel_type.len() > MAX_REL_TYPE_BYTES {
        return None;
    }
    let target = relates_to.get("event_id")?.as_str()?;
    Some(Relation {
        rel_type: rel_type.into(),
        target: parse_event_id(version, &target).ok()?,
    })
}

/// Notes that an event relates to another. An event that is in no timeline doesn't, as yet.
///
/// # Errors
/// When the database fails.
pub(crate) fn relation_insert(
    tx: &mut Tx<'_>,
    event: &Event,
    relation: &Relation,
) -> Result<(), Error> {
    let Some(place) = event.place else {
        return Ok(());
    };
    let params = [
        relation.target.as_str().into(),
        event.room.into(),
        place.major.into(),
        place.minor.into(),
        event.num.into(),
        relation.rel_type.as_bytes().into(),
        event.kind.into(),
        event.sender.into(),
        event.pdu.origin_server_ts().into(),
    ];
    tx.execute_one(&RELATION_INSERT, &params)
}

/// Forgets that an event related to another; whether it did.
///
/// # Errors
/// When the database fails.
pub(crate) fn relation_delete(
    tx: &mut Tx<'_>,
    event: &Event,
    relation: &Relation,
) -> Result<bool, Error> {
    let Some(place) = event.place else {
        return Ok(false);
    };
    let params = [
        relation.target.as_str().into(),
        event.room.into(),
        place.major.into(),
        place.minor.into(),
    ];
    Ok(tx.execute(&RELATION_DELETE, &params)? == 1)
}

/// The newest events of some rooms that relate to `targets`, of which something is kept, in one of the ways of
/// `rel_types`: at most `most` to each in each way, and so many in all. With their targets; of each and each way newest
/// first. One may be in another of the rooms than its target.
///
/// # Errors
/// When the database cannot be read.
pub(crate) fn relations_of(
    tx: &mut Tx<'_>,
    (targets, rooms): (&[&str], &[i64]),
    rel_types: &[&str],
    (most, in_all): (i64, i64),
) -> Result<Vec<(String, EventNum)>, Error> {
    let rel_types: Vec<&[u8]> = rel_types.iter().map(|name| name.as_bytes()).collect();
    let params = [
        Param::Texts(targets),
        rooms.into(),
        Param::Blobs(&rel_types),
        most.into(),
        in_all.into(),
    ];
    tx.query_all(&RELATIONS_OF, &params, |row| {
        Ok((row.text(0)?.to_owned(), EventNum(row.int(1)?)))
    })
}

/// Which events that relate to an event are wanted.
#[derive(Debug, Clone, Copy)]
pub struct RelationsOf<'a> {
    /// The room.
    pub room: RoomNum,
    /// The event that they relate to.
    pub target: &'a EventId,
    /// Only those that relate to it in this way.
    pub rel_type: Option<&'a str>,
    /// Only those of this type.
    pub kind: Option<TypeNum>,
    /// Also those that relate to these, as long as they are wanted themselves, down to [`MAX_DEPTH`].
    pub recurse: bool,
}

impl RelationsOf<'_> {
    /// Those that relate to the event directly, in a stretch of the room's order: where they are, and their numbers.
    fn direct(
        &self,
        tx: &mut Tx<'_>,
        Stretch { from, to }: Stretch,
        direction: Direction,
        limit: i64,
    ) -> Result<Vec<(Place, EventNum)>, Error> {
        let (statement, first, second) = match direction {
            Direction::Backwards => (&RELATIONS_BACKWARDS, to, from),
            Direction::Forwards => (&RELATIONS_FORWARDS, from, to),
        };
        let (kind, is_one_way, way) = self.filter();
        let params = [
            self.target.as_str().into(),
            self.room.into(),
            first.major.into(),
            first.minor.into(),
            second.major.into(),
            second.minor.into(),
            kind,
            is_one_way,
            way,
            limit.into(),
        ];
        tx.query_all(statement, &params, |row| {
            Ok((read_place(row)?, EventNum(row.int(0)?)))
        })
    }

    /// The newest of those that relate to any of `targets`, before a boundary: with their ids.
    fn related_before(
        &self,
        tx: &mut Tx<'_>,
        targets: &[String],
        before: Place,
    ) -> Result<Vec<(Place, EventNum, String)>, Error> {
        let targets: Vec<&str> = targets.iter().map(|target| &**target).collect();
        let (kind, is_one_way, way) = self.filter();
        let params = [
            Param::Texts(&targets),
            self.room.into(),
            before.major.into(),
            before.minor.into(),
            MOST_BETWEEN.into(),
            MOST_BETWEEN.into(),
            kind,
            is_one_way,
            way,
        ];
        tx.query_all(&RELATED_BEFORE, &params, |row| {
            Ok((
                read_place(row)?,
                EventNum(row.int(0)?),
                row.text(3)?.to_owned(),
            ))
        })
    }

    /// As [`Self::direct`], with those that relate indirectly.
    fn with_indirect(
        &self,
        tx: &mut Tx<'_>,
        mut stretch: Stretch,
        direction: Direction,
        limit: i64,
    ) -> Result<Vec<(Place, EventNum)>, Error> {
        let direct = self.direct(tx, stretch, direction, limit)?;
        // The page goes no further than they do.
        if let Some((last, _)) = direct.last()
            && usize::try_from(limit) == Ok(direct.len())
        {
            match direction {
                Direction::Backwards => stretch.from = *last,
                Direction::Forwards => stretch.to = *last,
            }
        }
        let mut page: BTreeMap<Place, EventNum> = direct.into_iter().collect();
        let mut targets = vec![self.target.to_string()];
        for _ in 0..MAX_DEPTH {
            let related = self.related_before(tx, &targets, stretch.to)?;
            let within = related
                .iter()
                .filter(|(place, ..)| *place >= stretch.from)
                .map(|(place, number, _)| (*place, *number));
            page.extend(within);
            targets = related.into_iter().map(|(_, _, id)| id).collect();
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let page = page.into_iter();
        Ok(match direction {
            Direction::Backwards => page.rev().take(limit).collect(),
            Direction::Forwards => page.take(limit).collect(),
        })
    }

    /// The type's number, whether they relate in one way, and which.
    fn filter(&self) -> (Param<'_>, Param<'_>, Param<'_>) {
        let way = self.rel_type.unwrap_or_default();
        (
            self.kind.map_or(0, |kind| kind.0).into(),
            self.rel_type.is_some().into(),
            way.as_bytes().into(),
        )
    }
}

fn read_place(row: &dyn Row) -> Result<Place, Error> {
    Ok(Place {
        major: row.int(1)?,
        minor: row.int(2)?,
    })
}

impl Store {
    /// Up to `limit` of the events that relate to an event, in a stretch of the room's order, in `direction`, from the
    /// end that it starts with.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn relations_page(
        &self,
        tx: &mut Tx<'_>,
        wanted: &RelationsOf<'_>,
        stretch: Stretch,
        direction: Direction,
        limit: i64,
    ) -> Result<Vec<Arc<Event>>, Error> {
        let page = if wanted.recurse {
            wanted.with_indirect(tx, stretch, direction, limit)?
        } else {
            wanted.direct(tx, stretch, direction, limit)?
        };
        let numbers: Vec<EventNum> = page.into_iter().map(|(_, number)| number).collect();
        self.events_read(tx, &numbers)
    }

    /// The events of type `kind`, at most `most`, with which `user` relates to an event of `room` as `relation` does.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn relations_by_user(
        &self,
        tx: &mut Tx<'_>,
        (room, relation): (RoomNum, &Relation),
        (user, kind): (UserNum, TypeNum),
        most: i64,
    ) -> Result<Vec<Arc<Event>>, Error> {
        let params = [
            relation.target.as_str().into(),
            room.into(),
            relation.rel_type.as_bytes().into(),
            kind.into(),
            user.into(),
            most.into(),
        ];
        let numbers = tx.query_all(&RELATIONS_BY_USER, &params, |row| Ok(EventNum(row.int(0)?)))?;
        self.events_read(tx, &numbers)
    }
}

#[cfg(test)]
mod tests {
    use ruma_common::OwnedEventId;
    use serde_json::{Value, json};
    use starling_events::{Pdu, RoomVersion};

    use super::{MAX_REL_TYPE_BYTES, relation_of};

    const TARGET: &str = "$HHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHH";

    fn event(version: RoomVersion, content: &Value) -> Pdu {
        let event = json!({
            "auth_events": [], "content": content, "depth": 1, "event_id": "$event:example.org", "hashes": {"sha256": ""}, "origin_server_ts": 1,
            "prev_events": [], "room_id": "!room:example.org", "sender": "@alice:example.org", "signatures": {},
            "type": "m.room.message",
        });
        let event_id = OwnedEventId::try_from("$event:example.org").expect("an event id");
        let bytes = starling_events::CanonicalObject::from_serialize(&event).expect("canonical");
        Pdu::from_stored(version, event_id, bytes.as_bytes().into()).expect("an event")
    }

    fn relation(version: RoomVersion, relates_to: &Value) -> Option<(String, String)> {
        let relation = relation_of(&event(version, &json!({"m.relates_to": relates_to})))?;
        Some((relation.rel_type.into(), relation.target.to_string()))
    }

    #[test]
    fn a_relation_is_a_type_and_a_target() {
        let thread = json!({"rel_type": "m.thread", "event_id": TARGET, "is_falling_back": true,
            "m.in_reply_to": {"event_id": "$other"}});
        let expected = Some(("m.thread".to_owned(), TARGET.to_owned()));
        assert_eq!(relation(RoomVersion::V11, &thread), expected);
        let own = json!({"rel_type": "org.example.\u{e4}\u{0}\"", "event_id": TARGET});
        let expected = Some(("org.example.\u{e4}\u{0}\"".to_owned(), TARGET.to_owned()));
        assert_eq!(relation(RoomVersion::V11, &own), expected);
        let old = json!({"rel_type": "m.reference", "event_id": "$opaque:example.org"});
        let expected = Some(("m.reference".to_owned(), "$opaque:example.org".to_owned()));
        assert_eq!(relation(RoomVersion::V1, &old), expected);
    }

    #[test]
    fn what_does_not_match_the_schema_is_no_relation() {
        let long = "r".repeat(MAX_REL_TYPE_BYTES + 1);
        let cases = [
            json!(null),
            json!("m.thread"),
            json!([["rel_type", "m.thread"]]),
            json!({}),
            json!({"m.in_reply_to": {"event_id": TARGET}}),
            json!({"rel_type": "m.thread"}),
            json!({"event_id": TARGET}),
            json!({"rel_type": null, "event_id": TARGET}),
            json!({"rel_type": 7, "event_id": TARGET}),
            json!({"rel_type": ["m.thread"], "event_id": TARGET}),
            json!({"rel_type": "", "event_id": TARGET}),
            json!({"rel_type": long, "event_id": TARGET}),
            json!({"rel_type": "m.thread", "event_id": {"id": TARGET}}),
            json!({"rel_type": "m.thread", "event_id": ""}),
            json!({"rel_type": "m.thread", "event_id": "HHHH"}),
            json!({"rel_type": "m.thread", "event_id": format!("{TARGET}H")}),
            json!({"rel_type": "m.thread", "event_id": "$opaque:example.org"}),
            json!({"rel_type": "m.thread", "event_id": format!("${}", "\u{0}".repeat(43))}),
        ];
        for relates_to in &cases {
            assert_eq!(relation(RoomVersion::V11, relates_to), None, "{relates_to}");
        }
        let old =
            json!({"rel_type": "m.thread", "event_id": format!("${}:a.example", "a".repeat(300))});
        assert_eq!(relation(RoomVersion::V1, &old), None);
        assert_eq!(relation_of(&event(RoomVersion::V11, &json!({}))), None);
    }
}
