//! What waits for which server, and who gets its turn. Nothing here waits or reads: `sender.rs` does.
//!
//! A server with nothing to get isn't here: it has all events up to [`Queues::upto`]. Of a server that doesn't answer, only
//! its place in the log is kept.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ruma_common::{OwnedServerName, ServerName};
use starling_store::outgoing::OutgoingPage;

use super::edus::{Edus, Told};
use super::queue::{Events, Missed, Queue, Turn};
use super::transaction::{Attempted, MOST_PDUS, Next, Outcome, Wanted};

/// So many transactions to servers that lag behind are under way.
const MOST_TO_BEHIND: usize = 250;

/// How long a server is left alone that doesn't take what it is sent, where nothing else says: in milliseconds, doubled
/// each time.
const FIRST_PAUSE_MS: i64 = 2_000;
const LONGEST_PAUSE_MS: i64 = 60 * 60 * 1000;

/// The servers that have something to get.
#[derive(Debug, Default)]
pub(super) struct Queues {
    /// All others have all events up to here.
    upto: i64,
    servers: BTreeMap<OwnedServerName, Queue>,
    ready: Ready,
    /// When servers get another turn, in milliseconds since 1970.
    retries: BTreeSet<(i64, OwnedServerName)>,
}

/// Whose turn it is.
#[derive(Debug, Default)]
struct Ready {
    usual: VecDeque<OwnedServerName>,
    /// Those that lag behind, and may be down.
    behind: VecDeque<OwnedServerName>,
    /// How many of them are being sent something.
    sending: usize,
}

impl Queues {
    /// Servers lag behind, each from where it is, and get another turn at a time of `turn_ms`; all others have all up to
    /// `upto`.
    pub(super) fn start(
        &mut self,
        (upto, behind): (i64, BTreeMap<OwnedServerName, i64>),
        mut turn_ms: impl FnMut() -> i64,
    ) {
        self.upto = upto;
        for (server, after) in behind {
            let until_ms = turn_ms();
            let missed = Missed {
                after,
                receipts_after: after,
                newest: after,
            };
            let queue = Queue {
                events: Events::Missed(missed),
                turn: Turn::Waiting { until_ms },
                ..Queue::new()
            };
            self.retries.insert((until_ms, server.clone()));
            self.servers.insert(server, queue);
        }
    }

    /// For these servers messages to devices wait; those that have no turn yet get one at a time of `turn_ms`.
    pub(super) fn start_to_device(
        &mut self,
        servers: BTreeSet<OwnedServerName>,
        mut turn_ms: impl FnMut() -> i64,
    ) {
        for server in servers {
            let queue = self.servers.entry(server.clone());
            let queue = queue.or_insert_with(Queue::new);
            queue.to_device = true;
            if queue.turn == Turn::Idle {
                let until_ms = turn_ms();
                queue.turn = Turn::Waiting { until_ms };
                self.retries.insert((until_ms, server));
            }
        }
    }

    /// Messages to devices of a server wait in the database.
    pub(super) fn has_to_device(&mut self, server: OwnedServerName) {
        let queue = self.servers.entry(server.clone());
        let queue = queue.or_insert_with(Queue::new);
        queue.to_device = true;
        self.ready.add(server, queue);
    }

    /// Up to where the log was read.
    pub(super) fn upto(&self) -> i64 {
        self.upto
    }

    /// Adds the next events of the log.
    pub(super) fn add(&mut self, page: OutgoingPage) {
        for (server, positions) in page.events {
            let queue = self.servers.entry(server.clone());
            let queue = queue.or_insert_with(Queue::new);
            queue.add(positions, self.upto);
            self.ready.add(server, queue);
        }
        self.upto = self.upto.max(page.upto);
    }

    /// Tells a server something that is no event. To one that doesn't answer nothing is told.
    pub(super) fn tell(&mut self, server: &ServerName, tell: impl FnOnce(&mut Edus)) {
        let queue = self.servers.entry(server.to_owned());
        let queue = queue.or_insert_with(Queue::new);
        if matches!(queue.turn, Turn::Waiting { .. }) {
            return;
        }
        tell(&mut queue.edus);
        self.ready.add(server.to_owned(), queue);
    }

    /// Who is next, and what it gets.
    pub(super) fn next(&mut self, now_ms: i64) -> Option<Next> {
        while let Some((server, is_behind)) = self.ready.next() {
            let Some(queue) = self.servers.get_mut(&server) else {
                continue;
            };
            let (wanted, told) = match (queue.unanswered.take(), &queue.events) {
                (Some(transaction), _) => (Wanted::Again(transaction), Told::default()),
                (None, Events::Known(known)) => {
                    let positions = known.iter().take(MOST_PDUS).copied().collect();
                    (Wanted::These(positions), queue.edus.take(now_ms))
                }
                (None, Events::Missed(missed)) => {
                    let wanted = Wanted::Missed {
                        after: missed.after,
                        receipts_after: missed.receipts_after,
                    };
                    (wanted, queue.edus.take(now_ms))
                }
            };
            let is_new = !matches!(wanted, Wanted::Again(_));
            let to_device = is_new && std::mem::take(&mut queue.to_device);
            queue.turn = Turn::Sending {
                newest: queue.newest(),
                first_receipt: told.first_receipt,
                is_behind,
            };
            self.ready.sending += usize::from(is_behind);
            return Some(Next {
                server,
                wanted,
                told,
                to_device,
            });
        }
        None
    }

