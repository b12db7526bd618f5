//! Fetching a room's older history from other servers, when a client comes to where it ends here.
//! <https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events>

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use ruma_common::{EventId, OwnedEventId, OwnedServerName, RoomId, UserId};
use starling_db::{Error, Positions, Tx, Write};
use starling_events::Pdu;
use starling_stateres::{RoomPower, can_redact};
use starling_store::backfill::Older;
use starling_store::events::{Status, Visibility};
use starling_store::gaps::{Gap, gap_delete, gap_newest};
use starling_store::memberships::Membership;
use starling_store::names::{EMPTY_KEY, types};
use starling_store::outliers::{KnownEvent, events_known};
use starling_store::rooms::{RoomSnapshot, visibility_of};
use starling_store::timeline::{Direction, START, Stretch};
use starling_store::tokens::{Place, Token};
use starling_store::{EventNum, Store};

use crate::order::by_prev_events;
use crate::receive::{ReceiveError, redaction};
use crate::rooms::Rooms;

/// So many events are asked for at once.
const EVENTS: u32 = 100;

/// So many of the events that are missing before a place are asked for at once.
const MISSING: i64 = 20;

/// How long a client waits for older events; then it is shown what is here.
const PATIENCE: Duration = Duration::from_secs(20);

/// So many servers are asked before giving up.
const SERVERS: usize = 3;

/// At most so many members are looked at to find servers.
const MEMBERS: usize = 10_000;

impl Rooms {
    /// Makes sure that the next `limit` events before a token (without one, before the end) are here, as far as other
    /// servers have them and one of them answers. `user` must be in the room.
    ///
    /// # Errors
    /// [`ReceiveError`]; what is here stays as it is.
    pub async fn backfill(
        &self,
        user: &UserId,
        room_id: &RoomId,
        (before, limit): (Option<Token>, u64),
    ) -> Result<(), ReceiveError> {
        let room = self.room_num(room_id, ReceiveError::UnknownRoom).await?;
        if self.parts.remote.is_none()
            || self.current_membership(room, user).await? != Some(Membership::Join)
        {
            return Ok(());
        }
        let snapshot = self.store().room(room).await?;
        let snapshot = snapshot.ok_or(ReceiveError::UnknownRoom)?;
        let before = before.map_or(END, |token| token.boundary());
        let (store, limit) = (
            self.store().clone(),
            i64::try_from(limit).unwrap_or(i64::MAX),
        );
        let look = move |tx: &mut Tx<'_>| gap_before(&store, tx, &snapshot, (before, limit));
        let Some((snapshot, gap, visibility)) = self.store().db().read("gap", look).await? else {
            return Ok(());
        };
        let filling = self.fill(&snapshot, &gap, visibility);
        let filled = tokio::time::timeout(PATIENCE, filling).await;
        filled.unwrap_or(Err(ReceiveError::Missing("older events in time")))
    }

    pub(crate) async fn fill(
        &self,
        snapshot: &Arc<RoomSnapshot>,
        gap: &Gap,
        visibility: Visibility,
    ) -> Result<(), ReceiveError> {
        let (mut failure, mut is_answered) = (None, false);
        for server in self
            .other_servers_in(snapshot)
            .await?
            .into_iter()
            .take(SERVERS)
        {
            let remote = self.remote()?;
            let answer = remote.backfill(&server, &snapshot.room_id, &gap.missing, EVENTS);
            let events = match answer.await {
                Ok(events) => self.checked(snapshot, events).await?,
                Err(error) => {
                    failure = Some(error.into());
                    continue;
                }
            };
            is_answered = true;
            if events.is_empty() {
                continue;
            }
            let events = by_prev_events(events);
            self.store_with_auth(snapshot, &server, &events).await?;
            let start = self.visibility_at_start(snapshot, &server, &events).await?;
            let visibility = visibilities(&events, (start, visibility));
            if self.place(snapshot, gap, (events, visibility)).await? {
                return Ok(());
            }
        }
        match failure {
            Some(error) => Err(error),
            // All who were asked have nothing that lies there.
            None if is_answered => self.give_up(snapshot, gap).await,
            None => Err(ReceiveError::Missing("older events")),
        }
    }

    async fn give_up(&self, snapshot: &RoomSnapshot, gap: &Gap) -> Result<(), ReceiveError> {
        let (room, place) = (snapshot.room, gap.place);
        let write = move |tx: &mut Tx<'_>| gap_delete(tx, room, place);
        let write = self.store().db().write(Write::new("gap_delete"), write);
        Ok(write.await?)
    }

