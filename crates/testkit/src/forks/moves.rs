//! What users do who keep to the rules. Each move is drawn without much thought: whoever makes the event checks first
//! whether the room allows it.

use ruma_common::OwnedUserId;
use serde_json::{Value, json};
use starling_events::RoomVersion;
use starling_stateres::{AuthState, JoinRule, Membership};

use super::levels;
use super::{Dice, Draft, Population, View};

/// Whose move it is, and in what room.
#[derive(Debug)]
pub(super) struct Mover<'a> {
    pub(super) view: View<'a>,
    pub(super) people: &'a Population,
}

/// Any move.
pub(super) fn any(mover: &Mover<'_>, dice: &mut Dice) -> Option<Draft> {
    match dice.below(100) {
        0..20 => mover.join(dice),
        20..24 => Some(mover.leave(dice)),
        24..32 => mover.member("invite", dice),
        32..38 => mover.member("leave", dice),
        38..48 => mover.member("ban", dice),
        48..52 => Some(mover.knock(dice)),
        52..70 => Some(levels::change(mover, dice)),
        70..77 => Some(mover.join_rules(dice)),
        77..88 => Some(mover.topic(dice)),
        88..90 => Some(mover.aliases(dice)),
        90..96 => Some(mover.other_state(dice)),
        96..98 => Some(mover.third_party(dice)),
        _ => Some(mover.message(dice)),
    }
}

