//! Events as a client is told them: the client format, with `unsigned` composed for the one who asks.
//! <https://spec.matrix.org/v1.19/client-server-api/#room-event-format>

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use starling_db::{Error, Tx};
use starling_events::client_format::{self, ClientFormat};

use crate::events::Event;
use crate::history::Viewer;
use crate::memberships::Membership;
use crate::names::types;
use crate::numbers::{DeviceNum, EventNum, UserNum};
use crate::store::Store;

/// Who asks, and when.
#[derive(Debug, Clone, Copy)]
pub struct Asker {
    /// The user.
    pub user: UserNum,
    /// The device: only the one that sent an event is told its transaction id.
    pub device: DeviceNum,
    /// The time of day in milliseconds since 1970, for `age`.
    pub now_ms: i64,
}

/// All that is needed to write a page of events, read at once.
#[derive(Debug)]
pub struct ClientView {
    asker: Asker,
    /// State events that events of the page replaced, and redactions that pruned events of the page.
    related: HashMap<EventNum, Arc<Event>>,
    /// Users of whom only those see what they said who were there.
    erased: Arc<HashSet<UserNum>>,
}

impl ClientView {
    /// Reads what writing `events` takes: at most one query, once it is known who is erased.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn load<'a>(
        store: &Store,
        tx: &mut Tx<'_>,
        asker: Asker,
        events: impl IntoIterator<Item = &'a Arc<Event>>,
    ) -> Result<Self, Error> {
        let mut related = Vec::new();
        for event in events {
            related.extend([event.replaces, event.redacted_by].into_iter().flatten());
        }
        let related = store.events_read(tx, &related)?;
        let erased = store.erased().users(tx)?;
        Ok(Self {
            asker,
            related: related
                .into_iter()
                .map(|event| (event.num, event))
                .collect(),
            erased,
        })
    }

    /// Appends an event of the page; `viewer` is the asker's of the event's room. `room_id` says whether to write it:
    /// sync leaves it out.
    pub fn write(&self, out: &mut Vec<u8>, event: &Event, viewer: &Viewer, room_id: bool) {
        let unsigned = self.unsigned(event, viewer);
        let pruned = self.is_hidden(event, viewer).then(|| event.pdu.redacted());
        client_format::write(
            out,
            pruned.as_ref().unwrap_or(&event.pdu),
            &ClientFormat {
                room_id,
                unsigned: Some(&unsigned),
            },
        );
    }

    /// Appends an event of the page as servers send it to one another.
    pub fn write_federation(&self, out: &mut Vec<u8>, event: &Event, viewer: &Viewer) {
        let pruned = self.is_hidden(event, viewer).then(|| event.pdu.redacted());
        out.extend_from_slice(pruned.as_ref().unwrap_or(&event.pdu).json());
    }

    /// `unsigned`, its members in the order of their names.
    fn unsigned(&self, event: &Event, viewer: &Viewer) -> Vec<u8> {
        let mut out = self.plain_unsigned(event, viewer);
        let replaced = event
            .replaces
            .and_then(|replaced| self.related.get(&replaced));
        let shown =
            |replaced: &&Arc<Event>| viewer.sees(replaced) && !self.is_hidden(replaced, viewer);
        if let Some(replaced) = replaced.filter(shown) {
            out.extend_from_slice(b",\"prev_content\":");
            out.extend_from_slice(replaced.pdu.content());
        }
        if let Some(redaction) = event
            .redacted_by
            .and_then(|redaction| self.related.get(&redaction))
        {
            out.extend_from_slice(b",\"redacted_because\":");
            let mut unsigned = self.plain_unsigned(redaction, viewer);
            unsigned.push(b'}');
            let format = ClientFormat {
                room_id: false,
                unsigned: Some(&unsigned),
            };
            let pruned = self
                .is_hidden(redaction, viewer)
                .then(|| redaction.pdu.redacted());
            client_format::write(&mut out, pruned.as_ref().unwrap_or(&redaction.pdu), &format);
        }
        if let Some(replaced) = replaced {
            string_member(&mut out, "replaces_state", replaced.pdu.event_id().as_str());
        }
        let sent_as = event.sent_as.as_ref();
        if let Some(sent) = sent_as.filter(|sent| sent.device == self.asker.device) {
            string_member(&mut out, "transaction_id", &sent.txn_id);
        }
        out.push(b'}');
        out
    }

    /// Whether the event's sender is erased and the viewer wasn't there to see it. What the sender made the room to be
    /// stays: of the state only the sender's own membership is hidden.
    fn is_hidden(&self, event: &Event, viewer: &Viewer) -> bool {
        self.erased.contains(&event.sender)
            && (event.key.is_none() || event.kind == types::MEMBER)
            && viewer.membership_at(event) != Membership::Join
    }

    /// What `unsigned` of every event begins with.
    fn plain_unsigned(&self, event: &Event, viewer: &Viewer) -> Vec<u8> {
        let age = self
            .asker
            .now_ms
            .saturating_sub(event.pdu.origin_server_ts());
        let membership = viewer.membership_at(event).as_str();
        format!("{{\"age\":{age},\"membership\":\"{membership}\"").into_bytes()
    }
}

fn string_member(out: &mut Vec<u8>, key: &str, text: &str) {
    let text = serde_json::Value::from(text);
    out.extend_from_slice(format!(",\"{key}\":{text}").as_bytes());
}
