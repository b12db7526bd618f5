//! Messages to devices: those that wait for a device of this server, those for other servers, and which of theirs came.
//! <https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging>
//!
//! A message stays until its device says, by the token of its next sync, that it has it, or until its server has answered.
//! Queues that nobody empties are cut by a sweep (see [`to_device_overfull`]).

use std::collections::BTreeSet;
use std::sync::Arc;

use ruma_common::{OwnedServerName, ServerName};
use starling_db::{Error, Row, Tx, Value};

use crate::numbers::{DeviceNum, UserNum};
use crate::room_servers::server_name;

starling_db::statements! {
    /// The devices of some users.
    TO_DEVICE_DEVICES = "SELECT user_num, device_num, device_id FROM devices WHERE user_num IN {ints ?1}
        ORDER BY device_num";
    /// Messages that wait for devices.
    TO_DEVICE_INSERT = "INSERT INTO to_device (position, device_num, size, event)
        SELECT c1, c2, c3, c4 FROM {zip ints ?1 ints ?2 ints ?3 blobs ?4} AS messages";
    /// The next messages for a device.
    TO_DEVICE_READ = "SELECT position, event FROM to_device WHERE device_num = ?1 AND position > ?2 AND position <= ?3
        ORDER BY position LIMIT ?4";
    /// Forgets what a device has.
    TO_DEVICE_DELETE = "DELETE FROM to_device WHERE device_num = ?1 AND position <= ?2";
    /// Forgets what devices were sent.
    TO_DEVICE_DELETE_OF_DEVICES = "DELETE FROM to_device WHERE device_num IN {ints ?1}";
    /// Forgets what the devices of a user but one were sent.
    TO_DEVICE_DELETE_OF_USER = "DELETE FROM to_device WHERE device_num IN
        (SELECT device_num FROM devices WHERE user_num = ?1 AND device_num <> ?2)";
    /// Devices for which too much waits.
    TO_DEVICE_OVERFULL = "SELECT device_num, COUNT(*), CAST(SUM(size) AS BIGINT) FROM to_device GROUP BY device_num
        HAVING COUNT(*) > ?1 OR CAST(SUM(size) AS BIGINT) > ?2 ORDER BY device_num";
    /// The sizes of the oldest messages for a device.
    TO_DEVICE_SIZES = "SELECT position, size FROM to_device WHERE device_num = ?1 ORDER BY position LIMIT ?2";
    /// How much waits for a device.
    TO_DEVICE_MEASURE = "SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM to_device WHERE device_num = ?1";
    /// Messages for other servers.
    OUTGOING_TO_DEVICE_INSERT = "INSERT INTO to_device_outgoing (position, server, size, content, noted_at)
        SELECT c1, c2, c3, c4, CAST(?5 AS BIGINT) FROM {zip ints ?1 texts ?2 ints ?3 blobs ?4} AS messages";
    /// The next messages for a server.
    OUTGOING_TO_DEVICE_READ = "SELECT position, content FROM to_device_outgoing WHERE server = ?1 ORDER BY position LIMIT ?2";
    /// Forgets messages that their server has.
    OUTGOING_TO_DEVICE_DELETE = "DELETE FROM to_device_outgoing WHERE position IN {ints ?1}";
    /// The servers for which messages wait.
    OUTGOING_TO_DEVICE_SERVERS = "SELECT DISTINCT server FROM to_device_outgoing ORDER BY server";
    /// Servers for which too much waits.
    OUTGOING_TO_DEVICE_OVERFULL = "SELECT server, COUNT(*), CAST(SUM(size) AS BIGINT) FROM to_device_outgoing GROUP BY server
        HAVING COUNT(*) > ?1 OR CAST(SUM(size) AS BIGINT) > ?2 ORDER BY server";
    /// The sizes of the oldest messages for a server.
    OUTGOING_TO_DEVICE_SIZES = "SELECT position, size FROM to_device_outgoing WHERE server = ?1 ORDER BY position LIMIT ?2";
    /// How much waits for a server.
    OUTGOING_TO_DEVICE_MEASURE = "SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM to_device_outgoing
        WHERE server = ?1";
    /// How much waits for all servers.
    OUTGOING_TO_DEVICE_MEASURE_ALL = "SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM to_device_outgoing";
    /// The sizes of the oldest messages for all servers.
    OUTGOING_TO_DEVICE_SIZES_ALL = "SELECT position, size FROM to_device_outgoing ORDER BY position LIMIT ?1";
    /// Forgets the oldest of the messages that wait for too long. A later position has a later time.
    OUTGOING_TO_DEVICE_SWEEP = "DELETE FROM to_device_outgoing WHERE position IN (SELECT oldest.position FROM
        (SELECT position, noted_at FROM to_device_outgoing ORDER BY position LIMIT ?2) AS oldest WHERE oldest.noted_at < ?1)";
    /// Notes that a message of another server came, unless that is known.
    RECEIVED_INSERT = "INSERT INTO to_device_received (origin, message_id, piece, received_at) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT DO NOTHING";
    /// Forgets which messages came long ago.
    RECEIVED_SWEEP = "DELETE FROM to_device_received WHERE (origin, message_id, piece) IN
        (SELECT origin, message_id, piece FROM to_device_received WHERE received_at < ?1 ORDER BY received_at LIMIT ?2)";
}

