//! Who may do what in a room, and what its state is where histories meet: the authorization rules and state resolution
//! of every room version, pure and without I/O.
//! <https://spec.matrix.org/v1.19/server-server-api/#authorisation-rules>,
//! <https://spec.matrix.org/v1.19/server-server-api/#room-state-resolution>
//!
//! - [`auth_types()`] names the state that an event needs, to choose its `auth_events`.
//! - [`auth::check_auth_events`] checks an event's choice of them, and [`auth::check`] whether a state allows the
//!   event. An event from another server goes through `check_auth_events`, then `check` against the state of its auth
//!   events (a failure of either means: reject), against the state before it (reject), and against the current state
//!   (soft-fail). An event of our own goes through `check` against the state before it.
//! - [`resolution::resolve`] merges the states after the events that an event follows into the state before it.
//! - [`RoomPower`] answers what a user may do, and [`can_redact`] whether a redaction takes effect.
//!
//! Signatures are checked before, by `starling_events::sign`.

pub mod auth;
pub mod auth_types;
pub mod membership;
pub mod power_levels;
pub mod redaction;
pub mod resolution;

pub use auth::{AuthError, AuthState, check, check_auth_events};
pub use auth_types::auth_types;
pub use membership::{JoinRule, Membership};
pub use power_levels::{PowerLevel, PowerLevels, PowerLevelsError, RoomPower};
pub use redaction::can_redact;
pub use resolution::resolve;