    /// An attempt has ended. If it failed, and the server is known to be left alone, `retry_at_ms` says until when.
    pub(super) fn ended(&mut self, attempted: Attempted, now_ms: i64, retry_at_ms: Option<i64>) {
        let Attempted {
            server,
            upto,
            is_all,
            to_device,
            outcome,
        } = attempted;
        let Entry::Occupied(mut entry) = self.servers.entry(server.clone()) else {
            return;
        };
        let queue = entry.get_mut();
        let Turn::Sending {
            newest,
            first_receipt,
            is_behind,
        } = queue.turn
        else {
            return;
        };
        self.ready.sending -= usize::from(is_behind);
        queue.turn = Turn::Idle;
        queue.to_device |= to_device;
        match outcome {
            Outcome::Sent => {
                queue.has_got(upto, is_all, newest);
                if queue.is_empty() {
                    entry.remove();
                } else {
                    self.ready.add(server, queue);
                }
            }
            Outcome::Failed(transaction) => {
                let receipts = [first_receipt, queue.edus.first_receipt()];
                let first_receipt = receipts.into_iter().flatten().min();
                queue.edus = Edus::default();
                if queue.is_empty() && first_receipt.is_none() {
                    // Who types, and who is there, is another by the time that the server is up again.
                    entry.remove();
                    return;
                }
                queue.fall_behind(self.upto, first_receipt);
                queue.unanswered = transaction.filter(|_| queue.failures == 0);
                let until_ms = retry_at_ms.unwrap_or_else(|| now_ms + pause_ms(queue.failures));
                queue.failures = queue.failures.saturating_add(1);
                queue.turn = Turn::Waiting { until_ms };
                self.retries.insert((until_ms, server));
            }
        }
    }

    /// When somebody gets another turn, in milliseconds since 1970.
    pub(super) fn next_retry_ms(&self) -> Option<i64> {
        self.retries.first().map(|(until_ms, _)| *until_ms)
    }

    /// Those whose time has come get another turn.
    pub(super) fn pass(&mut self, now_ms: i64) {
        while let Some((until_ms, server)) = self.retries.pop_first() {
            if until_ms > now_ms {
                self.retries.insert((until_ms, server));
                return;
            }
            self.wake(&server);
        }
    }

    /// The server has spoken: it gets another turn at once.
    pub(super) fn wake(&mut self, server: &ServerName) {
        let Some(queue) = self.servers.get_mut(server) else {
            return;
        };
        if let Turn::Waiting { until_ms } = queue.turn {
            self.retries.remove(&(until_ms, server.to_owned()));
            queue.turn = Turn::Idle;
            self.ready.add(server.to_owned(), queue);
        }
    }

    /// Those that lag behind, and up to where each has all events.
    pub(super) fn behind(&self) -> BTreeMap<&ServerName, i64> {
        let behind = self.servers.iter().filter_map(|(server, queue)| {
            let Events::Missed(missed) = &queue.events else {
                return None;
            };
            Some((&**server, missed.after))
        });
        behind.collect()
    }

    /// How many servers have something to get, how many of these lag behind, and how many wait for their next turn.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        (self.servers.len(), self.behind().len(), self.retries.len())
    }

    /// Up to where all have all events that don't lag behind.
    pub(super) fn common(&self) -> i64 {
        let first = |queue: &Queue| match &queue.events {
            Events::Known(known) => known.first().copied(),
            Events::Missed(_) => None,
        };
        let first = self.servers.values().filter_map(first).min();
        first.map_or(self.upto, |first| self.upto.min(first - 1))
    }
}

impl Ready {
    /// The server gets its turn, unless it has one, or must wait.
    fn add(&mut self, server: OwnedServerName, queue: &mut Queue) {
        if queue.turn != Turn::Idle {
            return;
        }
        queue.turn = Turn::Ready;
        match queue.events {
            Events::Known(_) => self.usual.push_back(server),
            Events::Missed(_) => self.behind.push_back(server),
        }
    }

    /// Who is next, and whether it lags behind.
    fn next(&mut self) -> Option<(OwnedServerName, bool)> {
        if let Some(server) = self.usual.pop_front() {
            return Some((server, false));
        }
        if self.sending >= MOST_TO_BEHIND {
            return None;
        }
        Some((self.behind.pop_front()?, true))
    }
}

fn pause_ms(failures: u32) -> i64 {
    let doubled = 1_i64.checked_shl(failures.min(20)).unwrap_or(i64::MAX);
    FIRST_PAUSE_MS.saturating_mul(doubled).min(LONGEST_PAUSE_MS)
}

