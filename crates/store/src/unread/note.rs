//! What an append notes for unread counts: where the event stands in the totals, and for whom it is an exception.

use std::collections::BTreeMap;

use ruma_common::{ServerName, UserId};
use starling_db::{Error, Tx, Value};
use starling_events::Pdu;
use starling_pushrules::{Budget, EventView, Room, Rule, Ruleset, Shape, Situation, Verdict};
use starling_stateres::RoomPower;

use crate::events::Event;
use crate::names::{EMPTY_KEY, types};
use crate::numbers::{EventNum, RoomNum, UserNum};
use crate::receipts::{ReadUpTo, ReceiptThread};
use crate::relations::Relation;
use crate::rooms::RoomSnapshot;
use crate::state_map::StateMap;
use crate::store::Store;
use crate::threads::thread_of;
use crate::unread::Totals;

starling_db::statements! {
    /// The end of a thread.
    THREAD_END = "SELECT root_id, totals FROM thread_ends WHERE room_num = ?1 AND thread_num = ?2";
    /// A thread's new end.
    THREAD_END_SET = "INSERT INTO thread_ends (room_num, thread_num, root_id, last_position, totals)
        VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (room_num, thread_num) DO UPDATE SET last_position = excluded.last_position, totals = excluded.totals";
    /// Those of some users who are in a room.
    MENTIONED = "SELECT users.user_num, users.user_id FROM {texts ?1} AS wanted
            CROSS JOIN users CROSS JOIN memberships
        WHERE users.user_id = wanted.value AND memberships.user_num = users.user_num AND memberships.room_num = ?2
            AND memberships.membership = 2";
    /// What the rules of some users say of the event at a position.
    EXCEPTIONS_INSERT = "INSERT INTO unread_exceptions (user_num, room_num, event_num, thread_num, notify, highlight)
        SELECT wanted.value, ?2, ?3, ?4, ?5, ?6 FROM {ints ?1} AS wanted";
    /// A user leaves a room.
    EXCEPTIONS_DELETE_OF_ROOM = "DELETE FROM unread_exceptions WHERE user_num = ?1 AND room_num = ?2";
    /// A user has read all of a room up to an event.
    EXCEPTIONS_DELETE_READ = "DELETE FROM unread_exceptions WHERE user_num = ?1 AND room_num = ?2 AND event_num <= ?3";
    /// A user has read the main timeline up to an event.
    EXCEPTIONS_DELETE_READ_MAIN = "DELETE FROM unread_exceptions
        WHERE user_num = ?1 AND room_num = ?2 AND event_num <= ?3 AND thread_num = 0";
    /// A user has read a thread up to an event.
    EXCEPTIONS_DELETE_READ_THREAD = "DELETE FROM unread_exceptions
        WHERE user_num = ?1 AND room_num = ?2 AND event_num <= ?3
            AND thread_num = (SELECT events.event_num FROM events WHERE events.event_id = ?4)";
}

/// Of those whom an event mentions, only so many are told of it.
const MOST_MENTIONED: usize = 200;

/// Where an event stands in the totals.
#[derive(Debug)]
pub struct Counted {
    pub(crate) shape: Shape,
    /// The root of its thread; 0 in the main timeline.
    pub(crate) thread: EventNum,
    /// The main timeline's totals, with it.
    pub(crate) totals: Vec<u8>,
    /// Its thread's, with it.
    pub(crate) thread_totals: Option<Vec<u8>>,
}

impl Store {
    /// Counts an event that is being appended at a position, with how it relates to another; `after` is the room after it,
    /// which learns the new totals.
    pub(crate) fn count(
        &self,
        tx: &mut Tx<'_>,
        after: &mut RoomSnapshot,
        (pdu, relation): (&Pdu, Option<&Relation>),
        position: i64,
    ) -> Result<Counted, Error> {
        let mut failure = None;
        let shape = Shape::of(&EventView::new(pdu), || {
            let power = self.room_power(tx, after);
            let power = power.map_err(|error| failure = Some(error)).ok().flatten();
            power.is_some_and(|power| may_notify(&power, pdu.sender(), "room"))
        });
        if let Some(error) = failure {
            return Err(error);
        }
        let mut counted = Counted {
            shape,
            thread: EventNum(0),
            totals: Vec::new(),
            thread_totals: None,
        };
        match thread_of(tx, after.room, relation)? {
            None => after.unread.totals.add(shape),
            Some((thread, root_id)) => {
                let key = [after.room.into(), thread.into()];
                let end = tx.query_one(&THREAD_END, &key, |row| {
                    Ok((row.text(0)?.to_owned(), Totals::read(row.bytes(1)?)?))
                })?;
                let (root_id, mut totals) = end.unwrap_or((root_id, Totals::default()));
                totals.add(shape);
                let bytes = totals.to_bytes();
                let params = [
                    after.room.into(),
                    thread.into(),
                    root_id.as_str().into(),
                    position.into(),
                    Value::Bytes(&bytes),
                ];
                tx.execute_one(&THREAD_END_SET, &params)?;
                after.unread.last_threaded = position;
                counted.thread = thread;
                counted.thread_totals = Some(bytes);
            }
        }
        counted.totals = after.unread.totals.to_bytes();
        Ok(counted)
    }

