//! `GET /_matrix/key/v2/server`
//! <https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server>

use axum::extract;
use starling_http::{Auth, JsonBytes, MatrixError, Routes};

use crate::State;

pub(crate) fn routes() -> Routes<State> {
    Routes::new().get("/_matrix/key/v2/server", Auth::None, own)
}

async fn own(extract::State(api): extract::State<State>) -> Result<JsonBytes, MatrixError> {
    let document = api.own_keys().document(&api);
    Ok(JsonBytes(document.map_err(MatrixError::internal)?))
}
