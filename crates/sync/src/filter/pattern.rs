//! Event types in filters, where `*` stands for any sequence of characters.
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridfilter_request_eventfilter>

/// An event type, or a pattern of event types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TypePattern {
    /// What stands before, between and after the asterisks: never empty.
    pieces: Vec<Box<str>>,
}

impl TypePattern {
    pub(crate) fn new(text: &str) -> Self {
        Self {
            pieces: text.split('*').map(Box::from).collect(),
        }
    }

    /// Whether an event type matches. Takes time linear in both for patterns as clients write them.
    pub(crate) fn matches(&self, kind: &str) -> bool {
        let (first, rest) = match self.pieces.as_slice() {
            [] => return false,
            [only] => return only.as_ref() == kind,
            [first, rest @ ..] => (first, rest),
        };
        let Some((last, between)) = rest.split_last() else {
            return false;
        };
        let inside = kind
            .strip_prefix(first.as_ref())
            .and_then(|inside| inside.strip_suffix(last.as_ref()));
        // The first place where a piece fits leaves the most room for those after it.
        let fitted = between.iter().try_fold(inside, |inside, piece| {
            Some(inside?.split_once(piece.as_ref()).map(|(_, after)| after))
        });
        fitted.flatten().is_some()
    }
}
