//! `event_fields`: sending only some fields of events, named by dot-separated paths.
//! <https://spec.matrix.org/v1.19/appendices/#dot-separated-property-paths>

use starling_events::Value;

/// The fields to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFields {
    /// The names of each path, in order: paths that begin alike stand together, a shorter one before what is below it.
    paths: Vec<Vec<String>>,
}

impl EventFields {
    /// Reads paths. A backslash makes a dot or a backslash that follows it part of the name.
    #[must_use]
    pub fn parse(paths: &[String]) -> Self {
        let mut paths: Vec<Vec<String>> = paths.iter().map(|path| names(path)).collect();
        paths.sort_unstable();
        Self { paths }
    }

    /// Appends only these fields of `event`, a JSON object without white space.
    pub(crate) fn select(&self, out: &mut Vec<u8>, event: &[u8]) {
        select_members(out, Value::new(event), &self.paths, 0);
    }
}

fn names(path: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut name = String::new();
    let mut characters = path.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '.' => names.push(std::mem::take(&mut name)),
            '\\' => name.push(
                characters
                    .next_if(|next| matches!(next, '.' | '\\'))
                    .unwrap_or('\\'),
            ),
            other => name.push(other),
        }
    }
    names.push(name);
    names
}

/// `paths` are those that lead to this object, by their first `depth` names. Goes as deep as the longest of them.
fn select_members(out: &mut Vec<u8>, object: Value<'_>, paths: &[Vec<String>], depth: usize) {
    out.push(b'{');
    for member in object.members() {
        let Some(key) = member.key() else { continue };
        let below = through(paths, depth, &key);
        let Some(shortest) = below.first() else {
            continue;
        };
        let whole = shortest.len() == depth + 1;
        if !(whole || member.value.is_object()) {
            continue;
        }
        if out.last() != Some(&b'{') {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(member.raw_key);
        out.extend_from_slice(b"\":");
        if whole {
            out.extend_from_slice(member.value.as_bytes());
        } else {
            select_members(out, member.value, below, depth + 1);
        }
    }
    out.push(b'}');
}

/// Those of `paths` that have `name` at `depth`.
fn through<'a>(paths: &'a [Vec<String>], depth: usize, name: &str) -> &'a [Vec<String>] {
    let order = |path: &Vec<String>| path.get(depth).map(String::as_str).cmp(&Some(name));
    let start = paths.partition_point(|path| order(path).is_lt());
    let end = paths.partition_point(|path| order(path).is_le());
    paths.get(start..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{EventFields, names};

    #[test]
    fn only_wanted_fields_are_left() {
        let event = br#"{"content":{"a.b":1,"body":"x","c\\d":{"e":[1]},"m.relates_to":{"event_id":"$1","x":2}},"type":"t"}"#;
        let cases: [(&[&str], &str); 9] = [
            (&[], "{}"),
            (&["type"], r#"{"type":"t"}"#),
            (
                &["content.body", "type"],
                r#"{"content":{"body":"x"},"type":"t"}"#,
            ),
            (
                &[r"content.m\.relates_to.event_id"],
                r#"{"content":{"m.relates_to":{"event_id":"$1"}}}"#,
            ),
            (&[r"content.a\.b"], r#"{"content":{"a.b":1}}"#),
            (&[r"content.c\\d.e"], r#"{"content":{"c\\d":{"e":[1]}}}"#),
            (&["type.deeper", "content.none"], r#"{"content":{}}"#),
            (
                &[
                    "type",
                    "content.m\\.relates_to.x",
                    "a",
                    "content.body",
                    "content.a",
                ],
                r#"{"content":{"body":"x","m.relates_to":{"x":2}},"type":"t"}"#,
            ),
            (
                &["content.body.deeper", "content.body"],
                r#"{"content":{"body":"x"}}"#,
            ),
        ];
        for (paths, expected) in cases {
            let wanted: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
            let mut out = Vec::new();
            EventFields::parse(&wanted).select(&mut out, event);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{paths:?}");
        }
    }

    #[test]
    fn other_escapes_stay_as_they_are() {
        assert_eq!(names(r"a\x.b\\.c\.d\"), [r"a\x", r"b\", r"c.d\"]);
    }
}
