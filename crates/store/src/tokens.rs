//! The one type that parses and prints the tokens of clients: where a sync ended, and places in a room's order.
//!
//! A token is opaque to clients and to everything above this crate. Every endpoint that takes a token accepts both kinds.

use std::fmt;

/// A place between two events of a room's order, or between any two rows of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The position of a live event, or of the one before which backfilled events were put.
    pub major: i64,
    /// 0 for a live event, below for those that were put before it.
    pub minor: i64,
}

/// A moment in the life of a process, for what is not stored (typing, presence).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Which process.
    pub boot: i64,
    /// How many changes it had seen.
    pub count: i64,
}

/// A token of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// All up to a position was told.
    Sync {
        /// The epoch of the log.
        epoch: i64,
        /// The last position that was told.
        position: i64,
    },
    /// All up to a position was told, and all that is not stored up to a moment. Elsewhere than in `/sync` it is as
    /// [`Token::Sync`].
    ///
    /// Messages to the device are capped in an answer, and kept until a token says that they came.
    Moment {
        /// The epoch of the log.
        epoch: i64,
        /// The last position that was told.
        position: i64,
        /// The last moment of which was told.
        moment: Moment,
        /// Where an answer had messages to the device: up to where they were told, which may be less far than all else.
        to_device: Option<i64>,
    },
    /// The boundary just before a place.
    Before {
        /// The epoch of the log.
        epoch: i64,
        /// The place.
        place: Place,
    },
}

/// No position is above this: they stay exact in JSON numbers.
const LAST: i64 = 1 << 53;

/// The text is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a token of this server")]
pub struct NotAToken;

impl Token {
    /// Reads a token.
    ///
    /// # Errors
    /// [`NotAToken`] for any other text.
    pub fn parse(text: &str) -> Result<Self, NotAToken> {
        let numbers = text.get(1..).ok_or(NotAToken)?.split('_').map(canonical);
        // No token has more numbers: the sixth is one too many.
        let numbers: Option<Vec<i64>> = numbers.take(6).collect();
        let token = match (text.as_bytes().first(), numbers.as_deref()) {
            (Some(b's'), Some(&[epoch, position])) => Self::Sync { epoch, position },
            (Some(b's'), Some(&[epoch, position, boot, count, ref to_device @ ..]))
                if to_device.len() <= 1 =>
            {
                Self::Moment {
                    epoch,
                    position,
                    moment: Moment { boot, count },
                    to_device: to_device.first().copied(),
                }
            }
            (Some(b't'), Some(&[epoch, major, minor])) => Self::Before {
                epoch,
                place: Place { major, minor },
            },
            _ => return Err(NotAToken),
        };
        let is_sane = match token {
            Self::Sync { position, .. } => (0..=LAST).contains(&position),
            Self::Moment {
                position,
                moment,
                to_device,
                ..
            } => {
                (0..=LAST).contains(&position)
                    && moment.boot >= 1
                    && moment.count >= 0
                    && to_device.is_none_or(|upto| (0..=position).contains(&upto))
            }
            Self::Before { place, .. } => (0..=LAST).contains(&place.major),
        };
        if token.epoch() >= 1 && is_sane {
            Ok(token)
        } else {
            Err(NotAToken)
        }
    }

    /// The epoch of the log that it speaks of.
    #[must_use]
    pub fn epoch(&self) -> i64 {
        match self {
            Self::Sync { epoch, .. } | Self::Moment { epoch, .. } | Self::Before { epoch, .. } => {
                *epoch
            }
        }
    }

    /// The boundary that it names in any room's order: just before this place.
    #[must_use]
    pub fn boundary(&self) -> Place {
        match self {
            Self::Sync { position, .. } | Self::Moment { position, .. } => Place {
                major: position + 1,
                minor: i64::MIN,
            },
            Self::Before { place, .. } => *place,
        }
    }

    /// The position up to which all was told to who holds it; never below 0.
    #[must_use]
    pub fn position(&self) -> i64 {
        match self {
            Self::Sync { position, .. } | Self::Moment { position, .. } => *position,
            Self::Before { place, .. } => (place.major - 1).max(0),
        }
    }

    /// Up to where the messages to the device were told, where the answer had any.
    #[must_use]
    pub fn to_device(&self) -> Option<i64> {
        match self {
            Self::Moment { to_device, .. } => *to_device,
            Self::Sync { .. } | Self::Before { .. } => None,
        }
    }

    /// Up to which moment all that is not stored was told, if it says so.
    #[must_use]
    pub fn moment(&self) -> Option<Moment> {
        match self {
            Self::Moment { moment, .. } => Some(*moment),
            Self::Sync { .. } | Self::Before { .. } => None,
        }
    }
}

/// A number as [`fmt::Display`] writes it: no sign but a minus, no leading zero.
fn canonical(text: &str) -> Option<i64> {
    let number: i64 = text.parse().ok()?;
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_canonical = digits == "0"
        || digits
            .bytes()
            .next()
            .is_some_and(|byte| (b'1'..=b'9').contains(&byte));
    (is_canonical && text != "-0").then_some(number)
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sync { epoch, position } => write!(f, "s{epoch}_{position}"),
            Self::Moment {
                epoch,
                position,
                moment: Moment { boot, count },
                to_device,
            } => {
                write!(f, "s{epoch}_{position}_{boot}_{count}")?;
                match to_device {
                    Some(upto) => write!(f, "_{upto}"),
                    None => Ok(()),
                }
            }
            Self::Before { epoch, place } => write!(f, "t{epoch}_{}_{}", place.major, place.minor),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Moment, NotAToken, Place, Token};

    #[test]
    fn tokens_come_back() {
        let tokens = [
            Token::Sync {
                epoch: 1,
                position: 0,
            },
            Token::Sync {
                epoch: 7,
                position: 1 << 53,
            },
            Token::Moment {
                epoch: 1,
                position: 12,
                moment: Moment { boot: 9, count: 0 },
                to_device: None,
            },
            Token::Moment {
                epoch: 1,
                position: 12,
                moment: Moment { boot: 9, count: 7 },
                to_device: Some(12),
            },
            Token::Before {
                epoch: 1,
                place: Place {
                    major: 12,
                    minor: -3,
                },
            },
            Token::Before {
                epoch: 1,
                place: Place {
                    major: 12,
                    minor: i64::MIN,
                },
            },
        ];
        for token in tokens {
            assert_eq!(Token::parse(&token.to_string()), Ok(token));
        }
    }

    #[test]
    fn no_token_tells_of_a_position_below_zero() {
        let position = |text: &str| Token::parse(text).map(|token| token.position());
        assert_eq!(position("t1_0_0"), Ok(0));
        assert_eq!(position("t1_7_-2"), Ok(6));
        assert_eq!(position("s1_0"), Ok(0));
    }

    #[test]
    fn other_texts_are_no_tokens() {
        for text in [
            "",
            "s",
            "t",
            "s1",
            "s1_",
            "s1_x",
            "s1_1_1",
            "s1_1_0_1",
            "s1_1_1_-1",
            "s1_1_1_1_2",
            "s1_1_1_1_-1",
            "s1_1_1_1_1_1",
            "s1_-1_1_1",
            "s0_1",
            "s1_-1",
            "s1_01",
            "s1_+1",
            "s1_1 ",
            "t1_1",
            "t1_-1_0",
            "t1_1_-0",
            "x1_1",
            "s99999999999999999999_1",
            "s1_1\0",
            "é1_1",
            "s1_1_",
        ] {
            assert_eq!(Token::parse(text), Err(NotAToken), "{text:?}");
        }
    }
}
