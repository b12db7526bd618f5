//! What local users were at events of branches, where that is not what the room's one order says: a user who has come in on
//! one branch was not there yet on another, also if that becomes known later.

use ruma_common::{ServerName, UserId};
use starling_db::{Error, Tx, Value, pairs};

use crate::append::Fork;
use crate::events::{Event, Visibility};
use crate::memberships::Membership;
use crate::names::types;
use crate::rooms::RoomSnapshot;
use crate::store::Store;

starling_db::statements! {
    /// Notes what users were at the event at a position.
    FORK_MEMBERS_INSERT = "INSERT INTO fork_members (room_num, place_major, user_num, membership)
        SELECT ?1, ?2, wanted.one, wanted.other FROM {pairs ?3} AS wanted WHERE 1 = 1 ON CONFLICT DO NOTHING";
}

impl Store {
    /// Notes for an event that is appended to a room as in `before`, from a branch, which users of this server (`server`) are
    /// something else there than in the room: only where who sees it depends on that.
    pub(crate) fn fork_members_note(
        &self,
        tx: &mut Tx<'_>,
        (before, fork): (&RoomSnapshot, &Fork),
        event: &Event,
        server: &ServerName,
    ) -> Result<(), Error> {
        let depends = |visibility| matches!(visibility, Visibility::Invited | Visibility::Joined);
        let is_for_all = !depends(event.visibility.0) && !depends(event.visibility.1);
        let Some(position) = event.position().filter(|_| !is_for_all && !fork.is_import) else {
            return Ok(());
        };
        let changes = before.state.changes_to(&fork.before);
        let of_members = changes.iter().filter(|change| {
            let is_other = change.new.map(|it| it.tag) != change.old.map(|it| it.tag);
            change.kind == types::MEMBER && is_other
        });
        let of_members: Vec<_> = of_members.collect();
        let names = self
            .names()
            .key_names(tx, of_members.iter().map(|change| change.key))?;
        let local = of_members.iter().filter_map(|change| {
            let user = <&UserId>::try_from(&**names.get(&change.key)?).ok()?;
            let code = change.new.map_or(Membership::Leave.code(), |it| it.tag);
            (user.server_name() == server).then_some((user, code))
        });
        let local: Vec<(&UserId, i64)> = local.collect();
        if local.is_empty() {
            return Ok(());
        }
        let numbers = self
            .names()
            .users(tx, local.iter().map(|(user, _)| *user))?;
        let rows = local
            .iter()
            .filter_map(|(user, code)| Some((numbers.get(user)?.0, *code)));
        let rows = pairs(rows);
        let params = [event.room.into(), position.into(), Value::Text(&rows)];
        tx.execute(&FORK_MEMBERS_INSERT, &params).map(drop)
    }
}
