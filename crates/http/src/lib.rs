//! The edge of HTTP: listeners, TLS, limits, authentication, errors, request log and CORS.
//!
//! 1. An API crate declares its endpoints with [`Routes`]: path, who may call ([`Auth`]), what a call counts as ([`Limited`],
//!    for the [`RateLimiter`]) and handler. A handler takes the extractors [`Json`], [`OptionalJson`], [`RawBody`], [`Query`],
//!    [`Path`], [`Authenticated`], [`Origin`] and [`ClientAddress`], and answers a [`Json`], a [`JsonBytes`] or a
//!    [`MatrixError`]. Its state [`Admits`] callers: users with [`Sessions`], or other [`Servers`].
//! 2. [`Routes::into_router`] makes a router of them; [`Edge::app`] puts around it what every request of a listener goes
//!    through: log, metrics, CORS, the net under panics, and the answers for what is unknown.
//! 3. [`Server`] listens, with the [`Limits`] on what a peer may cost, until [`Shutdown`] begins.

mod activity;
mod address;
mod app;
mod auth;
mod body;
mod cors;
mod error;
mod identifiers;
mod json;
mod limits;
mod listener;
mod log;
mod metrics;
mod panics;
mod path;
mod peers;
mod query;
mod rate_limit;
mod routes;
mod serve;
mod server_auth;
mod shape;
mod shutdown;
mod tls;

pub use address::{ClientAddress, Peer};
pub use app::{Edge, Health};
pub use auth::{Access, Admits, Auth, Authenticated, Sessions, admit_session};
pub use axum::BoxError;
pub use body::RawBody;
pub use error::MatrixError;
pub use identifiers::{
    AliasPart, EventIdPart, Malformed, RoomIdPart, RoomOrAliasPart, TxnIdPart, UserIdPart,
    alias_named, event_named, room_named, user_named,
};
pub use json::{Json, JsonBytes, OptionalJson, parse_json};
pub use limits::Limits;
pub use listener::{ListenError, Server};
pub use metrics::{Metrics, MetricsError};
pub use path::Path;
pub use query::Query;
pub use rate_limit::{Caller, Limited, RateLimiter, TO_DEVICE_BYTES};
pub use routes::{RouteInfo, Routes};
pub use server_auth::{Origin, Servers, admit_server};
pub use shutdown::Shutdown;
pub use tls::{Certificates, TlsError};