    /// Notes what the rules of those say of an event who look at more than its shape. `after` is the room after it.
    pub(crate) fn note_exceptions(
        &self,
        tx: &mut Tx<'_>,
        (event, counted): (&Event, &Counted),
        after: &mut RoomSnapshot,
        server: &ServerName,
    ) -> Result<(), Error> {
        after.unread.watch = match member_of(event, server) {
            Some(target) => {
                let target = self.names().user_intern(tx, target)?;
                self.watch_member(tx, after, target)?
            }
            None => after.unread.watch.take(),
        };
        let watch = self.watch(tx, after)?;
        let view = EventView::new(&event.pdu);
        let watchers = watch.find(&view, counted.shape);
        after.unread.watch = Some(watch);
        let mut candidates: BTreeMap<UserNum, Candidate> = BTreeMap::new();
        add_mentioned(tx, after, &view, server, &mut candidates)?;
        for watcher in watchers {
            let candidate = candidates.entry(watcher.user).or_insert_with(|| Candidate {
                user_id: watcher.user_id.clone(),
                display_name: None,
                is_mentioned: false,
            });
            candidate.display_name.clone_from(&watcher.display_name);
        }
        candidates.remove(&event.sender);
        if candidates.is_empty() {
            return Ok(());
        }
        self.insert_exceptions(tx, (event, counted), after, (&view, candidates))
    }

    fn insert_exceptions(
        &self,
        tx: &mut Tx<'_>,
        (event, counted): (&Event, &Counted),
        after: &RoomSnapshot,
        (view, candidates): (&EventView<'_>, BTreeMap<UserNum, Candidate>),
    ) -> Result<(), Error> {
        let users: Vec<UserNum> = candidates.keys().copied().collect();
        let rulesets = self.push_rules_of(tx, &users)?;
        let power = self.room_power(tx, after)?;
        let sender = event.pdu.sender();
        let may = |key: &str| {
            power
                .as_ref()
                .is_some_and(|power| may_notify(power, sender, key))
        };
        let room = after.for_rules();
        let mut shares = Shares::new(candidates.values());
        let mut found: BTreeMap<(bool, bool), Vec<i64>> = BTreeMap::new();
        for (user, candidate) in &candidates {
            let shares = shares.of(candidate);
            let budget = shares.share();
            let Some(rules) = rulesets.get(user) else {
                continue;
            };
            let situation = Situation {
                event: view,
                room,
                user_id: &candidate.user_id,
                display_name: candidate.display_name.as_deref(),
                may_notify: &may,
                budget: &budget,
            };
            if let Some(verdict) = exception(&rules.ruleset, counted.shape, &situation) {
                let users = found
                    .entry((verdict.notify, verdict.highlight))
                    .or_default();
                users.push(user.0);
            }
            shares.done(&budget);
        }
        for ((notify, highlight), users) in found {
            let params = [
                Value::Ints(&users),
                after.room.into(),
                event.position().into(),
                counted.thread.into(),
                notify.into(),
                highlight.into(),
            ];
            tx.execute(&EXCEPTIONS_INSERT, &params)?;
            for user in users {
                self.unread_changed_after_commit(tx, UserNum(user), after.room);
            }
        }
        Ok(())
    }

    /// The power of users in a room; `None` when nobody can tell.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn room_power(
        &self,
        tx: &mut Tx<'_>,
        room: &RoomSnapshot,
    ) -> Result<Option<RoomPower>, Error> {
        self.power_in(tx, &room.state)
    }

    /// The power of users in a state; `None` when nobody can tell.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn power_in(&self, tx: &mut Tx<'_>, state: &StateMap) -> Result<Option<RoomPower>, Error> {
        let event = |kind| state.get(kind, EMPTY_KEY).map(|entry| entry.event);
        let numbers = [event(types::CREATE), event(types::POWER_LEVELS)];
        let wanted: Vec<EventNum> = numbers.into_iter().flatten().collect();
        let events = self.events_read(tx, &wanted)?;
        let of = |kind| events.iter().find(|event| event.kind == kind);
        let Some(create) = of(types::CREATE) else {
            return Ok(None);
        };
        let levels = of(types::POWER_LEVELS).map(|event| &event.pdu);
        Ok(RoomPower::new(&create.pdu, levels).ok())
    }
}

