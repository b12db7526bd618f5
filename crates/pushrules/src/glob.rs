//! Glob-style matching: <https://spec.matrix.org/v1.19/appendices/#glob-style-matching>
//!
//! "Case-insensitive" is: equal when both are in Unicode's lower case.

use crate::budget::Budget;

/// A pattern, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    form: Form,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// Without `*` and `?`.
    Literal(Box<str>),
    /// What stands between the stars, each a list of characters, `None` for a `?`.
    Pieces(Vec<Vec<Option<char>>>),
}

/// What of a text has to match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of it.
    Whole,
    /// Any part that begins and ends at a word's boundary.
    Words,
}

impl Extent {
    fn may_start(self, text: &str, at: usize) -> bool {
        match self {
            Self::Whole => at == 0,
            Self::Words => !text
                .get(..at)
                .is_some_and(|before| before.ends_with(is_word)),
        }
    }

    fn may_end(self, text: &str, at: usize) -> bool {
        match self {
            Self::Whole => at == text.len(),
            Self::Words => !text
                .get(at..)
                .is_some_and(|after| after.starts_with(is_word)),
        }
    }
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// The words of a text in lower case: what is between the boundaries.
pub fn words(lower: &str) -> impl Iterator<Item = &str> {
    lower
        .split(|letter| !is_word(letter))
        .filter(|word| !word.is_empty())
}

impl Pattern {
    /// Reads a pattern.
    pub(crate) fn new(glob: &str) -> Self {
        let lower = glob.to_lowercase();
        if !lower.contains(['*', '?']) {
            return Self::literal(&lower);
        }
        let pieces = lower.split('*');
        let characters = |piece: &str| {
            let characters = piece.chars();
            characters
                .map(|letter| (letter != '?').then_some(letter))
                .collect()
        };
        Self {
            form: Form::Pieces(pieces.map(characters).collect()),
        }
    }

    /// What matches this text alone, whatever is in it.
    pub(crate) fn literal(text: &str) -> Self {
        Self {
            form: Form::Literal(text.to_lowercase().into()),
        }
    }

    /// The text that it is, if it has neither `*` nor `?`.
    pub(crate) fn as_literal(&self) -> Option<&str> {
        match &self.form {
            Form::Literal(text) => Some(text),
            Form::Pieces(_) => None,
        }
    }

    /// A word that every text has in which it matches a part between boundaries; the longest, if there is one.
    pub(crate) fn needed_word(&self) -> Option<&str> {
        words(self.as_literal()?).max_by_key(|word| word.len())
    }

    /// Whether it matches `lower`, a text in lower case.
    pub(crate) fn matches(&self, lower: &str, extent: Extent, budget: &Budget) -> bool {
        match &self.form {
            Form::Literal(text) if extent == Extent::Whole => **text == *lower,
            Form::Literal(text) => has_literal(text, lower, budget),
            Form::Pieces(pieces) => matches_pieces(pieces, lower, extent, budget),
        }
    }
}

/// Whether `lower` has `text` between two boundaries.
fn has_literal(text: &str, lower: &str, budget: &Budget) -> bool {
    // To find a text takes far less than a step for each letter.
    if !budget.take(lower.len() / 16 + 1) {
        return false;
    }
    let mut from = 0;
    while let Some(found) = lower.get(from..).and_then(|rest| rest.find(text)) {
        let (start, end) = (from + found, from + found + text.len());
        if Extent::Words.may_start(lower, start) && Extent::Words.may_end(lower, end) {
            return true;
        }
        // Occurrences may overlap.
        let step = lower.get(start..).and_then(|rest| rest.chars().next());
        let Some(step) = step.filter(|_| budget.take(text.len() + 1)) else {
            return false;
        };
        from = start + step.len_utf8();
    }
    false
}

/// Each piece as early as may be: that leaves the most for those after it.
fn matches_pieces(
    pieces: &[Vec<Option<char>>],
    lower: &str,
    extent: Extent,
    budget: &Budget,
) -> bool {
    let (Some((first, rest)), start) = (pieces.split_first(), 0) else {
        return false;
    };
    let Some((last, middle)) = rest.split_last() else {
        return find(first, lower, start, budget, |at, end| {
            extent.may_start(lower, at) && extent.may_end(lower, end)
        })
        .is_some();
    };
    let begin = find(first, lower, start, budget, |at, _| {
        extent.may_start(lower, at)
    });
    let Some(mut at) = begin else {
        return false;
    };
    for piece in middle {
        match find(piece, lower, at, budget, |_, _| true) {
            Some(end) => at = end,
            None => return false,
        }
    }
    find(last, lower, at, budget, |_, end| extent.may_end(lower, end)).is_some()
}

/// Where the first occurrence of a piece at or after `from` ends of which `fits` (where it starts, where it ends).
fn find(
    piece: &[Option<char>],
    lower: &str,
    from: usize,
    budget: &Budget,
    fits: impl Fn(usize, usize) -> bool,
) -> Option<usize> {
    let rest = lower.get(from..)?;
    let starts = rest.char_indices().map(|(at, _)| from + at);
    for at in starts.chain([lower.len()]) {
        let (end, steps) = match_at(piece, lower.get(at..)?);
        if let Some(length) = end
            && fits(at, at + length)
        {
            return Some(at + length);
        }
        if !budget.take(steps + 1) {
            return None;
        }
    }
    None
}

/// How long the match of a piece with the beginning of `rest` is, if there is one, and how many characters that took.
fn match_at(piece: &[Option<char>], rest: &str) -> (Option<usize>, usize) {
    let mut letters = rest.chars();
    let mut length = 0;
    for (steps, wanted) in piece.iter().enumerate() {
        match letters.next() {
            Some(letter) if wanted.is_none_or(|wanted| wanted == letter) => {
                length += letter.len_utf8();
            }
            _ => return (None, steps),
        }
    }
    (Some(length), piece.len())
}

#[cfg(test)]
mod tests {
    use super::{Extent, Pattern};
    use crate::budget::Budget;

