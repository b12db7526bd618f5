//! Building an event on a room's head, and checking it against the state there.

use std::collections::HashMap;
use std::sync::Arc;

use ruma_common::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, ServerName, UserId};
use starling_events::{
    CanonicalObject, EventBuilder, EventReference, Pdu, RoomVersion, SigningKey, Value,
};
use starling_stateres::{AuthState, PowerLevelsError, RoomPower, auth_types};
use starling_store::rooms::{Extremity, RoomSnapshot};

use crate::error::SendError;
use crate::federation::{SERVER_ACL, ServerAcl};

/// An event as its sender wants it.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Who sends it.
    pub sender: OwnedUserId,
    /// Its type.
    pub kind: String,
    /// Its state key, for a state event.
    pub state_key: Option<String>,
    /// Its content.
    pub content: CanonicalObject,
    /// The event that it redacts.
    pub redacts: Option<OwnedEventId>,
    /// When it is said to be from, where that is allowed; else now.
    pub origin_server_ts: Option<i64>,
}

impl Draft {
    /// A message event.
    #[must_use]
    pub fn message(sender: OwnedUserId, kind: impl Into<String>, content: CanonicalObject) -> Self {
        Self {
            sender,
            kind: kind.into(),
            state_key: None,
            content,
            redacts: None,
            origin_server_ts: None,
        }
    }

    /// A state event.
    #[must_use]
    pub fn state(
        sender: OwnedUserId,
        kind: impl Into<String>,
        state_key: impl Into<String>,
        content: CanonicalObject,
    ) -> Self {
        Self {
            state_key: Some(state_key.into()),
            ..Self::message(sender, kind, content)
        }
    }

    /// The user whom it invites, if it does that.
    pub(crate) fn invited(&self) -> Option<&UserId> {
        if self.kind != "m.room.member" {
            return None;
        }
        let user = <&UserId>::try_from(self.state_key.as_deref()?).ok()?;
        let membership = self.content.value().get("membership");
        let membership = membership.and_then(Value::as_str);
        (membership.as_deref() == Some("invite")).then_some(user)
    }

    /// The state that decides on it, of a room of this version.
    pub(crate) fn auth_keys(&self, version: RoomVersion) -> Vec<(Box<str>, Box<str>)> {
        let key = self.state_key.as_deref();
        let types = auth_types(
            version,
            &self.kind,
            &self.sender,
            key,
            self.content.as_bytes(),
        );
        types
            .into_iter()
            .map(|(kind, key)| (Box::from(kind), Box::from(&*key)))
            .collect()
    }
}

/// The events that hold the state keys of a type.
type Keys = HashMap<Box<str>, Option<Arc<Pdu>>>;

/// What the next event of a room builds on: the state that it needs, with what is queued but not yet committed.
#[derive(Debug)]
pub(crate) struct Tip {
    pub(crate) version: RoomVersion,
    /// `None` until the create event of a room whose id is its hash.
    room_id: Option<OwnedRoomId>,
    prev_events: Vec<EventReference>,
    /// Extremities that the next event can't name beside those: the events after it do.
    left_over: Vec<EventReference>,
    /// The greatest depth of those that it names.
    depth: i64,
    /// State that was looked up or changed here; `None`: the room has no such state. A key that is not in it has not
    /// changed since the tip was made.
    known: HashMap<Box<str>, Keys>,
    /// About how much memory `known` takes.
    known_bytes: usize,
    power: Option<RoomPower>,
}

/// An event follows at most so many.
/// <https://spec.matrix.org/v1.19/rooms/v12/#event-format>
const MAX_PREV_EVENTS: usize = 20;

/// What a known key costs beside its event's bytes.
const KEY_BYTES: usize = 500;

/// The type of the state that says whether guests may join.
pub(crate) const GUEST_ACCESS: &str = "m.room.guest_access";

/// Why users of other servers are not invited.
pub(crate) const CLOSED: &str =
    "the room is closed to users of other servers (m.federate is false)";

