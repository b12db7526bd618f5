//! `summary`: how many are in a room, and who may stand for it when it has no name.
//! <https://spec.matrix.org/v1.19/client-server-api/#calculating-the-display-name-for-a-room>

use starling_db::Tx;
use starling_events::Value;
use starling_store::memberships::Membership;
use starling_store::names::{EMPTY_KEY, types};
use starling_store::{EventNum, KeyNum};

use super::Scope;
use super::room::Part;
use crate::Error;
use crate::json::{self, Object};
use crate::state::StateAt;

/// So many heroes are named.
const HEROES: usize = 5;

/// What the state says of a room's members.
#[derive(Debug)]
pub(crate) struct Summary {
    joined: i64,
    invited: i64,
    /// `None` for a room that has a name or an alias: nobody looks for heroes then.
    pub(crate) heroes: Option<Vec<KeyNum>>,
}

impl Summary {
    pub(crate) fn read(
        scope: &Scope,
        tx: &mut Tx<'_>,
        part: &Part<'_>,
        at: &StateAt,
    ) -> Result<Self, Error> {
        let is_named = is_named(scope, tx, at)?;
        if is_named && part.snapshot.last_position <= scope.upto {
            // Who is in the room was counted already, and nobody is looked for.
            return Ok(Self {
                joined: part.snapshot.joined,
                invited: part.snapshot.invited,
                heroes: None,
            });
        }
        let (mut joined, mut invited) = (0, 0);
        // Those who are in the room or invited, and those who were.
        let (mut here, mut gone) = (First::default(), First::default());
        for entry in at.members() {
            let Some(membership) = Membership::from_code(entry.tag) else {
                continue;
            };
            joined += i64::from(membership == Membership::Join);
            invited += i64::from(membership == Membership::Invite);
            let list = match membership {
                Membership::Join | Membership::Invite => &mut here,
                Membership::Leave | Membership::Ban => &mut gone,
                Membership::Knock => continue,
            };
            if entry.key != part.own {
                list.add(entry.event, entry.key);
            }
        }
        let heroes = if here.0.is_empty() { gone } else { here };
        let heroes = (!is_named).then(|| heroes.0.into_iter().map(|(_, key)| key).collect());
        Ok(Self {
            joined,
            invited,
            heroes,
        })
    }

    /// Appends the object.
    pub(crate) fn write(
        &self,
        scope: &Scope,
        tx: &mut Tx<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let mut summary = Object::begin(out);
        if let Some(heroes) = &self.heroes {
            summary.key(out, "m.heroes");
            out.push(b'[');
            let start = out.len();
            for hero in heroes {
                json::separate(out, start);
                json::string(out, &scope.store.names().key_name(tx, *hero)?);
            }
            out.push(b']');
        }
        for (key, count) in [
            ("m.invited_member_count", self.invited),
            ("m.joined_member_count", self.joined),
        ] {
            summary.key(out, key);
            out.extend_from_slice(count.to_string().as_bytes());
        }
        out.push(b'}');
        Ok(())
    }
}

/// The first few members, by their member events.
#[derive(Default)]
struct First(Vec<(EventNum, KeyNum)>);

impl First {
    fn add(&mut self, event: EventNum, key: KeyNum) {
        let at = self.0.partition_point(|(other, _)| *other < event);
        if at < HEROES {
            self.0.insert(at, (event, key));
            self.0.truncate(HEROES);
        }
    }
}

/// Whether a client can name the room without heroes.
fn is_named(scope: &Scope, tx: &mut Tx<'_>, at: &StateAt) -> Result<bool, Error> {
    for (kind, field) in [(types::NAME, "name"), (types::CANONICAL_ALIAS, "alias")] {
        let Some(entry) = at.get((kind, EMPTY_KEY)) else {
            continue;
        };
        let Some(event) = scope.store.event_read(tx, entry.event)? else {
            continue;
        };
        let text = Value::new(event.pdu.content())
            .get(field)
            .and_then(Value::as_str);
        if text.is_some_and(|text| !text.is_empty()) {
            return Ok(true);
        }
    }
    Ok(false)
}
