//! How many events of which shape there were.

use starling_db::Error;
use starling_pushrules::Shape;

use crate::varint;

/// Counts by shape, of those of which there were any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals(Vec<(u8, i64)>);

impl Totals {
    /// One event more.
    pub(crate) fn add(&mut self, shape: Shape) {
        self.add_many(shape.code(), 1);
    }

    fn add_many(&mut self, code: u8, count: i64) {
        match self.0.binary_search_by_key(&code, |(code, _)| *code) {
            Ok(at) => {
                if let Some((_, total)) = self.0.get_mut(at) {
                    *total += count;
                }
            }
            Err(at) => self.0.insert(at, (code, count)),
        }
    }

    /// What is left when `others` are taken away. Shapes of which nothing is left aren't in it.
    #[must_use]
    pub(crate) fn without(&self, others: &Self) -> Self {
        let mut left = self.clone();
        for (code, count) in &others.0 {
            left.add_many(*code, -count);
        }
        left.0.retain(|(_, count)| *count != 0);
        left
    }

    /// Each shape and how often there was one.
    pub fn iter(&self) -> impl Iterator<Item = (Shape, i64)> {
        let known = |(code, count): &(u8, i64)| Some((Shape::from_code(*code)?, *count));
        self.0.iter().filter_map(known)
    }

    /// Whether there were none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As stored.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * 4);
        for (code, count) in &self.0 {
            bytes.push(*code);
            varint::push(&mut bytes, *count);
        }
        bytes
    }

    /// Reads what [`Totals::to_bytes`] wrote.
    pub(crate) fn read(mut bytes: &[u8]) -> Result<Self, Error> {
        let damaged = || Error::Damaged("the totals of a room's events".to_owned());
        let mut totals = Self::default();
        while let Some((code, rest)) = bytes.split_first() {
            bytes = rest;
            let count = varint::take(&mut bytes).ok_or_else(damaged)?;
            totals.add_many(*code, count);
        }
        Ok(totals)
    }

    /// Totals of so many events of each shape.
    pub(crate) fn of(counts: impl IntoIterator<Item = (Shape, i64)>) -> Self {
        let mut totals = Self::default();
        for (shape, count) in counts {
            totals.add_many(shape.code(), count);
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    use starling_pushrules::Shape;

    use super::Totals;

    #[test]
    fn totals_come_back_and_are_subtracted() {
        let shape = |code| Shape::from_code(code).expect("a shape");
        let mut totals = Totals::of([(shape(30), 200), (shape(3), 1)]);
        assert_eq!(Totals::read(&totals.to_bytes()).expect("totals"), totals);
        let before = totals.clone();
        totals.add(shape(3));
        totals.add(shape(24));
        let left = totals.without(&before);
        assert_eq!(left, Totals::of([(shape(3), 1), (shape(24), 1)]));
        assert!(totals.without(&totals).is_empty());
        assert!(Totals::read(&[3]).is_err());
        // As statements say it.
        assert_eq!(Shape::FIRST_MEMBER, 144);
    }
}
