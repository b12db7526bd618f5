//! `GET /_matrix/client/v3/initialSync` and `GET /_matrix/client/v3/rooms/{roomId}/initialSync`: what `/sync` tells at
//! first, in the form of before there was `/sync`. The second is how a room is previewed.
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidinitialsync>

use std::sync::Arc;

use ruma_common::RoomId;
use starling_db::Tx;
use starling_store::RoomNum;
use starling_store::account_data::{GLOBAL, account_data_of_rooms};
use starling_store::events::Visibility;
use starling_store::memberships::{
    Membership, MembershipRow, membership_history, membership_read, memberships_at,
};
use starling_store::room_details::public_among;
use starling_store::rooms::RoomSnapshot;
use starling_store::tokens::Token;

use super::answer::{Content, ROOMS_STEP, Step, each_room};
use super::batch::Pages;
use super::plan::{Extent, Plan, Section};
use super::room::Part;
use super::{Scope, SyncRequest, account_data, presence};
use crate::json::{self, Object};
use crate::{Error, Filter, Reader, Sync};

impl Sync {
    /// Answers `/initialSync`: a JSON object. `limit` is how many events of each room are wanted; `archived` whether rooms
    /// that were left are.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn initial_sync(
        &self,
        reader: &Reader,
        limit: Option<u64>,
        archived: bool,
    ) -> Result<Vec<u8>, Error> {
        let scope = self.initial_scope(reader, limit, archived).await?;
        let mut plan = Plan::make(&scope, None).await?;
        let global = plan.account_data.remove(&GLOBAL).unwrap_or_default();
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        object.key(&mut out, "account_data");
        account_data::write_list(&mut out, &global);
        object.string(&mut out, "end", &scope.end().to_string());
        object.key(&mut out, "presence");
        let there = presence::of_plan(&scope, &plan);
        presence::write_list(&mut out, &there, scope.asker.now_ms);
        object.key(&mut out, "rooms");
        out.push(b'[');
        let rooms: Vec<(RoomNum, Section)> = std::mem::take(&mut plan.rooms).into_iter().collect();
        let mut written = Vec::new();
        for step in rooms.chunks(ROOMS_STEP) {
            written = write(&scope, &mut plan, step, written).await?;
        }
        out.append(&mut written);
        out.extend_from_slice(b"]}");
        Ok(out)
    }

    /// Answers `/rooms/{roomId}/initialSync`: a JSON object. Who isn't in the room and never was gets it where anyone may
    /// read it.
    ///
    /// # Errors
    /// [`Error::UnknownRoom`], [`Error::NotAllowed`], or [`Error::Db`].
    pub async fn room_initial_sync(
        &self,
        reader: &Reader,
        room_id: &RoomId,
        limit: Option<u64>,
    ) -> Result<Vec<u8>, Error> {
        let scope = self.initial_scope(reader, limit, true).await?;
        let room = self.store.room_num(room_id).await?;
        let room = room.ok_or(Error::UnknownRoom)?;
        let snapshot = self.store.room(room).await?.ok_or(Error::UnknownRoom)?;
        let mut plan = scope.plan_of_one(&snapshot).await?;
        let rooms: Vec<(RoomNum, Section)> = std::mem::take(&mut plan.rooms).into_iter().collect();
        let written = write(&scope, &mut plan, &rooms, Vec::new()).await?;
        // Nothing, where the user has just left.
        if written.is_empty() {
            return Err(Error::NotAllowed);
        }
        Ok(written)
    }

    async fn initial_scope(
        &self,
        reader: &Reader,
        limit: Option<u64>,
        archived: bool,
    ) -> Result<Scope, Error> {
        let request = SyncRequest {
            filter: Arc::new(Filter::of_initial_sync(limit, archived)),
            // The state is told as it is at the end.
            use_state_after: true,
            ..SyncRequest::default()
        };
        let listener = self.listener(reader).await?;
        Ok(Scope {
            has_room_ids: true,
            to_device_after: None,
            ..self.scope(reader, &request, &listener)
        })
    }
}

impl Scope {
    /// The token of the end of what is told.
    fn end(&self) -> Token {
        Token::Sync {
            epoch: self.store.epoch(),
            position: self.upto,
        }
    }

