//! What local users' receipts, typing and presence are told to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ruma_common::ServerName;
use starling_bus::{PresenceNews, TypingNews};
use starling_db::{Error, Tx};
use starling_store::RoomNum;
use starling_store::outgoing::outgoing_receipts;
use starling_store::room_servers::{SharedRoom, servers_in_rooms};

use super::{Work, is_of};

/// While somebody types, others are told again after this, in milliseconds: they take it for over after a minute.
const TYPING_AGAIN_MS: i64 = 40_000;

/// Who is typing where, as other servers were told: when.
#[derive(Debug, Default)]
pub(super) struct TypingTold(BTreeMap<(i64, Arc<str>), i64>);

impl TypingTold {
    /// Whether this is to be told now.
    fn is_news(&mut self, news: &TypingNews, now_ms: i64) -> bool {
        let key = (news.room, Arc::clone(&news.user_id));
        if !news.is_typing {
            return self.0.remove(&key).is_some();
        }
        let told_ms = self.0.get(&key);
        let is_news = told_ms.is_none_or(|told_ms| now_ms >= told_ms + TYPING_AGAIN_MS);
        if is_news {
            self.0.insert(key, now_ms);
        }
        is_news
    }
}

impl Work {
    /// Tells the servers in rooms who has read there.
    pub(super) async fn read_receipts(&mut self) {
        let noted = self.parts.store.outgoing().take_receipts();
        let Some(from) = noted.values().min().copied() else {
            return;
        };
        let rooms: Vec<RoomNum> = noted.into_keys().collect();
        let own = self.parts.client.identity().server_name.clone();
        let read = move |tx: &mut Tx<'_>| {
            let mut receipts = outgoing_receipts(tx, &rooms, from)?;
            receipts.retain(|it| is_of(it.receipt.user_id.as_str(), &own));
            if receipts.is_empty() {
                return Ok((receipts, BTreeMap::new()));
            }
            Ok((receipts, servers_in_rooms(tx, &rooms)?))
        };
        let found = self.parts.store.db().read("outgoing_receipts", read).await;
        let (receipts, rooms) = match found {
            Ok(found) => found,
            Err(error) => return log_lost(&error),
        };
        for receipt in receipts.into_iter().map(Arc::new) {
            for server in servers_of(&rooms, receipt.room) {
                self.queues.tell(server, |edus| edus.add_receipt(&receipt));
            }
        }
    }

    /// Tells servers that have come into rooms who is there of this server's users.
    pub(super) fn tell_who_is_there(&mut self) {
        let own = self.parts.client.identity().server_name.clone();
        for (room, server) in self.parts.store.outgoing().take_entered() {
            let present = self.parts.bus.present_in(room.0).into_iter();
            for presence in present.filter(|it| is_of(&it.user_id, &own)).map(Arc::new) {
                self.queues
                    .tell(&server, |edus| edus.add_presence(&presence));
            }
        }
    }

    /// Tells the servers in rooms who types there and who of them is there.
    pub(super) async fn read_news(&mut self) {
        let mut news = self.parts.bus.take_news();
        let (own, now_ms) = (
            &self.parts.client.identity().server_name,
            self.parts.clock.now_ms(),
        );
        news.typing
            .retain(|it| is_of(&it.user_id, own) && self.typing.is_news(it, now_ms));
        news.presences.retain(|it| is_of(&it.presence.user_id, own));
        let typed_in = news.typing.iter().map(|it| it.room);
        let been_in = news.presences.iter().flat_map(|it| &it.rooms).copied();
        let rooms: BTreeSet<RoomNum> = typed_in.chain(been_in).map(RoomNum).collect();
        let store = &self.parts.store;
        // Of those that are at hand it is known whether any other server was ever there.
        let may_be_shared = |room: &RoomNum| store.rooms().get(*room).is_none_or(|it| it.is_shared);
        let rooms: Vec<RoomNum> = rooms.into_iter().filter(may_be_shared).collect();
        if rooms.is_empty() {
            return;
        }
        let read = move |tx: &mut Tx<'_>| servers_in_rooms(tx, &rooms);
        match store.db().read("outgoing_news", read).await {
            Ok(rooms) => {
                self.tell_typing(&rooms, &news.typing);
                self.tell_presences(&rooms, news.presences);
            }
            Err(error) => log_lost(&error),
        }
    }

    fn tell_typing(&mut self, rooms: &BTreeMap<RoomNum, SharedRoom>, typing: &[TypingNews]) {
        for news in typing {
            let Some(room) = rooms.get(&RoomNum(news.room)) else {
                continue;
            };
            let room_id: Arc<str> = (&*room.room_id).into();
            for server in &room.servers {
                self.queues.tell(server, |edus| {
                    edus.add_typing(&room_id, &news.user_id, news.is_typing);
                });
            }
        }
    }

    fn tell_presences(
        &mut self,
        rooms: &BTreeMap<RoomNum, SharedRoom>,
        presences: Vec<PresenceNews>,
    ) {
        for PresenceNews {
            presence,
            rooms: been_in,
        } in presences
        {
            let been_in = been_in.into_iter().map(RoomNum);
            let servers: BTreeSet<&ServerName> =
                been_in.flat_map(|room| servers_of(rooms, room)).collect();
            let presence = Arc::new(presence);
            for server in servers {
                self.queues
                    .tell(server, |edus| edus.add_presence(&presence));
            }
        }
    }
}

fn servers_of(
    rooms: &BTreeMap<RoomNum, SharedRoom>,
    room: RoomNum,
) -> impl Iterator<Item = &ServerName> {
    let room = rooms.get(&room);
    room.into_iter()
        .flat_map(|room| room.servers.iter().map(|server| &**server))
}

fn log_lost(error: &Error) {
    tracing::warn!(%error, "other servers are not told who reads, types or is there: the database failed");
}
