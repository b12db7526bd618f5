//! Which members a client with lazy loading has been told of: so that it isn't told of them again.
//! <https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members>
//!
//! What is here is a hint that is forgotten whenever there is doubt: then members are told again, which is always right.
//! A member counts as known only to a request whose token is not older than the answer that told of them: so a client
//! that never got that answer, or went back to an older token, is told again.

use std::fmt;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use starling_store::{DeviceNum, EventNum, RoomNum};

/// So many members of a room are remembered for a device. Beyond that what is older is forgotten.
const MOST: usize = 4_096;

/// The members that devices were told of, by device and room.
#[derive(Clone)]
pub(crate) struct SentMembers(Arc<ByRoom>);

type ByRoom = Cache<(DeviceNum, RoomNum), Arc<Sent>, ByEntries>;

/// What one device was told of one room's members: their member events, which say whose they are.
#[derive(Debug, Default)]
struct Sent {
    /// With which filter: another one may have left out more.
    filter: i64,
    /// By answers of which it has said that it got them.
    before: Told,
    /// By the last answer.
    last: Told,
}

/// Member events that were told by answers up to a position.
#[derive(Debug, Default)]
struct Told {
    upto: i64,
    /// In the order of their numbers.
    events: Box<[EventNum]>,
}

impl Told {
    fn has(&self, event: EventNum, since: i64) -> bool {
        self.upto <= since && self.events.binary_search(&event).is_ok()
    }

    /// These, if who has a token of `since` got them.
    fn got(&self, since: i64) -> &[EventNum] {
        if self.upto <= since {
            &self.events
        } else {
            &[]
        }
    }
}

#[derive(Debug, Clone)]
struct ByEntries;

impl Weighter<(DeviceNum, RoomNum), Arc<Sent>> for ByEntries {
    fn weight(&self, _key: &(DeviceNum, RoomNum), sent: &Arc<Sent>) -> u64 {
        let events = sent.before.events.len() + sent.last.events.len();
        (events * size_of::<EventNum>()) as u64 + 200
    }
}

/// What a client with one token knows of one room.
#[derive(Debug, Default)]
pub(crate) struct Known {
    sent: Option<Arc<Sent>>,
    /// Nothing that was told after this.
    since: i64,
}

impl SentMembers {
    pub(crate) fn new(bytes: u64) -> Self {
        let estimate = usize::try_from(bytes / 400).unwrap_or(usize::MAX).max(16);
        Self(Arc::new(Cache::with_weighter(estimate, bytes, ByEntries)))
    }

    /// What the client knows that was told everything up to `since` through `filter`.
    pub(crate) fn known(
        &self,
        device: DeviceNum,
        room: RoomNum,
        (filter, since): (i64, i64),
    ) -> Known {
        let sent = self.0.get(&(device, room));
        Known {
            sent: sent.filter(|sent| sent.filter == filter),
            since,
        }
    }

    /// Notes what an answer that ends with `upto` tells besides what is `known`.
    pub(crate) fn note(
        &self,
        (device, room): (DeviceNum, RoomNum),
        known: &Known,
        told: &[EventNum],
        (filter, upto): (i64, i64),
    ) {
        let old = known.sent.as_deref();
        let all_got = |sent: &Sent| sent.last.upto <= known.since;
        if told.iter().all(|event| known.has(*event)) && old.is_some_and(all_got) {
            return;
        }
        let parts = old.map(|sent| [sent.before.got(known.since), sent.last.got(known.since)]);
        let mut got = parts.unwrap_or_default().concat();
        got.sort_unstable();
        got.dedup();
        let mut last = told.to_vec();
        last.sort_unstable();
        last.dedup();
        last.drain(..last.len().saturating_sub(MOST));
        got.drain(..got.len().saturating_sub(MOST - last.len()));
        let sent = Sent {
            filter,
            before: Told {
                upto: known.since,
                events: got.into(),
            },
            last: Told {
                upto,
                events: last.into(),
            },
        };
        self.0.insert((device, room), Arc::new(sent));
    }
}