/// The types of state that decide on other events: nothing else is ever looked up here.
const DECIDING: [&str; 6] = [
    "m.room.create",
    GUEST_ACCESS,
    "m.room.join_rules",
    "m.room.member",
    "m.room.power_levels",
    "m.room.third_party_invite",
];

/// The key of the state that the event was or is, if that decides on other events.
pub(crate) fn decides(pdu: &Pdu) -> Option<(&str, &str)> {
    let key = pdu.state_key()?;
    DECIDING.contains(&pdu.kind()).then_some((pdu.kind(), key))
}

/// Whether a room is closed to users of other servers than its creator's, as its create event says.
pub(crate) fn is_closed(create: &Pdu) -> bool {
    let federates = Value::new(create.content()).get("m.federate");
    federates.and_then(Value::as_bool) == Some(false)
}

/// An event that was built, with the keys of its auth events.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) pdu: Pdu,
    pub(crate) auth: Vec<(Box<str>, Box<str>)>,
}

impl AuthState for Tip {
    fn get(&self, kind: &str, state_key: &str) -> Option<&Pdu> {
        self.known.get(kind)?.get(state_key)?.as_deref()
    }

    fn power(&self) -> Option<Result<&RoomPower, PowerLevelsError>> {
        self.power.as_ref().map(Ok)
    }
}

impl Tip {
    /// The tip of a room that has no event yet. Without a room id, the create event's hash becomes that.
    pub(crate) fn new(version: RoomVersion, room_id: Option<OwnedRoomId>) -> Self {
        Self {
            version,
            room_id,
            prev_events: Vec::new(),
            left_over: Vec::new(),
            depth: 0,
            known: HashMap::new(),
            known_bytes: 0,
            power: None,
        }
    }

    /// The tip of a committed room; no state is known yet.
    pub(crate) fn of(snapshot: &RoomSnapshot) -> Self {
        let mut extremities: Vec<&Extremity> = snapshot.extremities.iter().collect();
        extremities.sort_by_key(|extremity| std::cmp::Reverse(extremity.depth));
        let references = extremities.iter().map(|extremity| &extremity.reference);
        let mut references = references.cloned();
        Self {
            prev_events: references.by_ref().take(MAX_PREV_EVENTS).collect(),
            left_over: references.collect(),
            depth: extremities.first().map_or(0, |deepest| deepest.depth),
            ..Self::new(snapshot.version, Some(snapshot.room_id.clone()))
        }
    }

    /// One of the events that the next one follows, if there is one.
    pub(crate) fn last(&self) -> Option<&EventId> {
        self.prev_events.first().map(|last| &*last.event_id)
    }

    /// About how many bytes the known state takes.
    pub(crate) fn known_bytes(&self) -> usize {
        self.known_bytes
    }

    /// Which of the keys that an event needs are not known. The create event and the power levels are always needed.
    pub(crate) fn missing(&self, keys: &[(Box<str>, Box<str>)]) -> Vec<(Box<str>, Box<str>)> {
        let always = [
            (Box::from("m.room.create"), Box::from("")),
            (Box::from("m.room.power_levels"), Box::from("")),
        ];
        let mut missing: Vec<_> = always.into_iter().chain(keys.iter().cloned()).collect();
        missing.retain(|(kind, key)| !self.knows(kind, key));
        missing
    }

    fn knows(&self, kind: &str, key: &str) -> bool {
        self.known
            .get(kind)
            .is_some_and(|keys| keys.contains_key(key))
    }

    /// Notes what the state holds at a key, unless it was changed here meanwhile.
    pub(crate) fn learn(&mut self, kind: &str, key: &str, event: Option<Arc<Pdu>>) {
        if !self.knows(kind, key) {
            self.set(kind, key, event);
        }
    }

    fn set(&mut self, kind: &str, key: &str, event: Option<Arc<Pdu>>) {
        if matches!(kind, "m.room.create" | "m.room.power_levels") {
            self.power = None;
        }
        // A replaced event may live on elsewhere; this only ever counts too much.
        self.known_bytes += KEY_BYTES + event.as_ref().map_or(0, |event| event.json().len());
        self.known
            .entry(kind.into())
            .or_default()
            .insert(key.into(), event);
    }

