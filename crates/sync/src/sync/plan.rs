//! Which rooms an answer is about, and as what each is told.

use std::collections::{BTreeMap, HashMap};

use starling_bus::Topic;
use starling_db::Tx;
use starling_pushrules::Ruleset;
use starling_store::account_data::{
    AccountData, GLOBAL, account_data_all, account_data_changed, account_data_of_rooms,
    blocks_invites,
};
use starling_store::ignored::{IGNORED_USER_LIST, Unignored, rooms_hiding, unignored_read};
use starling_store::memberships::{
    Membership, MembershipRow, membership_changes, membership_list, memberships_at, rooms_changed,
};
use starling_store::push_rules::push_rules_changed;
use starling_store::receipts::{receipts_own_rooms, receipts_rooms_changed};
use starling_store::unread::rooms_behind;
use starling_store::{RoomNum, UserNum};

use super::ephemeral::Changed;
use super::to_device::ToDeviceTold;
use super::unread::Recount;
use super::{Scope, receipts, typing};
use crate::Error;
use crate::device_lists::{self, DeviceLists, Moves};

/// What an answer is about.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// In the order of their numbers.
    pub(crate) rooms: BTreeMap<RoomNum, Section>,
    /// What is to be told of the user's data, by room.
    pub(crate) account_data: HashMap<RoomNum, Vec<AccountData>>,
    /// Of which rooms there may be news that is no event.
    pub(crate) ephemeral: Changed,
    /// Rooms of which counts are told in any case, and why.
    pub(crate) recounts: BTreeMap<RoomNum, Recount>,
    /// Whose devices have changed.
    pub(crate) device_lists: DeviceLists,
    /// Messages to the device.
    pub(crate) to_device: ToDeviceTold,
    /// Whether it may be about all of the user's rooms: nobody knows in which of them something has happened.
    pub(crate) is_broad: bool,
}

/// As what a room is told.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Section {
    /// One that the user is in, if that is so.
    Joined(Extent),
    /// One that the user is in and whose timeline has not grown: what stands beside it is told.
    Quiet,
    /// One that the user is not in and looks into: told whole.
    Peeked,
    /// One that the user is invited to.
    Invited,
    /// One that the user asks to be let into.
    Knocked,
    /// One that the user is no longer in, by this member event.
    Left(MembershipRow, Extent),
}

impl Section {
    /// Whether the room's whole state is read.
    pub(crate) fn is_whole(&self) -> bool {
        match self {
            Self::Joined(extent) | Self::Left(_, extent) => extent.whole,
            Self::Peeked => true,
            Self::Quiet | Self::Invited | Self::Knocked => false,
        }
    }

    /// How much is told, if it is told as a room that goes on.
    pub(crate) fn extent(&self) -> Option<Extent> {
        match self {
            Self::Joined(extent) => Some(*extent),
            Self::Peeked => Some(Extent::ALL),
            Self::Quiet | Self::Invited | Self::Knocked | Self::Left(..) => None,
        }
    }
}

/// How much of a room is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    /// Events after this position.
    pub(crate) after: i64,
    /// The whole state, not what changed.
    pub(crate) whole: bool,
}

impl Extent {
    pub(crate) const ALL: Self = Self {
        after: 0,
        whole: true,
    };
}

impl Plan {
    /// Finds out what to tell. Where the listener knows, and only rooms' timelines have grown, there is no query.
    pub(crate) async fn make(
        scope: &Scope,
        changes: Option<Vec<(i64, Topic)>>,
    ) -> Result<Self, Error> {
        let heard = changes.as_deref();
        let heard = heard.map(|changes| Heard::new(scope, changes));
        let has_to_device = heard.as_ref().is_none_or(|heard| heard.to_device);
        let mut plan = Self::of_heard(scope, heard).await?;
        plan.to_device = ToDeviceTold::read(scope, has_to_device).await?;
        Ok(plan)
    }

