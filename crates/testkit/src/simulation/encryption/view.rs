//! The rooms that a client is in, as its syncs tell.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Where the event has no other number of messages after which keys are replaced.
const USUAL_ROTATION: u64 = 100;

/// A room that the user is in.
#[derive(Debug, Clone, Default)]
pub(super) struct RoomView {
    /// Each user's membership.
    members: BTreeMap<String, String>,
    /// After how many messages keys are replaced, if the room is encrypted.
    pub(super) rotation: Option<u64>,
    /// Whether who has come is not shown what was before.
    hides_before_join: bool,
}

impl RoomView {
    /// Takes in what the state of the room is now.
    pub(super) fn apply(&mut self, events: Option<&Value>) {
        for event in events.and_then(Value::as_array).into_iter().flatten() {
            let text = |path: &str| event.pointer(path).and_then(Value::as_str);
            match (text("/type"), text("/state_key")) {
                (Some("m.room.member"), Some(user)) => {
                    let membership = text("/content/membership").unwrap_or("leave");
                    self.members.insert(user.to_owned(), membership.to_owned());
                }
                (Some("m.room.encryption"), Some("")) => {
                    let rotation = event.pointer("/content/rotation_period_msgs");
                    let rotation = rotation.and_then(Value::as_u64);
                    self.rotation = Some(rotation.unwrap_or(USUAL_ROTATION));
                }
                (Some("m.room.history_visibility"), Some("")) => {
                    let visibility = text("/content/history_visibility");
                    self.hides_before_join = visibility == Some("joined");
                }
                _ => {}
            }
        }
    }

    fn with(&self, membership: &str) -> impl Iterator<Item = &String> {
        let members = self.members.iter();
        let wanted = members.filter(move |(_, it)| *it == membership);
        wanted.map(|(user, _)| user)
    }

    pub(super) fn joined(&self) -> BTreeSet<String> {
        self.with("join").cloned().collect()
    }

    /// Who gets the keys of messages: who has joined, and who was invited if they will see what was before.
    pub(super) fn readers(&self) -> BTreeSet<String> {
        let invited = self.with("invite").filter(|_| !self.hides_before_join);
        self.with("join").chain(invited).cloned().collect()
    }
}