/// A device of this server that may be sent something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetDevice {
    /// Whose it is.
    pub user: UserNum,
    /// The device.
    pub device: DeviceNum,
    /// Its id.
    pub device_id: String,
}

/// A message to a device of this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToDeviceMessage {
    /// Where it stands in the log.
    pub position: i64,
    /// The device.
    pub device: DeviceNum,
    /// The event as clients are told it: a JSON object. One that goes to many devices is held once.
    pub event: Arc<[u8]>,
}

/// Messages to devices of another server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingToDevice {
    /// Where it stands in the log.
    pub position: i64,
    /// The server.
    pub server: OwnedServerName,
    /// The content of the EDU: canonical JSON.
    pub content: Arc<[u8]>,
}

/// A message that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingMessage {
    /// Where it stands in the log.
    pub position: i64,
    /// The event, or the content of the EDU.
    pub json: Vec<u8>,
}

/// Whose queue it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueueOf {
    /// A device of this server.
    Device(DeviceNum),
    /// Another server.
    Server(OwnedServerName),
    /// All other servers.
    AllServers,
}

/// A queue of messages that is too long, or too large.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overfull {
    /// Whose queue it is.
    pub of: QueueOf,
    /// How many messages wait.
    pub messages: i64,
    /// How many bytes they have.
    pub bytes: i64,
    /// How much may wait.
    pub limit: QueueLimit,
}

/// How much may wait in one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimit {
    /// Messages.
    pub messages: i64,
    /// Their bytes.
    pub bytes: i64,
}

/// The devices of `users`, oldest first.
///
/// # Errors
/// When the database cannot be read.
pub fn to_device_devices(tx: &mut Tx<'_>, users: &[UserNum]) -> Result<Vec<TargetDevice>, Error> {
    let users: Vec<i64> = users.iter().map(|user| user.0).collect();
    tx.query_all(&TO_DEVICE_DEVICES, &[Value::Ints(&users)], |row| {
        Ok(TargetDevice {
            user: UserNum(row.int(0)?),
            device: DeviceNum(row.int(1)?),
            device_id: row.utf8(2)?.to_owned(),
        })
    })
}

/// Keeps messages for devices of this server.
///
/// # Errors
/// When the database fails.
pub fn to_device_insert(tx: &mut Tx<'_>, messages: &[ToDeviceMessage]) -> Result<(), Error> {
    if messages.is_empty() {
        return Ok(());
    }
    let positions: Vec<i64> = messages.iter().map(|it| it.position).collect();
    let devices: Vec<i64> = messages.iter().map(|it| it.device.0).collect();
    let events: Vec<&[u8]> = messages.iter().map(|it| &*it.event).collect();
    let params = [
        Value::Ints(&positions),
        Value::Ints(&devices),
        Value::Ints(&sizes(&events)),
        Value::Blobs(&events),
    ];
    tx.execute(&TO_DEVICE_INSERT, &params).map(drop)
}

/// The first `limit` messages for `device` that stand after a position, up to another.
///
/// # Errors
/// When the database cannot be read.
pub fn to_device_read(
    tx: &mut Tx<'_>,
    device: DeviceNum,
    (after, upto): (i64, i64),
    limit: u32,
) -> Result<Vec<WaitingMessage>, Error> {
    let params = [
        device.into(),
        after.into(),
        upto.into(),
        i64::from(limit).into(),
    ];
    tx.query_all(&TO_DEVICE_READ, &params, waiting)
}

/// Forgets the messages for `device` up to a position: it has them. How many there were.
///
/// # Errors
/// When the database fails.
pub fn to_device_delete(tx: &mut Tx<'_>, device: DeviceNum, upto: i64) -> Result<u64, Error> {
    tx.execute(&TO_DEVICE_DELETE, &[device.into(), upto.into()])
}

/// Forgets what was sent to devices that are deleted.
///
/// # Errors
/// When the database fails.
pub(crate) fn to_device_delete_of_devices(tx: &mut Tx<'_>, devices: &[i64]) -> Result<(), Error> {
    tx.execute(&TO_DEVICE_DELETE_OF_DEVICES, &[Value::Ints(devices)])
        .map(drop)
}

