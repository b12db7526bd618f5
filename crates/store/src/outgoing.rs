//! What this server sends to others: which of the live events, and the receipts of its users.
//!
//! Events are rows in the order of the log, written with the event; whoever sends them reads on from where it is. Of a
//! room that no other server was ever in there are none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use ruma_common::{OwnedRoomId, OwnedServerName, OwnedUserId, ServerName};
use starling_db::{Error, Row, Tx, Value};
use tokio::sync::Notify;

use crate::events::Event;
use crate::memberships::Membership;
use crate::numbers::RoomNum;
use crate::receipts::{Receipt, ReceiptKey, ReceiptKind, ReceiptThread, event_id};
use crate::room_servers::{MemberChange, server_name};
use crate::rooms::RoomSnapshot;
use crate::store::Store;

starling_db::statements! {
    /// An event that goes to the other servers in its room.
    OUTGOING_INSERT = "INSERT INTO outgoing (position, room_num, except_server) VALUES (?1, ?2, ?3)";
    /// An event that goes to one server.
    DESTINATION_EVENT_INSERT = "INSERT INTO destination_events (server, position) VALUES (?1, ?2)
        ON CONFLICT (server, position) DO NOTHING";
    /// The next events that go out.
    OUTGOING_PAGE = "SELECT position, room_num, except_server FROM outgoing WHERE position > ?1
        ORDER BY position LIMIT ?2";
    /// The next events that go to one server each.
    DESTINATION_EVENTS_PAGE = "SELECT position, server FROM destination_events WHERE position > ?1
        ORDER BY position, server LIMIT ?2";
    /// The next changes of local users' devices.
    DEVICE_CHANGES_PAGE = "SELECT position, user_num FROM device_changes WHERE position > ?1 ORDER BY position LIMIT ?2";
    /// The servers that are in a room with some local users.
    SERVERS_OF_USERS = "SELECT DISTINCT memberships.user_num, servers.server
        FROM {ints ?1} AS wanted CROSS JOIN memberships CROSS JOIN room_servers AS servers
        WHERE memberships.user_num = wanted.value AND memberships.membership = 2
            AND servers.room_num = memberships.room_num AND servers.until_position = 9223372036854775807";
    /// From where to where servers are in some rooms, of those that are there at a position or later.
    SERVERS_SINCE = "SELECT servers.room_num, servers.server, servers.from_position, servers.until_position
        FROM {ints ?1} AS wanted CROSS JOIN room_servers AS servers
        WHERE servers.room_num = wanted.value AND servers.until_position >= ?2";
    /// Public receipts that changed after a position in those of some rooms that other servers are in.
    RECEIPTS_SINCE = "SELECT receipts.room_num, rooms.room_id, receipts.thread, receipts.event_id, receipts.sent_at,
            users.user_id, receipts.position
        FROM {ints ?1} AS wanted CROSS JOIN rooms CROSS JOIN receipts CROSS JOIN users
        WHERE rooms.room_num = wanted.value AND rooms.is_shared = 1 AND receipts.room_num = rooms.room_num
            AND receipts.position > ?2 AND receipts.kind = 1 AND users.user_num = receipts.user_num";
    /// The same of the rooms that one server is in, of receipts that are not too old.
    RECEIPTS_MISSED = "SELECT receipts.room_num, rooms.room_id, receipts.thread, receipts.event_id, receipts.sent_at,
            users.user_id, receipts.position
        FROM room_servers AS servers CROSS JOIN rooms CROSS JOIN receipts CROSS JOIN users
        WHERE servers.server = ?1 AND servers.until_position = 9223372036854775807
            AND rooms.room_num = servers.room_num AND receipts.room_num = servers.room_num AND receipts.position > ?2
            AND receipts.kind = 1 AND receipts.sent_at > ?3 AND users.user_num = receipts.user_num
        LIMIT ?4";
}

/// Wakes whoever sends to other servers.
#[derive(Debug, Default)]
pub struct OutgoingNotes {
    changed: Notify,
    /// Whether somebody sends at all.
    is_open: AtomicBool,
    /// The rooms in which somebody has read, and where the first of these receipts stands.
    receipts: Mutex<BTreeMap<RoomNum, i64>>,
    /// The servers that have come into rooms.
    entered: Mutex<BTreeSet<(RoomNum, OwnedServerName)>>,
    /// The servers for which messages to devices wait since this was asked for last.
    to_device: Mutex<BTreeSet<OwnedServerName>>,
}

