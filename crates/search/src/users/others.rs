//! Users of other servers, by what their member events show.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use ruma_common::OwnedUserId;
use starling_db::{Error, Tx};
use starling_store::events::Event;
use starling_store::member_words::{MemberShown, MemberWord, member_words_from, rooms_visible};
use starling_store::{KeyNum, Store, UserNum};

use super::{CHUNK, FoundUser, MAX_WORDS, Term, UserResults};

/// Users of other servers, in no order: a few more than `limit` at most, or as many as are found.
pub(super) fn find(
    tx: &mut Tx<'_>,
    store: &Store,
    (asker, term): (UserNum, &Term),
    limit: usize,
) -> Result<UserResults, Error> {
    let beginning = term.longest();
    let (mut users, mut known, mut looked_at) = (Vec::new(), HashSet::new(), 0);
    let mut after = MemberWord::first(beginning);
    let limited = loop {
        let words = member_words_from(tx, &after, beginning, CHUNK)?;
        looked_at += words.len();
        let is_last = i64::try_from(words.len()).is_ok_and(|length| length < CHUNK);
        let last = words.last().cloned();
        for (key, user) in visible(tx, store, asker, (words, &known))? {
            if term.fits(&user) && known.insert(key) {
                users.push(user);
            }
        }
        if users.len() > limit {
            break true;
        }
        if is_last {
            break false;
        }
        if looked_at >= MAX_WORDS {
            break true;
        }
        match last {
            Some(last) => after = last,
            None => break false,
        }
    };
    Ok(UserResults { users, limited })
}

/// What is shown of those who have some words and aren't known yet, in rooms whose members the asking user may see.
fn visible(
    tx: &mut Tx<'_>,
    store: &Store,
    asker: UserNum,
    (words, known): (Vec<MemberWord>, &HashSet<KeyNum>),
) -> Result<Vec<(KeyNum, FoundUser)>, Error> {
    let new = words.into_iter().filter(|word| !known.contains(&word.key));
    let new: Vec<MemberWord> = new.collect();
    let rooms: BTreeSet<i64> = new.iter().map(|word| word.room.0).collect();
    let rooms: Vec<i64> = rooms.into_iter().collect();
    if rooms.is_empty() {
        return Ok(Vec::new());
    }
    let rooms: HashSet<_> = rooms_visible(tx, asker, &rooms)?.into_iter().collect();
    let seen = new.iter().filter(|word| rooms.contains(&word.room));
    let mut events: Vec<_> = seen.map(|word| word.event).collect();
    events.sort_unstable();
    events.dedup();
    let events = store.events_read(tx, &events)?;
    Ok(events.iter().filter_map(found).collect())
}

fn found(event: &Arc<Event>) -> Option<(KeyNum, FoundUser)> {
    let user_id = OwnedUserId::try_from(event.pdu.state_key()?).ok()?;
    let shown = MemberShown::of(&event.pdu);
    let user = FoundUser {
        user_id,
        display_name: shown.display_name,
        avatar_url: shown.avatar_url,
    };
    Some((event.key?, user))
}
