//! The generator of random rooms: what it makes is events of the version's format, and it makes all kinds of them.

use std::collections::{BTreeMap, BTreeSet};

use ruma_common::{OwnedEventId, UserId};
use starling_events::{
    CanonicalObject, EventBuilder, EventReference, Pdu, RoomVersion, SigningKey, Value,
    room_version::RoomIdForm, sign,
};
use starling_stateres::{AuthError, AuthState, Membership, check, check_auth_events};
use starling_testkit::forks::ForkedRoom;

/// Rooms of each version.
const ROOMS: u64 = 12;

#[test]
fn same_seed_same_room() {
    let json = |seed| -> Vec<_> {
        let forked = ForkedRoom::random(RoomVersion::V12, seed);
        forked
            .room
            .events()
            .map(|event| event.pdu.json().clone())
            .collect()
    };
    assert_eq!(json(1), json(1));
    assert_ne!(json(1), json(2));
}

#[test]
fn events_are_canonical() {
    for version in RoomVersion::ALL {
        for event in ForkedRoom::random(version, 3).room.events() {
            let parsed = Pdu::parse(version, event.pdu.json()).unwrap();
            assert_eq!(parsed.json(), event.pdu.json());
        }
    }
}

#[test]
fn generations() {
    for version in RoomVersion::ALL {
        let room = ForkedRoom::random(version, 4).room;
        for event in room.events().filter_map(|event| event.state.as_ref()) {
            let cited = event
                .auth_events
                .iter()
                .map(|num| room.get(*num).state.as_ref().unwrap().generation + 1);
            assert_eq!(event.generation, cited.max().unwrap_or(0));
        }
    }
}

/// Auth events as a state.
struct Cited<'a>(Vec<&'a Pdu>);

impl AuthState for Cited<'_> {
    fn get(&self, kind: &str, state_key: &str) -> Option<&Pdu> {
        let mut events = self.0.iter().copied();
        events.find(|event| (event.kind(), event.state_key()) == (kind, Some(state_key)))
    }
}

/// What the rules say to an event by its auth events.
fn verdict(
    event: &Pdu,
    create: &Pdu,
    find: impl Fn(&OwnedEventId) -> Pdu,
) -> Result<(), AuthError> {
    let version = event.version();
    let cited: Vec<Pdu> = event.auth_events().iter().map(find).collect();
    let mut cited: Vec<&Pdu> = cited.iter().collect();
    check_auth_events(version, event, &cited)?;
    if !version.rules().create_in_auth_events {
        cited.push(create);
    }
    check(version, event, &Cited(cited))
}

/// The rooms built once more, hashed and signed: the rules say the same.
#[test]
fn built_events() {
    let mut events = 0;
    for version in RoomVersion::ALL {
        for seed in 0..ROOMS {
            let room = ForkedRoom::random(version, seed).room;
            let mut built: BTreeMap<OwnedEventId, Pdu> = BTreeMap::new();
            for event in room.events() {
                let pdu = &event.pdu;
                // Ours have no fractions.
                let Ok(content) = CanonicalObject::parse(pdu.content()) else {
                    break;
                };
                let new = build(pdu, content, &built);
                let first = built
                    .values()
                    .find(|event| event.kind() == "m.room.create" && event.state_key() == Some(""));
                let create = first.unwrap_or(&new).clone();
                let ours = verdict(&new, &create, |id| {
                    built
                        .values()
                        .find(|event| event.event_id() == id)
                        .unwrap()
                        .clone()
                });
                let theirs = verdict(pdu, &room.create().pdu, |id| {
                    (*room.by_id(id).unwrap().pdu).clone()
                });
                assert_eq!(ours, theirs, "version {version}, seed {seed}, {pdu:?}");
                built.insert(pdu.event_id().to_owned(), new);
                events += 1;
            }
        }
    }
    assert!(events > 2000, "{events}");
}

fn build(pdu: &Pdu, content: CanonicalObject, built: &BTreeMap<OwnedEventId, Pdu>) -> Pdu {
    let version = pdu.version();
    let references = |ids: &[OwnedEventId]| {
        ids.iter()
            .map(|id| EventReference::of(&built[id]))
            .collect()
    };
    let is_own_room_id = version.rules().room_id == RoomIdForm::CreateEventHash;
    let create = built.values().find(|event| event.kind() == "m.room.create");
    let key = SigningKey::generate([1; 32], "1").unwrap();
    let authoriser = Value::new(pdu.content()).get("join_authorised_via_users_server");
    let authoriser = authoriser
        .and_then(Value::as_str)
        .map(|user| UserId::parse(&*user).unwrap());
    let builder = EventBuilder {
        room_id: match create {
            Some(create) if is_own_room_id => Some(create.room_id().to_owned()),
            None if is_own_room_id => None,
            _ => Some(pdu.room_id().to_owned()),
        },
        sender: pdu.sender().to_owned(),
        kind: pdu.kind().to_owned(),
        state_key: pdu.state_key().map(str::to_owned),
        content,
        redacts: pdu.redacts().map(|id| built[id].event_id().to_owned()),
        origin_server_ts: pdu.origin_server_ts(),
        depth: pdu.depth(),
        prev_events: references(pdu.prev_events()),
        auth_events: references(pdu.auth_events()),
    };
    let event = builder
        .build(version, pdu.sender().server_name(), &key)
        .unwrap();
    match authoriser {
        Some(user) => sign::sign_event(&event, user.server_name(), &key).unwrap(),
        None => event,
    }
}

/// What must turn up in rooms of every version.
const KINDS: [&str; 9] = [
    "m.room.aliases",
    "m.room.create",
    "m.room.history_visibility",
    "m.room.join_rules",
    "m.room.message",
    "m.room.name",
    "m.room.power_levels",
    "m.room.third_party_invite",
    "m.room.topic",
];

#[test]
fn all_kinds_turn_up() {
    for version in RoomVersion::ALL {
        let (mut kinds, mut memberships, mut rejected) = (BTreeSet::new(), BTreeSet::new(), 0);
        for seed in 0..150 {
            for event in ForkedRoom::random(version, seed).room.events() {
                kinds.insert(event.pdu.kind().to_owned());
                if let Some(state) = &event.state {
                    rejected += usize::from(state.is_rejected);
                    memberships
                        .extend(state.membership.map(|membership| format!("{membership:?}")));
                }
            }
        }
        assert!(
            KINDS.iter().all(|kind| kinds.contains(*kind)),
            "version {version}: {kinds:?}"
        );
        let mut expected = vec![
            Membership::Ban,
            Membership::Invite,
            Membership::Join,
            Membership::Leave,
        ];
        expected.extend(version.rules().knocking.then_some(Membership::Knock));
        let expected: BTreeSet<_> = expected
            .iter()
            .map(|membership| format!("{membership:?}"))
            .collect();
        assert_eq!(memberships, expected, "version {version}");
        assert!(rejected > 20, "version {version}: {rejected}");
    }
}
