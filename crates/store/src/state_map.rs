//! A room's state as a persistent map: changing one key copies one small bucket and shares the rest.
//!
//! Members and everything else are apart, each in buckets by a hash of the key. The buckets are also the pieces in which
//! a whole state is stored, so states that share buckets in memory share them on disk.

use std::sync::{Arc, OnceLock};

use starling_db::Error;
use starling_stateres::resolution::{self, Conflicts, ResolveError, StateKey};

use crate::names::types;
use crate::numbers::{EventNum, KeyNum, TypeNum};
use crate::varint;

/// A map whose buckets hold more than this many entries on average gets twice as many buckets.
const BUCKET: usize = 64;

/// One key of the state and the event that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The event's type.
    pub kind: TypeNum,
    /// The event's state key.
    pub key: KeyNum,
    /// The event.
    pub event: EventNum,
    /// For a member: the code of the membership. Else 0.
    pub tag: i64,
}

/// A key at which two states differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The type.
    pub kind: TypeNum,
    /// The state key.
    pub key: KeyNum,
    /// What the one state has there.
    pub old: Option<Entry>,
    /// What the other has.
    pub new: Option<Entry>,
}

/// The number of an entry's event that has none yet.
pub const UNNUMBERED: EventNum = EventNum(i64::MAX);

/// A room's state. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct StateMap {
    other: Buckets,
    members: Buckets,
}

/// Buckets in the order of their number; how many there are is a power of two.
#[derive(Debug, Clone)]
struct Buckets {
    buckets: Arc<[Arc<Bucket>]>,
    len: usize,
}

/// Entries whose keys hash alike, sorted.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    entries: Vec<Entry>,
    /// The piece in which it is stored, once that is committed.
    piece: OnceLock<i64>,
}

impl Default for Buckets {
    fn default() -> Self {
        Self {
            buckets: Arc::from([Arc::new(Bucket::default())]),
            len: 0,
        }
    }
}

impl StateMap {
    /// The event at a key.
    #[must_use]
    pub fn get(&self, kind: TypeNum, key: KeyNum) -> Option<&Entry> {
        self.side(kind).get(kind, key)
    }

    /// The map with `entry` at its key.
    #[must_use]
    pub fn with(&self, entry: Entry) -> Self {
        let mut map = self.clone();
        if entry.kind == types::MEMBER {
            map.members = map.members.with(entry);
        } else {
            map.other = map.other.with(entry);
        }
        map
    }

    /// The map without an entry at this key.
    #[must_use]
    pub fn without(&self, kind: TypeNum, key: KeyNum) -> Self {
        let mut map = self.clone();
        if kind == types::MEMBER {
            map.members = map.members.without(kind, key);
        } else {
            map.other = map.other.without(kind, key);
        }
        map
    }

    /// The map with what `entry` says at this key, or without one there.
    #[must_use]
    pub fn set(&self, kind: TypeNum, key: KeyNum, entry: Option<Entry>) -> Self {
        match entry {
            Some(entry) => self.with(entry),
            None => self.without(kind, key),
        }
    }

    /// The map of these entries; of several at one key, the last.
    #[must_use]
    pub fn of(entries: impl IntoIterator<Item = Entry>) -> Self {
        let (members, other): (Vec<Entry>, Vec<Entry>) = entries
            .into_iter()
            .partition(|entry| entry.kind == types::MEMBER);
        Self {
            other: Buckets::of(other),
            members: Buckets::of(members),
        }
    }

    /// The keys at which `new` has something else, sorted; buckets that both share are passed over.
    #[must_use]
    pub fn changes_to(&self, new: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        self.other.changes_to(&new.other, &mut changes);
        self.members.changes_to(&new.members, &mut changes);
        changes
    }

    /// All entries, members last; the order is the same for the same content.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.other.iter().chain(self.members.iter())
    }

    /// The entries of members.
    pub fn members(&self) -> impl Iterator<Item = &Entry> {
        self.members.iter()
    }

    /// The entries that are no members.
    pub fn others(&self) -> impl Iterator<Item = &Entry> {
        self.other.iter()
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.other.len + self.members.len
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where states of one room differ, as state resolution takes it. Buckets that the states share are passed over.
    pub fn conflicts(states: &[&Self]) -> Result<Conflicts, ResolveError> {
        let mut entries = Vec::new();
        let others: Vec<&Buckets> = states.iter().map(|state| &state.other).collect();
        Buckets::differing(&others, &mut entries);
        let members: Vec<&Buckets> = states.iter().map(|state| &state.members).collect();
        Buckets::differing(&members, &mut entries);
        Conflicts::new(states.len(), entries)
    }

    fn side(&self, kind: TypeNum) -> &Buckets {
        if kind == types::MEMBER {
            &self.members
        } else {
            &self.other
        }
    }

    /// All buckets, in the order in which a stored state lists its pieces.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = &Arc<Bucket>> {
        self.other.buckets.iter().chain(self.members.buckets.iter())
    }

    /// How many of [`StateMap::buckets`] are not members.
    pub(crate) fn other_buckets(&self) -> usize {
        self.other.buckets.len()
    }

    /// Puts a map together from stored pieces: those of non-members, then those of members.
    pub(crate) fn from_buckets(other: Vec<Arc<Bucket>>, members: Vec<Arc<Bucket>>) -> Option<Self> {
        Some(Self {
            other: Buckets::from_stored(other)?,
            members: Buckets::from_stored(members)?,
        })
    }

    /// Which of the pieces, in stored order, holds a key, of a state with these numbers of buckets.
    pub(crate) fn piece_of(kind: TypeNum, key: KeyNum, other: usize, members: usize) -> usize {
        if kind == types::MEMBER {
            other + slot(kind, key, members)
        } else {
            slot(kind, key, other)
        }
    }
}