/// Of so many servers it is noted that they have come into a room. What else comes in meanwhile isn't told who is there.
const MOST_ENTERED: usize = 1_000;

impl OutgoingNotes {
    /// From now on it is noted where somebody reads.
    pub fn open(&self) {
        self.is_open.store(true, Ordering::Release);
    }

    /// Whether anybody sends to other servers.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// Waits for something to send. What was noted before counts.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The servers for which messages to devices came since this was called last.
    #[must_use]
    pub fn take_to_device(&self) -> BTreeSet<OwnedServerName> {
        std::mem::take(&mut *self.to_device.lock())
    }

    /// Wakes whoever sends: messages to devices of these servers are committed.
    pub fn note_to_device(&self, servers: impl IntoIterator<Item = OwnedServerName>) {
        if self.is_open() {
            self.to_device.lock().extend(servers);
            self.changed.notify_one();
        }
    }

    /// The rooms in which somebody has read since this was called last, with a position that these receipts don't lie
    /// before.
    #[must_use]
    pub fn take_receipts(&self) -> BTreeMap<RoomNum, i64> {
        std::mem::take(&mut *self.receipts.lock())
    }

    /// The servers that have come into rooms since this was called last.
    #[must_use]
    pub fn take_entered(&self) -> BTreeSet<(RoomNum, OwnedServerName)> {
        std::mem::take(&mut *self.entered.lock())
    }

    fn note_entered(&self, room: RoomNum, servers: Vec<OwnedServerName>) {
        let mut entered = self.entered.lock();
        let free = MOST_ENTERED.saturating_sub(entered.len());
        entered.extend(servers.into_iter().take(free).map(|server| (room, server)));
        drop(entered);
        self.changed.notify_one();
    }

    fn note_receipt(&self, room: RoomNum, position: i64) {
        let mut receipts = self.receipts.lock();
        let first = receipts.entry(room).or_insert(position);
        *first = position.min(*first);
        drop(receipts);
        self.changed.notify_one();
    }
}

/// What the next events and changes of devices are, by the servers that they go to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct OutgoingPage {
    /// The positions of events and of changes of devices, ascending, for each server.
    pub events: BTreeMap<OwnedServerName, BTreeSet<i64>>,
    /// All up to this position is in it, or was before.
    pub upto: i64,
    /// Whether there may be more.
    pub has_more: bool,
}

/// A receipt, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingReceipt {
    /// The room.
    pub room: RoomNum,
    /// The room's id.
    pub room_id: OwnedRoomId,
    /// The receipt.
    pub receipt: Receipt,
    /// Its position.
    pub position: i64,
}

