//! Putting an answer together, a few rooms at a time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use starling_bus::Presence;
use starling_db::Tx;
use starling_store::account_data::{AccountData, GLOBAL};
use starling_store::events::Event;
use starling_store::history::Viewer;
use starling_store::one_time_keys::KeyCounts;
use starling_store::rooms::RoomSnapshot;
use starling_store::{EventNum, KeyNum, RoomNum};

use super::batch::{Batch, Pages};
use super::ephemeral::Changed;
use super::invited::{Shown, Stripped};
use super::joined::Joined;
use super::plan::{Plan, Section};
use super::room::{Part, Told};
use super::to_device::ToDeviceTold;
use super::unread::Recount;
use super::{Scope, account_data, ephemeral, invited, keys, left, presence, unread};
use crate::Error;
use crate::device_lists::DeviceLists;
use crate::json::Object;

/// So many rooms are read in one transaction: it bounds how long that is open.
pub(crate) const ROOMS_STEP: usize = 32;

/// An answer's parts, as bytes.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    account_data: Vec<AccountData>,
    presence: Vec<Presence>,
    device_lists: DeviceLists,
    rooms: Rooms,
    to_device: ToDeviceTold,
}

/// The members of each object of rooms, without the object's braces.
#[derive(Debug, Default)]
struct Rooms {
    invite: Vec<u8>,
    join: Vec<u8>,
    knock: Vec<u8>,
    leave: Vec<u8>,
    /// When the newest of the events in it was sent that the asking device sent itself, in milliseconds since 1970.
    echoed: Option<i64>,
}

/// A few rooms of a plan.
#[derive(Debug)]
pub(crate) struct Step {
    rooms: Vec<(Arc<RoomSnapshot>, Section)>,
    account_data: HashMap<RoomNum, Vec<AccountData>>,
    /// Those of which there is news that is no event.
    ephemeral: Changed,
    /// Those of which counts are told in any case.
    recounts: BTreeMap<RoomNum, Recount>,
}

impl Step {
    /// Takes what the plan has for some rooms.
    pub(crate) async fn take(
        scope: &Scope,
        plan: &mut Plan,
        numbers: &[(RoomNum, Section)],
    ) -> Result<Self, Error> {
        // Before the transaction that reads the rest: it sees all that these were made of.
        let rooms = snapshots(scope, numbers.to_vec()).await?;
        let data = rooms
            .iter()
            .filter_map(|(snapshot, _)| plan.account_data.remove_entry(&snapshot.room));
        Ok(Self {
            account_data: data.collect(),
            ephemeral: plan.ephemeral.take(&rooms),
            recounts: rooms
                .iter()
                .filter_map(|(snapshot, _)| plan.recounts.remove_entry(&snapshot.room))
                .collect(),
            rooms,
        })
    }
}

impl Answer {
    /// Reads and writes what the plan says.
    pub(crate) async fn write(scope: &Scope, mut plan: Plan) -> Result<Self, Error> {
        let global = plan.account_data.remove(&GLOBAL).unwrap_or_default();
        let user_id = scope.reader.user_id.as_str();
        let mut answer = Self {
            account_data: account_data::wanted(&global, &scope.filter.account_data, user_id),
            presence: presence::of_plan(scope, &plan),
            device_lists: std::mem::take(&mut plan.device_lists),
            rooms: Rooms::default(),
            to_device: std::mem::take(&mut plan.to_device),
        };
        let rooms: Vec<(RoomNum, Section)> = std::mem::take(&mut plan.rooms).into_iter().collect();
        for numbers in rooms.chunks(ROOMS_STEP) {
            let step = Step::take(scope, &mut plan, numbers).await?;
            if step.rooms.is_empty() {
                continue;
            }
            let (scope, store) = (scope.clone(), scope.store.clone());
            let reads_much =
                plan.is_broad || step.rooms.iter().any(|(_, section)| section.is_whole());
            let rooms = std::mem::take(&mut answer.rooms);
            let body = move |tx: &mut Tx<'_>| write_step(&scope, tx, &step, rooms);
            answer.rooms = if reads_much {
                store.db().scan("sync_rooms", body).await?
            } else {
                store.db().read("sync_rooms", body).await?
            };
        }
        Ok(answer)
    }

    /// When the newest of its events was sent that the asking device sent itself, in milliseconds since 1970.
    pub(crate) fn echoed(&self) -> Option<i64> {
        self.rooms.echoed
    }

