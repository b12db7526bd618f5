//! Splicing canonical objects: leaving members out, putting one in, without parsing the rest.

use crate::{
    json_string,
    value::{Member, Value},
};

/// Writes a canonical object member by member. The caller brings them in the order of their keys.
pub(crate) struct ObjectWriter(Vec<u8>);

impl ObjectWriter {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        let mut out = Vec::with_capacity(bytes);
        out.push(b'{');
        Self(out)
    }

    pub(crate) fn member(&mut self, key: &str, value: &[u8]) {
        self.separate();
        json_string::write(&mut self.0, key);
        self.0.push(b':');
        self.0.extend_from_slice(value);
    }

    pub(crate) fn string(&mut self, key: &str, text: &str) {
        self.separate();
        json_string::write(&mut self.0, key);
        self.0.push(b':');
        json_string::write(&mut self.0, text);
    }

    pub(crate) fn copy(&mut self, member: &Member<'_>) {
        self.separate();
        self.0.push(b'"');
        self.0.extend_from_slice(member.raw_key);
        self.0.extend_from_slice(b"\":");
        self.0.extend_from_slice(member.value.as_bytes());
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

/// The object without some of its members. The keys are plain ASCII.
pub(crate) fn without(object: &[u8], keys: &[&str]) -> Vec<u8> {
    let mut out = ObjectWriter::with_capacity(object.len());
    for member in Value::new(object).members() {
        if !keys.iter().any(|key| key.as_bytes() == member.raw_key) {
            out.copy(&member);
        }
    }
    out.finish()
}

/// The object with a member added, or replaced if the key is there already.
pub(crate) fn with_member(object: &[u8], key: &str, value: &[u8]) -> Vec<u8> {
    let mut out = ObjectWriter::with_capacity(object.len() + key.len() + value.len() + 4);
    let mut written = false;
    for member in Value::new(object).members() {
        let other = member.key().unwrap_or_default();
        if !written && other.as_ref() >= key {
            out.member(key, value);
            written = true;
        }
        if other != key {
            out.copy(&member);
        }
    }
    if !written {
        out.member(key, value);
    }
    out.finish()
}
