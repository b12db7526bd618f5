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
use starling_store::{DeviceNum, EventNum, KeyNum, RoomNum};

/// So many members of a room are remembered for a device. Beyond that what is older is forgotten.
const MOST: usize = 4_096;

/// The members that devices were told of, by device and room.
#[derive(Clone)]
pub(crate) struct SentMembers(Arc<ByRoom>);

type ByRoom = Cache<(DeviceNum, RoomNum), Arc<Sent>, ByEntries>;

/// What one device was told of one room's members.
#[derive(Debug, Default)]
struct Sent {
    /// With which filter: another one may have left out more.
    filter: i64,
    /// In the order of the state keys.
    members: Vec<Member>,
}

#[derive(Debug, Clone, Copy)]
struct Member {
    user: KeyNum,
    /// The member event.
    event: EventNum,
    /// The position that the answer ended with.
    upto: i64,
}

#[derive(Debug, Clone)]
struct ByEntries;

impl Weighter<(DeviceNum, RoomNum), Arc<Sent>> for ByEntries {
    fn weight(&self, _key: &(DeviceNum, RoomNum), sent: &Arc<Sent>) -> u64 {
        (sent.members.len() * size_of::<Member>()) as u64 + 150
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
        told: &[(KeyNum, EventNum)],
        (filter, upto): (i64, i64),
    ) {
        let old = known.sent.as_deref();
        let is_same = |(user, event): &(KeyNum, EventNum)| known.has(*user, *event);
        let all_known = |sent: &Sent| sent.members.iter().all(|member| member.upto <= known.since);
        if told.iter().all(is_same) && old.is_some_and(all_known) {
            return;
        }
        let valid = old.into_iter().flat_map(|sent| &sent.members);
        let mut members: Vec<Member> = valid
            .filter(|member| member.upto <= known.since)
            .copied()
            .collect();
        members.extend(told.iter().map(|(user, event)| Member {
            user: *user,
            event: *event,
            upto,
        }));
        if members.len() > MOST {
            members.drain(..members.len() - MOST);
        }
        // The sort is stable: of two notes of one member the newer one is the last.
        members.sort_by_key(|member| member.user);
        members.reverse();
        members.dedup_by_key(|member| member.user);
        members.reverse();
        self.0
            .insert((device, room), Arc::new(Sent { filter, members }));
    }
}

impl Known {
    /// Whether the client has this event as the member event of `user`.
    pub(crate) fn has(&self, user: KeyNum, event: EventNum) -> bool {
        let members = self.sent.as_ref().map_or(&[][..], |sent| &sent.members);
        let at = members.binary_search_by_key(&user, |member| member.user);
        at.ok()
            .and_then(|at| members.get(at))
            .is_some_and(|member| member.event == event && member.upto <= self.since)
    }
}

impl fmt::Debug for SentMembers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SentMembers").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{DeviceNum, EventNum, KeyNum, Known, MOST, RoomNum, SentMembers};

    const DEVICE: DeviceNum = DeviceNum(1);
    const ROOM: RoomNum = RoomNum(1);
    const FILTER: i64 = 7;

    fn note(sent: &SentMembers, since: i64, told: &[(i64, i64)], upto: i64) {
        let known = sent.known(DEVICE, ROOM, (FILTER, since));
        let told: Vec<_> = told
            .iter()
            .map(|(user, event)| (KeyNum(*user), EventNum(*event)))
            .collect();
        sent.note((DEVICE, ROOM), &known, &told, (FILTER, upto));
    }

    fn has(sent: &SentMembers, since: i64, user: i64, event: i64) -> bool {
        let known = sent.known(DEVICE, ROOM, (FILTER, since));
        known.has(KeyNum(user), EventNum(event))
    }

    #[test]
    fn a_member_is_known_to_who_got_the_answer_and_to_nobody_else() {
        let sent = SentMembers::new(1 << 20);
        note(&sent, 0, &[(1, 11), (2, 12)], 20);
        assert!(has(&sent, 20, 1, 11) && has(&sent, 30, 2, 12));
        assert!(!has(&sent, 19, 1, 11), "the answer did not arrive");
        assert!(!has(&sent, 20, 1, 13), "another event");
        assert!(!has(&sent, 20, 3, 11));
        let other = sent.known(DEVICE, ROOM, (FILTER + 1, 20));
        assert!(!other.has(KeyNum(1), EventNum(11)), "another filter");
        let other = sent.known(DeviceNum(2), ROOM, (FILTER, 20));
        assert!(!other.has(KeyNum(1), EventNum(11)), "another device");
    }

    #[test]
    fn what_a_lost_answer_told_is_forgotten_with_the_next() {
        let sent = SentMembers::new(1 << 20);
        note(&sent, 0, &[(1, 11)], 20);
        note(&sent, 20, &[(2, 12)], 30);
        // The answer up to 30 was lost; the next try tells of somebody else.
        note(&sent, 20, &[(3, 13)], 40);
        assert!(has(&sent, 40, 1, 11) && has(&sent, 40, 3, 13));
        assert!(!has(&sent, 40, 2, 12));
        // As after an initial sync.
        sent.note((DEVICE, ROOM), &Known::default(), &[], (FILTER, 50));
        assert!(!has(&sent, 50, 1, 11));
    }

    #[test]
    fn the_newest_event_of_a_member_counts_and_the_number_is_bounded() {
        let sent = SentMembers::new(1 << 20);
        note(&sent, 0, &[(1, 11), (1, 14)], 20);
        assert!(has(&sent, 20, 1, 14) && !has(&sent, 20, 1, 11));
        note(&sent, 20, &[(1, 15)], 30);
        assert!(has(&sent, 30, 1, 15) && !has(&sent, 30, 1, 14));
        let many: Vec<(i64, i64)> = (2..).map(|n| (n, n)).take(MOST).collect();
        note(&sent, 30, &many, 40);
        assert!(has(&sent, 40, 2, 2) && !has(&sent, 40, 1, 15));
    }
}
