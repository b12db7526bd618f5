//! Canonical JSON from untrusted bytes. <https://spec.matrix.org/v1.19/appendices/#canonical-json>
//!
//! [`JsonForm::Strict`] is what room versions 6 and later demand: integers within ±(2^53 − 1) only, no fractions, no
//! key twice. As in the specification's own examples, `-0` is written as `0` and an integer with an exponent (`1e10`)
//! without it.
//!
//! [`JsonForm::Loose`] is for room versions 1 to 5, where servers must not enforce that. Servers must agree on every
//! byte all the same, so it is what the specification's code in Python makes of such JSON: integers of any number of
//! digits stay as they are written (`-0` becomes `0`), numbers with a fraction or an exponent are written as Python
//! writes a float, and of a key that occurs more than once the last counts.
//!
//! In both, U+0000 is legal and stays, a surrogate without its other half is an error, and so is too deep nesting.
//! Time is linear in the input, but for the sorting of keys.

use std::{borrow::Cow, ops::Range};

use serde::Serialize;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::{float, json_string, object, room_version::JsonForm, value::Value};

/// The largest integer of canonical JSON; its negative is the smallest.
pub const MAX_INTEGER: i64 = (1 << 53) - 1;

/// How deep arrays and objects may be nested: as deep as `serde_json` reads with its own limit, so that whoever reads
/// an accepted event can.
pub const MAX_DEPTH: usize = 127;

/// The members and elements of most events.
const USUAL_MEMBERS: usize = 48;

/// Why bytes can't be written as canonical JSON. Numbers are byte offsets in the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum JsonError {
    /// The input is not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// The input is not JSON.
    #[error("not JSON (at byte {0})")]
    Syntax(usize),
    /// A number has a fraction or a negative exponent, where only integers are allowed.
    #[error("a number that isn't written as an integer (at byte {0})")]
    NotAnInteger(usize),
    /// An integer is beyond ±(2^53 − 1), where that is the limit.
    #[error("an integer beyond 2^53 - 1 (at byte {0})")]
    IntegerRange(usize),
    /// A number with a fraction or an exponent is beyond the range of a 64-bit floating-point number.
    #[error("a number beyond the range of a 64-bit floating-point number (at byte {0})")]
    FloatRange(usize),
    /// An object has the same key twice, where that is not allowed.
    #[error("an object has the same key twice (before byte {0})")]
    DuplicateKey(usize),
    /// Arrays and objects are nested deeper than allowed.
    #[error("nested too deep")]
    TooDeep,
    /// An object was expected.
    #[error("not an object")]
    NotAnObject,
}

/// Writes any JSON value in its canonical form.
pub fn canonicalize(form: JsonForm, json: &[u8]) -> Result<Vec<u8>, JsonError> {
    let document = Document::parse(form, json, MAX_DEPTH)?;
    if document.is_canonical {
        return Ok(json.to_vec());
    }
    let mut out = Vec::with_capacity(json.len());
    document.write(&mut out, &document.root);
    Ok(out)
}

/// Writes the body of another server's request in the form that is signed: an object, which may hold whole events, so that it
/// may be nested two levels more than one ([`MAX_DEPTH`]), and numbers that only old room versions allow.
///
/// # Errors
/// When it is no such object.
pub fn canonicalize_request(json: &[u8]) -> Result<Vec<u8>, JsonError> {
    let document = Document::parse(JsonForm::Loose, json, MAX_DEPTH + 2)?;
    let Node::Object(members) = &document.root else {
        return Err(JsonError::NotAnObject);
    };
    if document.is_canonical {
        return Ok(json.to_vec());
    }
    let mut out = Vec::with_capacity(json.len());
    document.write_object(&mut out, members, &[]);
    Ok(out)
}

/// Writes an object in its canonical form, without some of its top-level keys.
pub(crate) fn canonicalize_object_without(
    form: JsonForm,
    json: &[u8],
    dropped: &[&str],
) -> Result<Vec<u8>, JsonError> {
    let document = Document::parse(form, json, MAX_DEPTH)?;
    let Node::Object(members) = &document.root else {
        return Err(JsonError::NotAnObject);
    };
    if document.is_canonical && !document.has_any(members, dropped) {
        return Ok(json.to_vec());
    }
    let mut out = Vec::with_capacity(json.len());
    document.write_object(&mut out, members, dropped);
    Ok(out)
}

/// The canonical bytes of a JSON object: the content of an event that this server makes, or something to sign. Always
/// [`JsonForm::Strict`]: this server makes nothing else, not even in a room whose version lets others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanonicalObject(Vec<u8>);