    /// Whether there is nothing to tell.
    pub(crate) fn is_empty(&self) -> bool {
        let Rooms {
            invite,
            join,
            knock,
            leave,
            echoed: _,
        } = &self.rooms;
        self.account_data.is_empty()
            && self.presence.is_empty()
            && self.device_lists.is_empty()
            && self.to_device.is_empty()
            && [invite, join, knock, leave].into_iter().all(Vec::is_empty)
    }

    /// The whole answer: the client has then been told all up to where `scope` goes.
    pub(crate) fn into_bytes(self, scope: &Scope, counts: &KeyCounts) -> Vec<u8> {
        let Rooms {
            invite,
            join,
            knock,
            leave,
            echoed: _,
        } = self.rooms;
        let sections = [
            ("invite", invite),
            ("join", join),
            ("knock", knock),
            ("leave", leave),
        ];
        let mut out =
            Vec::with_capacity(sections.iter().map(|(_, rooms)| rooms.len()).sum::<usize>() + 256);
        let mut object = Object::begin(&mut out);
        object.key(&mut out, "account_data");
        account_data::write(&mut out, &self.account_data);
        keys::write_lists(&mut object, &mut out, &self.device_lists);
        keys::write_counts(&mut object, &mut out, counts);
        let next_batch = scope.next_batch(self.to_device.told_upto(scope.upto));
        object.string(&mut out, "next_batch", &next_batch.to_string());
        object.key(&mut out, "presence");
        presence::write(&mut out, &self.presence, scope.asker.now_ms);
        object.key(&mut out, "rooms");
        let mut all = Object::begin(&mut out);
        for (name, rooms) in sections {
            all.key(&mut out, name);
            out.push(b'{');
            out.extend_from_slice(&rooms);
            out.push(b'}');
        }
        out.push(b'}');
        self.to_device.write(&mut object, &mut out);
        out.push(b'}');
        out
    }
}

/// The committed snapshots of the rooms that the filter lets through.
async fn snapshots(
    scope: &Scope,
    numbers: Vec<(RoomNum, Section)>,
) -> Result<Vec<(Arc<RoomSnapshot>, Section)>, Error> {
    let store = scope.store.clone();
    let found: Vec<_> = numbers
        .iter()
        .map(|(room, section)| (store.rooms().get(*room), *section))
        .collect();
    let mut found: Vec<_> = if found.iter().all(|(snapshot, _)| snapshot.is_some()) {
        found
            .into_iter()
            .filter_map(|(snapshot, section)| Some((snapshot?, section)))
            .collect()
    } else {
        let rooms: Vec<RoomNum> = numbers.iter().map(|(room, _)| *room).collect();
        let read = move |tx: &mut Tx<'_>| store.rooms_read(tx, &rooms);
        let read = scope.store.db().scan("sync_snapshots", read).await?;
        let sections: HashMap<RoomNum, Section> = numbers.into_iter().collect();
        let with_section =
            |snapshot: Arc<RoomSnapshot>| Some((sections.get(&snapshot.room).copied()?, snapshot));
        let found = read.into_iter().filter_map(with_section);
        found
            .map(|(section, snapshot)| (snapshot, section))
            .collect()
    };
    found.retain(|(snapshot, _)| scope.filter.room.rooms.allows(snapshot.room_id.as_str()));
    Ok(found)
}

/// What is told of a room.
pub(crate) enum Content {
    Joined(Box<Joined>),
    Left(Told),
    Stripped(Stripped, Shown),
}

impl Content {
    fn read(
        scope: &Scope,
        tx: &mut Tx<'_>,
        part: &Part<'_>,
        (section, batch): (&Section, &Batch),
    ) -> Result<Option<Self>, Error> {
        Ok(match section {
            Section::Joined(extent) => Joined::read(scope, tx, part, (Some(*extent), batch))?
                .map(|joined| Self::Joined(Box::new(joined))),
            Section::Quiet => Joined::read(scope, tx, part, (None, batch))?
                .map(|joined| Self::Joined(Box::new(joined))),
            Section::Peeked => Some(Self::Joined(Box::new(Joined::peek(
                scope, tx, part, batch,
            )?))),
            Section::Left(row, extent) => {
                left::read(scope, tx, part, (row, *extent))?.map(Self::Left)
            }
            Section::Invited => Self::stripped(scope, tx, part, Stripped::Invite)?,
            Section::Knocked => Self::stripped(scope, tx, part, Stripped::Knock)?,
        })
    }

    fn stripped(
        scope: &Scope,
        tx: &mut Tx<'_>,
        part: &Part<'_>,
        kind: Stripped,
    ) -> Result<Option<Self>, Error> {
        let shown = invited::read(scope, tx, part, kind)?;
        Ok(shown.map(|shown| Self::Stripped(kind, shown)))
    }

