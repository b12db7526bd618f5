//! Which servers are better left alone for a while. A server that is down is asked less and less often, whoever wants
//! something of it; one that speaks to us is up again.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use ruma_common::{OwnedServerName, ServerName};
use starling_runtime::{Chance, Clock};
use tokio::sync::Notify;

/// So many servers that fail are remembered.
const SERVERS: usize = 1 << 16;
/// A server that has failed for this long, in milliseconds (a week), may be left alone for a day.
const LONG_DEAD_MS: i64 = 7 * 24 * 60 * 60 * 1000;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// A server that nobody has asked for so many milliseconds (two days) is forgotten: who wants to send it something tries once a
/// day at least.
const FORGOTTEN_MS: i64 = 2 * 24 * 60 * 60 * 1000;
/// A server that is left alone is asked what users wait for, but not twice within so many milliseconds.
const EAGER_PAUSE_MS: i64 = 5_000;

/// The log names so many servers a minute that can't be reached, and counts the others: a user may ask for any names.
const MOST_NAMED: u32 = 10;
const MINUTE_MS: i64 = 60_000;

/// How long a server is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure, in milliseconds; doubled at each further one.
    pub initial_ms: u64,
    /// At most, in milliseconds; a day if that is longer and the server has been down for a week.
    pub max_ms: u64,
}

/// Knows which servers failed lately.
#[derive(Debug)]
pub struct Health {
    failing: Cache<OwnedServerName, Arc<Mutex<Failing>>>,
    /// Those that have been failing and are up again.
    recovered: Mutex<BTreeSet<OwnedServerName>>,
    has_recovered: Notify,
    naming: Mutex<Naming>,
    backoff: Backoff,
    clock: Clock,
    chance: Chance,
}

/// Which servers are named that can't be reached.
#[derive(Debug, Default)]
struct Naming {
    /// When the minute began, in milliseconds since 1970.
    since_ms: i64,
    named: u32,
    unnamed: u64,
}

/// Whether one is named.
#[derive(Debug, PartialEq, Eq)]
enum NameIt {
    Yes,
    /// It is not, and neither are those that follow.
    NoLonger,
    No,
}

impl Naming {
    /// Whether the next one is named, and how many were not in the minute that has ended, if one has.
    fn next(&mut self, now_ms: i64) -> (NameIt, u64) {
        let mut before = 0;
        if now_ms - self.since_ms >= MINUTE_MS {
            before = self.unnamed;
            *self = Self {
                since_ms: now_ms,
                ..Self::default()
            };
        }
        if self.named < MOST_NAMED {
            self.named += 1;
            return (NameIt::Yes, before);
        }
        self.unnamed += 1;
        let is_first = self.unnamed == 1;
        (
            if is_first {
                NameIt::NoLonger
            } else {
                NameIt::No
            },
            before,
        )
    }
}

/// In milliseconds.
#[derive(Debug, Clone, Copy)]
struct Failing {
    since: i64,
    retry_at: i64,
    pause: u64,
    tried_at: i64,
    /// It has failed, was left alone, and has failed again.
    is_again: bool,
}

impl Health {
    /// All servers are well.
    #[must_use]
    pub fn new(backoff: Backoff, clock: Clock, chance: Chance) -> Self {
        Self {
            failing: Cache::new(SERVERS),
            recovered: Mutex::default(),
            has_recovered: Notify::new(),
            naming: Mutex::default(),
            backoff,
            clock,
            chance,
        }
    }

    /// Until when the server should be left alone, in milliseconds since 1970; `None` if it may be asked now.
    #[must_use]
    pub fn retry_at(&self, server: &ServerName) -> Option<i64> {
        let failing = *self.failing.get(server)?.lock();
        (failing.retry_at > self.clock.now_ms()).then_some(failing.retry_at)
    }

    /// Whether a server that is left alone may be asked all the same, since a user waits for it. Who is told so must ask it.
    pub(crate) fn may_try(&self, server: &ServerName) -> bool {
        let Some(failing) = self.failing.get(server) else {
            return true;
        };
        let (mut failing, now_ms) = (failing.lock(), self.clock.now_ms());
        let may_try = now_ms - failing.tried_at >= EAGER_PAUSE_MS;
        if may_try {
            failing.tried_at = now_ms;
        }
        may_try
    }

