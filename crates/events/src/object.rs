//! Splicing canonical objects: leaving members out, putting one in, without parsing the rest.

use std::cmp::Ordering;

use crate::{
    json_string,
    value::{Member, Value},
};

/// The most members that most events have.
const USUAL_MEMBERS: usize = 16;

/// The members of a canonical object, found once for all that is to be done with them.
pub(crate) struct Object<'a> {
    members: Vec<Member<'a>>,
    is_complete: bool,
}

impl<'a> Object<'a> {
    /// Of bytes that aren't a canonical object, those members that are before the fault.
    pub(crate) fn new(canonical: &'a [u8]) -> Self {
        let mut rest = Value::new(canonical).members();
        let mut members = Vec::with_capacity(USUAL_MEMBERS);
        members.extend(&mut rest);
        Self {
            members,
            is_complete: rest.is_complete(),
        }
    }

    /// Whether the object ended as it should.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete
    }

    pub(crate) fn members(&self) -> &[Member<'a>] {
        &self.members
    }

    /// The value of the member with this key, which is plain ASCII.
    pub(crate) fn get(&self, key: &str) -> Option<Value<'a>> {
        let found = self.members.iter().find(|member| member.is(key));
        found.map(|member| member.value)
    }

    /// How long the object is in bytes.
    pub(crate) fn len(&self) -> usize {
        self.members.last().map_or(2, |last| last.span.end + 1)
    }

    /// The object without some of its members. The keys are plain ASCII.
    pub(crate) fn without(&self, keys: &[&str]) -> Vec<u8> {
        let mut out = ObjectWriter::with_capacity(self.len());
        for member in &self.members {
            if !keys.iter().any(|key| member.is(key)) {
                out.copy(member);
            }
        }
        out.finish()
    }
}

/// Writes a canonical object member by member. The caller brings them in the order of their keys.
pub(crate) struct ObjectWriter(Vec<u8>);

impl ObjectWriter {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        let mut out = Vec::with_capacity(bytes);
        out.push(b'{');
        Self(out)
    }

    pub(crate) fn member(&mut self, key: &str, value: &[u8]) {
        self.key(key);
        self.0.extend_from_slice(value);
    }

    pub(crate) fn string(&mut self, key: &str, text: &str) {
        self.key(key);
        json_string::write(&mut self.0, text);
    }

    /// A member that is an object, whose own members `write` brings.
    pub(crate) fn object(&mut self, key: &str, write: impl FnOnce(&mut Self)) {
        self.key(key);
        self.0.push(b'{');
        write(self);
        self.0.push(b'}');
    }

    pub(crate) fn copy(&mut self, member: &Member<'_>) {
        self.separate();
        self.0.extend_from_slice(member.text);
    }

    /// How many bytes there are so far.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    fn key(&mut self, key: &str) {
        self.separate();
        json_string::write(&mut self.0, key);
        self.0.push(b':');
    }

    fn separate(&mut self) {
        if self.0.last() != Some(&b'{') {
            self.0.push(b',');
        }
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }
}

/// The object with a member added, or replaced if the key is there already.
pub(crate) fn with_member(object: &[u8], key: &str, value: &[u8]) -> Vec<u8> {
    let mut out = ObjectWriter::with_capacity(object.len() + key.len() + value.len() + 4);
    let mut written = false;
    for member in Value::new(object).members() {
        let order = order_of_keys(&member, key);
        if !written && order != Ordering::Less {
            out.member(key, value);
            written = true;
        }
        if order != Ordering::Equal {
            out.copy(&member);
        }
    }
    if !written {
        out.member(key, value);
    }
    out.finish()
}

/// Keys are in the order of their text, which is that of the bytes where no escape is.
fn order_of_keys(member: &Member<'_>, key: &str) -> Ordering {
    if member.raw_key.contains(&b'\\') {
        member.key().unwrap_or_default().as_ref().cmp(key)
    } else {
        member.raw_key.cmp(key.as_bytes())
    }
}
