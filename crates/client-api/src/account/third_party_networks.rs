//! `GET /thirdparty/…`: <https://spec.matrix.org/v1.19/client-server-api/#third-party-networks>
//!
//! No application service bridges another network to this server, so there are no protocols, and whatever is looked up
//! isn't there.

use serde::Deserialize;
use serde::de::IgnoredAny;
use starling_http::{Auth, JsonBytes, MatrixError, Path, Query, Routes};

use crate::State;

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .get(
            "/_matrix/client/v3/thirdparty/protocols",
            Auth::User,
            protocols,
        )
        .get(
            "/_matrix/client/v3/thirdparty/protocol/{protocol}",
            Auth::User,
            of_protocol,
        )
        .get(
            "/_matrix/client/v3/thirdparty/location/{protocol}",
            Auth::User,
            of_protocol,
        )
        .get(
            "/_matrix/client/v3/thirdparty/user/{protocol}",
            Auth::User,
            of_protocol,
        )
        .get(
            "/_matrix/client/v3/thirdparty/location",
            Auth::User,
            location,
        )
        .get("/_matrix/client/v3/thirdparty/user", Auth::User, user)
}

async fn protocols() -> JsonBytes {
    JsonBytes::empty()
}

async fn of_protocol(Path(_): Path<String>) -> MatrixError {
    MatrixError::not_found("This server has no bridge to such a network")
}

#[derive(Deserialize)]
struct LocationQuery {
    #[serde(rename = "alias")]
    _alias: IgnoredAny,
}

async fn location(Query(_): Query<LocationQuery>) -> MatrixError {
    MatrixError::not_found("No other network has a place that is this room")
}

#[derive(Deserialize)]
struct UserQuery {
    #[serde(rename = "userid")]
    _user_id: IgnoredAny,
}

async fn user(Query(_): Query<UserQuery>) -> MatrixError {
    MatrixError::not_found("No other network has a user who is this one")
}
