//! `GET /_matrix/client/v3/notifications`: the events that a user has been told of, or would have been.
//! <https://spec.matrix.org/v1.19/client-server-api/#listing-notifications>
//!
//! Nothing is stored for it: the user's rules as they are now are evaluated on the newest events of the rooms that the
//! user is in, from a position back, in bounded steps. Invites count too.

use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use serde_json::json;
use starling_db::Tx;
use starling_pushrules::{Budget, EventView, Rule, Ruleset, Situation};
use starling_stateres::RoomPower;
use starling_store::client_view::{Asker, ClientView};
use starling_store::events::Event;
use starling_store::history::Viewer;
use starling_store::memberships::{Membership, MembershipRow, membership_list};
use starling_store::names::types;
use starling_store::rooms::RoomSnapshot;
use starling_store::timeline::{Direction, START, Stretch, end_of};
use starling_store::tokens::{NotAToken, Token};
use starling_store::unread::{Marks, marks_of_rooms, threads_of_events};
use starling_store::{EventNum, RoomNum, Store};

use crate::json::{self, Object};
use crate::{Error, Reader, Sync};

/// How many a client gets that doesn't say how many it wants.
const DEFAULT_LIMIT: usize = 20;

/// How many a client gets at most.
const MAX_LIMIT: usize = 100;

/// After so many events a request ends, whatever it found.
const MOST_SCANNED: usize = 1_000;

/// Events of a room that are read at once.
const STEP: i64 = 20;

/// What a client asks for.
#[derive(Debug, Clone, Default)]
pub struct NotificationsRequest {
    /// Where to go on: what the last answer said.
    pub from: Option<String>,
    /// How many it wants at most.
    pub limit: Option<u64>,
    /// Whether it wants only those that stand out.
    pub only_highlights: bool,
}

impl Sync {
    /// Answers with a page of notifications, the newest first: a JSON object.
    ///
    /// # Errors
    /// [`Error::NotAToken`] when `from` is no token of this server; [`Error::Db`] when the database cannot be read.
    pub async fn notifications(
        &self,
        reader: &Reader,
        request: &NotificationsRequest,
    ) -> Result<Vec<u8>, Error> {
        let head = self.bus.head();
        let upto = match request.from.as_deref().map(Token::parse).transpose()? {
            Some(token) if token.epoch() != self.store.epoch() => return Err(NotAToken.into()),
            Some(token) => token.position().min(head),
            None => head,
        };
        let limit = request.limit.map_or(DEFAULT_LIMIT, |limit| {
            usize::try_from(limit)
                .unwrap_or(MAX_LIMIT)
                .clamp(1, MAX_LIMIT)
        });
        let page = Page {
            store: self.store.clone(),
            reader: reader.clone(),
            now_ms: self.clock.now_ms(),
            only_highlights: request.only_highlights,
            upto,
            limit,
        };
        let read = move |tx: &mut Tx<'_>| page.answer(tx);
        self.store.db().scan("notifications", read).await
    }
}

/// What a page is to hold.
struct Page {
    store: Store,
    reader: Reader,
    now_ms: i64,
    only_highlights: bool,
    upto: i64,
    limit: usize,
}

/// A room, and what of it matters for the user's rules.
struct RoomView {
    snapshot: Arc<RoomSnapshot>,
    viewer: Viewer,
    power: Option<RoomPower>,
    display_name: Option<String>,
    marks: Marks,
}

/// An event that the user is told of.
struct Notification {
    event: Arc<Event>,
    actions: Vec<serde_json::Value>,
}

/// The rooms, each at the position of its newest event that was not looked at yet, or above it.
struct Rooms {
    next: BinaryHeap<(i64, RoomNum)>,
    read: HashMap<RoomNum, VecDeque<Arc<Event>>>,
    /// Rooms of which only the invite is looked at.
    invites: HashSet<RoomNum>,
}