impl Known {
    /// Whether the client has this member event.
    pub(crate) fn has(&self, event: EventNum) -> bool {
        let sent = self.sent.as_ref();
        sent.is_some_and(|it| it.before.has(event, self.since) || it.last.has(event, self.since))
    }
}

impl fmt::Debug for SentMembers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SentMembers").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{DeviceNum, EventNum, Known, MOST, RoomNum, SentMembers};

    const DEVICE: DeviceNum = DeviceNum(1);
    const ROOM: RoomNum = RoomNum(1);
    const FILTER: i64 = 7;

    fn note(sent: &SentMembers, since: i64, told: &[i64], upto: i64) {
        let known = sent.known(DEVICE, ROOM, (FILTER, since));
        let told: Vec<_> = told.iter().map(|event| EventNum(*event)).collect();
        sent.note((DEVICE, ROOM), &known, &told, (FILTER, upto));
    }

    fn has(sent: &SentMembers, since: i64, event: i64) -> bool {
        let known = sent.known(DEVICE, ROOM, (FILTER, since));
        known.has(EventNum(event))
    }

    #[test]
    fn a_member_is_known_to_who_got_the_answer_and_to_nobody_else() {
        let sent = SentMembers::new(1 << 20);
        note(&sent, 0, &[12, 11], 20);
        assert!(has(&sent, 20, 11) && has(&sent, 30, 12));
        assert!(!has(&sent, 19, 11), "the answer did not arrive");
        assert!(!has(&sent, 20, 13), "another event");
        let other = sent.known(DEVICE, ROOM, (FILTER + 1, 20));
        assert!(!other.has(EventNum(11)), "another filter");
        let other = sent.known(DeviceNum(2), ROOM, (FILTER, 20));
        assert!(!other.has(EventNum(11)), "another device");
    }

    #[test]
    fn what_a_lost_answer_told_is_forgotten_with_the_next() {
        let sent = SentMembers::new(1 << 20);
        note(&sent, 0, &[11], 20);
        note(&sent, 20, &[12], 30);
        assert!(has(&sent, 20, 11) && !has(&sent, 20, 12));
        // The answer up to 30 was lost; the next try tells of somebody else.
        note(&sent, 20, &[13], 40);
        assert!(has(&sent, 40, 11) && has(&sent, 40, 13));
        assert!(!has(&sent, 40, 12));
        // It went back further than anything that it had said it got.
        note(&sent, 10, &[14], 50);
        assert!(has(&sent, 50, 14) && !has(&sent, 50, 11));
        // As after an initial sync.
        sent.note((DEVICE, ROOM), &Known::default(), &[], (FILTER, 60));
        assert!(!has(&sent, 60, 14));
    }

    #[test]
    fn the_newest_members_are_kept_and_their_number_is_bounded() {
        let sent = SentMembers::new(1 << 20);
        note(&sent, 0, &[11, 14], 20);
        note(&sent, 20, &[15], 30);
        assert!([11, 14, 15].iter().all(|event| has(&sent, 30, *event)));
        let many: Vec<i64> = (16..).take(MOST - 1).collect();
        note(&sent, 30, &many, 40);
        assert!(has(&sent, 40, 16) && has(&sent, 40, 15) && !has(&sent, 40, 14));
    }

    #[test]
    fn who_is_told_nothing_new_costs_nothing() {
        let sent = SentMembers::new(1 << 20);
        note(&sent, 0, &[11], 20);
        note(&sent, 30, &[11], 40);
        assert!(has(&sent, 30, 11), "what was told at 40 is not waited for");
        let kept = sent.0.get(&(DEVICE, ROOM));
        assert_eq!(kept.map(|sent| sent.last.upto), Some(20));
    }
}