    fn check(pattern: &str, extent: Extent, cases: &[(&str, bool)]) {
        for (text, expected) in cases {
            let found =
                Pattern::new(pattern).matches(&text.to_lowercase(), extent, &Budget::default());
            assert_eq!(found, *expected, "{pattern:?} on {text:?}");
        }
    }

    #[test]
    fn the_whole_value_matches() {
        let cases = [
            ("Lunch plans", true),
            ("LUNCH", true),
            (" lunch", false),
            ("lunc", false),
        ];
        check("lunc?*", Extent::Whole, &cases);
        check("*", Extent::Whole, &[("", true), ("a", true)]);
        check("", Extent::Whole, &[("", true), ("a", false)]);
        check(
            "?",
            Extent::Whole,
            &[("", false), ("é", true), ("ab", false)],
        );
        check(
            "a*a",
            Extent::Whole,
            &[("a", false), ("aa", true), ("aba", true), ("ab", false)],
        );
        check("*ab", Extent::Whole, &[("abab", true), ("aba", false)]);
        check(
            "a**b?c",
            Extent::Whole,
            &[("abxc", true), ("axxbbbc", true), ("abc", false)],
        );
        check(
            "m.notice",
            Extent::Whole,
            &[("m.notice", true), ("mxnotice", false)],
        );
        check("STRASSE*", Extent::Whole, &[("strasse 7", true)]);
    }

    #[test]
    fn parts_match_between_boundaries() {
        let cases = [
            ("An example event.", true),
            ("exple", true),
            ("An exciting triple-whammy", true),
            ("sexample", false),
            ("examples", false),
        ];
        check("ex*ple", Extent::Words, &cases);
        let cases = [
            ("cake", true),
            ("a cake.", true),
            ("cakes", false),
            ("_cake", false),
            ("écake", true),
            ("CAKE!", true),
            ("", false),
        ];
        check("cake", Extent::Words, &cases);
        check(
            "@room",
            Extent::Words,
            &[("hi @room!", true), ("hi@room", false)],
        );
        // The first occurrence doesn't fit, one that overlaps it does.
        check(
            "a a",
            Extent::Words,
            &[("xa a a", true), ("xa aa a", false)],
        );
        check("a?a", Extent::Words, &[("xa a a", true)]);
        check(
            "*cake",
            Extent::Words,
            &[("pancake", true), ("cakes", false)],
        );
        check("💥", Extent::Words, &[("a💥b", false), ("a 💥 b", true)]);
        check("", Extent::Words, &[("", true), (" ", true), ("a", false)]);
    }

    #[test]
    fn what_takes_too_long_does_not_match() {
        let text = "a".repeat(60_000);
        let pattern = Pattern::new(&format!("*{}b", "a".repeat(250)));
        assert!(!pattern.matches(&text, Extent::Words, &Budget::default()));
        let budget = Budget::new(100);
        assert!(!Pattern::new("*b").matches(&format!("{text}b"), Extent::Whole, &budget));
        assert!(!Pattern::new("b").matches(&format!("{text} b"), Extent::Words, &budget));
    }

    #[test]
    fn the_word_that_a_pattern_needs() {
        let word = |pattern: &str| Pattern::new(pattern).needed_word().map(str::to_owned);
        assert_eq!(word("Foo barbaz"), Some("barbaz".to_owned()));
        assert_eq!(word("-café-"), Some("caf".to_owned()));
        assert_eq!(word("💥"), None);
        assert_eq!(word("foo*"), None);
    }
}
