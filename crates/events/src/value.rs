//! A view of canonical JSON that parses no more than what is asked for.

use std::{borrow::Cow, ops::Range};

use crate::json_string;

/// A value in canonical JSON bytes. On bytes that aren't canonical JSON the answers are `None` or end early; nothing
/// panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a>(&'a [u8]);

/// A member of an object.
#[derive(Debug, Clone)]
pub struct Member<'a> {
    /// The key as written, escapes and all, without its quotes. A key that is plain ASCII text is written as it is.
    pub raw_key: &'a [u8],
    /// The member's value.
    pub value: Value<'a>,
    /// Where the value is in the object's bytes.
    pub span: Range<usize>,
    /// Key and value as written.
    pub(crate) text: &'a [u8],
}

impl<'a> Value<'a> {
    /// A view of canonical bytes.
    #[must_use]
    pub fn new(canonical: &'a [u8]) -> Self {
        Self(canonical)
    }

    /// The value's canonical bytes.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The text, if the value is a string.
    #[must_use]
    pub fn as_str(self) -> Option<Cow<'a, str>> {
        let inside = self.0.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        json_string::unescape(std::str::from_utf8(inside).ok()?)
    }

    /// The number, if the value is an integer.
    #[must_use]
    pub fn as_integer(self) -> Option<i64> {
        std::str::from_utf8(self.0).ok()?.parse().ok()
    }

    /// The truth value, if the value is one.
    #[must_use]
    pub fn as_bool(self) -> Option<bool> {
        match self.0 {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }

    /// Whether the value is an object.
    #[must_use]
    pub fn is_object(self) -> bool {
        self.0.first() == Some(&b'{')
    }

    /// Whether the value is an array.
    #[must_use]
    pub fn is_array(self) -> bool {
        self.0.first() == Some(&b'[')
    }

    /// The value of an object's member.
    #[must_use]
    pub fn get(self, key: &str) -> Option<Value<'a>> {
        if !key.bytes().any(json_string::needs_escape) {
            return self.get_raw(key.as_bytes());
        }
        let mut raw_key = Vec::with_capacity(key.len() + 8);
        json_string::write_escaped(&mut raw_key, key);
        self.get_raw(&raw_key)
    }

    fn get_raw(self, raw_key: &[u8]) -> Option<Value<'a>> {
        self.members()
            .find(|member| member.raw_key == raw_key)
            .map(|member| member.value)
    }

    /// An object's members in order; of anything else, none.
    #[must_use]
    pub fn members(self) -> Members<'a> {
        Members {
            json: self.0,
            at: 1,
            open: self.is_object(),
        }
    }

    /// An array's elements in order; of anything else, none.
    #[must_use]
    pub fn elements(self) -> Elements<'a> {
        Elements {
            json: self.0,
            at: 1,
            open: self.is_array(),
        }
    }
}

impl<'a> Member<'a> {
    /// The decoded key.
    #[must_use]
    pub fn key(&self) -> Option<Cow<'a, str>> {
        json_string::unescape(std::str::from_utf8(self.raw_key).ok()?)
    }

    /// Whether this is its key, which is plain ASCII.
    pub(crate) fn is(&self, key: &str) -> bool {
        self.raw_key == key.as_bytes()
    }
}

/// Iterates over an object's members.
#[derive(Debug, Clone)]
pub struct Members<'a> {
    json: &'a [u8],
    at: usize,
    open: bool,
}

impl Members<'_> {
    /// After the last member: whether the object ended as it should.
    #[must_use]
    pub(crate) fn is_complete(&self) -> bool {
        self.json.get(self.at..) == Some(b"}")
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        if !self.open || self.json.get(self.at) != Some(&b'"') {
            return None;
        }
        let key_len = json_string::literal_len(self.json.get(self.at..)?)?;
        let raw_key = self.json.get(self.at + 1..self.at + key_len - 1)?;
        let start = self.at + key_len + 1;
        if self.json.get(start - 1) != Some(&b':') {
            return None;
        }
        let span = start..start + value_len(self.json.get(start..)?)?;
        let value = Value(self.json.get(span.clone())?);
        let text = self.json.get(self.at..span.end)?;
        self.open = self.json.get(span.end) == Some(&b',');
        self.at = span.end + usize::from(self.open);
        Some(Member {
            raw_key,
            value,
            span,
            text,
        })
    }
}

/// Iterates over an array's elements.
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    json: &'a [u8],
    at: usize,
    open: bool,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        if !self.open || self.json.get(self.at) == Some(&b']') {
            return None;
        }
        let rest = self.json.get(self.at..)?;
        let len = value_len(rest).filter(|&len| len > 0)?;
        let value = Value(rest.get(..len)?);
        self.open = rest.get(len) == Some(&b',');
        self.at += len + usize::from(self.open);
        Some(value)
    }
}

/// The length of the value that `json` begins with.
fn value_len(json: &[u8]) -> Option<usize> {
    match json.first()? {
        b'"' => json_string::literal_len(json),
        b'{' | b'[' => container_len(json),
        _ => Some(
            json.iter()
                .position(|byte| matches!(byte, b',' | b'}' | b']'))
                .unwrap_or(json.len()),
        ),
    }
}

fn container_len(json: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    loop {
        match json.get(at)? {
            b'"' => {
                at += json_string::literal_len(json.get(at..)?)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}