    /// What to tell of all but messages to the device; `heard` is what the listener has heard, if it remembers.
    async fn of_heard(scope: &Scope, heard: Option<Heard>) -> Result<Self, Error> {
        let db = scope.store.db();
        let scope = scope.clone();
        let Some(since) = scope.since else {
            return db.scan("sync_initial", move |tx| initial(tx, &scope)).await;
        };
        let typing = typing::changed(&scope);
        match heard {
            Some(heard) if heard.only_rooms && !scope.full_state => {
                let mut plan = Self::default();
                plan.add_grown(heard.grown, since);
                plan.add_ephemeral(heard.receipts, typing);
                plan.add_recounts(heard.read, Recount::Read);
                Ok(plan)
            }
            heard => {
                let changed = scope.clone();
                let read = move |tx: &mut Tx<'_>| incremental(tx, &changed, since, (heard, typing));
                let (mut plan, moves) = db.read("sync_changes", read).await?;
                if let Some(moves) = moves {
                    let lists = std::mem::take(&mut plan.device_lists);
                    let finish = move |tx: &mut Tx<'_>| {
                        device_lists::finish(tx, &scope.store, &scope.reader, (lists, &moves))
                    };
                    plan.device_lists = db.scan("sync_device_lists", finish).await?;
                }
                Ok(plan)
            }
        }
    }

    /// The rooms that the user is in and that are told whole.
    pub(crate) fn whole_rooms(&self) -> impl Iterator<Item = RoomNum> {
        let rooms = self.rooms.iter();
        let whole = rooms.filter(|(_, section)| matches!(section, Section::Joined(it) if it.whole));
        whole.map(|(room, _)| *room)
    }

    fn add_grown(&mut self, rooms: Vec<RoomNum>, since: i64) {
        let extent = Extent {
            after: since,
            whole: false,
        };
        let sections = rooms
            .into_iter()
            .map(|room| (room, Section::Joined(extent)));
        self.rooms.extend(sections);
    }

    fn add_ephemeral(&mut self, receipts: Vec<RoomNum>, typing: Vec<RoomNum>) {
        for room in receipts.iter().chain(&typing) {
            self.rooms.entry(*room).or_insert(Section::Quiet);
        }
        self.ephemeral.receipts.extend(receipts);
        self.ephemeral.typing.extend(typing);
    }

    fn add_recounts(&mut self, rooms: impl IntoIterator<Item = RoomNum>, why: Recount) {
        for room in rooms {
            self.rooms.entry(room).or_insert(Section::Quiet);
            self.recounts.entry(room).or_insert(why);
        }
    }

    /// Adds the rooms in which the user missed something of those whom they have stopped to ignore: they are told whole.
    /// So says the design of this server; the specification would have clients sync anew, which all may do. Returns those
    /// that the user is in.
    fn add_unignored(
        &mut self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        since: i64,
    ) -> Result<Vec<RoomNum>, Error> {
        let user = scope.reader.user;
        if scope.store.ignored(tx, user)?.position <= since {
            return Ok(Vec::new());
        }
        let unignored = unignored_read(tx, user, since, scope.upto)?;
        if unignored == Unignored::Users(Vec::new()) {
            return Ok(Vec::new());
        }
        let (mut joined, mut invited) = (Vec::new(), Vec::new());
        for row in memberships(tx, user, scope.upto)? {
            match row.membership {
                Membership::Join => joined.push(row.room),
                Membership::Invite => invited.push(row.event),
                Membership::Knock | Membership::Leave | Membership::Ban => {}
            }
        }
        if let Unignored::Users(users) = &unignored {
            joined = rooms_hiding(tx, &joined, users)?;
        }
        for invite in scope.store.events_read(tx, &invited)? {
            let sender = invite.pdu.sender().as_str();
            let is_concerned = match &unignored {
                Unignored::Users(users) => users.iter().any(|user| **user == *sender),
                Unignored::Anybody => true,
            };
            if is_concerned {
                self.rooms.insert(invite.room, Section::Invited);
            }
        }
        let whole = joined
            .iter()
            .map(|room| (*room, Section::Joined(Extent::ALL)));
        self.rooms.extend(whole);
        Ok(joined)
    }

    fn add_account_data(&mut self, changed: Vec<AccountData>) {
        for data in changed {
            self.account_data.entry(data.room).or_default().push(data);
        }
    }
}

/// What a listener has heard, by what it says of rooms.
#[derive(Debug)]
struct Heard {
    /// Rooms whose timeline has grown.
    grown: Vec<RoomNum>,
    /// Rooms in which somebody has read.
    receipts: Vec<RoomNum>,
    /// Rooms in which the user has.
    read: Vec<RoomNum>,
    /// Whether somebody who shares a room with the user, or the user, may have other devices, or have come or gone.
    devices: bool,
    /// Whether messages to the device have come.
    to_device: bool,
    /// Whether that is all.
    only_rooms: bool,
}