    /// How many servers failed, failed again after they had been left alone, and weren't heard of since. What was asked once is
    /// often only the name of a server that there isn't: that is forgotten after a while.
    #[must_use]
    pub fn failing(&self) -> usize {
        let before = self.clock.now_ms() - FORGOTTEN_MS;
        self.failing
            .retain(|_, failing| failing.lock().tried_at >= before);
        let failing = self.failing.iter();
        failing.filter(|(_, it)| it.lock().is_again).count()
    }

    /// The server answered, or asked us something: it is up.
    pub fn is_up(&self, server: &ServerName) {
        if self.failing.peek(server).is_none() {
            return;
        }
        if self.failing.remove(server).is_some() {
            tracing::info!(%server, "another server is up again");
        }
        let mut recovered = self.recovered.lock();
        if recovered.len() < SERVERS {
            recovered.insert(server.to_owned());
        }
        drop(recovered);
        self.has_recovered.notify_one();
    }

    /// Waits until servers that have been failing are up again; those that became so since this returned last. For one
    /// caller: whoever waits to send them something.
    pub async fn recovered(&self) -> BTreeSet<OwnedServerName> {
        loop {
            let noted = self.has_recovered.notified();
            let recovered = std::mem::take(&mut *self.recovered.lock());
            if !recovered.is_empty() {
                return recovered;
            }
            noted.await;
        }
    }

    /// The server didn't answer, for this cause. Failures of requests that were under way together count once.
    pub fn failed(&self, server: &ServerName, cause: &dyn fmt::Display) {
        let now_ms = self.clock.now_ms();
        let Some(known) = self.failing.get(server) else {
            let pause_ms = self.backoff.initial_ms;
            let failing = Failing {
                since: now_ms,
                retry_at: self.after(now_ms, pause_ms),
                pause: pause_ms,
                tried_at: now_ms,
                is_again: false,
            };
            // Once for each time that it is down. What it says later is in what became of each request.
            self.log_failed(server, cause, now_ms);
            self.failing
                .insert(server.to_owned(), Arc::new(Mutex::new(failing)));
            return;
        };
        let mut failing = known.lock();
        if failing.retry_at > now_ms {
            return;
        }
        let is_long_dead = now_ms - failing.since > LONG_DEAD_MS;
        let longest = if is_long_dead {
            self.backoff.max_ms.max(DAY_MS)
        } else {
            self.backoff.max_ms
        };
        failing.pause = failing.pause.saturating_mul(2).min(longest);
        failing.retry_at = self.after(now_ms, failing.pause);
        (failing.tried_at, failing.is_again) = (now_ms, true);
    }

    fn log_failed(&self, server: &ServerName, cause: &dyn fmt::Display, now_ms: i64) {
        let (name_it, before) = self.naming.lock().next(now_ms);
        if before > 0 {
            tracing::info!(
                servers = before,
                "so many more servers could not be reached"
            );
        }
        match name_it {
            NameIt::Yes => {
                tracing::info!(%server, %cause, "another server can't be reached, and is left alone for a while");
            }
            NameIt::NoLonger => {
                tracing::info!(
                    "many servers can't be reached: for a minute, the others are only counted"
                );
            }
            NameIt::No => {}
        }
    }