impl Page {
    fn answer(&self, tx: &mut Tx<'_>) -> Result<Vec<u8>, Error> {
        let rules = self.store.push_rules(tx, self.reader.user)?;
        let ignored = self.store.ignored_numbers(tx, self.reader.user)?;
        let mut rooms = self.rooms(tx)?;
        let mut views: HashMap<RoomNum, RoomView> = HashMap::new();
        let mut found: Vec<Notification> = Vec::new();
        let mut scanned = 0;
        while found.len() < self.limit && scanned < MOST_SCANNED {
            let Some(event) = rooms.pop(tx, &self.store)? else {
                break;
            };
            scanned += 1;
            let is_own = event.sender == self.reader.user;
            if is_own || event.redacted_by.is_some() || ignored.contains(&event.sender) {
                continue;
            }
            if !views.contains_key(&event.room)
                && let Some(view) = self.view(tx, event.room)?
            {
                views.insert(event.room, view);
            }
            let Some(view) = views.get(&event.room) else {
                continue;
            };
            let rule = self.rule(&rules, &event, view);
            let wanted = |rule: &&Rule| rule.verdict().highlight || !self.only_highlights;
            if let Some(rule) = rule.filter(wanted) {
                let actions = rule.actions().to_vec();
                found.push(Notification { event, actions });
            }
        }
        let next = rooms.next.peek().map(|(position, _)| *position);
        self.write(tx, &found, &views, next)
    }

    /// The rooms that the user is in, and invites.
    fn rooms(&self, tx: &mut Tx<'_>) -> Result<Rooms, Error> {
        let mut rooms = Rooms {
            next: BinaryHeap::new(),
            read: HashMap::new(),
            invites: HashSet::new(),
        };
        let memberships = membership_list(tx, self.reader.user)?;
        let of = |membership| {
            let of = move |row: &&MembershipRow| row.membership == membership;
            memberships.iter().filter(of)
        };
        let joined: Vec<RoomNum> = of(Membership::Join).map(|row| row.room).collect();
        for (room, position) in self.store.timelines_last(tx, &joined, self.upto)? {
            rooms.next.push((position, room));
        }
        let invites: Vec<EventNum> = of(Membership::Invite)
            .map(|row| row.event)
            .filter(|event| event.0 <= self.upto)
            .collect();
        for event in self.store.events_read(tx, &invites)? {
            rooms.next.push((position_of(&event), event.room));
            rooms.invites.insert(event.room);
            rooms.read.insert(event.room, VecDeque::from([event]));
        }
        Ok(rooms)
    }

    fn view(&self, tx: &mut Tx<'_>, room: RoomNum) -> Result<Option<RoomView>, Error> {
        let Some(snapshot) = self.store.room_read(tx, room)? else {
            return Ok(None);
        };
        let viewer = Viewer::load(tx, &self.store, self.reader.user, room)?;
        let key = self.store.names().key(tx, self.reader.user_id.as_str())?;
        let display_name = match key {
            Some(key) => self.store.display_name(tx, &snapshot, key)?,
            None => None,
        };
        let joined = viewer.joined_at(i64::MAX).unwrap_or(0);
        let mut marks = marks_of_rooms(tx, self.reader.user, &[(room, joined)])?;
        Ok(Some(RoomView {
            power: self.store.room_power(tx, &snapshot)?,
            marks: marks.remove(&room).unwrap_or_default(),
            snapshot,
            viewer,
            display_name,
        }))
    }