impl Heard {
    fn new(scope: &Scope, changes: &[(i64, Topic)]) -> Self {
        let mut heard = Self {
            grown: Vec::new(),
            receipts: Vec::new(),
            read: Vec::new(),
            devices: false,
            to_device: false,
            only_rooms: true,
        };
        for (_, topic) in changes {
            match topic {
                Topic::Room(room) => heard.grown.push(RoomNum(*room)),
                Topic::Receipts(_) if !receipts::are_wanted(scope) => {}
                Topic::Receipts(room) => heard.receipts.push(RoomNum(*room)),
                Topic::Reading { room, .. } => {
                    heard.receipts.push(RoomNum(*room));
                    heard.read.push(RoomNum(*room));
                }
                Topic::User(_) | Topic::Devices(_) => {
                    heard.devices = true;
                    heard.only_rooms = false;
                }
                Topic::Device(_) => heard.only_rooms = false,
                Topic::ToDevice(_) => heard.to_device = true,
            }
        }
        heard
    }
}

/// Everything.
fn initial(tx: &mut Tx<'_>, scope: &Scope) -> Result<Plan, Error> {
    let user = scope.reader.user;
    let mut plan = Plan {
        is_broad: true,
        ..Plan::default()
    };
    for row in memberships(tx, user, scope.upto)? {
        let section = match row.membership {
            Membership::Join => Section::Joined(Extent::ALL),
            Membership::Invite => Section::Invited,
            Membership::Knock => Section::Knocked,
            Membership::Leave | Membership::Ban
                if row.forgotten || !scope.filter.room.include_leave =>
            {
                continue;
            }
            Membership::Leave | Membership::Ban => Section::Left(row, Extent::ALL),
        };
        plan.rooms.insert(row.room, section);
    }
    if scope.is_of_other_time {
        let joined = plan.rooms.iter();
        let joined = joined.filter(|(_, section)| matches!(section, Section::Joined(_)));
        let joined: Vec<RoomNum> = joined.map(|(room, _)| *room).collect();
        plan.device_lists = device_lists::of_all(tx, &scope.store, &scope.reader, &joined)?;
    }
    plan.add_account_data(account_data_all(tx, user, scope.upto)?);
    let rules = scope.store.push_rules(tx, user)?;
    plan.add_account_data(vec![push_rules(scope, &rules)]);
    leave_out_invites(tx, user, &mut plan)?;
    Ok(plan)
}

/// Who wants no invites is told of none, also of those that there are.
/// <https://spec.matrix.org/v1.19/client-server-api/#invite-permission>
fn leave_out_invites(tx: &mut Tx<'_>, user: UserNum, plan: &mut Plan) -> Result<(), Error> {
    let is_invite = |section: &Section| matches!(section, Section::Invited);
    if plan.rooms.values().any(is_invite) && blocks_invites(tx, user)? {
        plan.rooms.retain(|_, section| !is_invite(section));
    }
    Ok(())
}

/// The account data that says what counts.
const COUNTING: [&str; 2] = ["m.push_rules", IGNORED_USER_LIST];

/// The push rules, which every account has, also without having set any.
/// <https://spec.matrix.org/v1.19/client-server-api/#mpush_rules>
fn push_rules(scope: &Scope, rules: &Ruleset) -> AccountData {
    AccountData {
        room: GLOBAL,
        kind: "m.push_rules".to_owned(),
        content: rules.to_content(scope.reader.user_id.as_str()),
        position: 0,
    }
}

/// The user's memberships as of a position.
fn memberships(tx: &mut Tx<'_>, user: UserNum, upto: i64) -> Result<Vec<MembershipRow>, Error> {
    let mut rows = membership_list(tx, user)?;
    let changed = rows.iter().filter(|row| row.position > upto);
    let changed: Vec<RoomNum> = changed.map(|row| row.room).collect();
    rows.retain(|row| row.position <= upto);
    // Changed since the head was read.
    rows.extend(memberships_at(tx, user, &changed, upto)?);
    Ok(rows)
}

