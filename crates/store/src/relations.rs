//! Relationships between events: what an event's `m.relates_to` says, and which events relate to an event.
//! <https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events>

use std::sync::Arc;

use ruma_common::{EventId, OwnedEventId};
use starling_db::{Error, Tx};
use starling_events::id::parse_event_id;
use starling_events::{Pdu, RoomVersion, Value};

use crate::events::Event;
use crate::numbers::{EventNum, RoomNum, TypeNum, UserNum};
use crate::store::Store;
use crate::timeline::{Direction, Stretch};

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

/// The events that relate to an event, however indirectly, down to [`MAX_DEPTH`].
macro_rules! recursively {
    ($rest:literal) => {
        concat!(
            "SELECT found.event_num FROM (
                WITH RECURSIVE related (event_num, place_major, place_minor, depth) AS (
                    SELECT first.event_num, first.place_major, first.place_minor, CAST(1 AS BIGINT)
                    FROM relations AS first WHERE first.target = ?1 AND first.room_num = ?2 AND ",
            wanted!("first"),
            "       UNION ALL
                    SELECT next.event_num, next.place_major, next.place_minor, related.depth + 1
                    FROM related CROSS JOIN events CROSS JOIN relations AS next
                    WHERE related.depth < 3 AND events.event_num = related.event_num
                        AND next.target = events.event_id AND next.room_num = ?2 AND ",
            wanted!("next"),
            "   ) SELECT DISTINCT event_num, place_major, place_minor FROM related
            ) AS found WHERE ",
            $rest
        )
    };
}

starling_db::statements! {
    /// Notes that an event relates to another.
    RELATION_INSERT = "INSERT INTO relations (target, room_num, place_major, place_minor, event_num, rel_type, type_num,
            sender_num)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    /// Forgets that an event related to another.
    RELATION_DELETE = "DELETE FROM relations
        WHERE target = ?1 AND room_num = ?2 AND place_major = ?3 AND place_minor = ?4";
    /// The events that relate to an event, before a boundary and not before another, newest first.
    RELATIONS_BACKWARDS = concat!("SELECT event_num FROM relations
        WHERE target = ?1 AND room_num = ?2 AND (place_major, place_minor) < (?3, ?4)
            AND (place_major, place_minor) >= (?5, ?6) AND ", wanted!("relations"), "
        ORDER BY place_major DESC, place_minor DESC LIMIT ?10");
    /// The events that relate to an event, from a boundary on and before another, oldest first.
    RELATIONS_FORWARDS = concat!("SELECT event_num FROM relations
        WHERE target = ?1 AND room_num = ?2 AND (place_major, place_minor) >= (?3, ?4)
            AND (place_major, place_minor) < (?5, ?6) AND ", wanted!("relations"), "
        ORDER BY place_major, place_minor LIMIT ?10");
    /// As RELATIONS_BACKWARDS, with events that relate indirectly.
    RELATED_BACKWARDS = recursively!("(found.place_major, found.place_minor) < (?3, ?4)
            AND (found.place_major, found.place_minor) >= (?5, ?6)
        ORDER BY found.place_major DESC, found.place_minor DESC LIMIT ?10");
    /// As RELATIONS_FORWARDS, with events that relate indirectly.
    RELATED_FORWARDS = recursively!("(found.place_major, found.place_minor) >= (?3, ?4)
            AND (found.place_major, found.place_minor) < (?5, ?6)
        ORDER BY found.place_major, found.place_minor LIMIT ?10");
    /// The newest events that relate in some ways to some events. A join, since SQLite makes a table of what stands after
    /// `IN`.
    RELATIONS_OF = "SELECT relations.target, relations.event_num
        FROM {texts ?1} AS wanted CROSS JOIN relations
        WHERE relations.target = wanted.value AND relations.room_num IN {ints ?2}
            AND relations.rel_type IN {blobs ?3}
        ORDER BY relations.place_major DESC, relations.place_minor DESC LIMIT ?4";
    /// The events of a type with which a user relates to an event in a way.
    RELATIONS_BY_USER = "SELECT event_num FROM relations
        WHERE target = ?1 AND room_num = ?2 AND rel_type = ?3 AND type_num = ?4 AND sender_num = ?5
        ORDER BY place_major DESC, place_minor DESC LIMIT ?6";
}

/// How many relationships away from an event what is listed recursively may be. RELATED_… say it too.
pub const MAX_DEPTH: u64 = 3;

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

/// The newest events of some rooms, at most `most`, that relate to `targets` in one of the ways of `rel_types`: with
/// their targets, newest first. One may be in another of the rooms than its target.
///
/// # Errors
/// When the database cannot be read.
pub(crate) fn relations_of(
    tx: &mut Tx<'_>,
    (targets, rooms): (&[&str], &[i64]),
    rel_types: &[&str],
    most: i64,
) -> Result<Vec<(String, EventNum)>, Error> {
    let rel_types: Vec<&[u8]> = rel_types.iter().map(|name| name.as_bytes()).collect();
    let params = [
        starling_db::Value::Texts(targets),
        rooms.into(),
        starling_db::Value::Blobs(&rel_types),
        most.into(),
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
        let Stretch { from, to } = stretch;
        let (statement, first, second) = match (direction, wanted.recurse) {
            (Direction::Backwards, false) => (&RELATIONS_BACKWARDS, to, from),
            (Direction::Backwards, true) => (&RELATED_BACKWARDS, to, from),
            (Direction::Forwards, false) => (&RELATIONS_FORWARDS, from, to),
            (Direction::Forwards, true) => (&RELATED_FORWARDS, from, to),
        };
        let params = [
            wanted.target.as_str().into(),
            wanted.room.into(),
            first.major.into(),
            first.minor.into(),
            second.major.into(),
            second.minor.into(),
            wanted.kind.map_or(0, |kind| kind.0).into(),
            wanted.rel_type.is_some().into(),
            wanted.rel_type.unwrap_or_default().as_bytes().into(),
            limit.into(),
        ];
        let numbers = tx.query_all(statement, &params, |row| Ok(EventNum(row.int(0)?)))?;
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