impl CanonicalObject {
    /// Checks untrusted bytes and writes them in canonical form. They may be nested one level less than an event
    /// ([`MAX_DEPTH`]), so that they can be an event's content.
    pub fn parse(json: &[u8]) -> Result<Self, JsonError> {
        let document = Document::parse(JsonForm::Strict, json, MAX_DEPTH - 1)?;
        let Node::Object(members) = &document.root else {
            return Err(JsonError::NotAnObject);
        };
        if document.is_canonical {
            return Ok(Self(json.to_vec()));
        }
        let mut out = Vec::with_capacity(json.len());
        document.write_object(&mut out, members, &[]);
        Ok(Self(out))
    }

    /// The same from JSON that a request carried.
    pub fn from_raw(json: &RawValue) -> Result<Self, JsonError> {
        Self::parse(json.get().as_bytes())
    }

    /// The canonical form of a value of ours. A type that doesn't print as JSON is [`JsonError::Syntax`].
    pub fn from_serialize(value: &impl Serialize) -> Result<Self, JsonError> {
        Self::parse(&serde_json::to_vec(value).map_err(|_| JsonError::Syntax(0))?)
    }

    /// The canonical bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A view of the object.
    #[must_use]
    pub fn value(&self) -> Value<'_> {
        Value::new(&self.0)
    }

    /// Adds or replaces a member; `value` is canonical JSON.
    pub(crate) fn set(&mut self, key: &str, value: &[u8]) {
        self.0 = object::with_member(&self.0, key, value);
    }
}

impl Default for CanonicalObject {
    /// The empty object.
    fn default() -> Self {
        Self(b"{}".to_vec())
    }
}

/// A value with the literals as canonical text. Containers are ranges of [`Document::members`]: one allocation for
/// all of them, whatever the nesting.
enum Node<'i> {
    Literal(Cow<'i, str>),
    Array(Range<usize>),
    Object(Range<usize>),
}

/// A member of an object, or with an empty key an element of an array. Keys are decoded: the order of keys is that of
/// their text, not of its escapes.
struct Member<'i> {
    key: Cow<'i, str>,
    node: Node<'i>,
}

struct Document<'i> {
    members: Vec<Member<'i>>,
    root: Node<'i>,
    /// Whether the text was in canonical form already, as what servers and clients send mostly is.
    is_canonical: bool,
}

impl<'i> Document<'i> {
    fn parse(form: JsonForm, json: &'i [u8], depth: usize) -> Result<Self, JsonError> {
        let text = std::str::from_utf8(json).map_err(|_| JsonError::NotUtf8)?;
        let mut parser = Parser {
            form,
            text,
            at: 0,
            is_canonical: true,
            pending: Vec::with_capacity(USUAL_MEMBERS),
            closed: Vec::with_capacity(USUAL_MEMBERS),
        };
        let root = parser.value(depth)?;
        parser.skip_whitespace();
        if parser.at != text.len() {
            return Err(parser.syntax());
        }
        Ok(Self {
            members: parser.closed,
            root,
            is_canonical: parser.is_canonical,
        })
    }

    fn of(&self, range: &Range<usize>) -> &[Member<'i>] {
        self.members.get(range.clone()).unwrap_or_default()
    }

    fn has_any(&self, range: &Range<usize>, keys: &[&str]) -> bool {
        let mut members = self.of(range).iter();
        members.any(|member| keys.contains(&member.key.as_ref()))
    }

    fn write(&self, out: &mut Vec<u8>, node: &Node<'_>) {
        match node {
            Node::Literal(text) => out.extend_from_slice(text.as_bytes()),
            Node::Array(range) => {
                out.push(b'[');
                for (index, element) in self.of(range).iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    self.write(out, &element.node);
                }
                out.push(b']');
            }
            Node::Object(range) => self.write_object(out, range, &[]),
        }
    }

    fn write_object(&self, out: &mut Vec<u8>, range: &Range<usize>, dropped: &[&str]) {
        out.push(b'{');
        let members = self.of(range).iter();
        for (index, member) in members
            .filter(|member| !dropped.contains(&member.key.as_ref()))
            .enumerate()
        {
            if index > 0 {
                out.push(b',');
            }
            json_string::write(out, &member.key);
            out.push(b':');
            self.write(out, &member.node);
        }
        out.push(b'}');
    }
}

struct Parser<'i> {
    form: JsonForm,
    text: &'i str,
    at: usize,
    /// Whether all until here is in canonical form.
    is_canonical: bool,
    /// Members of containers that are still open, outermost first.
    pending: Vec<Member<'i>>,
    /// Members of closed containers, each container's together.
    closed: Vec<Member<'i>>,
}

