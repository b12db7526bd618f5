//! Which events of a room a local user may see, by history visibility.
//! <https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility>
//!
//! An event row holds the room's visibility before and after it, so nothing here looks at a room's state: a
//! [`Viewer`] is the history of one user's membership, and asking it costs no query.

use std::collections::HashMap;
use std::sync::Arc;

use ruma_common::UserId;
use starling_db::{Error, Row, Tx, Value};

use crate::events::{DUMMY, Event, Status, Visibility};
use crate::ignored::Ignored;
use crate::memberships::Membership;
use crate::names::types;
use crate::numbers::{EventNum, KeyNum, RoomNum, TypeNum, UserNum};
use crate::store::Store;
use crate::timeline::Direction;
use crate::tokens::Place;

/// What [`read_sight`] takes of a room's timeline.
macro_rules! sight {
    () => {
        "event_num, origin_server_ts, place_major, place_minor, visibility_before, visibility_after, type_num, key_num,
            status, sender_num
        FROM events WHERE room_num = ?1 AND place_major IS NOT NULL AND origin_server_ts IS NOT NULL"
    };
}

starling_db::statements! {
    /// Every change of a user's membership of some rooms. A join, since SQLite makes a table of what stands after `IN`;
    /// and in no order, so that it looks each room up instead of reading those of all rooms in the order of an index.
    MEMBERSHIP_HISTORIES = "SELECT changes.room_num, changes.membership, changes.event_num, changes.place_major,
            changes.place_minor
        FROM {ints ?2} AS wanted CROSS JOIN membership_changes AS changes
        WHERE changes.user_num = ?1 AND changes.room_num = wanted.value
        UNION ALL SELECT forks.room_num, forks.membership, NULL, forks.place_major, 0
        FROM {ints ?2} AS wanted CROSS JOIN fork_members AS forks
        WHERE forks.user_num = ?1 AND forks.room_num = wanted.value";
    /// The events of a room from a time on, oldest first; ?3 is the last that was looked at of those of this time.
    EVENTS_FROM_TIME = concat!("SELECT ", sight!(), " AND (origin_server_ts, event_num) > (?2, ?3)
        ORDER BY origin_server_ts, event_num LIMIT ?4");
    /// The events of a room up to a time, newest first.
    EVENTS_UP_TO_TIME = concat!("SELECT ", sight!(), " AND (origin_server_ts, event_num) < (?2, ?3)
        ORDER BY origin_server_ts DESC, event_num DESC LIMIT ?4");
    /// Where a room's history visibility changed; 5 is its type's number, which the index is made for.
    VISIBILITY_CHANGES = "SELECT position FROM state_deltas WHERE room_num = ?1 AND type_num = 5";
    /// The time of the last event of a room up to a position.
    TIME_AT = "SELECT origin_server_ts FROM events
        WHERE room_num = ?1 AND place_major IS NOT NULL AND place_major <= ?2
        ORDER BY place_major DESC, place_minor DESC LIMIT 1";
}

/// So many events are looked at at once, and at most, where the first ones are none that a user is shown.
const TIME_STEPS: (i64, i64) = (1_000, 100_000);

/// By so much, in milliseconds, the times of a room's events may be out of their order for what is passed over because of
/// that order to be only what the user may not see.
const TIME_MARGIN: i64 = 600_000;

/// An event as far as it takes to know who may see it, and when it says it was sent.
#[derive(Debug, Clone, Copy)]
struct Sight {
    num: EventNum,
    origin_server_ts: i64,
    status: Status,
    place: Place,
    visibility: (Visibility, Visibility),
    /// The state key, where it is a member event.
    member: Option<KeyNum>,
    /// Who sent it, where it is no state.
    speaker: Option<UserNum>,
}

fn read_sight(row: &dyn Row) -> Result<Sight, Error> {
    let (kind, key) = (TypeNum(row.int(6)?), row.opt_int(7)?);
    Ok(Sight {
        num: EventNum(row.int(0)?),
        origin_server_ts: row.int(1)?,
        place: Place {
            major: row.int(2)?,
            minor: row.int(3)?,
        },
        visibility: (
            Visibility::from_code(row.int(4)?)?,
            Visibility::from_code(row.int(5)?)?,
        ),
        status: Status::from_code(row.int(8)?)?,
        member: key.filter(|_| kind == types::MEMBER).map(KeyNum),
        speaker: key.is_none().then_some(UserNum(row.int(9)?)),
    })
}

/// What one local user may see of one room.
#[derive(Debug, Clone, Default)]
pub struct Viewer {
    /// The state key of the user's own member events.
    own_key: Option<KeyNum>,
    /// Where the user's member events are, in the order of the room, what each made of the membership, and its number.
    changes: Vec<(Place, Membership, EventNum)>,
    /// What the user was at the events at these positions, where that is something else: they are of other branches.
    on_branches: HashMap<i64, Membership>,
    /// Whom the user ignores.
    ignored: Arc<Ignored>,
}

impl Viewer {
    /// What `user` may see of `room`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn load(
        tx: &mut Tx<'_>,
        store: &Store,
        user: UserNum,
        room: RoomNum,
    ) -> Result<Self, Error> {
        Ok(Self::load_rooms(tx, store, user, &[room])?
            .remove(&room)
            .unwrap_or_default())
    }

    /// What `user` may see of each of `rooms`, with one query for all.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn load_rooms(
        tx: &mut Tx<'_>,
        store: &Store,
        user: UserNum,
        rooms: &[RoomNum],
    ) -> Result<HashMap<RoomNum, Self>, Error> {
        let user_id = store.names().user_id(tx, user)?;
        let own_key = store.names().key(tx, user_id.as_str())?;
        let ignored = store.ignored(tx, user)?;
        let blank = || Self {
            own_key,
            changes: Vec::new(),
            on_branches: HashMap::new(),
            ignored: Arc::clone(&ignored),
        };
        let mut viewers: HashMap<RoomNum, Self> =
            rooms.iter().map(|room| (*room, blank())).collect();
        let numbers: Vec<i64> = rooms.iter().map(|room| room.0).collect();
        tx.query(
            &MEMBERSHIP_HISTORIES,
            &[user.into(), Value::Ints(&numbers)],
            &mut |row| {
                let code = row.int(1)?;
                let membership = Membership::from_code(code)
                    .ok_or_else(|| Error::Damaged(format!("there is no membership {code}")))?;
                let viewer = viewers.entry(RoomNum(row.int(0)?)).or_insert_with(blank);
                let Some(event) = row.opt_int(2)?.map(EventNum) else {
                    viewer.on_branches.insert(row.int(3)?, membership);
                    return Ok(());
                };
                // Unless it has a place of its own, a live event's number is its position.
                let place = Place {
                    major: row.opt_int(3)?.unwrap_or(event.0),
                    minor: row.int(4)?,
                };
                viewer.changes.push((place, membership, event));
                Ok(())
            },
        )?;
        for viewer in viewers.values_mut() {
            viewer.changes.sort_unstable_by_key(|(place, ..)| *place);
        }
        Ok(viewers)
    }

    /// Whether the user is shown the event: may see it, and doesn't ignore who sent it. State is shown whoever made it.
    #[must_use]
    pub fn sees(&self, event: &Event) -> bool {
        let is_ignored = event.key.is_none() && self.ignores(event.pdu.sender());
        !is_ignored && self.may_see(event)
    }

    /// Whether the user ignores this one.
    #[must_use]
    pub fn ignores(&self, user_id: &UserId) -> bool {
        self.ignored.has(user_id.as_str())
    }

    /// Whether the user ignores anybody.
    #[must_use]
    pub fn ignores_anybody(&self) -> bool {
        !self.ignored.is_empty()
    }

    /// Whether the user may see the event, whoever sent it. Rejected and soft-failed events are shown to nobody.
    #[must_use]
    pub fn may_see(&self, event: &Event) -> bool {
        let is_own =
            event.kind == types::MEMBER && event.key.is_some() && event.key == self.own_key;
        let is_for_clients = event.status == Status::Accepted && event.pdu.kind() != DUMMY;
        is_for_clients && self.sees_at(event.place, event.visibility, is_own)
    }

    /// The event of `room` that the user is shown whose time is the closest to `ts` in this direction, as of position
    /// `upto`. `ignored` are those whom the user ignores.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn closest_in_time(
        &self,
        tx: &mut Tx<'_>,
        (room, upto): (RoomNum, i64),
        (ts, direction): (i64, Direction),
        ignored: &[UserNum],
    ) -> Result<Option<EventNum>, Error> {
        let (statement, mut after) = match direction {
            Direction::Forwards => (&EVENTS_FROM_TIME, (ts, i64::MIN)),
            Direction::Backwards => (&EVENTS_UP_TO_TIME, (ts, i64::MAX)),
        };
        let (step, most) = TIME_STEPS;
        let mut edges = None;
        for _ in 0..most / step {
            let params = [room.into(), after.0.into(), after.1.into(), step.into()];
            let events = tx.query_all(statement, &params, read_sight)?;
            let is_seen = |event: &&Sight| {
                let is_told = event.place.minor != 0 || event.place.major <= upto;
                let is_ignored = event
                    .speaker
                    .is_some_and(|speaker| ignored.contains(&speaker));
                is_told && !is_ignored && event.status == Status::Accepted && self.sees_place(event)
            };
            if let Some(event) = events.iter().find(is_seen) {
                return Ok(Some(event.num));
            }
            let Some(last) = events
                .last()
                .filter(|_| Ok(events.len()) == usize::try_from(step))
            else {
                break;
            };
            after = (last.origin_server_ts, last.num.0);
            if self.sees_place(last) || self.on_branch(last.place).is_some() {
                continue;
            }
            let edges = match &edges {
                Some(edges) => edges,
                None => edges.insert(self.edges(tx, room)?),
            };
            if let Some(edge) = edge_beyond(edges, last.place, direction) {
                after = time_at(tx, room, edge)?.map_or(after, |at| match direction {
                    Direction::Forwards => after.max((at.saturating_sub(TIME_MARGIN), i64::MIN)),
                    Direction::Backwards => after.min((at.saturating_add(TIME_MARGIN), i64::MAX)),
                });
            }
        }
        Ok(None)
    }

    fn sees_place(&self, event: &Sight) -> bool {
        let is_own = event.member.is_some() && event.member == self.own_key;
        self.sees_at(Some(event.place), event.visibility, is_own)
    }

    /// Where the user's membership or the room's visibility changed, in order: between two of these, they may see all
    /// events or none.
    fn edges(&self, tx: &mut Tx<'_>, room: RoomNum) -> Result<Vec<i64>, Error> {
        let mut edges = tx.query_all(&VISIBILITY_CHANGES, &[room.into()], |row| row.int(0))?;
        edges.extend(self.changes.iter().map(|(place, ..)| place.major));
        edges.sort_unstable();
        Ok(edges)
    }

    /// The user's membership at the event, with what the event itself changed; `leave` where there was none yet.
    #[must_use]
    pub fn membership_at(&self, event: &Event) -> Membership {
        let Some(place) = event.place else {
            return Membership::Leave;
        };
        let is_own = event.kind == types::MEMBER && event.key == self.own_key;
        let on_branch = self.on_branch(place).filter(|_| !is_own);
        on_branch.unwrap_or_else(|| self.membership(place, true))
    }

    /// The last of the user's member events after position `after` and up to `end` with which they ceased to be joined.
    #[must_use]
    pub fn left(&self, after: i64, end: &Event) -> Option<EventNum> {
        self.left_within(after, end.place?)
    }

    fn left_within(&self, after: i64, end: Place) -> Option<EventNum> {
        let mut joined = false;
        let mut left = None;
        for (at, membership, event) in self.changes.iter().take_while(|(at, ..)| *at <= end) {
            let joins = *membership == Membership::Join;
            if joined && !joins && at.major > after {
                left = Some(*event);
            }
            joined = joins;
        }
        left
    }

    /// The position of the join that made the user a member, if they were one as of `upto`.
    #[must_use]
    pub fn joined_at(&self, upto: i64) -> Option<i64> {
        let mut past = self.changes.iter().rev();
        let (place, membership, _) = past.find(|(place, ..)| place.major <= upto)?;
        (*membership == Membership::Join).then_some(place.major)
    }

    /// Whether the user has ever been joined.
    #[must_use]
    pub fn ever_joined(&self) -> bool {
        self.changes
            .iter()
            .any(|(_, membership, _)| *membership == Membership::Join)
    }

    /// An event's visibility before and after it differs only for `m.room.history_visibility` events, the membership
    /// only for the user's own member events: there the more permissive counts.
    fn sees_at(
        &self,
        place: Option<Place>,
        visibility: (Visibility, Visibility),
        is_own: bool,
    ) -> bool {
        let visibilities = [visibility.0, visibility.1];
        let Some(place) = place else {
            // In no order: nobody can tell who was a member then.
            return visibilities.contains(&Visibility::WorldReadable);
        };
        let (before, after) = match self.on_branch(place) {
            Some(there) if is_own => (there, self.membership(place, true)),
            Some(there) => (there, there),
            None if is_own => (self.membership(place, false), self.membership(place, true)),
            None => (self.membership(place, true), self.membership(place, true)),
        };
        let joined_later = || {
            self.changes
                .iter()
                .any(|(at, change, _)| *at > place && *change == Membership::Join)
        };
        visibilities.into_iter().any(|visibility| match visibility {
            Visibility::WorldReadable => true,
            _ if before == Membership::Join || after == Membership::Join => true,
            Visibility::Shared => joined_later(),
            Visibility::Invited => before == Membership::Invite || after == Membership::Invite,
            Visibility::Joined => false,
        })
    }

    /// What the user was at an event of another branch.
    fn on_branch(&self, place: Place) -> Option<Membership> {
        let position = (place.minor == 0).then_some(place.major)?;
        self.on_branches.get(&position).copied()
    }

    /// The membership at a place; `with` that of an event there, or just before it.
    fn membership(&self, place: Place, with: bool) -> Membership {
        let past = self
            .changes
            .iter()
            .rev()
            .find(|(at, ..)| *at < place || (with && *at == place));
        past.map_or(Membership::Leave, |(_, membership, _)| *membership)
    }
}