    /// Some part of the pause before its end, so that those who wait don't all come back at once.
    fn after(&self, now_ms: i64, pause_ms: u64) -> i64 {
        let pause_ms = pause_ms - self.chance.within(0..pause_ms / 5 + 1);
        now_ms.saturating_add_unsigned(pause_ms)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn health() -> (Health, Clock) {
        let clock = Clock::simulated(1_000_000);
        let backoff = Backoff {
            initial_ms: 1000,
            max_ms: 3_600_000,
        };
        (
            Health::new(backoff, clock.clone(), Chance::seeded(1)),
            clock,
        )
    }

    fn server() -> OwnedServerName {
        OwnedServerName::try_from("down.example").expect("a server name")
    }

    async fn wait_for(health: &Health, clock: &Clock) -> i64 {
        let retry_at = health.retry_at(&server()).expect("it is left alone");
        let pause = retry_at - clock.now_ms();
        tokio::time::advance(Duration::from_millis(pause.unsigned_abs())).await;
        assert_eq!(health.retry_at(&server()), None);
        pause
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_an_hour_and_after_a_week_up_to_a_day() {
        let (health, clock) = health();
        assert_eq!(health.retry_at(&server()), None);
        let mut expected = 1000;
        let begin = clock.now_ms();
        while clock.now_ms() - begin <= LONG_DEAD_MS {
            health.failed(&server(), &"a test");
            let pause = wait_for(&health, &clock).await;
            assert!((expected * 4 / 5..=expected).contains(&pause), "{pause}");
            expected = (expected * 2).min(3_600_000);
        }
        for _ in 0..10 {
            health.failed(&server(), &"a test");
            wait_for(&health, &clock).await;
        }
        health.failed(&server(), &"a test");
        assert!(wait_for(&health, &clock).await > 19 * 3_600_000);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_at_once_count_once() {
        let (health, clock) = health();
        for _ in 0..20 {
            health.failed(&server(), &"a test");
        }
        assert!(wait_for(&health, &clock).await <= 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_server_that_is_left_alone_may_try_now_and_then() {
        let (health, clock) = health();
        for _ in 0..8 {
            health.failed(&server(), &"a test");
            wait_for(&health, &clock).await;
        }
        health.failed(&server(), &"a test");
        let retry_at = health.retry_at(&server());
        assert!(!health.may_try(&server()), "it has just failed");
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(health.may_try(&server()));
        assert!(!health.may_try(&server()));
        // That it fails again leads to no longer pause.
        health.failed(&server(), &"a test");
        assert_eq!(health.retry_at(&server()), retry_at);
    }

    #[test]
    fn of_many_servers_some_are_named_and_the_others_counted() {
        let mut naming = Naming::default();
        let mut next = |now_ms| naming.next(now_ms);
        for _ in 0..MOST_NAMED {
            assert_eq!(next(60_000), (NameIt::Yes, 0));
        }
        assert_eq!(next(60_000), (NameIt::NoLonger, 0));
        for _ in 0..4 {
            assert_eq!(next(119_999), (NameIt::No, 0));
        }
        assert_eq!(next(120_000), (NameIt::Yes, 5));
        assert_eq!(next(500_000), (NameIt::Yes, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_speaks_is_up() {
        let (health, _) = health();
        health.failed(&server(), &"a test");
        health.is_up(&server());
        assert_eq!(health.retry_at(&server()), None);
        health.failed(&server(), &"a test");
        let retry_at = health.retry_at(&server()).expect("it is left alone");
        assert!(retry_at <= 1_001_000);
    }

    #[tokio::test(start_paused = true)]
    async fn servers_that_fail_again_are_counted_until_they_speak_or_nobody_wants_anything_of_them()
    {
        let (health, clock) = health();
        let other = OwnedServerName::try_from("mistyped.example").expect("a server name");
        health.failed(&server(), &"a test");
        health.failed(&other, &"a test");
        assert_eq!(health.failing(), 0, "they have failed once");
        wait_for(&health, &clock).await;
        health.failed(&server(), &"a test");
        assert_eq!(health.failing(), 1);
        tokio::time::advance(Duration::from_hours(47)).await;
        health.failed(&server(), &"a test");
        tokio::time::advance(Duration::from_hours(2)).await;
        assert_eq!((health.failing(), health.failing.len()), (1, 1));
        health.is_up(&server());
        assert_eq!(health.failing(), 0);
        health.failed(&server(), &"a test");
        tokio::time::advance(Duration::from_hours(49)).await;
        assert_eq!((health.failing(), health.failing.len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_up_again_is_named_once() {
        let (health, _) = health();
        // One that hasn't failed has not recovered.
        health.is_up(&server());
        let wait = || tokio::time::timeout(Duration::from_mins(1), health.recovered());
        assert!(wait().await.is_err());
        health.failed(&server(), &"a test");
        health.is_up(&server());
        assert_eq!(wait().await.expect("it is named"), [server()].into());
        assert!(wait().await.is_err());
    }
}
