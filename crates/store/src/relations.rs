//! Relationships between events: what an event's `m.relates_to` says, and which events relate to an event.
//! <https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events>

use std::sync::Arc;

use ruma_common::{EventId, OwnedEventId};
use starling_db::{Error, Row, Tx, Value as Param};
use starling_events::id::parse_event_id;
use starling_events::{Pdu, RoomVersion, Value};

use crate::events::Event;
use crate::numbers::{EventNum, RoomNum, TypeNum, UserNum};
use crate::store::Store;
use crate::timeline::{Direction, Page, Stretch};
use crate::tokens::Place;

/// What of a target's relations is wanted: ?3 is a type's number (0: any), ?4 whether only those of type ?5.
macro_rules! wanted {
    ($table:literal) => {
        concat!(
            "(CAST(?3 AS BIGINT) = 0 OR ",
            $table,
            ".type_num = ?3) AND (CAST(?4 AS BIGINT) = 0 OR ",
            $table,
            ".rel_type = ?5)"
        )
    };
}

/// The relation of the event that is the target of `$near`, in room ?2, if it is wanted.
macro_rules! next_step {
    ($near:literal, $event:literal, $next:literal) => {
        concat!(
            "events AS ",
            $event,
            " CROSS JOIN relations AS ",
            $next,
            "
                WHERE ",
            $event,
            ".event_id = ",
            $near,
            ".target AND ",
            $event,
            ".room_num = ?2
                    AND ",
            $next,
            ".room_num = ?2 AND ",
            $next,
            ".place_major = ",
            $event,
            ".place_major
                    AND ",
            $next,
            ".place_minor = ",
            $event,
            ".place_minor AND ",
            wanted!($next)
        )
    };
}

/// Whether a relation has target ?1, or a target with such a relation of its own, and so on: with names for the event and
/// the relation of each further step. Neither `EXISTS` nor a condition on the last one's target: PostgreSQL might read all
/// relations of the room for the one, all that have that target for the other.
macro_rules! leads {
    ($near:literal, $event:literal, $next:literal) => {
        concat!(
            "(", $near, ".target = ?1 OR (SELECT ", $next, ".target FROM ", next_step!($near, $event, $next), " LIMIT 1) = ?1)"
        )
    };
    ($near:literal, $event:literal, $next:literal, $($further:literal),+) => {
        concat!(
            "(", $near, ".target = ?1 OR (SELECT 1 FROM ", next_step!($near, $event, $next), "
                    AND ", leads!($next, $($further),+), " LIMIT 1) IS NOT NULL)"
        )
    };
}

/// The relations of room ?2 in a stretch, at most ?10 from the end at which `$order` begins, and whether each leads to an
/// event, in [`MAX_DEPTH`] steps at most.
macro_rules! looked_through {
    ($stretch:literal, $order:literal) => {
        concat!(
            "SELECT near.event_num, near.place_major, near.place_minor,
                CAST(CASE WHEN ", wanted!("near"), " AND
                    ", leads!("near", "first", "nearer", "second", "nearest"), " THEN 1 ELSE 0 END AS BIGINT)
            FROM (
                SELECT target, event_num, rel_type, type_num, place_major, place_minor FROM relations
                WHERE room_num = ?2 AND ", $stretch, " ORDER BY ", $order, " LIMIT ?10
            ) AS near ORDER BY ", $order
        )
    };
}