/// Forgets what was sent to the devices of `user` but `keep`, which are about to be deleted.
///
/// # Errors
/// When the database fails.
pub(crate) fn to_device_delete_of_user(
    tx: &mut Tx<'_>,
    user: UserNum,
    keep: DeviceNum,
) -> Result<(), Error> {
    tx.execute(&TO_DEVICE_DELETE_OF_USER, &[user.into(), keep.into()])
        .map(drop)
}

/// The queues in which more waits than may: of devices, and of other servers.
///
/// # Errors
/// When the database cannot be read.
pub fn to_device_overfull(
    tx: &mut Tx<'_>,
    of_device: QueueLimit,
    of_server: QueueLimit,
) -> Result<Vec<Overfull>, Error> {
    let params = |limit: QueueLimit| [limit.messages.into(), limit.bytes.into()];
    let mut overfull = tx.query_all(&TO_DEVICE_OVERFULL, &params(of_device), |row| {
        Ok(Overfull {
            of: QueueOf::Device(DeviceNum(row.int(0)?)),
            messages: row.int(1)?,
            bytes: row.int(2)?,
            limit: of_device,
        })
    })?;
    tx.query(
        &OUTGOING_TO_DEVICE_OVERFULL,
        &params(of_server),
        &mut |row| {
            overfull.push(Overfull {
                of: QueueOf::Server(server_name(row.text(0)?)?),
                messages: row.int(1)?,
                bytes: row.int(2)?,
                limit: of_server,
            });
            Ok(())
        },
    )?;
    Ok(overfull)
}

/// What waits in a queue now.
///
/// # Errors
/// When the database cannot be read.
pub fn to_device_measure(
    tx: &mut Tx<'_>,
    of: &QueueOf,
    limit: QueueLimit,
) -> Result<Overfull, Error> {
    let measured = |row: &dyn Row| Ok((row.int(0)?, row.int(1)?));
    let found = match of {
        QueueOf::Device(device) => {
            tx.query_one(&TO_DEVICE_MEASURE, &[(*device).into()], measured)?
        }
        QueueOf::Server(server) => tx.query_one(
            &OUTGOING_TO_DEVICE_MEASURE,
            &[server.as_str().into()],
            measured,
        )?,
        QueueOf::AllServers => tx.query_one(&OUTGOING_TO_DEVICE_MEASURE_ALL, &[], measured)?,
    };
    let (messages, bytes) = found.unwrap_or_default();
    Ok(Overfull {
        of: of.clone(),
        messages,
        bytes,
        limit,
    })
}

/// Forgets at most `most` of the oldest messages of a queue that is too full, as many as it takes. The answer is what is left:
/// what was read of the queue before doesn't count, for its owner may have emptied it meanwhile.
///
/// # Errors
/// When the database fails.
pub fn to_device_cut(tx: &mut Tx<'_>, queue: &Overfull, most: u32) -> Result<Overfull, Error> {
    let most = i64::from(most).into();
    let size = |row: &dyn Row| Ok((row.int(0)?, row.int(1)?));
    let oldest: Vec<(i64, i64)> = match &queue.of {
        QueueOf::Device(device) => {
            tx.query_all(&TO_DEVICE_SIZES, &[(*device).into(), most], size)?
        }
        QueueOf::Server(server) => tx.query_all(
            &OUTGOING_TO_DEVICE_SIZES,
            &[server.as_str().into(), most],
            size,
        )?,
        QueueOf::AllServers => tx.query_all(&OUTGOING_TO_DEVICE_SIZES_ALL, &[most], size)?,
    };
    // Afterwards, so that nothing goes in place of what is taken at this moment.
    let mut left = to_device_measure(tx, &queue.of, queue.limit)?;
    let mut surplus = Vec::new();
    for (position, size) in oldest {
        if !left.is_too_full() {
            break;
        }
        left.messages -= 1;
        left.bytes -= size;
        surplus.push(position);
    }
    match (&queue.of, surplus.last()) {
        (_, None) => {}
        (QueueOf::Device(device), Some(last)) => drop(to_device_delete(tx, *device, *last)?),
        (QueueOf::Server(_) | QueueOf::AllServers, Some(_)) => {
            outgoing_to_device_delete(tx, &surplus)?;
        }
    }
    Ok(left)
}

impl Overfull {
    /// Whether more waits than may.
    #[must_use]
    pub fn is_too_full(&self) -> bool {
        self.messages > self.limit.messages || self.bytes > self.limit.bytes
    }
}

