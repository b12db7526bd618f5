//! Who is in a room: a few users of a few servers.

use ruma_common::OwnedUserId;
use starling_events::{CanonicalObject, SigningKey, sign};

use super::Dice;

const SERVERS: [&str; 4] = [
    "alpha.example",
    "beta.example",
    "gamma.example",
    "mallory.example",
];
const NAMES: [&str; 6] = ["ann", "bob", "cleo", "dora", "eve", "fay"];

/// The users who act in a room, the creator first.
#[derive(Debug)]
pub struct Population {
    users: Vec<OwnedUserId>,
    identity_server: SigningKey,
}

impl Population {
    /// Three to six users.
    #[must_use]
    pub fn random(dice: &mut Dice) -> Self {
        let count = 3 + dice.below(4);
        let names = NAMES.iter().take(count);
        Self {
            users: names.map(|name| user(name, dice.of(SERVERS))).collect(),
            identity_server: SigningKey::generate([9; 32], "0").expect("a key"),
        }
    }

    /// All users.
    #[must_use]
    pub fn users(&self) -> &[OwnedUserId] {
        &self.users
    }

    /// Who creates the room.
    #[must_use]
    pub fn creator(&self) -> &OwnedUserId {
        self.users.first().expect("there are users")
    }

    /// Any user; the creator more often than others.
    pub fn anyone(&self, dice: &mut Dice) -> OwnedUserId {
        if dice.percent(25) {
            return self.creator().clone();
        }
        dice.pick(&self.users).expect("there are users").clone()
    }

    /// The public key with which invitations by way of a third party are signed, in base64.
    #[must_use]
    pub fn identity_key(&self) -> String {
        self.identity_server.verifying_key().to_base64()
    }

    /// `signed` of an invitation by way of a third party: canonical JSON.
    #[must_use]
    pub fn signed_invite(&self, user: &str, token: &str) -> String {
        let unsigned = serde_json::json!({ "mxid": user, "token": token });
        let mut object = CanonicalObject::from_serialize(&unsigned).expect("an object");
        sign::sign_json(&mut object, "identity.example", &self.identity_server);
        String::from_utf8(object.as_bytes().to_vec()).expect("JSON is text")
    }
}

fn user(name: &str, server: &str) -> OwnedUserId {
    format!("@{name}:{server}").try_into().expect("a user id")
}