/// What changed after `since`, and moves of members of which more is to be read; `heard` is of which rooms the listener
/// heard, if it remembers that far back, and `typing` those in which others are typing.
fn incremental(
    tx: &mut Tx<'_>,
    scope: &Scope,
    since: i64,
    (heard, typing): (Option<Heard>, Vec<RoomNum>),
) -> Result<(Plan, Option<Moves>), Error> {
    let (user, upto) = (scope.reader.user, scope.upto);
    let mut moves = None;
    let mut plan = Plan {
        is_broad: heard.is_none(),
        ..Plan::default()
    };
    plan.add_account_data(account_data_changed(tx, user, since, upto)?);
    if heard.as_ref().is_none_or(|heard| heard.devices) {
        (plan.device_lists, moves) = device_lists::begin(tx, &scope.reader, (since, upto))?;
    }
    if let Some(rules) = push_rules_changed(tx, user, since, upto)? {
        plan.add_account_data(vec![push_rules(scope, &rules)]);
    }
    let (grown, receipts, read) = match heard {
        Some(heard) => (heard.grown, heard.receipts, heard.read),
        None => (
            grown_since(tx, user, since, upto)?,
            receipts_rooms_changed(tx, user, since)?,
            receipts_own_rooms(tx, user, since)?,
        ),
    };
    let with_data = plan.account_data.keys().copied();
    let grown: Vec<RoomNum> = grown.into_iter().chain(with_data).collect();
    plan.add_grown(grown, since);
    plan.add_ephemeral(receipts, typing);
    plan.add_recounts(read, Recount::Read);
    let changes_counts = |data: &AccountData| COUNTING.contains(&data.kind.as_str());
    let global = plan.account_data.get(&GLOBAL);
    if global.is_some_and(|global| global.iter().any(changes_counts)) {
        plan.add_recounts(rooms_behind(tx, user)?, Recount::Rules);
    }
    if scope.full_state {
        let joined = memberships(tx, user, upto)?
            .into_iter()
            .filter(|row| row.membership == Membership::Join);
        let extent = Extent {
            after: since,
            whole: true,
        };
        plan.rooms
            .extend(joined.map(|row| (row.room, Section::Joined(extent))));
    }
    let mut new = plan.add_unignored(tx, scope, since)?;
    let mut changed: BTreeMap<RoomNum, Vec<MembershipRow>> = BTreeMap::new();
    for row in membership_changes(tx, user, since, upto)? {
        changed.entry(row.room).or_default().push(row);
    }
    let rooms: Vec<RoomNum> = changed.keys().copied().collect();
    let before = memberships_at(tx, user, &rooms, since)?;
    let before: HashMap<RoomNum, Membership> = before
        .iter()
        .map(|row| (row.room, row.membership))
        .collect();
    for (room, changes) in changed {
        let before = before.get(&room).copied();
        let Some(section) = section_of(before, &changes, since, scope.full_state) else {
            continue;
        };
        if matches!(section, Section::Joined(Extent { after: 0, .. })) {
            new.push(room);
        }
        plan.rooms.insert(room, section);
    }
    for room in &new {
        plan.account_data.remove(room);
    }
    plan.add_account_data(account_data_of_rooms(tx, user, &new, (since, upto))?);
    plan.rooms.remove(&GLOBAL);
    leave_out_invites(tx, user, &mut plan)?;
    Ok((plan, moves))
}

/// The rooms in which something may have happened after `since`, of those that the user was in at `upto`.
fn grown_since(
    tx: &mut Tx<'_>,
    user: UserNum,
    since: i64,
    upto: i64,
) -> Result<Vec<RoomNum>, Error> {
    let mut rooms = rooms_changed(tx, user, since)?;
    // The user may have left a room since the head was read.
    let later = membership_changes(tx, user, upto, i64::MAX)?;
    rooms.extend(later.into_iter().map(|row| row.room));
    Ok(rooms)
}

/// As what a room is told of which the membership was `before` at `since` and changed by `changes`.
fn section_of(
    before: Option<Membership>,
    changes: &[MembershipRow],
    since: i64,
    full_state: bool,
) -> Option<Section> {
    let last = changes.last()?;
    let mut previous = before;
    let mut joined_anew = false;
    for change in changes {
        joined_anew |= change.membership == Membership::Join && previous != Some(Membership::Join);
        previous = Some(change.membership);
    }
    let extent = if joined_anew {
        Extent::ALL
    } else {
        Extent {
            after: since,
            whole: false,
        }
    };
    Some(match last.membership {
        Membership::Join => Section::Joined(Extent {
            whole: extent.whole || full_state,
            ..extent
        }),
        Membership::Invite => Section::Invited,
        Membership::Knock => Section::Knocked,
        Membership::Leave | Membership::Ban => Section::Left(*last, extent),
    })
}
