//! Redactions that came before the event that they redact.

use ruma_common::OwnedEventId;
use starling_db::{Error, Tx};
use starling_events::Pdu;
use starling_events::id::event_id_domain;

use crate::events::Event;
use crate::numbers::EventNum;

starling_db::statements! {
    /// Notes a redaction whose target isn't here.
    WAITING_REDACTION_INSERT = "INSERT INTO waiting_redactions (target, room_num, event_num, has_power)
        VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
    /// The redactions that wait for an event, with who sent them.
    WAITING_REDACTIONS = "SELECT waiting_redactions.event_num, waiting_redactions.has_power, users.user_id, events.event_id
        FROM waiting_redactions
        JOIN events ON events.event_num = waiting_redactions.event_num
        JOIN rooms ON rooms.room_num = waiting_redactions.room_num
        JOIN users ON users.user_num = events.sender_num
        WHERE waiting_redactions.target = ?1 AND rooms.room_id = ?2
        ORDER BY waiting_redactions.event_num LIMIT 100";
}

/// A redaction whose target isn't here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingRedaction {
    /// The event that it redacts.
    pub target: OwnedEventId,
    /// Whether its sender may redact anybody's events; else only those of their own server.
    pub has_power: bool,
}

/// Notes that `redaction` waits for its target.
///
/// # Errors
/// When the database fails.
pub(crate) fn waiting_redaction_insert(
    tx: &mut Tx<'_>,
    redaction: &Event,
    waiting: &WaitingRedaction,
) -> Result<(), Error> {
    let params = [
        waiting.target.as_str().into(),
        redaction.room.into(),
        redaction.num.into(),
        waiting.has_power.into(),
    ];
    tx.execute(&WAITING_REDACTION_INSERT, &params).map(drop)
}

/// The redaction that waits for an event that comes now, and may redact it.
///
/// # Errors
/// When the database cannot be read.
pub fn redaction_of(tx: &mut Tx<'_>, pdu: &Pdu) -> Result<Option<EventNum>, Error> {
    let by_id = pdu.version().rules().redaction_rule;
    let params = [
        pdu.event_id().as_str().into(),
        pdu.room_id().as_str().into(),
    ];
    let redactions = tx.query_all(&WAITING_REDACTIONS, &params, |row| {
        let redaction = EventNum(row.int(0)?);
        let is_of_same_server = if by_id {
            let own = OwnedEventId::try_from(row.text(3)?).ok();
            let own = own.as_deref().and_then(event_id_domain).map(str::to_owned);
            own.is_some() && own.as_deref() == event_id_domain(pdu.event_id())
        } else {
            let server = row.text(2)?.split_once(':').map(|(_, server)| server);
            server == Some(pdu.sender().server_name().as_str())
        };
        Ok((row.truth(1)? || is_of_same_server).then_some(redaction))
    })?;
    Ok(redactions.into_iter().flatten().next())
}
