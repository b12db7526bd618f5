//! Writing JSON member by member into an answer's bytes.

/// An object that is being written. Whoever began it writes its closing brace.
#[derive(Debug)]
pub(crate) struct Object {
    empty: bool,
}

impl Object {
    pub(crate) fn begin(out: &mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { empty: true }
    }

    /// Writes a key; its value follows.
    pub(crate) fn key(&mut self, out: &mut Vec<u8>, key: &str) {
        if !std::mem::take(&mut self.empty) {
            out.push(b',');
        }
        string(out, key);
        out.push(b':');
    }

    pub(crate) fn string(&mut self, out: &mut Vec<u8>, key: &str, text: &str) {
        self.key(out, key);
        string(out, text);
    }
}

/// Appends a string literal.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    // Neither memory nor a string refuses to be written.
    serde_json::to_writer(out, text).ok();
}

/// Appends a comma if something stands before it in the list that began at `start` (just after its bracket).
pub(crate) fn separate(out: &mut Vec<u8>, start: usize) {
    if out.len() > start {
        out.push(b',');
    }
}
