//! Token buckets in a table of fixed size.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::counter;
use parking_lot::Mutex;

use super::{Caller, Limited, Rate};

/// Counts the buckets that gave way although they were not full.
pub(crate) const EVICTIONS: &str = "starling_http_rate_limit_evictions_total";

/// Buckets of one set. A key has its place in one set only, so each operation looks at no more than these.
const WAYS: usize = 8;
/// The low bits of a tag, which hold the kind of action.
const KIND_BITS: u64 = 0x1f;
/// How often an overflow is logged, in nanoseconds.
const WARN_EVERY: u64 = 60_000_000_000;

/// One bucket.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// The hash of its key, and the kind of action.
    tag: u64,
    /// When it will be full, in nanoseconds since the start; a full one is free for another key.
    full_at: u64,
}

/// The buckets of many keys. What it holds is bounded by its size, which never changes.
pub(super) struct Buckets {
    sets: Box<[Mutex<[Bucket; WAYS]>]>,
    /// Seeded anew in each process, so that nobody can choose addresses that meet in one set.
    hasher: RandomState,
    /// When an overflow may be logged again.
    warn_at: AtomicU64,
}

impl Buckets {
    pub(super) fn new(sets: usize) -> Self {
        Self {
            sets: (0..sets).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            warn_at: AtomicU64::new(0),
        }
    }

    /// Takes so many out of the caller's bucket, or says how long to wait.
    pub(super) fn take(
        &self,
        (kind, caller): (Limited, Caller<'_>),
        times: u64,
        now: u64,
        rates: &[Rate],
    ) -> Result<(), Duration> {
        let tag = self.tag(kind, caller);
        let rate = rate_of(rates, tag);
        let cost = rate.interval.saturating_mul(times);
        let Some(mut set) = self.set(tag) else {
            return Ok(());
        };
        if let Some(bucket) = set.iter_mut().find(|bucket| bucket.tag == tag) {
            let full_at = bucket.full_at.max(now).saturating_add(cost);
            is_within(full_at, now, rate)?;
            bucket.full_at = full_at;
            return Ok(());
        }
        let spent = |bucket: &Bucket| spent(*bucket, now, rate_of(rates, bucket.tag));
        let Some(place) = set.iter_mut().min_by_key(|bucket| spent(bucket)) else {
            return Ok(());
        };
        let is_eviction = place.full_at > now;
        *place = Bucket {
            tag,
            full_at: now.saturating_add(cost),
        };
        drop(set);
        if is_eviction {
            self.note_eviction(now);
        }
        Ok(())
    }

    /// Whether one could be taken, or how long to wait.
    pub(super) fn check(
        &self,
        kind: Limited,
        caller: Caller<'_>,
        now: u64,
        rate: Rate,
    ) -> Result<(), Duration> {
        let tag = self.tag(kind, caller);
        let set = self.set(tag);
        let full_at =
            set.and_then(|set| Some(set.iter().find(|bucket| bucket.tag == tag)?.full_at));
        full_at.map_or(Ok(()), |full_at| {
            is_within(full_at.max(now).saturating_add(rate.interval), now, rate)
        })
    }

    /// Puts one back.
    pub(super) fn give_back(&self, kind: Limited, caller: Caller<'_>, rate: Rate) {
        let tag = self.tag(kind, caller);
        let set = self.set(tag);
        if let Some(mut set) = set
            && let Some(bucket) = set.iter_mut().find(|bucket| bucket.tag == tag)
        {
            bucket.full_at = bucket.full_at.saturating_sub(rate.interval);
        }
    }

    fn tag(&self, kind: Limited, caller: Caller<'_>) -> u64 {
        let hash = self.hasher.hash_one((kind, caller));
        hash & !KIND_BITS | u64::from(kind as u8)
    }

    fn set(&self, tag: u64) -> Option<parking_lot::MutexGuard<'_, [Bucket; WAYS]>> {
        let sets = self.sets.len() as u64;
        let index = usize::try_from((tag >> 32).checked_rem(sets)?).ok()?;
        Some(self.sets.get(index)?.lock())
    }