/// The first of `edges` after a place, or the last one before it.
fn edge_beyond(edges: &[i64], place: Place, direction: Direction) -> Option<i64> {
    match direction {
        Direction::Forwards => edges.iter().find(|edge| **edge > place.major),
        Direction::Backwards => edges.iter().rev().find(|edge| **edge < place.major),
    }
    .copied()
}

fn time_at(tx: &mut Tx<'_>, room: RoomNum, position: i64) -> Result<Option<i64>, Error> {
    let time = tx.query_one(&TIME_AT, &[room.into(), position.into()], |row| {
        row.opt_int(0)
    })?;
    Ok(time.flatten())
}

#[cfg(test)]
mod tests {
    use super::{EventNum, Membership, Place, Viewer, Visibility};
    use crate::numbers::KeyNum;
    use Membership::{Ban, Invite, Join, Knock, Leave};
    use Visibility::{Invited, Joined, Shared, WorldReadable};

    fn viewer(changes: &[(i64, Membership)]) -> Viewer {
        let changes = changes
            .iter()
            .map(|(at, change)| {
                (
                    Place {
                        major: *at,
                        minor: 0,
                    },
                    *change,
                    EventNum(*at),
                )
            })
            .collect();
        Viewer {
            own_key: Some(KeyNum(7)),
            changes,
            ..Viewer::default()
        }
    }