    /// Stores the events without a place, with those that allow them.
    async fn store_with_auth(
        &self,
        snapshot: &Arc<RoomSnapshot>,
        server: &ruma_common::ServerName,
        events: &[Pdu],
    ) -> Result<(), ReceiveError> {
        let here: BTreeSet<&EventId> = events.iter().map(Pdu::event_id).collect();
        let cited = events.iter().flat_map(Pdu::auth_events);
        let cited: BTreeSet<OwnedEventId> =
            cited.filter(|id| !here.contains(&***id)).cloned().collect();
        let missing = self.unknown_among(snapshot.room, cited).await?;
        let fetched = self.fetch_events(server, missing).await?;
        let mut all = self.checked(snapshot, fetched).await?;
        all.extend(events.iter().cloned());
        self.store_outliers(snapshot.room, all).await?;
        Ok(())
    }

    /// The history visibility before the oldest of the events, where they don't say it themselves.
    async fn visibility_at_start(
        &self,
        snapshot: &Arc<RoomSnapshot>,
        server: &ruma_common::ServerName,
        events: &[Pdu],
    ) -> Result<Option<Visibility>, ReceiveError> {
        if events.iter().any(|pdu| pdu.kind() == "m.room.create") {
            return Ok(Some(Visibility::Shared));
        }
        let Some(oldest) = events
            .first()
            .filter(|_| events.iter().any(sets_visibility))
        else {
            return Ok(None);
        };
        // Without the state there, nobody knows: then it is as strict as can be.
        let Ok(state) = self.fetch_state(snapshot, server, oldest).await else {
            return Ok(Some(Visibility::Joined));
        };
        let store = self.store().clone();
        let read = move |tx: &mut Tx<'_>| {
            let at = state.get(types::HISTORY_VISIBILITY, EMPTY_KEY);
            let event = at.map_or(Ok(None), |entry| store.event_read(tx, entry.event))?;
            Ok::<_, Error>(event.map_or(Visibility::Shared, |event| visibility_of(&event.pdu)))
        };
        Ok(Some(self.store().db().read("visibility", read).await?))
    }

    /// Puts those of the events into the timeline that lie in the gap; whether there are any.
    async fn place(
        &self,
        snapshot: &Arc<RoomSnapshot>,
        gap: &Gap,
        events: (Vec<Pdu>, Vec<(Visibility, Visibility)>),
    ) -> Result<bool, ReceiveError> {
        let (store, room, gap) = (self.store().clone(), snapshot.room, gap.clone());
        let _turn = self.turns.take(room).await;
        let place = move |tx: &mut Tx<'_>, positions: &mut Positions, ()| {
            let Some(snapshot) = store.room_read(tx, room)? else {
                return Ok(false);
            };
            let older = older_in(&store, tx, (&snapshot, &gap), &events)?;
            if older.is_empty() {
                return Ok(false);
            }
            store.backfill(tx, positions, &snapshot, (&gap, &older))?;
            Ok::<_, Error>(true)
        };
        let write = Write::new("backfill").locking([room.0]);
        let placed = self.store().db().write_placed(write, |_| Ok(()), place);
        Ok(placed.await?)
    }

    /// Other servers whose users are in the room, those of most members first.
    pub(crate) async fn other_servers_in(
        &self,
        snapshot: &Arc<RoomSnapshot>,
    ) -> Result<Vec<OwnedServerName>, Error> {
        let (store, snapshot) = (self.store().clone(), Arc::clone(snapshot));
        let own = self.server_name().to_owned();
        let read = move |tx: &mut Tx<'_>| {
            let joined = snapshot.state.members();
            let joined = joined.filter(|entry| entry.tag == Membership::Join.code());
            let keys = joined.map(|entry| entry.key).take(MEMBERS);
            let names = store.names().key_names(tx, keys)?;
            let mut counts: BTreeMap<OwnedServerName, usize> = BTreeMap::new();
            for name in names.values() {
                if let Ok(user) = <&UserId>::try_from(&**name)
                    && user.server_name() != own
                {
                    *counts.entry(user.server_name().to_owned()).or_default() += 1;
                }
            }
            let mut servers: Vec<(OwnedServerName, usize)> = counts.into_iter().collect();
            servers.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            Ok(servers.into_iter().map(|(server, _)| server).collect())
        };
        self.store().db().scan("other_servers", read).await
    }
}

/// The boundary after everything.
const END: Place = Place {
    major: i64::MAX,
    minor: 0,
};

type Found = (Arc<RoomSnapshot>, Gap, Visibility);

