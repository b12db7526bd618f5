//! A room as its server gives it to others.

use bytes::Bytes;
use ruma_common::OwnedRoomId;
use serde_json::{Value, json};
use starling_events::{Pdu, RoomVersion};
use starling_testkit::{Peer, Said};

/// The version of the rooms: all contenders know it.
pub const VERSION: RoomVersion = RoomVersion::V10;
/// When rooms begin, in milliseconds since 1970.
pub const FIRST_MS: i64 = 1_700_000_000_000;
/// The time between two events.
const STEP_MS: i64 = 1000;
/// One of so many members has changed their name since they joined: the first event is then needed to allow the second.
const RENAMED: usize = 4;
/// One of so many members has no picture.
const WITHOUT_PICTURE: usize = 3;
/// How many messages there are at the end.
const MESSAGES: usize = 20;
/// So many members talk.
const TALKERS: usize = 50;
/// Names that people have.
const NAMES: [&str; 8] = [
    "Amina", "Bjørn", "Chloé", "Dmitri", "Esra", "Farid", "Grace", "Hiroshi",
];

/// A room. Each of its events follows the one before.
#[derive(Debug)]
pub struct Room {
    /// Its id.
    pub id: OwnedRoomId,
    history: Vec<Pdu>,
    /// Where in the history the events of the current state are.
    state: Vec<usize>,
    /// Where the events are that allow these, and aren't among them.
    replaced: Vec<usize>,
    /// Where those are that allow all.
    rules: Rules,
    /// Where the join of each member is.
    joins: Vec<usize>,
    answer: (Bytes, Bytes),
}

#[derive(Debug, Clone, Copy, Default)]
struct Rules {
    create: usize,
    power_levels: usize,
    who_joins: usize,
}

impl Room {
    pub(super) fn make(peer: &Peer, local: &str, members: usize) -> Self {
        let mut room = Self {
            id: format!("!{local}:{}", peer.server)
                .try_into()
                .expect("a room id"),
            history: Vec::new(),
            state: Vec::new(),
            replaced: Vec::new(),
            rules: Rules::default(),
            joins: Vec::new(),
            answer: Default::default(),
        };
        room.found(peer);
        for member in 1..members {
            room.join(peer, member);
        }
        for number in 0..MESSAGES {
            let last = room.last().clone();
            let number = u64::try_from(number).unwrap_or(u64::MAX);
            let message = room.message(peer, &last, number, "before ");
            room.history.push(message);
        }
        room.answer = room.written(peer);
        room
    }

    /// What its creator does.
    fn found(&mut self, peer: &Peer) {
        let creator = peer.user(&name(0)).to_string();
        let create = json!({ "creator": creator, "room_version": VERSION.as_str() });
        self.rules.create = self.set(peer, (0, "m.room.create", ""), create, &[]);
        let create = self.rules.create;
        let content = member_content(0, None);
        let join = self.set(peer, (0, "m.room.member", &creator), content, &[create]);
        self.joins.push(join);
        let levels = json!({
            "ban": 50, "events": { "m.room.name": 50, "m.room.power_levels": 100, "m.room.topic": 50 },
            "events_default": 0, "invite": 0, "kick": 50, "redact": 50, "state_default": 50,
            "users": { &*creator: 100 }, "users_default": 0,
        });
        let auth = [create, join];
        self.rules.power_levels = self.set(peer, (0, "m.room.power_levels", ""), levels, &auth);
        let auth = [create, join, self.rules.power_levels];
        let rules = json!({ "join_rule": "public" });
        self.rules.who_joins = self.set(peer, (0, "m.room.join_rules", ""), rules, &auth);
        for (kind, content) in [
            (
                "m.room.history_visibility",
                json!({ "history_visibility": "shared" }),
            ),
            (
                "m.room.guest_access",
                json!({ "guest_access": "forbidden" }),
            ),
            ("m.room.name", json!({ "name": "The square" })),
            (
                "m.room.topic",
                json!({ "topic": "Everybody is here, and talks about everything" }),
            ),
        ] {
            self.set(peer, (0, kind, ""), content, &auth);
        }
    }

    fn join(&mut self, peer: &Peer, member: usize) {
        let user = peer.user(&name(member)).to_string();
        let key = (member, "m.room.member", user.as_str());
        let Rules {
            create,
            power_levels,
            who_joins,
        } = self.rules;
        let auth = [create, power_levels, who_joins];
        let mut join = self.set(peer, key, member_content(member, None), &auth);
        if member.is_multiple_of(RENAMED) {
            self.replaced.extend(self.state.pop());
            let auth = [create, power_levels, who_joins, join];
            join = self.set(peer, key, member_content(member, Some("again")), &auth);
        }
        self.joins.push(join);
    }

    /// A member sets state; gives the place of the event.
    fn set(
        &mut self,
        peer: &Peer,
        (member, kind, state_key): (usize, &str, &str),
        content: Value,
        auth: &[usize],
    ) -> usize {
        let place = self.history.len();
        let said = Said {
            sender: &name(member),
            kind,
            state_key: Some(state_key),
            content,
        };
        let auth: Vec<&Pdu> = auth
            .iter()
            .filter_map(|&place| self.history.get(place))
            .collect();
        let prev: Vec<&Pdu> = self.history.last().into_iter().collect();
        let event = peer.event((VERSION, &self.id), &said, (&prev, &auth), time_of(place));
        self.history.push(event);
        self.state.push(place);
        place
    }