    /// Which of the places 1 to 9 the user sees, where `visibility` was the same all the time. The events at the places
    /// of `changes` are the user's own member events.
    fn seen(changes: &[(i64, Membership)], visibility: Visibility) -> Vec<i64> {
        let viewer = viewer(changes);
        let is_own = |at: &i64| changes.iter().any(|(own, _)| own == at);
        (1..=9)
            .filter(|at| {
                viewer.sees_at(
                    Some(Place {
                        major: *at,
                        minor: 0,
                    }),
                    (visibility, visibility),
                    is_own(at),
                )
            })
            .collect()
    }

    /// Memberships by position, the room's visibility, and the positions whose events are seen.
    type Case<'a> = (&'a [(i64, Membership)], Visibility, &'a [i64]);

    #[test]
    fn who_sees_what_under_each_visibility() {
        let all: Vec<i64> = (1..=9).collect();
        let invited_then_joined: &[(i64, Membership)] = &[(3, Invite), (5, Join)];
        let joined_and_left: &[(i64, Membership)] = &[(3, Join), (6, Leave)];
        let kicked_invite: &[(i64, Membership)] = &[(3, Invite), (6, Leave)];
        let came_back: &[(i64, Membership)] = &[(2, Join), (4, Leave), (7, Join)];
        let banned: &[(i64, Membership)] = &[(2, Join), (4, Ban)];
        let knocked: &[(i64, Membership)] = &[(2, Knock), (4, Leave)];
        let cases: [Case<'_>; 20] = [
            (&[], WorldReadable, &all),
            (&[], Shared, &[]),
            (&[], Invited, &[]),
            (&[], Joined, &[]),
            (invited_then_joined, WorldReadable, &all),
            (invited_then_joined, Shared, &all),
            (invited_then_joined, Invited, &[3, 4, 5, 6, 7, 8, 9]),
            (invited_then_joined, Joined, &[5, 6, 7, 8, 9]),
            (joined_and_left, WorldReadable, &all),
            (joined_and_left, Shared, &[1, 2, 3, 4, 5, 6]),
            (joined_and_left, Invited, &[3, 4, 5, 6]),
            (joined_and_left, Joined, &[3, 4, 5, 6]),
            (kicked_invite, Shared, &[]),
            (kicked_invite, Invited, &[3, 4, 5, 6]),
            (kicked_invite, Joined, &[]),
            (came_back, Shared, &all),
            (came_back, Joined, &[2, 3, 4, 7, 8, 9]),
            (banned, Shared, &[1, 2, 3, 4]),
            (banned, Joined, &[2, 3, 4]),
            (knocked, Shared, &[]),
        ];
        for (changes, visibility, expected) in cases {
            assert_eq!(
                seen(changes, visibility),
                expected,
                "{changes:?} {visibility:?}"
            );
        }
    }

