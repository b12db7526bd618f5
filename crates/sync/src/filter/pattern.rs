//! Event types in filters, where `*` stands for any sequence of characters.
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridfilter_request_eventfilter>

use std::collections::HashSet;

/// A list of event types, and of patterns of event types.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TypePatterns {
    /// Those without an asterisk.
    names: HashSet<String>,
    patterns: Vec<TypePattern>,
}

impl TypePatterns {
    pub(crate) fn new(texts: Vec<String>) -> Self {
        let mut all = Self::default();
        for text in texts {
            match TypePattern::new(&text) {
                Some(pattern) => all.patterns.push(pattern),
                None => drop(all.names.insert(text)),
            }
        }
        all
    }

    /// Whether an event type is listed or matches a pattern.
    pub(crate) fn matches(&self, kind: &str) -> bool {
        self.names.contains(kind) || self.patterns.iter().any(|pattern| pattern.matches(kind))
    }
}

/// A pattern with at least one asterisk.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TypePattern {
    /// What stands before the first asterisk.
    first: String,
    /// What stands between two of them, where that is something.
    between: Vec<String>,
    /// What stands after the last.
    last: String,
    /// No type with fewer bytes matches.
    shortest: usize,
}

impl TypePattern {
    fn new(text: &str) -> Option<Self> {
        let (first, rest) = text.split_once('*')?;
        let (between, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        let between = between.split('*').filter(|piece| !piece.is_empty());
        Some(Self {
            first: first.to_owned(),
            between: between.map(str::to_owned).collect(),
            last: last.to_owned(),
            shortest: text.bytes().filter(|byte| *byte != b'*').count(),
        })
    }

    /// Whether an event type matches. Most that don't are known by their length: types are short, so a long pattern
    /// costs nothing.
    fn matches(&self, kind: &str) -> bool {
        if kind.len() < self.shortest {
            return false;
        }
        let inside = kind
            .strip_prefix(self.first.as_str())
            .and_then(|inside| inside.strip_suffix(self.last.as_str()));
        // The first place where a piece fits leaves the most room for those after it.
        let fitted = self.between.iter().try_fold(inside, |inside, piece| {
            Some(inside?.split_once(piece.as_str()).map(|(_, after)| after))
        });
        fitted.flatten().is_some()
    }
}
