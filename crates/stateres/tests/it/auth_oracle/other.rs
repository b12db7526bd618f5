//! Events and versions as the other implementation wants them.

use ruma_common::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, RoomId, RoomVersionId, UserId,
    room_version_rules::AuthorizationRules,
};
use ruma_events::TimelineEventType;
use ruma_state_res::Event;
use serde_json::value::RawValue;
use starling_events::{Pdu, room_version::RoomIdForm};

/// The rules of the version of this number.
pub(super) fn rules_of(number: usize) -> AuthorizationRules {
    let version = RoomVersionId::try_from(number.to_string()).unwrap();
    version.rules().unwrap().authorization
}

/// An event.
#[derive(Debug)]
pub(super) struct Other {
    pdu: Pdu,
    event_id: OwnedEventId,
    prev_events: Vec<OwnedEventId>,
    auth_events: Vec<OwnedEventId>,
    redacts: Option<OwnedEventId>,
    kind: TimelineEventType,
    content: Box<RawValue>,
}

impl Other {
    pub(super) fn new(pdu: &Pdu) -> Self {
        let content = String::from_utf8(pdu.content().to_vec()).unwrap();
        Self {
            event_id: pdu.event_id().to_owned(),
            prev_events: pdu.prev_events().to_vec(),
            auth_events: pdu.auth_events().to_vec(),
            redacts: pdu.redacts().map(EventId::to_owned),
            kind: pdu.kind().into(),
            content: RawValue::from_string(content).unwrap(),
            pdu: pdu.clone(),
        }
    }

    pub(super) fn has_id(&self, id: &EventId) -> bool {
        self.event_id == id
    }
}

impl Event for Other {
    type Id = OwnedEventId;

    fn event_id(&self) -> &OwnedEventId {
        &self.event_id
    }

    fn room_id(&self) -> Option<&RoomId> {
        let is_stated = self.pdu.kind() != "m.room.create"
            || self.pdu.version().rules().room_id == RoomIdForm::WithDomain;
        is_stated.then_some(self.pdu.room_id())
    }

    fn sender(&self) -> &UserId {
        self.pdu.sender()
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        let time = u32::try_from(self.pdu.origin_server_ts()).unwrap();
        MilliSecondsSinceUnixEpoch(time.into())
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.kind
    }

    fn content(&self) -> &RawValue {
        &self.content
    }

    fn state_key(&self) -> Option<&str> {
        self.pdu.state_key()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.prev_events.iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.auth_events.iter())
    }

    fn redacts(&self) -> Option<&OwnedEventId> {
        self.redacts.as_ref()
    }

    fn rejected(&self) -> bool {
        false
    }
}