#[cfg(test)]
mod tests {
    use starling_bus::{Presence, PresenceState};

    use super::*;
    use crate::sender::queue::MOST_KNOWN;

    fn page(upto: i64, servers: &[OwnedServerName]) -> OutgoingPage {
        let events = servers.iter().map(|server| (server.clone(), [upto].into()));
        OutgoingPage {
            events: events.collect(),
            upto,
            has_more: false,
        }
    }

    fn fail(queues: &mut Queues, server: &OwnedServerName, now_ms: i64) {
        let failed = Attempted {
            server: server.clone(),
            upto: None,
            is_all: false,
            to_device: false,
            outcome: Outcome::Failed(None),
        };
        queues.ended(failed, now_ms, Some(now_ms + 1_000));
    }

    #[test]
    fn of_a_server_that_is_down_its_place_is_kept_and_nothing_else() {
        let server = |number| OwnedServerName::try_from(format!("s{number}.example")).unwrap();
        let servers: Vec<OwnedServerName> = (0..1_000).map(server).collect();
        let mut queues = Queues::default();
        queues.add(page(5, &servers));
        while queues.next(0).is_some() {}
        for server in &servers {
            fail(&mut queues, server, 0);
        }
        let presence = Presence {
            user_id: "@alice:localhost".into(),
            state: PresenceState::Online,
            currently_active: true,
            last_active_ms: None,
            status: None,
        };
        for position in 6..100 {
            queues.add(page(position, &servers));
            for server in &servers {
                queues.tell(server, |edus| edus.add_presence(&presence.clone().into()));
            }
        }
        assert!(queues.next(0).is_none(), "they wait");
        assert_eq!(queues.counts(), (1_000, 1_000, 1_000));
        for queue in queues.servers.values() {
            assert!(queue.edus.is_empty() && queue.unanswered.is_none());
            let Events::Missed(missed) = &queue.events else {
                panic!("it has missed something: {queue:?}");
            };
            assert_eq!((missed.after, missed.newest), (4, 99));
        }
        assert_eq!(queues.common(), 99, "nobody waits for them");
        assert_eq!(queues.behind().len(), 1_000);
        assert!(size_of::<Queue>() <= 256, "{}", size_of::<Queue>());
    }

    #[test]
    fn however_many_servers_may_be_down_others_get_their_turn() {
        let server = |number| OwnedServerName::try_from(format!("s{number}.example")).unwrap();
        let behind = (0..1_000).map(|number| (server(number), 5)).collect();
        let mut queues = Queues::default();
        queues.start((9, behind), || 0);
        queues.pass(0);
        let tried = std::iter::from_fn(|| queues.next(0)).count();
        assert_eq!(tried, MOST_TO_BEHIND);
        let well = OwnedServerName::try_from("well.example").unwrap();
        queues.add(page(10, std::slice::from_ref(&well)));
        assert_eq!(queues.next(0).map(|next| next.server), Some(well));
        fail(&mut queues, &server(0), 0);
        let next = queues.next(0).map(|next| next.server);
        assert!(
            next.is_some_and(|next| next != server(0)),
            "the next of them"
        );
        assert!(queues.next(0).is_none());
    }

    #[test]
    fn who_has_got_all_is_not_remembered() {
        let server = OwnedServerName::try_from("one.example").unwrap();
        let mut queues = Queues::default();
        queues.add(page(5, std::slice::from_ref(&server)));
        assert_eq!(queues.common(), 4);
        assert!(queues.next(0).is_some());
        fail(&mut queues, &server, 0);
        queues.pass(999);
        assert!(queues.next(999).is_none(), "it is left alone");
        queues.pass(1_000);
        let wanted = queues.next(1_000).unwrap().wanted;
        let missed = (4, 5);
        assert!(
            matches!(wanted, Wanted::Missed { after, receipts_after } if (after, receipts_after) == missed),
            "{wanted:?}"
        );
        // Something comes while it catches up.
        queues.add(page(7, std::slice::from_ref(&server)));
        let got = |upto| Attempted {
            server: server.clone(),
            upto,
            is_all: true,
            to_device: false,
            outcome: Outcome::Sent,
        };
        queues.ended(got(Some(5)), 1_000, None);
        assert!(queues.next(1_000).is_some(), "once more");
        queues.ended(got(Some(7)), 1_000, None);
        assert!(queues.servers.is_empty() && queues.next(1_000).is_none());
        assert_eq!(queues.common(), 7);
    }

    #[test]
    fn a_server_that_lags_far_behind_is_read_for() {
        let server = OwnedServerName::try_from("one.example").unwrap();
        let mut queues = Queues::default();
        let many = i64::try_from(MOST_KNOWN).unwrap() + 1;
        let page = OutgoingPage {
            events: [(server.clone(), (1..=many).collect())].into(),
            upto: many,
            has_more: false,
        };
        queues.add(page);
        assert_eq!(queues.behind(), [(&*server, 0)].into());
    }
}
