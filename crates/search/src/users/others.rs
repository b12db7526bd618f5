//! Users of other servers, by what their member events show.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use ruma_common::OwnedUserId;
use starling_db::{Error, Tx};
use starling_store::events::Event;
use starling_store::member_words::{
    MemberShown, MemberWord, member_words_common, member_words_from, rooms_visible,
};
use starling_store::{KeyNum, Store, UserNum};

use super::{CHUNK, FoundUser, MAX_WORDS, Term};

/// So many words' member events are read at once.
const AT_ONCE: usize = 200;

/// Users of other servers, in no order: those who share a room with the asking user apart, so that they aren't lost among
/// the members of large open rooms.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// Those who do.
    pub(super) common: Vec<FoundUser>,
    /// The others.
    pub(super) strangers: Vec<FoundUser>,
    /// Whether there are more, or may be.
    pub(super) limited: bool,
}

/// Finds users of other servers: little more than `limit`.
pub(super) fn find(
    tx: &mut Tx<'_>,
    store: &Store,
    (asker, term): (UserNum, &Term),
    limit: usize,
) -> Result<Others, Error> {
    let beginning = term.longest();
    let mut finding = Finding {
        term,
        users: Vec::new(),
        known: HashSet::new(),
    };
    let most = i64::try_from(MAX_WORDS).unwrap_or(i64::MAX);
    let common = member_words_common(tx, asker, beginning, most)?;
    for words in common.chunks(AT_ONCE) {
        finding.take(tx, store, words)?;
        if finding.users.len() > limit {
            return Ok(Others {
                common: finding.users,
                limited: true,
                ..Others::default()
            });
        }
    }
    let common = finding.users.len();
    let (mut after, mut looked_at) = (MemberWord::first(beginning), 0);
    let limited = loop {
        let words = member_words_from(tx, &after, beginning, CHUNK)?;
        looked_at += words.len();
        let is_last = i64::try_from(words.len()).is_ok_and(|length| length < CHUNK);
        let visible = visible(tx, asker, &words)?;
        finding.take(tx, store, &visible)?;
        if finding.users.len() > limit {
            break true;
        }
        if is_last {
            break false;
        }
        if looked_at >= MAX_WORDS {
            break true;
        }
        match words.into_iter().next_back() {
            Some(last) => after = last,
            None => break false,
        }
    };
    let strangers = finding.users.split_off(common);
    Ok(Others {
        common: finding.users,
        strangers,
        limited,
    })
}

/// Who was found.
struct Finding<'a> {
    term: &'a Term,
    users: Vec<FoundUser>,
    known: HashSet<KeyNum>,
}

impl Finding<'_> {
    /// Takes in those who have these words, where what is shown of them fits.
    fn take(&mut self, tx: &mut Tx<'_>, store: &Store, words: &[MemberWord]) -> Result<(), Error> {
        let new = words.iter().filter(|word| !self.known.contains(&word.key));
        let mut events: Vec<_> = new.map(|word| word.event).collect();
        events.sort_unstable();
        events.dedup();
        for (key, user) in store.events_read(tx, &events)?.iter().filter_map(found) {
            if self.term.fits(&user) && self.known.insert(key) {
                self.users.push(user);
            }
        }
        Ok(())
    }
}

/// Those of some words that are of rooms whose members the asking user may see.
fn visible(
    tx: &mut Tx<'_>,
    asker: UserNum,
    words: &[MemberWord],
) -> Result<Vec<MemberWord>, Error> {
    let rooms: BTreeSet<i64> = words.iter().map(|word| word.room.0).collect();
    let rooms: Vec<i64> = rooms.into_iter().collect();
    if rooms.is_empty() {
        return Ok(Vec::new());
    }
    let rooms: HashSet<_> = rooms_visible(tx, asker, &rooms)?.into_iter().collect();
    let seen = words.iter().filter(|word| rooms.contains(&word.room));
    Ok(seen.cloned().collect())
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