    fn note_eviction(&self, now: u64) {
        counter!(EVICTIONS).increment(1);
        let due = self.warn_at.load(Ordering::Relaxed);
        let next = now.saturating_add(WARN_EVERY);
        let is_mine = self
            .warn_at
            .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok();
        if now >= due && is_mine {
            tracing::warn!(
                "more callers than rate limits have room for: those who asked least are forgotten"
            );
        }
    }
}

fn rate_of(rates: &[Rate], tag: u64) -> Rate {
    let kind = usize::try_from(tag & KIND_BITS).unwrap_or_default();
    rates.get(kind).copied().unwrap_or_default()
}

fn is_within(full_at: u64, now: u64, rate: Rate) -> Result<(), Duration> {
    match (full_at - now).checked_sub(rate.burst) {
        None | Some(0) => Ok(()),
        Some(wait) => Err(Duration::from_nanos(wait)),
    }
}

/// How empty a bucket is, in millionths.
fn spent(bucket: Bucket, now: u64, rate: Rate) -> u128 {
    let missing = u128::from(bucket.full_at.saturating_sub(now));
    missing * 1_000_000 / u128::from(rate.burst.max(1))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const RATES: [Rate; Limited::ALL.len()] = [Rate {
        interval: SECOND,
        burst: 10 * SECOND,
    }; Limited::ALL.len()];

    fn address(number: u32) -> Caller<'static> {
        Caller::Address(Ipv4Addr::from_bits(number).into())
    }

    fn in_use(buckets: &Buckets, now: u64) -> usize {
        let sets = buckets.sets.iter().map(|set| *set.lock());
        let used = sets.flatten().filter(|bucket| bucket.full_at > now);
        used.count()
    }

    #[test]
    fn a_million_addresses_take_no_more_room_than_there_is() {
        let buckets = Buckets::new(super::super::STRANGER_SETS);
        assert!(size_of_val(&*buckets.sets) < 2_500_000);
        for number in 0..1_000_000 {
            let taken = buckets.take((Limited::Login, address(number)), 1, 0, &RATES);
            assert_eq!(taken, Ok(()));
        }
        let room = buckets.sets.len() * WAYS;
        let used = in_use(&buckets, 0);
        assert!(used > room / 2 && used <= room, "{used} of {room}");
        assert_eq!(in_use(&buckets, SECOND), 0, "full ones take no room");
    }

    #[test]
    fn the_fullest_bucket_gives_way() {
        let buckets = Buckets::new(1);
        let count = u32::try_from(WAYS).unwrap();
        // The first has been used once, the second twice, and so on.
        for number in 0..count {
            for _ in 0..=number {
                buckets
                    .take((Limited::Login, address(number)), 1, 0, &RATES)
                    .unwrap();
            }
        }
        buckets
            .take((Limited::Login, address(count)), 1, 0, &RATES)
            .unwrap();
        let left = |number| {
            let takes = (0..).take_while(|_| {
                let taken = buckets.take((Limited::Login, address(number)), 1, 0, &RATES);
                taken.is_ok()
            });
            takes.count()
        };
        assert_eq!(left(7), 2);
        assert_eq!(left(1), 8);
        assert_eq!(left(0), 10, "it was forgotten");
    }

    #[test]
    fn kinds_are_apart() {
        let buckets = Buckets::new(1);
        let caller = Caller::User(1);
        for _ in 0..10 {
            buckets.take((Limited::Join, caller), 1, 0, &RATES).unwrap();
        }
        let wait = buckets.take((Limited::Join, caller), 1, 0, &RATES);
        assert_eq!(wait, Err(Duration::from_secs(1)));
        let invites = (Limited::Invite, caller);
        buckets.take(invites, 10, 0, &RATES).unwrap();
        let wait = buckets.take(invites, 3, 0, &RATES);
        assert_eq!(wait, Err(Duration::from_secs(3)), "many at once");
    }

    #[test]
    fn every_kind_has_its_bits() {
        for (index, kind) in Limited::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
            assert!(kind as u64 <= KIND_BITS);
        }
    }
}
