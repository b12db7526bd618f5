//! Third-party ids in requests. <https://spec.matrix.org/v1.19/client-server-api/#third-party-invites>

use http::StatusCode;
use serde::Deserialize;
use starling_http::MatrixError;

/// Somebody to invite of whom only a third-party id is known. Older clients have no `id_access_token`.
#[derive(Debug, Deserialize)]
#[expect(
    dead_code,
    reason = "only the shape of such an invite is of use until identity servers can be asked"
)]
pub(super) struct InviteByThirdPartyId {
    id_server: String,
    id_access_token: Option<String>,
    medium: String,
    address: String,
}

/// The answer to such an invite: only the identity server that the client names could say who has the id, and this
/// server asks none yet.
pub(super) fn refusal() -> MatrixError {
    let message = "This server does not work with identity servers";
    MatrixError::new(StatusCode::BAD_REQUEST, "M_SERVER_NOT_TRUSTED", message)
}