impl<'i> Parser<'i> {
    fn syntax(&self) -> JsonError {
        JsonError::Syntax(self.at)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_whitespace(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
            self.is_canonical = false;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// `depth` is how many more levels of containers may open.
    fn value(&mut self, depth: usize) -> Result<Node<'i>, JsonError> {
        self.skip_whitespace();
        match self.peek() {
            Some(b'{') => self.object(depth.checked_sub(1).ok_or(JsonError::TooDeep)?),
            Some(b'[') => self.array(depth.checked_sub(1).ok_or(JsonError::TooDeep)?),
            Some(b'"') => self.string().map(Node::Literal),
            Some(b'-' | b'0'..=b'9') => self.number().map(Node::Literal),
            _ => self
                .keyword()
                .map(|word| Node::Literal(Cow::Borrowed(word))),
        }
    }

    fn keyword(&mut self) -> Result<&'static str, JsonError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let word = ["true", "false", "null"]
            .into_iter()
            .find(|word| rest.starts_with(word));
        let word = word.ok_or_else(|| self.syntax())?;
        self.at += word.len();
        Ok(word)
    }

    fn array(&mut self, depth: usize) -> Result<Node<'i>, JsonError> {
        let first = self.pending.len();
        self.at += 1;
        self.skip_whitespace();
        if !self.take(b']') {
            loop {
                let node = self.value(depth)?;
                self.pending.push(Member {
                    key: Cow::Borrowed(""),
                    node,
                });
                if self.ends_container(b']')? {
                    break;
                }
            }
        }
        Ok(Node::Array(self.close(first)))
    }

    fn object(&mut self, depth: usize) -> Result<Node<'i>, JsonError> {
        let first = self.pending.len();
        self.at += 1;
        self.skip_whitespace();
        if !self.take(b'}') {
            loop {
                self.skip_whitespace();
                let key = self.key()?;
                self.skip_whitespace();
                if !self.take(b':') {
                    return Err(self.syntax());
                }
                let node = self.value(depth)?;
                self.pending.push(Member { key, node });
                if self.ends_container(b'}')? {
                    break;
                }
            }
        }
        self.sort_members(first)?;
        Ok(Node::Object(self.close(first)))
    }

    /// After an element: takes the container's end (true) or a comma (false).
    fn ends_container(&mut self, end: u8) -> Result<bool, JsonError> {
        self.skip_whitespace();
        if self.take(end) {
            return Ok(true);
        }
        if self.take(b',') {
            Ok(false)
        } else {
            Err(self.syntax())
        }
    }

    fn sort_members(&mut self, first: usize) -> Result<(), JsonError> {
        let members = self.pending.get_mut(first..).unwrap_or_default();
        if members.is_sorted_by(|a, b| a.key < b.key) {
            return Ok(());
        }
        self.is_canonical = false;
        // Stable: which of two members with the same key came last must stay known.
        members.sort_by(|a, b| a.key.cmp(&b.key));
        if members.is_sorted_by(|a, b| a.key < b.key) {
            return Ok(());
        }
        match self.form {
            JsonForm::Strict => Err(JsonError::DuplicateKey(self.at)),
            JsonForm::Loose => {
                self.keep_last_of_each_key(first);
                Ok(())
            }
        }
    }

    /// Of the sorted members from `first` on.
    fn keep_last_of_each_key(&mut self, first: usize) {
        let mut members = self.pending.split_off(first);
        members.reverse();
        members.dedup_by(|earlier, last| earlier.key == last.key);
        members.reverse();
        self.pending.append(&mut members);
    }

    fn close(&mut self, first: usize) -> Range<usize> {
        let start = self.closed.len();
        self.closed.extend(self.pending.drain(first..));
        start..self.closed.len()
    }

    /// The literal at the cursor, quotes included, and whether it holds escapes.
    fn raw_string(&mut self) -> Result<(&'i str, bool), JsonError> {
        let bytes = self.text.as_bytes();
        let mut has_escapes = false;
        let mut end = self.at + 1;
        loop {
            end += json_string::plain_len(bytes.get(end..).unwrap_or_default());
            match bytes.get(end) {
                Some(b'"') => break,
                Some(b'\\') => {
                    has_escapes = true;
                    end += 2;
                }
                _ => return Err(self.syntax()),
            }
        }
        let raw = self.text.get(self.at..=end).ok_or_else(|| self.syntax())?;
        self.at = end + 1;
        Ok((raw, has_escapes))
    }

    fn key(&mut self) -> Result<Cow<'i, str>, JsonError> {
        if self.peek() != Some(b'"') {
            return Err(self.syntax());
        }
        let (raw, has_escapes) = self.raw_string()?;
        let inside = raw.get(1..raw.len() - 1).unwrap_or_default();
        if !has_escapes {
            return Ok(Cow::Borrowed(inside));
        }
        let text = json_string::unescape(inside).ok_or_else(|| self.syntax())?;
        self.note_literal(raw, &text);
        Ok(text)
    }

    fn string(&mut self) -> Result<Cow<'i, str>, JsonError> {
        let (raw, has_escapes) = self.raw_string()?;
        if !has_escapes {
            return Ok(Cow::Borrowed(raw));
        }
        let inside = raw.get(1..raw.len() - 1).unwrap_or_default();
        let text = json_string::unescape(inside).ok_or_else(|| self.syntax())?;
        let canonical = self.note_literal(raw, &text);
        String::from_utf8(canonical)
            .map(Cow::Owned)
            .map_err(|_| self.syntax())
    }

    /// The canonical literal of a text that was written as `raw`.
    fn note_literal(&mut self, raw: &str, text: &str) -> Vec<u8> {
        let mut canonical = Vec::with_capacity(raw.len());
        json_string::write(&mut canonical, text);
        self.is_canonical &= canonical == raw.as_bytes();
        canonical
    }

    fn digits(&mut self) -> &'i str {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn number(&mut self) -> Result<Cow<'i, str>, JsonError> {
        let start = self.at;
        let negative = self.take(b'-');
        let digits = self.digits();
        if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
            return Err(self.syntax());
        }
        match self.form {
            JsonForm::Strict => self.strict_number(start, negative, digits),
            JsonForm::Loose => self.loose_number(start),
        }
    }

    /// The number that began at `start`, of which sign and digits are taken, as an integer of canonical JSON.
    fn strict_number(
        &mut self,
        start: usize,
        negative: bool,
        digits: &str,
    ) -> Result<Cow<'i, str>, JsonError> {
        if self.peek() == Some(b'.') {
            return Err(JsonError::NotAnInteger(start));
        }
        let written = start..self.at;
        let exponent = self.exponent()?;
        let magnitude =
            integer(digits, exponent.unwrap_or(0)).ok_or(JsonError::IntegerRange(start))?;
        if exponent.is_none() && (magnitude != 0 || !negative) {
            return Ok(Cow::Borrowed(self.text.get(written).unwrap_or_default()));
        }
        self.is_canonical = false;
        let signed = if negative { -magnitude } else { magnitude };
        Ok(Cow::Owned(signed.to_string()))
    }

    /// The same as Python writes it: an integer as it is, anything else as a float.
    fn loose_number(&mut self, start: usize) -> Result<Cow<'i, str>, JsonError> {
        let integer_end = self.at;
        if self.take(b'.') && self.digits().is_empty() {
            return Err(self.syntax());
        }
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'+') {
                self.take(b'-');
            }
            if self.digits().is_empty() {
                return Err(self.syntax());
            }
        }
        let written = self.text.get(start..self.at).unwrap_or_default();
        if self.at == integer_end && written != "-0" {
            return Ok(Cow::Borrowed(written));
        }
        self.is_canonical = false;
        if self.at == integer_end {
            return Ok(Cow::Borrowed("0"));
        }
        let number: f64 = written.parse().map_err(|_| self.syntax())?;
        if number.is_finite() {
            Ok(Cow::Owned(float::to_text(number)))
        } else {
            Err(JsonError::FloatRange(start))
        }
    }

    /// The exponent at the cursor, if there is one. Too many digits to count are as good as the largest.
    fn exponent(&mut self) -> Result<Option<u32>, JsonError> {
        let start = self.at;
        if !self.take(b'e') && !self.take(b'E') {
            return Ok(None);
        }
        if !self.take(b'+') && self.peek() == Some(b'-') {
            return Err(JsonError::NotAnInteger(start));
        }
        match self.digits() {
            "" => Err(self.syntax()),
            digits => Ok(Some(digits.parse().unwrap_or(u32::MAX))),
        }
    }
}

/// `digits` × 10^`exponent`, if that is within [`MAX_INTEGER`].
fn integer(digits: &str, exponent: u32) -> Option<i64> {
    let mantissa: i64 = digits.parse().ok()?;
    if mantissa == 0 {
        return Some(0);
    }
    let magnitude = mantissa.checked_mul(10_i64.checked_pow(exponent)?)?;
    (magnitude <= MAX_INTEGER).then_some(magnitude)
}