    /// The room's power, parsed once until it changes.
    pub(crate) fn current_power(&mut self) -> Option<&RoomPower> {
        if self.power.is_none() {
            let levels = self.get("m.room.power_levels", "");
            self.power = self
                .get("m.room.create", "")
                .and_then(|create| RoomPower::new(create, levels).ok());
        }
        self.power.as_ref()
    }

    /// Builds, signs and checks an event on this tip. All keys that it needs must be known. The tip stays as it is: see
    /// [`Tip::advance`].
    pub(crate) fn build(
        &mut self,
        draft: Draft,
        now_ms: i64,
        server: &ServerName,
        key: &SigningKey,
    ) -> Result<Built, SendError> {
        // The specification doesn't say that there is no such type, but nobody means one.
        if draft.kind.is_empty() {
            return Err(SendError::Invalid("the type of the event"));
        }
        Self::check_keeps_server(&draft, server)?;
        self.check_invited_server(&draft)?;
        let mut auth = draft.auth_keys(self.version);
        auth.retain(|(kind, key)| self.get(kind, key).is_some());
        let auth_events = auth
            .iter()
            .filter_map(|(kind, key)| self.get(kind, key))
            .map(EventReference::of)
            .collect();
        let builder = EventBuilder {
            room_id: self.room_id.clone(),
            sender: draft.sender,
            kind: draft.kind,
            state_key: draft.state_key,
            content: draft.content,
            redacts: draft.redacts,
            origin_server_ts: draft.origin_server_ts.unwrap_or(now_ms),
            depth: self.depth.saturating_add(1),
            prev_events: self.prev_events.clone(),
            auth_events,
        };
        let pdu = builder.build(self.version, server, key)?;
        self.current_power();
        starling_stateres::check(self.version, &pdu, self)?;
        Ok(Built { pdu, auth })
    }

    /// Refuses an access control list by which other servers would take nothing of this one any longer, not even a list
    /// that is better. <https://spec.matrix.org/v1.19/client-server-api/#server-access-control-lists-acls-for-rooms>
    fn check_keeps_server(draft: &Draft, server: &ServerName) -> Result<(), SendError> {
        let is_list = draft.kind == SERVER_ACL && draft.state_key.as_deref() == Some("");
        if is_list && !ServerAcl::parse(draft.content.as_bytes()).allows(server) {
            return Err(SendError::ExcludesItself(server.to_owned()));
        }
        Ok(())
    }

    /// Refuses to invite users of other servers to a room that they can never join.
    /// <https://spec.matrix.org/v1.19/client-server-api/#mroomcreate>
    fn check_invited_server(&self, draft: &Draft) -> Result<(), SendError> {
        let Some(create) = self.get("m.room.create", "").filter(|it| is_closed(it)) else {
            return Ok(());
        };
        match draft.invited() {
            Some(user) if user.server_name() != create.sender().server_name() => {
                Err(SendError::Forbidden(CLOSED.to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// The next event builds on `pdu`.
    pub(crate) fn advance(&mut self, pdu: &Pdu) {
        self.prev_events = vec![EventReference::of(pdu)];
        let more = self.left_over.len().min(MAX_PREV_EVENTS - 1);
        self.prev_events.extend(self.left_over.drain(..more));
        self.depth = pdu.depth();
        self.room_id.get_or_insert_with(|| pdu.room_id().to_owned());
        if let Some((kind, key)) = decides(pdu) {
            self.set(kind, key, Some(Arc::new(pdu.clone())));
        }
    }

    /// `target` is redacted by what the tip advanced to: if it is state that decides on other events, its pruned form
    /// does so from now on. What it [`decides`] must be known.
    pub(crate) fn redact(&mut self, target: &Pdu) {
        if let Some((kind, key)) = decides(target)
            && self
                .get(kind, key)
                .is_some_and(|known| known.event_id() == target.event_id())
        {
            self.set(kind, key, Some(Arc::new(target.redacted())));
        }
    }
}