/// The first gap within the `limit` events before a boundary, with the history visibility there.
fn gap_before(
    store: &Store,
    tx: &mut Tx<'_>,
    snapshot: &Arc<RoomSnapshot>,
    (before, limit): (Place, i64),
) -> Result<Option<Found>, Error> {
    let stretch = Stretch {
        from: START,
        to: before,
    };
    let room = snapshot.room;
    let page = store.timeline_page(tx, room, stretch, Direction::Backwards, limit)?;
    let is_full = i64::try_from(page.len()).is_ok_and(|count| count >= limit);
    let oldest = page
        .last()
        .and_then(|event| event.place)
        .filter(|_| is_full);
    let Some(gap) = gap_newest(tx, room, (oldest.unwrap_or(START), before), MISSING)? else {
        return Ok(None);
    };
    let at = Stretch {
        from: gap.place,
        to: Direction::Forwards.beyond(gap.place),
    };
    let event = store.timeline_page(tx, room, at, Direction::Forwards, 1)?;
    let visibility = event
        .first()
        .map_or(Visibility::Joined, |event| event.visibility.0);
    Ok(Some((Arc::clone(snapshot), gap, visibility)))
}

/// What is to be put into a gap.
fn older_in(
    store: &Store,
    tx: &mut Tx<'_>,
    (snapshot, gap): (&RoomSnapshot, &Gap),
    (events, visibility): &(Vec<Pdu>, Vec<(Visibility, Visibility)>),
) -> Result<Vec<Older>, Error> {
    let known = events_known(tx, events.iter().map(Pdu::event_id))?;
    let filling = filling(gap, events, &known);
    let mut older = Vec::with_capacity(filling.len());
    for (pdu, visibility) in events.iter().zip(visibility) {
        let known = known.get(pdu.event_id());
        let Some(known) = known.filter(|_| filling.contains(pdu.event_id())) else {
            continue;
        };
        let power = if pdu.redacts().is_some() {
            power_cited(store, tx, snapshot, pdu)?
        } else {
            None
        };
        let mut redaction = redaction(store, tx, (snapshot.room, pdu), power.as_ref())?;
        if let Some(target) = &redaction.redacts
            && target.place.is_some_and(|place| place >= gap.place)
        {
            // What was said later than that is also for the room to protect: who had the power once may have lost it.
            let now = store.power_in(tx, &snapshot.state)?;
            let may = now.is_some_and(|now| can_redact(pdu, &target.pdu, &now));
            redaction.redacts = redaction.redacts.filter(|_| may);
        }
        older.push(Older {
            event: known.num,
            visibility: *visibility,
            redacts: redaction.redacts,
            waits_for: redaction.waits_for,
        });
    }
    Ok(older)
}

/// The power of users by the events that an older event cites: nobody knows the state there.
fn power_cited(
    store: &Store,
    tx: &mut Tx<'_>,
    snapshot: &RoomSnapshot,
    pdu: &Pdu,
) -> Result<Option<RoomPower>, Error> {
    let cited = events_known(tx, pdu.auth_events().iter().map(|id| &**id))?;
    let cited = cited
        .values()
        .filter(|event| event.room == snapshot.room && event.status == Status::Accepted);
    let create = snapshot.state_event(types::CREATE, EMPTY_KEY);
    let numbers: BTreeSet<EventNum> = cited.map(|event| event.num).chain(create).collect();
    let numbers: Vec<EventNum> = numbers.into_iter().collect();
    let events = store.events_read(tx, &numbers)?;
    let of = |kind| events.iter().find(|event| event.kind == kind);
    let Some(create) = of(types::CREATE) else {
        return Ok(None);
    };
    let levels = of(types::POWER_LEVELS).map(|event| &event.pdu);
    Ok(RoomPower::new(&create.pdu, levels).ok())
}

/// Those of the events that lie in the gap: what comes before an event that has a place belongs elsewhere.
fn filling<'a>(
    gap: &'a Gap,
    events: &'a [Pdu],
    known: &HashMap<OwnedEventId, KnownEvent>,
) -> HashSet<&'a EventId> {
    let events: HashMap<&EventId, &Pdu> = events.iter().map(|pdu| (pdu.event_id(), pdu)).collect();
    let mut ahead: Vec<&EventId> = gap.missing.iter().map(|id| &**id).collect();
    let mut filling = HashSet::new();
    while let Some(id) = ahead.pop() {
        let is_placed = known.get(id).is_some_and(|event| event.is_placed);
        let Some(pdu) = events.get(id).filter(|_| !is_placed) else {
            continue;
        };
        if filling.insert(pdu.event_id()) {
            ahead.extend(pdu.prev_events().iter().map(|id| &**id));
        }
    }
    filling
}

fn sets_visibility(pdu: &Pdu) -> bool {
    pdu.kind() == "m.room.history_visibility" && pdu.state_key() == Some("")
}

/// The history visibility before and after each of the events, oldest first. Without one of their own, all have that at
/// their end.
fn visibilities(
    events: &[Pdu],
    (start, end): (Option<Visibility>, Visibility),
) -> Vec<(Visibility, Visibility)> {
    let mut now = start.unwrap_or(end);
    let around = |pdu: &Pdu| {
        let before = now;
        if sets_visibility(pdu) {
            now = visibility_of(pdu);
        }
        (before, now)
    };
    events.iter().map(around).collect()
}