/// Adds the local members whom an event mentions.
fn add_mentioned(
    tx: &mut Tx<'_>,
    after: &RoomSnapshot,
    view: &EventView<'_>,
    server: &ServerName,
    candidates: &mut BTreeMap<UserNum, Candidate>,
) -> Result<(), Error> {
    let mentioned = view.mentioned();
    let mut local: Vec<&str> = Vec::new();
    for name in &mentioned {
        let user_id = <&UserId>::try_from(name.as_ref()).ok();
        let user_id = user_id.filter(|user_id| user_id.server_name() == server);
        local.extend(user_id.map(UserId::as_str));
    }
    local.truncate(MOST_MENTIONED);
    if local.is_empty() {
        return Ok(());
    }
    tx.query(
        &MENTIONED,
        &[Value::Texts(&local), after.room.into()],
        &mut |row| {
            let candidate = Candidate {
                user_id: row.text(1)?.to_owned(),
                display_name: None,
                is_mentioned: true,
            };
            candidates.insert(UserNum(row.int(0)?), candidate);
            Ok(())
        },
    )
}

/// The work that one event may take: half of it is for the few whom it mentions, however many others look for what is in
/// it.
struct Shares {
    mentioned: Share,
    others: Share,
}

impl Shares {
    fn new<'a>(candidates: impl ExactSizeIterator<Item = &'a Candidate>) -> Self {
        let all = candidates.len();
        let mentioned = candidates.filter(|it| it.is_mentioned).count();
        let share = |users| Share {
            left: Budget::OF_EVENT / 2,
            users,
        };
        Self {
            mentioned: share(mentioned),
            others: share(all - mentioned),
        }
    }

    fn of(&mut self, candidate: &Candidate) -> &mut Share {
        if candidate.is_mentioned {
            &mut self.mentioned
        } else {
            &mut self.others
        }
    }
}

/// Work that is split among those whose rules are evaluated: each gets as much as the others, and what they leave. So
/// nobody's rules take from what the rules of others need.
struct Share {
    left: usize,
    users: usize,
}

impl Share {
    fn share(&self) -> Budget {
        Budget::new(self.left / self.users.max(1))
    }

    /// Gives back what was not used of the last one.
    fn done(&mut self, budget: &Budget) {
        let share = self.left / self.users.max(1);
        self.left = self.left - share + budget.left();
        self.users = self.users.saturating_sub(1);
    }
}

/// Whose rules are evaluated.
struct Candidate {
    user_id: String,
    /// Known where rules look for it.
    display_name: Option<String>,
    /// The event names them: no more than [`MOST_MENTIONED`].
    is_mentioned: bool,
}

/// What rules say of an event, if that is something else than what they say of all events of its shape. Where the budget
/// didn't suffice, nobody knows what they say, and the shape decides.
fn exception(rules: &Ruleset, shape: Shape, situation: &Situation<'_>) -> Option<Verdict> {
    let decides = rules.evaluate(situation);
    if situation.budget.is_spent() {
        return None;
    }
    let by_shape = rules.decides(shape, situation.room, situation.user_id);
    let same = match (decides, by_shape) {
        (Some(one), Some(other)) => std::ptr::eq(one, other),
        (None, None) => true,
        _ => false,
    };
    (!same).then(|| decides.map_or_else(Verdict::default, Rule::verdict))
}

/// Whether a user has the power to notify in this way.
fn may_notify(power: &RoomPower, sender: &UserId, key: &str) -> bool {
    power.user_level(sender) >= power.notification_level(key)
}

/// The local user whose member event it is.
fn member_of<'a>(event: &'a Event, server: &ServerName) -> Option<&'a UserId> {
    let key = event
        .pdu
        .state_key()
        .filter(|_| event.kind == types::MEMBER)?;
    let target = <&UserId>::try_from(key).ok()?;
    (target.server_name() == server).then_some(target)
}

/// Forgets exceptions in a room that `user` leaves.
pub(crate) fn exceptions_delete_of_room(
    tx: &mut Tx<'_>,
    user: UserNum,
    room: RoomNum,
) -> Result<(), Error> {
    tx.execute(&EXCEPTIONS_DELETE_OF_ROOM, &[user.into(), room.into()])?;
    Ok(())
}

/// Forgets exceptions that a receipt of `user` passes.
pub(crate) fn exceptions_delete_read(
    tx: &mut Tx<'_>,
    user: UserNum,
    room: RoomNum,
    read: &ReadUpTo,
) -> Result<(), Error> {
    let (thread, place) = (&read.key.thread, read.place.major);
    let params = [user.into(), room.into(), place.into()];
    match thread {
        ReceiptThread::Unthreaded => tx.execute(&EXCEPTIONS_DELETE_READ, &params)?,
        ReceiptThread::Main => tx.execute(&EXCEPTIONS_DELETE_READ_MAIN, &params)?,
        ReceiptThread::Root(id) => {
            let [user, room, place] = params;
            let params = [user, room, place, id.as_str().into()];
            tx.execute(&EXCEPTIONS_DELETE_READ_THREAD, &params)?
        }
    };
    Ok(())
}

impl RoomSnapshot {
    /// The room as push rules look at it.
    #[must_use]
    pub fn for_rules(&self) -> Room<'_> {
        Room {
            room_id: self.room_id.as_str(),
            member_count: self.joined,
        }
    }
}
