//! `GET /account/3pid`: <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3account3pid>

use bytes::Bytes;
use starling_http::{Auth, JsonBytes, Routes};

use crate::State;

pub(super) fn routes() -> Routes<State> {
    Routes::new().get("/_matrix/client/v3/account/3pid", Auth::User, list)
}

/// No account has a third-party identifier.
async fn list() -> JsonBytes {
    JsonBytes(Bytes::from_static(br#"{"threepids":[]}"#))
}