impl Store {
    /// Notes where an event goes that is being appended: those of this server's users go to the others in the room. The
    /// server of a user who isn't invited any longer is told too.
    pub(crate) fn send_out(
        &self,
        tx: &mut Tx<'_>,
        after: &RoomSnapshot,
        (event, member): (&Event, Option<&MemberChange<'_>>),
        server: &ServerName,
    ) -> Result<(), Error> {
        let Some(position) = event.position() else {
            return Ok(());
        };
        if event.pdu.sender().server_name() != server {
            return Ok(());
        }
        if after.is_shared {
            self.send_to_room(tx, (event.room, position), None)?;
        }
        let Some(change) = member else {
            return Ok(());
        };
        let target = change.user.server_name();
        let was_waiting = matches!(change.before, Some(Membership::Invite | Membership::Knock));
        let is_withdrawn =
            was_waiting && matches!(change.after, Some(Membership::Leave | Membership::Ban));
        if is_withdrawn && target != server {
            self.send_to_server(tx, target, position)?;
        }
        Ok(())
    }

    /// The live event at a position goes to all other servers in its room, but for the one that it came from: also for what
    /// this server sends on for another one (a join or leave that was sent through it).
    ///
    /// # Errors
    /// When the database fails.
    pub fn send_to_room(
        &self,
        tx: &mut Tx<'_>,
        (room, position): (RoomNum, i64),
        except: Option<&ServerName>,
    ) -> Result<(), Error> {
        let params = [
            position.into(),
            room.into(),
            except.map(ServerName::as_str).into(),
        ];
        tx.execute_one(&OUTGOING_INSERT, &params)?;
        self.wake_sender_after_commit(tx);
        Ok(())
    }

    /// The live event at a position goes to this server, whether it is in the room or not.
    ///
    /// # Errors
    /// When the database fails.
    pub fn send_to_server(
        &self,
        tx: &mut Tx<'_>,
        server: &ServerName,
        position: i64,
    ) -> Result<(), Error> {
        let params = [server.as_str().into(), position.into()];
        tx.execute(&DESTINATION_EVENT_INSERT, &params)?;
        self.wake_sender_after_commit(tx);
        Ok(())
    }

    /// After the commit, whoever sends to other servers learns that these have come into the room.
    pub(crate) fn servers_entered(
        &self,
        tx: &mut Tx<'_>,
        room: RoomNum,
        servers: Vec<OwnedServerName>,
    ) {
        if servers.is_empty() || !self.outgoing().is_open.load(Ordering::Acquire) {
            return;
        }
        let store = self.clone();
        tx.after_commit(move || store.outgoing().note_entered(room, servers));
    }

    /// After the commit, whoever sends to other servers is woken up.
    pub(crate) fn wake_sender_after_commit(&self, tx: &mut Tx<'_>) {
        let store = self.clone();
        tx.after_commit(move || store.outgoing().changed.notify_one());
    }

    /// After the commit of a public receipt, whoever sends it is woken up. In rooms that are known to be of this server
    /// alone there is nobody to tell.
    pub(crate) fn receipt_goes_out(&self, tx: &mut Tx<'_>, room: RoomNum, position: i64) {
        if !self.outgoing().is_open() {
            return;
        }
        let store = self.clone();
        tx.after_commit(move || {
            let known = store.rooms().get(room);
            if known.is_none_or(|room| room.is_shared) {
                store.outgoing().note_receipt(room, position);
            }
        });
    }
}

/// The events after a position that go to other servers, of about `limit` of them.
///
/// # Errors
/// When the database cannot be read.
pub fn outgoing_after(tx: &mut Tx<'_>, after: i64, limit: u32) -> Result<OutgoingPage, Error> {
    let params = [after.into(), i64::from(limit).into()];
    let mut to_rooms = tx.query_all(&OUTGOING_PAGE, &params, |row| {
        let except = row.opt_text(2)?.map(server_name).transpose()?;
        Ok((row.int(0)?, row.int(1)?, except))
    })?;
    let mut to_servers = tx.query_all(&DESTINATION_EVENTS_PAGE, &params, |row| {
        Ok((row.int(0)?, server_name(row.text(1)?)?))
    })?;
    let mut devices = tx.query_all(&DEVICE_CHANGES_PAGE, &params, |row| {
        Ok((row.int(0)?, row.int(1)?))
    })?;
    let is_full = |len: usize| u32::try_from(len).is_ok_and(|len| len >= limit);
    let last = |position: Option<i64>| position.unwrap_or(after);
    let last_to_rooms = last(to_rooms.last().map(|(position, ..)| *position));
    let last_to_servers = last(to_servers.last().map(|(position, _)| *position));
    let last_device = last(devices.last().map(|(position, _)| *position));
    // Of a page that is full, what comes after its end isn't known. Events of one position are cut apart nowhere: each
    // has at most one row of the second kind.
    let ends = [
        is_full(to_rooms.len()).then_some(last_to_rooms),
        is_full(to_servers.len()).then_some(last_to_servers),
        is_full(devices.len()).then_some(last_device),
    ];
    let end = ends.into_iter().flatten().min();
    let upto = end.unwrap_or(last_to_rooms.max(last_to_servers).max(last_device));
    to_rooms.retain(|(position, ..)| *position <= upto);
    to_servers.retain(|(position, _)| *position <= upto);
    devices.retain(|(position, _)| *position <= upto);
    let mut page = OutgoingPage {
        events: BTreeMap::new(),
        upto,
        has_more: end.is_some(),
    };
    for (position, server) in to_servers {
        page.events.entry(server).or_default().insert(position);
    }
    spread(tx, &to_rooms, after, &mut page)?;
    spread_devices(tx, &devices, &mut page)?;
    Ok(page)
}

/// Adds changes of users' devices to the page, for each server that is in a room with them.
fn spread_devices(
    tx: &mut Tx<'_>,
    devices: &[(i64, i64)],
    page: &mut OutgoingPage,
) -> Result<(), Error> {
    if devices.is_empty() {
        return Ok(());
    }
    let users: BTreeSet<i64> = devices.iter().map(|(_, user)| *user).collect();
    let users: Vec<i64> = users.into_iter().collect();
    tx.query(&SERVERS_OF_USERS, &[Value::Ints(&users)], &mut |row| {
        let (user, server) = (row.int(0)?, server_name(row.text(1)?)?);
        let of_user = devices.iter().filter(|(_, of)| *of == user);
        let positions = of_user.map(|(position, _)| *position);
        page.events.entry(server).or_default().extend(positions);
        Ok(())
    })
}

/// The position of an event, and the server that it came from.
type Sent<'a> = (i64, Option<&'a ServerName>);