    pub(crate) fn told(&self) -> Option<&Told> {
        match self {
            Self::Joined(joined) => Some(&joined.told),
            Self::Left(told) => Some(told),
            Self::Stripped(..) => None,
        }
    }

    /// The events that are told beside the timeline.
    fn state(&self) -> Vec<EventNum> {
        match self {
            Self::Stripped(_, shown) => shown.events.clone(),
            Self::Joined(_) | Self::Left(_) => {
                let state = self.told().into_iter().flat_map(|told| &told.state);
                state.map(|entry| entry.event).collect()
            }
        }
    }

    fn heroes(&self) -> &[KeyNum] {
        match self {
            Self::Joined(joined) => joined.heroes(),
            Self::Left(_) | Self::Stripped(..) => &[],
        }
    }

    fn timeline(&self) -> &[Arc<Event>] {
        self.told().map_or(&[], |told| &told.timeline.events)
    }
}

/// Reads and writes some rooms.
fn write_step(
    scope: &Scope,
    tx: &mut Tx<'_>,
    step: &Step,
    mut rooms: Rooms,
) -> Result<Rooms, Error> {
    each_room(scope, tx, step, |tx, (part, _), content, pages| {
        rooms.echoed = rooms.echoed.max(echoed(scope, content.timeline()));
        match content {
            Content::Joined(joined) => joined.write(scope, tx, (part, pages), &mut rooms.join),
            Content::Left(told) => left::write(scope, tx, (part, told), pages, &mut rooms.leave),
            Content::Stripped(kind, shown) => {
                let out = match kind {
                    Stripped::Invite => &mut rooms.invite,
                    Stripped::Knock => &mut rooms.knock,
                };
                invited::write(scope, tx, (part, kind, &shown), pages, out)
            }
        }
    })?;
    Ok(rooms)
}

/// When the newest of the events was sent that the asking device sent itself.
fn echoed(scope: &Scope, events: &[Arc<Event>]) -> Option<i64> {
    let own = events.iter().filter(|event| {
        let sent_as = event.sent_as.as_ref();
        sent_as.is_some_and(|sent| sent.device == scope.asker.device)
    });
    own.map(|event| event.pdu.origin_server_ts()).max()
}

/// Reads some rooms: first what it takes to find out what to tell, then the events, each for all rooms at once; then has
/// each written.
pub(crate) fn each_room(
    scope: &Scope,
    tx: &mut Tx<'_>,
    step: &Step,
    mut write: impl FnMut(&mut Tx<'_>, (&Part<'_>, &Section), Content, &Pages) -> Result<(), Error>,
) -> Result<(), Error> {
    let own = scope.store.names().key(tx, scope.reader.user_id.as_str())?;
    let numbers: Vec<RoomNum> = step
        .rooms
        .iter()
        .map(|(snapshot, _)| snapshot.room)
        .collect();
    let viewers = Viewer::load_rooms(tx, &scope.store, scope.reader.user, &numbers)?;
    let ephemeral = ephemeral::read(scope, tx, &step.rooms, &step.ephemeral)?;
    let unread = unread::read(scope, tx, &step.rooms, &viewers)?;
    let batch = Batch::read(scope, tx, &step.rooms)?;
    let mut contents = Vec::with_capacity(step.rooms.len());
    for (snapshot, section) in &step.rooms {
        let Some(viewer) = viewers.get(&snapshot.room) else {
            continue;
        };
        let account_data = step
            .account_data
            .get(&snapshot.room)
            .map_or(&[][..], Vec::as_slice);
        let part = Part {
            snapshot,
            viewer,
            // Without one the user has never been a member of anything.
            own: own.unwrap_or(KeyNum(0)),
            account_data,
            ephemeral: ephemeral.get(&snapshot.room),
            unread: unread.get(&snapshot.room),
            recount: step.recounts.get(&snapshot.room).copied(),
        };
        let content = Content::read(scope, tx, &part, (section, &batch))?;
        contents.extend(content.map(|content| ((part, section), content)));
    }
    let state = contents.iter().flat_map(|(_, content)| content.state());
    let timelines = contents.iter().flat_map(|(_, content)| content.timeline());
    let mut pages = Pages::read(scope, tx, state, timelines)?;
    let told = contents
        .iter()
        .filter_map(|((part, _), content)| Some((part, content.told()?)));
    pages.bundle(scope, tx, told)?;
    // Now they are at hand.
    let heroes = contents.iter().flat_map(|(_, content)| content.heroes());
    scope.store.names().key_names(tx, heroes.copied())?;
    for ((part, section), content) in contents {
        write(tx, (&part, section), content, &pages)?;
    }
    Ok(())
}