    /// The rule that tells the user of the event, if one does.
    fn rule<'r>(&self, rules: &'r Ruleset, event: &Event, view: &RoomView) -> Option<&'r Rule> {
        // Rules are those of somebody who is there; an invite is for somebody who isn't yet.
        let is_there = match view.viewer.membership_at(event) {
            Membership::Join => view.viewer.sees(event),
            Membership::Invite => event.kind == types::MEMBER,
            Membership::Knock | Membership::Leave | Membership::Ban => false,
        };
        if !is_there {
            return None;
        }
        let sender = event.pdu.sender();
        let may_notify = |key: &str| {
            let power = view.power.as_ref();
            power.is_some_and(|power| power.user_level(sender) >= power.notification_level(key))
        };
        let situation = Situation {
            event: &EventView::new(&event.pdu),
            room: view.snapshot.for_rules(),
            user_id: self.reader.user_id.as_str(),
            display_name: view.display_name.as_deref(),
            may_notify: &may_notify,
            budget: &Budget::default(),
        };
        rules
            .evaluate(&situation)
            .filter(|rule| rule.verdict().notify)
    }

    fn write(
        &self,
        tx: &mut Tx<'_>,
        found: &[Notification],
        views: &HashMap<RoomNum, RoomView>,
        next: Option<i64>,
    ) -> Result<Vec<u8>, Error> {
        let asker = Asker {
            user: self.reader.user,
            device: self.reader.device,
            now_ms: self.now_ms,
        };
        let client_view = ClientView::load(&self.store, tx, asker, found.iter().map(|n| &n.event))?;
        let numbers: Vec<EventNum> = found.iter().map(|found| found.event.num).collect();
        let threads = threads_of_events(tx, &numbers)?;
        let mut out = Vec::new();
        let mut answer = Object::begin(&mut out);
        if let Some(position) = next {
            let epoch = self.store.epoch();
            let token = Token::Sync { epoch, position };
            answer.string(&mut out, "next_token", &token.to_string());
        }
        answer.key(&mut out, "notifications");
        out.push(b'[');
        let start = out.len();
        for Notification { event, actions } in found {
            let Some(view) = views.get(&event.room) else {
                continue;
            };
            let mark = match threads.get(&event.num) {
                Some(root) => view.marks.thread(root),
                None => view.marks.main,
            };
            json::separate(&mut out, start);
            let mut notification = Object::begin(&mut out);
            notification.key(&mut out, "actions");
            out.extend_from_slice(json!(actions).to_string().as_bytes());
            notification.key(&mut out, "event");
            client_view.write(&mut out, event, &view.viewer, false);
            notification.key(&mut out, "read");
            let read = position_of(event) <= mark;
            out.extend_from_slice(if read { b"true" } else { b"false" });
            notification.string(&mut out, "room_id", view.snapshot.room_id.as_str());
            notification.key(&mut out, "ts");
            out.extend_from_slice(event.pdu.origin_server_ts().to_string().as_bytes());
            out.push(b'}');
        }
        out.extend_from_slice(b"]}");
        Ok(out)
    }
}

/// Where an event is among others: its position, or its number where it has none, such as an invite.
fn position_of(event: &Event) -> i64 {
    event.position().unwrap_or(event.num.0)
}

/// A room's live events up to a position, the newest first: one step.
fn older(
    tx: &mut Tx<'_>,
    store: &Store,
    room: RoomNum,
    upto: i64,
) -> Result<VecDeque<Arc<Event>>, Error> {
    let stretch = Stretch {
        from: START,
        to: end_of(upto),
    };
    let events = store.timeline_page(tx, room, stretch, Direction::Backwards, STEP)?;
    // Backfilled events are no news to anybody.
    let live = events
        .into_iter()
        .filter(|event| event.position().is_some());
    Ok(live.collect())
}

impl Rooms {
    /// The newest event that was not looked at yet, of any room.
    fn pop(&mut self, tx: &mut Tx<'_>, store: &Store) -> Result<Option<Arc<Event>>, Error> {
        while let Some((position, room)) = self.next.pop() {
            let mut events = match self.read.remove(&room) {
                Some(events) => events,
                None => older(tx, store, room, position)?,
            };
            let first = events.front().map(|event| position_of(event));
            if let Some(first) = first.filter(|first| *first < position) {
                // Other rooms may have something newer.
                self.next.push((first, room));
                self.read.insert(room, events);
                continue;
            }
            let Some(event) = events.pop_front() else {
                continue;
            };
            if let Some(next) = events.front() {
                self.next.push((position_of(next), room));
                self.read.insert(room, events);
            } else if !self.invites.contains(&room) {
                // There may be more; nothing is read before its turn comes.
                self.next.push((position_of(&event) - 1, room));
            }
            return Ok(Some(event));
        }
        Ok(None)
    }
}