/// Adds events of rooms to the page, for each server that is in the room before the event.
fn spread(
    tx: &mut Tx<'_>,
    events: &[(i64, i64, Option<OwnedServerName>)],
    after: i64,
    page: &mut OutgoingPage,
) -> Result<(), Error> {
    let mut by_room: BTreeMap<i64, Vec<Sent<'_>>> = BTreeMap::new();
    for (position, room, except) in events {
        let of_room = by_room.entry(*room).or_default();
        of_room.push((*position, except.as_deref()));
    }
    if by_room.is_empty() {
        return Ok(());
    }
    let rooms: Vec<i64> = by_room.keys().copied().collect();
    tx.query(
        &SERVERS_SINCE,
        &[Value::Ints(&rooms), after.into()],
        &mut |row| {
            let (server, from, until) = (server_name(row.text(1)?)?, row.int(2)?, row.int(3)?);
            let of_room = by_room.get(&row.int(0)?);
            let concerned = of_room.into_iter().flatten().filter(|(position, except)| {
                *position > from && *position <= until && *except != Some(&*server)
            });
            let positions: Vec<i64> = concerned.map(|(position, _)| *position).collect();
            if !positions.is_empty() {
                page.events.entry(server).or_default().extend(positions);
            }
            Ok(())
        },
    )
}

/// The public receipts in `rooms` that changed at `from` or later, of rooms that other servers are in; in no order.
///
/// # Errors
/// When the database cannot be read.
pub fn outgoing_receipts(
    tx: &mut Tx<'_>,
    rooms: &[RoomNum],
    from: i64,
) -> Result<Vec<OutgoingReceipt>, Error> {
    let rooms: Vec<i64> = rooms.iter().map(|room| room.0).collect();
    let params = [Value::Ints(&rooms), (from - 1).into()];
    tx.query_all(&RECEIPTS_SINCE, &params, receipt)
}

/// At most `limit` public receipts that changed after a position and were sent after a time (milliseconds since 1970), in
/// the rooms that a server is in; in no order.
///
/// # Errors
/// When the database cannot be read.
pub fn receipts_missed(
    tx: &mut Tx<'_>,
    server: &ServerName,
    (after, since_ms): (i64, i64),
    limit: u32,
) -> Result<Vec<OutgoingReceipt>, Error> {
    let params = [
        server.as_str().into(),
        after.into(),
        since_ms.into(),
        i64::from(limit).into(),
    ];
    tx.query_all(&RECEIPTS_MISSED, &params, receipt)
}

fn receipt(row: &dyn Row) -> Result<OutgoingReceipt, Error> {
    let damaged = |what: &str| Error::Damaged(format!("a receipt: {what}"));
    let receipt = Receipt {
        key: ReceiptKey {
            kind: ReceiptKind::Read,
            thread: ReceiptThread::read(row.utf8(2)?)?,
        },
        event_id: event_id(row.text(3)?)?,
        sent_at: row.int(4)?,
        user_id: OwnedUserId::try_from(row.text(5)?).map_err(|_| damaged("its user"))?,
    };
    Ok(OutgoingReceipt {
        room: RoomNum(row.int(0)?),
        room_id: OwnedRoomId::try_from(row.text(1)?).map_err(|_| damaged("its room"))?,
        receipt,
        position: row.int(6)?,
    })
}