    #[test]
    fn of_a_visibility_change_the_more_permissive_side_counts() {
        let (stranger, member) = (viewer(&[]), viewer(&[(5, Join)]));
        let at = Some(Place { major: 3, minor: 0 });
        assert!(stranger.sees_at(at, (WorldReadable, Joined), false));
        assert!(stranger.sees_at(at, (Joined, WorldReadable), false));
        assert!(!stranger.sees_at(at, (Joined, Shared), false));
        assert!(member.sees_at(at, (Joined, Shared), false));
        assert!(!member.sees_at(at, (Joined, Invited), false));
    }

    #[test]
    fn backfilled_events_lie_before_the_live_event_at_their_position() {
        let member = viewer(&[(5, Join)]);
        let backfilled = Some(Place {
            major: 5,
            minor: -2,
        });
        assert!(!member.sees_at(backfilled, (Joined, Joined), false));
        assert!(member.sees_at(backfilled, (Shared, Shared), false));
    }

    #[test]
    fn what_is_in_no_order_is_seen_only_where_anyone_may_read() {
        let member = viewer(&[(1, Join)]);
        assert!(member.sees_at(None, (WorldReadable, WorldReadable), false));
        assert!(!member.sees_at(None, (Shared, Shared), false));
    }

    #[test]
    fn the_membership_at_an_event_has_what_the_event_changed() {
        let member = viewer(&[(2, Invite), (4, Join), (6, Leave)]);
        let at = |major| member.membership(Place { major, minor: 0 }, true);
        assert_eq!(
            [at(1), at(2), at(3), at(4), at(5), at(6), at(7)],
            [Leave, Invite, Invite, Join, Join, Leave, Leave]
        );
        assert!(member.ever_joined());
        let left = |after, end| {
            let end = Place {
                major: end,
                minor: 0,
            };
            let banned = viewer(&[(2, Join), (4, Leave), (6, Join), (7, Leave), (9, Ban)]);
            banned.left_within(after, end).map(|event| event.0)
        };
        assert_eq!(
            [left(0, 3), left(0, 9), left(6, 9), left(7, 9), left(0, 6)],
            [None, Some(7), Some(7), None, Some(4)]
        );
        assert!(!viewer(&[(2, Invite)]).ever_joined());
    }
}
