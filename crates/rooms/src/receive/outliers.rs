//! Storing events of other servers that only tell of the state: each is checked against those that it cites.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use ruma_common::{EventId, OwnedEventId};
use starling_db::{Error, Tx, Write};
use starling_events::Pdu;
use starling_events::id::create_event_id;
use starling_stateres::{AuthState, check, check_auth_events};
use starling_store::events::Status;
use starling_store::names::Name;
use starling_store::outliers::{KnownEvent, Outlier, events_known};
use starling_store::{EventNum, RoomNum, Store};

use crate::order::in_order;
use crate::rooms::Rooms;

/// So many are stored by one transaction.
const STEP: usize = 100;

/// So many of these are queued before the first is waited for.
const AHEAD: usize = 16;

impl Rooms {
    /// Stores events of a room without a place, whose signatures were checked: those that aren't here yet and whose auth
    /// events are, or are among them. Gives the numbers of all that are here then.
    pub(crate) async fn store_outliers(
        &self,
        room: RoomNum,
        events: Vec<Pdu>,
    ) -> Result<HashMap<OwnedEventId, EventNum>, Error> {
        let store = self.store().clone();
        let judge = move |tx: &mut Tx<'_>| judged(&store, tx, room, &events);
        let outliers = self.store().db().scan("judge_outliers", judge).await?;
        self.store_judged(room, outliers).await
    }

    /// As [`Rooms::store_outliers`], of events that were judged, each after those that it cites.
    pub(crate) async fn store_judged(
        &self,
        room: RoomNum,
        outliers: Vec<Outlier>,
    ) -> Result<HashMap<OwnedEventId, EventNum>, Error> {
        let (db, names) = (self.store().db(), self.store().names());
        let mut numbers = HashMap::with_capacity(outliers.len());
        let mut under_way = VecDeque::with_capacity(AHEAD);
        for step in outliers.chunks(STEP) {
            let new = step.iter().flat_map(|outlier| names_of(&outlier.pdu));
            names.intern_ahead(db, new.collect()).await?;
            if under_way.len() == AHEAD
                && let Some(first) = under_way.pop_front()
            {
                numbers.extend(first.await?);
            }
            let (store, step) = (self.store().clone(), step.to_vec());
            let slot = db.slot().await?;
            // In order, and many share a commit.
            under_way.push_back(slot.submit(
                Write::new("outliers"),
                |_| Ok::<_, Error>(()),
                move |tx, positions, ()| store.outliers_insert(tx, positions, room, &step),
                || {},
            ));
        }
        for stored in under_way {
            numbers.extend(stored.await?);
        }
        Ok(numbers)
    }
}

/// The names that storing an event needs as integers.
pub(crate) fn names_of(pdu: &Pdu) -> Vec<Name> {
    let mut names = vec![
        Name::User(pdu.sender().to_owned()),
        Name::Type(pdu.kind().into()),
    ];
    names.extend(pdu.state_key().map(|key| Name::Key(key.into())));
    names
}

/// An event, and whether it was rejected.
type Judged = (Arc<Pdu>, bool);

/// The events in an order in which each comes after those that it cites, with what the rules say of them. Those that are
/// here come too, as they are; those that cite what is nowhere don't.
fn judged(
    store: &Store,
    tx: &mut Tx<'_>,
    room: RoomNum,
    events: &[Pdu],
) -> Result<Vec<Outlier>, Error> {
    let mut at_hand = cited_here(store, tx, room, events)?;
    let mut outliers = Vec::with_capacity(events.len());
    let order = in_order(events, Pdu::auth_events).into_iter();
    for pdu in order.filter_map(|at| events.get(at)) {
        let id = pdu.event_id().to_owned();
        let cited: Option<Vec<&Judged>> =
            pdu.auth_events().iter().map(|id| at_hand.get(id)).collect();
        let Some(cited) = cited else {
            continue;
        };
        let is_rejected = match at_hand.get(&id) {
            Some((_, is_rejected)) => *is_rejected,
            None => !is_allowed(pdu, &cited, &at_hand),
        };
        let status = if is_rejected {
            Status::Rejected
        } else {
            Status::Accepted
        };
        at_hand.insert(id, (Arc::new(pdu.clone()), is_rejected));
        outliers.push(Outlier {
            pdu: pdu.clone(),
            status,
        });
    }
    Ok(outliers)
}

/// Those of the events that are here, and those that they cite, with the room's create event where the room's id stands
/// for it.
fn cited_here(
    store: &Store,
    tx: &mut Tx<'_>,
    room: RoomNum,
    events: &[Pdu],
) -> Result<HashMap<OwnedEventId, Judged>, Error> {
    let cited = events.iter().flat_map(Pdu::auth_events);
    let create = events.first().and_then(create_of);
    let cited = cited.chain(&create).map(|id| &**id);
    let given: BTreeSet<&EventId> = events.iter().map(Pdu::event_id).collect();
    let wanted: BTreeSet<&EventId> = cited.chain(given.iter().copied()).collect();
    let known = events_known(tx, wanted)?;
    // What is only known as an event, and comes with what it cites, is judged once more: that may not have been here.
    let is_bare = |id: &OwnedEventId, event: &KnownEvent| given.contains(&**id) && event.is_bare();
    let of_room = known
        .iter()
        .filter(|(id, event)| event.room == room && !is_bare(id, event));
    let of_room = of_room.map(|(_, event)| event);
    let numbers: Vec<EventNum> = of_room.map(|event| event.num).collect();
    let here = store.events_read(tx, &numbers)?;
    let judged = here.iter().map(|event| {
        let pdu = Arc::new(event.pdu.clone());
        let is_rejected = event.status == Status::Rejected;
        (event.pdu.event_id().to_owned(), (pdu, is_rejected))
    });
    Ok(judged.collect())
}

/// Events to check another against.
struct Cited<'a>(Vec<&'a Pdu>);

impl AuthState for Cited<'_> {
    fn get(&self, kind: &str, state_key: &str) -> Option<&Pdu> {
        let mut events = self.0.iter();
        let found = events.find(|pdu| pdu.kind() == kind && pdu.state_key() == Some(state_key));
        found.copied()
    }
}

/// The create event of the event's room, where no event cites it: the room's id is made of its id.
fn create_of(pdu: &Pdu) -> Option<OwnedEventId> {
    if pdu.version().rules().create_in_auth_events {
        return None;
    }
    create_event_id(pdu.room_id())
}

fn is_allowed(pdu: &Pdu, cited: &[&Judged], at_hand: &HashMap<OwnedEventId, Judged>) -> bool {
    let version = pdu.version();
    if cited.iter().any(|(_, is_rejected)| *is_rejected) {
        return false;
    }
    let mut pdus: Vec<&Pdu> = cited.iter().map(|(pdu, _)| &**pdu).collect();
    if check_auth_events(version, pdu, &pdus).is_err() {
        return false;
    }
    let create = create_of(pdu).and_then(|id| at_hand.get(&id));
    pdus.extend(create.map(|(pdu, _)| &**pdu));
    check(version, pdu, &Cited(pdus)).is_ok()
}