impl Buckets {
    fn get(&self, kind: TypeNum, key: KeyNum) -> Option<&Entry> {
        self.buckets
            .get(slot(kind, key, self.buckets.len()))?
            .get(kind, key)
    }

    fn with(&self, entry: Entry) -> Self {
        let at = slot(entry.kind, entry.key, self.buckets.len());
        let mut buckets = self.buckets.to_vec();
        let mut len = self.len;
        if let Some(bucket) = buckets.get_mut(at) {
            let (changed, is_new) = bucket.with(entry);
            *bucket = Arc::new(changed);
            len += usize::from(is_new);
        }
        let grown = Self {
            buckets: buckets.into(),
            len,
        };
        if len > grown.buckets.len() * BUCKET {
            grown.doubled()
        } else {
            grown
        }
    }

    fn without(&self, kind: TypeNum, key: KeyNum) -> Self {
        if self.get(kind, key).is_none() {
            return self.clone();
        }
        let at = slot(kind, key, self.buckets.len());
        let mut buckets = self.buckets.to_vec();
        if let Some(bucket) = buckets.get_mut(at) {
            let rest = bucket.entries.iter();
            let rest = rest.filter(|entry| (entry.kind, entry.key) != (kind, key));
            *bucket = Arc::new(Bucket {
                entries: rest.copied().collect(),
                piece: OnceLock::new(),
            });
        }
        Self {
            buckets: buckets.into(),
            len: self.len - 1,
        }
    }

    fn doubled(&self) -> Self {
        // The entries of each bucket are sorted, so each new one is too.
        Self::spread(self.iter().copied(), self.len, self.buckets.len() * 2)
    }

    /// The buckets of entries in any order.
    fn of(mut entries: Vec<Entry>) -> Self {
        // A stable sort: the last of those at one key comes last, and stays.
        entries.sort_by_key(|entry| (entry.kind, entry.key));
        let mut kept: Vec<Entry> = Vec::with_capacity(entries.len());
        for entry in entries {
            match kept.last_mut() {
                Some(last) if (last.kind, last.key) == (entry.kind, entry.key) => *last = entry,
                _ => kept.push(entry),
            }
        }
        let len = kept.len();
        Self::spread(
            kept.into_iter(),
            len,
            len.div_ceil(BUCKET).next_power_of_two(),
        )
    }

    /// Puts entries into so many buckets; those of one bucket come in the order of their keys.
    fn spread(entries: impl Iterator<Item = Entry>, len: usize, count: usize) -> Self {
        let mut buckets: Vec<Bucket> = (0..count).map(|_| Bucket::default()).collect();
        for entry in entries {
            if let Some(bucket) = buckets.get_mut(slot(entry.kind, entry.key, count)) {
                bucket.entries.push(entry);
            }
        }
        Self {
            buckets: buckets.into_iter().map(Arc::new).collect(),
            len,
        }
    }

    /// Adds the keys at which `new` has something else.
    fn changes_to(&self, new: &Self, changes: &mut Vec<Change>) {
        let mut keys = Vec::new();
        if self.buckets.len() == new.buckets.len() {
            for (old, new) in self.buckets.iter().zip(new.buckets.iter()) {
                if !Arc::ptr_eq(old, new) {
                    old.differing(new, &mut keys);
                }
            }
        } else {
            let all = self.iter().chain(new.iter());
            keys.extend(all.map(|entry| (entry.kind, entry.key)));
        }
        keys.sort_unstable();
        keys.dedup();
        let change = |(kind, key): (TypeNum, KeyNum)| Change {
            kind,
            key,
            old: self.get(kind, key).copied(),
            new: new.get(kind, key).copied(),
        };
        let differs = |change: &Change| change.old != change.new;
        changes.extend(keys.into_iter().map(change).filter(differs));
    }