    async fn plan_of_one(&self, snapshot: &RoomSnapshot) -> Result<Plan, Error> {
        let (scope, room, visibility) = (self.clone(), snapshot.room, snapshot.visibility);
        let read = move |tx: &mut Tx<'_>| {
            let user = scope.reader.user;
            let section = match stay(tx, &scope, room)? {
                Some(row) if row.membership == Membership::Join => Section::Joined(Extent::ALL),
                Some(row) => Section::Left(row, Extent::ALL),
                None if visibility == Visibility::WorldReadable => Section::Peeked,
                None => return Err(Error::NotAllowed),
            };
            let mut plan = Plan {
                is_broad: true,
                ..Plan::default()
            };
            plan.rooms.insert(room, section);
            let data = account_data_of_rooms(tx, user, &[room], (scope.upto, scope.upto))?;
            plan.account_data.insert(room, data);
            Ok(plan)
        };
        self.store.db().read("room_initial_sync", read).await
    }
}

/// How the reader stands to a room that they are in, or have left and not forgotten.
fn stay(tx: &mut Tx<'_>, scope: &Scope, room: RoomNum) -> Result<Option<MembershipRow>, Error> {
    let user = scope.reader.user;
    if membership_read(tx, user, room)?.is_none_or(|row| row.forgotten) {
        return Ok(None);
    }
    let row = memberships_at(tx, user, &[room], scope.upto)?.pop();
    let was_in = |row: &MembershipRow| row.membership == Membership::Join;
    Ok(match row.map(|row| row.membership) {
        Some(Membership::Join) => row,
        Some(Membership::Leave | Membership::Ban)
            if membership_history(tx, user, room)?.iter().any(was_in) =>
        {
            row
        }
        _ => None,
    })
}

/// Appends some rooms of the plan to a list.
async fn write(
    scope: &Scope,
    plan: &mut Plan,
    rooms: &[(RoomNum, Section)],
    mut out: Vec<u8>,
) -> Result<Vec<u8>, Error> {
    let step = Step::take(scope, plan, rooms).await?;
    let (scope, db) = (scope.clone(), scope.store.db().clone());
    let numbers: Vec<RoomNum> = rooms.iter().map(|(room, _)| *room).collect();
    let body = move |tx: &mut Tx<'_>| {
        let listed = public_among(tx, &numbers)?;
        each_room(&scope, tx, &step, |tx, (part, section), content, pages| {
            json::separate(&mut out, 0);
            let listed = listed.contains(&part.snapshot.room);
            write_room(
                &scope,
                tx,
                (part, section, listed),
                (&content, pages),
                &mut out,
            )
        })?;
        Ok(out)
    };
    db.scan("initial_sync", body).await
}

/// Appends what is told of one room.
fn write_room(
    scope: &Scope,
    tx: &mut Tx<'_>,
    (part, section, is_listed): (&Part<'_>, &Section, bool),
    (content, pages): (&Content, &Pages),
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let mut object = Object::begin(out);
    if let Some(told) = content.told() {
        object.key(out, "account_data");
        account_data::write_list(out, &told.account_data);
    }
    if let Content::Stripped(_, shown) = content {
        let own = shown.events.last().and_then(|own| pages.get(&[*own]));
        object.key(out, "invite");
        let mut list = Vec::new();
        scope.write_events(part, pages.view(), &own.unwrap_or_default(), &mut list);
        // What stands between the brackets of a list of one.
        out.extend_from_slice(
            list.get(1..list.len().saturating_sub(1))
                .unwrap_or_default(),
        );
    }
    if let Some(membership) = membership(section) {
        object.string(out, "membership", membership.as_str());
    }
    if let Some(told) = content.told() {
        object.key(out, "messages");
        let mut messages = Object::begin(out);
        messages.key(out, "chunk");
        scope.write_events(part, pages.view(), &told.timeline.events, out);
        messages.string(out, "end", &scope.end().to_string());
        messages.string(out, "start", &scope.prev_batch(told).to_string());
        out.push(b'}');
    }
    object.string(out, "room_id", part.snapshot.room_id.as_str());
    if let Some(told) = content.told() {
        object.key(out, "state");
        scope.write_state(tx, part, (&told.state, pages), out)?;
    }
    let visibility = if is_listed { "public" } else { "private" };
    object.string(out, "visibility", visibility);
    out.push(b'}');
    Ok(())
}

/// The membership to tell: none to who only looks in.
fn membership(section: &Section) -> Option<Membership> {
    match section {
        Section::Joined(_) | Section::Quiet => Some(Membership::Join),
        Section::Invited => Some(Membership::Invite),
        Section::Knocked => Some(Membership::Knock),
        Section::Left(row, _) => Some(row.membership),
        Section::Peeked => None,
    }
}
