//! `summary`: how many are in a room, and who may stand for it when it has no name.
//! <https://spec.matrix.org/v1.19/client-server-api/#calculating-the-display-name-for-a-room>

use std::collections::HashMap;

use starling_db::Tx;
use starling_events::Value;
use starling_store::append::membership_of;
use starling_store::names::{EMPTY_KEY, types};
use starling_store::timeline::StateDelta;
use starling_store::{EventNum, KeyNum};

use super::Scope;
use super::room::Part;
use crate::Error;
use crate::json::{self, Object};
use crate::state::StateAt;

/// So many member events are read at once to see whether a membership has changed.
const MEMBERS_STEP: usize = 100;

/// What the state says of a room's members: all of it, or what may have changed.
#[derive(Debug)]
pub(crate) struct Summary {
    /// Joined and invited.
    counts: Option<(i64, i64)>,
    /// `None` for a room that has a name or an alias: nobody looks for heroes then.
    heroes: Option<Vec<KeyNum>>,
}

impl Summary {
    /// All of it.
    pub(crate) fn whole(
        scope: &Scope,
        tx: &mut Tx<'_>,
        part: &Part<'_>,
        at: &StateAt,
    ) -> Result<Self, Error> {
        let is_named = is_named(scope, tx, at)?;
        Ok(Self {
            counts: Some(at.counts(part.snapshot)),
            heroes: (!is_named).then(|| at.heroes(part.snapshot, part.own)),
        })
    }

    /// What of it the changes of the state may have changed, if anything.
    pub(crate) fn changed(
        scope: &Scope,
        tx: &mut Tx<'_>,
        part: &Part<'_>,
        (at, deltas): (&StateAt, &[StateDelta]),
    ) -> Result<Option<Self>, Error> {
        let is_about = |kinds: &[_]| deltas.iter().any(|delta| kinds.contains(&delta.kind));
        let members = is_about(&[types::MEMBER]);
        if !members && !is_about(&[types::NAME, types::CANONICAL_ALIAS]) {
            return Ok(None);
        }
        let counts = if members && has_membership_changed(scope, tx, at, deltas)? {
            Some(at.counts(part.snapshot))
        } else {
            None
        };
        let is_named = is_named(scope, tx, at)?;
        let heroes = (!is_named).then(|| at.heroes(part.snapshot, part.own));
        let summary = Self { counts, heroes };
        Ok((summary.counts.is_some() || summary.heroes.is_some()).then_some(summary))
    }

    /// Those who stand for the room.
    pub(crate) fn heroes(&self) -> &[KeyNum] {
        self.heroes.as_deref().unwrap_or_default()
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
            let names = scope.store.names().key_names(tx, heroes.iter().copied())?;
            summary.key(out, "m.heroes");
            out.push(b'[');
            let start = out.len();
            for name in heroes.iter().filter_map(|hero| names.get(hero)) {
                json::separate(out, start);
                json::string(out, name);
            }
            out.push(b']');
        }
        if let Some((joined, invited)) = self.counts {
            for (key, count) in [
                ("m.invited_member_count", invited),
                ("m.joined_member_count", joined),
            ] {
                summary.key(out, key);
                out.extend_from_slice(count.to_string().as_bytes());
            }
        }
        out.push(b'}');
        Ok(())
    }
}

/// Whether a membership is another than before `deltas`: member events also come with changed names.
fn has_membership_changed(
    scope: &Scope,
    tx: &mut Tx<'_>,
    at: &StateAt,
    deltas: &[StateDelta],
) -> Result<bool, Error> {
    let mut first: HashMap<KeyNum, Option<EventNum>> = HashMap::new();
    for delta in deltas.iter().filter(|delta| delta.kind == types::MEMBER) {
        first.entry(delta.key).or_insert(delta.old);
    }
    if first.values().any(Option::is_none) {
        return Ok(true);
    }
    let old: Vec<EventNum> = first.into_values().flatten().collect();
    for step in old.chunks(MEMBERS_STEP) {
        for event in scope.store.events_read(tx, step)? {
            let before = membership_of(&event.pdu);
            let now = event.key.and_then(|user| at.membership(user));
            if before != now {
                return Ok(true);
            }
        }
    }
    Ok(false)
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
