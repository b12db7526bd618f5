//! `event_fields`: sending only some fields of events, named by dot-separated paths.
//! <https://spec.matrix.org/v1.19/appendices/#dot-separated-property-paths>

use starling_events::Value;

/// The path of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPath {
    names: Vec<String>,
}

impl FieldPath {
    /// Reads a path. A backslash makes a dot or a backslash that follows it part of the name.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut names = Vec::new();
        let mut name = String::new();
        let mut characters = text.chars().peekable();
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
        Self { names }
    }
}

/// Appends only the wanted fields of `event`, a JSON object without white space.
pub(crate) fn select(out: &mut Vec<u8>, event: &[u8], wanted: &[FieldPath]) {
    let paths: Vec<&[String]> = wanted.iter().map(|path| path.names.as_slice()).collect();
    select_members(out, Value::new(event), &paths);
}

/// `paths` are what is wanted, from this object on. Goes as deep as the longest path.
fn select_members(out: &mut Vec<u8>, object: Value<'_>, paths: &[&[String]]) {
    out.push(b'{');
    for member in object.members() {
        let Some(key) = member.key() else { continue };
        let below: Vec<&[String]> = paths
            .iter()
            .filter_map(|path| path.split_first())
            .filter(|(name, _)| **name == key)
            .map(|(_, below)| below)
            .collect();
        let whole = below.iter().any(|path| path.is_empty());
        if below.is_empty() || !(whole || member.value.is_object()) {
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
            select_members(out, member.value, &below);
        }
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::{FieldPath, select};

    #[test]
    fn only_wanted_fields_are_left() {
        let event = br#"{"content":{"a.b":1,"body":"x","c\\d":{"e":[1]},"m.relates_to":{"event_id":"$1","x":2}},"type":"t"}"#;
        let cases: [(&[&str], &str); 8] = [
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
                &["content.body", "content.body.deeper"],
                r#"{"content":{"body":"x"}}"#,
            ),
        ];
        for (paths, expected) in cases {
            let wanted: Vec<FieldPath> = paths.iter().map(|path| FieldPath::parse(path)).collect();
            let mut out = Vec::new();
            select(&mut out, event, &wanted);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{paths:?}");
        }
    }

    #[test]
    fn other_escapes_stay_as_they_are() {
        assert_eq!(
            FieldPath::parse(r"a\x.b\\.c\.d\").names,
            [r"a\x", r"b\", r"c.d\"]
        );
    }
}
