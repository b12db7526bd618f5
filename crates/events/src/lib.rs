//! Matrix events of every room version, as bytes: canonical JSON, hashes, signatures, redaction and format checks.
//!
//! What differs between room versions is a row of [`room_version::Rules`]; nothing else compares versions.
//!
//! An event is kept as the bytes that its hash and signatures cover, and those bytes are spliced, never parsed and
//! printed again. What to call:
//!
//! - an event from another server: [`Pdu::parse`] (a failure means: drop it), then, with the keys that
//!   [`sign::required_keys`] names, [`sign::verify_event_signatures`] (a failure means: drop it), then
//!   [`Pdu::has_valid_content_hash`] (a failure means: go on with [`Pdu::redacted`]);
//! - an event of our own: [`CanonicalObject::parse`] for the content that a client sent, then [`EventBuilder::build`];
//! - an event from the database: [`Pdu::from_stored`];
//! - an event for a client: [`client_format::write()`].
//!
//! Pure: no I/O, no clock, no randomness.

pub mod build;
pub mod canonical_json;
pub mod client_format;
mod float;
mod format;
pub mod hash;
pub mod id;
mod json_string;
pub mod keys;
mod object;
pub mod pdu;
pub mod redact;
pub mod request_auth;
pub mod room_version;
pub mod server_keys;
pub mod sign;
pub mod unpadded_base64;
pub mod value;

pub use build::{BuildError, EventBuilder, EventReference};
pub use canonical_json::{CanonicalObject, JsonError};
pub use format::{MAX_AUTH_EVENTS, MAX_FIELD_BYTES, MAX_PDU_BYTES, MAX_PREV_EVENTS, ParseError};
pub use keys::{KeyError, KeyValidity, ServerKey, SigningKey, VerifyingKey};
pub use pdu::Pdu;
pub use room_version::RoomVersion;
pub use value::Value;
