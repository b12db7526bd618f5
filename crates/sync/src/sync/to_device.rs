//! Messages to the asking device: told until a token says that they came, and then deleted.
//! <https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging>

use starling_db::{Tx, Write};
use starling_store::to_device::{WaitingMessage, to_device_delete, to_device_read};

use super::Scope;
use crate::Error;
use crate::json::{self, Object};

/// So many messages are in one answer. The rest follows when they were acknowledged.
const MOST_TOLD: usize = 100;

/// Messages that an answer tells.
#[derive(Debug, Default)]
pub(crate) struct ToDeviceTold {
    /// The events, in the order in which they came.
    events: Vec<WaitingMessage>,
    /// Where the last of them stands, if others wait behind it.
    upto: Option<i64>,
}

impl ToDeviceTold {
    /// Reads what waits, if something may: something came (`has_new`), or there was more than the last answer could hold.
    pub(super) async fn read(scope: &Scope, has_new: bool) -> Result<Self, Error> {
        // The old way of asking for news knows no messages to devices.
        let Some(after) = scope.to_device_after else {
            return Ok(Self::default());
        };
        if !has_new && scope.since.is_none_or(|since| after >= since) {
            return Ok(Self::default());
        }
        let (device, upto) = (scope.reader.device, scope.upto);
        let limit = u32::try_from(MOST_TOLD + 1).unwrap_or(u32::MAX);
        let read = move |tx: &mut Tx<'_>| to_device_read(tx, device, (after, upto), limit);
        let mut waiting = scope.store.db().read("to_device", read).await?;
        let has_more = waiting.len() > MOST_TOLD;
        waiting.truncate(MOST_TOLD);
        let last = waiting.last().map(|message| message.position);
        Ok(Self {
            events: waiting,
            upto: last.filter(|_| has_more),
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Up to where messages are told, if any are; of an answer up to `upto`.
    pub(crate) fn told_upto(&self, upto: i64) -> Option<i64> {
        (!self.is_empty()).then(|| self.upto.unwrap_or(upto))
    }

    /// Appends the member `to_device` to an answer, if there is anything to tell.
    pub(crate) fn write(&self, object: &mut Object, out: &mut Vec<u8>) {
        if self.is_empty() {
            return;
        }
        object.key(out, "to_device");
        out.extend_from_slice(b"{\"events\":[");
        let start = out.len();
        for event in &self.events {
            json::separate(out, start);
            out.extend_from_slice(&event.json);
        }
        out.extend_from_slice(b"]}");
    }
}

/// The device has all messages up to a position: they are deleted for good before it is told anything else.
pub(super) async fn acknowledge(scope: &Scope, upto: i64) -> Result<(), Error> {
    let device = scope.reader.device;
    let delete = move |tx: &mut Tx<'_>| to_device_delete(tx, device, upto).map(drop);
    let write = Write::new("to_device_delete");
    Ok(scope.store.db().write(write, delete).await?)
}
