//! Events as a client is told them: the client format, with `unsigned` composed for the one who asks.
//! <https://spec.matrix.org/v1.19/client-server-api/#room-event-format>

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use starling_db::{Error, Tx};
use starling_events::client_format::{self, ClientFormat};

use crate::bundles::{Bundle, BundleReader, BundledPage, Bundles};
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
    /// What is told with events of those that relate to them.
    bundles: Bundles,
}

/// Within an event that is told with another, so deep at most are others told: the last event of a thread with its edit.
const DEEPEST: u8 = 2;

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
            bundles: Bundles::default(),
        })
    }

    /// Reads what is to be told with the events of `pages`, which are among those of this view, of those that relate to
    /// them; of these nothing above `upto`. See [`crate::bundles`] for what it costs: leave out rooms in which nothing
    /// has aggregations.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn bundle(
        &mut self,
        store: &Store,
        tx: &mut Tx<'_>,
        pages: &[BundledPage<'_>],
        upto: i64,
    ) -> Result<(), Error> {
        if pages.iter().all(|page| page.events.is_empty()) {
            return Ok(());
        }
        let reader = BundleReader {
            user: self.asker.user,
            upto,
        };
        self.bundles = Bundles::load(store, tx, reader, pages)?;
        let nested: Vec<&Arc<Event>> = self.bundles.nested().collect();
        if !nested.is_empty() {
            let view = Self::load(store, tx, self.asker, nested)?;
            self.related.extend(view.related);
        }
        Ok(())
    }

    /// Whether an event is told with the thread that it is the root of: see [`ClientView::bundle`].
    #[must_use]
    pub fn has_thread(&self, event: EventNum) -> bool {
        let bundle = self.bundles.get(event);
        bundle.is_some_and(|bundle| bundle.thread.is_some())
    }

    /// Appends an event of the page; `viewer` is the asker's of the event's room. `room_id` says whether to write it:
    /// sync leaves it out.
    pub fn write(&self, out: &mut Vec<u8>, event: &Event, viewer: &Viewer, room_id: bool) {
        self.write_within(out, event, viewer, (room_id, 0));
    }

    /// Appends an event; `depth` is how many others it is told within.
    fn write_within(
        &self,
        out: &mut Vec<u8>,
        event: &Event,
        viewer: &Viewer,
        (room_id, depth): (bool, u8),
    ) {
        let unsigned = self.unsigned(event, viewer, (room_id, depth));
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
    fn unsigned(&self, event: &Event, viewer: &Viewer, (room_id, depth): (bool, u8)) -> Vec<u8> {
        let mut out = self.age(event);
        if let Some(bundle) = self.bundles.get(event.num).filter(|_| depth < DEEPEST) {
            out.extend_from_slice(b",\"m.relations\":");
            self.write_bundle(&mut out, bundle, viewer, (room_id, depth + 1));
        }
        write_membership(&mut out, event, viewer);
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
            let mut unsigned = self.age(redaction);
            write_membership(&mut unsigned, redaction, viewer);
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

    /// Whether the event is told without what it says: where its sender is erased and the viewer wasn't there to see it,
    /// and where the viewer ignores them. What the sender made the room to be stays: of the state only an erased user's
    /// own membership is hidden.
    fn is_hidden(&self, event: &Event, viewer: &Viewer) -> bool {
        let is_erased = self.erased.contains(&event.sender)
            && (event.key.is_none() || event.kind == types::MEMBER)
            && viewer.membership_at(event) != Membership::Join;
        is_erased || (event.key.is_none() && viewer.ignores(event.pdu.sender()))
    }

    /// What `unsigned` of every event begins with.
    fn age(&self, event: &Event) -> Vec<u8> {
        let now_ms = self.asker.now_ms;
        let age = now_ms.saturating_sub(event.pdu.origin_server_ts());
        format!("{{\"age\":{age}").into_bytes()
    }

    /// Appends the aggregations of an event: <https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events>
    fn write_bundle(
        &self,
        out: &mut Vec<u8>,
        bundle: &Bundle,
        viewer: &Viewer,
        within: (bool, u8),
    ) {
        let start = out.len();
        let key = |out: &mut Vec<u8>, key: &str| {
            out.push(if out.len() == start { b'{' } else { b',' });
            out.extend_from_slice(key.as_bytes());
        };
        if !bundle.references.is_empty() {
            key(out, "\"m.reference\":{\"chunk\":[");
            for (index, id) in bundle.references.iter().enumerate() {
                let id = serde_json::Value::from(id.as_str());
                let comma = if index == 0 { "" } else { "," };
                out.extend_from_slice(format!("{comma}{{\"event_id\":{id}}}").as_bytes());
            }
            out.extend_from_slice(b"]}");
        }
        if let Some(edit) = &bundle.edit {
            key(out, "\"m.replace\":");
            self.write_within(out, edit, viewer, within);
        }
        if let Some(thread) = &bundle.thread {
            key(out, "\"m.thread\":{");
            let (count, participated) = (thread.count, thread.participated);
            let counted = format!("\"count\":{count},\"current_user_participated\":{participated}");
            out.extend_from_slice(counted.as_bytes());
            out.extend_from_slice(b",\"latest_event\":");
            self.write_within(out, &thread.latest, viewer, within);
            out.push(b'}');
        }
        out.push(b'}');
    }
}

fn write_membership(out: &mut Vec<u8>, event: &Event, viewer: &Viewer) {
    let membership = viewer.membership_at(event).as_str();
    out.extend_from_slice(format!(",\"membership\":\"{membership}\"").as_bytes());
}

fn string_member(out: &mut Vec<u8>, key: &str, text: &str) {
    let text = serde_json::Value::from(text);
    out.extend_from_slice(format!(",\"{key}\":{text}").as_bytes());
}
