//! Rooms made by hand, event by event: `ann` creates the room, and others act on branches of it.

use ruma_common::{OwnedEventId, OwnedUserId};
use serde_json::{Value, json};
use starling_events::{RoomVersion, room_version::CreatorPlace};
use starling_stateres::{
    auth_types::auth_types_of, check, check_auth_events, resolution::EventNum,
};
use starling_testkit::forks::{
    Dice, Draft, ForkedRoom, Place, Room, State, random_event_id, room_id,
};

pub(crate) fn user(name: &str) -> OwnedUserId {
    format!("@{name}:example.org").try_into().unwrap()
}

/// The end of a branch. A clone of it is another branch.
#[derive(Debug, Clone)]
pub(crate) struct Branch {
    pub(crate) state: State,
    end: Option<OwnedEventId>,
    depth: i64,
}

/// A room and what happens next in it.
pub(crate) struct Story {
    pub(crate) room: Room,
    dice: Dice,
    time: i64,
}

impl Story {
    /// A public room with `ann`, who has the power of 100 or, where creators are privileged, more.
    pub(crate) fn new(version: RoomVersion) -> (Self, Branch) {
        let mut story = Self {
            room: Room::new(version),
            dice: Dice::new(0),
            time: 0,
        };
        let mut branch = Branch {
            state: State::new(),
            end: None,
            depth: 0,
        };
        let mut create = json!({ "room_version": version.as_str() });
        if version.rules().creator == CreatorPlace::Content {
            create["creator"] = json!(user("ann"));
        }
        story.state(&mut branch, "ann", "m.room.create", create);
        story.member(&mut branch, "ann join");
        (story, branch)
    }

    /// The same with these users in the room, and their levels.
    pub(crate) fn with(version: RoomVersion, levels: &[(&str, i64)]) -> (Self, Branch) {
        let (mut story, mut branch) = Self::new(version);
        story.state(
            &mut branch,
            "ann",
            "m.room.join_rules",
            json!({ "join_rule": "public" }),
        );
        let mut all = levels.to_vec();
        if !version.rules().privileged_creators {
            all.push(("ann", 100));
        }
        story.levels(&mut branch, "ann", &all);
        for (name, _) in levels.iter().filter(|(name, _)| *name != "ann") {
            story.member(&mut branch, &format!("{name} join"));
        }
        (story, branch)
    }

    /// Power levels with only these users in them.
    pub(crate) fn levels(
        &mut self,
        branch: &mut Branch,
        sender: &str,
        levels: &[(&str, i64)],
    ) -> EventNum {
        let users: Value = levels
            .iter()
            .map(|(name, level)| (user(name).to_string(), json!(level)))
            .collect();
        self.state(
            branch,
            sender,
            "m.room.power_levels",
            json!({ "users": users }),
        )
    }

    pub(crate) fn topic(&mut self, branch: &mut Branch, sender: &str, topic: &str) -> EventNum {
        self.state(branch, sender, "m.room.topic", json!({ "topic": topic }))
    }

    /// `"ann ban bob"`, or `"bob join"`.
    pub(crate) fn member(&mut self, branch: &mut Branch, action: &str) -> EventNum {
        let draft = member(action);
        self.send(branch, draft)
    }

    pub(crate) fn state(
        &mut self,
        branch: &mut Branch,
        sender: &str,
        kind: &str,
        content: Value,
    ) -> EventNum {
        self.send(branch, Draft::state(&user(sender), kind, "", content))
    }

    /// Sends an event that cites the state of the branch and goes into it.
    pub(crate) fn send(&mut self, branch: &mut Branch, draft: Draft) -> EventNum {
        self.time += 1;
        let time = self.time;
        self.send_at(branch, time, draft)
    }

    /// Sends an event that says that it is of another time.
    pub(crate) fn send_at(&mut self, branch: &mut Branch, time: i64, draft: Draft) -> EventNum {
        let before = branch.state.clone();
        let num = self.send_citing(branch, &before, time, draft);
        let event = &self.room.get(num).pdu;
        check(self.room.version(), event, &self.room.view(&before)).expect("the branch allows it");
        num
    }

    /// Sends an event that cites another state than that of the branch.
    pub(crate) fn send_citing(
        &mut self,
        branch: &mut Branch,
        cited: &State,
        time: i64,
        draft: Draft,
    ) -> EventNum {
        let version = self.room.version();
        let event_id = random_event_id(version, "example.org", &mut self.dice);
        let room_id = match self.room.events().next() {
            Some(create) => Some(create.pdu.room_id().to_owned()),
            None => room_id(version, &draft.sender),
        };
        let mut place = Place {
            prev_events: branch.end.iter().cloned().collect(),
            auth_events: Vec::new(),
            origin_server_ts: time,
            depth: branch.depth + 1,
        };
        // What to cite can be asked of an event only.
        let uncited = draft
            .clone()
            .into_pdu(version, room_id.as_ref(), event_id.clone(), &place);
        let auth_events: Vec<_> = auth_types_of(&uncited)
            .iter()
            .filter_map(|(kind, key)| self.room.at(cited, kind, key))
            .collect();
        place.auth_events = auth_events
            .iter()
            .map(|event| event.pdu.event_id().to_owned())
            .collect();
        let pdu = draft.into_pdu(version, room_id.as_ref(), event_id.clone(), &place);
        let cited: Vec<_> = auth_events.iter().map(|event| &*event.pdu).collect();
        check_auth_events(version, &pdu, &cited).expect("it cites what it should");
        let num = self.room.insert(pdu, false, &mut self.dice);
        branch
            .state
            .insert(self.room.get(num).state.as_ref().unwrap().key, num);
        branch.end = Some(event_id);
        branch.depth += 1;
        num
    }

    /// The event at a key of the merged states.
    pub(crate) fn resolved(
        &self,
        branches: &[&Branch],
        kind: &str,
        state_key: &str,
    ) -> Option<EventNum> {
        let states: Vec<State> = branches.iter().map(|branch| branch.state.clone()).collect();
        let state = ForkedRoom::resolved(&self.room, &states);
        self.room.at(&state, kind, state_key).map(|event| event.num)
    }

    /// The membership of a user in the merged states.
    pub(crate) fn membership(&self, branches: &[&Branch], name: &str) -> String {
        let member = self.resolved(branches, "m.room.member", user(name).as_str());
        let content = member.map_or(json!({}), |num| {
            serde_json::from_slice(self.room.get(num).pdu.content()).unwrap()
        });
        content["membership"].as_str().unwrap_or("none").to_owned()
    }
}

/// `"ann ban bob"`, or `"bob join"`.
pub(crate) fn member(action: &str) -> Draft {
    let words: Vec<&str> = action.split(' ').collect();
    let (sender, membership) = (user(words[0]), words[1]);
    let target = words
        .get(2)
        .map_or_else(|| sender.clone(), |name| user(name));
    Draft::member(&sender, membership, &target)
}
