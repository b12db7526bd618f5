//! An independent implementation of state resolution to compare with: ruma-state-res, for versions 2 to 12.

use std::collections::BTreeMap;
use std::sync::Arc;

use js_int::UInt;
use ruma_common::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId,
    RoomVersionId, UserId,
};
use ruma_events::TimelineEventType;
use ruma_state_res::{
    Error, Event, StateMap as OracleState,
    utils::{event_id_map::EventIdMap, event_id_set::EventIdSet},
};
use serde_json::value::RawValue;
use starling_events::Pdu;
use starling_testkit::forks::Room;

use super::model::{Id, Model, StateMap};

/// An event as the oracle reads it.
#[derive(Debug)]
struct OracleEvent {
    id: OwnedEventId,
    room_id: Option<OwnedRoomId>,
    sender: OwnedUserId,
    time: MilliSecondsSinceUnixEpoch,
    kind: TimelineEventType,
    content: Box<RawValue>,
    state_key: Option<String>,
    prev_events: Vec<OwnedEventId>,
    auth_events: Vec<OwnedEventId>,
    redacts: Option<OwnedEventId>,
    is_rejected: bool,
}

impl OracleEvent {
    fn new(pdu: &Pdu, is_rejected: bool) -> Self {
        let content = String::from_utf8(pdu.content().to_vec()).unwrap();
        let is_own_room_id = pdu.value().get("room_id").is_none();
        Self {
            id: pdu.event_id().to_owned(),
            room_id: (!is_own_room_id).then(|| pdu.room_id().to_owned()),
            sender: pdu.sender().to_owned(),
            time: MilliSecondsSinceUnixEpoch(UInt::try_from(pdu.origin_server_ts()).unwrap()),
            kind: pdu.kind().into(),
            content: RawValue::from_string(content).unwrap(),
            state_key: pdu.state_key().map(str::to_owned),
            prev_events: pdu.prev_events().to_vec(),
            auth_events: pdu.auth_events().to_vec(),
            redacts: pdu.redacts().map(EventId::to_owned),
            is_rejected,
        }
    }
}

impl Event for OracleEvent {
    type Id = OwnedEventId;

    fn event_id(&self) -> &OwnedEventId {
        &self.id
    }

    fn room_id(&self) -> Option<&RoomId> {
        self.room_id.as_deref()
    }

    fn sender(&self) -> &UserId {
        &self.sender
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        self.time
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.kind
    }

    fn content(&self) -> &RawValue {
        &self.content
    }

    fn state_key(&self) -> Option<&str> {
        self.state_key.as_deref()
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
        self.is_rejected
    }
}

/// What the oracle makes of the states. The model, which must read the text without deviations, gives the auth chains and
/// the conflicted state subgraph, which the oracle doesn't compute.
pub(crate) fn resolve<'a>(
    room: &'a Room,
    model: &Model<'a>,
    states: &[StateMap<'a>],
) -> Result<StateMap<'a>, Error> {
    let rules = RoomVersionId::try_from(room.version().as_str())
        .unwrap()
        .rules()
        .unwrap();
    let mut events = EventIdMap::new();
    for state in room.events().filter_map(|event| event.state.as_ref()) {
        let event = Arc::new(OracleEvent::new(&state.pdu, state.is_rejected));
        events.insert(event.id.clone(), event);
    }
    let id_of = |id: &Id<'a>| <&EventId>::try_from(*id).unwrap().to_owned();
    let maps: Vec<OracleState<OwnedEventId>> = states
        .iter()
        .map(|state| {
            state
                .iter()
                .map(|((kind, key), id)| (((*kind).into(), (*key).to_owned()), id_of(id)))
                .collect()
        })
        .collect();
    let chains = states.iter().map(|state| {
        let chain = model.full_auth_chain(state);
        chain.iter().map(id_of).collect::<EventIdSet<_>>()
    });
    let names: BTreeMap<&str, Id<'a>> = room
        .events()
        .map(|event| (event.pdu.event_id().as_str(), event.pdu.event_id().as_str()))
        .collect();
    let resolved = ruma_state_res::resolve(
        &rules.authorization,
        rules.state_res.v2_rules().unwrap(),
        &maps,
        chains.collect(),
        |id| events.get(id).cloned(),
        |conflicted| {
            let conflicted = conflicted.values().flatten().map(|id| names[id.as_str()]);
            let subgraph = model.conflicted_state_subgraph(&conflicted.collect());
            Some(subgraph.iter().map(id_of).collect())
        },
    )?;
    Ok(resolved
        .values()
        .map(|id| {
            let pdu = &room.by_id(id).unwrap().pdu;
            (
                (pdu.kind(), pdu.state_key().unwrap()),
                pdu.event_id().as_str(),
            )
        })
        .collect())
}