/// A column of the event that comes before the one where a walk is, of those that relate to the walk's target in the walk's
/// room and way.
macro_rules! older {
    ($column:literal) => {
        concat!(
            "(SELECT next.",
            $column,
            " FROM relations AS next
                WHERE next.target = walk.target AND next.room_num = walk.room_num AND next.rel_type = walk.rel_type
                    AND (next.place_major, next.place_minor) < (walk.place_major, walk.place_minor)
                ORDER BY next.place_major DESC, next.place_minor DESC LIMIT 1)"
        )
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
        WHERE target = ?1 AND room_num = ?2 AND (place_major, place_minor) < (?6, ?7)
            AND (place_major, place_minor) >= (?8, ?9) AND ", wanted!("relations"), "
        ORDER BY place_major DESC, place_minor DESC LIMIT ?10");
    /// The events that relate to an event, from a boundary on and before another, oldest first.
    RELATIONS_FORWARDS = concat!("SELECT event_num, place_major, place_minor FROM relations
        WHERE target = ?1 AND room_num = ?2 AND (place_major, place_minor) >= (?6, ?7)
            AND (place_major, place_minor) < (?8, ?9) AND ", wanted!("relations"), "
        ORDER BY place_major, place_minor LIMIT ?10");
    /// The events of a room that relate to some events, and their ids, in no order.
    RELATED_TO = concat!("SELECT relations.event_num, relations.place_major, relations.place_minor,
            (SELECT events.event_id FROM events WHERE events.event_num = relations.event_num)
        FROM {texts ?1} AS targets CROSS JOIN relations
        WHERE relations.target = targets.value AND relations.room_num = ?2 AND ", wanted!("relations"), " LIMIT ?6");
    /// The relations of a room before a boundary and not before another, newest first, and which lead to an event.
    LOOKED_THROUGH_BACKWARDS = looked_through!("(place_major, place_minor) < (?6, ?7)
        AND (place_major, place_minor) >= (?8, ?9)", "place_major DESC, place_minor DESC");
    /// The relations of a room from a boundary on and before another, oldest first, and which lead to an event.
    LOOKED_THROUGH_FORWARDS = looked_through!("(place_major, place_minor) >= (?6, ?7)
        AND (place_major, place_minor) < (?8, ?9)", "place_major, place_minor");
    /// The newest events that relate in some ways to some events of which something is kept, at most ?4 of each in each
    /// way, ?5 in all: the newest of each, then the one before that of each, and so on. So none of them keeps the others from
    /// being looked at.
    RELATIONS_OF = concat!("WITH RECURSIVE walk (target, room_num, rel_type, event_num, place_major, place_minor, steps) AS (
            SELECT kept.target, kept.room_num, ways.value, CAST(0 AS BIGINT), CAST(9223372036854775807 AS BIGINT),
                CAST(0 AS BIGINT), CAST(0 AS BIGINT)
            FROM {texts ?1} AS targets CROSS JOIN aggregations AS kept CROSS JOIN {blobs ?3} AS ways
            WHERE kept.target = targets.value AND kept.room_num IN {ints ?2}
            UNION ALL
            SELECT walk.target, walk.room_num, walk.rel_type, ", older!("event_num"), ", ",
                older!("place_major"), ", ", older!("place_minor"), ", walk.steps + 1
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
    pub recurse: Option<Recursion>,
}

/// How much is looked at for one page to find the events that relate indirectly.
#[derive(Debug, Clone, Copy)]
pub struct Recursion {
    /// If no more than so many are wanted, all of them are read, so that where they are doesn't matter.
    pub most_known: usize,
    /// Of more, nobody can tell cheaply which is the next: so many relations of the room are looked through in its order.
    pub most_looked_through: usize,
}

impl Default for Recursion {
    fn default() -> Self {
        Self {
            most_known: 2_000,
            most_looked_through: 5_000,
        }
    }
}

/// Where an event that relates to another is, and its number.
type Related = (Place, EventNum);

impl RelationsOf<'_> {
    /// Those that relate to the event directly, in a stretch of the room's order.
    fn direct(
        &self,
        tx: &mut Tx<'_>,
        stretch: Stretch,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Related>, Error> {
        let statement = match direction {
            Direction::Backwards => &RELATIONS_BACKWARDS,
            Direction::Forwards => &RELATIONS_FORWARDS,
        };
        let params = self.in_stretch(stretch, direction, limit);
        tx.query_all(statement, &params, |row| {
            Ok((read_place(row)?, EventNum(row.int(0)?)))
        })
    }

    /// As [`Self::direct`], with those that relate indirectly; and from where to go on, if there may be more.
    fn with_indirect(
        &self,
        tx: &mut Tx<'_>,
        recursion: Recursion,
        (stretch, direction): (Stretch, Direction),
        limit: usize,
    ) -> Result<(Vec<Related>, Option<Place>), Error> {
        let Some(mut all) = self.all(tx, recursion.most_known)? else {
            let most = recursion.most_looked_through;
            return self.look_through(tx, (stretch, direction), most, limit);
        };
        all.retain(|(place, _)| stretch.from <= *place && *place < stretch.to);
        all.sort_unstable_by_key(|(place, _)| *place);
        if direction == Direction::Backwards {
            all.reverse();
        }
        all.truncate(limit);
        let full = all.last().filter(|_| all.len() == limit);
        let rest = full.map(|(last, _)| direction.beyond(*last));
        Ok((all, rest))
    }

    /// All that relate to the event, directly or not, unless they are more than `most`.
    fn all(&self, tx: &mut Tx<'_>, most: usize) -> Result<Option<Vec<Related>>, Error> {
        let mut all = Vec::new();
        let mut targets = vec![self.target.to_string()];
        for _ in 0..MAX_DEPTH {
            let related = self.related_to(tx, &targets, most + 1 - all.len())?;
            all.extend(related.iter().map(|(related, _)| *related));
            if all.len() > most {
                return Ok(None);
            }
            targets = related.into_iter().map(|(_, id)| id).collect();
        }
        Ok(Some(all))
    }

    /// Those that relate to any of `targets`, with their ids.
    fn related_to(
        &self,
        tx: &mut Tx<'_>,
        targets: &[String],
        limit: usize,
    ) -> Result<Vec<(Related, String)>, Error> {
        let targets: Vec<&str> = targets.iter().map(|target| &**target).collect();
        let (kind, is_one_way, way) = self.filter();
        let params = [
            Param::Texts(&targets),
            self.room.into(),
            kind,
            is_one_way,
            way,
            count(limit),
        ];
        tx.query_all(&RELATED_TO, &params, |row| {
            let related = (read_place(row)?, EventNum(row.int(0)?));
            Ok((related, row.text(3)?.to_owned()))
        })
    }

    /// As [`Self::with_indirect`], among the first `most` relations of the stretch, whatever they relate to.
    fn look_through(
        &self,
        tx: &mut Tx<'_>,
        (stretch, direction): (Stretch, Direction),
        most: usize,
        limit: usize,
    ) -> Result<(Vec<Related>, Option<Place>), Error> {
        let statement = match direction {
            Direction::Backwards => &LOOKED_THROUGH_BACKWARDS,
            Direction::Forwards => &LOOKED_THROUGH_FORWARDS,
        };
        let params = self.in_stretch(stretch, direction, most);
        let looked_through = tx.query_all(statement, &params, |row| {
            let related = (read_place(row)?, EventNum(row.int(0)?));
            Ok((related, row.int(3)? == 1))
        })?;
        let (mut found, mut rest) = (Vec::new(), None);
        let is_cut = looked_through.len() == most;
        for (related, leads_here) in looked_through {
            rest = Some(direction.beyond(related.0));
            if leads_here {
                found.push(related);
            }
            if found.len() == limit {
                return Ok((found, rest));
            }
        }
        Ok((found, rest.filter(|_| is_cut)))
    }

    /// The parameters of a statement that reads a stretch in one direction.
    fn in_stretch(
        &self,
        Stretch { from, to }: Stretch,
        direction: Direction,
        limit: usize,
    ) -> [Param<'_>; 10] {
        let (first, second) = match direction {
            Direction::Backwards => (to, from),
            Direction::Forwards => (from, to),
        };
        let (kind, is_one_way, way) = self.filter();
        [
            self.target.as_str().into(),
            self.room.into(),
            kind,
            is_one_way,
            way,
            first.major.into(),
            first.minor.into(),
            second.major.into(),
            second.minor.into(),
            count(limit),
        ]
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

fn count(limit: usize) -> Param<'static> {
    i64::try_from(limit).unwrap_or(i64::MAX).into()
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
        (stretch, direction): (Stretch, Direction),
        limit: usize,
    ) -> Result<Page, Error> {
        let (page, rest) = match wanted.recurse {
            Some(recursion) => wanted.with_indirect(tx, recursion, (stretch, direction), limit)?,
            None => (wanted.direct(tx, stretch, direction, limit)?, None),
        };
        let numbers: Vec<EventNum> = page.into_iter().map(|(_, number)| number).collect();
        Ok(Page {
            events: self.events_read(tx, &numbers)?,
            rest,
        })
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