    /// Message `number` of a member, after `last`.
    pub(super) fn message(&self, peer: &Peer, last: &Pdu, number: u64, mark: &str) -> Pdu {
        let talkers = self.joins.len().clamp(1, TALKERS);
        let member = usize::try_from(number).unwrap_or(0) % talkers;
        let join = self.joins.get(member).copied().unwrap_or_default();
        let Rules {
            create,
            power_levels,
            ..
        } = self.rules;
        let auth: Vec<&Pdu> = [create, power_levels, join]
            .iter()
            .filter_map(|&place| self.history.get(place))
            .collect();
        let body =
            format!("{mark}{number}; as long as what people write to each other on a common day");
        let said = Said {
            sender: &name(member),
            kind: "m.room.message",
            state_key: None,
            content: json!({ "msgtype": "m.text", "body": body }),
        };
        let time = last.origin_server_ts() + STEP_MS;
        peer.event((VERSION, &self.id), &said, (&[last], &auth), time)
    }

    /// How many members it has before anybody joins.
    #[must_use]
    pub fn members(&self) -> usize {
        self.joins.len()
    }

    /// All its events, from the first on.
    #[must_use]
    pub fn history(&self) -> &[Pdu] {
        &self.history
    }

    /// The event that a join follows.
    ///
    /// # Panics
    /// Never: a room has events.
    #[must_use]
    pub fn last(&self) -> &Pdu {
        self.history.last().expect("a room has events")
    }

    /// The current state.
    pub fn state(&self) -> impl Iterator<Item = &Pdu> {
        self.at(&self.state)
    }

    /// The events that allow the state; many are of the state themselves.
    pub fn auth_chain(&self) -> impl Iterator<Item = &Pdu> {
        let Rules {
            create,
            power_levels,
            who_joins,
        } = self.rules;
        let first = [create, power_levels, who_joins]
            .into_iter()
            .chain(self.joins.first().copied());
        first
            .filter_map(|place| self.history.get(place))
            .chain(self.at(&self.replaced))
    }

    fn at<'a>(&'a self, places: &'a [usize]) -> impl Iterator<Item = &'a Pdu> {
        places.iter().filter_map(|&place| self.history.get(place))
    }

    /// What a user of another server has to sign to join.
    pub(super) fn template(&self, user: &str) -> Value {
        let Rules {
            create,
            power_levels,
            who_joins,
        } = self.rules;
        let auth = [create, power_levels, who_joins];
        let auth: Vec<&str> = self
            .at(&auth)
            .map(|event| event.event_id().as_str())
            .collect();
        json!({
            "event": {
                "auth_events": auth,
                "content": { "membership": "join" },
                "depth": self.last().depth() + 1,
                "origin_server_ts": time_of(self.history.len()),
                "prev_events": [self.last().event_id()],
                "room_id": self.id,
                "sender": user,
                "state_key": user,
                "type": "m.room.member",
            },
            "room_version": VERSION.as_str(),
        })
    }

    /// What is answered to a join: all of the state.
    pub(super) fn joined(&self, join: &[u8]) -> Bytes {
        let (before, after) = &self.answer;
        [before, join, after].concat().into()
    }

    /// The answer to a join, as far as it is the same for all: what stands before the join, and what after it.
    fn written(&self, peer: &Peer) -> (Bytes, Bytes) {
        let before = [
            b"{\"auth_chain\":".to_vec(),
            array(self.auth_chain()),
            b",\"event\":".to_vec(),
        ];
        let origin = format!(
            ",\"members_omitted\":false,\"origin\":\"{}\",\"state\":",
            peer.server
        );
        let after = [origin.into_bytes(), array(self.state()), b"}".to_vec()];
        (before.concat().into(), after.concat().into())
    }
}

/// Events as an array.
pub(super) fn array<'a>(events: impl Iterator<Item = &'a Pdu>) -> Vec<u8> {
    let mut out = vec![b'['];
    for event in events {
        if out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(event.json());
    }
    out.push(b']');
    out
}

fn name(member: usize) -> String {
    let names = NAMES.len();
    let first = NAMES.get(member % names).copied().unwrap_or_default();
    format!(
        "{}{member}",
        first.to_ascii_lowercase().replace(['ø', 'é'], "e")
    )
}

fn member_content(member: usize, more: Option<&str>) -> Value {
    let first = NAMES.get(member % NAMES.len()).copied().unwrap_or_default();
    let displayname = format!("{first} {}", more.unwrap_or("from next door"));
    if member.is_multiple_of(WITHOUT_PICTURE) {
        return json!({ "membership": "join", "displayname": displayname });
    }
    let picture = format!("mxc://media.example.org/{member:0>24}");
    json!({ "membership": "join", "displayname": displayname, "avatar_url": picture })
}

fn time_of(place: usize) -> i64 {
    FIRST_MS + STEP_MS * i64::try_from(place).unwrap_or(0)
}
