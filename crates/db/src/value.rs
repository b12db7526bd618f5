//! What goes into a statement's placeholders.

/// A parameter of a statement. Text that a client chose freely may hold U+0000, which PostgreSQL's TEXT refuses:
/// store it as bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// No value.
    Null,
    /// An integer (BIGINT).
    Int(i64),
    /// A text without U+0000.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A list of integers, for `IN {ints ?1}`.
    Ints(&'a [i64]),
    /// A list of texts, for `IN {texts ?1}`.
    Texts(&'a [&'a str]),
    /// A list of byte strings, for `IN {blobs ?1}`.
    Blobs(&'a [&'a [u8]]),
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Int(i64::from(value))
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Bytes(value)
    }
}

impl<'a> From<&'a [i64]> for Value<'a> {
    fn from(value: &'a [i64]) -> Self {
        Self::Ints(value)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