/// Keeps messages for devices of other servers, from `now_ms` on.
///
/// # Errors
/// When the database fails.
pub fn outgoing_to_device_insert(
    tx: &mut Tx<'_>,
    messages: &[OutgoingToDevice],
    now_ms: i64,
) -> Result<(), Error> {
    if messages.is_empty() {
        return Ok(());
    }
    let positions: Vec<i64> = messages.iter().map(|it| it.position).collect();
    let servers: Vec<&str> = messages.iter().map(|it| it.server.as_str()).collect();
    let contents: Vec<&[u8]> = messages.iter().map(|it| &*it.content).collect();
    let params = [
        Value::Ints(&positions),
        Value::Texts(&servers),
        Value::Ints(&sizes(&contents)),
        Value::Blobs(&contents),
        now_ms.into(),
    ];
    tx.execute(&OUTGOING_TO_DEVICE_INSERT, &params).map(drop)
}

/// The first `limit` messages that wait for `server`.
///
/// # Errors
/// When the database cannot be read.
pub fn outgoing_to_device_read(
    tx: &mut Tx<'_>,
    server: &ServerName,
    limit: u32,
) -> Result<Vec<WaitingMessage>, Error> {
    let params = [server.as_str().into(), i64::from(limit).into()];
    tx.query_all(&OUTGOING_TO_DEVICE_READ, &params, waiting)
}

/// The first messages that wait for `server`, as many as `most` allows but at least one, and whether others wait.
///
/// # Errors
/// When the database cannot be read.
pub fn outgoing_to_device_next(
    tx: &mut Tx<'_>,
    server: &ServerName,
    most: QueueLimit,
) -> Result<(Vec<WaitingMessage>, bool), Error> {
    let params = [
        server.as_str().into(),
        most.messages.saturating_add(1).into(),
    ];
    let sizes = tx.query_all(&OUTGOING_TO_DEVICE_SIZES, &params, |row| row.int(1))?;
    let (mut messages, mut bytes) = (0, 0_i64);
    for size in &sizes {
        bytes = bytes.saturating_add(*size);
        if i64::from(messages) >= most.messages || (messages > 0 && bytes > most.bytes) {
            return Ok((outgoing_to_device_read(tx, server, messages)?, true));
        }
        messages += 1;
    }
    Ok((outgoing_to_device_read(tx, server, messages)?, false))
}

/// Forgets the messages at these positions: their server has them.
///
/// # Errors
/// When the database fails.
pub fn outgoing_to_device_delete(tx: &mut Tx<'_>, positions: &[i64]) -> Result<(), Error> {
    tx.execute(&OUTGOING_TO_DEVICE_DELETE, &[Value::Ints(positions)])
        .map(drop)
}

/// Forgets messages for other servers that have waited since before `before_ms`, of the oldest `most`. How many it forgot.
///
/// # Errors
/// When the database fails.
pub fn outgoing_to_device_sweep(tx: &mut Tx<'_>, before_ms: i64, most: u32) -> Result<u64, Error> {
    let params = [before_ms.into(), i64::from(most).into()];
    tx.execute(&OUTGOING_TO_DEVICE_SWEEP, &params)
}

/// The servers for which messages wait.
///
/// # Errors
/// When the database cannot be read.
pub fn outgoing_to_device_servers(tx: &mut Tx<'_>) -> Result<BTreeSet<OwnedServerName>, Error> {
    let servers = tx.query_all(&OUTGOING_TO_DEVICE_SERVERS, &[], |row| {
        server_name(row.text(0)?)
    })?;
    Ok(servers.into_iter().collect())
}

/// Notes that a piece of a message of another server came at `now_ms`. False when that is known.
///
/// # Errors
/// When the database fails.
pub fn to_device_received(
    tx: &mut Tx<'_>,
    origin: &ServerName,
    (message_id, piece): (&str, i64),
    now_ms: i64,
) -> Result<bool, Error> {
    let params = [
        origin.as_str().into(),
        message_id.as_bytes().into(),
        piece.into(),
        now_ms.into(),
    ];
    Ok(tx.execute(&RECEIVED_INSERT, &params)? == 1)
}

/// Forgets at most `most` messages of other servers that came before `before_ms`. How many it forgot.
///
/// # Errors
/// When the database fails.
pub fn to_device_received_sweep(tx: &mut Tx<'_>, before_ms: i64, most: u32) -> Result<u64, Error> {
    tx.execute(&RECEIVED_SWEEP, &[before_ms.into(), i64::from(most).into()])
}

fn waiting(row: &dyn Row) -> Result<WaitingMessage, Error> {
    Ok(WaitingMessage {
        position: row.int(0)?,
        json: row.bytes(1)?.to_vec(),
    })
}

fn sizes(contents: &[&[u8]]) -> Vec<i64> {
    let sizes = contents.iter().map(|it| i64::try_from(it.len()));
    sizes.map(|size| size.unwrap_or(i64::MAX)).collect()
}