impl Mover<'_> {
    pub(super) fn version(&self) -> RoomVersion {
        self.view.room.version()
    }

    /// A user who is in the room, most often.
    pub(super) fn member_of_room(&self, dice: &mut Dice) -> OwnedUserId {
        for _ in 0..4 {
            let user = self.people.anyone(dice);
            if self.membership(&user) == Membership::Join {
                return user;
            }
        }
        self.people.anyone(dice)
    }

    fn membership(&self, user: &OwnedUserId) -> Membership {
        self.view.membership(user).unwrap_or(Membership::Leave)
    }

    fn outsider(&self, dice: &mut Dice) -> Option<OwnedUserId> {
        let users = self.people.users().iter();
        let outside: Vec<&OwnedUserId> = users
            .filter(|user| self.membership(user) != Membership::Join)
            .collect();
        dice.pick(&outside).copied().cloned()
    }

    fn join(&self, dice: &mut Dice) -> Option<Draft> {
        // Now and then who is in already joins again, as to change a name.
        let user = if dice.percent(15) {
            self.member_of_room(dice)
        } else {
            self.outsider(dice)?
        };
        let mut draft = Draft::member(&user, "join", &user);
        let rule = JoinRule::of_event(self.view.get("m.room.join_rules", ""));
        if matches!(rule, JoinRule::Restricted | JoinRule::KnockRestricted) {
            let authoriser = self.member_of_room(dice);
            if let Value::Object(content) = &mut draft.content {
                let key = "join_authorised_via_users_server".to_owned();
                content.insert(key, json!(authoriser));
            }
            draft.authorised_by = Some(authoriser);
        }
        Some(draft)
    }

    fn leave(&self, dice: &mut Dice) -> Draft {
        let user = self.member_of_room(dice);
        Draft::member(&user, "leave", &user)
    }

    fn knock(&self, dice: &mut Dice) -> Draft {
        let user = self.people.anyone(dice);
        Draft::member(&user, "knock", &user)
    }

    /// An invitation, a kick, the end of a ban, or a ban.
    fn member(&self, membership: &str, dice: &mut Dice) -> Option<Draft> {
        let sender = self.member_of_room(dice);
        let target = if membership == "invite" {
            self.outsider(dice)?
        } else {
            self.people.anyone(dice)
        };
        (sender != target).then(|| Draft::member(&sender, membership, &target))
    }

    fn join_rules(&self, dice: &mut Dice) -> Draft {
        let sender = self.member_of_room(dice);
        let content = match dice.below(30) {
            0 => json!({}),
            1 => json!({ "join_rule": 5 }),
            _ => json!({ "join_rule": join_rule(self.version(), dice) }),
        };
        // The text calls those of any state key power events.
        let state_key = if dice.one_in(20) { "odd" } else { "" };
        Draft::state(&sender, "m.room.join_rules", state_key, content)
    }

    fn topic(&self, dice: &mut Dice) -> Draft {
        let sender = self.member_of_room(dice);
        let kind = dice.of(["m.room.topic", "m.room.topic", "m.room.name"]);
        let content = match dice.below(20) {
            0 => json!({}),
            1 => json!({ "topic": ["not", "a", "text"], "name": 5 }),
            text => json!({ "topic": text.to_string(), "name": text.to_string() }),
        };
        Draft::state(&sender, kind, "", content)
    }

    fn aliases(&self, dice: &mut Dice) -> Draft {
        // Without a rule of its own it must not be in the room.
        let sender = self.people.anyone(dice);
        let server = sender.server_name().to_string();
        let content = json!({ "aliases": [format!("#{}:{server}", dice.below(9))] });
        Draft::state(&sender, "m.room.aliases", &server, content)
    }

    fn other_state(&self, dice: &mut Dice) -> Draft {
        let sender = self.member_of_room(dice);
        let state_key = match dice.below(4) {
            0 => sender.to_string(),
            1 => "key".to_owned(),
            _ => String::new(),
        };
        let kind = dice.of([
            "org.example.state",
            "m.room.history_visibility",
            "m.room.server_acl",
            "m.room.redaction",
        ]);
        let mut draft = Draft::state(&sender, kind, &state_key, json!({ "n": dice.below(9) }));
        if kind == "m.room.redaction" {
            draft.redacts = self.some_event_id(dice);
        }
        draft
    }

    /// The invitation of somebody whose user id is not known, or that of the user by it.
    fn third_party(&self, dice: &mut Dice) -> Draft {
        let sender = self.member_of_room(dice);
        let token = "token";
        if self.view.get("m.room.third_party_invite", token).is_none() {
            let content = json!({ "display_name": "a…", "public_key": self.people.identity_key() });
            return Draft::state(&sender, "m.room.third_party_invite", token, content);
        }
        let target = self.people.anyone(dice);
        let signed = self.people.signed_invite(target.as_str(), token);
        let signed: Value = serde_json::from_str(&signed).expect("JSON");
        let invite = json!({ "display_name": "a…", "signed": signed });
        let content = json!({ "membership": "invite", "third_party_invite": invite });
        Draft::state(&sender, "m.room.member", target.as_str(), content)
    }

    fn message(&self, dice: &mut Dice) -> Draft {
        let sender = self.member_of_room(dice);
        let is_redaction = dice.percent(30);
        Draft {
            kind: if is_redaction {
                "m.room.redaction"
            } else {
                "m.room.message"
            }
            .to_owned(),
            state_key: None,
            redacts: is_redaction.then(|| self.some_event_id(dice)).flatten(),
            ..Draft::state(&sender, "", "", json!({ "body": "hello" }))
        }
    }

    fn some_event_id(&self, dice: &mut Dice) -> Option<ruma_common::OwnedEventId> {
        let events: Vec<_> = self.view.room.events().collect();
        let event = dice.pick(&events)?;
        Some(event.pdu.event_id().to_owned())
    }
}

/// A join rule; now and then one that the version doesn't have.
pub(super) fn join_rule(version: RoomVersion, dice: &mut Dice) -> &'static str {
    let rules = version.rules();
    match dice.below(20) {
        0..8 => "public",
        13 => "private",
        14 => "nonsense",
        15 if rules.knocking => "knock",
        16 if rules.knock_restricted => "knock_restricted",
        17..19 if rules.restricted => "restricted",
        19 => dice.of(["knock", "restricted", "knock_restricted"]),
        _ => "invite",
    }
}
