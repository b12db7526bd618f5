//! Push rules: which events a user wants to be told of, and how.
//! <https://spec.matrix.org/v1.19/client-server-api/#push-rules>
//!
//! * [`Ruleset`] is what one user has: the predefined rules (`default_rules.json`, in the order of the specification),
//!   as the user changed them, and the user's own. It is read from what is stored of it ([`Ruleset::from_stored`]),
//!   changed ([`Ruleset::put`] and its neighbours) and shown ([`Ruleset::to_json`], [`Ruleset::rule_json`]).
//! * [`Ruleset::evaluate`] is the whole truth about one event: the first rule that matches it.
//! * [`Ruleset::verdict`] is the truth about all events of one [`Shape`], as far as their shape decides it. What a
//!   shape doesn't decide is found by [`Ruleset::interest`]: the words and senders, and the kinds of events, for which
//!   this user's rules must be evaluated.
//!
//! Nothing here does I/O. Matching is bounded by a [`Budget`], whatever patterns people think of.

mod budget;
mod condition;
mod edit;
mod event;
mod glob;
mod rule;
mod ruleset;
mod shape;
mod verdict;

pub use budget::Budget;
pub use edit::{EditError, Place, RuleBody};
pub use event::EventView;
pub use glob::words;
pub use rule::{Kind, Rule};
pub use ruleset::Ruleset;
pub use shape::Shape;
pub use verdict::{Interest, Room, Situation, Verdict};