    /// Adds the entries of the keys at which the maps differ, each with the number of its map.
    fn differing(maps: &[&Self], entries: &mut Vec<(StateKey, usize, resolution::EventNum)>) {
        let Some((first, others)) = maps.split_first() else {
            return;
        };
        let count = first.buckets.len();
        if others.iter().any(|other| other.buckets.len() != count) {
            // One has grown: its buckets are others altogether.
            let all = maps.iter().enumerate();
            entries.extend(
                all.flat_map(|(map, buckets)| {
                    buckets.iter().map(move |entry| numbered(entry, map))
                }),
            );
            return;
        }
        let mut keys = Vec::new();
        for (at, bucket) in first.buckets.iter().enumerate() {
            for other in others.iter().filter_map(|other| other.buckets.get(at)) {
                if !Arc::ptr_eq(bucket, other) {
                    bucket.differing(other, &mut keys);
                }
            }
            keys.sort_unstable();
            keys.dedup();
            for (kind, key) in keys.drain(..) {
                for (map, buckets) in maps.iter().enumerate() {
                    let bucket = buckets.buckets.get(at);
                    let entry = bucket.and_then(|bucket| bucket.get(kind, key));
                    entries.extend(entry.map(|entry| numbered(entry, map)));
                }
            }
        }
    }

    fn from_stored(buckets: Vec<Arc<Bucket>>) -> Option<Self> {
        let len = buckets.iter().map(|bucket| bucket.entries.len()).sum();
        buckets.len().is_power_of_two().then(|| Self {
            buckets: buckets.into(),
            len,
        })
    }

    fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.iter().flat_map(|bucket| bucket.entries.iter())
    }
}

impl Bucket {
    pub(crate) fn get(&self, kind: TypeNum, key: KeyNum) -> Option<&Entry> {
        let at = self
            .entries
            .binary_search_by_key(&(kind, key), |entry| (entry.kind, entry.key))
            .ok()?;
        self.entries.get(at)
    }

    fn with(&self, entry: Entry) -> (Self, bool) {
        let mut entries = self.entries.clone();
        let found =
            entries.binary_search_by_key(&(entry.kind, entry.key), |entry| (entry.kind, entry.key));
        let is_new = match found {
            Ok(at) => {
                if let Some(old) = entries.get_mut(at) {
                    *old = entry;
                }
                false
            }
            Err(at) => {
                entries.insert(at, entry);
                true
            }
        };
        (
            Self {
                entries,
                piece: OnceLock::new(),
            },
            is_new,
        )
    }

    /// Adds the keys at which it has another event than `other`, or one of both has none.
    fn differing(&self, other: &Self, keys: &mut Vec<(TypeNum, KeyNum)>) {
        let (mut own, mut others) = (
            self.entries.iter().peekable(),
            other.entries.iter().peekable(),
        );
        while let (Some(x), Some(y)) = (own.peek(), others.peek()) {
            let (x_key, y_key) = ((x.kind, x.key), (y.kind, y.key));
            if x.event != y.event || x_key != y_key {
                keys.push(x_key.min(y_key));
            }
            if x_key <= y_key {
                own.next();
            }
            if y_key <= x_key {
                others.next();
            }
        }
        keys.extend(own.chain(others).map(|entry| (entry.kind, entry.key)));
    }

    /// The piece in which it is stored, if that is committed.
    pub(crate) fn piece(&self) -> Option<i64> {
        self.piece.get().copied()
    }

    /// Notes that it is stored as `piece`. The first of two notes stands: both pieces hold the same.
    pub(crate) fn stored_as(&self, piece: i64) {
        self.piece.get_or_init(|| piece);
    }

    /// The bytes of its entries, as in a piece.
    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(&self.entries)
    }

    /// The bucket stored as `piece`.
    pub(crate) fn decode(piece: i64, bytes: &[u8]) -> Result<Self, Error> {
        Ok(Self {
            entries: decode(bytes)?,
            piece: OnceLock::from(piece),
        })
    }
}

fn numbered(entry: &Entry, map: usize) -> (StateKey, usize, resolution::EventNum) {
    let key = StateKey {
        kind: entry.kind.0,
        key: entry.key.0,
    };
    (key, map, resolution::EventNum(entry.event.0))
}

/// The bytes of some entries: four numbers each.
pub(crate) fn encode(entries: &[Entry]) -> Vec<u8> {
    varint::list(
        entries
            .iter()
            .flat_map(|entry| [entry.kind.0, entry.key.0, entry.event.0, entry.tag]),
    )
}

/// The entries that [`encode`] wrote.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<Entry>, Error> {
    let damaged = || Error::Damaged("a stored state cannot be read".to_owned());
    let numbers = varint::read_list(bytes).ok_or_else(damaged)?;
    let (entries, rest) = numbers.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(damaged());
    }
    let entry = |[kind, key, event, tag]: &[i64; 4]| Entry {
        kind: TypeNum(*kind),
        key: KeyNum(*key),
        event: EventNum(*event),
        tag: *tag,
    };
    Ok(entries.iter().map(entry).collect())
}

/// The bucket of a key. Stored states depend on it: it never changes.
fn slot(kind: TypeNum, key: KeyNum, buckets: usize) -> usize {
    let mixed = mix(kind.0.unsigned_abs().rotate_left(32) ^ key.0.unsigned_abs());
    // `buckets` is a power of two.
    usize::try_from(mixed & (buckets as u64 - 1)).unwrap_or(0)
}

/// Spreads neighbouring numbers over all bits (the finalizer of splitmix64).
fn mix(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
